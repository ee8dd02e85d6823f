"""The images that a map is built from: a folder, poses from a file, cameras known or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pycolmap

from core.errors import InputError, SceneError
from core.geometry import Array, Camera, Rigid3d
from core.records import ImageData
from core.scene.colmap import camera_from_colmap, model_suffix, read_model
from core.scene.list_files import read_poses
from core.scene.scene import list_images

_ASPECT_TOLERANCE = 0.01


def images_with_poses(folder: str | Path, poses: str | Path | None = None) -> list[ImageData]:
    """List the images under a folder, with the poses (and cameras) of a COLMAP model folder or of a list of poses.

    Images that ``poses`` does not name are left out. Raises InputError when there are no images, or none with a pose.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected a folder of images")
    images = list(list_images(folder))
    if not images:
        raise InputError(f"{folder}: no images found, expected a folder of images")
    if len(images) < 2:
        raise InputError(f"{folder}: a map needs at least two images, found {len(images)}")
    if poses is None:
        return images
    known = _read_poses(Path(poses))
    posed = [replace(i, cam_from_world=known[i.name][0], camera=known[i.name][1]) for i in images if i.name in known]
    if not posed:
        raise InputError(
            f"{poses}: names none of the {len(images)} images under {folder}; "
            f"the names there look like {images[0].name!r}, here like {next(iter(known), 'nothing')!r}"
        )
    return posed


def _read_poses(path: Path) -> dict[str, tuple[Rigid3d, Camera | None]]:
    if path.is_dir():
        if model_suffix(path) is None:
            raise SceneError(f"{path}: no COLMAP model here, expected cameras, images and points3D as .bin or .txt")
        model = read_model(path)
        return {i.name: (i.cam_from_world, model.cameras[i.camera_id]) for i in model.images.values()}
    return {name: (pose, None) for name, pose in read_poses(path).items()}


def fit_camera(image: ImageData, pixels: Array) -> Camera:
    """The image's camera for its pixels (H, W, 3): scaled when the image was resized, guessed when it has none.

    The guess takes the focal length from the EXIF data, else 1.2 times the longer side. Raises InputError when the
    camera is of another shape than the image.
    """
    height, width = pixels.shape[:2]
    camera = image.camera
    if camera is None:
        return _guessed(image.path, width, height)
    if (camera.width, camera.height) == (width, height):
        return camera
    stretch = (camera.width / width) / (camera.height / height)
    if abs(stretch - 1) > _ASPECT_TOLERANCE:
        raise InputError(
            f"{image.path}: the image is {width} x {height}, not of the shape of its camera, {camera.width} x {camera.height}"
        )
    return camera.scaled(width, height)


def _guessed(path: Path, width: int, height: int) -> Camera:
    """COLMAP's guess, turned as EXIF turned the image."""
    try:
        guess = pycolmap.infer_camera_from_image(str(path))
        focal = guess.mean_focal_length() * max(width, height) / max(guess.width, guess.height)
    except (RuntimeError, ValueError, OSError):  # a format that COLMAP does not read
        focal = 1.2 * max(width, height)
    params = [focal, width / 2, height / 2, 0.0]
    return camera_from_colmap("SIMPLE_RADIAL", width, height, params, str(path))


def poses_known(images: Sequence[ImageData]) -> bool:
    """Whether all images have a pose (True) or none has (False). Raises InputError for a mixture, doubles or too few."""
    if len(images) < 2:
        raise InputError(f"a map needs at least two images, got {len(images)}")
    if len({image.name for image in images}) < len(images):
        raise InputError("a map needs images of different names, got a name twice")
    without = [image.name for image in images if image.cam_from_world is None]
    if without and len(without) < len(images):
        raise InputError(
            f"{len(without)} of {len(images)} images have no pose (the first: {without[0]}); expected poses for all or for none"
        )
    return not without
