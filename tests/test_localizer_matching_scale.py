"""Matching stays bounded in memory, and is the same in blocks, on some points only, and by torch."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.localizer import matching
from core.localizer.features import dequantize_descriptors, quantize_descriptors
from core.localizer.matching import MatchConfig, match_to_map, match_to_map_steps
from core.records import Features, Observations, SceneMap
from core.steps import finish


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_map(num_points, seen=2, seed=0):
    rng = np.random.default_rng(seed)
    descriptors = quantize_descriptors(unit(rng.random((num_points * seen, 128), np.float32)))
    point = np.repeat(np.arange(num_points), seen)
    observations = Observations(point, np.tile(np.arange(seen), num_points), np.zeros((len(point), 2)), descriptors)
    return SceneMap(rng.normal(size=(num_points, 3)), np.zeros((num_points, 3)), (), observations, "toy-sift")


def make_features(scene_map, count, seed=1):
    """Keypoints like map points chosen at random, and some unlike any."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(scene_map.observations.point), count)
    descriptors = dequantize_descriptors(scene_map.observations.descriptors[rows])
    descriptors = unit(np.abs(descriptors + rng.normal(0, 0.02, descriptors.shape)))
    none = np.zeros(count)
    return Features(rng.uniform(0, 500, (count, 2)), none, none, descriptors, "toy-sift"), scene_map.observations.point[rows]


def by_loop(features, scene_map, ratio):
    """Nearest of all descriptors and nearest of another point, one keypoint after the other."""
    descriptors, point = dequantize_descriptors(scene_map.observations.descriptors), scene_map.observations.point
    found = {}
    for k, vector in enumerate(features.descriptors):
        distance = np.linalg.norm(descriptors.astype(np.float64) - vector, axis=1)
        best = distance.argmin()
        other = distance[point != point[best]].min()
        if distance[best] < ratio * other:
            found[k] = point[best]
    return found


def pairs(matches):
    return dict(zip(matches.keypoint.tolist(), matches.point_ids.tolist()))


def test_blocks_and_a_loop_over_keypoints_give_the_same_matches(monkeypatch):
    scene_map = make_map(300)
    features, truth = make_features(scene_map, 80)
    config = MatchConfig(one_to_one=False)
    expected = by_loop(features, scene_map, config.ratio)
    assert len(expected) > 60
    for size in (16_384, 100, 7):
        monkeypatch.setattr(matching, "_MAP_CHUNK", size)
        monkeypatch.setattr(matching, "_QUERY_CHUNK", max(3, size // 10))
        assert pairs(match_to_map(features, scene_map, config)) == expected
    assert np.mean([truth[k] == point for k, point in expected.items()]) > 0.95


def test_torch_gives_the_matches_of_numpy():
    scene_map = make_map(400)
    features, _ = make_features(scene_map, 100)
    block = dequantize_descriptors(scene_map.observations.descriptors)
    points = scene_map.observations.point
    ours = matching._block_two(features.descriptors @ block.T, points)
    theirs = matching._block_two_torch(*(torch.as_tensor(np.array(a)) for a in (features.descriptors, block, points)))
    assert np.array_equal(theirs[0].numpy(), ours[0])
    assert np.allclose(theirs[1].numpy(), ours[1], atol=1e-6)
    assert np.allclose(theirs[2].numpy(), ours[2], atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_matches_of_the_processor():
    scene_map = make_map(5000)
    features, _ = make_features(scene_map, 500)
    on_device = finish(match_to_map_steps(features, scene_map, device="cuda"))
    assert np.mean([pairs(match_to_map(features, scene_map)).get(k) == p for k, p in pairs(on_device).items()]) > 0.99


def test_only_candidates_are_matched_whatever_the_order_of_observations():
    scene_map = make_map(200)
    features, _ = make_features(scene_map, 60)
    candidates = np.arange(200) % 3 == 0
    found = match_to_map(features, scene_map, candidates=candidates)
    assert len(found)
    assert candidates[found.point_ids].all()
    old = scene_map.observations
    order = np.random.default_rng(2).permutation(len(old.point))
    shuffled = Observations(old.point[order], old.image[order], old.points2D[order], old.descriptors[order])
    again = match_to_map(features, replace(scene_map, observations=shuffled), candidates=candidates)
    assert pairs(again) == pairs(found)
    assert np.array_equal(shuffled.point[np.isin(shuffled.point, again.point_ids)] % 3, np.zeros(2 * len(again)))


def test_no_candidates_give_no_matches_and_a_mask_of_another_map_is_an_error():
    scene_map = make_map(50)
    features, _ = make_features(scene_map, 10)
    assert len(match_to_map(features, scene_map, candidates=np.zeros(50, bool))) == 0
    with pytest.raises(ValueError, match=r"\(49,\), expected \(50,\)"):
        match_to_map(features, scene_map, candidates=np.zeros(49, bool))


def test_memory_does_not_grow_with_the_map(monkeypatch):
    monkeypatch.setattr(matching, "_MAP_CHUNK", 1000)
    monkeypatch.setattr(matching, "_QUERY_CHUNK", 64)
    peaks = []
    for num_points in (5_000, 40_000):
        scene_map = make_map(num_points)
        features, _ = make_features(scene_map, 128)
        for candidates in (None, np.ones(num_points, bool)):
            tracemalloc.start()
            match_to_map(features, scene_map, candidates=candidates)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    block = 1000 * 128 * 4
    assert max(peaks[0], peaks[2]) < 6 * block
    # Of the larger map nothing more is held than a few indices for each observation; its descriptors are 10 MB.
    assert peaks[2] - peaks[0] < 70_000 * 24
    assert peaks[3] - peaks[1] < 70_000 * 40
