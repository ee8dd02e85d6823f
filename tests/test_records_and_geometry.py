"""Poses, cameras and records: exact properties, and pycolmap as the outside reference."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from core.geometry import (
    NUM_CAMERA_PARAMS,
    Camera,
    Rigid3d,
    frozen_array,
    quaternion_from_rotation,
    rotation_angle_deg,
    rotation_from_quaternion,
)
from core.records import LabelMap, LocalizationResult, Matches2D3D, RansacStats

EXAMPLE_PARAMS = {
    "SIMPLE_PINHOLE": [500, 319.5, 239.5],
    "PINHOLE": [500, 510, 319.5, 239.5],
    "SIMPLE_RADIAL": [500, 319.5, 239.5, -0.05],
    "RADIAL": [500, 319.5, 239.5, -0.05, 0.01],
    "OPENCV": [500, 510, 319.5, 239.5, -0.3, 0.1, 1e-4, 5e-4],
    "OPENCV_FISHEYE": [500, 510, 319.5, 239.5, -0.03, 0.01, 1e-3, 1e-4],
    "FULL_OPENCV": [500, 510, 319.5, 239.5, -0.3, 0.1, 1e-4, 5e-4, 0.01, 0.01, 0.001, 0.001],
    "FOV": [500, 510, 319.5, 239.5, 0.9],
    "SIMPLE_RADIAL_FISHEYE": [500, 319.5, 239.5, -0.05],
    "RADIAL_FISHEYE": [500, 319.5, 239.5, -0.05, 0.01],
    "THIN_PRISM_FISHEYE": [500, 510, 319.5, 239.5, -0.03, 0.01, 1e-4, 1e-4, 1e-3, 1e-4, 1e-4, 1e-4],
    "RAD_TAN_THIN_PRISM_FISHEYE": [500, 510, 319.5, 239.5, -0.03, 0.01, 1e-3, 1e-4, 1e-4, 1e-4, *[1e-4] * 6],
    "SIMPLE_DIVISION": [500, 319.5, 239.5, -0.2],
    "DIVISION": [500, 510, 319.5, 239.5, -0.2],
    "SIMPLE_FISHEYE": [500, 319.5, 239.5],
    "FISHEYE": [500, 510, 319.5, 239.5],
    "EUCM": [500, 510, 319.5, 239.5, 0.6, 1.1],
    "EQUIRECTANGULAR": [640, 480],
}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def random_pose(rng) -> Rigid3d:
    return Rigid3d(rng.normal(size=4), rng.normal(size=3) * 10)


def test_inverse_and_composition_are_exact(rng):
    for _ in range(50):
        a, b = random_pose(rng), random_pose(rng)
        points = rng.normal(size=(7, 3))
        np.testing.assert_allclose((a @ a.inverse()).matrix(), np.eye(3, 4), atol=1e-12)
        np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-12)
        np.testing.assert_allclose(a.apply(a.center()[None]), 0, atol=1e-12)
        assert np.linalg.det(a.R) == pytest.approx(1, abs=1e-12)


def test_quaternions_and_rotations_agree_with_pycolmap(rng):
    for _ in range(50):
        pose = random_pose(rng)
        xyzw = np.roll(pose.qvec, -1)
        np.testing.assert_allclose(pycolmap.Rotation3d(xyzw).matrix(), pose.R, atol=1e-12)
        np.testing.assert_allclose(rotation_from_quaternion(quaternion_from_rotation(pose.R)), pose.R, atol=1e-12)


def test_rotation_angle_measures_small_and_half_turns():
    axis_turn = [Rigid3d([np.cos(a / 2), np.sin(a / 2), 0, 0], [0, 0, 0]) for a in (0.0, 1e-9, 0.5, np.pi)]
    angles = [rotation_angle_deg(axis_turn[0], turned) for turned in axis_turn]
    np.testing.assert_allclose(angles, np.degrees([0, 1e-9, 0.5, np.pi]), atol=1e-12, rtol=1e-6)


@pytest.mark.parametrize("bad", [([0, 0, 0, 0], [0, 0, 0]), ([np.nan, 0, 0, 1], [0, 0, 0]), ([1, 0, 0, 0], [np.inf, 0, 0])])
def test_a_pose_that_is_no_pose_is_refused(bad):
    with pytest.raises(ValueError, match="pose is not finite"):
        Rigid3d(*bad)


@pytest.mark.parametrize("model", sorted(NUM_CAMERA_PARAMS))
def test_projection_of_every_model_agrees_with_pycolmap(model, rng):
    camera = Camera(model, 640, 480, EXAMPLE_PARAMS[model])
    reference = pycolmap.Camera(model=model, width=640, height=480, params=EXAMPLE_PARAMS[model])
    points = rng.uniform([-1, -0.8, 2], [1, 0.8, 6], size=(100, 3))
    half_pixel = 0.5 if model == "EQUIRECTANGULAR" else 0.0  # of the others the principal point takes it up
    np.testing.assert_allclose(camera.project(points) + half_pixel, reference.img_from_cam(points), atol=1e-9)
    rays = camera.bearings(camera.project(points))
    np.testing.assert_allclose(rays, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-5)


def test_points_behind_the_camera_do_not_project():
    pixels = Camera.pinhole(640, 480, 500).project([[0, 0, 1], [0, 0, -1], [0, 0, 0]])
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1:]).all()


def test_a_scaled_camera_sees_the_same_rays():
    camera = Camera.pinhole(640, 480, 500)
    half = camera.scaled(320, 240)
    corner, half_corner = np.array([[-0.5, -0.5]]), np.array([[-0.5, -0.5]])  # the image's outer corner stays where it is
    np.testing.assert_allclose(camera.bearings(corner), half.bearings(half_corner), atol=1e-12)


def test_unknown_models_and_wrong_counts_are_named():
    with pytest.raises(ValueError, match="'FISHY' is not known"):
        Camera("FISHY", 10, 10, [1])
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(4\)"):
        Camera("PINHOLE", 10, 10, [1, 2, 3])


def test_records_are_read_only_and_check_their_shapes():
    labels = LabelMap(np.zeros((4, 6)), 3, "v")
    with pytest.raises(ValueError, match="read-only"):
        labels.labels[0, 0] = 1
    with pytest.raises(ValueError, match="expected less than num_labels 2"):
        LabelMap(np.full((2, 2), 2), 2, "v")
    with pytest.raises(ValueError, match="lengths differ"):
        Matches2D3D(np.zeros((2, 2)), [0], [0.0], [0], np.zeros((1, 2)), [0])


def test_labels_are_looked_up_at_the_nearest_pixel_and_clamped():
    labels = LabelMap(np.arange(12).reshape(3, 4), 12, "v")
    assert labels.at(np.array([[0.4, 0.4], [3.6, 2.9], [-5, 1]])).tolist() == [0, 11, 4]
    assert labels.shares().sum() == pytest.approx(1)


def test_a_result_is_a_pose_or_a_failure_and_never_both():
    empty = {"inlier_mask": [], "reproj_errors_px": [], "stats": RansacStats(), "method": "p3p"}
    with pytest.raises(ValueError, match="exactly one"):
        LocalizationResult(cam_from_world=None, **empty)
    with pytest.raises(ValueError, match="exactly one"):
        LocalizationResult(cam_from_world=Rigid3d.identity(), failure="why", **empty)
    assert LocalizationResult(cam_from_world=None, failure="3 matches found, at least 4 needed", **empty).failure


def test_an_array_that_can_be_written_to_is_copied_and_one_that_cannot_is_kept():
    writable = np.arange(3.0)
    kept = frozen_array(writable, np.float64, (3,), "a")
    writable[0] = 9
    assert kept[0] == 0
    assert frozen_array(kept, np.float64, (3,), "a") is kept
    assert frozen_array(kept, np.float32, (3,), "a") is not kept
    view = writable[:]
    view.setflags(write=False)  # but its owner can be written to
    assert not np.shares_memory(frozen_array(view, np.float64, (3,), "a"), writable)
