"""CMU Seasons and Extended CMU Seasons as they are downloaded (PAPER 4.6).

Every slice is a map of its own. Reference images are named ``database/...`` and queries ``query/...``; a condition is the
day of the drive, with the benchmark's words for it where the day is one of its twelve. Names hold the camera (``_c0_``) and the
time (``_1303398475046031us``).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
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
    read_cameras,
    read_names,
    with_descriptors,
    with_features,
)
from core.scene.colmap import camera_from_colmap, model_suffix, read_model, scene_map_from_model
from core.scene.colmap_text import numbers, text_lines
from core.scene.image_names import inside, root_of_most
from core.scene.list_files import read_queries
from core.scene.nvm import read_nvm
from core.scene.nvm_scene import described_nvm_map
from core.scene.poses import read_center_poses

UNKNOWN_DAY = "unknown-day"
_WEATHER = {  # the benchmark's README
    "2011-04-04": "sunny-no-foliage",
    "2010-09-01": "sunny-foliage",
    "2010-09-15": "sunny-foliage",
    "2010-10-01": "cloudy-foliage",
    "2010-10-19": "sunny-foliage",
    "2010-10-28": "overcast-mixed-foliage",
    "2010-11-03": "low-sun-mixed-foliage",
    "2010-11-12": "low-sun-mixed-foliage",
    "2010-11-22": "cloudy-mixed-foliage",
    "2010-12-21": "low-sun-no-foliage-snow",
    "2011-03-04": "low-sun-foliage",
    "2011-07-28": "overcast-foliage",
}
_SIZE = "1024 768"
_PUBLISHED = {  # intrinsics.txt of Extended CMU Seasons, COLMAP's pixels
    "c0": (868.993378, 866.063001, 525.942323, 420.042529, -0.399431, 0.188924, 0.000153, 0.000571),
    "c1": (873.382641, 876.489513, 529.324138, 397.272397, -0.397066, 0.181925, 0.000176, -0.000579),
}
_UP = np.array([0.0, 0.0, -1.0])  # gravity: z of the benchmark's world is up
_GROUND_TRUTH, _TEST, _POSES = "ground-truth-database-images-*.txt", "test-images-*.txt", "camera-poses"
_LISTS, _MODELS = "query_lists", "3D-models"
_NAME = re.compile(r"_(c\d+)_(\d+)us")


def condition_of_day(name: str) -> str:
    """The condition of an image: its day, and the benchmark's words for the weather of that day."""
    time = timestamp_of(name)
    if time is None:
        return UNKNOWN_DAY
    day = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")
    return f"{day}-{_WEATHER[day]}" if day in _WEATHER else day


def timestamp_of(name: str) -> float | None:
    """When an image was taken, in s since 1970; None where its name does not say."""
    found = _NAME.search(name)
    return int(found[2]) / 1e6 if found and len(found[2]) < 18 else None


def camera_key(name: str) -> str:
    """c0 or c1, the camera that took an image; "" where its name does not say."""
    found = _NAME.search(name)
    return found[1] if found else ""


def kind_of_slice(number: int) -> str:
    if 2 <= number <= 8:
        return "urban"
    return "suburban" if number <= 17 else "park"


def _image(name: str, root: Path, cameras: dict[str, Camera], pose: Rigid3d | None) -> ImageData:
    camera = cameras.get(name) or cameras.get(camera_key(name))
    return ImageData(name, root / name, condition_of_day(name), camera, pose, timestamp_of(name))


def _in_folder(name: str, folder: str) -> str:
    return name if name.startswith(f"{folder}/") else f"{folder}/{name}"


# Extended CMU Seasons


def recognise_extended(path: Path) -> bool:
    """Whether a folder is a slice, or holds some."""
    return path.is_dir() and bool(_is_slice(path) or _slices(path))


def _is_slice(path: Path) -> bool:
    has_lists = any(next(path.glob(pattern), None) for pattern in (_GROUND_TRUTH, _TEST)) or (path / _POSES).is_dir()
    return has_lists and any((path / part).is_dir() for part in ("sparse", "database", "query"))


def _slices(root: Path) -> list[Path]:
    folders = [entry for entry in root.glob("slice*") if entry.is_dir() and _is_slice(entry)]
    return sorted(folders, key=lambda folder: (number_of(folder.name), folder.name))


