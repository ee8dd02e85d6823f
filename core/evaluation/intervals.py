"""How sure the numbers of an evaluation are: intervals for shares and medians, and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.geometry import Array

Z_95 = 1.959963984540054
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """The same queries by two methods: ``gain`` is the share found by the second minus the first's, in percent points.

    ``low``, ``high``: 95 % interval of the gain; ``only_first``, ``only_second``: queries that just one of them finds;
    ``p_value``: exact McNemar test, two-sided.
    """

    num_queries: int
    gain: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float


def wilson_interval(num_found: int, num_all: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a share, in percent; nothing known (0 of 0) is 0 to 100."""
    if num_all == 0:
        return 0.0, 100.0
    share = num_found / num_all
    centre = share + z * z / (2 * num_all)
    spread = z * math.sqrt(share * (1 - share) / num_all + z * z / (4 * num_all * num_all))
    scale = 100.0 / (1 + z * z / num_all)
    return max(0.0, scale * (centre - spread)), min(100.0, scale * (centre + spread))


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the median; None without values. Infinite values stay infinite."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        return None
    rng = np.random.default_rng(seed)
    data = np.sort(data)
    middles = np.sort(rng.integers(0, len(data), (_RESAMPLES, len(data))), axis=1)
    half = len(data) // 2
    upper, lower = data[middles[:, half]], data[middles[:, (len(data) - 1) // 2]]
    medians = np.sort(np.where(upper == lower, upper, (upper + lower) / 2))
    low, high = medians[int(0.025 * _RESAMPLES)], medians[int(0.975 * _RESAMPLES) - 1]
    return float(low), float(high)


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test: how likely so unequal a split is if both methods are equally good."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)  # whole numbers: exact for any count


def compare_pairs(
    first: Sequence[bool], second: Sequence[bool], groups: Sequence[str] | None = None, seed: int = 0
) -> PairedComparison:
    """Compare who found the same queries, in order. ``groups`` (as the scene of each) are resampled whole where given.

    Queries of one street succeed and fail together: with groups the interval is that of new streets, not of new queries.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"got {a.shape} and {b.shape} results, expected two lists of the same queries")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    difference = b.astype(np.float64) - a
    low, high = _bootstrap_mean(difference, np.asarray(groups if groups is not None else np.arange(len(a))), seed)
    gain = 100 * float(difference.mean()) if len(a) else 0.0
    return PairedComparison(len(a), gain, low, high, only_first, only_second, mcnemar_p_value(only_first, only_second))


def _bootstrap_mean(values: Array, groups: Array, seed: int) -> tuple[float, float]:
    """95 % interval of the mean in percent, drawing whole groups with replacement."""
    if not len(values):
        return -100.0, 100.0
    _, index = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return 100 * float(low), 100 * float(high)


def share_curve(errors: Sequence[float], at: Sequence[float]) -> list[float]:
    """Percent of the queries whose error is at most each value of ``at``; a missing pose is an infinite error."""
    values = np.sort(np.asarray(errors, np.float64))
    counts = np.searchsorted(values, np.asarray(at, np.float64), side="right")
    return [100 * float(count) / max(1, len(values)) for count in counts]
