"""Measured odometry: how a camera moved from one frame of a drive to the next, as text.

Motion frame by frame, one line a frame, ``cam_now_from_cam_before`` with its standard deviations along each axis:

    # name timestamp qw qx qy qz tx ty tz sigma_m sigma_deg
    night/0000.jpg 12.00 start
    night/0001.jpg 12.50 0.9998 0 0.02 0 0.01 0 -0.98 0.03 0.2

``start`` begins a drive; every other line says how the camera moved since the line above. A timestamp is in seconds, or -.
Names may hold spaces. A drive may hold more frames than a scene has queries: motion over several lines is put together.

Or a trajectory by time, as TUM writes it: ``timestamp tx ty tz qx qy qz qw``, the camera's pose in a frame of the odometry's
own (world_from_cam there). Queries are found in it by their timestamps; how far it errs is not in such a file.
Blank lines and lines that start with # are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Rigid3d
from core.images import write_atomic
from core.records import ImageData
from core.scene.colmap_text import numbers, parse_pose, text_lines
from core.sequences import OdometryNoise

START = "start"
NO_TIME = "-"
_VALUES = ("qw", "qx", "qy", "qz", "tx", "ty", "tz", "sigma_m", "sigma_deg")
_FORMAT = f"expected name timestamp {' '.join(_VALUES)}, or name timestamp {START}"
_MAX_GAP_S = 2.0
_MAX_WAY_M = 1e8


@dataclass(frozen=True, slots=True, eq=False)
class OdometryStep:
    """One measured motion with how far it errs; ``noise`` None where that is not known."""

    cam_now_from_cam_before: Rigid3d
    noise: OdometryNoise | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OdometryLine:
    """A frame of a drive; ``step`` from the line before, None where a drive begins."""

    name: str
    timestamp_s: float | None
    step: OdometryStep | None


class FrameOdometry:
    """Motion frame by frame, found by the names of the frames."""

    def __init__(self, lines: Sequence[OdometryLine]) -> None:
        self.lines = tuple(lines)
        self._place = {line.name: k for k, line in enumerate(self.lines)}

    def ordered(self, queries: Sequence[ImageData]) -> tuple[ImageData, ...] | None:
        """The queries as the lines follow each other; None where some are not among them."""
        known = all(query.name in self._place for query in queries)
        return tuple(sorted(queries, key=lambda query: self._place[query.name])) if known else None

    def between(self, before: ImageData, now: ImageData) -> OdometryStep | None:
        """The motion between two frames of one drive, the errors of all lines on the way added; None where it is not known."""
        first, last = self._place.get(before.name), self._place.get(now.name)
        if first is None or last is None or last <= first:
            return None
        steps = [line.step for line in self.lines[first + 1 : last + 1]]
        return None if any(step is None for step in steps) else _joined(steps)


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses by time: ``times_s`` (N,) f64 rising, ``world_from_cam`` of each."""

    times_s: Array
    world_from_cam: tuple[Rigid3d, ...]

    def ordered(self, queries: Sequence[ImageData]) -> tuple[ImageData, ...] | None:
        """The queries by time; None where some have none."""
        timed = all(query.timestamp_s is not None for query in queries)
        return tuple(sorted(queries, key=lambda query: (query.timestamp_s, query.name))) if timed else None

    def between(self, before: ImageData, now: ImageData) -> OdometryStep | None:
        """The motion between the times of two frames; None where a time is not known or the trajectory has a gap there."""
        poses = [self._at(frame.timestamp_s) for frame in (before, now)]
        return None if None in poses else OdometryStep(poses[1].inverse() @ poses[0])

    def _at(self, time_s: float | None) -> Rigid3d | None:
        """The pose at a time, between two that are at most two seconds apart."""
        if time_s is None:
            return None
        k = int(np.searchsorted(self.times_s, time_s))
        if k < len(self.times_s) and self.times_s[k] == time_s:
            return self.world_from_cam[k]
        if k == 0 or k == len(self.times_s) or self.times_s[k] - self.times_s[k - 1] > _MAX_GAP_S:
            return None
        share = (time_s - self.times_s[k - 1]) / (self.times_s[k] - self.times_s[k - 1])
        return _blended(self.world_from_cam[k - 1], self.world_from_cam[k], float(share))


Odometry = FrameOdometry | Trajectory


def read_odometry(path: str | Path) -> Odometry:
    """Read a file of either form; SceneError names file and line."""
    path = Path(path)
    lines = [(where, line) for where, line in text_lines(path) if line]
    if not lines:
        raise SceneError(f"{path}: holds no frame, {_FORMAT}")
    return _read_trajectory(path, lines) if _all_numbers(lines[0][1].split(), 8) else _read_frames(lines)


def write_odometry(path: str | Path, lines: Sequence[OdometryLine], about: str = "") -> None:
    """Write the list that ``read_odometry`` reads; ``about``: a remark at its head. Every step needs its noise as a floor."""
    rows = [f"# {row}" for row in (about, f"name timestamp {' '.join(_VALUES)} (cam_now_from_cam_before)") if row]
    for line in lines:
        words = [START] if line.step is None else [repr(float(value)) for value in _step_values(line.step)]
        time = NO_TIME if line.timestamp_s is None else repr(float(line.timestamp_s))
        rows.append(" ".join([line.name, time, *words]))
    text = "\n".join(rows) + "\n"
    write_atomic(Path(path), lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))


