"""Training on the open scene: intents of the dialog become a task, its steps become what the dialog shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from core.errors import InputError
from core.records import Scene
from fgsn_viewer.settings_spec import with_values
from fgsn_viewer.tasks import Failure, TaskRunner
from fgsn_viewer.training_run import TrainingRequest, TrainingRun, TrainingState, finish_run, latest_run, new_run, runs_folder
from fgsn_viewer.training_work import Logged, Presets, prepare, train

CHANNEL = "training"
_CURVES = {"class": "L_class", "corr_ref": "L_corr", "corr_other": "L_corr", "val_loss_cluster": "validation"}


class TrainingController(QObject):
    """Keeps one TrainingState. A run belongs to the scene that was open when the dialog was asked for."""

    changed = Signal(object)  # TrainingState
    presets_known = Signal(object)  # Presets
    network_made = Signal(object)  # Path of a network that a person wants to use now
    noted = Signal(str)

    def __init__(self, pipelines: Any, tasks: TaskRunner, root: Path, parent: QObject | None = None):
        super().__init__(parent)
        self._pipelines, self._tasks, self._root = pipelines, tasks, root
        self._scene: Scene | None = None
        self._history: dict[str, list[tuple[int, float]]] = {}
        self._presets: Presets | None = None
        self.state = TrainingState()
        tasks.finished.connect(self._on_finished)

    def prepare(self, scene: Scene) -> None:
        """Look what the scene offers to learn from, and whether a run of it waits; a run that goes on is left alone."""
        if self._tasks.is_busy(CHANNEL):
            return
        self._scene, self._history = scene, {}
        run = latest_run(runs_folder(self._root, scene.root))
        self._show(TrainingState(scene=scene.name, message="Looking for correspondences across conditions", run=run))
        self._start(lambda: prepare(self._pipelines, scene, run), self._take_data)

    def start(self, network: str, preset: str, values: Mapping[str, Any]) -> None:
        """Begin a new run of the scene with these settings."""
        if self._presets is None or self._scene is None or not self.state.can_start:
            return
        try:
            with_values(self._presets.configs[preset], values)
            run = new_run(runs_folder(self._root, self._scene.root), TrainingRequest(network, preset, dict(values)))
        except (InputError, ValueError, OSError) as error:
            self._show(replace(self.state, phase="failed", problem=str(error)))
            return
        self._run(run)

    def resume(self) -> None:
        """Go on with the newest run of the scene, with the settings that it began with."""
        if self.state.can_resume:
            self._run(self.state.run)

    def cancel(self) -> None:
        """Stop; what was learnt so far is kept in the run's folder."""
        self._tasks.cancel(CHANNEL)

    def use_result(self) -> None:
        """Label with the network that came out."""
        if self.state.result is not None:
            self.network_made.emit(self.state.result)

    def _run(self, run: TrainingRun) -> None:
        scene, presets = self._scene, self._presets
        preset = presets.configs.get(run.request.preset, next(iter(presets.configs.values())))
        config = with_values(preset, run.request.values)
        self._history = {}
        self._show(replace(self.state, phase="running", message="Starting", run=run, problem="", fraction=None, curves={}))
        self._start(lambda: train(self._pipelines, scene, run, config), lambda path: self._take_network(run, path))

    def _start(self, work: Callable, on_result: Callable) -> None:
        self._tasks.start(CHANNEL, work, on_part=self._take_step, on_result=on_result, on_failure=self._take_failure)

    def _take_data(self, found: tuple[Presets, str]) -> None:
        self._presets, facts = found
        self.presets_known.emit(self._presets)
        self._show(replace(self.state, phase="ready", message="", facts=facts))

    def _take_step(self, step: Any) -> None:
        if isinstance(step, Logged):
            for row in step.rows:
                self._add(row["step"] - ("loss" in row), losses_of(row))  # the log counts the steps that are done
            self._show(replace(self.state, curves=self._curves()))
            return
        self._add(step.step, step_losses(step))
        self._show(
            replace(
                self.state,
                message=step.message,
                fraction=step.fraction,
                seconds_left=getattr(step, "seconds_left", self.state.seconds_left),
                images_per_second=getattr(step, "images_per_second", self.state.images_per_second),
                curves=self._curves(),
            )
        )

    def _add(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            self._history.setdefault(name, []).append((step, value))

    def _curves(self) -> Mapping[str, Any]:
        return MappingProxyType({name: tuple(np.array(rows, np.float64).T) for name, rows in self._history.items()})

    def _take_network(self, run: TrainingRun, path: Path) -> None:
        finished = finish_run(run, Path(path))
        self.noted.emit(f"trained on {self.state.scene}: {path}")
        self._show(replace(self.state, phase="done", message="Done", fraction=1.0, run=finished, seconds_left=None))

    def _take_failure(self, failure: Failure) -> None:
        self._show(replace(self.state, phase="failed", problem=failure.sentence, message="", seconds_left=None))

    def _on_finished(self, channel: str) -> None:
        """A run that ended without a result was stopped by a person."""
        if channel == CHANNEL and self.state.phase == "running":
            self._show(replace(self.state, phase="stopped", message="Stopped; the run can go on later", seconds_left=None))

    def _show(self, state: TrainingState) -> None:
        self.state = state
        self.changed.emit(state)


def step_losses(step: Any) -> dict[str, float]:
    """What one step adds to the curves: its parts, or the loss of a validation."""
    if hasattr(step, "losses"):
        return {"validation": float(step.losses.cluster)}
    return losses_of(step.parts)


def losses_of(parts: Mapping[str, Any]) -> dict[str, float]:
    """The class loss, the correspondence losses of both sides together, and the validation's; all else is no curve."""
    found: dict[str, float] = {}
    for name, value in parts.items():
        curve = _CURVES.get(name)
        if curve is not None:
            found[curve] = found.get(curve, 0.0) + float(value)
    return found
