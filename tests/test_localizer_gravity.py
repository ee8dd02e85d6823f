"""Gravity and height of a query: as given, as its neighbours were mounted, or the oracle when it is asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from localizer_toys import CAMERA, HEIGHT_M, given_of, query_at, street, true_prior, upright_pose

from core.errors import InputError
from core.geometry import Rigid3d
from core.localizer.circle import circles_of_matches, upright
from core.localizer.gravity import PriorConfig, estimate_prior, map_gravity, near_enough, resolve_prior
from core.records import ImageData, QueryPrior

DOWN = np.array([0, 0, -1.0])


def given_with(source="auto", prior=None, **noise):
    scene_map, matches, labels, pose = street(count=100)
    given = given_of(scene_map, matches, labels, pose)
    query = replace(given.query, prior=prior)
    config = replace(given.config, prior=PriorConfig(source=source, **noise))
    return replace(given, query=query, config=config)


def angle_deg(a, b):
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_what_the_scene_gives_is_taken_as_it_is():
    prior = QueryPrior(gravity_in_camera=[0, 2.0, 0], gravity_error_deg=0.5, height_m=1.2, height_error_m=0.1, source="imu")
    for source in ("auto", "given"):
        found = resolve_prior(given_with(source, prior))
        assert np.allclose(found.gravity_in_camera, [0, 1, 0])
        assert (found.height_m, found.source) == (1.2, "imu")


def test_what_is_missing_is_estimated_and_said_so():
    given = given_with("auto", QueryPrior(height_m=7.0, source="barometer"))
    found = resolve_prior(given)
    assert found.height_m == 7.0
    assert angle_deg(found.gravity_in_camera, given.query.cam_from_world.R @ DOWN) < 1
    assert found.source == "barometer and estimated from the mapping cameras"
    with pytest.raises(InputError, match=r"night/query\.jpg: gravity and height are not given"):
        resolve_prior(given_with("given", QueryPrior(height_m=7.0)))


def test_the_estimate_reads_no_truth():
    given = given_with("estimated")
    blind = replace(given, query=replace(given.query, cam_from_world=None))
    one, two = resolve_prior(given), resolve_prior(blind)
    assert np.array_equal(one.gravity_in_camera, two.gravity_in_camera)
    assert one.height_m == two.height_m
    assert abs(one.height_m - HEIGHT_M) < 0.06
    assert one.gravity_error_deg >= 1
    assert one.height_error_m >= 0.1


def test_a_known_position_chooses_the_neighbours():
    given = given_with("estimated")
    images = tuple(ImageData(f"{i}", Path(f"{i}"), "", CAMERA, upright_pose(1000.0 * i, 0, 0.7, 2.0 * i)) for i in range(12))
    placed = QueryPrior(position=[9000.0, 0, 0], position_error_m=5.0)
    moved = replace(given, scene_map=replace(given.scene_map, images=images), query=replace(given.query, prior=placed))
    assert estimate_prior(moved).height_m == pytest.approx(18, abs=0.5)


def test_the_oracle_is_only_taken_by_name_and_errs_as_told():
    given = given_with("oracle")
    truth = given.query.cam_from_world
    exact = resolve_prior(given)
    assert angle_deg(exact.gravity_in_camera, truth.R @ DOWN) < 1e-4
    assert exact.height_m == pytest.approx(HEIGHT_M)
    tilts, rises = [], []
    for seed in range(200):
        noisy = resolve_prior(replace(given_with("oracle", gravity_noise_deg=2.0, height_noise_m=0.3), seed=seed))
        tilts.append(angle_deg(noisy.gravity_in_camera, truth.R @ DOWN))
        rises.append(noisy.height_m - HEIGHT_M)
    assert np.sqrt(np.mean(np.square(tilts)) / 2) == pytest.approx(2.0, rel=0.15)
    assert np.std(rises) == pytest.approx(0.3, rel=0.15)
    unknown = replace(given, query=replace(given.query, cam_from_world=None))
    with pytest.raises(InputError, match="its true pose is not known"):
        resolve_prior(unknown)


def test_gravity_of_zero_length_is_refused():
    with pytest.raises(ValueError, match="has length 0"):
        QueryPrior(gravity_in_camera=[0, 0, 0])


def test_the_maps_down_comes_from_its_cameras_where_it_is_not_said():
    scene_map = replace(street()[0], gravity_in_world=None)
    assert angle_deg(map_gravity(scene_map), DOWN) < 5
    upside_down = tuple(
        replace(image, cam_from_world=Rigid3d([0, 0, 0, 1], [0, 0, 0]) @ image.cam_from_world) for image in scene_map.images
    )
    with pytest.raises(InputError, match="its cameras do not agree"):
        map_gravity(replace(scene_map, images=scene_map.images + upside_down))
    with pytest.raises(InputError, match="does not say where down is"):
        map_gravity(replace(scene_map, images=()))


def test_a_map_without_cameras_gives_no_estimate():
    given = given_with("estimated")
    with pytest.raises(InputError, match="no mapping cameras"):
        resolve_prior(replace(given, scene_map=replace(given.scene_map, images=())))


@pytest.mark.parametrize("down", [DOWN, -DOWN, [0, 1.0, 0], [0.6, -0.48, 0.64]])
def test_the_world_is_turned_upright(down):
    R = upright(np.array(down))
    assert np.allclose(R @ down, DOWN)
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.linalg.det(R) == pytest.approx(1)


def circles(pose, prior, slack=1.1):
    scene_map, matches, _, _ = street(count=200, pose=pose)
    return scene_map, circles_of_matches(matches, scene_map, scene_map.visibility, CAMERA, prior, DOWN, slack)


def test_exact_priors_put_the_true_camera_on_every_circle():
    pose = upright_pose(3, -2, 0.7)
    scene_map, found = circles(pose, true_prior(pose))
    level = np.linalg.norm((scene_map.points3D - pose.center())[:, :2], axis=1)
    assert np.allclose(found.radius, level, rtol=1e-5)
    assert np.allclose(found.axes.transpose(0, 2, 1) @ found.axes, np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(found.axes), 1)


def test_stated_errors_leave_room_for_the_true_radius():
    pose = upright_pose(3, -2, 0.7)
    tilt = Rigid3d([1, np.radians(1.0), 0, 0], [0, 0, 0]).R  # 2 deg about x
    prior = QueryPrior(gravity_in_camera=tilt @ pose.R @ DOWN, gravity_error_deg=2.0, height_m=1.8, height_error_m=0.2)
    scene_map, found = circles(pose, prior, slack=1.05)
    level = np.linalg.norm((scene_map.points3D - pose.center())[:, :2], axis=1)
    assert np.isfinite(found.radius).all()
    assert np.median(np.abs(found.radius - level) / level) < 0.3
    _, believed = circles(pose, replace(prior, gravity_error_deg=0.0, height_error_m=0.0), slack=1.05)
    assert np.isnan(believed.radius).any()


def test_points_on_the_wrong_side_of_the_horizon_have_no_circle():
    pose = upright_pose(3, -2, 0.7, pitch=0.0)
    scene_map, matches, _, _ = street(count=200, pose=pose)
    mirrored = replace(scene_map, points3D=scene_map.points3D * [1, 1, -1] + [0, 0, 2 * HEIGHT_M])
    steep = np.abs(scene_map.points3D[:, 2] - HEIGHT_M) > 0.5
    found = circles_of_matches(matches, mirrored, mirrored.visibility, CAMERA, true_prior(pose), DOWN, 1.1)
    assert np.isnan(found.radius[steep]).all()


def test_a_known_position_leaves_out_what_cannot_be_seen_from_there():
    scene_map, matches, _, pose = street(count=100)
    ids = matches.point_ids
    assert near_enough(query_at(pose), scene_map, ids).all()
    assert near_enough(query_at(pose, QueryPrior(position=pose.center(), position_error_m=1)), scene_map, ids).all()
    far = QueryPrior(position=pose.center() + [500, 0, 0], position_error_m=5)
    assert not near_enough(query_at(pose, far), scene_map, ids).any()
    before = QueryPrior(cam_from_world=pose)
    assert near_enough(query_at(pose, before), scene_map, ids).all()
    some = QueryPrior(position=pose.center() + [12, 0, 0], position_error_m=1)
    assert 0 < near_enough(query_at(pose, some), scene_map, ids).mean() < 1
