"""How good a network is, in numbers for its model card: on worlds it has never seen, and on photographs of fixed cameras."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from core.engine.consistency import ConsistencyStats, class_iou, confusion_matrix, consistency_at_points
from core.engine.dataset import PairData, TrainingSet, View
from core.engine.lazy_images import LazyImages
from core.engine.segmenter import Segmenter
from core.errors import InputError
from core.geometry import Array
from core.images import is_image_file, read_image
from core.records import LabelMap, Progress

Segment = Callable[..., LabelMap]  # of an image (H, W, 3) u8, and of its file where it has one
NUM_CLASSES = 19


def at_short_side(segmenter: Segmenter, short_side: int) -> Segmenter:
    """The same network, seeing images with a shorter side of ``short_side`` px: half of it costs a quarter of the time."""
    scaled = copy.copy(segmenter)
    scaled.info = replace(segmenter.info, preprocessing=replace(segmenter.info.preprocessing, short_side=short_side))
    return scaled


@dataclass(frozen=True, slots=True, eq=False)
class PairLabels:
    """Labels (N,) i64 at the correspondences of one image pair: of ``view``'s reference, and of its image in ``condition``."""

    view: str
    condition: str
    reference: Array
    other: Array
    num_labels: int

    @property
    def kind(self) -> str:
        """Kind of world ("urban" of "urban-001000/003"); of photographs the first word of the view's name."""
        return self.view.split("-", 1)[0]

    @property
    def labels(self) -> tuple[Array, Array]:
        return self.reference, self.other


def labels_of_pairs(
    segment: Segment, data: PairData, max_views: int | None = None
) -> Generator[Progress, None, list[PairLabels]]:
    """Labels at the correspondences of all image pairs of at most ``max_views`` views, evenly spread."""
    chosen = spread(len(data), len(data) if max_views is None else max_views)
    pairs = []
    for done, index in enumerate(chosen):
        view = data.view(index)
        reference = labels_in_view(segment, view, 0)
        for number, (condition, points) in enumerate(zip(view.conditions[1:], view.correspondences, strict=True), start=1):
            sides = (reference.at(points.points_ref), labels_in_view(segment, view, number).at(points.points_other))
            pairs.append(PairLabels(view.name, condition, *sides, reference.num_labels))
        yield Progress(f"compared the conditions of view {done + 1} of {len(chosen)}", (done + 1) / len(chosen))
    return pairs


def labels_in_view(segment: Segment, view: View, number: int) -> LabelMap:
    """Labels of one image of a view; ``segment`` is told the file of a photograph too, as label images are found by it."""
    image = np.asarray(view.images[number])
    return segment(image, view.images.paths[number]) if isinstance(view.images, LazyImages) else segment(image)


def consistency_rows(pairs: Sequence[PairLabels], group: Callable[[PairLabels], str]) -> list[dict[str, Any]]:
    """One row a group, sorted, with the numbers of ConsistencyStats of its points pooled: group, num_pairs and the numbers."""
    groups: dict[str, list[PairLabels]] = defaultdict(list)
    for pair in pairs:
        groups[group(pair)].append(pair)
    return [{"group": name, "num_pairs": len(groups[name])} | pooled_stats(groups[name]).as_row() for name in sorted(groups)]


def pooled_stats(pairs: Sequence[PairLabels]) -> ConsistencyStats:
    """Numbers of the points of all pairs together. Raises InputError without pairs."""
    if not pairs:
        raise InputError("no image pairs to compare labels in, expected at least one")
    a, b = (np.concatenate(side) for side in zip(*(pair.labels for pair in pairs), strict=True))
    return consistency_at_points(a, b, pairs[0].num_labels)


