"""What the window remembers: theme, recent scenes, geometry. The store is passed in, so that tests use their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

MAX_RECENT = 10
LAYOUT_VERSION = 2  # a saved layout of another version is not restored


class Settings:
    """Typed access to a QSettings store; damaged values count as absent."""

    def __init__(self, store: QSettings | None = None):
        self._store = store or QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "fgsn-viewer", "fgsn-viewer")

    @property
    def theme(self) -> str:
        return "light" if self._store.value("theme") == "light" else "dark"

    @theme.setter
    def theme(self, value: str) -> None:
        self._store.setValue("theme", value)

    @property
    def folder(self) -> str:
        """Where the last file dialog was."""
        return str(self._store.value("folder", "") or "")

    @folder.setter
    def folder(self, value: str) -> None:
        self._store.setValue("folder", value)

    def recent(self) -> list[tuple[Path, ...]]:
        """What was opened last, newest first: one path, or the two of a pair. Entries that are gone are left out."""
        size = self._store.beginReadArray("recent")
        entries = []
        for index in range(size):
            self._store.setArrayIndex(index)
            paths = tuple(Path(part) for part in str(self._store.value("paths", "")).split("\n") if part)
            if paths and all(path.exists() for path in paths):
                entries.append(paths)
        self._store.endArray()
        return entries

    def add_recent(self, paths: Sequence[Path]) -> None:
        entry = tuple(Path(path).absolute() for path in paths)
        entries = [entry, *(old for old in self.recent() if old != entry)][:MAX_RECENT]
        self._store.remove("recent")
        self._store.beginWriteArray("recent", len(entries))
        for index, paths_of_entry in enumerate(entries):
            self._store.setArrayIndex(index)
            self._store.setValue("paths", "\n".join(map(str, paths_of_entry)))
        self._store.endArray()

    def clear_recent(self) -> None:
        self._store.remove("recent")

    @property
    def network_folders(self) -> tuple[Path, ...]:
        """Folders in which a person wants networks to be looked for."""
        return tuple(Path(part) for part in str(self._store.value("network_folders", "") or "").split("\n") if part)

    @network_folders.setter
    def network_folders(self, folders: Sequence[Path]) -> None:
        self._store.setValue("network_folders", "\n".join(str(Path(folder).absolute()) for folder in folders))

    def save_window(self, geometry: QByteArray, layout: QByteArray) -> None:
        self._store.setValue("window/geometry", geometry)
        self._store.setValue("window/layout", layout)
        self._store.setValue("window/version", LAYOUT_VERSION)

    def window(self) -> tuple[QByteArray, QByteArray] | None:
        """Geometry and dock layout, or None when nothing (or something of another version) was saved."""
        geometry, layout = self._store.value("window/geometry"), self._store.value("window/layout")
        if str(self._store.value("window/version")) != str(LAYOUT_VERSION):
            return None
        return (geometry, layout) if isinstance(geometry, QByteArray) and isinstance(layout, QByteArray) else None

    def sync(self) -> None:
        self._store.sync()
