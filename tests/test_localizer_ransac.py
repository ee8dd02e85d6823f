"""Pose estimation: exact poses back, outliers borne, and every failure a result with its reason."""

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from core.evaluation.errors import pose_error
from core.geometry import Camera, Rigid3d
from core.localizer.ransac import RansacConfig, estimate_pose
from core.localizer.uncertainty import log10_false_alarms, pose_uncertainty
from core.records import Matches2D3D, Observations, SceneMap

PINHOLE = Camera("PINHOLE", 1024, 600, [812.0, 795.0, 530.2, 288.7])
OPENCV = Camera("OPENCV", 1024, 600, [812.0, 795.0, 530.2, 288.7, -0.21, 0.06, 0.001, -0.002])
THIN_PRISM = Camera("THIN_PRISM_FISHEYE", 1024, 600, [812.0, 795.0, 530.2, 288.7, 0.02, 0.01, 1e-3, 1e-3, 0, 0, 0, 0])


def true_pose(seed=0):
    rng = np.random.default_rng(seed)
    R = Rotation.from_rotvec(rng.normal(0, 0.8, 3)).as_matrix()
    return Rigid3d.from_rotation(R, rng.normal(0, 20, 3))


def problem(camera=PINHOLE, count=200, outliers=0.0, noise_px=0.0, seed=0):
    """Matches of a camera that sees ``count`` points 4 to 40 m away; the outliers come first."""
    rng = np.random.default_rng(seed)
    pose = true_pose(seed)
    pixels = rng.uniform((0, 0), (camera.width - 1, camera.height - 1), (count, 2))
    points3D = pose.inverse().apply(camera.bearings(pixels) * rng.uniform(4, 40, (count, 1)))
    pixels = camera.project(pose.apply(points3D)) + rng.normal(0, noise_px, (count, 2)) if noise_px else pixels
    bad = int(outliers * count)
    pixels[:bad] = rng.uniform((0, 0), (camera.width - 1, camera.height - 1), (bad, 2))
    return matches_of(pixels), map_of(points3D), pose


def matches_of(pixels, ids=None, scores=None):
    count = len(pixels)
    ids = np.arange(count) if ids is None else ids
    scores = np.ones(count) if scores is None else scores
    return Matches2D3D(pixels, ids, scores, np.zeros(count), np.zeros((count, 2)), np.arange(count))


def map_of(points3D):
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    return SceneMap(points3D, np.zeros((len(points3D), 3)), (), nothing)


@pytest.mark.parametrize("camera", [PINHOLE, OPENCV, THIN_PRISM], ids=lambda camera: camera.model)
def test_p3p_recovers_pose_from_exact_points(camera):
    matches, scene_map, pose = problem(camera)
    result = estimate_pose(matches, scene_map, camera)
    error = pose_error(result.cam_from_world, pose)
    assert error.position_m < 1e-5
    assert error.rotation_deg < 1e-5
    assert result.inlier_mask.all()
    assert result.reproj_errors_px.max() < 1e-3
    assert result.failure is None


@pytest.mark.parametrize("outliers", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("camera", [PINHOLE, OPENCV], ids=lambda camera: camera.model)
def test_the_pose_survives_outliers(camera, outliers):
    matches, scene_map, pose = problem(camera, count=400, outliers=outliers, noise_px=0.5)
    result = estimate_pose(matches, scene_map, camera)
    error = pose_error(result.cam_from_world, pose)
    assert error.position_m < 0.1
    assert error.rotation_deg < 0.2
    assert result.inlier_mask[int(400 * outliers) :].mean() > 0.98
    assert result.stats.num_inliers == result.inlier_mask.sum()


def test_inliers_belong_to_the_returned_pose():
    matches, scene_map, _ = problem(OPENCV, outliers=0.6, noise_px=3.0, seed=4)
    result = estimate_pose(matches, scene_map, OPENCV, RansacConfig(max_error_px=5))
    projected = OPENCV.project(result.cam_from_world.apply(scene_map.points3D))
    errors = np.linalg.norm(projected - matches.points2D, axis=1)
    assert np.array_equal(result.inlier_mask, errors <= 5)
    assert np.allclose(result.reproj_errors_px, errors, equal_nan=True)


@pytest.mark.parametrize("camera", [PINHOLE, OPENCV], ids=lambda camera: camera.model)
def test_the_pose_agrees_with_pycolmap(camera):
    matches, scene_map, pose = problem(camera, outliers=0.4, noise_px=1.0, seed=2)
    ours = estimate_pose(matches, scene_map, camera).cam_from_world
    their_camera = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height, params=camera.params.tolist())
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = 8.0
    found = pycolmap.estimate_and_refine_absolute_pose(matches.points2D, scene_map.points3D, their_camera, options)
    theirs = Rigid3d.from_rotation(found["cam_from_world"].rotation.matrix(), found["cam_from_world"].translation)
    difference = pose_error(ours, theirs)
    assert difference.position_m < 0.05
    assert difference.rotation_deg < 0.05
    assert pose_error(ours, pose).position_m < 0.1


