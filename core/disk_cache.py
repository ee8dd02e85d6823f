"""Files that can be made again, kept by the content they were made of: bounded, the least recently used go first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.images import leftovers, write_atomic

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder can be deleted at any time.\n"
_SUFFIX = ".cached"
_KEY_LENGTH = 32
_LIMIT = "limit"
DEFAULT_BYTES = 4 << 30
_KEPT_SHARE = 0.9  # after making room, so that not every file makes room anew


def digest(*parts: bytes | str | int) -> str:
    """A name of 32 hex digits for contents; the same parts have the same name."""
    found = hashlib.blake2b(digest_size=_KEY_LENGTH // 2)
    for part in parts:
        data = part if isinstance(part, bytes) else f"{type(part).__name__} {part}".encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a cache holds: files and bytes of each kind."""

    files: dict[str, int]
    bytes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())

    @property
    def total_files(self) -> int:
        return sum(self.files.values())


class DiskCache:
    """Contents by kind and key under a folder, at most ``max_bytes`` of them; several processes may share it.

    Without ``max_bytes`` the limit is the one that ``set_limit`` left in the folder, else ``DEFAULT_BYTES``.
    A cache never stands in the way: a file that cannot be read is absent, one that cannot be written is not kept.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self.max_bytes = self._stored_limit() if max_bytes is None else max_bytes
        self._bytes: int | None = None  # what is believed to lie there; counted at the first writing
        self._lock = threading.Lock()

    def get(self, kind: str, key: str) -> bytes | None:
        """The content under a key, which counts as used now; None where there is none."""
        path = self._path(kind, key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content

    def put(self, kind: str, key: str, content: bytes) -> bool:
        """Keep a content under a key and make room for it; return whether it is kept."""
        path = self._path(kind, key)
        if len(content) > self.max_bytes:
            return False
        try:
            self._tag()
            before = path.stat().st_size if path.is_file() else 0
            write_atomic(path, lambda temporary: Path(temporary).write_bytes(content))
        except (InputError, OSError):
            return False
        with self._lock:
            self._bytes = self.use().total_bytes if self._bytes is None else self._bytes + len(content) - before
            if self._bytes > self.max_bytes:
                self._make_room()
        return True

    def drop(self, kind: str, key: str) -> None:
        """Forget a content, as one that turned out to be broken."""
        self._remove(self._path(kind, key))

    def set_limit(self, max_bytes: int) -> None:
        """Remember another limit in the folder and keep to it at once. Raises InputError where nothing can be written."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}, expected 0 or more")
        self._tag()
        write_atomic(self.folder / _LIMIT, lambda temporary: Path(temporary).write_text(f"{max_bytes}\n", encoding="ascii"))
        with self._lock:
            self.max_bytes = max_bytes
            if self.use().total_bytes > max_bytes:
                self._make_room()

    def use(self) -> CacheUse:
        """Count what is there."""
        files, sizes = {}, {}
        for kind, _, size, _ in self._entries():
            files[kind] = files.get(kind, 0) + 1
            sizes[kind] = sizes.get(kind, 0) + size
        return CacheUse(files, sizes)

    def clear(self) -> CacheUse:
        """Remove every content, and nothing else that may lie in the folder; return what there was."""
        before = self.use()
        for _, path, _, _ in list(self._entries()):
            self._remove(path)
        for path in leftovers(self.folder) if self.folder.is_dir() else []:
            if path.name.endswith(_SUFFIX):
                self._remove(path)
        self._bytes = None
        return before

    def _path(self, kind: str, key: str) -> Path:
        if not (kind.isidentifier() and len(key) == _KEY_LENGTH and set(key) <= set("0123456789abcdef")):
            raise ValueError(f"kind {kind!r} and key {key!r}, expected a word and a digest")
        return self.folder / kind / key[:2] / f"{key}{_SUFFIX}"

    def _entries(self) -> Iterator[tuple[str, Path, int, int]]:
        """Kind, file, bytes and time of last use of every content."""
        for path in self.folder.glob(f"*/[0-9a-f][0-9a-f]/{'[0-9a-f]' * _KEY_LENGTH}{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may just have removed it
                found = path.lstat()
                yield path.relative_to(self.folder).parts[0], path, found.st_size, found.st_mtime_ns

    def _stored_limit(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return max(0, int((self.folder / _LIMIT).read_text(encoding="ascii")[:32]))
        return DEFAULT_BYTES

    def _make_room(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[3], reverse=True)
        kept = 0
        for k, (_, path, size, _) in enumerate(entries):
            if kept + size > (self.max_bytes if k == 0 else self.max_bytes * _KEPT_SHARE):  # the newest may fill it
                self._remove(path)
            else:
                kept += size
        self._bytes = kept

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def _tag(self) -> None:
        """Mark the folder as a cache, which backups leave out (bford.info/cachedir)."""
        tag = self.folder / _TAG
        if not tag.is_file():
            write_atomic(tag, lambda temporary: Path(temporary).write_text(_TAG_TEXT, encoding="ascii"))
