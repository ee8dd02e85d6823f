"""Poses as benchmarks write them: rotation and camera centre, or camera-to-world matrices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Rigid3d
from core.scene.colmap_text import text_lines
from core.scene.image_names import inside, outside_note

_UNIT_TOLERANCE = 1e-2  # files give six digits or more; a longer way off is no rotation


def pose_from_center(qvec: Array, center: Array, where: str) -> Rigid3d:
    """cam_from_world of a unit quaternion qw qx qy qz and the camera's centre in the world: t = -R C.

    Raises SceneError, led by ``where``, for numbers that are no pose.
    """
    length = float(np.linalg.norm(qvec))
    if not (np.isfinite(length) and np.isfinite(center).all()):
        raise SceneError(f"{where}: the pose is not finite, expected a unit quaternion and a centre")
    if abs(length - 1) > _UNIT_TOLERANCE:
        raise SceneError(f"{where}: the quaternion has length {length:.6g}, expected 1")
    rotation = Rigid3d(qvec, np.zeros(3))
    return Rigid3d(rotation.qvec, -rotation.R @ np.asarray(center, np.float64))


def pose_from_camera_to_world(matrix: Array, where: str) -> Rigid3d:
    """cam_from_world of a (3 or 4, 4) matrix [R c] that takes camera coordinates to the world; SceneError when it is none."""
    R, center = matrix[:3, :3], matrix[:3, 3]
    if not np.isfinite(matrix).all():
        raise SceneError(f"{where}: the matrix is not finite, expected [R c] from camera to world")
    if np.abs(R @ R.T - np.eye(3)).max() > _UNIT_TOLERANCE or np.linalg.det(R) < 0:
        raise SceneError(f"{where}: the matrix holds no rotation (determinant {np.linalg.det(R):.4g}), expected [R c]")
    return Rigid3d.from_rotation(R.T, -R.T @ center)


def read_center_poses(paths: Iterable[Path]) -> tuple[dict[str, Rigid3d], tuple[str, ...]]:
    """Read ``name qw qx qy qz cx cy cz`` of some files, with camera centres: cam_from_world by name, and notes.

    A name that is listed twice keeps its first pose, and a pose that is none is left out; both are said in a note.
    Raises SceneError for a line with another number of values.
    """
    poses: dict[str, Rigid3d] = {}
    notes: list[str] = []
    for path in paths:
        given, faults = [], []
        for where, line in text_lines(path):
            if not line:
                continue
            tokens = line.rsplit(None, 7)
            values = _floats(tokens[1:])
            if values is None or len(values) != 7:
                raise SceneError(f"{where}: expected name qw qx qy qz cx cy cz, found {line[:80]!r}")
            given.append(tokens[0])
            try:
                _add(poses, inside(tokens[0]), pose_from_center(values[:4], values[4:], where), where)
            except SceneError as error:
                faults.append(str(error))
        notes += [*outside_note(path, given), *fault_note(faults, "pose")]
    return poses, tuple(notes)


def _add(poses: dict[str, Rigid3d], name: str, pose: Rigid3d, where: str) -> None:
    if name in poses:
        raise SceneError(f"{where}: {name!r} is listed a second time")
    poses[name] = pose


def fault_note(faults: list[str], what: str) -> tuple[str, ...]:
    """One sentence on entries that were left out; nothing when none was."""
    if not faults:
        return ()
    count = f"1 {what} is" if len(faults) == 1 else f"{len(faults)} {what}s are"
    return (f"{count} left out (the first: {faults[0]}).",)


def _floats(tokens: list[str]) -> Array | None:
    """The words as numbers, NaN and infinity included; None when one is no number."""
    try:
        return np.array(tokens, np.float64)
    except ValueError:
        return None
