"""RobotCar Seasons, v1 and v2, as it is downloaded (PAPER 4.6).

Images are named ``condition/camera/timestamp.jpg``, whatever the model calls them. The merged NVM model is one map; each
location's COLMAP model is one of its own, opened by its own folder. v2 brings poses of about half of the queries.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Camera, Rigid3d
from core.records import ImageData, Progress, Scene, SceneMap
from core.scene.benchmark_scene import (
    Notes,
    benchmark_scene,
    folders_with_note,
    images_in,
    number_of,
    read_names,
    with_descriptors,
    with_features,
)
from core.scene.colmap import ColmapImage, camera_from_colmap, model_suffix, read_model, scene_map_from_model
from core.scene.colmap_text import numbers, text_lines
from core.scene.image_names import Listing, inside, outside_note
from core.scene.nvm import read_nvm
from core.scene.nvm_scene import described_nvm_map
from core.scene.poses import fault_note, pose_from_camera_to_world

REFERENCE = "overcast-reference"
CAMERAS = ("left", "rear", "right")
TRAIN, TEST = "robotcar_v2_train.txt", "robotcar_v2_test.txt"
_MODELS, _LOCATIONS, _QUERIES = "3D-models", "colmap_reconstructions", "queries_per_location"
_SIZE = (1024, 1024)
_PROGRESS_EVERY = 2000
_LOCATION = re.compile(r"\d+(_aligned)?")


def recognise(path: Path) -> bool:
    """Whether a path is the benchmark's root, a location's model, or an NVM file under the root."""
    root = _root_of(path)
    return root is not None and (path != root or bool(_nvm_files(root) or _locations(root) or _has_lists(root)))


def _root_of(path: Path) -> Path | None:
    """The benchmark's folder: a path itself, or above a location's folder or an NVM file."""
    if path.is_dir() and _is_root(path):
        return path
    is_model = path.is_dir() and _LOCATION.fullmatch(path.name) and model_suffix(path) is not None
    is_part = is_model or (path.is_file() and path.suffix.lower() == ".nvm")
    return next((folder for folder in path.absolute().parents[:4] if _is_root(folder)), None) if is_part else None


def _is_root(folder: Path) -> bool:
    marks = [f"intrinsics/{camera}_intrinsics.txt" for camera in CAMERAS] + [TRAIN, TEST]
    return any((folder / mark).is_file() for mark in marks) or (folder / "images" / REFERENCE).is_dir()


def _has_lists(root: Path) -> bool:
    return any((root / name).is_file() for name in (TRAIN, TEST))


def _nvm_files(root: Path) -> list[Path]:
    return sorted((root / _MODELS).glob("all-merged/*.nvm")) or sorted((root / _MODELS).glob("*.nvm"))


def _locations(root: Path) -> list[Path]:
    folders = [*(root / _MODELS / "individual" / _LOCATIONS).glob("*"), *(root / _MODELS / _LOCATIONS).glob("*")]
    return sorted((f for f in folders if f.is_dir() and _LOCATION.fullmatch(f.name)), key=lambda f: number_of(f.name))


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Open the merged model, or a location; without a merged model the first location, and a note names the others."""
    root = _root_of(path)
    yield Progress(f"Reading the cameras of {root.name}", 0.0)
    cameras = _read_intrinsics(root)
    model, notes = (path, ()) if path != root else _model_of(root)
    location = number_of(model.stem) if model is not None and _LOCATION.fullmatch(model.stem) else None
    scene_map, map_notes = None, ()
    if model is not None and model.is_dir():
        scene_map, map_notes = yield from _location_map(model, root, cameras)
    elif model is not None:
        scene_map, map_notes = yield from _merged_map(model, root, cameras)
    yield Progress("Reading the queries", 0.95)
    queries, query_notes = yield from _queries(root, cameras, location)
    queries, feature_notes = with_features(queries, root / _MODELS / "query.db")
    title = "RobotCar Seasons v2" if _has_lists(root) else "RobotCar Seasons"
    return (
        yield from benchmark_scene(
            title if location is None else f"{title}, location {location}",
            root,
            scene_map.images if scene_map else (yield from _reference_images(root, cameras)),
            queries,
            scene_map,
            [*notes, *map_notes, *query_notes, *feature_notes],
            kind="urban",
            map_path=None if model is None else model if model.is_dir() else model.with_suffix(""),
        )
    )


def _model_of(root: Path) -> tuple[Path | None, Notes]:
    merged, locations = _nvm_files(root), _locations(root)
    if merged:
        return merged[0], ()
    return folders_with_note(locations, "locations") if locations else (None, ())


def _reference_images(root: Path, cameras: Mapping[str, Camera]) -> Generator[Progress, None, tuple[ImageData, ...]]:
    """What lies in the reference's folder, where there is no map to say what belongs to it."""
    return (yield from _images(_names_in(root / "images" / REFERENCE, REFERENCE), root, cameras))


