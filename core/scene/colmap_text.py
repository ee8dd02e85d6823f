"""COLMAP's text files, read line by line so that a bad line can be named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Array, Camera, Rigid3d
from core.scene.colmap import ColmapImage, ColmapModel, camera_from_colmap, points2D_from_colmap, pose_from_colmap


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("file:line", text) of a UTF-8 text file, comments left out, line ends of any system stripped."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: not a UTF-8 text file (byte {error.start})") from error
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.lstrip().startswith("#"):
            yield f"{path}:{number}", line.strip()


def numbers(tokens: list[str], dtype: type, where: str) -> Array:
    """Parse tokens as finite numbers; SceneError, led by ``where``, on the first that is none."""
    try:
        values = np.array(tokens, dtype=dtype)
    except (ValueError, OverflowError) as error:
        raise SceneError(f"{where}: expected numbers, found {' '.join(tokens)[:60]!r}") from error
    if not np.isfinite(values).all():
        raise SceneError(f"{where}: expected finite numbers, found {' '.join(tokens)[:60]!r}")
    return values


def read_text_model(path: Path) -> ColmapModel:
    """Read cameras.txt, images.txt and points3D.txt."""
    cameras = dict(_camera(where, line) for where, line in text_lines(path / "cameras.txt") if line)
    return ColmapModel(cameras, read_text_images(path), *_read_points(path / "points3D.txt"))


def parse_camera(tokens: list[str], where: str) -> Camera:
    """Parse MODEL WIDTH HEIGHT PARAMS... in COLMAP's pixels."""
    count = NUM_CAMERA_PARAMS.get(tokens[0]) if tokens else None
    if count is None:
        found = tokens[0] if tokens else "nothing"
        raise SceneError(f"{where}: camera model {found!r} is not known, expected one of {', '.join(NUM_CAMERA_PARAMS)}")
    if len(tokens) != 3 + count:
        raise SceneError(f"{where}: {tokens[0]} needs width, height and {count} parameters, found {len(tokens) - 1} numbers")
    width, height = numbers(tokens[1:3], np.int64, where)
    return camera_from_colmap(tokens[0], width, height, numbers(tokens[3:], np.float64, where), where)


def parse_pose(tokens: list[str], where: str) -> Rigid3d:
    """Parse qw qx qy qz tx ty tz."""
    return pose_from_colmap(numbers(tokens, np.float64, where), where)


def _camera(where: str, line: str) -> tuple[int, Camera]:
    tokens = line.split()
    return int(numbers(tokens[:1], np.int64, where)[0]), parse_camera(tokens[1:], where)


def read_text_images(path: Path) -> dict[int, ColmapImage]:
    """Read images.txt of a folder alone: every image has two lines, the second of which may be empty."""
    images, path = {}, path / "images.txt"
    lines = text_lines(path)
    for where, line in lines:
        if not line:
            continue
        tokens = line.split(None, 9)
        if len(tokens) != 10:
            raise SceneError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found {len(tokens)} values")
        image_id, camera_id = (int(v) for v in numbers([tokens[0], tokens[8]], np.int64, where))
        pose = parse_pose(tokens[1:8], where)
        where, line = next(lines, (None, ""))
        if where is None:
            raise SceneError(f"{path}: cut off, the line of keypoints of the last image {tokens[9]!r} is missing")
        values = line.split()
        if len(values) % 3:
            raise SceneError(f"{where}: cut off or corrupt, {len(values)} values are no list of X Y POINT3D_ID")
        table = numbers(values, np.float64, where).reshape(-1, 3)
        points2D = points2D_from_colmap(table[:, :2])
        images[image_id] = ColmapImage(tokens[9], camera_id, pose, points2D, table[:, 2].astype(np.int64))
    return images


def _read_points(path: Path) -> tuple[Array, Array, Array]:
    """Return ids (P,) rising, xyz (P, 3) and rgb (P, 3)."""
    rows = []
    for where, line in text_lines(path):
        tokens = line.split()
        if not tokens:
            continue
        if len(tokens) < 8 or len(tokens) % 2:
            raise SceneError(
                f"{where}: cut off or corrupt, expected POINT3D_ID X Y Z R G B ERROR and pairs, found {len(tokens)} values"
            )
        rows.append(numbers(tokens[:7], np.float64, where))
    table = np.array(rows).reshape(-1, 7)
    if (table[:, 4:] < 0).any() or (table[:, 4:] > 255).any():
        raise SceneError(f"{path}: corrupt, a colour is outside 0..255")
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (np.diff(table[:, 0]) == 0).any():
        raise SceneError(f"{path}: corrupt, a point id occurs more than once")
    return table[:, 0].astype(np.int64), table[:, 1:4], table[:, 4:].astype(np.uint8)
