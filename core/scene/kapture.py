"""kapture folders, formats 1.0 and 1.1: sensors, rigs, trajectories, keypoints, descriptors, points and observations.

Poses are world to device, as COLMAP's; a rig's sensor is ``sensor_from_rig @ rig_from_world``. Pixels are COLMAP's. A
folder is one kapture, or holds one for the map (mapping, training) and one for the queries (query, testing).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Camera, Rigid3d
from core.records import FeatureFile, ImageData, Progress, Scene
from core.scene.colmap import condition_of, pose_from_colmap
from core.scene.colmap_text import numbers, parse_camera, text_lines
from core.scene.image_names import inside, missing_note, outside_note, root_of_most

SENSORS = Path("sensors") / "sensors.txt"
_MAP_FOLDERS = ("mapping", "training", "map", "db")
_QUERY_FOLDERS = ("query", "queries", "testing", "test")
_NANOSECONDS = 10**15  # timestamps beyond are no seconds of any century
_MAX_RIG_DEPTH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Kapture:
    """The images of one kapture folder, sorted by name, with cameras and poses where they are known; notes for the user."""

    root: Path
    images: tuple[ImageData, ...]
    notes: tuple[str, ...]


def recognise(path: Path) -> bool:
    """Whether a folder is a kapture, or holds one for the map or for the queries."""
    return path.is_dir() and bool(_parts(path))


def _parts(path: Path) -> list[tuple[Path, bool]]:
    """Each kapture of a folder and whether its images are queries; of a kapture itself, one that has no role."""
    if (path / SENSORS).is_file():
        return [(path, False)]
    found = []
    for place in (path, path / "kapture"):
        for names, is_query in ((_MAP_FOLDERS, False), (_QUERY_FOLDERS, True)):
            found += [(place / name, is_query) for name in names if (place / name / SENSORS).is_file()][:1]
    if not found and path.is_dir():
        found = [(folder, False) for folder in sorted(path.iterdir()) if (folder / SENSORS).is_file()][:1]
    return found


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Read a kapture folder; yields Progress, returns the scene. Raises SceneError, led by the file and line.

    Images with a pose in the kapture of the map are the reference; a kapture with points gives the map itself.
    """
    from core.scene.kapture_points import read_points

    reference, queries, notes, scene_map, map_path = (), (), (), None, None
    for root, is_query in _parts(path):
        yield Progress(f"Reading {root.name}", 0.0)
        kapture = read_kapture(root)
        notes += kapture.notes
        images = tuple(_with_features(image, root) for image in kapture.images)
        if is_query:
            queries += images
            continue
        posed = tuple(image for image in images if image.cam_from_world is not None)
        reference += posed or images
        queries += tuple(image for image in images if image.cam_from_world is None) if posed else ()
        found = yield from read_points(root, [replace(image, features=None) for image in posed])
        if found is not None:
            (scene_map, more), map_path = found, root
            reference, notes = scene_map.images, notes + more
    _require_different((*reference, *queries), path)
    reference, queries = (_found(images, path) for images in (reference, queries))
    scene_map = None if scene_map is None else replace(scene_map, images=reference)
    notes += missing_note([image.path for image in (*reference, *queries)], "images")
    return Scene(path.resolve().name, path, reference, queries, scene_map, notes=notes, map_path=map_path)


def _found(images: tuple[ImageData, ...], path: Path) -> tuple[ImageData, ...]:
    """The images where they are: in records_data, or, where that is not, in a folder of images beside the kapture."""
    if not images or any(image.path.is_file() for image in images[:50]):
        return images
    places = [folder / name for folder in (path, path.parent) for name in ("images", "images_upright", "records_data")]
    root = root_of_most([image.name for image in images], places)
    return images if root is None else tuple(replace(image, path=root / image.name) for image in images)


def _require_different(images: tuple[ImageData, ...], path: Path) -> None:
    seen: set[str] = set()
    for image in images:
        if image.name in seen:
            raise SceneError(f"{path}: the image name {image.name!r} occurs more than once, expected once")
        seen.add(image.name)


def read_kapture(root: Path) -> Kapture:
    """Read the sensors of one kapture folder."""
    cameras = _read_sensors(root / SENSORS)
    rigs = _read_rigs(root / "sensors" / "rigs.txt")
    poses = _read_trajectories(root / "sensors" / "trajectories.txt", rigs)
    records = root / "sensors" / "records_camera.txt"
    images, given, names = [], [], set()
    for where, values in rows_of(records):
        if len(values) != 3:
            raise SceneError(f"{where}: expected timestamp, device_id, image_path, found {len(values)} values")
        stamp, device, raw = values
        given.append(raw)
        name = inside(raw)
        if not name or name in names:
            raise SceneError(f"{where}: the image {raw!r} is {'listed a second time' if name else 'no file'}")
        if device not in cameras:
            raise SceneError(f"{where}: the device {device!r} is no camera of {root / SENSORS}")
        names.add(name)
        pose = poses.get((_stamp(stamp, where), device))
        seconds = _seconds(int(stamp))
        image_path = root / "sensors" / "records_data" / name
        images.append(ImageData(name, image_path, condition_of(name), cameras[device], pose, timestamp_s=seconds))
    notes = outside_note(records, given)
    unknown = sum(image.camera is None for image in images)
    notes += (f"{root / SENSORS}: {unknown} of {len(images)} images have a camera without intrinsics.",) if unknown else ()
    return Kapture(root, tuple(sorted(images, key=lambda image: image.name)), notes)


