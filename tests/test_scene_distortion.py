"""Every camera model of COLMAP: projection as pycolmap's, its inverse, and queries whose lens bends strongly."""

from __future__ import annotations

import cv2
import numpy as np
import pycolmap
import pytest
from test_localizer_ransac import map_of, matches_of, true_pose

from core.evaluation.errors import pose_error
from core.geometry import NUM_CAMERA_PARAMS, Camera
from core.localizer.features import extract_features, quantize_descriptors
from core.localizer.label_plane import label_plane
from core.localizer.pipeline import localize
from core.localizer.query_features import with_rays
from core.localizer.ransac import estimate_pose
from core.records import Features, ImageData, LabelMap, Observations, SceneMap
from core.scene.colmap import camera_from_colmap, points2D_to_colmap
from core.steps import finish

# f or fx fy, cx cy in COLMAP's px, then lenses that move the corners by tens of pixels.
STRONG = {
    "SIMPLE_PINHOLE": [420, 322, 238],
    "PINHOLE": [420, 415, 322, 238],
    "SIMPLE_RADIAL": [420, 322, 238, -0.12],
    "RADIAL": [420, 322, 238, -0.22, 0.05],
    "OPENCV": [420, 415, 322, 238, -0.3, 0.1, 1e-3, -2e-3],
    "OPENCV_FISHEYE": [300, 296, 322, 238, -0.03, 0.01, 0.002, -0.001],
    "FULL_OPENCV": [420, 415, 322, 238, -0.3, 0.1, 1e-3, -2e-3, 0.01, 0.02, 0.01, 0.002],
    "FOV": [420, 415, 322, 238, 1.0],
    "SIMPLE_RADIAL_FISHEYE": [300, 322, 238, -0.05],
    "RADIAL_FISHEYE": [300, 322, 238, -0.05, 0.01],
    "THIN_PRISM_FISHEYE": [300, 296, 322, 238, -0.03, 0.01, 1e-3, -1e-3, 0.002, -0.001, 1e-3, -1e-3],
    "RAD_TAN_THIN_PRISM_FISHEYE": [300, 296, 322, 238, -0.03, 0.01, 1e-3, 1e-4, 0, 0, 1e-3, -1e-3, 1e-3, 1e-4, -1e-3, 1e-4],
    "SIMPLE_DIVISION": [420, 322, 238, -0.25],
    "DIVISION": [420, 415, 322, 238, -0.25],
    "SIMPLE_FISHEYE": [300, 322, 238],
    "FISHEYE": [300, 296, 322, 238],
    "EUCM": [300, 296, 322, 238, 0.6, 1.1],
    "EQUIRECTANGULAR": [640, 480],
}


def strong(model):
    return camera_from_colmap(model, 640, 480, STRONG[model], "here")


def grid(camera, margin=2, step=13):
    x, y = np.meshgrid(np.arange(margin, camera.width - margin, step), np.arange(margin, camera.height - margin, step))
    return np.stack([x, y], -1).reshape(-1, 2).astype(float)


