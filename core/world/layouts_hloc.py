"""Write a scene as an output folder of hloc: an ``sfm_*`` model, features as HDF5, and a list of queries."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.localizer.features import dequantize_descriptors
from core.records import ImageData, Scene
from core.scene.colmap import rows_by_image, write_model
from core.scene.folders import whole_folder
from core.scene.list_files import write_queries
from core.world.layout_parts import FeaturesOf, copy_picture


def write_hloc(
    scene: Scene, out: str | Path, features: FeaturesOf | None = None, name: str = "feats-world-sift", dtype: str = "<f4"
) -> None:
    """Write ``sfm_world``, ``NAME.h5`` and ``queries_with_intrinsics.txt`` to ``out``, images under ``images``.

    Descriptors are unit vectors of ``dtype``; ``features`` describes the queries as the map is described. Raises
    InputError for a scene without a map with descriptors.
    """
    if scene.map is None or scene.map.observations.descriptors is None:
        raise InputError(f"{scene.root}: a scene without descriptors cannot be written as hloc's output")
    observations = scene.map.observations
    with whole_folder(Path(out)) as folder:
        write_model(folder / "sfm_world", scene.map)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for image, rows in zip(scene.map.images, rows_by_image(observations, len(scene.map.images)), strict=True):
                _put(file, image, observations.points2D[rows], dequantize_descriptors(observations.descriptors[rows]), dtype)
            for query in scene.queries if features is not None else ():
                found = features(query)
                _put(file, query, found.keypoints, found.descriptors, dtype)
        write_queries(folder / "queries_with_intrinsics.txt", {q.name: q.camera for q in scene.queries if q.camera})
        for image in scene.images:
            copy_picture(image, folder / "images" / image.name)


def _put(file: h5py.File, image: ImageData, keypoints: Array, descriptors: Array, dtype: str) -> None:
    """One image's group, as hloc writes it: our px, descriptors (D, N)."""
    group = file.create_group(image.name)
    group.create_dataset("keypoints", data=keypoints.astype("<f4"))
    group.create_dataset("descriptors", data=descriptors.T.astype(dtype))
    group.create_dataset("scores", data=np.ones(len(keypoints), dtype))
    if image.camera is not None:
        group.create_dataset("image_size", data=np.array([image.camera.width, image.camera.height]))