def _merged_map(
    file: Path, root: Path, cameras: Mapping[str, Camera]
) -> Generator[Progress, None, tuple[SceneMap | None, Notes]]:
    model = yield from read_nvm(file)
    names = [_full_name(name) for name in model.names]
    _require_once(names, file)
    images = yield from _images(names, root, cameras)
    yield Progress("Cameras of the reference", 1.0)
    images = [
        replace(image, cam_from_world=pose, camera=image.camera or _square(focal, file))
        for image, pose, focal in zip(images, model.poses, model.focals, strict=True)
    ]
    yield Progress("Putting the map together", 1.0)
    guessed = [image.name for image in images if image.name.split("/")[-2] not in cameras]
    notes = (f"{file}: {len(guessed)} images have the camera of the NVM file, with their middle as centre.",) if guessed else ()
    scene_map, own = yield from described_nvm_map(model, images, root / _MODELS / "overcast-reference.db", file)
    return scene_map, model.notes + notes + own


def _location_map(folder: Path, root: Path, cameras: Mapping[str, Camera]) -> Generator[Progress, None, tuple[SceneMap, Notes]]:
    """The map of one location; cameras 1, 2, 3 of its model are left, rear and right."""
    if model_suffix(folder) is None:
        raise SceneError(f"{folder}: no COLMAP model here, expected cameras, images and points3D as .txt or .bin")
    yield Progress(f"Reading location {folder.name}", 0.1)
    model = read_model(folder)
    scene_map = scene_map_from_model(model, root)
    scene_map, notes = yield from with_descriptors(scene_map, model, root / _MODELS / "overcast-reference.db")
    by_name = {image.name: image for image in model.images.values()}
    names = [_full_name(inside(image.name), by_name[image.name]) for image in scene_map.images]
    _require_once(names, folder)
    found = yield from _images(names, root, cameras)
    images = [
        replace(own, cam_from_world=image.cam_from_world, camera=own.camera or image.camera)
        for own, image in zip(found, scene_map.images, strict=True)
    ]
    return replace(scene_map, images=tuple(images)), outside_note(folder, by_name) + notes