def rows_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield ("file:line", values) of a text file of values between commas; nothing where there is no such file."""
    if not path.is_file():
        return
    for where, line in text_lines(path):
        if line:
            yield where, [value.strip() for value in line.split(",")]


def _read_sensors(path: Path) -> dict[str, Camera | None]:
    """The cameras by device; None where the intrinsics are not known. Other sensors are left out."""
    cameras: dict[str, Camera | None] = {}
    for where, values in rows_of(path):
        if len(values) < 3:
            raise SceneError(f"{where}: expected sensor_device_id, name, sensor_type, parameters, found {len(values)} values")
        device, _, kind, *params = values
        if kind != "camera":
            continue
        if device in cameras:
            raise SceneError(f"{where}: the sensor {device!r} is listed a second time")
        cameras[device] = None if params[:1] in ([], ["UNKNOWN_CAMERA"]) else parse_camera(params, where)
    return cameras


def _read_rigs(path: Path) -> dict[str, list[tuple[str, Rigid3d]]]:
    """The devices of each rig with ``device_from_rig``."""
    rigs: dict[str, list[tuple[str, Rigid3d]]] = {}
    for where, values in rows_of(path):
        if len(values) != 9:
            raise SceneError(f"{where}: expected rig, sensor, qw, qx, qy, qz, tx, ty, tz, found {len(values)} values")
        device_from_rig = pose_from_colmap(numbers(values[2:], np.float64, where), where)
        rigs.setdefault(values[0], []).append((values[1], device_from_rig))
    return rigs


def _read_trajectories(path: Path, rigs: Mapping[str, list[tuple[str, Rigid3d]]]) -> dict[tuple[int, str], Rigid3d]:
    """Poses device_from_world by timestamp and device, those of a rig passed on to its devices."""
    poses: dict[tuple[int, str], Rigid3d] = {}
    for where, values in rows_of(path):
        if len(values) != 9:
            raise SceneError(f"{where}: expected timestamp, device, qw, qx, qy, qz, tx, ty, tz, found {len(values)} values")
        key = _stamp(values[0], where), values[1]
        if key in poses:
            raise SceneError(f"{where}: a second pose of {values[1]!r} at {values[0]}")
        if not any(values[2:]):
            continue  # kapture leaves the numbers of a pose that is not known empty
        poses[key] = pose_from_colmap(numbers(values[2:], np.float64, where), where)
    for (stamp, device), pose in list(poses.items()):
        for sensor, sensor_from_world in _mounted(device, pose, rigs, path):
            poses.setdefault((stamp, sensor), sensor_from_world)
    return poses


def _mounted(
    device: str, device_from_world: Rigid3d, rigs: Mapping[str, list[tuple[str, Rigid3d]]], path: Path, depth: int = 0
) -> Iterator[tuple[str, Rigid3d]]:
    """All that is mounted on a device, on what is mounted there too, with poses from the world."""
    if depth > _MAX_RIG_DEPTH:
        raise SceneError(f"{path}: the rig {device!r} is mounted on itself, expected rigs that end in sensors")
    for sensor, sensor_from_device in rigs.get(device, ()):
        sensor_from_world = sensor_from_device @ device_from_world
        yield sensor, sensor_from_world
        yield from _mounted(sensor, sensor_from_world, rigs, path, depth + 1)


def _stamp(text: str, where: str) -> int:
    digits = text.lstrip("-")
    if not digits.isdecimal() or len(digits) > 30:
        raise SceneError(f"{where}: the timestamp {text[:40]!r} is no whole number")
    return int(text)


def _seconds(stamp: int) -> float:
    """The time in seconds: kapture leaves the unit open; numbers too large for seconds are nanoseconds."""
    return stamp / 1e9 if stamp > _NANOSECONDS else float(stamp)


def feature_folder(root: Path) -> Path | None:
    """Where the descriptors of a kapture lie: of its first type by name, or of its only one in format 1.0."""
    folder = root / "reconstruction" / "descriptors"
    if (folder / "descriptors.txt").is_file():
        return folder
    types = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((kind for kind in types if (kind / "descriptors.txt").is_file()), None)


def _with_features(image: ImageData, root: Path) -> ImageData:
    """The image with the features that the kapture has of it."""
    folder = feature_folder(root)
    if folder is None or not (folder / f"{image.name}.desc").is_file():
        return image
    return replace(image, features=FeatureFile(folder, extractor_of(folder), image.name))


def extractor_of(folder: Path) -> str:
    """What made the descriptors of a folder: the name of their type."""
    if folder.name != "descriptors":
        return f"kapture:{folder.name}"
    first = next(rows_of(folder / "descriptors.txt"), ("", ["unknown"]))
    return f"kapture:{first[1][0]}"
