"""Matches that came with a query: hloc's, of any matcher, from images to images; here carried on to the map's points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from core.errors import SceneError
from core.geometry import Array
from core.localizer.matching import best_of_each, matches_at
from core.records import FeatureFile, Features, ImageData, Matches2D3D, SceneMap
from core.scene.feature_files import open_features
from core.scene.hloc_matches import read_matches
from core.scene.image_names import inside

_SAME_PX = 0.6  # a keypoint of the file and the map's observation of it, as of core.scene.described


def given_matches(query: ImageData, features: Features, scene_map: SceneMap, one_to_one: bool) -> Matches2D3D | None:
    """Carry the matches in ``query.features.matches`` on to the points that the matched keypoints observe.

    Where a keypoint is matched to several points it gets that of most images, then of the highest score. ``features`` may
    lack keypoints of the file. None where the file has no match of this query. Raises SceneError, led by the file.
    """
    keypoint, observation, scores = _observed(query, scene_map)
    if not len(keypoint):
        return None
    kept = _kept(query.features, features)
    valid = kept[keypoint] >= 0
    keypoint, observation, scores = kept[keypoint][valid], observation[valid], scores[valid]
    point = scene_map.observations.point[observation]
    _, pair, votes = np.unique(np.stack([keypoint, point], 1), axis=0, return_inverse=True, return_counts=True)
    order = np.lexsort((-scores, -votes[pair.ravel()], keypoint))
    _, first = np.unique(keypoint[order], return_index=True)
    best = order[first]
    if one_to_one:
        chosen = best_of_each(point[best], scores[best], np.arange(len(best)))
        best = best[chosen]
    return matches_at(features, scene_map, keypoint[best], observation[best], scores[best])


def _observed(query: ImageData, scene_map: SceneMap) -> tuple[Array, Array, Array]:
    """Keypoints of the query's file, the observations that they are matched to (N,) i64, and scores (N,) f32."""
    source, observations = query.features, scene_map.observations
    index_of = {inside(image.name): i for i, image in enumerate(scene_map.images)}
    found: list[tuple[Array, Array, Array]] = []
    with open_features(source.path) as reader:
        count = len(reader.keypoints(source.key))
        for name, index, scores in read_matches(source.matches, source.key, index_of):
            rows = np.flatnonzero(observations.image == index_of[name])
            if name not in reader or not len(rows):
                continue
            there = reader.keypoints(name)[:, :2]
            if len(index) and (index.min() < 0 or (index >= [count, len(there)]).any()):
                raise SceneError(
                    f"{source.matches}: matches keypoints of {source.key!r} and {name!r} that {source.path} has not"
                )
            far, row = cKDTree(observations.points2D[rows]).query(there[index[:, 1]], distance_upper_bound=_SAME_PX)
            near = np.isfinite(far)
            found.append((index[near, 0], rows[row[near]], scores[near]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    keypoint, observation, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    return keypoint, observation, scores


def _kept(source: FeatureFile, features: Features) -> Array:
    """For each keypoint (K,) of the file its place among ``features``, which lack some of them; -1 for these."""
    with open_features(source.path) as reader:
        stored = reader.keypoints(source.key)[:, :2]
    kept, place = np.full(len(stored), -1, np.int64), 0
    for number, keypoint in enumerate(stored):
        if place < len(features) and np.allclose(keypoint, features.keypoints[place]):
            kept[number], place = place, place + 1
    return kept
