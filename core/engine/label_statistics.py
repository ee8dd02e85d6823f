"""How labels behave on correspondences: which are of things that stay (PAPER 2.6), and which turn into which."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from core.engine.dataset import PairData, View
from core.engine.season_data import split
from core.engine.segmenter import load_segmenter
from core.engine.validation import Segment, labels_in_view
from core.engine.weight_folders import MOVING_NAMES
from core.errors import InputError
from core.geometry import Array
from core.records import LabelMap, LabelStatistics, Progress, setting
from core.scene.label_statistics import label_statistics_path, save_label_statistics

_RUN_PAIRS = 100


@dataclass(frozen=True, kw_only=True)
class StationaryConfig:
    """Defaults are the published rule, made for dense correspondences: with N of them on an image of A pixels no label's
    share is expected above N / A, so sparse ones (1,500 on 512 x 384: 0.8 %) need the relative rule.
    """

    every: int = setting(5, minimum=1, help="take each n-th pair; the published tool takes every fifth")
    threshold: float = setting(
        0.01, minimum=0, help="share of a label's pixels on correspondences above which it is stationary"
    )
    relative: bool = setting(False, help="the threshold counts in shares of all pixels together, not of a label's pixels alone")


def relative_stationary(every: int = 1) -> StationaryConfig:
    """The rule of the shipped networks: a label is stationary when its pixels have more than a quarter of the correspondences
    that as many pixels have on average; so it holds for any density of correspondences.
    """
    return StationaryConfig(every=every, threshold=0.25, relative=True)


@dataclass(slots=True)
class _Counts:
    """Pixels of each label on correspondences and in all, and joint labels, over the pairs so far."""

    on: Array
    all: Array
    joint: Array

    @classmethod
    def of(cls, num_labels: int) -> _Counts:
        return cls(np.zeros(num_labels), np.zeros(num_labels), np.zeros((num_labels, num_labels)))

    def add(self, reference: LabelMap, other: LabelMap, points_ref: Array, points_other: Array) -> None:
        """Count one pair; points outside of an image are left out."""
        count = reference.num_labels
        self.on += np.bincount(reference.labels[on_correspondences(reference.labels.shape, points_ref)], minlength=count)
        self.all += np.bincount(reference.labels.ravel(), minlength=count)
        sides = ((reference, points_ref), (other, points_other))
        kept = np.all([_inside(points, labels.labels.shape) for labels, points in sides], axis=0)
        here, there = (labels.at(points[kept]) for labels, points in sides)
        self.joint += np.bincount(here * count + there, minlength=count**2).reshape(count, count)


def label_statistics(
    segment: Segment, data: PairData, max_pairs: int | None = None, config: StationaryConfig | None = None
) -> Generator[Progress, None, LabelStatistics]:
    """Count labels at the correspondences of every n-th pair of ``data``, at most ``max_pairs`` of those, evenly spread.

    ``correspondence_share`` is hist_corr / (hist_corr + hist_non) of PAPER 2.6, over the reference image of each pair;
    labels never seen have 0 and are not stationary. Where labels have the names of classes, stationary are those of what
    cannot move, whatever the counts. Each image is segmented once a view. Raises InputError for data without pairs.
    """
    config = config or StationaryConfig()
    pairs = chosen_pairs(data, config.every, max_pairs)
    counts: _Counts | None = None
    done = 0
    for view_index, listed in groupby(pairs, key=lambda pair: pair[0]):
        view = data.view(view_index)
        reference = labels_in_view(segment, view, 0)
        counts = counts or _Counts.of(reference.num_labels)
        for _, number in listed:
            points = view.correspondences[number - 1]
            counts.add(reference, labels_in_view(segment, view, number), points.points_ref, points.points_other)
            done += 1
            yield Progress(f"labels of pair {done} of {len(pairs)}: {view.name}", done / len(pairs))
    share = np.divide(counts.on, counts.all, out=np.zeros(len(counts.on)), where=counts.all > 0)
    stationary = static_classes(reference.names) if reference.names else stationary_labels(counts.on, counts.all, config)
    return LabelStatistics(reference.vocabulary, reference.num_labels, stationary, share, counts.joint)


def write_run_statistics(
    weights: Path, data: PairData, share: float, seed: int, device: str = "auto", rule: StationaryConfig | None = None
) -> Generator[Progress, None, LabelStatistics]:
    """Count the labels of a run's network on pairs that it did not learn from, and write them beside its weights.

    ``share`` and ``seed`` are the run's, so the views are those that only validated; with 0 they are those of the training.
    ``rule``: by default the relative one over at most 100 pairs, evenly spread; the published rule (PAPER 2.6) needs dense
    correspondences. Where no label is stationary nothing is written, and an earlier file is removed.
    """
    held_out = split(data, share, seed)[1] if share else data
    segmenter = load_segmenter(weights, device=device)
    statistics = yield from label_statistics(segmenter.segment, held_out, _RUN_PAIRS, rule or relative_stationary())
    path = label_statistics_path(weights)
    if statistics.stationary.any():
        save_label_statistics(path, statistics)
    else:
        path.unlink(missing_ok=True)  # of an earlier network
    return statistics


def chosen_pairs(data: PairData, every: int, max_pairs: int | None) -> list[tuple[int, int]]:
    """Each n-th pair as (view, number of its other image), at most ``max_pairs``, evenly spread. Raises InputError for none."""
    pairs = [(index, other) for index in range(len(data)) for other in range(1, num_conditions(data.view(index)))][::every]
    if not pairs:
        raise InputError("the data has no image pairs with correspondences, expected places in at least two conditions")
    if max_pairs is None or len(pairs) <= max_pairs:
        return pairs
    return [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, max_pairs).round().astype(int))]


def num_conditions(view: View) -> int:
    return len(view.correspondences) + 1


def on_correspondences(shape: tuple[int, int], points: Array) -> Array:
    """Mask (H, W) bool of the pixels that hold a correspondence, coordinates cut to integers as the published tool does."""
    mask = np.zeros(shape, bool)
    x, y = np.asarray(points).astype(np.int64).T if len(points) else np.zeros((2, 0), np.int64)
    kept = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    mask[y[kept], x[kept]] = True
    return mask


def _inside(points: Array, shape: tuple[int, int]) -> Array:
    """Which points (N,) bool round to a pixel of the image (H, W)."""
    return (points >= -0.5).all(1) & (points[:, 0] < shape[1] - 0.5) & (points[:, 1] < shape[0] - 0.5)


def stationary_labels(on: Array, all_pixels: Array, config: StationaryConfig) -> Array:
    """Labels (K,) bool whose share of pixels on correspondences is above the threshold (PAPER 2.6), or above that many
    times the share of all pixels together.
    """
    share = np.divide(on, all_pixels, out=np.zeros(len(on)), where=all_pixels > 0)
    scale = on.sum() / max(1, all_pixels.sum()) if config.relative else 1.0
    return share > config.threshold * scale


def static_classes(names: Sequence[str]) -> Array:
    """Classes (K,) bool of what stays where it is, by their names: for Cityscapes all but train ids 11 to 18."""
    return np.array([name.lower() not in MOVING_NAMES for name in names])
