"""What the tests of models from other programs share: features of queries, comparison of a scene with the truth."""

from __future__ import annotations

import numpy as np

from core.geometry import rotation_angle_deg
from core.images import read_image
from core.localizer.features import extract_features
from core.localizer.pipeline import localize
from core.steps import finish


def features_of(image):
    return extract_features(read_image(image.path))


def same_map(found, truth, atol=1e-6, descriptors=True):
    """Both maps hold the same images, points, observations and descriptors; images in the order of their names."""
    names = [image.name for image in truth.images]
    assert sorted(image.name for image in found.images) == sorted(names)
    order = np.array([names.index(image.name) for image in found.images])
    for image, i in zip(found.images, order, strict=True):
        true = truth.images[i]
        assert np.linalg.norm(image.cam_from_world.center() - true.cam_from_world.center()) < atol
        assert rotation_angle_deg(image.cam_from_world, true.cam_from_world) < atol * 60
        assert (image.camera.width, image.camera.height) == (true.camera.width, true.camera.height)
        np.testing.assert_allclose(image.camera.K, true.camera.K, atol=atol)
    np.testing.assert_allclose(found.points3D, truth.points3D, atol=atol)
    np.testing.assert_array_equal(found.rgb, truth.rgb)
    ours, true = found.observations, truth.observations
    rows, true_rows = np.lexsort((order[ours.image], ours.point)), np.lexsort((true.image, true.point))
    np.testing.assert_array_equal(ours.point[rows], true.point[true_rows])
    np.testing.assert_array_equal(order[ours.image[rows]], true.image[true_rows])
    np.testing.assert_allclose(ours.points2D[rows], true.points2D[true_rows], atol=max(atol, 1e-4))
    if descriptors:
        assert ours.descriptors is not None
        unit = [d.astype(np.float32) for d in (ours.descriptors[rows], true.descriptors[true_rows])]
        unit = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in unit]
        np.testing.assert_allclose(unit[0], unit[1], atol=2e-3)


def errors_of_queries(scene, truth):
    """Distance in m and angle in degrees of each query's pose from the truth; the scene itself knows none."""
    poses = {query.name: query.cam_from_world for query in truth.queries}
    errors = []
    for query in scene.queries:
        found = finish(localize(query, scene.map)).result
        assert found.failure is None, found.failure
        true = poses[query.name]
        distance = np.linalg.norm(found.cam_from_world.center() - true.center())
        errors.append((distance, rotation_angle_deg(found.cam_from_world, true)))
    return np.array(errors)
