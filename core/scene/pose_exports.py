"""Poses for other programs: COLMAP's text, TUM's trajectories, kapture's sensors folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.images import write_atomic
from core.records import ImageData, Observations, SceneMap
from core.scene.colmap import params_to_colmap, write_model
from core.scene.folders import require_empty, whole_folder
from core.scene.submission import NAMES

KAPTURE_VERSION = "1.1"


def posed(images: Sequence[ImageData], where: object) -> tuple[ImageData, ...]:
    """The images whose pose is known; InputError, led by ``where``, when there is none."""
    found = tuple(image for image in images if image.cam_from_world is not None)
    if not found:
        raise InputError(f"{where}: no image has a pose to write")
    return found


def with_poses(images: Sequence[ImageData], poses: Mapping[str, Rigid3d], where: object) -> tuple[ImageData, ...]:
    """The images that a list of poses names, with its poses; the list may name them as a benchmark does.

    Raises InputError, led by ``where``, for names that are no image's or that several images share.
    """
    named = {scheme: _by_name(images, short) for scheme, short in NAMES.items()}
    found = max(named.values(), key=lambda by_name: len(poses.keys() & by_name.keys()))
    for name in poses:
        if len(found.get(name, ())) != 1:
            raise InputError(f"{where}: {name!r} names {len(found.get(name, ()))} of the images, expected one")
    return tuple(replace(found[name][0], cam_from_world=pose) for name, pose in poses.items())


def _by_name(images: Sequence[ImageData], short: Callable[[str], str]) -> dict[str, list[ImageData]]:
    by_name: dict[str, list[ImageData]] = {}
    for image in images:
        by_name.setdefault(short(image.name), []).append(image)
    return by_name


def write_colmap_poses(folder: str | Path, images: Sequence[ImageData]) -> None:
    """Write cameras.txt, images.txt and an empty points3D.txt; InputError for an image without a camera."""
    require_empty(folder)
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    with whole_folder(Path(folder)) as temporary:
        write_model(temporary, SceneMap(np.zeros((0, 3)), np.zeros((0, 3)), tuple(images), nothing), text=True)


def write_tum(path: str | Path, images: Sequence[ImageData]) -> None:
    """Write ``timestamp tx ty tz qx qy qz qw`` a pose, of the camera in the world (not world to camera), by time.

    The numbers of the images in their order are the timestamps where not every image has one of its own.
    """
    times = _timestamps(images)
    remark = "seconds" if _have_times(images) else "the image's number: no times are known"
    lines = ["# timestamp tx ty tz qx qy qz qw (world from camera)", f"# timestamp: {remark}"]
    for k in np.argsort(times, kind="stable"):
        world_from_cam = images[k].cam_from_world.inverse()
        quaternion = world_from_cam.qvec[[1, 2, 3, 0]]
        lines.append(f"{times[k]:.6f} " + " ".join(repr(float(v)) for v in (*world_from_cam.tvec, *quaternion)))
    _write_lines(Path(path), lines)


def write_kapture(folder: str | Path, images: Sequence[ImageData]) -> None:
    """Write kapture's sensors.txt, records_camera.txt and trajectories.txt (world to camera) under ``folder``/sensors.

    A camera is a sensor; the timestamps are the images' numbers. InputError for an image without a camera, and for a
    name with a comma, which kapture's tables cannot hold.
    """
    require_empty(folder)
    ids: dict[tuple, str] = {}
    sensors, records, poses = ["# sensor_device_id, name, sensor_type, [sensor_params]+"], [], []
    for number, image in enumerate(images):
        if image.camera is None or "," in image.name:
            lack = "has no camera" if image.camera is None else "has a comma in its name"
            raise InputError(f"{folder}: {image.name} {lack}, expected a camera and a name without comma for kapture")
        key = (image.camera.model, image.camera.width, image.camera.height, *image.camera.params.tolist())
        if key not in ids:
            ids[key] = f"cam{len(ids)}"
            sensors.append(f"{ids[key]}, {ids[key]}, camera, {_camera_words(image.camera)}")
        pose = image.cam_from_world
        numbers = ", ".join(repr(float(v)) for v in (*pose.qvec, *pose.tvec))
        records.append(f"{number}, {ids[key]}, {image.name}")
        poses.append(f"{number}, {ids[key]}, {numbers}")
    head = f"# kapture format: {KAPTURE_VERSION}"
    with whole_folder(Path(folder)) as temporary:
        _write_lines(temporary / "sensors" / "sensors.txt", [head, *sensors])
        _write_lines(temporary / "sensors" / "records_camera.txt", [head, "# timestamp, device_id, image_path", *records])
        columns = "# timestamp, device_id, qw, qx, qy, qz, tx, ty, tz"
        _write_lines(temporary / "sensors" / "trajectories.txt", [head, columns, *poses])


def _camera_words(camera: Camera) -> str:
    values = [camera.model, camera.width, camera.height, *(repr(float(value)) for value in params_to_colmap(camera))]
    return ", ".join(map(str, values))


def _have_times(images: Sequence[ImageData]) -> bool:
    return all(image.timestamp_s is not None for image in images)


def _timestamps(images: Sequence[ImageData]) -> Array:
    return np.array([image.timestamp_s for image in images] if _have_times(images) else range(len(images)), np.float64)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    write_atomic(path, lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))
