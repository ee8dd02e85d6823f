"""Points that matching lost are found again where a pose puts them, and make it a better one."""

from dataclasses import replace

import numpy as np
import pytest
from localizer_toys import CAMERA, matches_to, query_at, street

from core.evaluation.errors import pose_error
from core.geometry import Camera, Rigid3d
from core.localizer.features import quantize_descriptors
from core.localizer.guided import GuidedConfig, GuidedMatcher, guided_matcher
from core.localizer.pipeline import LocalizerConfig, Prepared, localize_prepared
from core.localizer.ransac import RansacConfig
from core.records import Features, Observations

NOISE_PX = 0.7


def unit(values):
    return np.abs(values) / np.linalg.norm(values, axis=1, keepdims=True)


def seen_again(changed=0.45, right=0.4, count=400, num_clutter=600, seed=0, camera=CAMERA, noise_px=NOISE_PX):
    """A street of which a share ``right`` of the points has a keypoint, as alike as ``changed`` leaves it, among clutter.

    Every point was seen twice. Returns the map, the query's features and true pose, and the keypoints' points (-1: none).
    """
    rng = np.random.default_rng(seed)
    scene_map, _, _, pose = street(count, seed)
    base = unit(rng.normal(size=(count, 128)) ** 2)
    rows = np.repeat(np.arange(count), 2)
    known = quantize_descriptors(unit(base[rows] + 0.02 * rng.normal(size=(2 * count, 128))))
    observations = Observations(rows, np.tile([0, 1], count), np.zeros((2 * count, 2)), known)
    shown = rng.permutation(count)[: int(right * count)]
    pixels = camera.project(pose.apply(scene_map.points3D[shown])) + rng.normal(0, noise_px, (len(shown), 2))
    clutter = rng.uniform((0, 0), (camera.width - 1, camera.height - 1), (num_clutter, 2))
    other = unit(rng.normal(size=(len(shown) + num_clutter, 128)) ** 2)
    described = unit(np.concatenate([(1 - changed) * base[shown], np.zeros((num_clutter, 128))]) + changed * other)
    described[len(shown) :] = other[len(shown) :]
    number = len(shown) + num_clutter
    features = Features(np.concatenate([pixels, clutter]), np.ones(number), np.zeros(number), described, "toy")
    return replace(scene_map, observations=observations), features, pose, np.append(shown, np.full(num_clutter, -1))


def beside(pose, metres=0.25, degrees=0.8):
    turn = np.radians(degrees)
    turned = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    return Rigid3d.from_rotation(turned @ pose.R, turned @ pose.tvec + [metres, 0, 0])


def test_a_pose_a_little_off_is_made_a_good_one_from_the_points_that_it_finds():
    scene_map, features, pose, point_of = seen_again()
    matcher = GuidedMatcher(features, scene_map, CAMERA)
    refined, pairs = matcher.refined(beside(pose))
    assert pose_error(beside(pose), pose).position_m > 0.2
    assert pose_error(refined, pose).position_m < 0.03
    assert pose_error(refined, pose).rotation_deg < 0.1
    right = point_of[pairs.keypoint] == pairs.point
    assert (pairs.likely[right] > 0.5).mean() > 0.8
    assert pairs.likely[~right].sum() < 0.1 * pairs.likely[right].sum()
    assert pairs.likely.sum() == pytest.approx((point_of >= 0).sum(), rel=0.25)
    assert pairs.evidence > 200


def test_no_keypoint_and_no_point_counts_twice():
    scene_map, features, pose, _ = seen_again()
    _, pairs = GuidedMatcher(features, scene_map, CAMERA).refined(pose)
    for index in (pairs.keypoint, pairs.point):
        assert np.bincount(index, pairs.likely).max() <= 1 + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_a_wrong_pose_stays_and_is_not_spoken_for(seed):
    scene_map, features, pose, _ = seen_again(seed=seed)
    away = beside(pose, metres=2.0, degrees=15.0)
    refined, pairs = GuidedMatcher(features, scene_map, CAMERA).refined(away)
    assert len(pairs.keypoint) > 20
    assert pairs.evidence < RansacConfig().min_guided
    assert pose_error(refined, pose).position_m > 1.5


@pytest.mark.parametrize("seed", range(4))
def test_where_nothing_is_seen_again_no_pose_is_spoken_for(seed):
    scene_map, features, pose, _ = seen_again(right=0.0, num_clutter=1000, seed=seed)
    _, pairs = GuidedMatcher(features, scene_map, CAMERA).refined(pose)
    assert pairs.evidence < 10


def test_distorted_keypoints_are_looked_for_where_the_lens_puts_them():
    bent = Camera("SIMPLE_RADIAL", CAMERA.width, CAMERA.height, [200.0, 158.0, 121.0, -0.12])
    scene_map, features, pose, _ = seen_again(camera=bent)
    refined, _ = GuidedMatcher(features, scene_map, bent).refined(beside(pose))
    assert pose_error(refined, pose).position_m < 0.04


