"""COLMAP models, binary and text. COLMAP's half pixel lives here, and only here.

COLMAP puts the corner of the image at (0, 0), we put the centre of the top-left pixel there: principal points and
keypoints lose 0.5 px when they come in and gain it when they go out. Rigs and frames (COLMAP 4) are written, and not
needed to read: the images file holds every pose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, SceneError
from core.geometry import SPHERICAL, Array, Camera, Rigid3d, focal_and_center
from core.records import ImageData, Observations, SceneMap
from core.scene.image_names import inside

MODEL_PARTS = ("cameras", "images", "points3D")
DEFAULT_CONDITION = "reference"
_HALF_PIXEL = 0.5
_MOST_PX, _MOST_M, _MOST_PARAM = 1e9, 1e15, 1e15
_UNIT_TOLERANCE = 1e-2  # files give six digits or more; a longer way off is no rotation


@dataclass(frozen=True, slots=True, eq=False)
class ColmapImage:
    """A posed image: all its keypoints (N, 2) f64 px (ours, not COLMAP's) and their point ids (N,) i64, -1 for none."""

    name: str
    camera_id: int
    cam_from_world: Rigid3d
    points2D: Array
    point3D_ids: Array


@dataclass(frozen=True, slots=True, eq=False)
class ColmapModel:
    """``cameras`` and ``images`` by COLMAP id; ``point_ids`` (P,) i64 rising, ``points3D`` (P, 3) f64, ``rgb`` (P, 3) u8."""

    cameras: dict[int, Camera]
    images: dict[int, ColmapImage]
    point_ids: Array
    points3D: Array
    rgb: Array


def folder_of_files(paths: Sequence[Path]) -> Path | None:
    """The folder that is meant when the paths are files of one model, as they are dropped together; else None."""
    folders = {path.parent for path in paths}
    other = [path for path in paths if path.suffix not in (".bin", ".txt", ".ini", ".h5")]
    is_model = len(folders) == 1 and not other and any(path.stem in MODEL_PARTS for path in paths)
    return folders.pop() if is_model else None


def model_suffix(path: Path) -> str | None:
    """Return ".bin" or ".txt" when the folder holds a whole COLMAP model, else None."""
    for suffix in (".bin", ".txt"):
        if all((path / f"{part}{suffix}").is_file() for part in MODEL_PARTS):
            return suffix
    return None


def read_model(path: str | Path) -> ColmapModel:
    """Read the COLMAP model in a folder, binary before text; pixels become ours.

    Raises SceneError that names the file when one is missing, cut off, or does not agree with the others.
    """
    from core.scene.colmap_binary import read_binary_model
    from core.scene.colmap_text import read_text_model

    path = Path(path)
    suffix = model_suffix(path)
    if suffix is None:
        raise SceneError(f"{path}: no COLMAP model here, expected cameras, images and points3D as .bin or .txt")
    model = read_binary_model(path) if suffix == ".bin" else read_text_model(path)
    model = replace(model, images=_inside(model.images))
    _check_numbers(model, path, suffix)
    _check_references(model, path, suffix)
    return model


def read_images(path: str | Path) -> dict[int, ColmapImage]:
    """Read only the images of a model; raises as ``read_model`` does."""
    from core.scene.colmap_binary import read_binary_images
    from core.scene.colmap_text import read_text_images

    path = Path(path)
    return _inside(read_binary_images(path) if model_suffix(path) == ".bin" else read_text_images(path))


def _inside(images: dict[int, ColmapImage]) -> dict[int, ColmapImage]:
    """The images with names that stay in their folder, '/' between the parts, whatever system wrote them."""
    return {image_id: replace(image, name=inside(image.name)) for image_id, image in images.items()}


def _check_numbers(model: ColmapModel, path: Path, suffix: str) -> None:
    """Raise SceneError for keypoints and points that no photograph and no place on earth has, as broken files hold them."""
    for image in model.images.values():
        if not (np.abs(image.points2D[image.point3D_ids >= 0]) < _MOST_PX).all():
            raise SceneError(f"{path / f'images{suffix}'}: corrupt, a keypoint of image {image.name!r} is no pixel")
    if not (np.abs(model.points3D) < _MOST_M).all():
        raise SceneError(f"{path / f'points3D{suffix}'}: corrupt, a point lies over {_MOST_M:g} m away or nowhere")


def _check_references(model: ColmapModel, path: Path, suffix: str) -> None:
    file = path / f"images{suffix}"
    names = Counter(image.name for image in model.images.values())
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise SceneError(f"{file}: the image name {twice[0]!r} occurs {names[twice[0]]} times, expected once")
    for image in model.images.values():
        if image.camera_id not in model.cameras:
            raise SceneError(f"{file}: image {image.name!r} uses camera {image.camera_id}, not found in cameras{suffix}")
        ids = image.point3D_ids[image.point3D_ids >= 0]
        unknown = ids[~np.isin(ids, model.point_ids)]
        if len(unknown):
            raise SceneError(f"{file}: image {image.name!r} sees point {unknown[0]}, not found in points3D{suffix}")


def camera_from_colmap(model: str, width: int, height: int, params: Array, where: str) -> Camera:
    """Make a Camera of COLMAP's numbers; SceneError, led by ``where``, when they make none."""
    if not (np.abs(params) < _MOST_PARAM).all():
        raise SceneError(f"{where}: camera parameters are {np.asarray(params).tolist()}, expected pixels and small factors")
    try:
        return _shifted(Camera(model, int(width), int(height), np.asarray(params, np.float64)), -_HALF_PIXEL)
    except ValueError as error:
        raise SceneError(f"{where}: {error}") from error


def pose_from_colmap(numbers: Sequence[float] | Array, where: str) -> Rigid3d:
    """The pose of qw qx qy qz tx ty tz; SceneError, led by ``where``, when they are none or no unit quaternion."""
    qvec, tvec = np.asarray(numbers[:4], np.float64), np.asarray(numbers[4:], np.float64)
    length = float(np.linalg.norm(qvec))
    if 0 < length < np.inf and abs(length - 1) > _UNIT_TOLERANCE:
        raise SceneError(f"{where}: the quaternion has length {length:.6g}, expected 1")
    try:
        pose = Rigid3d(qvec, tvec)
    except ValueError as error:
        raise SceneError(f"{where}: {error}") from error
    if np.abs(tvec).max() > _MOST_M:
        raise SceneError(f"{where}: the translation is {tvec.tolist()}, expected metres")
    return pose


def params_to_colmap(camera: Camera) -> Array:
    """The parameters with COLMAP's principal point."""
    return _shifted(camera, _HALF_PIXEL).params


def _shifted(camera: Camera, shift: float) -> Camera:
    if camera.model == SPHERICAL:  # has no principal point; ``Camera`` minds the half pixel
        return camera
    params = camera.params.copy()
    params[list(focal_and_center(camera.model)[2:])] += shift
    return Camera(camera.model, camera.width, camera.height, params)


def points2D_from_colmap(points2D: Array) -> Array:
    return points2D - _HALF_PIXEL


def points2D_to_colmap(points2D: Array) -> Array:
    return np.asarray(points2D, np.float64) + _HALF_PIXEL


def condition_of(name: str) -> str:
    """The condition of an image is the first folder of its name."""
    return name.split("/", 1)[0] if "/" in name else DEFAULT_CONDITION


def scene_map_from_model(model: ColmapModel, image_root: Path) -> SceneMap:
    """Turn a model into a map: images sorted by name, observations sorted by point, keypoints without a point left out.

    Image paths are ``image_root / name`` whether or not the file exists.
    """
    images = sorted(model.images.values(), key=lambda image: image.name)
    data = tuple(
        ImageData(
            name=image.name,
            path=image_root / image.name,
            condition=condition_of(image.name),
            camera=model.cameras[image.camera_id],
            cam_from_world=image.cam_from_world,
        )
        for image in images
    )
    return SceneMap(model.points3D, model.rgb, data, observations_of(images, model.point_ids)[0])


def observations_of(images: list[ColmapImage], point_ids: Array) -> tuple[Observations, Array]:
    """The observations of images in the order given, sorted by point; and each one's keypoint (T,) in its image."""
    seen = [image.point3D_ids >= 0 for image in images]
    ids = np.concatenate([image.point3D_ids[s] for image, s in zip(images, seen)] or [np.zeros(0, np.int64)])
    points2D = np.concatenate([image.points2D[s] for image, s in zip(images, seen)] or [np.zeros((0, 2))])
    image_index = np.repeat(np.arange(len(images)), [int(s.sum()) for s in seen])
    point = np.searchsorted(point_ids, ids)
    order = np.lexsort((image_index, point))
    keypoint = np.concatenate([np.flatnonzero(s) for s in seen] or [np.zeros(0, np.int64)])
    return Observations(point[order], image_index[order], points2D[order]), keypoint[order]


def read_scene_map(path: str | Path, image_root: Path) -> SceneMap:
    """Read a COLMAP model folder as a map without descriptors."""
    return scene_map_from_model(read_model(path), Path(image_root))


def write_model(path: str | Path, scene_map: SceneMap, text: bool = False) -> None:
    """Write the map as a COLMAP 4 model (point and image ids count from 1 in the map's order) into an existing folder."""
    path = Path(path)
    reconstruction = to_reconstruction(scene_map)
    try:
        path.mkdir(parents=True, exist_ok=True)
        (reconstruction.write_text if text else reconstruction.write_binary)(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: the COLMAP model cannot be written ({error})") from error


def to_reconstruction(scene_map: SceneMap) -> Any:
    """The map as a ``pycolmap.Reconstruction``: image id = index + 1, point id = index + 1, equal intrinsics share a camera.

    Raises InputError when a map image has no pose or no camera.
    """
    import pycolmap  # heavy, and only needed to write

    reconstruction = pycolmap.Reconstruction()
    camera_ids = _add_cameras(reconstruction, scene_map.images)
    observations = scene_map.observations
    rows = rows_by_image(observations, len(scene_map.images))
    for i, image in enumerate(scene_map.images):
        keypoints = points2D_to_colmap(observations.points2D[rows[i]])
        entry = pycolmap.Image(name=image.name, camera_id=camera_ids[i], image_id=i + 1, keypoints=keypoints)
        reconstruction.add_image_with_trivial_frame(entry, to_pycolmap_pose(image.cam_from_world))
    keypoint = np.empty(len(observations.point), np.int64)
    for of_image in rows:
        keypoint[of_image] = np.arange(len(of_image))
    tracks = np.stack([observations.image + 1, keypoint], axis=1).tolist()
    starts = np.searchsorted(observations.point, np.arange(len(scene_map.points3D) + 1)).tolist()
    for p, (xyz, color) in enumerate(zip(scene_map.points3D, scene_map.rgb)):
        track = pycolmap.Track([pycolmap.TrackElement(i, k) for i, k in tracks[starts[p] : starts[p + 1]]])
        reconstruction.add_point3D_with_id(p + 1, pycolmap.Point3D(xyz=xyz, color=color, track=track))
    return reconstruction


def rows_by_image(observations: Observations, num_images: int) -> list[Array]:
    """For each image the rows of its observations, in their order."""
    order = np.argsort(observations.image, kind="stable")
    ends = np.cumsum(np.bincount(observations.image, minlength=num_images))
    return np.split(order, ends[:-1]) if num_images else []


def _add_cameras(reconstruction: Any, images: tuple[ImageData, ...]) -> list[int]:
    """Add each different camera once; return the camera id of every image."""
    ids: dict[tuple[object, ...], int] = {}
    camera_ids = []
    for image in images:
        camera = image.camera
        if camera is None or image.cam_from_world is None:
            raise InputError(f"{image.name}: an image of a map needs a camera and a pose")
        key = (camera.model, camera.width, camera.height, *camera.params.tolist())
        if key not in ids:
            ids[key] = len(ids) + 1
            reconstruction.add_camera_with_trivial_rig(to_pycolmap_camera(camera, ids[key]))
        camera_ids.append(ids[key])
    return camera_ids


def to_pycolmap_camera(camera: Camera, camera_id: int) -> Any:
    """The camera as pycolmap's, in COLMAP's pixels."""
    import pycolmap

    params = params_to_colmap(camera).tolist()
    size = {"width": camera.width, "height": camera.height}
    return pycolmap.Camera(camera_id=camera_id, model=camera.model, params=params, **size)


def to_pycolmap_pose(pose: Rigid3d) -> Any:
    import pycolmap

    return pycolmap.Rigid3d(pycolmap.Rotation3d(pose.qvec[[1, 2, 3, 0]]), pose.tvec)
