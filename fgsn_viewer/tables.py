"""Pure functions: the rows of the match and label tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array, frozen_array
from core.records import LabelMap, Localization, Matches2D3D, PairMatches, SceneMap
from core.scene.sightings import matches_seen_in
from fgsn_viewer.agreement import PairAgreement
from fgsn_viewer.display import DROPPED, GUIDED, INLIER, OUTLIER


@dataclass(frozen=True, slots=True, eq=False)
class MatchRows:
    """All matches as columns of length M. Absent values: NaN, or -1 for ids, labels and images. ``kinds`` of display.

    ``points_ref`` (M, 2) f64 px is NaN where the reference that is shown does not see the match; ``likely`` (M,): how likely
    the method holds each to be right, None where it does not say.
    """

    scores: Array
    errors_px: Array
    kinds: Array
    point_ids: Array
    images: Array
    points_ref: Array
    points_query: Array
    image_names: tuple[str, ...] = ()
    likely: Array | None = None

    def __post_init__(self) -> None:
        columns = {"scores": (np.float64, (None,)), "errors_px": (np.float64, (None,)), "kinds": (np.int64, (None,))}
        columns |= {"point_ids": (np.int64, (None,)), "images": (np.int64, (None,))}
        columns |= {"points_ref": (np.float64, (None, 2)), "points_query": (np.float64, (None, 2))}
        columns |= {} if self.likely is None else {"likely": (np.float64, (None,))}
        for name, (dtype, shape) in columns.items():
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype, shape, name))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def inliers(self) -> Array:
        """Which matches (M,) agree with what was found."""
        return self.kinds == INLIER

    def counts(self) -> dict[int, int]:
        """How many there are of each kind."""
        return {kind: int((self.kinds == kind).sum()) for kind in (INLIER, GUIDED, OUTLIER, DROPPED)}

    def shown(self) -> Array:
        """Indices (S,) i64 of the matches that can be drawn between the two images."""
        return np.flatnonzero(np.isfinite(self.points_ref).all(axis=1))

    def labels(self, reference: LabelMap | None, query: LabelMap | None) -> tuple[Array, Array]:
        """Labels (M,), (M,) i64 under the matches in both images; -1 where there are none."""
        return _labels_at(reference, self.points_ref), _labels_at(query, self.points_query)


def _labels_at(labels: LabelMap | None, points: Array) -> Array:
    found = np.full(len(points), -1, np.int64)
    seen = np.isfinite(points).all(axis=1)
    if labels is not None and seen.any():
        found[seen] = labels.at(points[seen])
    return found


def localization_rows(localization: Localization, scene_map: SceneMap, image: int | None) -> MatchRows:
    """The matches of a query with the map, and after them those that its pose found; drawn where the points lie in map
    image ``image``.
    """
    given, found, result = localization.matches, guided_matches(localization), localization.result
    parts, names = (given, found), Matches2D3D.__dataclass_fields__
    matches = Matches2D3D(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    points_ref = np.full((len(matches), 2), np.nan)
    shown, points = matches_seen_in(matches, scene_map, image)
    points_ref[shown] = points
    errors = np.zeros(0)
    if len(found):
        projected = localization.query.camera.project(result.cam_from_world.apply(scene_map.points3D[found.point_ids]))
        errors = np.linalg.norm(projected - found.points2D, axis=1)
    likely = None if localization.consistency is None else localization.consistency.probabilities
    if len(found):
        likely = np.concatenate([np.full(len(given), np.nan) if likely is None else likely, found.scores])
    return MatchRows(
        scores=matches.scores,
        errors_px=np.concatenate([result.reproj_errors_px, errors]),
        kinds=np.concatenate([match_kinds(localization), np.full(len(found), GUIDED)]),
        point_ids=matches.point_ids,
        images=matches.reference_image,
        points_ref=points_ref,
        points_query=matches.points2D,
        image_names=tuple(item.name for item in scene_map.images),
        likely=likely,
    )


def guided_matches(localization: Localization) -> Matches2D3D:
    """What the pose found (``result.guided``) beside the matches that agree with it already."""
    given, result = localization.matches, localization.result
    if result.guided is None:
        return given.part(slice(0))
    agree, found = given.part(result.inlier_mask), result.guided
    known = set(zip(agree.keypoint.tolist(), agree.point_ids.tolist()))
    return found.part(np.array([pair not in known for pair in zip(found.keypoint.tolist(), found.point_ids.tolist())], bool))


def match_kinds(localization: Localization) -> Array:
    """Kind (M,) i64 of each match; dropped ones are those that the labels never let RANSAC draw."""
    inliers, chosen = localization.result.inlier_mask, localization.consistency
    kinds = np.where(inliers, INLIER, OUTLIER)
    if chosen is not None:
        possible = chosen.keep if chosen.weights is None else chosen.keep & (chosen.weights > 0)
        kinds[~possible & ~inliers] = DROPPED
    return kinds


def pair_rows(pair: PairMatches, reference_name: str) -> MatchRows:
    """The matches of two photographs; the error is the distance to the epipolar line in the query."""
    count = len(pair.scores)
    return MatchRows(
        scores=pair.scores,
        errors_px=epipolar_distance(pair),
        kinds=np.where(pair.inlier_mask, INLIER, OUTLIER),
        point_ids=np.full(count, -1),
        images=np.zeros(count),
        points_ref=pair.points_ref,
        points_query=pair.points_query,
        image_names=(reference_name,),
    )


def epipolar_distance(pair: PairMatches) -> Array:
    """Distance (M,) f64 px of the query's point from the epipolar line of the reference's; NaN without geometry."""
    if pair.fundamental is None:
        return np.full(len(pair.scores), np.nan)
    lines = np.c_[pair.points_ref, np.ones(len(pair.scores))] @ pair.fundamental.T
    along = (np.c_[pair.points_query, np.ones(len(pair.scores))] * lines).sum(axis=1)
    return np.abs(along) / np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class LabelRows:
    """The labels present on either side (R,): ``ids`` i64, ``share_ref``, ``share_query`` f64 in [0, 1], NaN without labels;
    ``kappa`` f64 of the label between the two, NaN where unknown, at ``points`` i64 of both sides.
    """

    ids: Array
    share_ref: Array
    share_query: Array
    kappa: Array
    points: Array

    def __len__(self) -> int:
        return len(self.ids)


def label_rows(reference: LabelMap | None, query: LabelMap | None, agreement: PairAgreement | None = None) -> LabelRows:
    """Shares of the labels that occur in either image, the largest first, and their kappa where points are known."""
    sides = [side for side in (reference, query) if side is not None]
    if not sides:
        return LabelRows(np.zeros(0, np.int64), *(np.zeros(0) for _ in range(4)))
    count = max(side.num_labels for side in sides)
    shares = [_shares(side, count) for side in (reference, query)]
    total = np.nansum(shares, axis=0)
    ids = np.argsort(-total, kind="stable")[: int((total > 0).sum())]
    if agreement is None:
        return LabelRows(ids, shares[0][ids], shares[1][ids], np.full(len(ids), np.nan), np.zeros(len(ids), np.int64))
    return LabelRows(ids, shares[0][ids], shares[1][ids], agreement.label_kappa[ids], agreement.label_points[ids])


def _shares(labels: LabelMap | None, count: int) -> Array:
    shares = np.full(count, np.nan)
    if labels is not None:
        shares[: labels.num_labels] = labels.shares()
    return shares
