"""Pickles of plain things, read by walking through their opcodes: nothing is imported, called or unpickled.

Lists, tuples, dicts, sets, texts, bytes, numbers and NumPy arrays of numbers come out; paths become texts, and the few
objects of pycolmap that hloc writes become dicts of their fields. Anything else is refused with its name.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.records import Progress

_STEPS = 200_000  # opcodes between two reports of progress
_DEPTH = 200
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
_BUILTINS = ("builtins", "__builtin__")
_ONLY_NAMED = {"numpy.ndarray", *(f"{module}.{name}" for module in _BUILTINS for name in ("list", "dict", "int"))}
_COLMAP_MODULES = ("pycolmap", "pycolmap._core", "_pycolmap")
_COLMAP = ("Rigid3d", "Rotation3d", "Camera", "CameraModelId")


class _Refused(Exception):
    """What makes a pickle other than plain."""


class _Array:
    """An array to be: its state comes later in the file."""

    value: Any = None

    def set_state(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, column_major, data = state
            self.value = _array(data, dtype, shape, "F" if column_major else "C")
        else:
            raise _Refused("an array of another form")


class _Dtype:
    """The type of an array's numbers: bool, integers, floats or complex of up to 16 bytes, of either byte order."""

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or text[:1] not in "biufc" or not text[1:].isdecimal() or len(text) > 3:
            raise _Refused(f"arrays of {text!r}")
        try:
            self.dtype = np.dtype(text)
        except TypeError as error:
            raise _Refused(f"arrays of {text!r}") from error

    def set_state(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise _Refused("numbers of another form")
        self.dtype = self.dtype.newbyteorder("|" if order == "=" else order)


class _Object:
    """An object of pycolmap as the dict of its fields."""

    def __init__(self) -> None:
        self.value: Any = {}

    def set_state(self, state: Any) -> None:
        self.value = state


class _Name:
    """A name of a module's thing, known to be harmless; never looked up."""

    def __init__(self, module: str, name: str) -> None:
        self.make = _maker(module, name)


def _maker(module: str, name: str) -> Callable[..., Any]:
    if module in _NUMPY and name == "_reconstruct":
        return lambda *_: _Array()
    if module in _NUMPY and name == "scalar":
        return lambda dtype, data: _array(data, dtype, (), "C").item()
    if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
        return _array
    if module == "numpy" and name == "dtype":
        return lambda text, *_: _Dtype(text)
    if module == "_codecs" and name == "encode":
        return lambda text, codec="latin1": text.encode("latin1") if codec in ("latin1", "latin-1") else _refuse(codec)
    if (module == "pathlib" or module.startswith("pathlib.")) and name in _PATHS:
        return lambda *parts: "/".join(str(part).rstrip("/") for part in parts)
    if module == "collections" and name in ("defaultdict", "OrderedDict"):
        return lambda *_: {}
    if module in _COLMAP_MODULES and name in _COLMAP:
        return lambda *_: _Object()
    if module in _BUILTINS and name in _CALLED:  # old pickles make sets and empty bytes by a call
        return _CALLED[name]
    if f"{module}.{name}" in _ONLY_NAMED:
        return lambda *_: _refuse(f"a call of {module}.{name}")
    return _refuse(f"{module}.{name}")


_CALLED: dict[str, Callable[..., Any]] = {
    "bytes": lambda *given: _refuse("a call of bytes") if given else b"",
    "set": lambda items: set(_of(items, list)),
}


def _refuse(what: str) -> Any:
    raise _Refused(what)


def _array(data: Any, dtype: Any, shape: Any, order: str = "C") -> Any:
    """The array of bytes that are all there: the shape must be what they hold."""
    numbers = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 8
    if not numbers or not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise _Refused("an array of another form")
    count = 1
    for n in shape:
        count *= n
    if count * dtype.dtype.itemsize != len(data):
        raise _Refused(f"an array {shape} of {dtype.dtype} that holds {len(data)} bytes")
    array = np.frombuffer(data, dtype.dtype).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="))


def read_plain_pickle(path: str | Path) -> Generator[Progress, None, Any]:
    """Read a pickle of plain things; yields Progress, returns what it holds.

    Raises SceneError, led by the path, for a file that is cut off or holds anything that would run code.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
    machine = _Machine()
    try:
        for number, (opcode, argument, position) in enumerate(pickletools.genops(io.BytesIO(data))):
            if number % _STEPS == 0:
                yield Progress(f"Reading {path.name}", (position or 0) / max(1, len(data)))
            machine.step(opcode.name, argument)
        return _settled(machine.stack.pop(), {}, 0)
    except _Refused as error:
        raise SceneError(f"{path}: holds {error}, expected only lists, dicts, texts and arrays of numbers") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise SceneError(f"{path}: cut off, corrupt or no pickle ({str(error)[:80]})") from error


class _Machine:
    """The stack machine that a pickle is a program of, with only those opcodes that put plain things together."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(argument)
        elif name in _MAKE:
            self.stack.append(_MAKE[name]())
        elif name in _SKIP:
            return
        elif hasattr(self, f"_{name.lower()}"):
            getattr(self, f"_{name.lower()}")(argument)
        else:
            raise _Refused(f"the opcode {name}")

    def _since_mark(self) -> list[Any]:
        begin = self._marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self.stack))

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _put(self, index: int) -> None:
        self._memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    _binget = _long_binget = _get

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        _of(self.stack[-1], list).append(item)

    def _appends(self, _: Any) -> None:
        items = self._since_mark()
        _of(self.stack[-1], list).extend(items)

    def _setitem(self, _: Any) -> None:
        key, value = self._last(2)
        _of(self.stack[-1], dict)[key] = value

    def _setitems(self, _: Any) -> None:
        items = self._since_mark()
        _of(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def _additems(self, _: Any) -> None:
        items = self._since_mark()
        _of(self.stack[-1], set).update(items)

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append(self._last(1))

    def _tuple2(self, _: Any) -> None:
        self.stack.append(self._last(2))

    def _tuple3(self, _: Any) -> None:
        self.stack.append(self._last(3))

    def _list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(self._since_mark()))

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _global(self, argument: str) -> None:
        self.stack.append(_Name(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        module, name = self._last(2)
        self.stack.append(_Name(_of(module, str), _of(name, str)))

    def _reduce(self, _: Any) -> None:
        name, arguments = self._last(2)
        self.stack.append(_of(name, _Name).make(*_of(arguments, tuple)))

    _newobj = _reduce

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        _of(self.stack[-1], (_Array, _Dtype, _Object)).set_state(state)

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items


_PUSH = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE"})
_PUSH |= {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_PUSH |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_MAKE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}
_SKIP = frozenset({"PROTO", "FRAME", "STOP"})


def _of(item: Any, kind: Any) -> Any:
    if not isinstance(item, kind):
        raise _Refused(f"a step that does not fit a {type(item).__name__.strip('_').lower()}")
    return item


def _settled(item: Any, done: dict[int, Any], depth: int) -> Any:
    """The item with arrays and objects in place of what stood for them; what is shared stays shared."""
    if depth > _DEPTH:
        raise _Refused("things nested too deeply")
    if id(item) in done:
        return done[id(item)][0]
    if isinstance(item, (_Array, _Object)):
        value = _settled(item.value, done, depth + 1)
    elif isinstance(item, (list, dict)):
        done[id(item)] = (item, item)
        keys = list(item) if isinstance(item, dict) else range(len(item))
        for key in keys:
            item[key] = _settled(item[key], done, depth + 1)
        value = item
    elif isinstance(item, tuple):
        value = tuple(_settled(part, done, depth + 1) for part in item)
    elif isinstance(item, (_Name, _Dtype)):
        value = None
    else:
        return item
    done[id(item)] = (value, item)  # the item too, so that no other takes its place in memory
    return value
