"""Which labels of a network hold least across conditions, and where they lie: for its model card."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from core.engine.consistency import consistency_at_points, entropy_bits, label_kappas
from core.engine.dataset import TrainingSet
from core.engine.validation import PairLabels, Segment, labels_of_pairs, pooled_stats, spread
from core.geometry import Array
from core.records import Progress
from core.world.classes import CLASS_NAMES


@dataclass(frozen=True, slots=True, eq=False)
class LabelWeakness:
    """A label with its ``share`` of the points and its kappa against all others, over all conditions and in the worst;
    ``classes``: what it mostly lies on, (name, share of the label's reference points), most first.
    """

    label: int
    share: float
    kappa: float
    worst_condition: str
    worst_kappa: float
    classes: tuple[tuple[str, float], ...]


def label_weaknesses(
    segment: Segment, data: TrainingSet, count: int = 10, min_share: float = 0.002, max_views: int | None = None
) -> Generator[Progress, None, tuple[LabelWeakness, ...]]:
    """Find the ``count`` least consistent labels on rendered worlds, among those that cover ``min_share`` of the points."""
    pairs = yield from labels_of_pairs(segment, data, max_views)
    return weakest(pairs, _classes_at(data, max_views), count, min_share)


def weakest(pairs: Sequence[PairLabels], classes: Sequence[Array], count: int, min_share: float) -> tuple[LabelWeakness, ...]:
    """As ``label_weaknesses``, of labels at points and the classes (N,) of the same points, pair by pair."""
    stats = pooled_stats(pairs)
    kappas, shares = label_kappas(stats), (stats.counts_a + stats.counts_b) / max(1, 2 * stats.num_correspondences)
    reference, truth = np.concatenate([pair.reference for pair in pairs]), np.concatenate(classes)
    conditions = sorted({pair.condition for pair in pairs})
    by_condition = np.array([_kappas(pairs, condition) for condition in conditions])
    known = [int(label) for label in np.argsort(kappas, kind="stable") if shares[label] >= min_share]
    found = []
    for label in known[:count]:
        worst = int(np.argmin(np.nan_to_num(by_condition[:, label], nan=np.inf)))
        where = _most(truth[reference == label])
        facts = (float(shares[label]), float(kappas[label]), conditions[worst], float(by_condition[worst, label]), where)
        found.append(LabelWeakness(label, *facts))
    return tuple(found)


def _kappas(pairs: Sequence[PairLabels], condition: str) -> Array:
    a, b = (np.concatenate(side) for side in zip(*(p.labels for p in pairs if p.condition == condition), strict=True))
    return label_kappas(consistency_at_points(a, b, pairs[0].num_labels))


def _classes_at(data: TrainingSet, max_views: int | None) -> list[Array]:
    """Classes (N,) at the reference's side of every pair, in the order of ``labels_of_pairs``."""
    found = []
    for index in spread(len(data), len(data) if max_views is None else max_views):
        view = data.view(index)
        truth = np.asarray(view.classes[0])
        for points in view.correspondences:
            x, y = np.rint(points.points_ref).astype(np.int64).T
            found.append(truth[y.clip(0, truth.shape[0] - 1), x.clip(0, truth.shape[1] - 1)])
    return found


def _most(classes: Array, count: int = 2) -> tuple[tuple[str, float], ...]:
    known = classes[classes < len(CLASS_NAMES)]
    counts = np.bincount(known, minlength=len(CLASS_NAMES))
    most = [int(index) for index in np.argsort(-counts, kind="stable")[:count] if counts[index]]
    return tuple((CLASS_NAMES[index], float(counts[index] / len(known))) for index in most)


def effective_stationary(stationary: Array, counts: Array) -> float:
    """How many stationary labels there are in effect: 2^H of their shares (K,) among the stationary points; 0 for none."""
    kept = np.asarray(counts)[np.asarray(stationary, bool)]
    return 2 ** entropy_bits(kept) if kept.sum() else 0.0
