"""Two photographs without a map: matches and their epipolar geometry."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import poselib

from core.geometry import Array
from core.localizer.features import FeatureConfig, extract_features
from core.localizer.matching import MatchConfig, match_features
from core.localizer.uncertainty import log10_false_alarms
from core.records import Features, PairMatches, Progress, setting
from core.steps import finish

MIN_MATCHES = 8
_SAMPLE = 7


@dataclass(frozen=True, kw_only=True)
class PairConfig:
    features: FeatureConfig = field(default_factory=lambda: FeatureConfig(equalize=True))
    matching: MatchConfig = field(default_factory=lambda: MatchConfig(ratio=0.8))
    max_error_px: float = setting(
        2.0,
        unit="px",
        minimum=0.1,
        maximum=100.0,
        help="Sampson distance of an inlier, in the image as it is shrunk for matching",
    )
    max_iterations: int = setting(10_000, minimum=1, maximum=1_000_000, help="try at most this many samples")


def match_pair(image_ref: Array, image_query: Array, config: PairConfig = PairConfig(), seed: int = 0) -> PairMatches:
    """Match two RGB (H, W, 3) u8 images and find the epipolar geometry of their matches.

    Inliers are counted again from the returned fundamental matrix. Too few matches, and no more agreement than chance
    gives, are results with a ``failure`` sentence and no inliers; the matches are kept.
    """
    return finish(match_pair_steps(image_ref, image_query, config, seed))


def match_pair_steps(
    image_ref: Array, image_query: Array, config: PairConfig = PairConfig(), seed: int = 0
) -> Generator[Progress, None, PairMatches]:
    """``match_pair`` as a long task: yields Progress, returns the matches."""
    yield Progress("Finding keypoints in the reference", 0.0)
    ref = extract_features(image_ref, config.features)
    yield Progress("Finding keypoints in the query", 0.4)
    query = extract_features(image_query, config.features)
    yield Progress("Matching", 0.8)
    index_ref, index_query, scores = match_features(ref, query, config.matching)
    yield Progress("Finding the epipolar geometry", 0.95)
    side = max(*image_ref.shape[:2], *image_query.shape[:2])
    max_error = config.max_error_px * max(1.0, side / config.features.max_image_side)
    points = ref.keypoints[index_ref], query.keypoints[index_query]
    fundamental, inliers, failure = _epipolar(*points, image_query.shape[:2], max_error, config.max_iterations, seed)
    failure = _no_keypoints(ref, query) or failure
    return PairMatches(*points, scores, inliers, fundamental, (len(ref), len(query)), failure)


def sampson_errors(fundamental: Array, points_ref: Array, points_query: Array) -> Array:
    """Sampson distances (N,) f64 px of x_query^T F x_ref = 0; NaN where it is not defined."""
    ones = np.ones((len(points_ref), 1))
    ref, query = np.hstack([points_ref, ones]), np.hstack([points_query, ones])
    line_query, line_ref = ref @ fundamental.T, query @ fundamental
    size = np.sqrt((line_query[:, :2] ** 2).sum(axis=1) + (line_ref[:, :2] ** 2).sum(axis=1))
    residual = np.abs(np.einsum("nd,nd->n", query, line_query))
    return np.divide(residual, size, out=np.full(len(ref), np.nan), where=size > 0)


def _epipolar(
    ref: Array, query: Array, shape: tuple[int, int], max_error: float, max_iterations: int, seed: int
) -> tuple[Array | None, Array, str | None]:
    """Return the fundamental matrix, the inliers and a failure sentence or None."""
    nothing = np.zeros(len(ref), bool)
    if len(ref) < MIN_MATCHES:
        noun = "match" if len(ref) == 1 else "matches"
        return None, nothing, f"too few matches: {len(ref)} {noun} found, at least {MIN_MATCHES} needed"
    options = {"max_epipolar_error": max_error, "max_iterations": max_iterations, "min_iterations": 100, "seed": seed}
    fundamental, _ = poselib.estimate_fundamental(ref.astype(np.float64), query.astype(np.float64), options, {})
    if not np.isfinite(fundamental).all():
        return None, nothing, "no epipolar geometry found"
    errors = sampson_errors(fundamental, ref, query)
    inliers = errors <= max_error
    # A wrong match lies in the strip along its epipolar line with this probability.
    chances = 2 * np.sqrt(2) * errors[inliers] * np.hypot(*shape) / (shape[0] * shape[1])
    if log10_false_alarms(chances, len(ref), _SAMPLE) > 0:
        agree = f"{int(inliers.sum())} of {len(ref)} matches agree with one epipolar geometry"
        return None, nothing, f"no consensus: {agree}, no more than chance gives"
    return fundamental, inliers, None


def _no_keypoints(ref: Features, query: Features) -> str | None:
    empty = [name for name, features in (("reference", ref), ("query", query)) if not len(features)]
    return f"no keypoints found in the {' and the '.join(empty)}" if empty else None