def seen(camera, count=300, seed=1):
    """Points before the camera that it sees all over its image."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform((2, 2), (camera.width - 3, camera.height - 3), (count * 3, 2))
    rays = camera.bearings(pixels)
    rays = rays[rays[:, 2] > 0.15][:count]
    return rays * rng.uniform(4, 40, (len(rays), 1))


def test_every_model_of_pycolmap_is_known():
    theirs = {name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"}
    assert theirs == set(NUM_CAMERA_PARAMS) == set(STRONG)
    for name, count in NUM_CAMERA_PARAMS.items():
        assert len(pycolmap.Camera.create_from_model_name(1, name, 500, 640, 480).params) == count


@pytest.mark.parametrize("model", STRONG)
def test_projection_is_pycolmaps_to_a_millionth_of_a_pixel(model):
    camera = strong(model)
    theirs = pycolmap.Camera(model=model, width=640, height=480, params=STRONG[model])
    points = seen(camera)
    assert len(points) > 100
    np.testing.assert_allclose(points2D_to_colmap(camera.project(points)), theirs.img_from_cam(points), atol=1e-6)


@pytest.mark.parametrize("model", STRONG)
def test_the_rays_of_pixels_project_to_these_pixels(model):
    camera = strong(model)
    pixels = grid(camera)
    rays = camera.bearings(pixels)
    assert np.isfinite(rays).all()
    before = rays[:, 2] > 1e-6
    assert before.mean() > 0.4
    np.testing.assert_allclose(camera.project(rays[before]), pixels[before], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("model", sorted(set(STRONG) - {"SIMPLE_PINHOLE", "PINHOLE", "EQUIRECTANGULAR"}))
def test_these_lenses_do_bend(model):
    camera = strong(model)
    corner = np.array([[8.0, 8.0]])
    ray = camera.bearings(corner)[0]
    straight = ray[:2] / ray[2] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    assert np.linalg.norm(straight - corner) > 20


def test_a_spherical_camera_sees_all_around():
    camera = strong("EQUIRECTANGULAR")
    rays = camera.bearings(grid(camera))
    assert (rays[:, 2] < -0.5).any()
    np.testing.assert_allclose(camera.project(rays * 7), grid(camera), atol=1e-6)
    middle = camera.project([[0.0, 0, 1]])[0]
    np.testing.assert_allclose(middle, [319.5, 239.5], atol=1e-9)
    half = camera.scaled(320, 240)
    np.testing.assert_allclose(half.project([[0.0, 0, 1]])[0], [159.5, 119.5], atol=1e-9)


@pytest.mark.parametrize("model", STRONG)
def test_the_pose_of_a_strongly_bent_image_is_exact(model):
    camera, pose = strong(model), true_pose(3)
    in_camera = seen(camera, 200)
    matches, scene_map = matches_of(camera.project(in_camera)), map_of(pose.inverse().apply(in_camera))
    result = estimate_pose(matches, scene_map, camera)
    assert result.failure is None
    error = pose_error(result.cam_from_world, pose)
    assert error.position_m < 1e-3
    assert error.rotation_deg < 1e-3
    assert result.reproj_errors_px.max() < 0.01
    theirs = pycolmap.Camera(model=model, width=640, height=480, params=STRONG[model])
    again = theirs.img_from_cam(result.cam_from_world.apply(scene_map.points3D)) - 0.5
    np.testing.assert_allclose(again, matches.points2D, atol=0.01)


@pytest.mark.parametrize("model", ["OPENCV", "FOV", "EUCM", "THIN_PRISM_FISHEYE", "DIVISION", "EQUIRECTANGULAR"])
def test_noise_and_wrong_matches_on_a_bent_image_do_not_move_the_pose(model):
    camera, pose, rng = strong(model), true_pose(4), np.random.default_rng(0)
    in_camera = seen(camera, 400)
    pixels = camera.project(in_camera) + rng.normal(0, 0.7, (len(in_camera), 2))
    wrong = rng.permutation(len(pixels))[: int(0.6 * len(pixels))]
    pixels[wrong] = rng.uniform((60, 60), (580, 420), (len(wrong), 2))
    result = estimate_pose(matches_of(pixels), map_of(pose.inverse().apply(in_camera)), camera)
    error = pose_error(result.cam_from_world, pose)
    assert error.position_m < 0.15
    assert error.rotation_deg < 0.4
    right = np.setdiff1d(np.arange(len(pixels)), wrong)
    assert result.inlier_mask[right].mean() > 0.98


def test_pixels_that_no_ray_reaches_are_left_out_of_the_features():
    camera = Camera("OPENCV", 1024, 768, [400, 400, 512, 384, -0.6, 0.1, 0, 0])  # folds over towards the corners
    pixels = grid(camera, step=40)
    count = len(pixels)
    features = Features(pixels, np.arange(count), np.zeros(count), np.ones((count, 128)), "toy")
    kept = with_rays(features, camera)
    assert 0 < len(kept) < count
    assert np.isfinite(camera.bearings(kept.keypoints)).all()
    np.testing.assert_array_equal(kept.scales, np.flatnonzero(np.isfinite(camera.bearings(pixels)[:, 0])))


def texture(height=600, width=800, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.GaussianBlur(np.kron(coarse, np.ones((8, 8, 1), np.uint8)), (0, 0), 1.0)


@pytest.mark.parametrize("model", ["OPENCV", "FOV", "OPENCV_FISHEYE"])
def test_a_photograph_through_a_bending_lens_is_localized(model):
    """A textured wall 10 m away, mapped by a pinhole camera and asked for by a bending one that stands elsewhere."""
    wall, flat = texture(), Camera.pinhole(800, 600, 700)
    features = extract_features(wall)
    points3D = flat.bearings(features.keypoints)
    points3D = points3D / points3D[:, 2:] * 10 + np.random.default_rng(0).normal(0, 1e-6, points3D.shape)
    camera = strong(model)
    grid_rays = camera.bearings(np.stack(np.meshgrid(np.arange(640), np.arange(480)), -1).reshape(-1, 2))
    pose_center = np.array([0.4, -0.2, 1.5])
    at_wall = grid_rays * ((10 - pose_center[2]) / grid_rays[:, 2:]) + pose_center
    source = flat.project(at_wall).astype(np.float32).reshape(480, 640, 2)
    photograph = cv2.remap(wall, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderValue=(90, 90, 90))
    count = len(features)
    rows = Observations(np.arange(count), np.zeros(count), features.keypoints, quantize_descriptors(features.descriptors))
    scene_map = SceneMap(points3D, np.zeros((count, 3)), (ImageData("a.png", None, "", flat),), rows, features.extractor)
    found = finish(localize(ImageData("q.png", None, "", camera), scene_map, image=photograph)).result
    assert found.failure is None
    assert np.linalg.norm(found.cam_from_world.center() - pose_center) < 0.03
    assert found.stats.num_inliers > 100


def test_labels_beside_a_bent_image_are_not_known():
    camera = strong("FOV")
    plane = label_plane(LabelMap(np.ones((480, 640)), 2, "toy"), camera)
    assert plane.labels.shape == (480, 640)
    assert np.isin(plane.confidence, (0, 1)).all()
    assert plane.confidence[240, 320] == 1