def read_extended(path: Path) -> Generator[Progress, None, Scene]:
    """Open a slice of Extended CMU Seasons, or the first slice of its root; a note names the others."""
    root, notes = (path, ()) if _is_slice(path) else folders_with_note(_slices(path), "slices")
    yield Progress(f"Reading {root.name}", 0.0)
    cameras, camera_notes = _extended_cameras(root)
    scene_map, reference, map_notes = yield from _extended_map(root, cameras)
    yield Progress(f"Reading the queries of {root.name}", 0.9)
    queries, query_notes = _extended_queries(root, cameras, {image.name.rsplit("/", 1)[-1] for image in reference})
    number = number_of(root.resolve().name)
    queries, feature_notes = with_features(queries, root / f"query{number}.db")
    return (
        yield from benchmark_scene(
            root.resolve().name,
            root,
            reference,
            queries,
            scene_map,
            [*notes, *camera_notes, *map_notes, *query_notes, *feature_notes],
            kind=kind_of_slice(number) if number >= 2 else "",
            map_path=_model_folder(root) if scene_map else None,
        )
    )


def _extended_cameras(root: Path) -> tuple[dict[str, Camera], Notes]:
    """Cameras c0 and c1 of intrinsics.txt beside the slices or in one; the published ones where there is none."""
    for file in (root / "intrinsics.txt", root.resolve().parent / "intrinsics.txt"):
        if file.is_file():
            return read_cameras(file), ()
    cameras = {
        key: camera_from_colmap("OPENCV", *map(int, _SIZE.split()), np.array(params), key) for key, params in _PUBLISHED.items()
    }
    return cameras, (f"{root}: no intrinsics.txt here or above, so the cameras are those that the benchmark published.",)


def _model_folder(root: Path) -> Path | None:
    likely = (root / "sparse", root / "sparse" / "0", root / "sparse" / "model")
    return next((folder for folder in likely if model_suffix(folder)), None)


def _extended_map(
    root: Path, cameras: dict[str, Camera]
) -> Generator[Progress, None, tuple[SceneMap | None, tuple[ImageData, ...], Notes]]:
    """The map of a slice and its images; without a model the listed reference images with their poses."""
    folder = _model_folder(root)
    if folder is None:
        poses, notes = read_center_poses(sorted(root.glob(_GROUND_TRUTH)))
        names = list(poses) or images_in(root / "database")
        return None, tuple(_image(_in_folder(name, "database"), root, cameras, poses.get(name)) for name in names), notes
    yield Progress(f"Reading the model of {root.name}", 0.1)
    model = read_model(folder)
    scene_map = scene_map_from_model(model, root)
    yield Progress(f"Reading the descriptors of {root.name}", 0.3)
    database = root / f"database{number_of(root.resolve().name)}.db"
    scene_map, notes = yield from with_descriptors(scene_map, model, database)
    return (*_renamed(scene_map, root), notes)


def _renamed(scene_map: SceneMap, root: Path) -> tuple[SceneMap, tuple[ImageData, ...]]:
    """The map with its images named by the folder that they lie in, with day and time, and gravity."""

    def named(image: ImageData) -> ImageData:
        name = _in_folder(inside(image.name), "database")
        return replace(_image(name, root, {}, image.cam_from_world), camera=image.camera)

    images = tuple(named(image) for image in scene_map.images)
    return replace(scene_map, images=images, gravity_in_world=_UP), images


def _extended_queries(root: Path, cameras: dict[str, Camera], reference: set[str]) -> tuple[tuple[ImageData, ...], Notes]:
    """Every query that is listed, has a pose or lies in query/; ``reference`` names what is none."""
    poses, notes = read_center_poses(sorted((root / _POSES).glob("*.txt")))
    poses = {name.rsplit("/", 1)[-1]: pose for name, pose in poses.items()}
    listed: list[str] = []
    for file in sorted(root.glob(_TEST)):
        names, own_notes = read_names(file)
        listed, notes = listed + [name.rsplit("/", 1)[-1] for name in names], notes + own_notes
    names = dict.fromkeys([*listed, *poses, *images_in(root / "query")])
    return tuple(_image(f"query/{n}", root, cameras, poses.get(n)) for n in names if n not in reference), notes


# CMU Seasons


def recognise_rectified(path: Path) -> bool:
    """Whether a path is the root of CMU Seasons, or one of its models."""
    root = _root_of(path)
    return root is not None and bool(_models(root))


