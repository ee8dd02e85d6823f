"""GSMC, Geometric-Semantic Match Consistency (PAPER 3.4; Toft et al. 2018): what the labels see around each match.

With gravity and the camera's height known, a match leaves the camera on a circle around its point. From each place on the
circle the map says which points are visible and where they project; a match is as good as the labels that are met there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.localizer.affinity import drawn_by, log_affinity, match_probabilities
from core.localizer.circle import Circles, circles_of_matches
from core.localizer.circle_scores import LabelledCloud, score_circles
from core.localizer.gravity import map_gravity, near_enough, resolve_prior
from core.localizer.label_plane import label_plane
from core.localizer.methods import MethodInput, require_labels, stationary_labels
from core.localizer.view_labels import labels_by_distance
from core.records import Consistency, setting

_SURE = 3  # standard deviations of a known position


@dataclass(frozen=True, kw_only=True)
class GsmcConfig:
    num_angles: int = setting(360, minimum=8, maximum=3600, help="places on the circle of a match")
    distance_slack: float = setting(
        1.1, minimum=1.0, maximum=10.0, help="a point is visible up to this many times the distances it was mapped from"
    )
    angle_slack_deg: float = setting(
        5.0, unit="deg", minimum=0.0, maximum=180.0, help="a point is visible this far beside the views it was mapped from"
    )
    min_visible: int = setting(
        10, minimum=0, maximum=100_000, help="a place from which fewer points are visible scores nothing"
    )
    tempering: float = setting(
        0.03, minimum=0.0, maximum=1.0, help="what one point's evidence counts (soft): neighbours say much the same"
    )
    max_matches: int = setting(
        1000, minimum=4, maximum=1_000_000, help="circles are scored of so many, the most likely ones; no other match is drawn"
    )
    device: str = setting("cpu", help="where to compute: cpu or cuda")


@dataclass(frozen=True, slots=True, eq=False)
class CircleScores:
    """One match's circle: ``angles_rad`` (A,), camera centres ``positions`` (A, 3) in the world, ``scores`` (A,) and
    ``num_visible`` (A,) points. Positions are NaN and scores 0 where the match leaves the camera no place.
    """

    angles_rad: Array
    positions: Array
    scores: Array
    num_visible: Array


def gsmc(given: MethodInput) -> Consistency:
    """Weigh each match by the number of visible points that project on their own label, from the best place.

    All matches may be inliers; those of weight 0 are never drawn. Points of labels that do not stay are ignored.
    Raises InputError where labels, visibility, gravity or height are not there.
    """
    return _consistency(given, soft=False)


def gsmc_soft(given: MethodInput) -> Consistency:
    """Weigh each match by the summed log-likelihood ratios of the labels that are met, and by its own (see ``affinity``)."""
    return _consistency(given, soft=True)


def _consistency(given: MethodInput, soft: bool) -> Consistency:
    chance = match_probabilities(given) if soft else given.matches.scores
    tried = np.sort(np.argsort(-chance, kind="stable")[: given.config.gsmc.max_matches])
    scores, visible, circles = _scores(replace(given, matches=given.matches.part(tried)), soft)
    place = scores.argmax(axis=1)
    best, rows = np.zeros(len(chance)), np.arange(len(tried))
    best[tried] = scores[rows, place]
    weights = np.zeros(len(chance))
    weights[tried] = _drawn(given, best[tried], chance[tried], np.isfinite(circles.radius)) if soft else best[tried]
    angle, seen = np.zeros(len(chance)), np.zeros(len(chance), visible.dtype)
    angle[tried], seen[tried] = 2 * np.pi * place / given.config.gsmc.num_angles, visible[rows, place]
    everything = np.ones(len(chance), bool)
    drawn = drawn_by(chance, given, everything, weights) if soft else Consistency(everything, weights)
    return replace(drawn, best_angle_rad=angle, num_visible=seen)


def _drawn(given: MethodInput, best: Array, chance: Array, possible: Array) -> Array:
    """Drawn by what the score makes of the chance that labels and descriptors give a match; ``gsmc`` by the score itself
    (PAPER 3.4, step 6). This chance alone says what a match counts.
    """
    around = np.exp(given.config.gsmc.tempering * (best - best.max(initial=0)))
    return np.where(possible, around * chance, 0)


def match_circle(match: int, given: MethodInput) -> CircleScores:
    """Score the circle of the match of this index, to show it; with affinities where the method is ``gsmc-soft``."""
    chosen = replace(given, matches=given.matches.part(slice(match, match + 1)))
    scores, visible, circles = _scores(chosen, soft=given.config.method == "gsmc-soft")
    angles = 2 * np.pi * np.arange(given.config.gsmc.num_angles) / given.config.gsmc.num_angles
    return CircleScores(angles, circles.positions(given.config.gsmc.num_angles)[0], scores[0], visible[0])


def _same_label(given: MethodInput) -> Array:
    """What a point label (row) counts for a query label (column): 1 for itself, if it stays where it is (K, K) f32."""
    labels, _ = require_labels(given)
    stays = stationary_labels(given)
    return np.diag(np.ones(labels.num_labels) if stays is None else stays).astype(np.float32)


def _scores(given: MethodInput, soft: bool) -> tuple[Array, Array, Circles]:
    """Scores (M, A) f32 and visible points (M, A) i32 on the circles of all matches."""
    labels, points = require_labels(given)
    values = log_affinity(given) if soft else _same_label(given)
    certainty = soft and given.config.affinity.certainty > 0
    config, scene_map = given.config.gsmc, given.scene_map
    visibility = scene_map.visibility
    if visibility is None:
        raise InputError(
            f"{given.query.path}: the method {given.config.method!r} needs a map that knows from where its points were seen; "
            "build it again from its images"
        )
    prior = resolve_prior(given)
    circles = circles_of_matches(
        given.matches, scene_map, visibility, given.query.camera, prior, map_gravity(scene_map), config.distance_slack
    )
    views = labels_by_distance(scene_map, config.distance_slack)
    stays = stationary_labels(given)
    use = np.isfinite(views.points3D).all(axis=1)
    if stays is not None:
        use &= stays[views.labels]
    rows = np.flatnonzero(use)
    rows = rows[near_enough(given.query, scene_map, views.point[rows], config.distance_slack)]
    point = views.point[rows]
    cloud = LabelledCloud(
        points=scene_map.points3D[point] @ circles.upright_from_world.T,
        direction=visibility.direction[point] @ circles.upright_from_world.T,
        half_angle=visibility.angle_rad[point] / 2 + np.radians(config.angle_slack_deg),
        near=views.near[rows],
        far=views.far[rows],
        labels=views.labels[rows],
        weights=points.vote_share[point] if certainty else np.ones(len(rows)),
    )
    plane = label_plane(labels if certainty else replace(labels, confidence=None), given.query.camera)
    scores, visible = score_circles(circles, cloud, plane, values, config.num_angles, config.min_visible, config.device)
    if prior.position is not None:
        away = np.linalg.norm(circles.positions(config.num_angles) - prior.position, axis=2)
        scores[~(away <= _SURE * prior.position_error_m)] = 0
    return scores, visible, circles