def _require_once(names: Sequence[str], where: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SceneError(f"{where}: the image name {name!r} occurs more than once, expected once")
        seen.add(name)


def _full_name(name: str, image: ColmapImage | None = None) -> str:
    """condition/camera/timestamp.jpg, whatever of it a model's name leaves out."""
    parts = name.split("/")[-3:]
    if len(parts) == 1 and image is not None and 1 <= image.camera_id <= len(CAMERAS):
        parts = [CAMERAS[image.camera_id - 1], *parts]
    if len(parts) == 2:
        parts = [REFERENCE, *parts]
    return _as_jpg("/".join(parts))


def _as_jpg(name: str) -> str:
    """Models and lists name the pictures .png, the download holds .jpg."""
    return name[:-4] + ".jpg" if name.lower().endswith(".png") else name


def _images(
    names: Sequence[str], root: Path, cameras: Mapping[str, Camera]
) -> Generator[Progress, None, tuple[ImageData, ...]]:
    there, images = Listing(), []
    for k, name in enumerate(names):
        if k % _PROGRESS_EVERY == 0:
            yield Progress(f"Images of {root.name}: {k:,} of {len(names):,}", k / len(names))
        images.append(_image(name, root, cameras, there))
    return tuple(images)


def _image(name: str, root: Path, cameras: Mapping[str, Camera], there: Listing) -> ImageData:
    condition, camera, file = ["", "", *name.split("/")][-3:]
    time = file.rsplit(".", 1)[0]
    timestamp = int(time) / 1e6 if time.isascii() and time.isdigit() and len(time) < 18 else None
    path = root / "images" / name
    if path not in there and (png := path.with_suffix(".png")) in there:
        path = png
    return ImageData(name, path, condition or "unknown", cameras.get(camera), timestamp_s=timestamp)


# Cameras


def _read_intrinsics(root: Path) -> dict[str, Camera]:
    files = {camera: root / "intrinsics" / f"{camera}_intrinsics.txt" for camera in CAMERAS}
    return {camera: _intrinsics(file) for camera, file in files.items() if file.is_file()}


def _intrinsics(file: Path) -> Camera:
    """The camera of lines fx v, fy v, cx v, cy v."""
    values = {}
    for where, line in text_lines(file):
        words = line.replace(":", " ").split()
        if words:
            values[words[0]] = float(numbers(words[1:2] or [""], np.float64, where)[0])
    missing = [key for key in ("fx", "fy", "cx", "cy") if key not in values]
    if missing:
        raise SceneError(f"{file}: has no {missing[0]}, expected lines fx, fy, cx and cy, each with a number")
    return camera_from_colmap("PINHOLE", *_SIZE, np.array([values[key] for key in ("fx", "fy", "cx", "cy")]), str(file))


def _square(focal: float, file: Path) -> Camera:
    return camera_from_colmap("SIMPLE_PINHOLE", *_SIZE, np.array([focal, _SIZE[0] / 2, _SIZE[1] / 2]), str(file))


def read_extrinsics(root: Path) -> dict[str, Rigid3d]:
    """Read extrinsics/: cam_from_car of left, rear and right, those that are there; SceneError names the file."""
    files = {camera: root / "extrinsics" / f"{camera}_extrinsics.txt" for camera in CAMERAS}
    poses = {}
    for camera, file in files.items():
        if file.is_file():
            words = [word for _, line in text_lines(file) for word in line.replace(",", " ").split()]
            values = numbers(words, np.float64, str(file))
            if len(values) != 16:
                raise SceneError(f"{file}: expected a 4 x 4 matrix [R c; 0 1], found {len(values)} numbers")
            poses[camera] = pose_from_camera_to_world(values.reshape(4, 4), str(file))
    return poses


# Queries


def _queries(
    root: Path, cameras: Mapping[str, Camera], location: int | None
) -> Generator[Progress, None, tuple[tuple[ImageData, ...], Notes]]:
    """Every query that is listed, of one location where one is asked for, with the poses that v2 gives."""
    names, notes = _listed(root, location)
    poses, pose_notes = _train_poses(root, names)
    if location is None:
        tested, test_notes = _test_names(root, names)
        names = list(dict.fromkeys([*names, *poses, *tested]))
        notes += test_notes
    poses, rig_notes = _with_rig(poses, names, read_extrinsics(root))
    images = yield from _images(names, root, cameras)
    queries = (replace(image, cam_from_world=poses.get(image.name)) for image in images)
    return tuple(queries), notes + pose_notes + rig_notes


def _listed(root: Path, location: int | None) -> tuple[list[str], Notes]:
    """The queries of the lists per location, or, where these are not there, what lies in images/."""
    folders = (root / _MODELS / "individual" / _QUERIES, root / _MODELS / _QUERIES, root / _QUERIES)
    files = sorted((file for folder in folders for file in folder.glob("*.txt")), key=lambda file: number_of(file.stem))
    if location is not None and files:
        files = [file for file in files if number_of(file.stem) == location]
        if not files:
            return [], (f"{root}: no list of the queries of location {location} was found.",)
    names, notes = {}, ()
    for file in files:
        own, own_notes = read_names(file)
        names |= dict.fromkeys(_as_jpg(name) for name in own)
        notes += own_notes
    if files:
        return list(names), notes
    conditions = sorted(entry.name for entry in (root / "images").glob("*") if entry.is_dir() and entry.name != REFERENCE)
    return [name for condition in conditions for name in _names_in(root / "images" / condition, condition)], ()


def _names_in(folder: Path, condition: str) -> list[str]:
    return [f"{condition}/{camera}/{_as_jpg(name)}" for camera in CAMERAS for name in images_in(folder / camera)]


def _test_names(root: Path, known: Sequence[str]) -> tuple[list[str], Notes]:
    if not (root / TEST).is_file():
        return [], ()
    names, notes = read_names(root / TEST)
    return _with_conditions([_as_jpg(name) for name in names], known), notes


def _with_conditions(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names with their condition; it is told from the others where a list leaves it out, for each timestamp has one."""
    full = {name.split("/", 1)[-1]: name for name in known}
    return [full.get(name, name) if name.count("/") < 2 else name for name in names]


def _train_poses(root: Path, known: Sequence[str]) -> tuple[dict[str, Rigid3d], Notes]:
    """cam_from_world of v2's training list: a name and a camera-to-world matrix [R c], row by row."""
    file = root / TRAIN
    if not file.is_file():
        return {}, ()
    given, poses, faults = [], {}, []
    for where, line in text_lines(file):
        words = line.split()
        if not words:
            continue
        if len(words) not in (13, 17):
            raise SceneError(f"{where}: expected a name and a 4 x 4 matrix, found {len(words)} values")
        given.append(words[0])
        name = _with_conditions([_as_jpg(inside(words[0]))], known)[0]
        matrix = _floats(words[1:13], where).reshape(3, 4)
        try:
            if name in poses:
                raise SceneError(f"{where}: {name!r} is listed a second time")
            poses[name] = pose_from_camera_to_world(matrix, where)
        except SceneError as error:
            faults.append(str(error))
    return poses, outside_note(file, given) + fault_note(faults, "pose")


def _floats(words: list[str], where: str) -> Array:
    try:
        return np.array(words, np.float64)
    except ValueError as error:
        raise SceneError(f"{where}: expected numbers, found {' '.join(words)[:60]!r}") from error


def _with_rig(
    poses: dict[str, Rigid3d], names: Sequence[str], cam_from_car: Mapping[str, Rigid3d]
) -> tuple[dict[str, Rigid3d], Notes]:
    """Add the poses of images that were taken together with one of known pose: X_from_world = X_from_car car_from_world."""
    found = dict(poses)
    for name, pose in poses.items():
        *_, camera, _ = ["", *name.split("/")]
        for other in cam_from_car if camera in cam_from_car else ():
            twin = name.replace(f"/{camera}/", f"/{other}/")
            found.setdefault(twin, cam_from_car[other] @ cam_from_car[camera].inverse() @ pose)
    found = {name: found[name] for name in names if name in found}
    derived = len(found.keys() - poses.keys())
    note = f"The poses of {derived} queries follow from those taken at the same time, by the extrinsics of the cameras."
    return found, (note,) if derived else ()
