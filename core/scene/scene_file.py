"""Write the scene.toml that a person would have written, from what a folder holds."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError, SceneError
from core.images import write_atomic
from core.records import Progress, Scene, SceneMap
from core.scene.layouts import LAYOUTS
from core.scene.map_file import MAP_FILE
from core.scene.scene import find_model, folder_layouts, list_images
from core.scene.scene_lists import SceneLists, find_lists
from core.scene.scene_table import SCENE_FILE, SCENE_FORMAT, SCENE_VERSION

_HEAD = "# A scene: what fgsn-viewer opens here. Paths are relative to this file; lines that start with # are remarks.\n"
_WEIGHT_SUFFIXES = (".safetensors", ".pth")
_WEIGHT_FOLDERS = (".", "weights", "models")
_STATISTICS = ".labels.safetensors"
_COMMENT_COLUMN = 35


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A line of the file. ``value``: text, numbers or texts; ``shown`` False: only an example, behind a #."""

    key: str
    value: Any
    comment: str
    shown: bool = True

    def line(self) -> str:
        """The line, its remark in a column of its own. JSON's text, numbers and lists are TOML's too."""
        text = f"{self.key} = {json.dumps(self.value, ensure_ascii=False)}"
        return f"{text if self.shown else '# ' + text:{_COMMENT_COLUMN}} # {self.comment}"


def init_scene(folder: str | Path, force: bool = False) -> Generator[Progress, None, Path]:
    """Write scene.toml into a folder from what is found there; return its path.

    What it names opens as the folder did without it, with the queries, poses and priors that were found besides.
    Raises InputError where there is a scene.toml and not ``force``, and SceneError where there is nothing to open.
    """
    folder = Path(folder)
    file = folder / SCENE_FILE
    if file.exists() and not force:
        raise InputError(f"{file}: is there already; --force replaces it")
    layout = next((one for one in folder_layouts() if one.recognise(folder)), None) if folder.is_dir() else None
    if layout is None:
        raise SceneError(f"{folder}: nothing found to make a scene of; expected a map, a benchmark or images in the folder")
    scene = yield from layout.read(folder)
    yield Progress("Looking for lists and networks")
    if layout in LAYOUTS:
        entries = _of_layout(layout.name, scene)
    else:
        entries = _of_map(folder, scene) if scene.map is not None else _of_images(folder)
    text = scene_text([Entry("name", scene.name, "what the window calls it"), *entries, _weights(folder, scene)])
    write_atomic(file, lambda name: Path(name).write_text(text, encoding="utf-8", newline="\n"))
    return file


def scene_text(entries: list[Entry]) -> str:
    """The file's text."""
    about = f'format = "{SCENE_FORMAT}"\nversion = {SCENE_VERSION}\n\n'
    return _HEAD + about + "".join(f"{entry.line()}\n" for entry in entries)


def _of_layout(name: str, scene: Scene) -> list[Entry]:
    found = f"{_count(len(scene.reference), 'reference image')}, {_count(len(scene.queries), 'query', 'queries')}"
    conditions = ", ".join(scene.conditions[:12]) or "none"
    gravity = Entry("gravity", [0, 0, -1], "where down is in the map; without it, estimated from its cameras", shown=False)
    return [
        Entry("layout", name, f"read as this: {found}; conditions: {conditions}"),
        Entry("poses", "poses.txt", "known poses of queries besides: name qw qx qy qz tx ty tz (cam_from_world)", shown=False),
        _gravity(scene.map) if scene.map is not None and scene.map.gravity_in_world is not None else gravity,
    ]


def _of_map(folder: Path, scene: Scene) -> list[Entry]:
    root, model = _image_root(scene), find_model(folder)
    about = f"{_count(len(scene.reference), 'image')} with poses, {_count(len(scene.map.points3D), 'point')}"
    kind = "map of this program" if (model / MAP_FILE).is_file() else "COLMAP model"
    return [
        Entry("images", _relative(root, folder), f"the photographs; conditions: {', '.join(scene.conditions[:12]) or 'none'}"),
        Entry("map", _relative(model, folder), f"a {kind}: {about}"),
        *_lists(find_lists(folder, root, {image.name for image in scene.images})),
        _gravity(scene.map),
    ]


