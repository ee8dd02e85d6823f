"""Matching: the rule of the two nearest of different points, refusals, and agreement with brute force."""

import numpy as np
import pytest

import core.localizer.matching as matching
from core.errors import InputError
from core.localizer.features import EXTRACTOR, dequantize_descriptors, quantize_descriptors
from core.localizer.matching import MatchConfig, match_features, match_to_map
from core.records import Features, Observations, SceneMap


def unit(rng, count):
    descriptors = rng.random((count, 128)) ** 4
    return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


def features_of(descriptors, extractor=EXTRACTOR):
    count = len(descriptors)
    keypoints = np.stack([np.arange(count), 2 * np.arange(count)], axis=1)
    return Features(keypoints, np.ones(count), np.zeros(count), descriptors, extractor)


def map_of(points, descriptors, extractor=EXTRACTOR):
    """A map whose observation t lies at pixel (t, 10 t) of image t mod 3."""
    rows = np.arange(len(points))
    count = int(max(points, default=-1)) + 1
    observations = Observations(
        np.asarray(points, np.int32),
        rows % 3,
        np.stack([rows, 10 * rows], axis=1).reshape(-1, 2),
        None if descriptors is None else quantize_descriptors(descriptors),
    )
    return SceneMap(np.zeros((count, 3)), np.zeros((count, 3)), (), observations, extractor)


def near(rng, descriptors, amount):
    moved = np.abs(descriptors + amount * rng.normal(size=descriptors.shape))
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def reference_matches(features, scene_map, ratio):
    """The rule of PAPER 3.2, one keypoint after the other."""
    stored = dequantize_descriptors(scene_map.observations.descriptors).astype(np.float64)
    found = {}
    for index, descriptor in enumerate(features.descriptors.astype(np.float64)):
        distances = np.linalg.norm(stored - descriptor, axis=1)
        best = int(distances.argmin())
        others = distances[scene_map.observations.point != scene_map.observations.point[best]]
        if distances[best] / others.min() < ratio:
            found[index] = (best, 1 - distances[best] / others.min())
    return found


