"""Drawing by weights: the right samples as often as the weights say, and a stop when the weights say so."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from test_localizer_ransac import OPENCV, PINHOLE, THIN_PRISM, map_of, matches_of, problem

from core.evaluation.errors import pose_error
from core.geometry import Rigid3d
from core.localizer.absolute_pose import AbsolutePose
from core.localizer.lo_ransac import draw_samples, iterations_needed, lo_ransac, sample_chance
from core.localizer.ransac import RansacConfig, estimate_pose, log10_chance_weighted


def exact_chance(weights, inliers, size):
    """Sum over all samples, one by one."""
    products = {c: np.prod(weights[list(c)]) for c in itertools.combinations(range(len(weights)), size)}
    right = sum(value for sample, value in products.items() if inliers[list(sample)].all())
    return right / sum(products.values())


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_chance_of_a_sample_of_inliers_is_the_share_of_their_products(size):
    rng = np.random.default_rng(size)
    weights, inliers = rng.exponential(size=9) ** 2, rng.random(9) < 0.7
    assert sample_chance(weights, inliers, size) == pytest.approx(exact_chance(weights, inliers, size), rel=1e-9)


def test_with_equal_weights_the_chance_is_that_of_plain_ransac():
    inliers = np.arange(50) < 20
    assert sample_chance(np.ones(50), inliers, 3) == pytest.approx(20 * 19 * 18 / (50 * 49 * 48))
    assert sample_chance(np.ones(50), np.zeros(50, bool), 3) == 0
    assert sample_chance(np.ones(50), np.ones(50, bool), 3) == 1


def test_samples_are_distinct_and_as_frequent_as_their_weights_say():
    rng = np.random.default_rng(0)
    weights, inliers = np.array([5.0, 1, 3, 0, 2, 0.5, 4]), np.array([1, 1, 1, 0, 0, 0, 1], bool)
    samples = draw_samples(np.cumsum(weights), 40_000, 3, rng)
    assert all(len(set(sample)) == 3 for sample in samples.tolist())
    assert 3 not in samples
    expected = exact_chance(weights, inliers, 3)
    assert inliers[samples].all(axis=1).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / 40_000))


def test_weights_on_one_alone_still_give_samples():
    weights = np.array([1.0, 1e-12, 1e-12, 0, 1e-12])
    samples = draw_samples(np.cumsum(weights), 50, 3, np.random.default_rng(0))
    assert all(len(set(sample)) == 3 for sample in samples.tolist())
    assert 3 not in samples


def test_weights_that_a_running_sum_swallows_are_drawn_all_the_same():
    matches, scene_map, _ = problem(PINHOLE, outliers=0.3, noise_px=0.5)
    weights = np.full(len(matches), 1e-30)
    weights[:2] = 1.0
    result = estimate_pose(matches, scene_map, PINHOLE, weights=weights)
    assert result.failure is None


def test_iterations_follow_from_the_chance():
    assert iterations_needed(1.0, 0.99) == 1
    assert iterations_needed(0.5, 0.99) == 7  # 1 - 0.5^7 = 0.992
    assert iterations_needed(0.0, 0.99) > 1e9


@pytest.mark.parametrize("camera", [PINHOLE, OPENCV, THIN_PRISM], ids=lambda camera: camera.model)
def test_drawing_by_weights_recovers_the_pose(camera):
    matches, scene_map, pose = problem(camera, outliers=0.6, noise_px=0.5)
    weights = np.linspace(0.1, 1, len(matches))
    result = estimate_pose(matches, scene_map, camera, weights=weights)
    assert result.failure is None
    assert pose_error(result.cam_from_world, pose).position_m < 0.05
    plain = estimate_pose(matches, scene_map, camera)
    assert np.abs(result.cam_from_world.matrix() - plain.cam_from_world.matrix()).max() < 1e-3
    assert np.array_equal(result.inlier_mask, plain.inlier_mask)


def test_equal_weights_give_the_poses_that_poselib_gives():
    config = RansacConfig(progressive=False)
    for seed in range(25):
        matches, scene_map, pose = problem(count=120, outliers=0.2 + 0.02 * seed, noise_px=1.0, seed=seed)
        found = own_pose(matches, scene_map, np.ones(120), seed)
        reference = estimate_pose(matches, scene_map, PINHOLE, config, seed).cam_from_world
        ours, theirs = pose_error(found, pose), pose_error(reference, pose)
        assert ours.position_m < max(1.2 * theirs.position_m, theirs.position_m + 0.01)
        assert ours.rotation_deg < max(1.2 * theirs.rotation_deg, theirs.rotation_deg + 0.02)


def own_pose(matches, scene_map, weights, seed):
    estimator = AbsolutePose(matches.points2D, scene_map.points3D, PINHOLE, 8.0)
    found = lo_ransac(estimator, weights, min_iterations=100, max_iterations=10_000, confidence=0.9999, seed=seed)
    pose = estimator.in_world(found.model)
    return Rigid3d.from_rotation(pose[:, :3], pose[:, 3])


def test_good_weights_find_what_equal_ones_miss_and_stop_early():
    matches, scene_map, pose = problem(count=1500, outliers=0.98, noise_px=0.5)
    weights = np.where(np.arange(1500) >= 1470, 1.0, 0.01)
    few = RansacConfig(max_iterations=2000, progressive=False)
    blind = estimate_pose(matches, scene_map, PINHOLE, few)
    assert blind.failure
    found = estimate_pose(matches, scene_map, PINHOLE, few, weights=weights)
    assert pose_error(found.cam_from_world, pose).position_m < 0.2
    assert found.stats.num_iterations < 200  # chance (30 / 44.7)^3 = 0.3; by number of inliers it would be millions
    assert found.inlier_mask.sum() >= 28


def test_matches_of_weight_zero_are_never_drawn_but_may_be_inliers():
    matches, scene_map, _ = problem(count=60)
    weights = np.where(np.arange(60) < 20, 1.0, 0.0)
    result = estimate_pose(matches, scene_map, PINHOLE, weights=weights)
    assert result.inlier_mask.all()
    three = estimate_pose(matches, scene_map, PINHOLE, weights=np.where(np.arange(60) < 3, 1.0, 0.0), kept="are promising")
    assert three.failure == "too few matches: 3 of 60 matches are promising, at least 4 needed"


def test_weights_that_are_not_finite_or_negative_count_as_none():
    matches, scene_map, _ = problem(count=60)
    weights = np.where(np.arange(60) < 30, 1.0, np.nan)
    weights[30:40] = -5
    assert estimate_pose(matches, scene_map, PINHOLE, weights=weights).inlier_mask.all()
    nothing = estimate_pose(matches, scene_map, PINHOLE, weights=np.full(60, np.nan), kept="are promising")
    assert nothing.failure == "too few matches: 0 of 60 matches are promising, at least 4 needed"


def test_the_same_seed_draws_the_same():
    matches, scene_map, _ = problem(count=100, outliers=0.7, noise_px=1)
    weights = np.linspace(1, 2, 100)
    one, two = (estimate_pose(matches, scene_map, PINHOLE, seed=5, weights=weights) for _ in range(2))
    assert np.array_equal(one.cam_from_world.matrix(), two.cam_from_world.matrix())


def test_a_world_far_from_its_origin_costs_no_precision():
    matches, scene_map, pose = problem(count=100, outliers=0.3)
    far = np.array([5e5, 5.4e6, 300.0])
    moved = replace(scene_map, points3D=scene_map.points3D + far)
    result = estimate_pose(matches, moved, PINHOLE, weights=np.linspace(1, 2, 100))
    assert np.linalg.norm(result.cam_from_world.center() - far - pose.center()) < 1e-3


@pytest.mark.parametrize("shape", ["line", "spot"])
def test_points_on_a_line_or_at_a_spot_give_no_pose(shape):
    rng = np.random.default_rng(0)
    along = rng.uniform(4, 30, 60)
    points = along[:, None] * [0.1, 0.05, 1.0] + [0.5, 0.2, 0] if shape == "line" else np.full((60, 3), [0.2, 0.1, 10.0])
    pixels = PINHOLE.project(points)
    result = estimate_pose(matches_of(pixels), map_of(points), PINHOLE, weights=np.linspace(1, 2, 60))
    assert result.cam_from_world is None
    assert result.failure


def test_few_inliers_count_more_among_the_matches_of_high_weight():
    errors = np.full(4000, 50.0)
    inliers = np.zeros(4000, bool)
    inliers[:9] = True
    errors[:9] = 2.0
    usable = np.ones(4000, bool)
    assert log10_chance_weighted(inliers, errors, usable, None, PINHOLE) > 0
    assert log10_chance_weighted(inliers, errors, usable, np.linspace(1, 0, 4000), PINHOLE) < -5
    assert log10_chance_weighted(inliers, errors, usable, np.linspace(0, 1, 4000), PINHOLE) > 0
