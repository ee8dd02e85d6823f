"""Aachen Day-Night and its kind: an NVM (v1) or COLMAP model (v1.1), and query lists with intrinsics (PAPER 4.6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from core.geometry import Camera
from core.records import ImageData, Progress, Scene, SceneMap
from core.scene.benchmark_scene import Notes, benchmark_scene, with_descriptors, with_features
from core.scene.colmap import condition_of, model_suffix, read_model, scene_map_from_model
from core.scene.image_names import inside, outside_note, root_of_most
from core.scene.list_files import read_queries
from core.scene.nvm import read_nvm
from core.scene.nvm_scene import described_nvm_map, with_nvm_cameras

_MODELS, _IMAGES = "3D-models", "images_upright"
_MAIN_MODEL = "aachen_cvpr2018_db"
_DATABASES = ("aachen.db", "aachen_v_1_1.db", f"{_MODELS}/aachen_v_1_1/database.db", f"{_MODELS}/aachen_v_1_1.db")


def recognise(path: Path) -> bool:
    """Whether a path is a folder with query lists and a model or images, or an NVM file of such a folder."""
    return _root_of(path) is not None


def _root_of(path: Path) -> Path | None:
    if path.is_dir():
        candidates = [path]
    else:
        candidates = list(path.absolute().parents[:3]) if path.suffix.lower() == ".nvm" and path.is_file() else []
    return next((folder for folder in candidates if _is_root(folder)), None)


def _is_root(folder: Path) -> bool:
    return bool(_query_lists(folder)) and ((folder / _IMAGES).is_dir() or bool(_models(folder)))


def _query_lists(root: Path) -> list[Path]:
    return [file for part in ("queries", "query") for file in sorted((root / part).glob("*_with_intrinsics*.txt"))]


def _models(root: Path) -> list[Path]:
    """COLMAP models, then NVM files, the one of the benchmark's paper first."""
    folders = [entry for entry in sorted((root / _MODELS).glob("*")) if entry.is_dir() and model_suffix(entry)]
    files = [*(root / _MODELS).glob("*.nvm"), *(root / _MODELS).glob("*/*.nvm")]
    return folders + sorted(files, key=lambda file: (file.stem != _MAIN_MODEL, file.name))


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Open the model, or the NVM file that is named, with the queries of every list."""
    root = _root_of(path)
    yield Progress(f"Reading the queries of {root.name}", 0.0)
    queries, query_notes = _queries(root)
    model = path if path.is_file() else next(iter(_models(root)), None)
    database = next((root / name for name in _DATABASES if (root / name).is_file()), root / _DATABASES[0])
    scene_map, images, map_notes = None, (), ()
    if model is not None and model.is_dir():
        scene_map, map_notes = yield from _colmap_map(model, root, database)
    elif model is not None:
        scene_map, images, map_notes = yield from _nvm_map(model, root, database)
    queries, feature_notes = with_features(queries, database)
    return (
        yield from benchmark_scene(
            root.resolve().name,
            root,
            scene_map.images if scene_map else images,
            queries,
            scene_map,
            [*map_notes, *query_notes, *feature_notes],
            kind="urban",
            map_path=None if model is None else model if model.is_dir() else model.with_suffix(""),
        )
    )


def _image_root(root: Path, names: list[str]) -> Path:
    return root_of_most(names, (root / _IMAGES, root / "images", root)) or root / _IMAGES


def condition_of_name(name: str) -> str:
    """day or night of ``query/day/...``, else the first folder of a name."""
    parts = name.split("/")
    return parts[1] if parts[0] == "query" and len(parts) > 2 else condition_of(name)


def _queries(root: Path) -> tuple[tuple[ImageData, ...], Notes]:
    """The queries of all lists with their cameras; one that two lists hold is taken once."""
    cameras: dict[str, Camera] = {}
    notes: Notes = ()
    for file in _query_lists(root):
        listed = read_queries(file)
        notes += outside_note(file, listed)
        for name, camera in listed.items():
            cameras.setdefault(inside(name), camera)
    folder = _image_root(root, list(cameras))
    return tuple(ImageData(n, folder / n, condition_of_name(n), camera) for n, camera in cameras.items()), notes


def _nvm_map(
    file: Path, root: Path, database: Path
) -> Generator[Progress, None, tuple[SceneMap | None, tuple[ImageData, ...], Notes]]:
    model = yield from read_nvm(file)
    folder = _image_root(root, list(model.names))
    known: dict[str, Camera] = {}
    for intrinsics in [*(root / _MODELS).glob("database_intrinsics*.txt"), *file.parent.glob("database_intrinsics*.txt")]:
        known |= {inside(name): camera for name, camera in read_queries(intrinsics).items()}
    images = [
        ImageData(name, folder / name, condition_of_name(name), None, pose)
        for name, pose in zip(model.names, model.poses, strict=True)
    ]
    images, camera_notes = yield from with_nvm_cameras(model, images, known, file)
    scene_map, notes = yield from described_nvm_map(model, images, database, file)
    return scene_map, tuple(images), (*model.notes, *camera_notes, *notes)


def _colmap_map(folder: Path, root: Path, database: Path) -> Generator[Progress, None, tuple[SceneMap, Notes]]:
    yield Progress(f"Reading the model {folder.name}", 0.1)
    model = read_model(folder)
    given = [image.name for image in model.images.values()]
    scene_map = scene_map_from_model(model, _image_root(root, [inside(name) for name in given]))
    scene_map, notes = yield from with_descriptors(scene_map, model, database)
    image_root = _image_root(root, [inside(name) for name in given])
    images = tuple(
        replace(i, name=inside(i.name), path=image_root / inside(i.name), condition=condition_of_name(inside(i.name)))
        for i in scene_map.images
    )
    return replace(scene_map, images=images), outside_note(folder, given) + notes
