"""Label maps of a network by the content of the images, kept on disk: each image is segmented once."""

from __future__ import annotations

import time
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.evaluation.job import Labelling, LabelSource, digest
from core.geometry import Array
from core.images import write_atomic
from core.label_cache import pack_labels, unpack_labels
from core.mapping.labels import label_map
from core.records import ImageData, LabelMap, LabelStatistics, PointLabels, Scene, SceneMap
from core.scene.map_file import load_labels

_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class LabelStore:
    """One labelling with its folder of what it found before; the network is loaded only when something is missing."""

    def __init__(self, labelling: Labelling, cache: Path) -> None:
        self._labelling = labelling
        self._folder = cache / digest(labelling.identity)
        self._source: LabelSource | None = None

    @property
    def vocabulary(self) -> str:
        return self._labelling.vocabulary

    @property
    def statistics(self) -> LabelStatistics | None:
        return self._loaded().statistics

    def labels(self, image: ImageData) -> tuple[LabelMap, float]:
        """The labels of an image and the seconds that it took to find them, when that was done.

        Confidence is kept in steps of 1/255, also where it was just computed: a cached result is the same result.
        """
        file = self._folder / f"{digest(image.path.read_bytes())}.npz"
        found = unpack_labels(file.read_bytes()) if file.is_file() else None
        if found is None:
            start = time.perf_counter()
            made = self._loaded().labels_of(image)
            content = pack_labels(made, time.perf_counter() - start)
            write_atomic(file, lambda temporary: Path(temporary).write_bytes(content))
            found = unpack_labels(content)
        return found

    def labelled_map(self, scene: Scene) -> SceneMap:
        """The scene's map with the labels of this vocabulary: those stored with it, else voted by its images.

        The scene's folder is not changed; votes are kept in the store.
        """
        scene_map = scene.map
        stored = stored_labels(scene, self.vocabulary)
        if stored is not None:
            return replace(scene_map, labels=stored)
        file = self._folder / f"views-{map_digest(scene_map)}.npz"
        found = _read(file)
        if found is None:
            labels = label_map(scene_map, lambda image: self.labels(image)[0])
            found = {"labels": labels.labels, "vote_share": labels.vote_share, "num_labels": np.array(labels.num_labels)}
            found["views"] = labels.views
            _write(file, found)
        of_points = found["labels"], found["vote_share"], int(found["num_labels"])
        point_labels = PointLabels(*of_points, self.vocabulary, found["views"])
        return replace(scene_map, labels=point_labels)

    def _loaded(self) -> LabelSource:
        if self._source is None:
            self._source = self._labelling.make()
        return self._source


def stored_labels(scene: Scene, vocabulary: str) -> PointLabels | None:
    """The map's own point labels in a vocabulary, or None."""
    labels = scene.map.labels
    if labels is not None and labels.vocabulary == vocabulary:
        return labels
    return None if scene.map_path is None else load_labels(scene.map_path, vocabulary)


def map_digest(scene_map: SceneMap) -> str:
    """The name of a map's geometry and descriptors; its labels have no part in it."""
    observations, poses = scene_map.observations, [image.cam_from_world for image in scene_map.images]
    arrays = [scene_map.points3D, observations.point, observations.image, observations.points2D, observations.descriptors]
    numbers = [[*pose.qvec.tolist(), *pose.tvec.tolist()] for pose in poses if pose is not None]
    return digest(*(array.data.cast("B") if array is not None and array.size else b"" for array in arrays), numbers)


def _read(file: Path) -> dict[str, Array] | None:
    """What is in a file of the store; None where there is none or it is broken."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return {key: kept[key] for key in kept.files}
    except _BROKEN:
        return None


def _write(file: Path, values: dict[str, Array]) -> None:
    def write(temporary: str) -> None:
        with open(temporary, "wb") as target:
            np.savez_compressed(target, **values)

    write_atomic(file, write)
