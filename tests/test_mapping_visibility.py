"""The visibility of a point is that of trying all pairs of its views (PAPER 3.1)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import core.mapping.visibility as module
from core.geometry import Camera, Rigid3d
from core.mapping.visibility import point_visibility
from core.records import ImageData, Observations, SceneMap


def random_map(num_points=40, num_images=12, seed=0) -> SceneMap:
    rng = np.random.default_rng(seed)
    camera = Camera.pinhole(64, 48, 50)
    images = tuple(
        ImageData(f"{k}", None, "", camera, Rigid3d(rng.normal(size=4), rng.normal(size=3) * 5)) for k in range(num_images)
    )
    seen = np.argwhere(rng.random((num_points, num_images)) < rng.uniform(0, 1, (num_points, 1)))
    observations = Observations(seen[:, 0], seen[:, 1], np.zeros((len(seen), 2)))
    return SceneMap(rng.normal(size=(num_points, 3)), np.zeros((num_points, 3)), images, observations)


@pytest.mark.parametrize("max_pairs", [4_000_000, 30])
def test_visibility_is_that_of_all_pairs(monkeypatch, max_pairs):
    monkeypatch.setattr(module, "_MAX_PAIRS", max_pairs)  # small chunks too
    scene_map = random_map()
    visibility = point_visibility(scene_map)
    counted = set()
    for p, point in enumerate(scene_map.points3D):
        views = scene_map.observations.image[scene_map.observations.point == p]
        counted.add(min(len(views), 2))
        to_camera = [scene_map.images[i].cam_from_world.center() - point for i in views]
        if not to_camera:
            assert (visibility.angle_rad[p], visibility.min_distance[p], visibility.max_distance[p]) == (0, 0, 0)
            continue
        distances = np.linalg.norm(to_camera, axis=1)
        np.testing.assert_allclose(visibility.min_distance[p], distances.min(), rtol=1e-6)
        np.testing.assert_allclose(visibility.max_distance[p], distances.max(), rtol=1e-6)
        units = [v / n for v, n in zip(to_camera, distances, strict=True)]
        pairs = list(itertools.combinations(units, 2)) or [(units[0], units[0])]
        angle, (a, b) = max(((np.arccos(np.clip(a @ b, -1, 1)), (a, b)) for a, b in pairs), key=lambda item: item[0])
        np.testing.assert_allclose(visibility.angle_rad[p], angle, atol=1e-6)
        np.testing.assert_allclose(visibility.direction[p], (a + b) / np.linalg.norm(a + b), atol=1e-5)
    assert counted == {0, 1, 2}


def test_a_map_without_points_has_empty_visibility():
    empty = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    assert point_visibility(SceneMap(np.zeros((0, 3)), np.zeros((0, 3)), (), empty)).angle_rad.shape == (0,)


def test_an_image_without_pose_that_sees_a_point_is_refused():
    images = (ImageData("a", None),)
    scene_map = SceneMap(np.zeros((1, 3)), np.zeros((1, 3)), images, Observations([0], [0], np.zeros((1, 2))))
    with pytest.raises(ValueError, match="has no pose"):
        point_visibility(scene_map)
