"""Poses as visuallocalization.net takes them (PAPER 4.6): written, read, and checked against a scene.

A line a localized query: ``name qw qx qy qz tx ty tz``, world to camera, a unit quaternion and the translation t = -R C (not
the camera's centre C), in the frame of the reference model. How images are named differs by benchmark: ``NAMES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError, SceneError
from core.geometry import Array, Rigid3d
from core.images import write_atomic
from core.records import Scene
from core.scene.colmap_text import text_lines

NAMES: dict[str, Callable[[str], str]] = {
    "full": lambda name: name,
    "basename": lambda name: name.rsplit("/", 1)[-1],
    "camera": lambda name: "/".join(name.split("/")[-2:]),
}
"""How an image is named: as in the scene; by its file alone (CMU Seasons, Aachen); by camera and file (RobotCar Seasons)."""

_BENCHMARKS = {"cmu": "basename", "robotcar": "camera", "aachen": "basename"}


@dataclass(frozen=True, slots=True)
class PoseLine:
    """One line of a submission as it stands: ``values`` are qw qx qy qz tx ty tz, finite or not."""

    number: int
    name: str
    values: tuple[float, ...]


def write_submission(path: str | Path, poses: Mapping[str, Rigid3d], names: str = "full") -> None:
    """Write a line ``name qw qx qy qz tx ty tz`` (cam_from_world; t is no camera centre) for each localized query.

    Raises InputError where two images would have one name.
    """
    if names not in NAMES:
        raise InputError(f"names {names!r} are not known; expected one of {', '.join(NAMES)}")
    lines: dict[str, str] = {}
    for name, pose in poses.items():
        short = NAMES[names](name)
        if short in lines:
            raise InputError(f"{path}: two images would be called {short!r}; write their names with more of their folders")
        lines[short] = f"{short} " + " ".join(f"{value:.12g}" for value in (*pose.qvec, *pose.tvec))
    text = "".join(f"{line}\n" for line in lines.values())
    write_atomic(Path(path), lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))


def names_of_layout(layout: str) -> str:
    """How a benchmark wants images named, by the layout of a scene; scenes of other layouts keep their names."""
    plain = layout.lower()
    return next((names for word, names in _BENCHMARKS.items() if word in plain), "full")


def read_submission(path: str | Path) -> tuple[PoseLine, ...]:
    """Read every line as it stands, duplicates, NaN and wrong lengths included. SceneError for lines without 7 numbers."""
    lines = []
    for where, line in text_lines(Path(path)):
        if not line:
            continue
        tokens = line.rsplit(None, 7)
        try:
            values = tuple(float(token) for token in tokens[1:])
        except ValueError as error:
            raise SceneError(f"{where}: expected name qw qx qy qz tx ty tz, found {line[:80]!r}") from error
        if len(values) != 7:
            raise SceneError(f"{where}: expected name qw qx qy qz tx ty tz, found {len(tokens)} values in {line[:80]!r}")
        lines.append(PoseLine(int(where.rsplit(":", 1)[1]), tokens[0], values))
    if not lines:
        raise SceneError(f"{path}: holds no pose, expected lines of name qw qx qy qz tx ty tz")
    return tuple(lines)


def pose_of(values: Sequence[float]) -> Rigid3d | None:
    """The pose of a line, its quaternion made a unit; None where it has none."""
    numbers = np.array(values, np.float64)
    if not np.isfinite(numbers).all() or np.linalg.norm(numbers[:4]) < 1e-12:
        return None
    return Rigid3d(numbers[:4], numbers[4:])


def self_test(scene: Scene, path: Path, names: str) -> tuple[int, float]:
    """Write the poses of the reference images to ``path`` as a submission, read them back and compare.

    Return how many there were and how far the farthest centre moved, in m: what is left is the rounding of the text.
    """
    known = {image.name: image.cam_from_world for image in scene.reference if image.cam_from_world is not None}
    one_each = {NAMES[names](name): name for name in known}
    write_submission(path, {name: known[name] for name in one_each.values()}, names)
    read = read_submission(path) if one_each else ()
    moved = [_distance(pose_of(line.values), known[one_each[line.name]]) for line in read]
    return len(read), max(moved, default=0.0)


def _distance(a: Rigid3d, b: Rigid3d) -> float:
    return float(np.linalg.norm(a.center() - b.center()))


def centers_of(poses: Sequence[Rigid3d]) -> Array:
    """Camera centres (N, 3) in the world."""
    return np.array([pose.center() for pose in poses]).reshape(-1, 3)
