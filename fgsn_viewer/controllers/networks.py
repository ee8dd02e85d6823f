"""The networks at hand: where they are looked for, what was found, which is used, and whether it fits the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.records import PointLabels
from fgsn_viewer.labelling import Labelling
from fgsn_viewer.network_search import DIFFERS, FITS, NetworkRow, NetworksState, Place, find_networks
from fgsn_viewer.state import ViewerState
from fgsn_viewer.tasks import Failure, TaskRunner
from fgsn_viewer.work_steps import Note
from resources import MODELS

CHANNEL = "networks"


class NetworksController(QObject):
    """Keeps one NetworksState; ``folders`` are those that a person added, kept by whoever made this."""

    changed = Signal(object)  # NetworksState
    folders_changed = Signal(object)  # tuple of Path

    def __init__(
        self,
        state: ViewerState,
        tasks: TaskRunner,
        labelling: Labelling,
        used: Callable[[], str | Path | None],
        parent: QObject | None = None,
    ):
        super().__init__(parent)
        self._viewer, self._tasks, self._labelling, self._used = state, tasks, labelling, used
        self._folders: tuple[Path, ...] = ()
        self.state = NetworksState()
        for signal in (state.labels_from_changed, state.network_changed):
            signal.connect(lambda _value: self._show(self.state.rows))
        state.point_labels_changed.connect(self._on_point_labels)

    def set_folders(self, folders: Sequence[Path]) -> None:
        """Look in these folders too, when asked next."""
        self._folders = tuple(folders)

    def add_folder(self, folder: Path) -> None:
        """Look in another folder from now on."""
        if folder not in self._folders:
            self._folders = (*self._folders, folder)
            self.folders_changed.emit(self._folders)
        self.look()

    def remove_folder(self, folder: Path) -> None:
        """Look there no more."""
        self._folders = tuple(known for known in self._folders if known != folder)
        self.folders_changed.emit(self._folders)
        self.look()

    def look(self) -> None:
        """Look for networks anew, and say what was found as it comes."""
        scene, places = self._viewer.scene, self._places()
        self._show((), is_looking=True)
        self._tasks.start(
            CHANNEL,
            lambda: find_networks(self._labelling, places, scene),
            on_part=self._take,
            on_result=lambda _: self._show(self.state.rows),
            on_failure=self._take_failure,
        )

    def _places(self) -> tuple[Place, ...]:
        scene, places = self._viewer.scene, [Place("shipped", MODELS)]
        if scene is not None:
            places.append(Place("this scene", scene.root if scene.root.is_dir() else scene.root.parent))
        return (*places, *(Place(folder.name or str(folder), folder, True) for folder in self._folders))

    def _on_point_labels(self, labels: PointLabels | None) -> None:
        """The map may have been labelled just now."""
        rows = self.state.rows
        now = [labels is not None and row.fit == DIFFERS and row.found.vocabulary == labels.vocabulary for row in rows]
        if any(now):
            self._show(tuple(replace(row, fit=FITS) if fits else row for row, fits in zip(rows, now, strict=True)))

    def _take(self, part: Any) -> None:
        if isinstance(part, Note):
            self._show(self.state.rows, is_looking=True, problem=part.sentence)
        else:
            self._show((*self.state.rows, *part), is_looking=True)

    def _take_failure(self, failure: Failure) -> None:
        self._show(self.state.rows, problem=failure.sentence)

    def _show(self, rows: tuple[NetworkRow, ...], is_looking: bool | None = None, problem: str | None = None) -> None:
        if is_looking is None:
            is_looking = False if problem is not None else self._tasks.is_busy(CHANNEL)
        kept = "" if is_looking and not rows else self.state.problem
        problem = kept if problem is None else problem
        self.state = NetworksState(rows, self._places(), self._used(), is_looking, problem, self._viewer.scene)
        self.changed.emit(self.state)
