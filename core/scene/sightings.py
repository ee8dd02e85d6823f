"""Where the images of the map saw what was matched."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.records import Matches2D3D, SceneMap


def matches_seen_in(matches: Matches2D3D, scene_map: SceneMap, image: int | None) -> tuple[Array, Array]:
    """Matches whose point was seen in map image ``image``: their indices (S,) i64 and the pixels (S, 2) f32 there.

    These are the lines to draw between the query and that image; the inliers among them are its number in the ranking.
    None, an image that is not of the map, saw no point.
    """
    observations = scene_map.observations
    rows = np.flatnonzero(observations.image == (-1 if image is None else image))
    row_of_point = np.full(len(scene_map.points3D), -1)
    row_of_point[observations.point[rows[::-1]]] = rows[::-1]  # the first, where one image saw a point twice
    row = row_of_point[matches.point_ids]
    index = np.flatnonzero(row >= 0)
    matched_here = matches.reference_image[index] == image  # the observation that was matched goes before others
    return index, np.where(matched_here[:, None], matches.points2D_ref[index], observations.points2D[row[index]])