@pytest.mark.parametrize(("count", "sentence"), [(0, "0 matches"), (1, "1 match "), (2, "2 matches"), (3, "3 matches")])
def test_fewer_than_four_matches_are_a_failure_that_says_so(count, sentence):
    matches, scene_map, _ = problem(count=count)
    result = estimate_pose(matches, scene_map, PINHOLE)
    assert result.cam_from_world is None
    assert sentence in result.failure
    assert "at least 4 needed" in result.failure
    assert result.inlier_mask.shape == (count,)
    assert np.isnan(result.reproj_errors_px).all()


def test_trying_the_best_scores_first_finds_poses_among_few_right_matches():
    found = {True: 0, False: 0}
    for seed in range(6):
        matches, scene_map, pose = problem(count=600, outliers=0.96, noise_px=1.0, seed=seed)
        scores = np.random.default_rng(seed).uniform(0, 0.2, 600) + 0.15 * (np.arange(600) >= 0.96 * 600)
        scored = matches_of(matches.points2D, scores=scores)
        for progressive in found:
            result = estimate_pose(scored, scene_map, PINHOLE, RansacConfig(progressive=progressive))
            right = result.cam_from_world is not None and pose_error(result.cam_from_world, pose).position_m < 0.25
            found[progressive] += right
    assert found[True] == 6
    assert found[False] < 6


def test_scores_change_no_answer_that_all_samples_agree_on():
    matches, scene_map, pose = problem(count=100, noise_px=0.5)
    scored = matches_of(matches.points2D, scores=np.random.default_rng(0).random(100))
    result = estimate_pose(scored, scene_map, PINHOLE)
    assert pose_error(result.cam_from_world, pose).position_m < 0.05
    assert result.inlier_mask.all()


def test_outliers_alone_give_no_pose():
    matches, scene_map, _ = problem(count=120, outliers=1.0)
    result = estimate_pose(matches, scene_map, PINHOLE, RansacConfig(max_iterations=2000))
    assert result.cam_from_world is None
    assert "no consensus" in result.failure
    assert "at least 12 needed" in result.failure
    assert not result.inlier_mask.any()


def test_dropped_matches_are_witnesses_of_the_pose_that_the_kept_ones_chose():
    matches, scene_map, pose = problem(count=20, noise_px=0.5)
    result = estimate_pose(matches, scene_map, PINHOLE, keep=np.arange(20) < 8)
    assert result.failure is None
    assert pose_error(result.cam_from_world, pose).position_m < 0.1
    assert result.inlier_mask.sum() == result.stats.num_inliers == 8


def test_dropped_matches_that_disagree_are_none():
    matches, scene_map, _ = problem(count=20, noise_px=0.5)
    points2D = matches.points2D.copy()
    points2D[10:] = np.roll(points2D[10:], 1, axis=0)
    result = estimate_pose(matches_of(points2D), scene_map, PINHOLE, keep=np.arange(20) < 8)
    assert result.cam_from_world is None
    agree = "8 of 8 usable matches agree with the best pose found, 10 of all 20, at least 12 needed"
    assert result.failure == f"no consensus: {agree}"


def test_copies_of_one_match_are_no_consensus():
    matches, scene_map, _ = problem(count=1)
    copies = matches_of(np.repeat(matches.points2D, 60, axis=0), np.zeros(60, int))
    result = estimate_pose(copies, scene_map, PINHOLE)
    assert result.cam_from_world is None
    assert result.failure


def test_points_on_a_line_do_not_fix_a_pose():
    pose = true_pose()
    in_camera = np.array([-3.0, 1, 8]) + np.linspace(0, 1, 50)[:, None] * np.array([6.0, -2, 5])
    scene_map = map_of(pose.inverse().apply(in_camera))
    result = estimate_pose(matches_of(PINHOLE.project(in_camera)), scene_map, PINHOLE)
    assert result.cam_from_world is None
    assert result.failure


