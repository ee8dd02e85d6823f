"""Measure a study's network: unseen worlds, fixed cameras, annotated photographs, headings; each measured once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aligned_photographs import MICHIGAN, STROMOVKA, TILDE, AlignedPhotographs, aligned_views, places_of
from core.engine.class_data import open_class_data
from core.engine.consistency import bootstrap_intervals
from core.engine.dataset import TrainingSet
from core.engine.heading import HeadingAccuracy, heading_accuracy
from core.engine.segmenter import load_segmenter
from core.engine.semantics import semantics_of_images
from core.engine.validation import (
    CameraPair,
    PairLabels,
    Segment,
    at_short_side,
    consistency_rows,
    fixed_camera_pairs,
    labels_of_pairs,
    pooled_stats,
)
from core.errors import InputError
from core.geometry import Array
from core.images import write_atomic
from core.records import LabelMap, Progress, setting

CAMVID = "camvid"
FAR, HELD_OUT = ", far", ", held out"  # added to the name of a data set
TOLERANCE_PX = {MICHIGAN: 20.0, STROMOVKA: 25.0}
HARD_CONDITIONS = ("night", "snow")
_NUM_SAMPLES = 200
_FAR_STEP = 8


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How much is looked at; a photograph costs a third of a second to three on two cores."""

    short_side: int | None = setting(
        None, unit="px", minimum=32, help="shorter side at which networks see images; None: their own, as they are shipped"
    )
    held_out_views: int = setting(18, minimum=1, help="viewpoints of unseen worlds, each in all its conditions")
    fixed_images: int = setting(12, minimum=2, help="photographs of a fixed camera")
    annotated_images: int = setting(50, minimum=2, help="annotated photographs")
    heading_every: int = setting(1, minimum=1, help="each n-th session or frame of the headings")


def quick_measures() -> MeasureConfig:
    return MeasureConfig(held_out_views=6, fixed_images=6, annotated_images=16, heading_every=3)


@dataclass(frozen=True, slots=True, eq=False)
class TimeSpent(Progress):
    """Says how long a part of the study took; shown even where other progress is not."""


Part = Callable[[Segment], Generator[Progress, None, dict[str, Any]]]


def measure_row(
    weights: Path, path: Path, held_out: TrainingSet, photographs: Path | None, config: MeasureConfig, seed: int
) -> Generator[Progress, None, dict[str, dict[str, Any]]]:
    """All numbers of a network, from ``path`` (JSON) where they are, else measured and written there part by part.

    Data sets that ``photographs`` lacks are left out.
    """
    done: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    segment: Segment | None = None
    for name, part in parts(held_out, photographs, config, seed).items():
        if name in done:
            continue
        if segment is None:
            segmenter = load_segmenter(weights)
            segmenter = segmenter if config.short_side is None else at_short_side(segmenter, config.short_side)
            segment = remembered(segmenter.segment)
        began = time.monotonic()
        done[name] = yield from part(segment)
        done[name]["seconds"] = round(time.monotonic() - began, 1)
        yield TimeSpent(f"{path.parent.name}, {name}: measured in {done[name]['seconds']:.0f} s", 1.0)
        write_atomic(path, lambda temporary: Path(temporary).write_text(json.dumps(done, indent=1)))
    return done


def parts(held_out: TrainingSet, photographs: Path | None, config: MeasureConfig, seed: int) -> dict[str, Part]:
    """What is measured, by name, each a generator that returns its numbers."""
    found: dict[str, Part] = {"worlds": lambda s: _on_worlds(s, held_out, config, seed)}

    def has(name: str) -> Path | None:
        return photographs / name if photographs is not None and (photographs / name).is_dir() else None

    if folder := has(TILDE):
        found[TILDE] = lambda s, folder=folder: _on_fixed_cameras(s, folder, config, seed)
        found[TILDE + HELD_OUT] = lambda s, folder=folder: _on_fixed_cameras(s, folder, config, seed, True)
    if folder := has(CAMVID):
        found[CAMVID] = lambda s, folder=folder: _on_annotated(s, folder, config)
    for name in (MICHIGAN, STROMOVKA):
        if folder := has(name):
            for suffix, only in (("", False), (HELD_OUT, True)):
                found[name + suffix] = lambda s, folder=folder, only=only: _on_headings(s, folder, config, seed, only)
                found[name + FAR + suffix] = lambda s, folder=folder, only=only: _on_far_points(s, folder, config, seed, only)
    return found


def _on_worlds(segment: Segment, data: TrainingSet, config: MeasureConfig, seed: int) -> Generator[Progress, None, Any]:
    pairs = yield from labels_of_pairs(segment, data, config.held_out_views)
    rows = {"all": _numbers(pairs, seed)}
    for condition in HARD_CONDITIONS:
        chosen = [pair for pair in pairs if pair.condition == condition]
        if chosen:
            rows[condition] = _numbers(chosen, seed)
    rows |= {row["group"]: row for row in consistency_rows(pairs, lambda pair: pair.kind)}
    rows["by_condition"] = consistency_rows(pairs, lambda pair: pair.condition)
    return rows


