"""The training runs of a scene on disk, as the window keeps them: what was asked for, where it is, what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.images import write_atomic

REQUEST = "request.json"
RUN = "run"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What a person asked for: the network to start from, a preset's name and the settings that differ by path."""

    network: str
    preset: str
    values: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run: its ``folder`` holds the request and, in ``run``, what the training writes; ``result`` is its network."""

    folder: Path
    request: TrainingRequest
    result: Path | None = None

    @property
    def path(self) -> Path:
        return self.folder / RUN

    @property
    def has_started(self) -> bool:
        """Whether the training has written anything that it can go on from."""
        return self.path.is_dir() and any(self.path.iterdir())


def runs_folder(root: Path, scene_root: Path) -> Path:
    """Where the runs of a scene are kept, under ``root``."""
    absolute = scene_root.absolute()
    return root / f"{absolute.name}-{hashlib.sha256(str(absolute).encode()).hexdigest()[:8]}"


def latest_run(folder: Path) -> TrainingRun | None:
    """The newest readable run of a scene, or None."""
    for path in sorted(folder.glob(f"*/{REQUEST}"), reverse=True):
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            result = Path(stored.pop("result")) if stored.get("result") else stored.pop("result", None)
            return TrainingRun(path.parent, TrainingRequest(**stored), result if result and result.is_file() else None)
        except (OSError, ValueError, TypeError):
            continue
    return None


def new_run(folder: Path, request: TrainingRequest) -> TrainingRun:
    """Make the next numbered run of a scene and write down what was asked for."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdigit()] if folder.is_dir() else []
    run = TrainingRun(folder / f"{max(numbers, default=0) + 1:04d}", request)
    run.folder.mkdir(parents=True)
    _write(run)
    return run


def finish_run(run: TrainingRun, result: Path) -> TrainingRun:
    """Write down which network came out."""
    finished = replace(run, result=result)
    _write(finished)
    return finished


def _write(run: TrainingRun) -> None:
    request = run.request
    stored = {"network": request.network, "preset": request.preset, "values": dict(request.values), "seed": request.seed}
    stored["result"] = None if run.result is None else str(run.result)
    text = json.dumps(stored, indent=1)
    write_atomic(run.folder / REQUEST, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What the dialog shows. ``phase``: preparing, ready, running, stopped, done or failed; ``problem``: why not.

    ``curves``: name -> steps (N,), losses (N,). ``run`` is the newest run of the scene, ``facts`` says what it learns from.
    """

    scene: str = ""
    phase: str = "preparing"
    message: str = ""
    fraction: float | None = None
    seconds_left: float | None = None
    images_per_second: float | None = None
    facts: str = ""
    problem: str = ""
    curves: Mapping[str, Any] = field(default_factory=dict)
    run: TrainingRun | None = None

    @property
    def can_start(self) -> bool:
        return self.phase in ("ready", "stopped", "done", "failed") and bool(self.facts)

    @property
    def can_resume(self) -> bool:
        return self.can_start and self.run is not None and self.run.result is None and self.run.has_started

    @property
    def result(self) -> Path | None:
        return None if self.run is None or self.phase == "running" else self.run.result
