"""Labels of map points: the majority of what the images say where they see the point (PAPER 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from core.geometry import Array
from core.images import read_image
from core.records import VIEW_STEPS, ImageData, LabelMap, PointLabels, Progress, SceneMap, view_step_px
from core.scene.colmap import rows_by_image
from core.steps import finish


class Segments(Protocol):
    """What is asked of a segmenter."""

    def segment(self, image: Array, source: Path | None = None) -> LabelMap: ...


def segment_points(scene_map: SceneMap, segmenter: Segments) -> Generator[Progress, None, PointLabels]:
    """Segment every image of the map and let the points vote, as ``label_map_steps`` does."""
    return label_map_steps(scene_map, lambda image: segmenter.segment(read_image(image.path), image.path))


def label_map(scene_map: SceneMap, labels: Callable[[ImageData], LabelMap] | Iterable[LabelMap]) -> PointLabels:
    """Vote as ``label_map_steps`` does, in one call."""
    return finish(label_map_steps(scene_map, labels))


def label_map_steps(
    scene_map: SceneMap, labels: Callable[[ImageData], LabelMap] | Iterable[LabelMap]
) -> Generator[Progress, None, PointLabels]:
    """Give every map point the label that most of its observations have; return PointLabels.

    ``labels``: a function of a map image, or the label maps in the order of the map's images. A keypoint reads the
    nearest pixel; ties go to the lowest label; a point that no image sees gets label 0 with vote share 0. What every
    image said is kept beside the majority (``PointLabels.views``).
    Raises ValueError when the label maps are of different vocabularies or there is none.
    """
    observations = scene_map.observations
    views = np.zeros((len(observations.point), len(VIEW_STEPS)), np.uint16)
    maps = map(labels, scene_map.images) if callable(labels) else iter(labels)
    rows = rows_by_image(observations, len(scene_map.images))
    kind: tuple[str, int] | None = None
    for i, (image, of_image) in enumerate(zip(scene_map.images, rows)):
        yield Progress(f"Labels of {image.name}", i / len(rows))
        found = next(maps, None)
        if found is None or kind not in (None, (found.vocabulary, found.num_labels)):
            raise ValueError(f"{image.name}: expected a label map of vocabulary {kind}, got {found and found.vocabulary}")
        kind = found.vocabulary, found.num_labels
        step_px = view_step_px(found.labels.shape[1])
        for column, step in enumerate(VIEW_STEPS):
            views[of_image, column] = found.at(observations.points2D[of_image] + step_px * np.array(step))
    if kind is None:
        raise ValueError("the map has no images to take labels from")
    winner, share = majority(observations.point, views[:, 0].astype(np.int64), len(scene_map.points3D))
    return PointLabels(winner, share, kind[1], kind[0], views)


def majority(point: Array, votes: Array, num_points: int) -> tuple[Array, Array]:
    """Count votes (T,) by point (T,): the winning label (P,) i64, ties to the lowest, and its share (P,) f64."""
    labels, share = np.zeros(num_points, np.int64), np.zeros(num_points)
    if not len(point):
        return labels, share
    base = int(votes.max()) + 1
    keys, counts = np.unique(point.astype(np.int64) * base + votes, return_counts=True)
    points, candidates = np.divmod(keys, base)
    order = np.lexsort((candidates, -counts, points))
    first = order[np.unique(points[order], return_index=True)[1]]
    labels[points[first]] = candidates[first]
    share[points[first]] = counts[first] / np.bincount(point, minlength=num_points)[points[first]]
    return labels, share
