"""What is opened: recognise the layout of a folder and make a Scene of it."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from core.errors import SceneError
from core.images import is_image_file
from core.records import ImageData, Progress, Scene, SceneMap
from core.scene.colmap import MODEL_PARTS, condition_of, model_suffix
from core.scene.layouts import LAYOUTS, Layout
from core.scene.map_file import MAP_FILE, image_root_hint, load_map_with_notes, with_image_root
from core.scene.model_database import with_database
from core.scene.scene_table import SCENE_FILE, SceneTable
from core.steps import finish

_MODEL_FILES = {f"{part}{suffix}" for part in MODEL_PARTS for suffix in (".bin", ".txt")} | {MAP_FILE}
_MAX_DEPTH = 8


def open_scene(path: str | Path) -> Scene:
    """Open whatever ``open_scene_steps`` opens, at once."""
    return finish(open_scene_steps(path))


def open_scene_steps(path: str | Path) -> Generator[Progress, None, Scene]:
    """Open a folder of any known layout: scene.toml, one of ``LAYOUTS``, a COLMAP model (in it, under sparse/ or in one
    sub-folder), or a folder of images, in this order.

    scene.toml itself and a file of a COLMAP model stand for their folder. Missing images are a note of the scene.
    Raises SceneError: one sentence, led by the path, that says what was expected.
    """
    path = Path(path)
    if path.is_file() and path.name in _MODEL_FILES | {SCENE_FILE}:
        path = path.parent
    yield Progress(f"Looking at {path.name or path}")
    try:
        layout = next((layout for layout in _all_layouts() if layout.recognise(path)), None)
        if layout is None:
            raise SceneError(_nothing_to_open(path))
        scene = yield from layout.read(path)
    except OSError as error:  # not allowed, or a name that is too long for this system
        raise SceneError(f"{str(error.filename or path)[:300]}: cannot be read ({error.strerror or error})") from error
    return replace(scene, layout=scene.layout or layout.name)


def _all_layouts() -> tuple[Layout, ...]:
    """Every layout, most specific first."""
    return (
        Layout("scene file", f"a folder with {SCENE_FILE}", lambda path: (path / SCENE_FILE).is_file(), _read_scene_file),
        *LAYOUTS,
        Layout("COLMAP model", "a COLMAP model (cameras, images, points3D)", _holds_model, _read_model_folder),
        Layout("folder of images", "images", lambda path: path.is_dir() and bool(list_images(path)), _read_image_folder),
    )


def folder_layouts() -> tuple[Layout, ...]:
    """Every layout but the scene file, most specific first."""
    return _all_layouts()[1:]


def expected_layouts() -> str:
    """What a path may hold, as one phrase."""
    own = (layout.expected for layout in _all_layouts() if layout not in LAYOUTS)
    *most, last = (*own, *(layout.expected for layout in LAYOUTS))
    return f"expected {', '.join(most)} or {last}"


def _nothing_to_open(path: Path) -> str:
    if path.is_file():
        if is_image_file(path):
            return f"{path}: is one image; open two images as a pair, or their folder"
        return f"{path}: is a file, {expected_layouts()}"
    if not path.is_dir():
        return f"{path}: no such folder, {expected_layouts()}"
    return f"{path}: {'the folder is empty' if not any(path.iterdir()) else 'nothing to open'}, {expected_layouts()}"


def _holds_model(path: Path) -> bool:
    return path.is_dir() and find_model(path) is not None


def _read_scene_file(path: Path) -> Generator[Progress, None, Scene]:
    yield Progress(f"Reading {path / SCENE_FILE}")
    table = SceneTable.read(path)
    if not table.text("layout"):
        return _open_scene_file(table)
    return table.over((yield from _read_named_layout(table)))


def _read_named_layout(table: SceneTable) -> Generator[Progress, None, Scene]:
    """Read the layout that a scene file names, in its own folder or in ``root``."""
    layouts = {layout.name: layout for layout in folder_layouts()}
    layout, place = layouts.get(table.text("layout")), table.root / table.text("root", ".")
    if layout is None:
        raise SceneError(f"{table.file}: layout is {table.text('layout')!r}, expected one of {', '.join(layouts)}")
    if not layout.recognise(place):
        raise SceneError(f"{place}: not recognised as {layout.name}, as {table.file} has it; expected {layout.expected}")
    return replace((yield from layout.read(place)), layout=layout.name)


def _read_model_folder(path: Path) -> Generator[Progress, None, Scene]:
    model = find_model(path)
    yield Progress(f"Reading the COLMAP model {model}")
    scene = _open_model(path, model)
    return (yield from with_database(scene, model, _find_image_root(path, model, scene.map)))


def _read_image_folder(path: Path) -> Generator[Progress, None, Scene]:
    yield Progress(f"Listing the images of {path.name}")
    notes = ("A folder of images without a map.",)
    return Scene(path.resolve().name, path, list_images(path), (), notes=notes)


def list_images(folder: Path) -> tuple[ImageData, ...]:
    """All images under a folder (hidden folders left out), sorted by name; the first folder is the condition."""
    found = []
    for parent, folders, files in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if depth < _MAX_DEPTH else []
        found += [Path(parent, file) for file in files if not file.startswith(".") and is_image_file(Path(parent, file))]
    names = sorted(file.relative_to(folder).as_posix() for file in found)
    return tuple(ImageData(name, folder / name, condition_of(name)) for name in names)


def find_model(path: Path) -> Path | None:
    """Find the COLMAP model of a folder: itself, sparse/0, sparse, map, or the only sub-folder that holds one.

    Raises SceneError when there is only a part of a model.
    """
    likely = (path, path / "sparse" / "0", path / "sparse", path / "map")
    subfolders = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    models = [folder for folder in likely if model_suffix(folder)] or [f for f in subfolders if model_suffix(f)]
    if models:
        return models[0]
    for folder in likely:
        present = sorted(file for file in _MODEL_FILES if (folder / file).is_file())
        if present:
            raise SceneError(f"{folder}: an incomplete COLMAP model, found {', '.join(present)}; {expected_layouts()}")
    return None


def _open_model(path: Path, model: Path) -> Scene:
    scene_map, notes = load_map_with_notes(model, image_root=model)
    root = _find_image_root(path, model, scene_map)
    scene_map = with_image_root(scene_map, root)
    named = path.resolve()
    while named.name in ("0", "sparse") and named.parent != named:
        named = named.parent
    notes += _missing_note(scene_map.images, root)
    return Scene(named.name, path, scene_map.images, (), scene_map, notes=notes, map_path=model)


def _find_image_root(path: Path, model: Path, scene_map: SceneMap) -> Path:
    """The folder under which most images of the map exist: where they were, images/ nearby, or beside the model."""
    hint = image_root_hint(model)
    above = model.resolve().parent
    likely = (path / "images", model / "images", above / "images", above.parent / "images", path, model, above)
    candidates = dict.fromkeys(([hint] if hint else []) + list(likely))
    found = {root: sum((root / image.name).is_file() for image in scene_map.images) for root in candidates}
    return max(candidates, key=lambda root: found[root])  # the first of equals


def _missing_note(images: tuple[ImageData, ...], root: Path) -> tuple[str, ...]:
    missing = [image.name for image in images if not image.path.is_file()]
    if not missing:
        return ()
    return (f"{len(missing)} of {len(images)} images are missing under {root} (the first: {missing[0]}).",)


def _open_scene_file(table: SceneTable) -> Scene:
    root, images = table.root, table.root / table.text("images", "images")
    weights, map_path = table.weights(), table.path("map")
    scene_map, notes = None, ()
    if map_path is not None:
        scene_map, notes = load_map_with_notes(map_path, preferred=table.text("weights"), image_root=images)
        scene_map = table.with_gravity(scene_map)
    queries = _queries(images, table)
    reference = scene_map.images if scene_map else _reference_without_map(images, table, queries)
    scene = Scene(
        name=table.text("name", root.resolve().name),
        root=root,
        reference=reference,
        queries=queries,
        map=scene_map,
        kind=table.text("kind"),
        weights=weights,
        notes=notes + _missing_note(reference + queries, images),
        map_path=map_path,
        start_query=table.text("start_query"),
        odometry_path=table.path("odometry"),
    )
    return table.with_conditions(scene)


def _reference_without_map(images: Path, table: SceneTable, queries: tuple[ImageData, ...]) -> tuple[ImageData, ...]:
    """The images of the reference condition, or where none is named all that are no queries."""
    condition = table.text("reference_condition")
    if not images.is_dir():
        raise SceneError(f"{images}: no such folder of images, named by {table.file}")
    asked = {query.name for query in queries}
    found = (image for image in list_images(images) if image.name not in asked)
    return table.with_camera_and_pose(tuple(image for image in found if image.condition == condition or not condition))


def _queries(images: Path, table: SceneTable) -> tuple[ImageData, ...]:
    cameras, poses, priors = table.cameras(), table.poses(), table.priors()
    return tuple(
        ImageData(name, images / name, condition_of(name), camera, poses.get(name), prior=priors.get(name))
        for name, camera in cameras.items()
    )
