"""Soft label affinity: how much more often two labels meet on one surface than by chance, as evidence for a match.

The hard rule of PAPER 3.3 asks whether two labels are equal, which the finer a vocabulary is, the less often holds. Here
a match with point label a and query label b has the likelihood ratio P(b | a, same surface) / P(b), counted on training
correspondences: labels that are confused across seasons still speak for a match, and rare ones say little.

The defaults of ``bias``, ``slope`` and ``trust`` lie between what ``fit_affinity`` finds for 100 and for 200 clusters on the
matches of the seasons benchmark's tuning worlds (docs/seasons.md). It fits them to any matches whose truth is known; the
benchmark does that for every network before it measures anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.geometry import Array
from core.localizer.methods import MethodInput, require_labels, stationary_labels
from core.localizer.view_labels import views_of
from core.records import Consistency, LabelMap, LabelStatistics, setting


@dataclass(frozen=True, kw_only=True)
class AffinityConfig:
    prior_counts: float = setting(
        50.0, minimum=0.0, maximum=1e6, help="a label seen this often in the statistics is believed half"
    )
    floor: float = setting(0.05, minimum=1e-6, maximum=0.9, help="share of pixels that show something else than the point")
    bias: float = setting(-6.3, minimum=-20.0, maximum=20.0, help="log odds that a match of score 0 is right")
    slope: float = setting(14.3, minimum=0.0, maximum=100.0, help="how much a score of 1 adds to the log odds")
    trust: float = setting(
        0.85,
        minimum=0.0,
        maximum=1.0,
        help="share of the labels' log ratio that counts: wrong matches look alike in labels too",
    )
    certainty: float = setting(
        0.0, minimum=0.0, maximum=4.0, help="power of vote share times confidence that scales a log ratio; 0: not asked"
    )
    least: float = setting(0.0, minimum=0.0, maximum=1.0, help="matches that are less likely right than this are dropped")
    evidence: bool = setting(True, help="a match that agrees with a pose counts as much as it is likely right; off: all alike")
    verification: float = setting(
        20.0,
        minimum=0.0,
        maximum=1000.0,
        help="what a mean log ratio of 1 over all points visible from a pose adds to its matches' evidence; 0: not asked",
    )
    weigh_p3p: bool = setting(
        False, help="plain P3P too draws each match as likely as its descriptors say it is right; off: best scores first"
    )
    views: bool = setting(
        True, help="what every view of a point says counts, where the map knows it; off: the majority's label alone"
    )
    agreement: float = setting(0.5, minimum=0.01, maximum=0.999, help="how often a label keeps where no statistics are given")


def affinity_ratios(statistics: LabelStatistics | None, num_labels: int, config: AffinityConfig = AffinityConfig()) -> Array:
    """P(query label b | point label a, same surface) / P(b) as (K, K) f64 > 0, row a, column b; 1 says nothing.

    The counts of a row are drawn towards independence by ``prior_counts`` (a Dirichlet prior), so that a label that was
    hardly seen gives 1. Labels that do not stay where they are say nothing of points that bear them. Without statistics
    all labels are as common, and one stays itself with probability ``agreement``.
    """
    if statistics is None:
        joint = np.full((num_labels, num_labels), (1 - config.agreement) / max(1, num_labels - 1))
        np.fill_diagonal(joint, config.agreement)
        ratios = joint * num_labels
    else:
        occurs = (statistics.joint.sum(axis=0) + 1.0) / (statistics.joint.sum() + num_labels)
        counts = statistics.joint.sum(axis=1, keepdims=True)
        given = (statistics.joint + config.prior_counts * occurs) / np.maximum(counts + config.prior_counts, 1e-12)
        ratios = np.where(counts + config.prior_counts > 0, given / occurs, 1.0)
        ratios[~statistics.stationary] = 1.0
    return (1 - config.floor) * ratios + config.floor


def log_affinity(given: MethodInput) -> Array:
    """The logarithm of ``affinity_ratios`` (K, K) f32. Raises InputError for other vocabularies."""
    labels, _ = require_labels(given)
    statistics = given.statistics
    if statistics is not None and stationary_labels(given) is None:
        statistics = replace(statistics, stationary=np.ones(labels.num_labels, bool))
    return np.log(affinity_ratios(statistics, labels.num_labels, given.config.affinity)).astype(np.float32)


def match_log_ratios(given: MethodInput) -> Array:
    """The log-likelihood ratio (M,) f64 of being right to being wrong that labels give each match; -inf without a pixel.

    A point of several labels is a mixture of them, each as likely as many of its views say so; the majority's alone, where
    views are not known or ``views`` is off. The counts already hold how often labels are wrong, so that vote share and
    confidence add nothing unless ``certainty`` asks for them. Raises InputError for labels that are not there or of another
    vocabulary than the map's.
    """
    labels, points = require_labels(given)
    finite = np.isfinite(given.matches.points2D).all(axis=1)
    pixels = np.where(finite[:, None], given.matches.points2D, 0)
    ids, seen, affinity = given.matches.point_ids, labels.at(pixels), log_affinity(given)
    found = affinity[points.labels[ids], seen].astype(np.float64)
    if given.config.affinity.views and points.views is not None:
        which, rows = views_of(given.scene_map, ids)
        ratios = np.exp(affinity[points.views[rows, 0], seen[which]].astype(np.float64))
        count = np.bincount(which, minlength=len(ids))
        mean = np.bincount(which, ratios, len(ids)) / np.maximum(count, 1)
        found = np.where(count > 0, np.log(np.maximum(mean, 1e-12)), found)
    if given.config.affinity.certainty > 0:
        certain = points.vote_share[given.matches.point_ids] * _confidence_at(labels, pixels)
        found *= certain**given.config.affinity.certainty
    return np.where(finite, found, -np.inf)


def match_probabilities(given: MethodInput) -> Array:
    """How likely (M,) f64 each match is right, from its descriptors (the ratio of the two nearest) and its labels.

    A logistic regression; where its defaults come from stands at the head of this file.
    """
    config = given.config.affinity
    return _logistic(_descriptor_odds(given) + config.trust * match_log_ratios(given))


def descriptor_probabilities(given: MethodInput) -> Array:
    """How likely (M,) f64 each match is right, from its descriptors alone: ``match_probabilities`` without labels."""
    return _logistic(_descriptor_odds(given))


def _descriptor_odds(given: MethodInput) -> Array:
    config = given.config.affinity
    return config.bias + config.slope * given.matches.scores.astype(np.float64)


def _logistic(odds: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def ssmc_soft(given: MethodInput) -> Consistency:
    """Draw each match as often as it is likely to be right, and judge a pose by how likely the matches are that agree with
    it; only those less likely than ``least`` are dropped.
    """
    chance = match_probabilities(given)
    return drawn_by(chance, given, chance >= given.config.affinity.least)


def drawn_by(chance: Array, given: MethodInput, keep: Array, weights: Array | None = None) -> Consistency:
    """Matches that are right with probabilities ``chance`` (M,), drawn so or by ``weights``, and counted so as settings ask."""
    return Consistency(keep, chance if weights is None else weights, chance if given.config.affinity.evidence else None)


def _confidence_at(labels: LabelMap, points2D: Array) -> Array:
    """Confidence (N,) f64 of the nearest pixels, 1 where it is not known."""
    if labels.confidence is None:
        return np.ones(len(points2D))
    height, width = labels.confidence.shape
    x, y = (np.clip(np.rint(points2D[:, i]).astype(np.int64), 0, size - 1) for i, size in ((0, width), (1, height)))
    return labels.confidence[y, x].astype(np.float64)
