"""From where the points of a map were seen (PAPER 3.1)."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.records import PointVisibility, SceneMap

_MAX_PAIRS = 4_000_000  # memory bound of one chunk


def point_visibility(scene_map: SceneMap) -> PointVisibility:
    """Find distances and the widest pair of viewing directions of every point, exactly.

    A point seen once has angle 0; a point that no image sees has angle 0, distances 0 and direction 0.
    Raises ValueError when an image that sees a point has no pose.
    """
    observations, num_points = scene_map.observations, len(scene_map.points3D)
    to_camera = _centers(scene_map)[observations.image] - scene_map.points3D[observations.point]
    distance = np.linalg.norm(to_camera, axis=1)
    units = to_camera / np.maximum(distance, 1e-12)[:, None]
    starts = np.searchsorted(observations.point, np.arange(num_points + 1))
    counts = np.diff(starts)
    direction, angle = np.zeros((num_points, 3)), np.zeros(num_points)
    for count in np.unique(counts[counts > 0]):
        points = np.flatnonzero(counts == count)
        size = max(1, _MAX_PAIRS // int(count) ** 2)
        for chunk in (points[k : k + size] for k in range(0, len(points), size)):
            rows = starts[chunk][:, None] + np.arange(count)
            direction[chunk], angle[chunk] = _widest(units[rows])
    near, far = np.zeros(num_points), np.zeros(num_points)
    seen = counts > 0
    if seen.any():  # the starts of unseen points coincide with the next seen one's
        near[seen] = np.minimum.reduceat(distance, starts[:-1][seen])
        far[seen] = np.maximum.reduceat(distance, starts[:-1][seen])
    return PointVisibility(direction, angle, near, far)


def _centers(scene_map: SceneMap) -> Array:
    poses = [image.cam_from_world for image in scene_map.images]
    seeing = np.unique(scene_map.observations.image)
    if any(poses[i] is None for i in seeing):
        raise ValueError("an image of the map that sees points has no pose")
    return np.array([pose.center() if pose else np.full(3, np.nan) for pose in poses]).reshape(-1, 3)


def _widest(units: Array) -> tuple[Array, Array]:
    """For (G, n, 3) unit directions: the mean direction (G, 3) of the widest pair and its angle (G,)."""
    groups, count = units.shape[:2]
    cosines = (units @ units.transpose(0, 2, 1)).reshape(groups, -1)
    first, second = np.divmod(cosines.argmin(axis=1), count)
    a, b = (np.take_along_axis(units, index[:, None, None], axis=1)[:, 0] for index in (first, second))
    angle = 2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    middle = a + b
    return middle / np.maximum(np.linalg.norm(middle, axis=1), 1e-12)[:, None], angle