def _step_values(step: OdometryStep) -> list[float]:
    motion, noise = step.cam_now_from_cam_before, step.noise
    way_m = float(np.linalg.norm(motion.tvec))
    position = noise.translation_share * way_m + noise.translation_floor_m
    return [*motion.qvec, *motion.tvec, position, noise.rotation_deg_per_m * way_m + noise.rotation_floor_deg]


def _read_frames(lines: list[tuple[str, str]]) -> FrameOdometry:
    found: dict[str, OdometryLine] = {}
    for where, line in lines:
        one = _frame(line, where)
        if one.name in found:
            raise SceneError(f"{where}: {one.name!r} is listed a second time")
        if not found and one.step is not None:
            raise SceneError(f"{where}: a motion without a line above to move from; a drive begins with name timestamp {START}")
        found[one.name] = one
    return FrameOdometry(list(found.values()))


def _frame(line: str, where: str) -> OdometryLine:
    starts = line.split()[-1] == START
    tokens = line.rsplit(None, 2 if starts else 1 + len(_VALUES))
    if len(tokens) != (3 if starts else 2 + len(_VALUES)):
        raise SceneError(f"{where}: {_FORMAT}; found {len(line.split())} values")
    name, time, *values = tokens
    timestamp_s = None if time == NO_TIME else float(numbers([time], np.float64, where)[0])
    return OdometryLine(name, timestamp_s, None if starts else _step(values, where))


def _step(values: list[str], where: str) -> OdometryStep:
    position_m, rotation_deg = numbers(values[7:], np.float64, where)
    if not (0 <= position_m <= _MAX_WAY_M and 0 <= rotation_deg <= 180):
        raise SceneError(
            f"{where}: the errors are {position_m:g} m and {rotation_deg:g} deg, expected 0 or more, up to 180 deg"
        )
    return OdometryStep(_pose(values[:7], where), _floor(float(position_m), float(rotation_deg)))


def _pose(tokens: list[str], where: str) -> Rigid3d:
    """A pose or motion whose place is no farther away than any drive goes."""
    pose = parse_pose(tokens, where)
    if np.abs(pose.tvec).max() > _MAX_WAY_M:
        raise SceneError(f"{where}: the translation {pose.tvec.tolist()} is over {_MAX_WAY_M:g} m, expected metres")
    return pose


def _floor(position_m: float, rotation_deg: float) -> OdometryNoise:
    """An error that is stated as it is, whatever the way."""
    return OdometryNoise(0.0, position_m, 0.0, rotation_deg)


def _read_trajectory(path: Path, lines: list[tuple[str, str]]) -> Trajectory:
    times, poses = [], []
    for where, line in lines:
        tokens = line.split()
        if len(tokens) != 8:
            raise SceneError(
                f"{where}: expected timestamp tx ty tz qx qy qz qw as in the lines above, found {len(tokens)} values"
            )
        time_s = float(numbers(tokens[:1], np.float64, where)[0])
        if times and time_s <= times[-1]:
            raise SceneError(f"{where}: the time {time_s:g} does not come after that of the line above, {times[-1]:g}")
        times.append(time_s)
        poses.append(_pose([tokens[7], *tokens[4:7], *tokens[1:4]], where))
    if len(times) < 2:
        raise SceneError(f"{path}: holds one pose, expected a trajectory of at least two")
    return Trajectory(np.array(times), tuple(poses))


def _all_numbers(tokens: list[str], count: int) -> bool:
    try:
        return len([float(token) for token in tokens]) == count
    except ValueError:
        return False


def _joined(steps: Sequence[OdometryStep]) -> OdometryStep:
    """Several motions one after the other; a turn that errs early displaces all that follows it."""
    motion, position, rotation = Rigid3d.identity(), 0.0, 0.0
    for step in steps:
        swept_m = np.radians(np.sqrt(rotation)) * np.linalg.norm(step.cam_now_from_cam_before.tvec)
        position += step.noise.translation_floor_m**2 + float(swept_m) ** 2
        rotation += step.noise.rotation_floor_deg**2
        motion = step.cam_now_from_cam_before @ motion
    return OdometryStep(motion, _floor(float(np.sqrt(position)), float(np.sqrt(rotation))))


def _blended(a: Rigid3d, b: Rigid3d, share: float) -> Rigid3d:
    """The pose a share of the way from a to b: straight on, turning evenly (spherical interpolation)."""
    cosine = float(a.qvec @ b.qvec)
    target = b.qvec if cosine >= 0 else -b.qvec
    angle = float(np.arccos(min(1.0, abs(cosine))))
    if angle < 1e-6:
        qvec = (1 - share) * a.qvec + share * target
    else:
        qvec = (np.sin((1 - share) * angle) * a.qvec + np.sin(share * angle) * target) / np.sin(angle)
    return Rigid3d(qvec / np.linalg.norm(qvec), (1 - share) * a.tvec + share * b.tvec)
