"""How particles move, and what a mapping drive says of height and tilt."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_toys import drive, label_image, looking, query_of, street_map

from core.geometry import Rigid3d, rotation_from_quaternion
from core.localizer.frames import in_order, make_frames, sequences_of, simulated_odometry
from core.localizer.motion import (
    MotionConfig,
    disturbed,
    mounting_of,
    move,
    multiply,
    odometry_deviations,
    prior_log_likelihood,
    quaternions_from_vectors,
    rotate,
    rotate_back,
    unknown_step,
    vectors_from_quaternions,
)
from core.records import ImageData, QueryPrior
from core.sequences import OdometryNoise

EXACT = OdometryNoise(0.0, 0.0, 0.0, 0.0)


def arrays(poses):
    return np.array([pose.qvec for pose in poses]), np.array([pose.center() for pose in poses])


def random_quaternions(count, seed=0):
    qvec = np.random.default_rng(seed).normal(size=(count, 4))
    return qvec / np.linalg.norm(qvec, axis=1, keepdims=True)


def test_quaternions_multiply_and_rotate_as_their_matrices_do():
    a, b = random_quaternions(20, 1), random_quaternions(20, 2)
    vectors = np.random.default_rng(3).normal(size=(20, 3))
    for p, q, product, vector, turned, back in zip(a, b, multiply(a, b), vectors, rotate(a, vectors), rotate_back(a, vectors)):
        R = rotation_from_quaternion(p)
        assert np.allclose(rotation_from_quaternion(product), R @ rotation_from_quaternion(q))
        assert np.allclose(turned, R @ vector)
        assert np.allclose(back, R.T @ vector)


def test_rotation_vectors_and_quaternions_are_inverse_down_to_tiny_turns():
    vectors = np.random.default_rng(4).normal(size=(50, 3))
    vectors *= (np.geomspace(1e-12, 3.1, 50) / np.linalg.norm(vectors, axis=1))[:, None]
    assert np.allclose(vectors_from_quaternions(quaternions_from_vectors(vectors)), vectors, rtol=1e-6, atol=1e-15)
    assert np.allclose(vectors_from_quaternions(-quaternions_from_vectors(vectors)), vectors, rtol=1e-6, atol=1e-15)


def test_exact_odometry_moves_a_particle_from_pose_to_pose():
    before, now = Rigid3d([0.9, 0.1, -0.2, 0.3], [1, 2, 3]), Rigid3d([0.8, -0.3, 0.1, 0.2], [-2, 0.5, 1])
    qvec, centers = move(*arrays([before]), now @ before.inverse(), (0.0, 0.0), np.random.default_rng(0))
    assert np.allclose(centers[0], now.center())
    assert np.allclose(rotation_from_quaternion(qvec[0]), now.R)


def test_particles_spread_as_far_as_the_odometry_errs():
    qvec, centers = arrays([drive(1)[0]] * 20_000)
    step = drive(2)[1] @ drive(1)[0].inverse()
    moved_q, moved = move(qvec, centers, step, (0.2, 0.01), np.random.default_rng(0))
    assert np.allclose(moved.std(axis=0), 0.2, rtol=0.05)
    conjugate = drive(2)[1].qvec * [1, -1, -1, -1]
    turns = vectors_from_quaternions(multiply(moved_q, np.broadcast_to(conjugate, moved_q.shape)))
    assert np.allclose(turns.std(axis=0), 0.01, rtol=0.05)
    assert np.abs(moved.mean(axis=0) - drive(2)[1].center()).max() < 0.01


def test_odometry_errs_in_share_of_the_way_above_a_floor():
    noise = OdometryNoise(0.03, 0.02, 0.1, 0.2)
    still, far = Rigid3d.identity(), Rigid3d([1, 0, 0, 0], [0, 0, -10.0])
    assert odometry_deviations(still, noise) == pytest.approx((0.02, np.radians(0.2)))
    assert odometry_deviations(far, noise) == pytest.approx((0.32, np.radians(1.2)))


def test_without_odometry_the_last_step_is_expected_again_with_growing_doubt():
    config = MotionConfig()
    step, (position_m, _) = unknown_step(Rigid3d([1, 0, 0, 0], [0, 0, -4.0]), config)
    assert np.allclose(step.tvec, [0, 0, -4])
    assert position_m == pytest.approx(4 * config.unknown_share + config.unknown_m)
    step, (position_m, _) = unknown_step(None, config)
    assert np.allclose(step.matrix(), Rigid3d.identity().matrix())
    assert position_m == pytest.approx(config.unknown_m)


def test_simulated_odometry_is_the_true_motion_made_wrong_and_nothing_where_a_pose_is_unknown():
    queries = [query_of(k, pose) for k, pose in enumerate(drive(4))]
    exact = simulated_odometry(queries, EXACT, seed=0)
    assert exact[0] is None
    for before, now, step in zip(queries, queries[1:], exact[1:]):
        assert np.allclose((step @ before.cam_from_world).matrix(), now.cam_from_world.matrix())
    noisy, again = (simulated_odometry(queries, OdometryNoise(), seed=5) for _ in range(2))
    assert not np.allclose(noisy[1].tvec, exact[1].tvec, atol=1e-4)
    assert np.array_equal(noisy[3].tvec, again[3].tvec)
    queries[1] = replace(queries[1], cam_from_world=None)
    assert [step is None for step in simulated_odometry(queries, EXACT, 0)] == [True, True, True, False]


def test_measured_odometry_has_the_stated_deviation():
    step, noise, rng = Rigid3d([1, 0, 0, 0], [0, 0, -2.0]), OdometryNoise(), np.random.default_rng(0)
    errors = np.array([disturbed(step, noise, rng).tvec - step.tvec for _ in range(3000)])
    # The turn swings the way of 2 m a little too.
    position, rotation = odometry_deviations(step, noise)
    assert np.allclose(errors.std(axis=0), [np.hypot(position, 2 * rotation)] * 2 + [position], rtol=0.08)


def test_height_and_tilt_of_the_mapping_drive_hold_particles_softly():
    mounting = mounting_of(street_map(200))
    level = looking(np.array([20.0, 1.0, 1.5]), 0.3)
    high = Rigid3d(level.qvec, -level.R @ np.array([20.0, 1.0, 2.5]))
    tilted = Rigid3d(multiply(quaternions_from_vectors(np.array([[0.1, 0, 0]])), level.qvec[None])[0], [0, 0, 0])
    tilted = Rigid3d(tilted.qvec, -tilted.R @ level.center())
    very_high = Rigid3d(level.qvec, -level.R @ np.array([20.0, 1.0, 200.0]))
    values = mounting.log_likelihood(*arrays([level, high, tilted, very_high]))
    assert values[0] == pytest.approx(0.0, abs=1e-9)
    assert values[1] < -3
    assert values[2] < -3
    assert np.isfinite(values[3])


def test_heading_is_not_held_by_the_mapping_drive():
    mounting = mounting_of(street_map(200))
    turned_round = looking(np.array([20.0, 1.0, 1.5]), 2.5)
    assert mounting.log_likelihood(*arrays([turned_round]))[0] == pytest.approx(0.0, abs=1e-9)


def test_cameras_held_by_hand_hold_nothing_tightly():
    scene_map = street_map(50)
    rng = np.random.default_rng(0)
    images = tuple(
        replace(image, cam_from_world=Rigid3d(rng.normal(size=4), rng.normal(0, 2, 3))) for image in scene_map.images
    )
    mounting = mounting_of(replace(scene_map, images=images))
    assert mounting.tilt_error_rad > 0.5
    assert mounting.height_error_m > 0.5


def test_a_map_without_posed_images_says_nothing():
    assert mounting_of(replace(street_map(50), images=())) is None


def test_up_comes_from_the_cameras_where_the_map_has_no_gravity():
    assert np.allclose(mounting_of(replace(street_map(50), gravity_in_world=None)).up, [0, 0, 1], atol=1e-9)


def test_a_prior_prefers_what_it_says():
    right, far = looking(np.array([20.0, 1, 1.5]), 0), looking(np.array([26.0, 1, 1.5]), 0)
    particles = arrays([right, far])
    up = np.array([0.0, 0, 1])
    prior = QueryPrior(position=[20, 1, 1.5], position_error_m=2.0)
    assert np.allclose(prior_log_likelihood(prior, *particles, up), [0, -4.5])
    assert np.allclose(prior_log_likelihood(None, *particles, up), 0)
    prior = QueryPrior(height_m=1.7, height_error_m=0.1)
    assert np.allclose(prior_log_likelihood(prior, *particles, up), -2)
    prior = QueryPrior(gravity_in_camera=[0, 1, 0], gravity_error_deg=1.0)
    assert np.allclose(prior_log_likelihood(prior, *particles, up), 0, atol=1e-9)
    prior = QueryPrior(gravity_in_camera=[0, 1, 0.1], gravity_error_deg=1.0)
    assert (prior_log_likelihood(prior, *particles, up) < -5).all()


def test_a_sequence_is_a_condition_in_the_order_of_time_or_name():
    images = [ImageData(f"{c}/{k}.png", f"{k}.png", c) for k in (2, 0, 1) for c in ("snow", "night")]
    found = sequences_of(images)
    assert list(found) == ["snow", "night"]
    assert [image.name for image in found["snow"]] == ["snow/0.png", "snow/1.png", "snow/2.png"]
    timed = [ImageData(name, name, "", timestamp_s=time) for name, time in (("a", 3.0), ("b", 1.0))]
    assert [image.name for image in in_order(timed)] == ["b", "a"]


def test_frames_are_made_one_at_a_time_and_say_why_an_image_is_missing():
    queries = [query_of(k, pose) for k, pose in enumerate(drive(3))]
    asked = []

    def labels(query):
        asked.append(query.name)
        if query is queries[1]:
            raise FileNotFoundError("no such image")
        return label_image(query.cam_from_world)

    frames = make_frames(queries, labels, (None, None, None), candidates=lambda query: (query.cam_from_world,))
    assert asked == []
    first = next(frames)
    assert asked == ["night/000.png"]
    assert first.candidates() == (queries[0].cam_from_world,)
    second, third = frames
    assert (second.labels, second.missing) == (None, "no such image")
    assert third.labels is not None


def test_label_maps_by_name_serve_as_well_and_absent_ones_are_said():
    queries = [query_of(k, pose) for k, pose in enumerate(drive(2))]
    known = {queries[0].name: label_image(queries[0].cam_from_world)}
    one, two = make_frames(queries, known, (None, None))
    assert one.labels is known[queries[0].name]
    assert two.missing == "/photos/night/001.png: no labels are there for this image"