def _of_images(folder: Path) -> list[Entry]:
    root = _photo_root(folder)
    images = list_images(root)
    conditions = list(dict.fromkeys(image.condition for image in images))
    photographs = f"{_count(len(images), 'photograph')}; conditions, their first folder: {', '.join(conditions[:12])}"
    hint = "makes the map; without this line, every image that is no query"
    return [
        Entry("images", _relative(root, folder), photographs),
        Entry("map", "map", "once it is built: fgsn-viewer map", shown=False),
        Entry("reference_condition", conditions[0], hint, shown=False),
        *_lists(find_lists(folder, root, {image.name for image in images})),
    ]


def _lists(lists: SceneLists) -> list[Entry]:
    """The entries of the lists that were found, and examples of those that were not."""
    known = {"poses": "known poses: name qw qx qy qz tx ty tz (cam_from_world)"}
    known |= {"priors": "of queries: name gravity x y z SIGMA_DEG height h SIGMA_M position x y z SIGMA_M"}
    queries = "images to localize: name MODEL width height parameters"
    entries = [Entry("queries", _one_or_all(lists.queries) or "queries.txt", queries, bool(lists.queries))]
    if lists.intrinsics:
        entries.append(
            Entry("intrinsics", lists.intrinsics, "cameras of queries that are only named: part of a name MODEL ...")
        )
    entries += [
        Entry(key, _one_or_all(getattr(lists, key)) or f"{key}.txt", comment, bool(getattr(lists, key)))
        for key, comment in known.items()
    ]
    return entries


def _one_or_all(paths: tuple[str, ...]) -> str | list[str]:
    return paths[0] if len(paths) == 1 else list(paths)


def _gravity(scene_map: SceneMap) -> Entry:
    known = scene_map.gravity_in_world
    down = [0, 0, -1] if known is None else [round(float(part), 9) + 0.0 for part in known]
    remark = "where down is in the map" + ("; without it, estimated from its cameras" if known is None else "")
    return Entry("gravity", down, remark, shown=known is not None)


def _weights(folder: Path, scene: Scene) -> Entry:
    """The network beside the scene, or the one whose labels the map holds, or an example."""
    found = find_weights_near(folder)
    remark = "the network: a file, a folder of a training run or a shipped name"
    if found:
        return Entry("weights", found[0], f"{remark}; also here: {', '.join(found[1:])}" if found[1:] else remark)
    labels = None if scene.map is None else scene.map.labels
    vocabulary = scene.weights or ("" if labels is None else labels.vocabulary)
    return Entry("weights", vocabulary or "world-100", remark, bool(vocabulary))


def find_weights_near(folder: Path) -> list[str]:
    """The weight files beside a scene, relative to it."""
    files = [
        file
        for place in _WEIGHT_FOLDERS
        if (folder / place).is_dir()
        for file in sorted((folder / place).iterdir())
        if file.suffix in _WEIGHT_SUFFIXES and not file.name.endswith(_STATISTICS) and file.is_file()
    ]
    return [_relative(file, folder) for file in files]


def _image_root(scene: Scene) -> Path:
    """The folder that the images' names start from."""
    image = scene.reference[0] if scene.reference else None
    path = scene.root if image is None else image.path
    return path if image is None else Path(str(path)[: -len(image.name)].rstrip("/\\") or ".")


def _photo_root(folder: Path) -> Path:
    """images/ where every photograph is below it, else the folder itself: so that conditions are the first folders."""
    inner = folder / "images"
    return inner if inner.is_dir() and len(list_images(inner)) == len(list_images(folder)) else folder


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