def test_matches_that_are_not_finite_are_left_out():
    matches, scene_map, pose = problem(count=60)
    pixels, points3D = matches.points2D.copy(), scene_map.points3D.copy()
    pixels[3], points3D[7] = np.nan, np.inf
    result = estimate_pose(matches_of(pixels), map_of(points3D), PINHOLE)
    assert pose_error(result.cam_from_world, pose).position_m < 1e-5
    assert np.flatnonzero(~result.inlier_mask).tolist() == [3, 7]
    nothing = estimate_pose(matches_of(np.full((60, 2), np.nan)), scene_map, PINHOLE)
    assert "0 of 60 matches can be used" in nothing.failure


def test_points_behind_the_camera_are_never_inliers():
    matches, scene_map, pose = problem(count=60)
    in_camera = pose.apply(scene_map.points3D)
    in_camera[:20] *= -1  # the same pixels, seen through the back of the head
    result = estimate_pose(matches, map_of(pose.inverse().apply(in_camera)), PINHOLE)
    assert not result.inlier_mask[:20].any()
    assert result.inlier_mask[20:].all()


def test_the_same_seed_gives_the_same_pose_and_is_stored():
    matches, scene_map, _ = problem(outliers=0.7, noise_px=2.0, seed=5)
    one, two = (estimate_pose(matches, scene_map, PINHOLE, seed=11) for _ in range(2))
    assert np.array_equal(one.cam_from_world.matrix(), two.cam_from_world.matrix())
    assert one.seed == 11
    assert one.config["max_error_px"] == 8.0


def test_matches_that_a_method_dropped_are_no_inliers():
    matches, scene_map, _ = problem(count=100)
    keep = np.arange(100) % 2 == 0
    result = estimate_pose(matches, scene_map, PINHOLE, keep=keep, method="half")
    assert np.array_equal(result.inlier_mask, keep)
    assert np.isfinite(result.reproj_errors_px).all()
    assert result.method == "half"
    few = estimate_pose(matches, scene_map, PINHOLE, keep=np.arange(100) < 3)
    assert "3 of 100 matches can be used" in few.failure


def test_the_uncertainty_predicts_the_scatter_of_estimated_poses():
    errors = []
    matches, scene_map, pose = problem(count=80, seed=3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        noisy = matches_of(matches.points2D + rng.normal(0, 1, (80, 2)))
        errors.append(pose_error(estimate_pose(noisy, scene_map, PINHOLE).cam_from_world, pose))
    position_m, rotation_deg = pose_uncertainty(pose, scene_map.points3D, PINHOLE)
    assert np.sqrt(np.mean([e.position_m**2 for e in errors])) == pytest.approx(position_m, rel=0.3)
    assert np.sqrt(np.mean([e.rotation_deg**2 for e in errors])) == pytest.approx(rotation_deg, rel=0.3)


def test_two_points_fix_no_pose():
    assert pose_uncertainty(Rigid3d.identity(), [[0, 0, 5], [1, 0, 5]], PINHOLE) == (np.inf, np.inf)


def test_false_alarms_by_hand():
    # 10 matches, 5 inliers, samples of 3: 7 x C(10,5) x C(5,3) x 0.01^2 = 1.764
    assert log10_false_alarms(np.full(5, 0.01), 10, 3) == pytest.approx(np.log10(1.764))
    # With a fifth inlier that tells nothing, four of them decide: 7 x C(10,4) x C(4,3) x 0.01 = 58.8
    assert log10_false_alarms(np.array([0.01, 0.01, 0.9, 0.01, 0.01]), 10, 3) == pytest.approx(np.log10(58.8))
    assert log10_false_alarms(np.full(3, 0.01), 10, 3) == float("inf")


def test_a_pose_that_chance_explains_is_no_answer():
    matches, scene_map, _ = problem(Camera.pinhole(160, 120, 150.0), count=1500, outliers=1.0)
    scored = matches_of(matches.points2D, scores=np.linspace(1, 0, 1500))
    result = estimate_pose(scored, scene_map, Camera.pinhole(160, 120, 150.0))
    assert result.cam_from_world is None
    assert "no more than chance gives" in result.failure


def test_few_exact_matches_among_many_wrong_ones_are_no_chance():
    matches, scene_map, pose = problem(count=600, outliers=0.97, noise_px=0.7, seed=1)
    scored = matches_of(matches.points2D, scores=np.arange(600))
    result = estimate_pose(scored, scene_map, PINHOLE)
    assert pose_error(result.cam_from_world, pose).position_m < 0.25