def _numbers(pairs: Sequence[PairLabels], seed: int) -> dict[str, Any]:
    stats = pooled_stats(pairs)
    intervals = bootstrap_intervals([pair.labels for pair in pairs], pairs[0].num_labels, seed, _NUM_SAMPLES)
    bias = {"information_bias_bits": stats.information_bias_bits}
    return stats.as_row() | bias | {"num_pairs": len(pairs), "intervals": {name: list(i) for name, i in intervals.items()}}


def _on_fixed_cameras(
    segment: Segment, folder: Path, config: MeasureConfig, seed: int, only_held_out: bool = False
) -> Generator[Progress, None, dict[str, Any]]:
    """Numbers of all cameras, or of those alone that no row trains on."""
    pairs = yield from fixed_camera_pairs(segment, folder, max_images=config.fixed_images)
    held_out = places_of(folder)[1]
    return _camera_numbers([pair for pair in pairs if pair.view in held_out or not only_held_out], seed)


def _camera_numbers(pairs: Sequence[CameraPair], seed: int) -> dict[str, Any]:
    """Means over the pairs of a view, then over views; intervals when photographs are drawn again."""
    views = sorted({pair.view for pair in pairs})
    names = ("kappa", "nmi", "mutual_information_bits", "effective_labels", "agreement")
    random = np.random.default_rng(seed)
    tables = [_pair_tables([pair for pair in pairs if pair.view == view], names) for view in views]
    counts = [len(table[names[0]]) for table in tables]
    drawn = []
    for _ in range(_NUM_SAMPLES):
        draws = [random.multinomial(count, np.full(count, 1 / count)) for count in counts]
        drawn.append({name: np.mean([_pair_mean(t[name], w) for t, w in zip(tables, draws, strict=True)]) for name in names})
    row: dict[str, Any] = {"num_pairs": len(pairs), "intervals": {}}
    for name in names:
        row[name] = float(np.mean([_pair_mean(t[name], np.ones(len(t[name]))) for t in tables]))
        spread = np.array([one[name] for one in drawn])
        row["intervals"][name] = (row[name] + np.quantile(spread - spread.mean(), [0.025, 0.975])).tolist()
    return row


def _pair_tables(pairs: Sequence[Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Symmetric (images, images) tables of the pairs' numbers, 0 on the diagonal."""
    count = 1 + max(pair.second for pair in pairs)
    tables = {name: np.zeros((count, count)) for name in names}
    for pair in pairs:
        for name in names:
            tables[name][pair.first, pair.second] = tables[name][pair.second, pair.first] = getattr(pair.stats, name)
    return tables


def _pair_mean(table: np.ndarray, weights: np.ndarray) -> float:
    """Mean over pairs of different images when image i occurs ``weights[i]`` times."""
    pairs = np.outer(weights, weights)
    np.fill_diagonal(pairs, 0)
    return float((pairs * table).sum() / max(1, pairs.sum()))


def _on_annotated(segment: Segment, folder: Path, config: MeasureConfig) -> Generator[Progress, None, dict[str, Any]]:
    data = open_class_data(folder)
    stats = yield from semantics_of_images(segment, data.validation, data.names, config.annotated_images)
    return stats.as_row()


def _on_headings(
    segment: Segment, folder: Path, config: MeasureConfig, seed: int, only_held_out: bool = False
) -> Generator[Progress, None, dict[str, Any]]:
    """How often the heading by labels is right."""
    found = yield from heading_accuracy(segment, folder, TOLERANCE_PX[folder.name], config.heading_every)
    if only_held_out:
        held_out = places_of(folder)[1]
        chosen = [pair.place in held_out for pair in found.pairs]
        found = HeadingAccuracy(tuple(compress(found.pairs, chosen)), found.errors_px[chosen], found.tolerance_px)
    return heading_row(found, seed)


def _on_far_points(
    segment: Segment, folder: Path, config: MeasureConfig, seed: int, only_held_out: bool = False
) -> Generator[Progress, None, dict[str, Any]]:
    """Consistency of labels above the horizon, where the true shift applies."""
    views = aligned_views(folder, config.heading_every)
    if only_held_out:
        held_out = places_of(folder)[1]
        views = [view for view in views if view.place in held_out]
    return _numbers((yield from labels_of_pairs(segment, AlignedPhotographs(views, _FAR_STEP))), seed)


def remembered(segment: Segment) -> Segment:
    """The same, with every different image segmented once."""
    known: dict[bytes, LabelMap] = {}

    def lookup(image: Array, source: Path | None = None) -> LabelMap:
        key = hashlib.sha256(np.ascontiguousarray(image)).digest()
        if key not in known:
            known[key] = replace(segment(image), confidence=None)
        return known[key]

    return lookup


def heading_row(found: HeadingAccuracy, seed: int) -> dict[str, Any]:
    """Share of right headings with a bootstrap interval over pairs (which share photographs: a little too narrow)."""
    if not len(found.right):
        raise InputError("no pairs of photographs to take headings from, expected at least one")
    drawn = np.random.default_rng(seed).choice(found.right, (_NUM_SAMPLES * 5, len(found.right))).mean(1)
    return {
        "accuracy": found.accuracy,
        "num_pairs": len(found.right),
        "median_error_px": float(np.median(np.abs(found.errors_px))),
        "intervals": {"accuracy": np.quantile(drawn, [0.025, 0.975]).tolist()},
    }
