"""Building a map from photographs: intents of the dialog become a task, its steps become what the dialog shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.errors import InputError
from core.records import Progress
from fgsn_viewer.labelling import Labelling
from fgsn_viewer.map_building import Counted, MapState, build, read_request
from fgsn_viewer.tasks import Failure, TaskRunner
from fgsn_viewer.work_steps import Steps

CHANNEL = "mapping"


class MappingController(QObject):
    """Keeps one MapState; one map is built at a time, and other work goes on beside it."""

    changed = Signal(object)  # MapState
    config_known = Signal(object)  # the settings of a map, with their defaults
    made = Signal(object)  # Path of a map that is done
    noted = Signal(str)

    def __init__(self, labelling: Labelling, tasks: TaskRunner, parent: QObject | None = None):
        super().__init__(parent)
        self._labelling, self._tasks = labelling, tasks
        self.state = MapState()
        tasks.finished.connect(self._on_finished)
        tasks.progressed.connect(self._on_progress)

    def prepare(self) -> None:
        """Ask for the settings of a map, off the GUI thread; a map that is being built is left alone."""
        if not self._tasks.is_busy(CHANNEL):
            self._show(MapState())
            self._tasks.start(CHANNEL, self._config, on_result=self.config_known.emit, on_failure=self._take_failure)

    def start(self, photos: str, out: str, poses: str, network: str | Path | None, values: Mapping[str, Any]) -> None:
        """Build a map as it was typed, or say what cannot be."""
        try:
            request = read_request(photos, out, poses, network, values)
        except (InputError, OSError) as error:
            self._show(replace(self.state, phase="failed", problem=str(error), message=""))
            return
        self._show(MapState("running", "Starting"))
        self._tasks.start(
            CHANNEL,
            lambda: build(self._labelling, request),
            on_part=self._take_part,
            on_result=lambda done: self._take_map(*done),
            on_failure=self._take_failure,
        )

    def cancel(self) -> None:
        """Stop; nothing of the map is left on the disk."""
        self._tasks.cancel(CHANNEL)

    def _config(self) -> Steps:
        yield Progress("loading the libraries")
        return self._labelling.pipelines.map_config()

    def _take_part(self, part: Any) -> None:
        if isinstance(part, Counted):
            self._show(replace(self.state, num_photos=part.num_photos))

    def _on_progress(self, channel: str, progress: Progress) -> None:
        if channel != CHANNEL or self.state.phase != "running":
            return
        placed, points = (getattr(progress, name, None) for name in ("num_placed", "num_points"))
        self._show(
            replace(
                self.state,
                message=progress.message[:1].upper() + progress.message[1:],
                fraction=progress.fraction,
                num_placed=self.state.num_placed if placed is None else placed,
                num_points=self.state.num_points if points is None else points,
            )
        )

    def _take_map(self, out: Path, num_placed: int, num_points: int) -> None:
        self.noted.emit(f"built the map {out}: {num_placed:,} images, {num_points:,} points")
        counts = {"num_placed": num_placed, "num_points": num_points}
        self._show(replace(self.state, phase="done", message="Done", fraction=1.0, out=out, **counts))
        self.made.emit(out)

    def _take_failure(self, failure: Failure) -> None:
        self._show(replace(self.state, phase="failed", problem=failure.sentence, message="", fraction=None))

    def _on_finished(self, channel: str) -> None:
        if channel == CHANNEL and self.state.phase == "running":
            self._show(replace(self.state, phase="stopped", message="Stopped; nothing was written", fraction=None))

    def _show(self, state: MapState) -> None:
        self.state = state
        self.changed.emit(state)
