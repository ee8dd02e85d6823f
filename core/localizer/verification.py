"""Pose verification by labels, beyond the paper: does the image bear the labels of all that a pose would see of the map?

Few right matches may be outweighed by wrong ones that agree by chance. Each of these poses then has hundreds of labelled
points in view, matched or not, which the image's labels fit or do not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.localizer.label_likelihood import (
    LabelledPoints,
    LabelVolume,
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    labelled_points,
    mean_log_ratios,
)
from core.localizer.methods import MethodInput, require_labels, stationary_labels
from core.records import LabelStatistics, SceneMap

_MAX_ROWS = 400_000  # of a large map; a query's poses take half a second for these
_LIKELIHOOD = LikelihoodConfig(same_place_m=0.0)  # poses of many places, each with its own points


class PoseVerifier:
    """One query's labels against the labelled points that any pose would see: a ``Judge`` of its poses."""

    def __init__(self, given: MethodInput, statistics: LabelStatistics | None, points: LabelledPoints) -> None:
        self._given, self._statistics, self._points = given, statistics, points

    def __call__(self, poses: Array) -> Array:
        """Log-likelihoods (B,) f64 of poses (B, 3, 4): ``affinity.verification`` times how well labels fit."""
        return self._given.config.affinity.verification * self.fit(poses)

    def fit(self, poses: Array) -> Array:
        """The mean log-likelihood ratio (B,) f64 of the labels of all points visible from poses (B, 3, 4) [R | t] of
        cam_from_world (``label_likelihood.mean_log_ratios``); 0: no better than by chance.
        """
        rotations, centers = poses[:, :, :3], -np.einsum("nji,nj->ni", poses[:, :, :3], poses[:, :, 3])
        return mean_log_ratios(self._points, self._volume, rotations, centers, _LIKELIHOOD)[0]

    @cached_property
    def _volume(self) -> LabelVolume:
        probabilities = label_probabilities(self._statistics, self._points.num_labels, _LIKELIHOOD)
        used = np.unique(self._points.labels.numpy())
        return label_volume(self._given.labels, self._given.query.camera, probabilities, used, _LIKELIHOOD)


def pose_verifier(given: MethodInput) -> PoseVerifier | None:
    """What verifies a query's poses; None where ``affinity.verification`` is 0 or matches count alike, where the map does not
    know from where its points were seen, or where none of its labels stays.

    Raises InputError for labels that are not there or of another vocabulary than the map's.
    """
    affinity = given.config.affinity
    if not (affinity.evidence and affinity.verification) or given.scene_map.visibility is None:
        return None
    _, points = require_labels(given)
    statistics = given.statistics
    if statistics is not None and stationary_labels(given) is None:
        statistics = replace(statistics, stationary=np.ones(points.num_labels, bool))
    seen = _lasting_points(given.scene_map, statistics)
    return None if seen is None else PoseVerifier(given, statistics, seen)


@lru_cache(maxsize=2)  # every query of a map asks for the same
def _lasting_points(scene_map: SceneMap, statistics: LabelStatistics | None) -> LabelledPoints | None:
    try:
        found = labelled_points(scene_map, statistics, _LIKELIHOOD)
    except InputError:  # no stationary point: labels have nothing to say
        return None
    return found.part(slice(None, None, -(-len(found) // _MAX_ROWS)))  # they lie sorted by label: all thinned alike