@pytest.mark.parametrize("chunk", [7, 64, 100_000])
def test_matches_to_the_map_equal_brute_force_whatever_the_block_size(chunk, monkeypatch):
    monkeypatch.setattr(matching, "_MAP_CHUNK", chunk)
    monkeypatch.setattr(matching, "_QUERY_CHUNK", max(3, chunk // 4))
    rng = np.random.default_rng(0)
    points = np.sort(rng.integers(0, 120, 400))
    base = unit(rng, 120)
    scene_map = map_of(points, near(rng, base[points], 0.03))
    features = features_of(np.concatenate([near(rng, base[:80], 0.05), unit(rng, 60)]))
    expected = reference_matches(features, scene_map, 0.9)
    found = match_to_map(features, scene_map, MatchConfig(ratio=0.9, one_to_one=False))
    assert found.keypoint.tolist() == list(expected)
    assert len(found) > 60
    observation = [expected[k][0] for k in found.keypoint]
    assert found.point_ids.tolist() == points[observation].tolist()
    assert found.points2D_ref[:, 0].tolist() == observation
    assert found.reference_image.tolist() == [o % 3 for o in observation]
    assert np.allclose(found.scores, [expected[k][1] for k in found.keypoint], atol=1e-4)
    assert np.array_equal(found.points2D, features.keypoints[found.keypoint])


def test_the_second_nearest_of_the_same_point_does_not_spoil_the_ratio():
    rng = np.random.default_rng(1)
    base = unit(rng, 3)
    copies = near(rng, np.repeat(base[:1], 2, axis=0), 0.01)
    query = features_of(near(rng, base[:1], 0.01))
    same_point = map_of([0, 0, 1, 2], np.concatenate([copies, base[1:]]))
    assert match_to_map(query, same_point).point_ids.tolist() == [0]
    other_point = map_of([0, 1, 2, 3], np.concatenate([copies, base[1:]]))
    assert len(match_to_map(query, other_point, MatchConfig(ratio=0.7))) == 0


def test_observations_that_are_not_sorted_by_point_match_the_same():
    rng = np.random.default_rng(2)
    points = np.sort(rng.integers(0, 40, 120))
    descriptors = near(rng, unit(rng, 40)[points], 0.03)
    features = features_of(near(rng, descriptors[::3], 0.03))
    order = rng.permutation(120)
    plain = match_to_map(features, map_of(points, descriptors))
    shuffled = match_to_map(features, map_of(points[order], descriptors[order]))
    assert len(plain) > 10
    assert plain.point_ids.tolist() == shuffled.point_ids.tolist()
    assert order[shuffled.points2D_ref[:, 0].astype(int)].tolist() == plain.points2D_ref[:, 0].tolist()


def test_each_point_keeps_only_its_best_keypoint():
    rng = np.random.default_rng(3)
    base = unit(rng, 5)
    query = features_of(np.stack([near(rng, base[:1], 0.03)[0], base[0], base[1]]))
    scene_map = map_of(range(5), base)
    assert match_to_map(query, scene_map).keypoint.tolist() == [1, 2]
    assert match_to_map(query, scene_map, MatchConfig(one_to_one=False)).keypoint.tolist() == [0, 1, 2]


def test_exact_copies_in_different_points_are_never_matched():
    rng = np.random.default_rng(4)
    base = unit(rng, 1)
    stored = dequantize_descriptors(quantize_descriptors(base))
    assert len(match_to_map(features_of(stored), map_of([0, 1], np.repeat(base, 2, axis=0)), MatchConfig(ratio=1.0))) == 0


def test_a_map_of_one_point_can_still_be_matched():
    base = unit(np.random.default_rng(5), 2)
    assert match_to_map(features_of(base[:1]), map_of([0], base[:1])).point_ids.tolist() == [0]


def test_nothing_to_match_gives_no_matches():
    base = unit(np.random.default_rng(6), 4)
    assert len(match_to_map(features_of(np.zeros((0, 128))), map_of(range(4), base))) == 0
    assert len(match_to_map(features_of(base), map_of([], np.zeros((0, 128))))) == 0
    index_a, index_b, scores = match_features(features_of(base), features_of(np.zeros((0, 128))))
    assert (len(index_a), len(index_b), len(scores)) == (0, 0, 0)


def test_descriptors_of_different_extractors_are_refused_with_both_names():
    base = unit(np.random.default_rng(7), 4)
    with pytest.raises(InputError, match=r"'opencv-sift-root/1' cannot be matched to those of 'colmap-sift'"):
        match_to_map(features_of(base), map_of(range(4), base, "colmap-sift"))
    with pytest.raises(InputError, match="colmap-sift"):
        match_features(features_of(base), features_of(base, "colmap-sift"))


def test_a_map_without_descriptors_is_refused():
    with pytest.raises(InputError, match="no descriptors"):
        match_to_map(features_of(unit(np.random.default_rng(8), 4)), map_of(range(4), None))


def test_descriptors_that_are_not_finite_are_refused():
    base = unit(np.random.default_rng(9), 4)
    base[2, 5] = np.nan
    with pytest.raises(InputError, match="1 of 4 descriptors are not finite"):
        match_to_map(features_of(base), map_of([0], np.ones((1, 128)) / np.sqrt(128)))
    with pytest.raises(InputError, match="not finite"):
        match_features(features_of(base), features_of(base))


def test_image_matches_are_mutual_nearest_neighbours():
    rng = np.random.default_rng(10)
    base = unit(rng, 50)
    order = rng.permutation(50)
    a = features_of(np.concatenate([near(rng, base, 0.02), near(rng, base[:10], 0.04)]))
    b = features_of(base[order])
    index_a, index_b, scores = match_features(a, b)
    assert order[index_b].tolist() == index_a.tolist() == list(range(50))
    assert ((scores > 0.1) & (scores <= 1)).all()
    both = match_features(a, b, MatchConfig(one_to_one=False))[0]
    assert len(both) == 60
