import numpy as np
import pytest

from core.world.geometry import KINDS, build_world
from core.world.mobile import mobile_mesh
from core.world.stage import Stage
from core.world.traversal import lane, plan_drive, plan_traversal


@pytest.fixture(scope="module", params=KINDS)
def world(request):
    return build_world(request.param, 8)


def test_cameras_stand_clear_of_everything_at_the_height_of_a_car(world):
    centers = np.array([pose.center() for seed in range(3) for pose in plan_traversal(world, 40, seed, lateral_m=0.8)])
    assert (Stage(world.core).clearance(centers) > 0.5).all()
    assert (centers[:, 2] > 1.0).all()
    assert (centers[:, 2] < 2.0).all()


def test_cameras_do_not_stand_in_cars_or_people(world):
    centers = np.array([pose.center() for pose in plan_traversal(world, 40, 1, lateral_m=0.8)])
    for traversal in range(3):
        assert (Stage(mobile_mesh(world, traversal)).clearance(centers) > 0.2).all()


def test_the_same_seed_plans_the_same_drive_and_another_seed_another(world):
    one, same, other = (plan_traversal(world, 6, seed) for seed in (4, 4, 5))
    assert all(np.array_equal(a.tvec, b.tvec) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a.tvec, b.tvec) for a, b in zip(one, other, strict=True))


def test_a_drive_moves_on_by_its_spacing_and_looks_along_the_street(world):
    poses = plan_traversal(world, 12, 1, spacing_m=3.0, start_m=10.0, yaw_deg=0.0, lateral_m=0.0)
    steps = np.linalg.norm(np.diff([p.center() for p in poses], axis=0), axis=1)
    assert np.abs(steps - 3.0).max() < 1.6
    along = poses[-1].center() - poses[0].center()
    assert all(pose.R[2] @ along / np.linalg.norm(along) > 0.85 for pose in poses)


def test_the_yaw_offset_turns_the_camera_to_the_left(world):
    ahead, left = (plan_traversal(world, 1, 1, yaw_deg=0.0, yaw_offset_deg=offset)[0] for offset in (0.0, 45.0))
    turn = np.degrees(
        np.arctan2(*(ahead.R[2][0] * left.R[2][1] - ahead.R[2][1] * left.R[2][0], ahead.R[2][:2] @ left.R[2][:2]))
    )
    assert turn == pytest.approx(45, abs=0.2)


def test_queries_stay_within_two_metres_of_the_reference_drive(world):
    reference = np.array([p.center() for p in plan_traversal(world, 40, 0)])
    queries = np.array([p.center() for p in plan_traversal(world, 8, 9, lateral_m=0.7)])
    offset = np.abs(world.path.distance(queries[:, :2]) - abs(lane(world)))
    assert (np.linalg.norm(queries[:, None, :2] - reference[None, :, :2], axis=-1).min(1) < 5.0).all()
    assert np.median(offset) < 2.0


def test_the_frames_of_a_drive_follow_each_other_with_nearly_one_offset_and_one_heading(world):
    drives = [drive(world, seed) for seed in range(6)]
    centers = np.array([[pose.center() for pose in poses] for poses in drives])
    steps = np.linalg.norm(np.diff(centers, axis=1), axis=-1)
    assert (np.abs(steps - 2.0) < 0.4).all()
    turns = np.array([[np.degrees(np.arctan2(pose.R[2][1], pose.R[2][0])) for pose in poses] for poses in drives])
    assert np.abs(np.diff(turns, axis=1)).max() < 12
    assert np.ptp(turns[:, 0]) > 15
    assert np.ptp(centers[:, 0, 0]) > 20
    assert (Stage(world.core).clearance(centers.reshape(-1, 3)) > 0.5).all()


def test_a_drive_stays_where_it_is_asked_for_and_comes_closer_together_where_there_is_little_room(world):
    poses = drive(world, 3, between_m=(20.0, 40.0))
    along = [pose.center() @ np.array([np.cos(a), np.sin(a), 0]) for pose in poses for a in [world.path.angle(30.0)]]
    assert 16 < max(along) - min(along) < 20.5
    assert len(poses) == 12


def test_each_seed_is_a_drive_of_its_own_and_always_the_same(world):
    one, same, other = (drive(world, seed) for seed in (4, 4, 5))
    assert all(np.array_equal(a.tvec, b.tvec) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a.tvec, b.tvec) for a, b in zip(one, other, strict=True))


def drive(world, seed, between_m=(0.0, 150.0)):
    return plan_drive(world, 12, seed, spacing_m=2.0, between_m=between_m, lateral_m=0.8, yaw_deg=20.0)
