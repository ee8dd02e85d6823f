"""The work behind the training dialog: generators over the pipelines, without Qt and without state."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import Progress, Scene
from fgsn_viewer.training_run import TrainingRun


@dataclass(frozen=True, slots=True, eq=False)
class Presets:
    """``configs``: what each preset's name stands for; ``choices``: the words that a setting of this name is made from."""

    configs: Mapping[str, Any]
    choices: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Logged:
    """The steps of a run before it stopped, as its log has them."""

    rows: tuple[Mapping[str, Any], ...]


def prepare(pipelines: Any, scene: Scene, run: TrainingRun | None) -> Generator[Any, None, tuple[Presets, str]]:
    """Return the presets, and in words what the scene offers; yields what its newest run has logged.

    Raises InputError where the scene offers nothing.
    """
    yield Progress("looking for correspondences across conditions")
    if run is not None:
        yield Logged(tuple(pipelines.training_log(run.path)))
    presets = Presets(*pipelines.training_presets())
    data = pipelines.pair_data([scene.root])
    return presets, (yield from _facts(data, scene))


def _facts(data: Any, scene: Scene) -> Generator[Progress, None, str]:
    conditions: dict[str, None] = {}
    num_points, num_pairs = 0, 0
    for index in range(len(data)):
        yield Progress(f"checking place {index + 1} of {len(data)}", index / len(data))
        view = data.view(index)
        counts = [len(found.weights) for found in view.correspondences]
        num_points, num_pairs = num_points + sum(counts), num_pairs + sum(count > 0 for count in counts)
        conditions |= dict.fromkeys(view.conditions)
    if not num_points:
        raise InputError(
            f"{scene.root}: no place is known in two conditions; training needs correspondence files, or a map with images "
            "or posed queries of several conditions"
        )
    seen = ", ".join(name for name in conditions if name)
    return f"{num_pairs:,} image pairs with {num_points:,} correspondences" + (f" in {seen}" if seen else "")


def train(pipelines: Any, scene: Scene, run: TrainingRun, config: Any) -> Generator[Any, None, Path]:
    """Train from the run's network on the scene, or go on where the run stopped; yields steps, returns the network's file."""
    yield Progress("opening the training data")
    data = pipelines.pair_data([scene.root])
    yield Logged(tuple(pipelines.training_log(run.path)))
    made = yield from _told(pipelines.train(run.request.network, data, config, run.path, run.request.seed))
    return Path(made)


def _told(steps: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    """Pass the steps on; a step of the training is progress too."""
    try:
        while True:
            step = next(steps)
            if hasattr(step, "step"):
                yield Progress(f"training: {step.message}", step.fraction)
            yield step
    except StopIteration as done:
        return done.value
    finally:
        steps.close()
