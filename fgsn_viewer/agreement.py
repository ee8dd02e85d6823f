"""How far labels agree between the two images shown: numbers of the pair and of each label, and which labels to mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.geometry import Array, frozen_array

MIN_POINTS = 8  # points with the label, both images together, before its kappa says anything
MAX_MARKED = 6
UNSTABLE_BELOW = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class PairAgreement:
    """``stats``: core's ConsistencyStats at the points of ``source``; ``label_kappa`` (K,) f64, NaN where unknown."""

    stats: Any
    source: str
    label_kappa: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_kappa", frozen_array(self.label_kappa, np.float64, (None,), "label_kappa"))

    @property
    def num_points(self) -> int:
        return self.stats.num_correspondences

    @property
    def label_points(self) -> Array:
        """Points (K,) with each label, counted in both images."""
        return self.stats.counts_a + self.stats.counts_b

    def least_consistent(self) -> tuple[int, ...]:
        """Up to six labels whose kappa is below 0.4 at eight points or more, the worst first."""
        known = np.flatnonzero((self.label_points >= MIN_POINTS) & (self.label_kappa < UNSTABLE_BELOW))
        order = np.lexsort((-self.label_points[known], self.label_kappa[known]))
        return tuple(int(label) for label in known[order][:MAX_MARKED])

    def mark_hint(self) -> str:
        """What the marks in the images mean, in one line."""
        marked = self.least_consistent()
        if not marked:
            enough = int((self.label_points >= MIN_POINTS).sum())
            return f"Nothing to mark: {enough} labels have {MIN_POINTS} points or more, and kappa {UNSTABLE_BELOW} or more"
        return f"Hatched, worst first: {', '.join(map(str, marked))} (kappa below {UNSTABLE_BELOW})"
