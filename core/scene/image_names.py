"""Names of images as files give them: from any system, and never out of the scene's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_DRIVE = re.compile(r"^[A-Za-z]:")


def inside(name: str) -> str:
    """The name with '/' between its parts and without what would lead out of a folder: drive, root, '.' and '..'."""
    parts = _DRIVE.sub("", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def leads_out(name: str) -> bool:
    """Whether a name is absolute or climbs out of its folder."""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or bool(_DRIVE.match(plain)) or ".." in plain.split("/")


def outside_note(path: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Say how many names pointed out of the folder and are looked for inside; nothing when none did."""
    found = [name for name in names if leads_out(name)]
    if not found:
        return ()
    start = "1 image name points" if len(found) == 1 else f"{len(found)} image names point"
    return (f"{path}: {start} out of the folder and is looked for inside as {inside(found[0])!r} (the first: {found[0]!r}).",)


class Listing:
    """Tells whether files are there; every folder is listed once, for to ask for 40,000 files one by one takes long."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def __contains__(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._names[folder] = frozenset()
        names = self._names[folder]
        return path.name in names or (bool(names) and path.is_file())  # a disk may not mind capitals


def missing_note(paths: Sequence[Path], what: str) -> tuple[str, ...]:
    """Say how many of the files are not there; nothing when all are."""
    there = Listing()
    missing = [path for path in paths if path not in there]
    return (f"{len(missing)} of {len(paths)} {what} are missing (the first: {missing[0]}).",) if missing else ()


def root_of_most(names: Sequence[str], roots: Iterable[Path], sample: int = 50) -> Path | None:
    """The folder under which most of some names are files, the first of equals; None where none is."""
    step = max(1, len(names) // sample)
    counts = {root: sum((root / name).is_file() for name in names[::step]) for root in dict.fromkeys(roots)}
    best = max(counts, key=lambda root: counts[root], default=None)
    return best if best is not None and counts[best] else None
