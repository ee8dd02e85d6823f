"""Opening: a path becomes a scene that was read, then what it holds is shown, then it is taken in place of the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from fgsn_viewer.opening import Opened, open_paths
from fgsn_viewer.tasks import Failure, TaskRunner

CHANNEL = "open"


class OpeningController(QObject):
    """Keeps what was read and waits for a person's word; until then the scene before stays as it is."""

    summarized = Signal(object)  # SceneSummary of what waits
    taken = Signal(object)  # Opened
    failed = Signal(str, object)  # what was tried, Failure

    def __init__(self, pipelines: Any, tasks: TaskRunner, parent: QObject | None = None):
        super().__init__(parent)
        self._pipelines, self._tasks = pipelines, tasks
        self._waiting: Opened | None = None

    def open(self, paths: Sequence[Path], query: str | None = None) -> None:
        """Read a scene or two photographs and take it at once."""
        self._read(paths, query, self._take)

    def look_at(self, paths: Sequence[Path]) -> None:
        """Read a scene and say what is in it; ``accept`` takes it. Two photographs are taken at once."""
        self._read(paths, None, self._show)

    def accept(self) -> None:
        """Take what waits, if anything does."""
        if self._waiting is not None:
            self._take(self._waiting)

    def refuse(self) -> None:
        """Forget what waits; the scene before stays."""
        self._waiting = None

    def _read(self, paths: Sequence[Path], query: str | None, then: Callable[[Opened], None]) -> None:
        asked = tuple(Path(path) for path in paths)
        self._waiting = None
        self._tasks.start(
            CHANNEL, lambda: open_paths(self._pipelines, asked, query), on_result=then, on_failure=self._take_failure
        )

    def _show(self, opened: Opened) -> None:
        if opened.is_pair:
            self._take(opened)
            return
        self._waiting = opened
        self.summarized.emit(opened.summary)

    def _take(self, opened: Opened) -> None:
        self._waiting = None
        self.taken.emit(opened)

    def _take_failure(self, failure: Failure) -> None:
        self.failed.emit("opening", failure)
