"""What each view of a map point said of it, beyond the paper: a label that depends on how near the camera is stays known.

The paper keeps one label a point, the majority's. Labels follow how large a surface appears: a wall at 40 m and at 5 m may
bear different ones, and a query beside it sees the label of the views from as near, not that of most views.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.geometry import Array
from core.records import VIEW_STEPS, ImageData, SceneMap, view_step_px
from core.scene.colmap import rows_by_image

_MAX_ROWS = 4_000_000  # what is around the keypoints is left out where it would make more rows
_CELLS_ACROSS = 16


@dataclass(frozen=True, slots=True, eq=False)
class LabelledViews:
    """R rows: the place ``points3D`` (R, 3) m at or beside the map point ``point`` (R,) bears ``labels`` (R,) i64 when seen
    from between ``near`` and ``far`` (R,) m; ``weights`` (R,): what it counts.
    """

    point: Array
    points3D: Array
    labels: Array
    near: Array
    far: Array
    weights: Array


def views_of(scene_map: SceneMap, point_ids: Array) -> tuple[Array, Array]:
    """The views of each of M points: (E,) which of the M, and (E,) the row of ``observations``."""
    seen = scene_map.observations.point
    first, end = (np.searchsorted(seen, point_ids.astype(seen.dtype), side) for side in ("left", "right"))
    count = end - first
    which = np.repeat(np.arange(len(point_ids)), count)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + first[which]


@lru_cache(maxsize=2)  # every query of a map asks for the same
def labels_by_distance(scene_map: SceneMap, slack: float) -> LabelledViews:
    """A row for every label that a point bears, from nearest to farthest; its distances are those of the views that say so.

    The border between two views is half way, geometrically; beside the nearest and the farthest view is room of ``slack``
    times their distances. One row a point, with the majority's label, where views are not known; none for a point that no
    image sees. The map needs labels and visibility.
    """
    if scene_map.labels.views is None:
        return _majority(scene_map, np.ones(len(scene_map.points3D)), slack)
    order, near, far = _parts(scene_map, slack)
    point, labels = scene_map.observations.point[order], scene_map.labels.views[order, 0].astype(np.int64)
    starts = np.ones(len(order), bool)
    starts[1:] = (point[1:] != point[:-1]) | (labels[1:] != labels[:-1])
    first, last = np.flatnonzero(starts), np.flatnonzero(np.roll(starts, -1))
    rows = point[first]
    return LabelledViews(rows, scene_map.points3D[rows], labels[first], near[first], far[last], np.ones(len(rows)))


def labels_around(scene_map: SceneMap, slack: float) -> LabelledViews:
    """A row for every view of a point and for what is around its keypoint there, at the same depth: mostly the same surface.

    Rows share the cells of their image: the more lie in one, the less each weighs, or an image's textured corner would
    speak for all of it. ``slack`` as for ``labels_by_distance``. One row a point, with the majority's label and its vote
    share, where views are not known.
    """
    if scene_map.labels.views is None:
        return _majority(scene_map, scene_map.labels.vote_share, slack)
    observations = scene_map.observations
    steps = VIEW_STEPS if len(observations.point) * len(VIEW_STEPS) <= _MAX_ROWS else VIEW_STEPS[:1]
    order, near, far = _parts(scene_map, slack)
    back = np.argsort(order)
    parts = []
    for image, rows in zip(scene_map.images, rows_by_image(observations, len(scene_map.images))):
        if len(rows):
            which, column, places, weights = _around(image, scene_map, rows, np.array(steps))
            seen = rows[which]
            labels = scene_map.labels.views[seen, column].astype(np.int64)
            parts.append((observations.point[seen], places, labels, near[back[seen]], far[back[seen]], weights))
    if not parts:
        return _majority(scene_map, scene_map.labels.vote_share, slack)
    point, places, labels, nearest, farthest, weights = map(np.concatenate, zip(*parts))
    return LabelledViews(point, places, labels, nearest, farthest, weights / weights.mean())


def _majority(scene_map: SceneMap, weights: Array, slack: float) -> LabelledViews:
    visibility = scene_map.visibility
    rows = np.flatnonzero(visibility.max_distance > 0)
    labels = scene_map.labels.labels[rows].astype(np.int64)
    limits = visibility.min_distance[rows] / slack, visibility.max_distance[rows] * slack
    return LabelledViews(rows, scene_map.points3D[rows], labels, *limits, weights[rows])


def _parts(scene_map: SceneMap, slack: float) -> tuple[Array, Array, Array]:
    """Observations (O,) sorted by point and distance; between which distances (O,), (O,) each is its point's nearest view."""
    observations = scene_map.observations
    poses = [image.cam_from_world for image in scene_map.images]
    centers = np.array([np.full(3, np.nan) if pose is None else pose.center() for pose in poses]).reshape(-1, 3)
    distance = np.linalg.norm(centers[observations.image] - scene_map.points3D[observations.point], axis=1)
    order = np.lexsort((distance, observations.point))
    point, distance = observations.point[order], distance[order]
    border = np.sqrt(distance[1:] * distance[:-1])
    inner = point[1:] == point[:-1]
    near, far = distance / slack, distance * slack
    near[1:][inner], far[:-1][inner] = border[inner], border[inner]
    return order, near, far


def _around(image: ImageData, scene_map: SceneMap, rows: Array, steps: Array) -> tuple[Array, Array, Array, Array]:
    """Which of the image's observations ``rows``, which of the ``steps``, the place (R, 3) in the world and its weight."""
    camera, pose = image.camera, image.cam_from_world
    points = scene_map.points3D[scene_map.observations.point[rows]]
    depth = pose.apply(points)[:, 2]
    pixels = scene_map.observations.points2D[rows].astype(np.float64)[:, None] + view_step_px(camera.width) * steps
    inside = (pixels >= 0).all(axis=2) & (pixels <= [camera.width - 1, camera.height - 1]).all(axis=2)
    inside &= (depth > 0)[:, None]
    inside[:, 0] = True
    which, column = inside.nonzero()
    pixels = pixels[inside]
    bearings = camera.bearings(pixels)
    places = pose.inverse().apply(bearings * (depth[which] / np.maximum(bearings[:, 2], 1e-6))[:, None])
    places[column == 0] = points[which[column == 0]]
    cell = np.clip(pixels * (_CELLS_ACROSS / camera.width), 0, None).astype(np.int64) @ [1, 4 * _CELLS_ACROSS]
    crowd = np.unique(cell, return_inverse=True, return_counts=True)
    return which, column, places, 1 / (crowd[2][crowd[1].reshape(-1)] + len(steps))