def test_in_a_large_image_keypoints_are_less_exact_and_looked_for_farther_away():
    large = Camera("PINHOLE", 10 * CAMERA.width, 10 * CAMERA.height, 10 * CAMERA.params)
    scene_map, features, pose, point_of = seen_again(camera=large, noise_px=2 * NOISE_PX)
    refined, pairs = GuidedMatcher(features, scene_map, large).refined(beside(pose, 0.05, 0.2))
    assert pose_error(refined, pose).position_m < 0.02
    assert pairs.likely.sum() == pytest.approx((point_of >= 0).sum(), rel=0.25)


def test_points_seen_from_the_other_side_only_are_not_looked_for():
    scene_map, features, pose, _ = seen_again()
    behind = replace(scene_map, visibility=replace(scene_map.visibility, direction=-scene_map.visibility.direction))
    found, pairs = GuidedMatcher(features, behind, CAMERA).refined(beside(pose))
    assert len(pairs.keypoint) == 0
    assert pairs.evidence == 0
    assert pose_error(found, beside(pose)).position_m == 0


def test_keypoints_that_lie_nowhere_and_broken_descriptors_are_near_no_point():
    scene_map, features, pose, point_of = seen_again()
    keypoints, descriptors = features.keypoints.copy(), features.descriptors.copy()
    keypoints[:10], keypoints[10:20] = np.nan, np.inf
    descriptors[20:40] = np.nan
    broken = replace(features, keypoints=keypoints, descriptors=descriptors)
    refined, pairs = GuidedMatcher(broken, scene_map, CAMERA).refined(beside(pose))
    assert pose_error(refined, pose).position_m < 0.03
    assert np.isfinite(pairs.evidence)
    assert pairs.likely[pairs.keypoint < 40].max(initial=0) < 1e-3
    assert pairs.likely.sum() == pytest.approx((point_of[40:] >= 0).sum(), rel=0.25)


def localized(num_matches, rounds=6, **settings):
    scene_map, features, pose, point_of = seen_again(**settings)
    keypoint = np.flatnonzero(point_of >= 0)[:num_matches]
    matches = replace(matches_to(features.keypoints[keypoint], point_of[keypoint]), keypoint=keypoint)
    config = LocalizerConfig(guided=GuidedConfig(rounds=rounds))
    return localize_prepared(Prepared(query_at(pose), features, matches), scene_map, config), pose


def test_eight_matches_are_an_answer_where_many_points_are_found_again():
    alone, _ = localized(8, rounds=0)
    assert alone.result.failure.startswith("no consensus: 8 of 8 matches agree")
    assert alone.result.stats.guided_evidence is None
    again, _ = localized(8)
    assert again.result.failure is None
    assert again.error.position_m < 0.03
    assert again.result.stats.guided_matches > 100
    assert again.result.stats.guided_evidence > 200
    assert again.result.config["guided.rounds"] == 6
    assert (again.result.reproj_errors_px[again.result.inlier_mask] <= 8).all()


def test_eight_matches_that_agree_on_a_wrong_pose_are_none():
    scene_map, features, pose, point_of = seen_again()
    wrong = beside(pose, metres=2.0, degrees=15.0)
    projected = CAMERA.project(wrong.apply(scene_map.points3D))
    inside = (projected > 0).all(axis=1) & (projected < [CAMERA.width, CAMERA.height]).all(axis=1)
    points, keypoint = np.flatnonzero(inside)[:8], np.flatnonzero(point_of < 0)[:8]
    keypoints = features.keypoints.copy()
    keypoints[keypoint] = projected[points]
    matches = replace(matches_to(keypoints[keypoint], points), keypoint=keypoint)
    prepared = Prepared(query_at(pose), replace(features, keypoints=keypoints), matches)
    found = localize_prepared(prepared, scene_map).result
    assert found.failure.startswith("no consensus: 8 of 8 matches agree")
    assert found.stats.guided_evidence < RansacConfig().min_guided


def test_maps_and_features_that_cannot_be_compared_are_left_as_they_are():
    scene_map, features, _, _ = seen_again()
    config = GuidedConfig()
    assert guided_matcher(features, scene_map, CAMERA, config) is not None
    assert guided_matcher(features, scene_map, CAMERA, GuidedConfig(rounds=0)) is None
    assert guided_matcher(features, replace(scene_map, visibility=None), CAMERA, config) is None
    bare = replace(scene_map, observations=replace(scene_map.observations, descriptors=None))
    assert guided_matcher(features, bare, CAMERA, config) is None
    short = replace(features, descriptors=features.descriptors[:, :64])
    assert guided_matcher(short, scene_map, CAMERA, config) is None
    nothing = Features(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128)), "toy")
    assert guided_matcher(nothing, scene_map, CAMERA, config) is None
