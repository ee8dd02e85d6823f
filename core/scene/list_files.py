"""Lists of queries and of poses, as text.

queries: ``name MODEL WIDTH HEIGHT PARAMS...`` in COLMAP's pixels, as hloc writes them.
poses: ``name qw qx qy qz tx ty tz``, cam_from_world.
Names may hold spaces: lines are parsed from the right. Blank lines and lines that start with # are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Camera, Rigid3d
from core.images import write_atomic
from core.scene.colmap import params_to_colmap
from core.scene.colmap_text import parse_camera, parse_pose, text_lines


def read_queries(path: str | Path, intrinsics: Mapping[str, Camera] | None = None) -> dict[str, Camera]:
    """Read the cameras of the queries by image name, in the order of the file; SceneError names file and line.

    Where ``intrinsics`` are known, a line may be only a name, whose camera ``camera_of`` finds among them.
    """
    queries: dict[str, Camera] = {}
    for where, line in text_lines(Path(path)):
        if line:
            camera = camera_of(line, intrinsics) if intrinsics else None
            _add(queries, *((line, camera) if camera is not None else _query(line, where)), where)
    return queries


def camera_of(name: str, intrinsics: Mapping[str, Camera]) -> Camera | None:
    """The camera of an image: under its name, under a part of it (of ``slice2/query/img_1_c0_2.jpg`` as ``c0``), or ``*``."""
    parts = re.split(r"[/_.]", name)
    keys = (name, *(part for part in reversed(parts) if part in intrinsics), "*")
    return next((intrinsics[key] for key in keys if key in intrinsics), None)


def read_poses(path: str | Path) -> dict[str, Rigid3d]:
    """Read cam_from_world by image name, in the order of the file; SceneError names file and line."""
    poses: dict[str, Rigid3d] = {}
    for where, line in text_lines(Path(path)):
        if line:
            tokens = line.rsplit(None, 7)
            if len(tokens) != 8:
                raise SceneError(f"{where}: expected name qw qx qy qz tx ty tz, found {len(tokens)} values")
            _add(poses, tokens[0], parse_pose(tokens[1:], where), where)
    return poses


def _query(line: str, where: str) -> tuple[str, Camera]:
    tokens = line.split()
    models = [k for k, token in enumerate(tokens) if k > 0 and token in NUM_CAMERA_PARAMS]
    if not models:
        raise SceneError(f"{where}: expected name MODEL WIDTH HEIGHT PARAMS..., found no known camera model in {line[:80]!r}")
    after_name = tokens[models[-1] :]
    return line.rsplit(None, len(after_name))[0], parse_camera(after_name, where)


def _add(entries: dict, name: str, value: object, where: str) -> None:
    if name in entries:
        raise SceneError(f"{where}: {name!r} is listed a second time")
    entries[name] = value


def write_queries(path: str | Path, cameras: Mapping[str, Camera]) -> None:
    """Write the list that ``read_queries`` reads."""
    lines = ["# name MODEL WIDTH HEIGHT PARAMS... (COLMAP pixels: the corner of the image is 0, 0)"]
    for name, camera in cameras.items():
        params = " ".join(repr(float(p)) for p in params_to_colmap(camera))
        lines.append(f"{name} {camera.model} {camera.width} {camera.height} {params}")
    _write_lines(Path(path), lines)


def write_poses(path: str | Path, poses: Mapping[str, Rigid3d]) -> None:
    """Write the list that ``read_poses`` reads."""
    lines = ["# name qw qx qy qz tx ty tz (cam_from_world)"]
    for name, pose in poses.items():
        lines.append(f"{name} " + " ".join(repr(float(v)) for v in (*pose.qvec, *pose.tvec)))
    _write_lines(Path(path), lines)


def _write_lines(path: Path, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    write_atomic(path, lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))
