"""RANSAC with local optimisation over any estimator, that draws samples by weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.geometry import Array

_BATCH = 250  # samples drawn and scored at a time, once the first few did not settle it
_LOOKED_AT = 50  # of a batch's models, for a second place
_REDRAWS = 20
_LEAST_WEIGHT = 1e-9  # of the largest


class Estimator(Protocol):
    """What RANSAC asks of a problem with N data; models are rows of an array."""

    sample_size: int

    def solve(self, samples: Array) -> Array:
        """Models (B, ...) of all samples (S, sample_size) together; a sample may give none or several."""
        ...

    def costs(self, models: Array) -> Array:
        """Truncated squared error (B,) of each model over all data: the lower, the better."""
        ...

    def inliers(self, model: Array) -> Array:
        """Which data (N,) bool agree with one model."""
        ...

    def refine(self, model: Array) -> Array:
        """The best model near this one, by its inliers."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best model, None where no sample gave one; ``cost`` as ``Estimator.costs``, ``judged`` what the judge added to it.

    ``others``: all that were refined, from the best on.
    """

    model: Any
    cost: float
    num_iterations: int
    num_refinements: int
    judged: float = 0.0
    others: tuple[Any, ...] = ()


def lo_ransac(
    estimator: Estimator,
    weights: Array,
    *,
    min_iterations: int,
    max_iterations: int,
    confidence: float,
    seed: int,
    enough: int = 0,
    judge: Callable[[Array], Array] | None = None,
) -> Found:
    """Find the model of lowest cost among samples drawn by ``weights`` (N,) >= 0; each new best is refined on its inliers.

    Stops when a sample of inliers of the best model would have been drawn with probability ``confidence``, which the
    weights of the inliers decide, not their number. A model of fewer than ``enough`` inliers is no reason to stop: where
    the weights mislead, a few heavy data agree with each other soon, and the right ones come late.

    ``judge`` adds to the costs of models (B, ...) what else is known of them, (B,), where that is too slow for each: the two
    best of every batch that have little in common are refined, and all these judged in the end.
    """
    rng = np.random.default_rng(seed)
    weights = _visible(np.asarray(weights, np.float64))
    cumulative = np.cumsum(weights)
    best, lowest, iterations, refinements, pool = None, np.inf, 0, 0, []
    needed, batch = max_iterations, min(min_iterations, _BATCH)
    while iterations < needed:
        samples = draw_samples(cumulative, min(batch, needed - iterations), estimator.sample_size, rng)
        models = estimator.solve(samples)
        costs = estimator.costs(models)
        iterations, batch = iterations + len(samples), _BATCH
        promising = [costs.argmin()] if len(costs) and costs.min() < lowest else []
        for k in promising if judge is None else _two_apart(estimator, models, costs):
            model, cost, rounds = _polish(estimator, models[k], float(costs[k]))
            refinements += rounds
            pool.append((cost, model))
            if cost < lowest:
                best, lowest = model, cost
                inliers = estimator.inliers(best)
                chance = sample_chance(weights, inliers, estimator.sample_size) if inliers.sum() >= enough else 0.0
                needed = min(max_iterations, max(min_iterations, iterations_needed(chance, confidence)))
    if judge is None or not pool:
        return Found(best, lowest, iterations, refinements, others=tuple(model for _, model in reversed(pool)))
    judged = judge(np.array([model for _, model in pool]))
    order = np.argsort([cost for cost, _ in pool] + judged, kind="stable")
    cost, model = pool[order[0]]
    return Found(model, cost, iterations, refinements, float(judged[order[0]]), tuple(pool[k][1] for k in order))


def _two_apart(estimator: Estimator, models: Array, costs: Array) -> list[int]:
    """The best model, and the next best, of the first few, that shares less than half of its inliers with it."""
    order = [int(k) for k in np.argsort(costs, kind="stable")[:_LOOKED_AT]]
    first = estimator.inliers(models[order[0]]) if order else None
    for k in order[1:]:
        own = estimator.inliers(models[k])
        if 2 * (own & first).sum() < own.sum():
            return [order[0], k]
    return order[:1]


def _visible(weights: Array) -> Array:
    """Raise weights above 0 to what a running sum of f64 still shows, so that all of them can be drawn."""
    return np.where(weights > 0, np.maximum(weights, _LEAST_WEIGHT * weights.max(initial=0)), 0.0)


def _polish(estimator: Estimator, model: Array, cost: float, max_rounds: int = 4) -> tuple[Array, float, int]:
    """Refine while that lowers the cost: model, cost, refinements."""
    for rounds in range(1, max_rounds + 1):
        refined = estimator.refine(model)
        new_cost = float(estimator.costs(refined[None])[0])
        if not new_cost < cost:
            return model, cost, rounds
        model, cost, gain = refined, new_cost, cost - new_cost
        if gain < 1e-4 * cost:
            return model, cost, rounds
    return model, cost, max_rounds


def draw_samples(cumulative: Array, count: int, size: int, rng: np.random.Generator) -> Array:
    """Draw samples (count, size) of distinct indices by weights, given as their running sums (N,).

    Drawn with replacement, and again where an index repeats, which leaves products of weights as the samples' chances.
    Where the weights are on so few that repeats do not end, the rest is drawn alike among those of any weight.
    """

    def draw(number: int) -> Array:
        spots = rng.random((number, size)) * cumulative[-1]
        return np.minimum(np.searchsorted(cumulative, spots, side="right"), len(cumulative) - 1)

    samples = draw(count)
    for _ in range(_REDRAWS):
        again = np.flatnonzero(_repeats(samples))
        if not len(again):
            return samples
        samples[again] = draw(len(again))
    possible = np.flatnonzero(np.diff(cumulative, prepend=0) > 0)
    for row in np.flatnonzero(_repeats(samples)):
        samples[row] = rng.choice(possible, size, replace=False)
    return samples


def _repeats(samples: Array) -> Array:
    ordered = np.sort(samples, axis=1)
    return (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)


def sample_chance(weights: Array, inliers: Array, size: int) -> float:
    """Probability that all of a sample of ``size`` distinct data, drawn by ``weights``, are inliers.

    The share of the inliers in the sum over all samples of the product of their weights (elementary symmetric
    polynomials, by Newton's identities from the sums of powers).
    """
    weights = np.asarray(weights, np.float64) / max(float(np.sum(weights)), 1e-300)
    everything = _symmetric(weights, size)
    return min(1.0, max(0.0, _symmetric(weights[inliers], size) / everything)) if everything > 0 else 0.0


def _symmetric(values: Array, size: int) -> float:
    powers = [float((values**k).sum()) for k in range(1, size + 1)]
    found = [1.0]
    for k in range(1, size + 1):
        found.append(sum((-1) ** (i - 1) * found[k - i] * powers[i - 1] for i in range(1, k + 1)) / k)
    return found[size]


def iterations_needed(chance: float, confidence: float) -> int:
    """Samples after which one of a given chance was drawn with probability ``confidence``."""
    if chance >= 1:
        return 1
    return math.ceil(math.log(1 - confidence) / math.log1p(-max(chance, 1e-12)))
