"""SSMC, Simple Semantic Match Consistency (PAPER 3.3): a match may be used when query pixel and point have one label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array
from core.localizer.methods import MethodInput, require_labels, stationary_labels
from core.localizer.view_labels import views_of
from core.records import Consistency, LabelMap, setting


@dataclass(frozen=True, kw_only=True)
class SsmcConfig:
    window_px: int = setting(
        1, unit="px", minimum=1, maximum=101, help="the label may be anywhere in a square of this side; 1: exactly there"
    )
    count_all: bool = setting(
        False, help="matches of other labels are never drawn, but count where they agree; off: they are dropped for good"
    )
    any_view: bool = setting(
        False,
        help="the label that any view of the point bears will do, where the map knows it; off: the majority's, as in the paper",
    )


def ssmc(given: MethodInput) -> Consistency:
    """Keep the matches whose point has the label of the query pixel, or one within the window around it.

    Labels of what does not stay where it is (``LabelStatistics.stationary`` False) say nothing of a match, and a point
    that bears one is not of the map's lasting part: such matches are dropped. With ``count_all`` labels decide which
    matches propose poses, and all matches which pose is best: a keypoint on the border of two things loses its label with
    the smallest change of view, and half of the right matches, dropped for good, are missed when the pose is refined.
    With ``any_view`` the pixel may also have the label that any image of the map gives the point: labels change with the
    distance, and more so than with the seasons.
    Raises InputError for labels that are not there or of another vocabulary than the map's.
    """
    labels, points = require_labels(given)
    stationary = stationary_labels(given)
    ids, pixels = given.matches.point_ids, given.matches.points2D
    which, expected = np.arange(len(ids)), points.labels[ids].astype(np.int64)
    if given.config.ssmc.any_view and points.views is not None:
        views, rows = views_of(given.scene_map, ids)
        which = np.concatenate([which, views])
        expected = np.concatenate([expected, points.views[rows, 0].astype(np.int64)])
    found = labels_near(labels, pixels[which], expected, given.config.ssmc.window_px)
    if stationary is not None:
        found &= stationary[expected]
    keep = np.bincount(which[found], minlength=len(ids)) > 0
    if given.config.ssmc.count_all:
        return Consistency(np.ones(len(keep), bool), keep.astype(np.float32))
    return Consistency(keep)


def labels_near(labels: LabelMap, points2D: Array, expected: Array, window_px: int = 1) -> Array:
    """Whether (N,) each expected label occurs in the square of side ``window_px`` around its pixel; not finite: no."""
    finite = np.isfinite(points2D).all(axis=1)
    pixels = np.where(finite[:, None], points2D, 0)
    offsets = np.arange(window_px) - (window_px - 1) // 2
    found = np.zeros(len(points2D), bool)
    for dy in offsets:
        for dx in offsets:
            found |= labels.at(pixels + (dx, dy)) == expected
    return found & finite
