"""The map of a kapture folder: points3d.txt and observations.txt, with keypoints and descriptors where they are."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.records import ImageData, Observations, Progress, SceneMap
from core.scene.colmap_text import numbers
from core.scene.feature_files import unit_descriptors
from core.scene.image_names import inside
from core.scene.kapture import feature_folder, rows_of
from core.scene.kapture_features import KaptureFeatures, KaptureKeypoints

_STEPS = 50_000  # lines between two reports of progress


def read_points(root: Path, images: Sequence[ImageData]) -> Generator[Progress, None, tuple[SceneMap, tuple[str, ...]] | None]:
    """Read the map that posed ``images`` saw; yields Progress, returns map and notes, or None where there are no points.

    Observations of images without a pose are left out. Raises SceneError, led by file and line.
    """
    folder = root / "reconstruction"
    if not (folder / "points3d.txt").is_file() or not images:
        return None
    points3D, rgb = yield from _read_points(folder / "points3d.txt")
    kind, seen = yield from _read_observations(folder / "observations.txt", len(points3D))
    index = {image.name: i for i, image in enumerate(images)}
    rows = [(point, index[name], keypoint) for point, name, keypoint in seen if name in index]
    table = np.array(rows, np.int64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    notes = _left_out_note(folder / "observations.txt", len(seen) - len(rows))
    keypoints = _keypoint_folder(folder, kind)
    if len(table) and keypoints is None:
        raise SceneError(f"{folder}: observations of keypoints {kind!r}, but no keypoints of that kind")
    points2D = np.zeros((len(table), 2)) if keypoints is None else (yield from _pixels(keypoints, images, table))
    observations = Observations(table[:, 0], table[:, 1], points2D)
    scene_map = SceneMap(points3D, rgb, tuple(images), observations)
    notes += _outside_note(keypoints, images, observations)
    described, more = yield from _described(scene_map, root, keypoints, table)
    return described, notes + more


def _read_points(path: Path) -> Generator[Progress, None, tuple[Array, Array]]:
    """Points (P, 3) and colours (P, 3) u8, grey where the file has none."""
    rows = []
    for number, (where, values) in enumerate(rows_of(path)):
        if number % _STEPS == 0:
            yield Progress(f"Reading {path.name}", None)
        if len(values) not in (3, 6):
            raise SceneError(f"{where}: expected X, Y, Z and maybe R, G, B, found {len(values)} values")
        row = numbers(values, np.float64, where)
        rows.append(row if len(row) == 6 else [*row, 128.0, 128.0, 128.0])
    table = np.array(rows).reshape(-1, 6)
    return table[:, :3], np.clip(table[:, 3:], 0, 255).astype(np.uint8)


def _read_observations(path: Path, num_points: int) -> Generator[Progress, None, tuple[str, list[tuple[int, str, int]]]]:
    """The first kind of keypoints and its observations: point, image name, keypoint."""
    kind, seen = None, []
    for number, (where, values) in enumerate(rows_of(path)):
        if number % _STEPS == 0:
            yield Progress(f"Reading {path.name}", None)
        point = _index(values[0], num_points, where, "points")
        typed = len(values) % 2 == 0  # format 1.1 says of which keypoints; 1.0 has one kind
        own = values[1] if typed else ""
        kind = own if kind is None else kind
        pairs = values[2 if typed else 1 :]
        if own == kind:
            for name, keypoint in zip(pairs[::2], pairs[1::2], strict=True):
                seen.append((point, inside(name), _index(keypoint, 2**31, where, "keypoints")))
    return kind or "", seen


def _index(text: str, count: int, where: str, what: str) -> int:
    if not text.isdecimal() or len(text) > 12 or int(text) >= count:
        raise SceneError(f"{where}: {text[:40]!r} is no index of one of {count} {what}")
    return int(text)


def _left_out_note(path: Path, count: int) -> tuple[str, ...]:
    return (f"{path}: {count} observations are left out, their images have no pose.",) if count else ()


def _outside_note(folder: Path | None, images: Sequence[ImageData], observations: Observations) -> tuple[str, ...]:
    """Say how many keypoints lie outside their image: a sign that the file's type is not what its description says."""
    sizes = np.array([[i.camera.width, i.camera.height] if i.camera else [np.inf, np.inf] for i in images]).reshape(-1, 2)
    points2D = observations.points2D
    outside = int(((points2D < -1) | (points2D > sizes[observations.image])).any(axis=1).sum())
    total = len(points2D)
    return (f"{folder}: {outside} of {total} keypoints lie outside their images; is their type right?",) if outside else ()


def _keypoint_folder(folder: Path, kind: str) -> Path | None:
    """Where the keypoints of a kind lie; format 1.0 has no folder for the kind."""
    for place in (folder / "keypoints" / kind, folder / "keypoints"):
        if (place / "keypoints.txt").is_file():
            return place
    return None


def _pixels(folder: Path, images: Sequence[ImageData], table: Array) -> Generator[Progress, None, Array]:
    """Pixels (T, 2) of observations (point, image, keypoint)."""
    reader = KaptureKeypoints(folder)
    points2D = np.zeros((len(table), 2))
    for i, image in enumerate(images):
        rows = np.flatnonzero(table[:, 1] == i)
        if len(rows):
            yield Progress(f"Keypoints of {image.name}", i / len(images))
            points2D[rows] = _taken(reader.read(image.name), table[rows, 2], folder, image.name)[:, :2]
    return points2D


def _taken(values: Array, keypoint: Array, folder: Path, name: str) -> Array:
    if keypoint.max(initial=-1) >= len(values):
        raise SceneError(f"{folder}: an observation is of keypoint {keypoint.max()} of {name!r}, which has {len(values)}")
    return values[keypoint]


def _described(
    scene_map: SceneMap, root: Path, keypoints: Path | None, table: Array
) -> Generator[Progress, None, tuple[SceneMap, tuple[str, ...]]]:
    """The map with the descriptors of its keypoints, where the kapture has any of them."""
    folder = feature_folder(root)
    if folder is None or keypoints is None or not len(table):
        return scene_map, ()
    reader = KaptureFeatures(folder)
    if reader.keypoints_path != keypoints:
        return scene_map, (f"{folder}: descriptors of other keypoints than the points' are left out.",)
    descriptors, missing = None, []
    for i, image in enumerate(scene_map.images):
        rows = np.flatnonzero(table[:, 1] == i)
        if image.name not in reader:
            missing.append(image.name)
        elif len(rows):
            yield Progress(f"Descriptors of {image.name}", i / len(scene_map.images))
            own = _taken(reader.descriptors(image.name), table[rows, 2], folder, image.name)
            own = own if own.dtype == np.uint8 else unit_descriptors(own)
            descriptors = np.zeros((len(table), own.shape[1]), own.dtype) if descriptors is None else descriptors
            descriptors[rows] = own
    notes = (f"{folder}: has no descriptors of {len(missing)} images (the first: {missing[0]}).",) if missing else ()
    if descriptors is None:
        return scene_map, notes
    observations = replace(scene_map.observations, descriptors=descriptors)
    return replace(scene_map, observations=observations, extractor=reader.extractor), notes
