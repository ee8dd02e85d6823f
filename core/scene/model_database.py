"""A COLMAP model with its database: descriptors for the map, and the images that COLMAP did not place as queries."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.records import FeatureFile, ImageData, Progress, Scene
from core.scene.colmap import condition_of, read_images
from core.scene.colmap_database import open_database
from core.scene.described import described_map

DATABASE = "database.db"


def find_database(model: Path) -> Path | None:
    """The database of a model folder: database.db in it or up to two folders above, or the only .db in one of these."""
    for folder in (model, model.parent, model.parent.parent):
        if (folder / DATABASE).is_file():
            return folder / DATABASE
        found = [path for path in folder.glob("*.db") if path.is_file()]
        if len(found) == 1:
            return found[0]
    return None


def with_database(scene: Scene, model: Path, image_root: Path) -> Generator[Progress, None, Scene]:
    """Complete the scene of a model by its database, where it has one; yields Progress, returns the scene.

    A map that has descriptors keeps them. A database that cannot be used, or is not the model's, is a note.
    """
    path = find_database(model.resolve())
    if path is None or scene.map is None or scene.map.observations.descriptors is not None:
        return scene
    try:
        with open_database(path) as database:
            names, extractor, cameras = database.described, database.extractor, database.cameras()
        if not names:
            return scene
        images = list(read_images(model).values())
        ids = np.unique(np.concatenate([image.point3D_ids for image in images]))
        scene_map, notes = yield from described_map(scene.map, images, ids[ids >= 0], path)
    except SceneError as error:
        return replace(scene, notes=(*scene.notes, f"Descriptors are left out: {error}."))
    placed = {image.name for image in scene_map.images}
    queries = tuple(
        ImageData(name, image_root / name, condition_of(name), cameras[name], features=FeatureFile(path, extractor, name))
        for name in sorted(names - placed)
    )
    if queries:
        notes += (f"{len(queries)} images of {path} are not in the model and are taken as queries.",)
    return replace(scene, reference=scene_map.images, queries=queries, map=scene_map, notes=scene.notes + notes)
