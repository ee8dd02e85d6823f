"""The folder of a training run: its settings, its last good state, its weights and its log.

    run.json                what the run is made with: settings, seed, start network, data
    snapshot.safetensors    everything the next step depends on, with how far the run is
    frozen_{n}.safetensors  the network that round n's labels come from; clusters_{n}.safetensors its clusters
    weights.safetensors     the best network so far, for `segment --weights`
    log.jsonl               every step and validation up to the snapshot
    cluster-training/       the published code's layout (core.engine.official_runs)
    tensorboard/            where asked for

Every file appears whole or not at all, in an order that a run can go on from after any of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from core.engine.snapshots import read_snapshot, write_snapshot
from core.engine.weight_folders import OWN_WEIGHTS
from core.errors import InputError
from core.images import leftovers, write_atomic

LOG = "log.jsonl"


class RunSettingsError(InputError):
    """The folder is no place for this run: it holds another one, or something else. The message starts with its path."""


@dataclass(frozen=True, slots=True, eq=False)
class RunState:
    """How far a run is: ``step`` steps done, ``validated`` after which, the ``best`` row so far, and the tensors."""

    step: int
    validated: int
    best: dict[str, float] | None
    tensors: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths in a run's folder, and what is read and written there."""

    path: Path

    @property
    def weights(self) -> Path:
        return self.path / OWN_WEIGHTS

    @property
    def snapshot(self) -> Path:
        return self.path / "snapshot.safetensors"

    def frozen(self, number: int) -> Path:
        return self.path / f"frozen_{number}.safetensors"

    def clusters(self, number: int) -> Path:
        return self.path / f"clusters_{number}.safetensors"

    def begin(self, settings: dict[str, Any], resume: bool) -> None:
        """Write the settings of a new run, or compare them with those of the run that goes on.

        A run that stopped before it learnt anything is begun anew. RunSettingsError when there is a run already and it is not
        to go on, when it has other settings, and for a file or a folder of other things.
        """
        path = self.path / "run.json"
        self._require_place_for_a_run()
        different = differences(self.settings(), json.loads(json.dumps(settings))) if path.is_file() else []
        if not self.snapshot.is_file():
            self._begin_anew(settings, keep=path.is_file() and not different)
        elif not resume:
            raise RunSettingsError(
                f"{self.path}: holds a run already, expected a new folder; the same command with --resume goes on with it"
            )
        elif different:
            found = "; ".join(different[:4])
            raise RunSettingsError(f"{path}: the run has other settings: {found}; expected the same to go on")
        for left in leftovers(self.path):
            left.unlink(missing_ok=True)  # half-written files of a process that was killed

    def _require_place_for_a_run(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunSettingsError(f"{self.path}: is a file, expected a folder for the run")
        if self.path.is_dir() and not (self.path / "run.json").is_file():
            ours = set(leftovers(self.path))
            other = sorted(path.name for path in self.path.iterdir() if path not in ours)
            if other:
                raise RunSettingsError(f"{self.path}: holds {other[0]} and no run, expected a new or an empty folder")

    def _begin_anew(self, settings: dict[str, Any], keep: bool) -> None:
        """Nothing was learnt here; ``keep``: what an earlier try with the same settings has clustered is still right."""
        if keep:
            return
        for made in (*self.path.glob("frozen_*.safetensors"), *self.path.glob("clusters_*.safetensors")):
            made.unlink()
        write_text(self.path / "run.json", json.dumps(settings, indent=1))

    def settings(self) -> dict[str, Any]:
        """What the run is made with; InputError when there is no run."""
        path = self.path / "run.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise InputError(f"{self.path}: no run here to go on with, expected run.json") from error
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a run ({error})") from error

    def read_state(self) -> RunState | None:
        """The last good state, or None before the first; WeightsError when the snapshot is broken."""
        if not self.snapshot.is_file():
            return None
        tensors, facts = read_snapshot(self.snapshot)
        return RunState(facts["step"], facts["validated"], facts["best"], tensors)

    def write_state(self, state: RunState) -> None:
        """Replace the snapshot; where that fails the old one stays."""
        facts = {"step": state.step, "validated": state.validated, "best": state.best}
        write_snapshot(self.snapshot, state.tensors, facts)

    def cut_log(self, step: int) -> None:
        """Forget what was logged after ``step`` steps, and a last line that was cut off."""
        rows = [row for row in read_log(self.path) if row["step"] <= step]
        write_text(self.path / LOG, "".join(json.dumps(row) + "\n" for row in rows))

    def append_log(self, rows: list[dict[str, Any]]) -> None:
        """Add lines to the log; InputError when the disk is full."""
        path = self.path / LOG
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_atomic(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log: steps (``loss``, ...) and validations (``val_loss_cluster``, ...), each with its ``step``."""
    path = Path(folder) / LOG
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # a kill cut the last line off
    return rows


def differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    """Name every setting that differs, with both values."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = [key for key in {**stored, **wanted} if key not in ("versions", "path")]
        inner = (differences(stored.get(key), wanted.get(key), f"{name}.{key}".lstrip(".")) for key in keys)
        return [line for lines in inner for line in lines]
    return [] if stored == wanted else [f"{name} is {stored!r} there and {wanted!r} here"]