def _root_of(path: Path) -> Path | None:
    """The folder with query_lists/ and 3D-models/: a folder itself, or one above an NVM file."""
    if path.is_dir():
        candidates: Sequence[Path] = (path,)
    else:
        candidates = path.absolute().parents[:3] if path.suffix.lower() == ".nvm" and path.is_file() else ()
    return next((folder for folder in candidates if (folder / _LISTS).is_dir() and (folder / _MODELS).is_dir()), None)


def _models(root: Path) -> list[Path]:
    found = [*(root / _MODELS).glob("*.nvm"), *(root / _MODELS).glob("*/*.nvm")]
    return sorted(found, key=lambda file: (number_of(file.stem), file.name))


def read_rectified(path: Path) -> Generator[Progress, None, Scene]:
    """Open one slice of CMU Seasons: the model named, or the first one; a note names the others."""
    root = _root_of(path)
    file, notes = (path, ()) if path.is_file() else folders_with_note(_models(root), "models")
    model = yield from read_nvm(file)
    number = number_of(file.stem)
    listed, list_notes = _listed_queries(root, number)
    cameras, camera_notes = _rectified_cameras(root, listed)
    names = [_in_folder(name, "database") for name in model.names]
    folder = _image_folder(root, number, [*names, *listed])
    images = [_image(name, folder, cameras, pose) for name, pose in zip(names, model.poses, strict=True)]
    scene_map, map_notes = yield from described_nvm_map(model, images, None, file)
    queries = [_image(name, folder, listed, None) for name in listed]
    return (
        yield from benchmark_scene(
            file.stem,
            root,
            images,
            queries,
            scene_map,
            [*notes, *model.notes, *map_notes, *camera_notes, *list_notes],
            kind=kind_of_slice(number) if number >= 2 else "",
            map_path=file.with_suffix(""),
        )
    )


def _listed_queries(root: Path, number: int) -> tuple[dict[str, Camera], Notes]:
    """The cameras of a slice's queries by name, of the list that has the slice's number."""
    lists = sorted((root / _LISTS).glob("*.txt"))
    own = [file for file in lists if number_of(file.stem) == number] or (lists if len(lists) == 1 else [])
    if not own:
        return {}, (f"{root / _LISTS}: has no list of queries for slice {number}.",)
    return {_in_folder(inside(name), "query"): camera for name, camera in read_queries(own[0]).items()}, ()


def _rectified_cameras(root: Path, listed: dict[str, Camera]) -> tuple[dict[str, Camera], Notes]:
    """Pinhole cameras by c0, c1: of intrinsics/, else those of the queries, else the published ones."""
    cameras = {}
    for file in sorted((root / "intrinsics").glob("*.txt")):
        cameras[f"c{number_of(file.stem)}"] = _matrix_camera(file)
    cameras = {camera_key(name): camera for name, camera in listed.items()} | cameras
    if cameras.keys() >= _PUBLISHED.keys():
        return cameras, ()
    published = {key: _pinhole(np.array(params[:4]), key) for key, params in _PUBLISHED.items()}
    missing = ", ".join(sorted(published.keys() - cameras.keys()))
    return published | cameras, (f"{root}: no intrinsics of {missing} here, so they are those that the benchmark published.",)


def _matrix_camera(file: Path) -> Camera:
    """The camera of a file with a (3, 3) matrix."""
    lines = [(where, line) for where, line in text_lines(file) if line]
    where = lines[0][0] if lines else str(file)
    values = numbers([word for _, line in lines for word in line.replace(",", " ").split()], np.float64, where)
    if len(values) != 9 or abs(values[8] - 1) > 1e-6:
        raise SceneError(f"{file}: expected a 3 x 3 matrix fx 0 cx, 0 fy cy, 0 0 1, found {len(values)} numbers")
    return _pinhole(values[[0, 4, 2, 5]], where)


def _pinhole(params: Array, where: str) -> Camera:
    return camera_from_colmap("PINHOLE", *map(int, _SIZE.split()), params, where)


def _image_folder(root: Path, number: int, names: Sequence[str]) -> Path:
    """Where database/ and query/ of a slice are."""
    slices = (f"slice{number}", str(number))
    likely = [root / "images" / name for name in slices] + [root / name for name in slices] + [root / "images", root]
    return root_of_most(names, likely) or likely[0]
