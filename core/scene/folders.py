"""Write a folder whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import InputError


@contextlib.contextmanager
def whole_folder(out: Path, last: str = "") -> Iterator[Path]:
    """Give a temporary folder beside ``out``; when the block ends well its content moves to ``out``, else it is removed.

    A new ``out`` appears by one rename. Into an ``out`` that exists the files move one by one, the file named ``last``
    after all others; nothing else there is touched. Raises InputError when nothing can be written there.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder to write to")
    with _readable_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        with _readable_write_errors(out):
            yield temporary
            _move(temporary, out, last)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_empty(out: str | Path) -> None:
    """Raise the InputError for a folder that holds something already, which new files would mix with."""
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty, expected a new or an empty one")


def check_writable(out: str | Path) -> None:
    """Raise the InputError of ``whole_folder`` now, before hours of work, when nothing can be written to ``out``."""
    with contextlib.suppress(_OnlyAsked), whole_folder(Path(out)):
        raise _OnlyAsked


class _OnlyAsked(Exception):
    pass


@contextlib.contextmanager
def _readable_write_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from error


def _move(temporary: Path, out: Path, last: str) -> None:
    if not out.exists():
        temporary.chmod(0o755)
        os.rename(temporary, out)
        return
    entries = sorted(temporary.rglob("*"), key=lambda path: (path.name == last, path))
    for entry in entries:
        target = out / entry.relative_to(temporary)
        if entry.is_dir():
            target.mkdir(exist_ok=True)
        else:
            os.replace(entry, target)
