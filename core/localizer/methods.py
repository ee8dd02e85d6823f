"""What a localization method is: from matches and labels to which matches may be used and how likely each is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import InputError
from core.geometry import Array
from core.records import Consistency, ImageData, LabelMap, LabelStatistics, Matches2D3D, PointLabels, SceneMap

if TYPE_CHECKING:
    from core.localizer.pipeline import LocalizerConfig


@dataclass(frozen=True, slots=True, eq=False)
class MethodInput:
    """What a method may look at. ``labels`` of the query, the points of ``scene_map`` and ``statistics`` share a vocabulary."""

    query: ImageData
    matches: Matches2D3D
    scene_map: SceneMap
    labels: LabelMap | None
    statistics: LabelStatistics | None
    config: LocalizerConfig
    seed: int = 0


Method = Callable[[MethodInput], Consistency]
"""Say what labels (and geometry) know of each match. Raises InputError where what it needs is not there."""


def require_labels(given: MethodInput) -> tuple[LabelMap, PointLabels]:
    """The labels of query and points. Raises InputError where there are none, or of different vocabularies."""
    method, query, points = given.config.method, given.labels, given.scene_map.labels
    if query is None:
        raise InputError(f"{given.query.path}: the method {method!r} needs the labels of the query; name a network")
    if points is None:
        raise InputError(f"{given.query.path}: the method {method!r} needs a labelled map; add labels with `label`")
    if (query.vocabulary, query.num_labels) != (points.vocabulary, points.num_labels):
        raise InputError(
            f"{given.query.path}: its labels are of the vocabulary {query.vocabulary!r} ({query.num_labels} labels), those of "
            f"the map of {points.vocabulary!r} ({points.num_labels} labels); use one network for both"
        )
    if len(points.labels) != len(given.scene_map.points3D):
        raise InputError(
            f"{given.query.path}: the map has {len(given.scene_map.points3D)} points, but labels for {len(points.labels)}"
        )
    if points.views is not None and len(points.views) != len(given.scene_map.observations.point):
        raise InputError(
            f"{given.query.path}: the map has {len(given.scene_map.observations.point)} observations, but labels for "
            f"{len(points.views)}; label the map again with `label`"
        )
    return query, points


def stationary_labels(given: MethodInput) -> Array | None:
    """Which labels (K,) bool stay where they are, or None where all may speak: without statistics, or as ``keep_moving`` asks.

    Raises InputError for another vocabulary.
    """
    statistics, labels = given.statistics, given.labels
    if statistics is None:
        return None
    if labels is not None and (statistics.vocabulary, statistics.num_labels) != (labels.vocabulary, labels.num_labels):
        raise InputError(
            f"{given.query.path}: its labels are of the vocabulary {labels.vocabulary!r}, the label statistics of "
            f"{statistics.vocabulary!r}; use those made with the network"
        )
    return None if given.config.keep_moving else statistics.stationary
