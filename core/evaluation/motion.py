"""The odometry that a sequence is followed with: measured, as a scene or the user gives it, or simulated from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from core.errors import InputError
from core.geometry import Rigid3d
from core.localizer.frames import in_order, simulated_odometry
from core.records import ImageData, Scene
from core.scene.odometry import Odometry, OdometryStep, Trajectory, read_odometry
from core.sequences import OdometryNoise

KINDS = ("auto", "simulated", "none")
NOISE = OdometryNoise()
_ONE_MOMENT_S = 1e-3  # no camera takes two images in it


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Queries in their order; how each followed the one before (cam_now_from_cam_before or None) with how far that errs.

    ``source`` says in words where it comes from: an assumption that the numbers rest on.
    """

    queries: tuple[ImageData, ...]
    steps: tuple[Rigid3d | None, ...]
    noises: tuple[OdometryNoise, ...]
    source: str


def motion_of(scene: Scene, queries: Sequence[ImageData], kind: str, seed: int, noise: OdometryNoise = NOISE) -> Motion:
    """The odometry of one sequence: ``kind`` is "simulated", "none", a file, or "auto" for the scene's own file, else
    simulated.

    ``noise`` is that of the simulation, and of files that do not say how far they err. Raises InputError for a file that
    cannot be read or knows none of several queries, and for a trajectory where several cameras took the queries.
    """
    path = odometry_file(scene, kind)
    if path is not None:
        return _measured(read_odometry(path), path, queries, noise)
    order, source = in_order(queries), "none"
    steps: tuple[Rigid3d | None, ...] = (None,) * len(order)
    if kind != "none":
        steps = simulated_odometry(order, noise, seed)
        source = f"{_known(steps)} simulated from the true poses, with noise"
    return Motion(order, steps, (noise,) * len(order), source)


def odometry_file(scene: Scene, kind: str) -> Path | None:
    """The file that odometry of this kind is read from, or None."""
    if kind == "auto":
        return scene.odometry_path
    return None if kind in KINDS else Path(kind)


def _measured(odometry: Odometry, path: Path, queries: Sequence[ImageData], noise: OdometryNoise) -> Motion:
    order = odometry.ordered(queries) or in_order(queries)
    if isinstance(odometry, Trajectory):
        _require_one_camera(order, path)
    found: list[OdometryStep | None] = [None, *(odometry.between(before, now) for before, now in pairwise(order))]
    steps = tuple(None if step is None else step.cam_now_from_cam_before for step in found[: len(order)])
    if len(order) > 1 and not any(step is not None for step in steps):
        raise InputError(
            f"{path}: holds no motion between any two of {len(order)} queries in their order, as from {order[0].name!r} to "
            f"{order[1].name!r}; frames are found by name, or by time in a trajectory"
        )
    noises = tuple(noise if step is None or step.noise is None else step.noise for step in found[: len(order)])
    return Motion(order, steps, noises, f"{_known(steps)} read from {path.name}")


def _require_one_camera(queries: Sequence[ImageData], path: Path) -> None:
    """Raise InputError where two queries are of one moment: a trajectory does not know how cameras of one vehicle stand."""
    for before, now in pairwise(queries):
        times = before.timestamp_s, now.timestamp_s
        if None not in times and times[1] - times[0] < _ONE_MOMENT_S:
            raise InputError(
                f"{path}: tells how one camera moved, but {before.name!r} and {now.name!r} were taken at the same time, so by "
                "two; expected queries of one camera, or motion by names, from each image to the next"
            )


def _known(steps: Sequence[Rigid3d | None]) -> str:
    return f"{sum(step is not None for step in steps)} steps"
