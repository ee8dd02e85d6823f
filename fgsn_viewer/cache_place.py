"""Where this system keeps what can be made again."""

from __future__ import annotations

from pathlib import Path

from core.disk_cache import DiskCache


def cache_folder() -> Path:
    """The program's folder of caches, as the platform has it."""
    from PySide6.QtCore import QStandardPaths  # commands that need no cache need no Qt

    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericCacheLocation)
    return (Path(place) if place else Path.home() / ".cache") / "fgsn-viewer"


def disk_cache() -> DiskCache:
    """The cache of labels and thumbnails, with the limit that the user set."""
    return DiskCache(cache_folder())
