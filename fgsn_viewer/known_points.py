"""Where two images of a scene show the same surface, as far as the scene itself says so: no matching, no pose estimate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from core.errors import InputError
from core.geometry import Array, Camera, frozen_array
from core.records import ImageData, Scene
from core.scene.correspondences import FOLDER, read_correspondences
from core.scene.map_pairs import seen_by, shared_points, visible_points

DEPTH_FOLDER = Path("truth") / "depth"
_DEPTH_STEP_PX = 4  # every fourth pixel of a true depth: thousands of points, in milliseconds
_DEPTH_TOLERANCE = 0.03  # relative; a surface that is nearer hides the point
_MIN_POINTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class KnownPoints:
    """``points_ref``, ``points_query`` (N, 2) f64 px of the same surface; ``source`` says in words how that is known."""

    points_ref: Array
    points_query: Array
    source: str

    def __post_init__(self) -> None:
        for name in ("points_ref", "points_query"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), np.float64, (None, 2), name))

    def __len__(self) -> int:
        return len(self.points_ref)


def known_points(scene: Scene, reference: ImageData, query: ImageData) -> KnownPoints | None:
    """The best that the scene knows of two images: a correspondence file, true depth, then map points; or None.

    What gives fewer than eight points, or cannot be read, gives way to the next.
    """
    for find in (_from_file, _from_depth, _from_map, _from_known_pose):
        try:
            found = find(scene, reference, query)
        except (InputError, OSError):
            continue
        if found is not None and len(found) >= _MIN_POINTS:
            return found
    return None


def _from_file(scene: Scene, reference: ImageData, query: ImageData) -> KnownPoints | None:
    """A file of the paper's layout (PAPER 2.1) that names both images, in either order."""
    folder = scene.root / FOLDER
    stems = [PurePosixPath(image.name).stem for image in (reference, query)]
    for path in sorted(folder.glob("*.mat")) if folder.is_dir() else ():
        if not all(stem in path.stem for stem in stems):
            continue
        first, other, found = read_correspondences(path)
        points = {first: found.points_ref, other: found.points_other}
        if set(points) == {reference.name, query.name}:
            return KnownPoints(points[reference.name], points[query.name], "of the correspondence file")
    return None


def _from_depth(scene: Scene, reference: ImageData, query: ImageData) -> KnownPoints | None:
    """The reference's pixels, moved by true depth and both known poses to where the query sees the same surface."""
    if any(image.cam_from_world is None or image.camera is None for image in (reference, query)):
        return None
    paths = [_depth_path(scene, image) for image in (reference, query)]
    if not all(path.is_file() for path in paths):
        return None
    near, far = (_read_depth(path, image.camera) for path, image in zip(paths, (reference, query)))
    y, x = np.mgrid[0 : near.shape[0] : _DEPTH_STEP_PX, 0 : near.shape[1] : _DEPTH_STEP_PX]
    points_ref = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    depth = near[y.ravel(), x.ravel()]
    rays = reference.camera.bearings(points_ref)
    in_reference = rays / rays[:, 2:] * depth[:, None]
    in_query = (query.cam_from_world @ reference.cam_from_world.inverse()).apply(in_reference)
    return _seen_by(query.camera, points_ref, in_query, depth > 0, far, "of the true depth")


def _from_map(scene: Scene, reference: ImageData, query: ImageData) -> KnownPoints | None:
    """Map points that were observed in both images."""
    indices = [_map_index(scene, image) for image in (reference, query)]
    if None in indices:
        return None
    shared = shared_points(scene.map, *indices)
    return KnownPoints(shared.points_ref, shared.points_other, "of the map seen in both")


def _from_known_pose(scene: Scene, reference: ImageData, query: ImageData) -> KnownPoints | None:
    """Map points that the reference observed and the query should see from its known pose."""
    index = _map_index(scene, reference)
    if index is None or scene.map.visibility is None or query.cam_from_world is None or query.camera is None:
        return None
    shared = seen_by(scene.map, index, *visible_points(scene.map, scene.map.visibility, query))
    return KnownPoints(shared.points_ref, shared.points_other, "of the map, by the query's known pose")


def _map_index(scene: Scene, image: ImageData) -> int | None:
    images = scene.map.images if scene.map is not None else ()
    return next((index for index, each in enumerate(images) if each.name == image.name), None)


def _seen_by(camera: Camera, points_ref: Array, in_camera: Array, valid: Array, depth: Array, source: str) -> KnownPoints:
    """Keep the points (N, 3) in front of a camera and inside of its image that no nearer surface of ``depth`` hides."""
    valid = valid & (in_camera[:, 2] > 1e-6)
    pixels = np.full((len(points_ref), 2), np.nan)
    pixels[valid] = camera.project(in_camera[valid])
    valid &= ((pixels >= -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5))).all(axis=1)
    x, y = np.rint(pixels[valid]).astype(np.int64).clip(0).T
    there = depth[y.clip(max=depth.shape[0] - 1), x.clip(max=depth.shape[1] - 1)]
    valid[valid] = np.abs(there - in_camera[valid, 2]) < _DEPTH_TOLERANCE * in_camera[valid, 2]
    return KnownPoints(points_ref[valid], pixels[valid], source)


def _depth_path(scene: Scene, image: ImageData) -> Path:
    return scene.root / DEPTH_FOLDER / PurePosixPath(image.name).with_suffix(".png")


def _read_depth(path: Path, camera: Camera) -> Array:
    """Depth (H, W) f32 m along z from a u16 PNG in cm, 0 where there is none."""
    depth = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.shape != (camera.height, camera.width):
        raise InputError(f"{path}: not a depth image of {camera.width} x {camera.height} px")
    return depth.astype(np.float32) / 100
