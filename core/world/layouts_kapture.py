"""Write a scene as kapture folders, one for the map and one for the queries, in format 1.1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.localizer.features import quantize_descriptors
from core.records import ImageData, Scene, SceneMap
from core.scene.colmap import params_to_colmap, points2D_to_colmap, rows_by_image
from core.scene.folders import whole_folder
from core.world.layout_parts import FeaturesOf, copy_picture, write_lines

KIND = "world-sift"
_HEAD = "# kapture format: 1.1"


def write_kapture(scene: Scene, out: str | Path, features: FeaturesOf | None = None, mount: Rigid3d | None = None) -> None:
    """Write ``mapping`` and ``query`` folders to ``out``; with the images.

    ``features`` describes the queries as the map is described. With ``mount`` (camera_from_rig) the mapping
    cameras sit on a rig and the trajectory is the rig's. Raises InputError for a scene without map or cameras.
    """
    if scene.map is None:
        raise InputError(f"{scene.root}: a scene without a map cannot be written as kapture")
    with whole_folder(Path(out)) as folder:
        _write_sensors(folder / "mapping", scene.map.images, mount)
        _write_map(folder / "mapping" / "reconstruction", scene.map)
        _write_sensors(folder / "query", scene.queries, None)
        if features is not None:
            for query in scene.queries:
                found = features(query)
                quantized = quantize_descriptors(found.descriptors)
                _write_features(folder / "query" / "reconstruction", query.name, found.keypoints, quantized)


def _write_sensors(root: Path, images: Sequence[ImageData], mount: Rigid3d | None) -> None:
    sensors, records, poses = [], [], []
    for stamp, image in enumerate(images):
        device = f"camera{stamp}" if mount is None else "camera"
        if mount is None or not sensors:
            sensors.append(f"{device}, , camera, {_numbers(image.camera)}")
        records.append(f"{stamp}, {device}, {image.name}")
        if image.cam_from_world is not None:
            pose = image.cam_from_world if mount is None else mount.inverse() @ image.cam_from_world
            poses.append(f"{stamp}, {device if mount is None else 'rig'}, {_pose(pose)}")
    folder = root / "sensors"
    write_lines(folder / "sensors.txt", [_HEAD, "# sensor_id, name, sensor_type, [sensor_params]+", *sensors])
    write_lines(folder / "records_camera.txt", [_HEAD, "# timestamp, device_id, image_path", *records])
    write_lines(folder / "trajectories.txt", [_HEAD, "# timestamp, device_id, qw, qx, qy, qz, tx, ty, tz", *poses])
    if mount is not None:
        head = "# rig_id, sensor_id, qw, qx, qy, qz, tx, ty, tz"
        write_lines(folder / "rigs.txt", [_HEAD, head, f"rig, camera, {_pose(mount)}"])
    for image in images:
        copy_picture(image, folder / "records_data" / image.name)


def _numbers(camera: Camera | None) -> str:
    if camera is None:
        return "UNKNOWN_CAMERA, 0, 0"
    params = ", ".join(repr(float(p)) for p in params_to_colmap(camera))
    return f"{camera.model}, {camera.width}, {camera.height}, {params}"


def _pose(pose: Rigid3d) -> str:
    return ", ".join(repr(float(v)) for v in (*pose.qvec, *pose.tvec))


def _write_map(folder: Path, scene_map: SceneMap) -> None:
    observations = scene_map.observations
    keypoint = np.zeros(len(observations.point), np.int64)
    for image, rows in zip(scene_map.images, rows_by_image(observations, len(scene_map.images)), strict=True):
        keypoint[rows] = np.arange(len(rows))
        descriptors = None if observations.descriptors is None else observations.descriptors[rows]
        _write_features(folder, image.name, observations.points2D[rows], descriptors)
    colours = zip(scene_map.points3D.tolist(), scene_map.rgb.tolist(), strict=True)
    points = [", ".join(map(repr, [*xyz, *rgb])) for xyz, rgb in colours]
    write_lines(folder / "points3d.txt", [_HEAD, "# X, Y, Z, R, G, B", *points])
    starts = np.searchsorted(observations.point, np.arange(len(scene_map.points3D) + 1))
    lines = []
    for point, (start, end) in enumerate(pairwise(starts)):
        seen = [f"{scene_map.images[observations.image[row]].name}, {keypoint[row]}" for row in range(start, end)]
        lines.append(", ".join([str(point), KIND, *seen]))
    write_lines(folder / "observations.txt", [_HEAD, "# point3d_id, keypoints_type, [image_path, feature_id]*", *lines])


def _write_features(folder: Path, name: str, keypoints: Array, descriptors: Array | None) -> None:
    """Keypoints (N, 2) ours px and u8 descriptors (N, D) of one image, and the files that describe both."""
    place = folder / "keypoints" / KIND
    write_lines(place / "keypoints.txt", [_HEAD, "# name, dtype, dsize", f"{KIND}, float32, 2"])
    _put(place / f"{name}.kpt", points2D_to_colmap(keypoints).astype("<f4"))
    if descriptors is not None:
        place = folder / "descriptors" / KIND
        about = f"{KIND}, uint8, {descriptors.shape[1]}, {KIND}, L2"
        write_lines(place / "descriptors.txt", [_HEAD, "# name, dtype, dsize, keypoints_type, metric_type", about])
        _put(place / f"{name}.desc", descriptors.astype("u1"))


def _put(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(array.tobytes())
