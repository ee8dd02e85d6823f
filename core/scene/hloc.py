"""Output folders of hloc: ``sfm_*`` models, features and matches as HDF5, results as text, logs.

The map is the first ``sfm_*`` model that is not of the benchmark's own SIFT; its descriptors come from the HDF5 file whose
keypoints are the model's, or from its database. Queries are what a list with intrinsics names, else what the logs of the
localization hold. hloc's own poses are estimates and stand as no query's truth: the notes say how many there are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path

import h5py

from core.errors import SceneError
from core.geometry import Camera, Rigid3d
from core.records import FeatureFile, ImageData, Progress, Scene, SceneMap
from core.scene.colmap import ColmapModel, condition_of, model_suffix, read_model, scene_map_from_model
from core.scene.described import described_map
from core.scene.feature_files import H5Features
from core.scene.hdf5 import open_h5
from core.scene.hloc_logs import LOGS_SUFFIX, read_logs
from core.scene.image_names import inside, missing_note, root_of_most
from core.scene.list_files import read_poses, read_queries
from core.scene.model_database import with_database
from core.steps import scaled

_LISTS = ("*_with_intrinsics.txt", "*queries*.txt", "*query_list*.txt")
_NO_FEATURES = ("matches", "global", "pairs")


def recognise(path: Path) -> bool:
    """Whether a folder holds a model named ``sfm*``, as hloc names them."""
    return path.is_dir() and bool(_models(path))


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Read an output folder; yields Progress, returns the scene. Raises SceneError, led by the file."""
    model_path = _models(path)[0]
    yield Progress(f"Reading the model {model_path.name}", 0.0)
    model = read_model(model_path)
    scene_map = scene_map_from_model(model, path)
    scene_map, source, notes = yield from scaled(_described(path, scene_map, model), 0.1, 0.6)
    others = [folder.name for folder in _models(path)[1:]]
    notes += (f"{path}: {model_path.name} is the map; {', '.join(others)} beside it.",) if others else ()
    cameras, more = yield from scaled(_cameras(path), 0.6, 0.9)
    queries = _queries(path, cameras, source, {image.name for image in scene_map.images})
    root = _image_root(path, [image.name for image in (*scene_map.images, *queries)])
    scene_map = replace(scene_map, images=tuple(replace(image, path=root / image.name) for image in scene_map.images))
    queries = tuple(replace(query, path=root / query.name) for query in queries)
    notes += more + _results_note(path) + missing_note([image.path for image in (*scene_map.images, *queries)], "images")
    scene = Scene(path.resolve().name, path, scene_map.images, queries, scene_map, notes=notes, map_path=model_path)
    return (yield from scaled(with_database(scene, model_path, root), 0.9, 1.0)) if not queries else scene


def _models(path: Path) -> list[Path]:
    """Folders sfm* that hold a model, those of the benchmarks' own SIFT last."""
    found = [folder for folder in sorted(path.glob("sfm*")) if folder.is_dir() and model_suffix(folder)]
    return sorted(found, key=lambda folder: "sift" in folder.name.lower())


def feature_files(path: Path) -> list[Path]:
    """HDF5 files of local features in a folder, by their names."""
    files = [file for file in sorted(path.glob("*.h5")) if not any(word in file.name.lower() for word in _NO_FEATURES)]
    return sorted(files, key=lambda file: not file.name.startswith("feats"))


def _described(
    path: Path, scene_map: SceneMap, model: ColmapModel
) -> Generator[Progress, None, tuple[SceneMap, Path | None, tuple[str, ...]]]:
    """The map with the descriptors of the first file that is the model's, this file, and notes: why no file is."""
    refusals: list[str] = []
    for file in feature_files(path):
        try:
            described, notes = yield from described_map(scene_map, list(model.images.values()), model.point_ids, file)
        except SceneError as error:
            refusals.append(f"Descriptors are left out: {error}.")
        else:
            return described, file, notes
    return scene_map, None, tuple(refusals)


def _cameras(path: Path) -> Generator[Progress, None, tuple[dict[str, Camera | None], tuple[str, ...]]]:
    """The queries' cameras by name: from the lists with intrinsics, else from the logs; and notes."""
    cameras: dict[str, Camera | None] = {}
    for file in _first_of(path, _LISTS):
        cameras |= {inside(name): camera for name, camera in read_queries(file).items()}
    notes: tuple[str, ...] = ()
    for file in () if cameras else sorted(path.glob(f"*{LOGS_SUFFIX}")):
        logs = yield from read_logs(file)
        cameras |= {name: log.camera for name, log in logs.items()}
        notes += (f"{file}: no list of queries is here, so their names and cameras are those of these logs.",)
    return cameras, notes


def _first_of(path: Path, patterns: Iterable[str]) -> list[Path]:
    """The lists of the first place and pattern that has any."""
    for folder in (path, path / "queries", path.parent / "queries"):
        for pattern in patterns:
            found = [file for file in sorted(folder.glob(pattern)) if "without" not in file.name]
            if found:
                return found
    return []


def _queries(path: Path, cameras: dict[str, Camera | None], source: Path | None, mapped: set[str]) -> tuple[ImageData, ...]:
    """The queries with their features; where nothing names any, the images of the features that the map has not."""
    described = _described_names(source) if source is not None else frozenset()
    matches = None if source is None else _matches_of(path, source)
    names = list(cameras) or sorted(described - mapped)
    extractor = source.stem if source is not None else ""
    return tuple(
        ImageData(
            name,
            path / name,
            condition_of(name),
            cameras.get(name),
            features=FeatureFile(source, extractor, name, matches) if name in described else None,
        )
        for name in names
    )


def _matches_of(path: Path, source: Path) -> Path | None:
    """The file of matches between the features of a file, as hloc names it: FEATURES_MATCHER_PAIRS.h5, PAIRS of queries.

    None where no such name has "matches" in it; of several the first that is not of the map's own pairs.
    """
    files = [file for file in sorted(path.glob(f"{source.stem}*.h5")) if "matches" in file.name[len(source.stem) :].lower()]
    return min(files, key=lambda file: "pairs-db" in file.name or "sfm" in file.name, default=None)


def _described_names(source: Path) -> frozenset[str]:
    """The images of an HDF5 file that have keypoints and descriptors."""
    with open_h5(source) as file:
        names: list[str] = []

        def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group) and "descriptors" in item:
                names.append(name)

        file.visititems(note)
        reader = H5Features(source, file)
        return frozenset(name for name in names if name in reader)


def _image_root(path: Path, names: list[str]) -> Path:
    roots = [path / "images", path, path.parent / "images", path.parent, path.parent.parent / "images"]
    data = path.parent.parent / "datasets" / path.name  # where hloc keeps what it makes outputs/NAME of
    return root_of_most(names, (*roots, data / "images_upright", data / "images", data)) or path / "images"


def read_results(path: str | Path) -> dict[str, Rigid3d]:
    """Read hloc's results ``name qw qx qy qz tx ty tz`` (cam_from_world); names may lack their folders. Raises SceneError."""
    return {inside(name): pose for name, pose in read_poses(path).items()}


def _results_note(path: Path) -> tuple[str, ...]:
    """Say how many poses hloc's results hold; a text beside logs of the same name is such a file."""
    notes = []
    for logs in sorted(path.glob(f"*{LOGS_SUFFIX}")):
        results = logs.with_name(logs.name.removesuffix(LOGS_SUFFIX))
        if results.is_file():
            notes.append(f"{results}: hloc's own poses of {len(read_results(results))} queries, shown as no truth.")
    return tuple(notes)
