"""What the work behind the window yields besides progress, and what it keeps."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any

Steps = Generator[Any, None, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is complete: the name of its field in the state, and its value."""

    field: str
    value: Any


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the log, which stops nothing."""

    sentence: str


class Cache:
    """The most recently used values, safe between threads."""

    def __init__(self, size: int):
        self._size = size
        self._items: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, value: Any) -> Any:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._size:
                self._items.popitem(last=False)
        return value

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._items.pop(key, None)

    def drop_where(self, chosen: Callable[[Any], bool]) -> None:
        """Drop the values of all keys that are chosen."""
        with self._lock:
            for key in [key for key in self._items if chosen(key)]:
                del self._items[key]


def finished(made: Any) -> Steps:
    """Run a generator of core to its result; a plain value is its own result."""
    if inspect.isgenerator(made):
        return (yield from made)
    return made
