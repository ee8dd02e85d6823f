"""How well labels hold between two images of one place: numbers at corresponding points.

Agreement alone rewards few and uneven labels, and so, less strongly, does kappa: read them with the mutual
information and the number of effective labels. Mutual information from few points is too high, by about
``information_bias_bits``; the numbers of whole data sets are pooled over all points first, which leaves little of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from core.geometry import Array, frozen_array


@dataclass(frozen=True, slots=True, eq=False)
class ConsistencyStats:
    """Agreement of the labels of N correspondences; p, q are the label shares of the two sides.

    ``agreement`` share of equal labels; ``chance`` = sum_k p_k q_k, the agreement of two independent sides;
    ``kappa`` = (agreement - chance) / (1 - chance); ``mutual_information_bits`` I; ``nmi`` = 2 I / (H(p) + H(q));
    ``effective_labels`` = 2^H((p + q) / 2). Without correspondences all are 0; with a single label on both sides
    kappa and nmi are 0, because nothing was told apart.
    ``counts_a``, ``counts_b``, ``counts_equal`` (num_labels,) i64: points of each label, and points equal in it.
    ``information_bias_bits``: by how much I is too high for independent points, (m_ab - m_a - m_b + 1) / (2 N ln 2) with m
    the numbers of labels and of label pairs that occur (Miller and Madow); neighbouring pixels make it a lower bound.
    """

    num_correspondences: int
    agreement: float
    chance: float
    kappa: float
    nmi: float
    mutual_information_bits: float
    effective_labels: float
    counts_a: Array
    counts_b: Array
    counts_equal: Array
    information_bias_bits: float = 0.0

    def __post_init__(self) -> None:
        for name in ("counts_a", "counts_b", "counts_equal"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), np.int64, (None,), name))

    def as_row(self) -> dict[str, float]:
        """The scalar numbers as a plain dict."""
        return {
            "num_correspondences": self.num_correspondences,
            "agreement": self.agreement,
            "chance": self.chance,
            "kappa": self.kappa,
            "nmi": self.nmi,
            "mutual_information_bits": self.mutual_information_bits,
            "effective_labels": self.effective_labels,
        }


def entropy_bits(counts: ArrayLike) -> float:
    """Entropy in bits of the distribution that the non-negative ``counts`` describe; 0 for no counts."""
    counts = np.asarray(counts, dtype=np.float64).ravel()
    total = counts.sum()
    if total <= 0:
        return 0.0
    shares = counts[counts > 0] / total
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def consistency_at_points(labels_a: ArrayLike, labels_b: ArrayLike, num_labels: int) -> ConsistencyStats:
    """Compare the labels (N,) of two images at N corresponding points; ValueError for lengths or ids that do not fit."""
    a, b = (np.asarray(labels, dtype=np.int64).ravel() for labels in (labels_a, labels_b))
    if len(a) != len(b):
        raise ValueError(f"labels_a has {len(a)} points and labels_b has {len(b)}, expected as many")
    if len(a) and (min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= num_labels):
        raise ValueError(f"labels run from {min(a.min(), b.min())} to {max(a.max(), b.max())}, expected 0 to {num_labels - 1}")
    codes, counts = np.unique(a * num_labels + b, return_counts=True)
    return consistency_of_counts(codes // num_labels, codes % num_labels, counts, num_labels)


def consistency_of_counts(a: Array, b: Array, counts: Array, num_labels: int) -> ConsistencyStats:
    """Numbers of a sparse joint table: ``counts`` (C,) points with the different label pairs ``a``, ``b`` (C,)."""
    counts = np.asarray(counts)
    counts_a, counts_b, counts_equal = (
        np.bincount(labels, counts[kept], num_labels) for labels, kept in ((a, ...), (b, ...), (a[a == b], a == b))
    )
    total = max(1, counts.sum())
    agreement = float(counts_equal.sum() / total)
    chance = float((counts_a / total) @ (counts_b / total))
    entropy_a, entropy_b = entropy_bits(counts_a), entropy_bits(counts_b)
    information = max(0.0, entropy_a + entropy_b - entropy_bits(counts))
    occurring = np.count_nonzero(counts) - np.count_nonzero(counts_a) - np.count_nonzero(counts_b) + 1
    return ConsistencyStats(
        num_correspondences=int(counts.sum()),
        agreement=agreement,
        chance=chance,
        kappa=(agreement - chance) / (1 - chance) if chance < 1 else 0.0,
        nmi=2 * information / (entropy_a + entropy_b) if entropy_a + entropy_b > 0 else 0.0,
        mutual_information_bits=information,
        effective_labels=2 ** entropy_bits(counts_a + counts_b) if counts.sum() else 0.0,
        counts_a=counts_a,
        counts_b=counts_b,
        counts_equal=counts_equal,
        information_bias_bits=max(0.0, occurring / (2 * np.log(2) * total)),
    )


def label_kappas(stats: ConsistencyStats) -> Array:
    """Kappa (K,) f64 of each label against all others; NaN where it never occurs or covers everything.

    With shares a, b of the label on the two sides and e equal in it: 2 (e - a b) / (a + b - 2 a b).
    """
    total = max(1, stats.num_correspondences)
    a, b, equal = (counts / total for counts in (stats.counts_a, stats.counts_b, stats.counts_equal))
    spread = a + b - 2 * a * b
    return np.divide(2 * (equal - a * b), spread, out=np.full(len(a), np.nan), where=spread > 0)


INTERVAL_NAMES = ("agreement", "kappa", "nmi", "mutual_information_bits", "effective_labels")


def bootstrap_intervals(
    pairs: Sequence[tuple[Array, Array]], num_labels: int, seed: int, num_samples: int = 200, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Intervals of the pooled numbers when image pairs, not points, are drawn again with replacement; seeded.

    ``pairs``: labels of both sides at the points of one image pair each. Points of one image are far from independent, so
    that drawing points would make intervals too narrow. Fewer different pairs raise information, so the draws are centred
    on the estimate. With less than two pairs every interval is (nan, nan).
    """
    if len(pairs) < 2:
        return dict.fromkeys(INTERVAL_NAMES, (float("nan"), float("nan")))
    codes, table = _pair_table(pairs, num_labels)
    a, b = codes // num_labels, codes % num_labels
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), num_samples)
    rows = [
        consistency_of_counts(a, b, table.T @ weight, num_labels).as_row() for weight in (np.ones(len(pairs), int), *weights)
    ]
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for name in INTERVAL_NAMES:
        drawn = np.array([row[name] for row in rows[1:]])
        low, high = rows[0][name] + np.quantile(drawn - drawn.mean(), tails)
        intervals[name] = (float(low), float(high))
    return intervals


def _pair_table(pairs: Sequence[tuple[Array, Array]], num_labels: int) -> tuple[Array, sparse.csr_array]:
    """The different joint labels (C,) and how often (pairs, C) each occurs in each pair."""
    codes = [np.asarray(a, np.int64) * num_labels + np.asarray(b, np.int64) for a, b in pairs]
    known, index = np.unique(np.concatenate(codes), return_inverse=True)
    row = np.repeat(np.arange(len(pairs)), [len(code) for code in codes])
    return known, sparse.csr_array((np.ones(len(index), np.int64), (row, index)), shape=(len(pairs), len(known)))


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, num_classes: int, ignore: int = 255) -> Array:
    """Count pixels (num_classes, num_classes) i64: row = true class, column = predicted; ``ignore`` is left out."""
    truth, predicted = np.asarray(truth).ravel(), np.asarray(predicted).ravel()
    kept = truth != ignore
    index = truth[kept].astype(np.int64) * num_classes + predicted[kept]
    return np.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(confusion: Array) -> Array:
    """Intersection over union (num_classes,) f64 from a confusion matrix; NaN for classes absent from the truth (PAPER 4.5)."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hits
    present = confusion.sum(1) > 0
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=present)
