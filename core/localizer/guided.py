"""Guided matching: points are looked for again near where a pose puts them, and the pose is fitted to what is found.

Matching asks for each keypoint's nearest point among all of the map, and across seasons the right point is seldom that.
Among the few that a pose puts beside the keypoint it mostly is: a pose from six right matches so finds sixty more (beyond the
paper; after the guided search of Lowe, 2004, section 7, and of ORB-SLAM). A pair is not taken or left, but weighs as likely
as it is right by its descriptors and by how near it is, and all weights follow the pose from round to round (expectation
maximisation).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from core.geometry import Array, Camera, Rigid3d
from core.localizer.features import dequantize_descriptors
from core.localizer.matching import matches_at
from core.localizer.pose_gaussian import PoseGaussian
from core.localizer.uncertainty import pose_jacobian
from core.records import Features, Matches2D3D, SceneMap, setting

_SIGMAS_PX = (8.0, 5.0, 3.0, 2.0, 1.5, 1.0)
"""How far right pairs lie from where the pose puts them, round by round; a point is looked for within ``_REACH`` of these."""
_WIDEST_PX = 35.0
"""No farther where a pose is hardly known: pairs become many, and right ones rare among them."""
_JUDGED_PX = 2.0
"""The same for a pose that is done: what its pairs say of it is measured alike for all."""
_FULL_SIDE_PX = 1600
"""Keypoints of a larger image were found in a smaller copy (``FeatureConfig``): all distances grow with it."""
_REACH = 3.0
_PRIOR = 0.03
"""How many of all pairs of a window are right: counted, with what follows, on rendered drives of changed seasons."""
_SLOPE, _MIDDLE = 14.0, 0.79
"""Log-likelihood ratio of right to wrong by the distance of descriptors, in units of the median over all pairs of the
widest window, nearly all of which are wrong."""
_DISTANCE_SLACK, _ANGLE_SLACK_DEG = 1.2, 15.0
_LEAST = 0.02  # what weighs less is left out
_FEWEST = 6.0  # right pairs that can be believed to fix a pose
_NOWHERE_PX = -1e6  # where keypoints are that lie nowhere: near no point
_ROWS = 65_536  # descriptors at a time
_GAUSS_NEWTON = 5


@dataclass(frozen=True, kw_only=True)
class GuidedConfig:
    rounds: int = setting(
        6,
        minimum=0,
        maximum=6,
        help="so often are points looked for again near where the found pose puts them, and the pose fitted to them; 0: never",
    )


@dataclass(frozen=True, slots=True, eq=False)
class GuidedPairs:
    """Keypoints and map points near each other under a pose: ``keypoint``, ``point`` (N,) i64, ``observation`` (N,) i64 the
    point's row in the map that looks most alike, ``likely`` (N,) f64 how likely each is right, ``evidence`` the
    log-likelihood ratio of the pose to chance by all of them.
    """

    keypoint: Array
    point: Array
    observation: Array
    likely: Array
    evidence: float


def guided_matcher(features: Features, scene_map: SceneMap, camera: Camera, config: GuidedConfig) -> GuidedMatcher | None:
    """What looks again for a query's points; None where it is not asked for, and where the map does not know from where its
    points were seen or there are no descriptors to compare.
    """
    known = scene_map.observations.descriptors
    if not config.rounds or not len(features) or scene_map.visibility is None or known is None:
        return None
    return GuidedMatcher(features, scene_map, camera, config) if known.shape[1] == features.descriptors.shape[1] else None


class GuidedMatcher:
    """One query's keypoints against the points of a map that poses see."""

    def __init__(self, features: Features, scene_map: SceneMap, camera: Camera, config: GuidedConfig = GuidedConfig()) -> None:
        self._features, self._map, self._camera, self._config = features, scene_map, camera, config
        self._unit_px = max(1.0, max(camera.width, camera.height) / _FULL_SIDE_PX)
        finite = np.isfinite(features.keypoints).all(axis=1)
        self._tree = cKDTree(np.where(finite[:, None], features.keypoints, _NOWHERE_PX))

    def refined(self, pose: Rigid3d, known: PoseGaussian | None = None) -> tuple[Rigid3d, GuidedPairs]:
        """The pose fitted to its pairs, and to what is ``known`` of it, and these pairs.

        The pose as it was where pairs and what is known speak no more for the new one, and where nothing is known and pairs
        are too few.
        """
        (ids, _, usual), new = self._around(pose, _JUDGED_PX), pose
        before = self.pairs(pose, ids, _JUDGED_PX, usual)
        for sigma in _SIGMAS_PX[: self._config.rounds]:
            found = self.pairs(new, ids, sigma, usual)
            if known is None and found.likely.sum() < _FEWEST:
                return pose, before
            new = self._fitted(new, found, sigma, known)
        after = self.pairs(new, ids, _JUDGED_PX, usual)
        gain = after.evidence - before.evidence
        if known is not None:
            gain -= known.cost(new) - known.cost(pose)
        return (new, after) if gain > 0 else (pose, before)

    def judged(self, pose: Rigid3d) -> GuidedPairs:
        """The pairs of a pose that is done."""
        return self.pairs(pose, *self._around(pose, _JUDGED_PX))

    def measured(self, pose: Rigid3d, pairs: GuidedPairs) -> tuple[Array, Array]:
        """What pairs say of a pose: how well (6, 6) they fix it, as the inverse of the covariance of a ``PoseGaussian``, and
        the gradient (6,) of their squared errors over two by its error.
        """
        world, seen, likely = self._used(pairs)
        points = pose.apply(world)
        front = points[:, 2] > _LEAST
        slopes, errors = pose_jacobian(points[front], 1.0), points[front, :2] / points[front, 2:] - seen[front]
        weights = np.tile(likely[front], 2) * self._per_px(_JUDGED_PX)
        return slopes.T @ (weights[:, None] * slopes), slopes.T @ (weights * errors.T.reshape(-1))

    def pairs(self, pose: Rigid3d, ids: Array, sigma_px: float, usual: float) -> GuidedPairs:
        """All pairs with the points ``ids`` (P,) within reach of where the pose puts them; ``usual`` is the distance of the
        descriptors of wrong pairs.
        """
        keypoint, point, error, distance, observation = self._near(pose, ids, sigma_px)
        closer = (
            _REACH**2 / 2 * np.exp(-((error / (sigma_px * self._unit_px)) ** 2) / 2)
        )  # a wrong pair lies anywhere within reach
        ratio = _PRIOR * np.exp(_SLOPE * (_MIDDLE - distance / max(usual, 1e-6))) * closer
        of_keypoint = np.bincount(keypoint, ratio, len(self._features))
        _, place = np.unique(point, return_inverse=True)
        of_point = np.bincount(place, ratio)
        likely = ratio / (1 + np.maximum(of_keypoint[keypoint], of_point[place]))
        evidence = min(np.log1p(of_keypoint).sum(), np.log1p(of_point).sum())  # each keypoint and each point speaks once
        return GuidedPairs(keypoint, point, observation, likely, float(evidence))

    def spread_px(self, known: PoseGaussian) -> float:
        """How far off points project where a pose is no better known than this (standard deviation)."""
        depth = known.cam_from_world.apply(self._map.points3D[self._visible(known.cam_from_world)])[:, 2]
        depth = depth[depth > 0]
        turned, shifted = (np.sqrt(np.trace(known.covariance[part, part]) / 3) for part in (slice(3), slice(3, 6)))
        moved = shifted / float(np.median(depth)) if len(depth) else 0.0
        return float(np.sqrt(self._camera.K[0, 0] * self._camera.K[1, 1]) * np.hypot(turned, moved))

    def likely_near(self, known: PoseGaussian, least: float = _LEAST) -> Matches2D3D:
        """All pairs within reach of where a pose that is no better known than this puts them, at least as likely right as
        ``least``: few beside those of the whole map.
        """
        sigma = min(self.spread_px(known) / self._unit_px, _WIDEST_PX)
        return self.matches(self.pairs(known.cam_from_world, *self._around(known.cam_from_world, sigma)), least)

    def matches(self, pairs: GuidedPairs, least: float = 0.5) -> Matches2D3D:
        """The pairs that are more likely right than ``least``, as matches of score ``likely``."""
        right = np.flatnonzero(pairs.likely > least)
        right = right[np.argsort(pairs.keypoint[right], kind="stable")]
        return matches_at(self._features, self._map, pairs.keypoint[right], pairs.observation[right], pairs.likely[right])

    def _around(self, pose: Rigid3d, sigma_px: float) -> tuple[Array, float, float]:
        """What ``pairs`` asks of a pose: the points (P,) that it sees, ``sigma_px``, how far apart wrong descriptors are."""
        ids = self._visible(pose)
        distance = self._near(pose, ids, _SIGMAS_PX[0])[3]
        return ids, sigma_px, float(np.median(distance)) if len(distance) else 1.0

    def _near(self, pose: Rigid3d, ids: Array, sigma_px: float) -> tuple[Array, Array, Array, Array, Array]:
        """Keypoints and points (N,) i64 within reach of each other; how far apart in px, and in descriptors (N,); and the
        point's observation (N,) i64 with that descriptor.
        """
        projected = self._camera.project(pose.apply(self._map.points3D[ids]))
        finite = np.isfinite(projected).all(axis=1)
        ids, projected = ids[finite], projected[finite]
        near = self._tree.sparse_distance_matrix(cKDTree(projected), _REACH * sigma_px * self._unit_px, output_type="ndarray")
        keypoint, point = near["i"], ids[near["j"]]
        return keypoint, point, near["v"], *self._distances(keypoint, point)

    def _visible(self, pose: Rigid3d) -> Array:
        """The points (P,) that were seen from about as near, and from about this side."""
        visibility, offset = self._map.visibility, pose.center() - self._map.points3D
        distance = np.linalg.norm(offset, axis=1)
        near, far = visibility.min_distance / _DISTANCE_SLACK, visibility.max_distance * _DISTANCE_SLACK
        ids = np.flatnonzero((distance > near) & (distance < far))
        cosine = (offset[ids] * visibility.direction[ids]).sum(axis=1) / distance[ids]
        half = np.minimum(visibility.angle_rad[ids] / 2 + np.radians(_ANGLE_SLACK_DEG), np.pi)
        return ids[cosine >= np.cos(half)]

    def _distances(self, keypoint: Array, point: Array) -> tuple[Array, Array]:
        """Distances (N,) of each keypoint's descriptor to the nearest of each point's, and the observation (N,) of that."""
        observations = self._map.observations
        if not len(point):
            return np.zeros(0), np.zeros(0, np.int64)
        begin, end = (np.searchsorted(observations.point, point, side=side) for side in ("left", "right"))
        count = end - begin  # at least 1: what was never seen is not visible
        first = np.cumsum(count) - count
        pair = np.repeat(np.arange(len(point)), count)
        rows = np.arange(len(pair)) + (begin - first)[pair]
        alike = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            known = dequantize_descriptors(observations.descriptors[rows[part]])
            alike[part] = np.einsum("nd,nd->n", known, self._features.descriptors[keypoint[pair[part]]])
        np.nan_to_num(alike, copy=False, nan=-1.0, posinf=-1.0, neginf=-1.0)
        nearest = np.maximum.reduceat(alike, first)
        best = np.flatnonzero(alike == nearest[pair])
        _, place = np.unique(pair[best], return_index=True)  # the first of equals
        return np.sqrt(np.maximum(2 - 2 * nearest.astype(np.float64), 0)), rows[best[place]]

    def _fitted(self, pose: Rigid3d, found: GuidedPairs, sigma_px: float, known: PoseGaussian | None) -> Rigid3d:
        """Gauss-Newton on the squared errors of all pairs, each as likely as it is right, and of what is known."""
        world, seen, likely = self._used(found)
        weights, new = np.tile(likely, 2) * self._per_px(sigma_px), pose
        information = None if known is None else known.information
        for _ in range(_GAUSS_NEWTON):
            points = new.apply(world)
            if (known is None and len(points) < 3) or not (points[:, 2] > 0).all():  # too little to go by, or too far
                return pose
            depth = float(np.median(points[:, 2])) if len(points) else 1.0
            slopes, unit = pose_jacobian(points, depth), np.repeat([1.0, depth], 3)
            errors = (points[:, :2] / points[:, 2:] - seen).T.reshape(-1)
            normal, gradient = slopes.T @ (weights[:, None] * slopes), slopes.T @ (weights * errors)
            if information is not None:
                normal += unit[:, None] * information * unit
                gradient += unit * (information @ known.offset(new))
            try:
                step = -np.linalg.solve(normal, gradient)
            except np.linalg.LinAlgError:
                return pose
            if not np.isfinite(step).all():
                return pose
            turn, _ = cv2.Rodrigues(step[:3])
            new = Rigid3d.from_rotation(turn @ new.R, turn @ new.tvec + depth * step[3:])
        return new

    def _used(self, pairs: GuidedPairs) -> tuple[Array, Array, Array]:
        """Of the pairs that count: points (N, 3) in the world, where they are seen (N, 2) at depth 1, how likely right."""
        rays = self._camera.bearings(self._features.keypoints[pairs.keypoint])
        used = (pairs.likely > _LEAST) & (rays[:, 2] > _LEAST)
        return self._map.points3D[pairs.point[used]], rays[used, :2] / rays[used, 2:], pairs.likely[used]

    def _per_px(self, sigma_px: float) -> float:
        """The weight of a squared error at depth 1 where keypoints err by ``sigma_px``."""
        return float(self._camera.K[0, 0] * self._camera.K[1, 1]) / (sigma_px * self._unit_px) ** 2
