"""The circle on which a match leaves the camera, when gravity and the camera's height are known (PAPER 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Camera
from core.records import Matches2D3D, PointVisibility, QueryPrior, SceneMap

_PIXEL_DEG, _POINT_M = 0.2, 0.05  # what keypoints and map points err by, however exact gravity and height are
_STEEPEST = np.radians(89.5)


@dataclass(frozen=True, slots=True, eq=False)
class Circles:
    """One circle a match, in the upright world (z up) that ``upright_from_world`` (3, 3) turns the world into.

    ``points`` (M, 3) the matched points; ``radius`` (M,) m, NaN where the match cannot be right; ``height`` of every
    camera centre. The camera stands at ``points + radius (cos, sin)`` and looks back: ``axes`` (M, 3, 3) holds, in its
    columns, towards the point and level, to the left of that, and up, in the camera frame.
    """

    points: Array
    radius: Array
    height: float
    axes: Array
    upright_from_world: Array

    def positions(self, num_angles: int) -> Array:
        """Camera centres (M, A, 3) in the world at equally spaced angles."""
        angles = 2 * np.pi * np.arange(num_angles) / num_angles
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        level = self.points[:, None, :2] + self.radius[:, None, None] * around
        height = np.full((*level.shape[:2], 1), self.height)
        return np.concatenate([level, height], axis=2) @ self.upright_from_world


def upright(down: Array) -> Array:
    """The smallest rotation (3, 3) that turns ``down`` (3,), a unit vector, into (0, 0, -1)."""
    target = np.array([0.0, 0.0, -1.0])
    cosine = float(down @ target)
    if cosine < -1 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(down, target)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def circles_of_matches(
    matches: Matches2D3D,
    scene_map: SceneMap,
    visibility: PointVisibility,
    camera: Camera,
    prior: QueryPrior,
    down: Array,
    distance_slack: float,
) -> Circles:
    """Find the circle of each match from the elevation of its ray and the height of its point over the camera.

    Errors of gravity and height (twice each), as stated but not below what keypoints and map points err by, leave a range
    of radii. The one taken is the nearest to the exact one from where the point's distance is one that it was mapped from,
    with slack. Without any the match cannot be right.
    """
    turn = upright(down)
    points = scene_map.points3D[matches.point_ids] @ turn.T
    finite = np.isfinite(matches.points2D).all(axis=1) & np.isfinite(points).all(axis=1)
    rays = np.tile([0.0, 0.0, 1.0], (len(matches), 1))
    rays[finite] = camera.bearings(matches.points2D[finite])
    up = -prior.gravity_in_camera
    rise = points[:, 2] - prior.height_m
    low, exact, high = _radii(rise, np.arcsin(np.clip(rays @ up, -1, 1)), prior)
    nearest = visibility.min_distance[matches.point_ids].astype(np.float64) / distance_slack
    farthest = visibility.max_distance[matches.point_ids].astype(np.float64) * distance_slack
    low = np.maximum(low, _leg(nearest, rise, 0.0))
    high = np.minimum(high, _leg(farthest, rise, np.nan))
    radius = np.clip(exact, low, high)
    radius[~(finite & (low <= high) & (radius > 1e-6) & np.isfinite(radius))] = np.nan
    forward = rays - (rays @ up)[:, None] * up
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-12)
    axes = np.stack([forward, np.cross(up, forward), np.broadcast_to(up, forward.shape)], axis=2)
    return Circles(points, radius, prior.height_m, axes, turn)


def _leg(distance: Array, rise: Array, none: float) -> Array:
    """The level part (M,) of a distance to a point ``rise`` m above; ``none`` where the distance is too short for that."""
    squared = distance**2 - rise**2
    return np.where(squared >= 0, np.sqrt(np.maximum(squared, 0)), none)


def _radii(rise: Array, elevation: Array, prior: QueryPrior) -> tuple[Array, Array, Array]:
    """Smallest, exact and largest radius (M,) of points ``rise`` m above the camera at an elevation in radians.

    The quotient of two intervals, where it is positive: NaN where it never is; the exact one is infinite beyond them.
    """
    tilt = 2 * np.radians(max(prior.gravity_error_deg, _PIXEL_DEG))
    lift = 2 * max(prior.height_error_m, _POINT_M)
    slope, least, most = (np.tan(np.clip(elevation + by, -_STEEPEST, _STEEPEST)) for by in (0.0, -tilt, tilt))
    above = (rise + lift > 0) & (most > 0)
    below = (rise - lift < 0) & (least < 0)
    low, high = np.full(len(rise), np.nan), np.full(len(rise), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for possible, r, s_least, s_most in ((above, rise, least, most), (below, -rise, -most, -least)):
            low = np.where(possible, np.fmin(low, np.maximum(r - lift, 0) / s_most), low)
            high = np.where(possible, np.fmax(high, np.where(s_least > 0, (r + lift) / s_least, np.inf)), high)
        exact = rise / slope
    return low, np.where(exact > 0, exact, np.inf), high
