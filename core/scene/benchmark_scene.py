"""What the readers of benchmarks share: lists of names, cameras by key, descriptors beside a map, notes on what is missing."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from core.errors import SceneError
from core.geometry import Camera
from core.images import is_image_file
from core.records import FeatureFile, ImageData, Progress, Scene, SceneMap
from core.scene.colmap import ColmapModel
from core.scene.colmap_database import open_database
from core.scene.colmap_text import parse_camera, text_lines
from core.scene.described import described_map
from core.scene.image_names import inside, missing_note, outside_note

Notes = tuple[str, ...]


def number_of(name: str) -> int:
    """The last number in a name, by which slices and locations are told apart; -1 without one."""
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else -1


def folders_with_note(folders: Sequence[Path], what: str) -> tuple[Path, Notes]:
    """The first of some folders or files that are each a map of their own, and a sentence on the others."""
    first, *others = folders
    if not others:
        return first, ()
    names = ", ".join(other.name for other in others[:3]) + (", ..." if len(others) > 3 else "")
    where = f"Only {first.name} is open, the first of {len(folders)} {what} in {first.parent}"
    return first, (f"{where}; open the others by their own paths: {names}.",)


def read_names(path: Path) -> tuple[list[str], Notes]:
    """The first word of each line, or the whole line where it ends like an image, as names; and notes on odd ones."""
    given = [line if re.search(r"\.\w{3,4}$", line) else line.split()[0] for _, line in text_lines(path) if line]
    names = list(dict.fromkeys(inside(name) for name in given))
    again = len(given) - len(names)
    repeated = (f"{path}: {again} names are listed a second time and taken once.",) if again else ()
    return names, outside_note(path, given) + repeated


def read_cameras(path: Path) -> dict[str, Camera]:
    """Read lines ``key MODEL WIDTH HEIGHT PARAMS...`` in COLMAP's pixels."""
    cameras = {}
    for where, line in text_lines(path):
        if line:
            key, *tokens = line.split()
            cameras[key] = parse_camera(tokens, where)
    return cameras


def images_in(folder: Path) -> list[str]:
    """Names of the images right in a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and is_image_file(entry))


def with_descriptors(
    scene_map: SceneMap, model: ColmapModel, database: Path
) -> Generator[Progress, None, tuple[SceneMap, Notes]]:
    """The map with the descriptors of a database beside it; where these do not fit, the map as it is and the reason."""
    if not database.is_file():
        return scene_map, ()
    try:
        return (yield from described_map(scene_map, list(model.images.values()), model.point_ids, database))
    except SceneError as error:
        return scene_map, (f"Descriptors are left out: {error}",)


def with_features(queries: Sequence[ImageData], database: Path) -> tuple[tuple[ImageData, ...], Notes]:
    """Queries that say where a database holds their features, by name or as much of its end as tells images apart."""
    if not database.is_file():
        return tuple(queries), ()
    try:
        with open_database(database) as opened:
            names, extractor = _by_ending(opened.names), opened.extractor
    except SceneError as error:
        return tuple(queries), (f"Features of queries are left out: {error}",)
    keys = [next((names[end] for end in _endings(query.name) if names.get(end)), None) for query in queries]
    known = zip(queries, keys, strict=True)
    return tuple(q if key is None else replace(q, features=FeatureFile(database, extractor, key)) for q, key in known), ()


def _endings(name: str) -> list[str]:
    """A name without its suffix, and its ends, the longest first: lists and databases leave folders out, or say .png."""
    parts = name.rsplit(".", 1)[0].split("/")
    return ["/".join(parts[k:]) for k in range(len(parts))]


def _by_ending(names: Sequence[str]) -> dict[str, str | None]:
    """The name that has an ending, or None where several have."""
    found: dict[str, str | None] = {}
    for name in names:
        for ending in _endings(name):
            found[ending] = None if ending in found else name
    return found


def benchmark_scene(
    name: str,
    root: Path,
    reference: Sequence[ImageData],
    queries: Sequence[ImageData],
    scene_map: SceneMap | None,
    notes: Sequence[str],
    *,
    kind: str = "",
    map_path: Path | None = None,
) -> Generator[Progress, None, Scene]:
    """Put a scene together and add notes on what is missing: images, queries, intrinsics, a map, descriptors."""
    yield Progress(f"Looking for the images of {name}", 1.0)
    found = list(notes)
    found += missing_note([image.path for image in (*reference, *queries)], "images")
    if not queries:
        found.append(f"{root}: no queries were found.")
    blind = [query.name for query in queries if query.camera is None]
    if blind:
        found.append(f"{len(blind)} of {len(queries)} queries have no known intrinsics (the first: {blind[0]}).")
    if scene_map is None:
        found.append(f"{root}: no map was found.")
    elif scene_map.observations.descriptors is None:
        found.append("The map has no descriptors: it can be looked at, but nothing can be matched to it.")
    return Scene(
        name=name,
        root=root,
        reference=tuple(reference),
        queries=tuple(queries),
        map=scene_map,
        kind=kind,
        notes=tuple(found),
        map_path=map_path,
    )
