"""Fit how descriptors and labels say that a match is right, to matches whose truth is known (see ``affinity``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.geometry import Array
from core.localizer.affinity import AffinityConfig

_RIDGE = 1e-6  # holds what the matches do not tell; queries weigh 1 each
_MAX_STEPS = 60
_DEFAULTS = AffinityConfig()
_SLOPES, _TRUSTS = (0.0, 100.0), (0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class KnownMatches:
    """One query's matches with truth: ``scores`` (M,) as Matches2D3D.scores, ``log_ratios`` (M,) as ``match_log_ratios``
    (None: without labels), ``right`` (M,) bool.
    """

    scores: Array
    right: Array
    log_ratios: Array | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted settings, from how many matches of how many queries, and the mean log loss of a match before and after."""

    config: AffinityConfig
    num_queries: int
    num_matches: int
    share_right: float
    loss_before: float
    loss_after: float


def fit_affinity(queries: Sequence[KnownMatches], config: AffinityConfig = _DEFAULTS, labels: bool = True) -> Fit:
    """Fit ``bias``, ``slope`` and, with ``labels``, ``trust`` of a logistic regression by maximum likelihood.

    Every query counts the same, however many matches it has, so that the easy ones do not decide. Slope and trust stay
    within their settings' limits: where the likelihood wants one beyond, it is put there and the others are fitted again.
    Deterministic. Queries without matches, and matches that are not finite, are left out; without both right and wrong
    matches the settings stay as they are.
    """
    columns, right, weights, num_queries = _gathered(queries, labels)
    if not num_queries or right.min() == right.max():
        return Fit(config, num_queries, len(right), float(right.mean()) if len(right) else 0.0, np.nan, np.nan)
    start = np.array([config.bias, config.slope, config.trust])[: columns.shape[1]]
    fitted = _bounded(columns, right, weights, [(-20.0, 20.0), _SLOPES, _TRUSTS][: columns.shape[1]])
    names = ("bias", "slope", "trust")[: len(fitted)]
    made = replace(config, **{name: float(value) for name, value in zip(names, fitted)})
    losses = [_loss(columns @ values, right, weights) for values in (start, fitted)]
    return Fit(made, num_queries, len(right), float(right.mean()), *losses)


def _gathered(queries: Sequence[KnownMatches], labels: bool) -> tuple[Array, Array, Array, int]:
    """Columns (N, 2 or 3) of 1, score and log ratio; right (N,) f64; weights (N,) that add up to 1 for each query."""
    columns, right, weights = [np.zeros((0, 2 + labels))], [np.zeros(0)], [np.zeros(0)]
    for query in queries:
        ones = np.ones(len(query.scores))
        own = [ones, query.scores, *([query.log_ratios] if labels else [])]
        table = np.stack(own, axis=1).astype(np.float64)
        finite = np.isfinite(table).all(axis=1)
        if finite.any():
            columns.append(table[finite])
            right.append(np.asarray(query.right, np.float64)[finite])
            weights.append(np.full(int(finite.sum()), 1 / finite.sum()))
    return np.concatenate(columns), np.concatenate(right), np.concatenate(weights), len(columns) - 1


def _bounded(columns: Array, right: Array, weights: Array, limits: Sequence[tuple[float, float]]) -> Array:
    """Fit by Newton's method; a coefficient beyond its limits is held there while the others are fitted again."""
    held: dict[int, float] = {}
    while True:
        values = _newton(columns, right, weights, held)
        beyond = [k for k, (low, high) in enumerate(limits) if k not in held and not low <= values[k] <= high]
        if not beyond:
            return values
        held |= {k: float(np.clip(values[k], *limits[k])) for k in beyond}


def _newton(columns: Array, right: Array, weights: Array, held: dict[int, float]) -> Array:
    free = [k for k in range(columns.shape[1]) if k not in held]
    values = np.array([held.get(k, 0.0) for k in range(columns.shape[1])])
    if not free:
        return values
    part = columns[:, free]
    for _ in range(_MAX_STEPS):
        chance = _chance(columns @ values)
        gradient = part.T @ (weights * (right - chance)) - _RIDGE * values[free]
        curvature = (part * (weights * chance * (1 - chance))[:, None]).T @ part + _RIDGE * np.eye(len(free))
        step = np.linalg.solve(curvature, gradient)
        values[free] += step / max(1.0, float(np.abs(step).max()) / 5)  # no leap where the curve is flat
        if np.abs(step).max() < 1e-9:
            break
    return values


def _chance(odds: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def _loss(odds: Array, right: Array, weights: Array) -> float:
    chance = np.clip(_chance(odds), 1e-12, 1 - 1e-12)
    losses = -(right * np.log(chance) + (1 - right) * np.log(1 - chance))
    return float(weights @ losses / weights.sum())
