"""The settings that the training dialog offers to begin with, and the call of the engine that it makes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.engine.clustering import INITS
from core.engine.fgsn_config import CHOICES, FGSNConfig
from core.engine.label_statistics import write_run_statistics
from core.engine.models import ShippedConfig
from core.engine.optimization import OPTIMIZERS, PRECISIONS, SCHEDULES
from core.engine.runs import RunConfig, train_run

SHORT, LONG, PAPER = "Short, for a first look", "As the shipped networks", "As in the paper"
_FEW_PLACES = 6


def presets() -> tuple[Mapping[str, Any], Mapping[str, Sequence[str]]]:
    """The configs by the name of their preset, and the words that some settings are made from."""
    shipped = ShippedConfig().fgsn
    schedule = replace(shipped.optimization, iterations=200, batch_size=8, head_iterations=60, snapshot_every=20)
    short = replace(shipped, optimization=schedule, max_reference_images=60)
    long = replace(shipped, optimization=replace(shipped.optimization, snapshot_every=50))
    choices = {**CHOICES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": tuple(PRECISIONS)}
    choices["init"] = INITS
    return {SHORT: short, LONG: long, PAPER: FGSNConfig()}, choices


def train(weights: str, data: Any, config: FGSNConfig, out: Path, seed: int) -> Generator[Any, None, Path]:
    """Train in ``out``, or go on where a run there stopped; then count the labels for the localizer.

    A scene of few places keeps none for validation.
    """
    steps = config.optimization.iterations
    share = 0.2 if len(data) >= _FEW_PLACES else 0.0
    pairs = min(40, len(data))
    run = RunConfig(validate_every=max(1, steps // 5), validation_share=share, validation_pairs=pairs, official_layout=False)
    resume = (Path(out) / "run.json").is_file()
    path = yield from train_run(weights, data, config, Path(out), seed, run, resume=resume)
    yield from write_run_statistics(path, data, share, seed)
    return path
