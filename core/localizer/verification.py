"""Pose verification by labels, beyond the paper: does the image bear the labels of all that a pose would see of the map?

Few right matches may be outweighed by wrong ones that agree by chance. Each of these poses then has hundreds of labelled
points in view, matched or not, which the image's labels fit or do not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.localizer.label_likelihood import (
    LabelledPoints,
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    labelled_points,
    mean_log_ratios,
)
from core.localizer.methods import MethodInput, require_labels, stationary_labels
from core.localizer.ransac import Judge
from core.records import LabelStatistics, SceneMap

_LIKELIHOOD = LikelihoodConfig(same_place_m=0.0)  # poses of many places, each with its own points


def pose_verifier(given: MethodInput) -> Judge | None:
    """A function of poses (B, 3, 4) that gives how well labels fit them, (B,) f64: the mean log-likelihood ratio of the points
    visible from each (``label_likelihood.mean_log_ratios``), times ``affinity.verification``.

    None where that is 0, where the map does not know from where its points were seen, or where none of its labels stays.
    Raises InputError for labels that are not there or of another vocabulary than the map's.
    """
    strength = given.config.affinity.verification
    if not strength or given.scene_map.visibility is None:
        return None
    labels, points = require_labels(given)
    statistics = given.statistics
    if statistics is not None and stationary_labels(given) is None:
        statistics = replace(statistics, stationary=np.ones(points.num_labels, bool))
    seen = _lasting_points(given.scene_map, statistics)
    if seen is None:
        return None

    def judge(poses: Array) -> Array:
        probabilities = label_probabilities(statistics, points.num_labels, _LIKELIHOOD)
        volume = label_volume(labels, given.query.camera, probabilities, np.unique(seen.labels.numpy()), _LIKELIHOOD)
        rotations, centers = poses[:, :, :3], -np.einsum("nji,nj->ni", poses[:, :, :3], poses[:, :, 3])
        return strength * mean_log_ratios(seen, volume, rotations, centers, _LIKELIHOOD)[0]

    return judge


@lru_cache(maxsize=2)  # every query of a map asks for the same
def _lasting_points(scene_map: SceneMap, statistics: LabelStatistics | None) -> LabelledPoints | None:
    try:
        return labelled_points(scene_map, statistics, _LIKELIHOOD)
    except InputError:  # no stationary point: labels have nothing to say
        return None
