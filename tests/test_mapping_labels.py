"""Points take the label that most of their observations have."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from core.geometry import Camera, Rigid3d
from core.mapping.labels import label_map, label_map_steps, majority
from core.records import ImageData, LabelMap, Observations, SceneMap

CAMERA = Camera.pinhole(8, 6, 5.0)


def a_map(points2D, image, point, num_points=3) -> SceneMap:
    images = tuple(ImageData(f"{k}.png", None, "", CAMERA, Rigid3d.identity()) for k in range(3))
    observations = Observations(point, image, points2D)
    return SceneMap(np.zeros((num_points, 3)), np.zeros((num_points, 3)), images, observations)


def constant(label, num_labels=10, vocabulary="v") -> LabelMap:
    return LabelMap(np.full((6, 8), label), num_labels, vocabulary)


def test_majority_agrees_with_counting_by_hand():
    rng = np.random.default_rng(0)
    point, votes = np.sort(rng.integers(0, 200, 2000)), rng.integers(0, 4, 2000)
    labels, share = majority(point, votes, 205)
    for p in range(200):
        counts = Counter(votes[point == p].tolist())
        if counts:
            most = max(counts.values())
            assert labels[p] == min(label for label, count in counts.items() if count == most)
            assert share[p] == most / sum(counts.values())
    assert not labels[200:].any()
    assert not share[200:].any()


def test_ties_go_to_the_lowest_label_and_unseen_points_to_share_zero():
    scene_map = a_map([[1, 1]] * 5, [0, 1, 0, 1, 2], [0, 0, 1, 1, 1])
    result = label_map(scene_map, [constant(7), constant(2), constant(7)])
    assert result.labels.tolist() == [2, 7, 0]
    np.testing.assert_allclose(result.vote_share, [0.5, 2 / 3, 0])
    assert (result.num_labels, result.vocabulary) == (10, "v")


def test_a_keypoint_reads_the_nearest_pixel_and_stays_in_the_image():
    pixels = np.arange(48).reshape(6, 8)
    scene_map = a_map([[2.4, 3.4], [2.6, 3.6], [7.4, 5.4]], [0, 0, 0], [0, 1, 2])
    result = label_map(scene_map, lambda _image: LabelMap(pixels, 48, "v"))
    assert result.labels.tolist() == [3 * 8 + 2, 4 * 8 + 3, 47]


def test_every_image_is_asked_once_and_can_be_cancelled_between():
    asked = []
    scene_map = a_map([[1, 1]], [0], [0])

    def segment(image):
        asked.append(image.name)
        return constant(1)

    steps = label_map_steps(scene_map, segment)
    next(steps)
    next(steps)
    steps.close()
    assert asked == ["0.png"]
    label_map(scene_map, segment)
    assert asked == ["0.png", "0.png", "1.png", "2.png"]


def test_mixed_vocabularies_and_missing_label_maps_are_refused():
    scene_map = a_map([[1, 1]], [0], [0])
    for maps in ([constant(1), constant(1, vocabulary="w"), constant(1)], [constant(1)], [constant(1), constant(1, 11)] * 2):
        with pytest.raises(ValueError, match="expected a label map of vocabulary"):
            label_map(scene_map, maps)