def evaluate_on_worlds(segment: Segment, data: TrainingSet) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Measure label consistency of every condition against the reference condition at exact correspondences.

    Returns one row a condition and one for all: condition, num_labels and the numbers of ConsistencyStats; for a network
    of the 19 classes also ``miou`` and ``pixel_accuracy`` of the images of that condition.
    """
    pairs: dict[str, list[tuple[Array, Array]]] = defaultdict(list)
    confusions: dict[str, Array] = {}
    num_labels = 1
    for index in range(len(data)):
        view = data.view(index)
        maps = [segment(np.array(image)) for image in view.images]
        num_labels = maps[0].num_labels
        for condition, labels, other in zip(view.conditions[1:], maps[1:], view.correspondences, strict=True):
            pairs[condition].append((maps[0].at(other.points_ref), labels.at(other.points_other)))
        if num_labels == NUM_CLASSES:
            for condition, labels, truth in zip(view.conditions, maps, view.classes, strict=True):
                confusion = confusion_matrix(truth, labels.labels, NUM_CLASSES)
                confusions[condition] = confusions.get(condition, 0) + confusion
        yield Progress(f"evaluated view {index + 1} of {len(data)}", (index + 1) / len(data))
    return _rows(pairs, confusions, num_labels)


def _rows(pairs: dict[str, list[tuple[Array, Array]]], confusions: dict[str, Array], num_labels: int) -> list[dict[str, Any]]:
    everything = [pair for listed in pairs.values() for pair in listed]
    rows = []
    for condition in [*sorted(set(pairs) | set(confusions)), "all"]:
        listed = everything if condition == "all" else pairs.get(condition, [])
        row: dict[str, Any] = {"condition": condition, "num_labels": num_labels, "num_pairs": len(listed)}
        if listed:
            a, b = (np.concatenate(side) for side in zip(*listed, strict=True))
            row |= consistency_at_points(a, b, num_labels).as_row()
        if confusions:
            confusion = sum(confusions.values()) if condition == "all" else confusions[condition]
            row |= {"miou": float(np.nanmean(class_iou(confusion))), "pixel_accuracy": pixel_accuracy(confusion)}
        rows.append(row)
    return rows


def pixel_accuracy(confusion: Array) -> float:
    """Share of the pixels whose class is right; 0 without pixels."""
    return float(np.trace(confusion) / max(1, confusion.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class CameraPair:
    """Two photographs of a fixed camera, by their numbers in ``view``, and how their labels agree."""

    view: str
    first: int
    second: int
    stats: ConsistencyStats


def fixed_camera_pairs(
    segment: Segment, folder: Path, step: int = 4, max_images: int | None = None
) -> Generator[Progress, None, list[CameraPair]]:
    """Compare all pairs of photographs of each fixed camera: a sub-folder is one view, a pixel its own match.

    Every ``step``-th pixel counts, what moves included, so perfect labels do not reach 1. ``max_images`` takes that many of
    a view, evenly spread. Raises InputError for a folder without views.
    """
    views = [path for path in sorted(Path(folder).iterdir()) if path.is_dir()] if Path(folder).is_dir() else []
    pairs: list[CameraPair] = []
    for number, view in enumerate(views):
        images = [path for path in sorted(view.iterdir()) if is_image_file(path)]
        chosen = images if max_images is None else [images[i] for i in spread(len(images), max_images)]
        maps, num_labels = [], 1
        for index, path in enumerate(chosen):
            labels = segment(read_image(path))
            num_labels = labels.num_labels
            maps.append(labels.labels[::step, ::step].astype(np.int64))
            fraction = (number + (index + 1) / len(chosen)) / len(views)
            yield Progress(f"{view.name}: photograph {index + 1} of {len(chosen)}", fraction)
        _require_one_size(maps)
        for i, j in combinations(range(len(maps)), 2):
            pairs.append(CameraPair(view.name, i, j, consistency_at_points(maps[i], maps[j], num_labels)))
    if not pairs:
        raise InputError(f"{folder}: no folders with at least two photographs, expected one folder a fixed camera")
    return pairs


def evaluate_on_photographs(
    segment: Segment, folder: Path, step: int = 4, max_images: int | None = None
) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Measure label consistency between photographs of fixed cameras, as ``fixed_camera_pairs``.

    Returns one row a view, with the means over its pairs, and their mean as view "all".
    """
    pairs = yield from fixed_camera_pairs(segment, folder, step, max_images)
    rows = []
    for view in dict.fromkeys(pair.view for pair in pairs):
        stats = [pair.stats.as_row() for pair in pairs if pair.view == view]
        means = {name: float(np.mean([row[name] for row in stats])) for name in stats[0]}
        num_labels = len(next(pair for pair in pairs if pair.view == view).stats.counts_a)
        rows.append({"view": view, "num_labels": num_labels, "num_pairs": len(stats)} | means)
    return [*rows, _mean_of_rows(rows)]


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices of ``count``, evenly spread, ends included."""
    return sorted(set(np.linspace(0, count - 1, min(count, wanted)).round().astype(int).tolist())) if count else []


def _require_one_size(maps: list[Array]) -> None:
    if len({labels.shape for labels in maps}) > 1:
        raise InputError(f"photographs of sizes {sorted({labels.shape for labels in maps})}, expected one size a view")


def _mean_of_rows(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in rows[0] if name not in ("view", "num_labels", "num_pairs")]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    return {"view": "all", "num_labels": rows[0]["num_labels"], "num_pairs": sum(row["num_pairs"] for row in rows)} | mean
