"""How well labels hold between two images of one place: numbers at corresponding points.

Agreement alone rewards few and uneven labels, and so, less strongly, does kappa: read them with the mutual
information and the number of effective labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.geometry import Array, frozen_array


@dataclass(frozen=True, slots=True, eq=False)
class ConsistencyStats:
    """Agreement of the labels of N correspondences; p, q are the label shares of the two sides.

    ``agreement`` share of equal labels; ``chance`` = sum_k p_k q_k, the agreement of two independent sides;
    ``kappa`` = (agreement - chance) / (1 - chance); ``mutual_information_bits`` I; ``nmi`` = 2 I / (H(p) + H(q));
    ``effective_labels`` = 2^H((p + q) / 2). Without correspondences all are 0; with a single label on both sides
    kappa and nmi are 0, because nothing was told apart.
    ``counts_a``, ``counts_b``, ``counts_equal`` (num_labels,) i64: points of each label, and points equal in it.
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
    counts_a = np.bincount(a, minlength=num_labels)
    counts_b = np.bincount(b, minlength=num_labels)
    counts_equal = np.bincount(a[a == b], minlength=num_labels)
    joint = np.unique(a * num_labels + b, return_counts=True)[1]
    count = max(1, len(a))
    agreement = float(counts_equal.sum() / count)
    chance = float((counts_a / count) @ (counts_b / count))
    entropy_a, entropy_b = entropy_bits(counts_a), entropy_bits(counts_b)
    information = max(0.0, entropy_a + entropy_b - entropy_bits(joint))
    return ConsistencyStats(
        num_correspondences=len(a),
        agreement=agreement,
        chance=chance,
        kappa=(agreement - chance) / (1 - chance) if chance < 1 else 0.0,
        nmi=2 * information / (entropy_a + entropy_b) if entropy_a + entropy_b > 0 else 0.0,
        mutual_information_bits=information,
        effective_labels=2 ** entropy_bits(counts_a + counts_b) if len(a) else 0.0,
        counts_a=counts_a,
        counts_b=counts_b,
        counts_equal=counts_equal,
    )


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
