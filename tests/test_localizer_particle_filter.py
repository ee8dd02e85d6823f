"""Weights, resampling and the dominant mode, and the likelihood of labelled points against straightforward loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sequence_toys import CAMERA, NUM_LABELS, VOCABULARY, drive, label_image, looking, street_map, toy_statistics

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.localizer import label_likelihood
from core.localizer.label_likelihood import (
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    labelled_points,
    mean_log_ratios,
    near_points,
    rotations_of,
)
from core.localizer.particle_filter import (
    FilterConfig,
    dominant_mode,
    joined,
    normalised,
    num_effective,
    particle_set,
    resampled,
    spread,
    systematic,
    tempered,
    turned,
)
from core.records import LabelMap

SHARP = LikelihoodConfig(cells_across=128, blur_cells=0.0, crowd=0.0, same_place_m=0.0)


def cloud_around(pose, count=500, position_m=0.3, turn_rad=0.02, seed=0):
    rng = np.random.default_rng(seed)
    turns = np.hstack([np.ones((count, 1)), rng.normal(0, turn_rad / 2, (count, 3))])
    qvec = np.array([(Rigid3d(q, [0, 0, 0]) @ pose).qvec for q in turns])
    return qvec * rng.choice([-1, 1], (count, 1)), pose.center() + rng.normal(0, position_m, (count, 3))


@pytest.fixture(scope="module")
def scene_map():
    return street_map(1500)


@pytest.fixture(scope="module")
def prepared(scene_map):
    points = labelled_points(scene_map, toy_statistics(), SHARP)
    return points, label_probabilities(toy_statistics(), NUM_LABELS, SHARP)


def test_log_weights_are_normalised_however_small_and_impossible_ones_stay_impossible():
    weights = normalised(np.array([-5000.0, -5001.0, -np.inf, np.nan]))
    assert np.exp(weights).sum() == pytest.approx(1)
    assert weights[0] - weights[1] == pytest.approx(1)
    assert np.exp(weights[2:]).tolist() == [0, 0]
    assert np.allclose(np.exp(normalised(np.full(4, -np.inf))), 0.25)


def test_effective_particles_are_counted():
    assert num_effective(np.zeros(10)) == pytest.approx(10)
    assert num_effective(np.array([0.0, -np.inf, -np.inf])) == pytest.approx(1)


def test_systematic_resampling_gives_each_its_share_to_within_one():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(50, 0.3))
    for seed in range(20):
        times = np.bincount(systematic(weights, 1000, np.random.default_rng(seed)), minlength=50)
        assert times.sum() == 1000
        assert np.abs(times - 1000 * weights).max() < 1 + 1e-9
    certain = systematic(np.array([0.0, 1.0, 0.0]), 7, rng)
    assert certain.tolist() == [1] * 7


def test_resampling_keeps_the_mean_and_roughens():
    pose = looking(np.array([10.0, 0, 1.5]), 0.2)
    particles = particle_set(*cloud_around(pose, 2000), np.zeros(2000), 3)
    weighted = particle_set(particles.qvec, particles.centers, -((particles.centers[:, 0] - 10.3) ** 2) / 0.05, 3)
    drawn = resampled(weighted, FilterConfig(), np.random.default_rng(0))
    assert drawn.step == 3
    assert drawn.num_effective == pytest.approx(2000)
    assert len(np.unique(drawn.centers, axis=0)) == 2000
    assert np.allclose(drawn.centers.mean(axis=0), weighted.weights @ weighted.centers, atol=0.03)
    assert np.allclose(np.linalg.norm(drawn.qvec, axis=1), 1)


def test_roughening_shakes_only_what_is_in_doubt():
    rng = np.random.default_rng(0)
    count, doubt = 4000, np.array([1.0, 0.3, 0.05, 0.002, 0.03, 0.002])
    errors = rng.normal(0, doubt, (count, 6))
    qvec = turned(np.tile([1.0, 0, 0, 0], (count, 1)), errors[:, 3:])
    found = resampled(particle_set(qvec, errors[:, :3], np.zeros(count), 0), FilterConfig(roughening=0.3), rng)
    assert found.centers[:, :2].std(axis=0) == pytest.approx(doubt[:2] * np.sqrt(1.09), rel=0.1)
    assert found.centers[:, 2].std() < 0.07
    assert np.abs(found.qvec[:, 1]).std() < 0.002


def test_the_dominant_mode_has_the_mean_and_covariance_of_its_particles():
    pose = looking(np.array([10.0, 0, 1.5]), 0.2)
    cloud = dominant_mode(particle_set(*cloud_around(pose, 4000), np.zeros(4000), 0), FilterConfig())
    assert cloud.share == pytest.approx(1, abs=0.01)
    assert np.allclose(cloud.cam_from_world.center(), pose.center(), atol=0.03)
    assert np.allclose(cloud.cam_from_world.R, pose.R, atol=0.003)
    assert np.allclose(np.sqrt(np.diag(cloud.covariance)), [0.3] * 3 + [0.02] * 3, rtol=0.06)
    assert cloud.position_error_m == pytest.approx(0.3, rel=0.1)
    assert cloud.rotation_error_deg == pytest.approx(np.degrees(0.02), rel=0.1)


def test_of_two_places_the_likelier_is_the_estimate_and_not_their_middle():
    here, there = looking(np.array([10.0, 0, 1.5]), 0.0), looking(np.array([30.0, 0, 1.5]), 0.0)
    (q1, c1), (q2, c2) = cloud_around(here, 300), cloud_around(there, 300, seed=1)
    log_weights = np.log(np.r_[np.full(300, 0.4), np.full(300, 0.6)])
    cloud = dominant_mode(particle_set(np.vstack([q1, q2]), np.vstack([c1, c2]), log_weights, 0), FilterConfig())
    assert np.allclose(cloud.cam_from_world.center(), there.center(), atol=0.1)
    assert cloud.share == pytest.approx(0.6, abs=0.01)


def test_two_headings_at_one_place_are_two_modes():
    one, other = looking(np.array([10.0, 0, 1.5]), 0.0), looking(np.array([10.0, 0, 1.5]), np.pi / 2)
    (q1, c1), (q2, c2) = cloud_around(one, 300), cloud_around(other, 200, seed=1)
    cloud = dominant_mode(particle_set(np.vstack([q1, q2]), np.vstack([c1, c2]), np.zeros(500), 0), FilterConfig())
    assert np.allclose(cloud.cam_from_world.R, one.R, atol=0.02)
    assert cloud.share == pytest.approx(0.6, abs=0.01)


def test_particles_start_level_around_the_given_poses_each_as_often():
    poses = [looking(np.array([x, 0.0, 1.5]), 0.0) for x in (0.0, 1000.0)]
    qvec, centers = np.array([pose.qvec for pose in poses]), np.array([pose.center() for pose in poses])
    q, c = spread(qvec, centers, 4000, 5.0, 10.0, np.array([0.0, 0, 1]), np.random.default_rng(0))
    assert (c[:, 0] > 500).sum() == 2000
    assert np.allclose(c[:, 2], 1.5)
    assert c[:2000, :2].std(axis=0) == pytest.approx([5, 5], rel=0.06)
    forward = rotations_of(q)[:, 2]
    assert np.abs(forward[:, 2]).max() < 1e-9
    assert np.degrees(np.arctan2(forward[:, 1], forward[:, 0])).std() == pytest.approx(10, rel=0.06)


def test_tempering_finds_a_peak_that_is_too_sharp_for_one_step():
    """Taken at once, one of 2,000 particles spread over 20 m would win, wherever it stands."""
    pose = looking(np.array([0.0, 0, 1.5]), 0.0)
    start = particle_set(*cloud_around(pose, 2000, position_m=5.0), np.zeros(2000), 0)
    peak = np.array([3.0, -2.0, 1.0])

    def score(qvec, centers):
        return -(np.linalg.norm(centers - peak, axis=1) ** 2)

    at_once, in_parts = (
        tempered(start, score, 50.0, replace(FilterConfig(), stages=stages), np.random.default_rng(0)) for stages in (1, 12)
    )
    cloud = dominant_mode(in_parts, FilterConfig())
    assert at_once.num_effective < 5
    assert in_parts.num_effective > 500
    assert np.linalg.norm(cloud.cam_from_world.center() - peak) < 0.1
    assert cloud.position_error_m == pytest.approx(0.1, rel=0.5)  # exp(-50 d^2) has that deviation


def test_other_poses_take_the_place_of_some_particles():
    pose = looking(np.array([0.0, 0, 1.5]), 0.0)
    particles = particle_set(*cloud_around(pose, 100), np.zeros(100), 0)
    far = np.full((30, 3), 99.0)
    found = joined(particles, np.tile(pose.qvec, (30, 1)), far, np.random.default_rng(0))
    assert (found.centers[:, 0] == 99).sum() == 30
    assert found.weights.sum() == pytest.approx(1)


def test_label_probabilities_are_rows_without_zeros_with_and_without_statistics():
    for statistics in (None, toy_statistics()):
        rows = label_probabilities(statistics, NUM_LABELS, LikelihoodConfig())
        assert np.allclose(rows.sum(axis=1), 1)
        assert rows.min() > 0
        assert (rows.argmax(axis=1) == np.arange(NUM_LABELS)).all()
    unseen = replace(toy_statistics(), joint=np.zeros((NUM_LABELS, NUM_LABELS)))
    assert np.allclose(label_probabilities(unseen, NUM_LABELS, LikelihoodConfig()), 1 / NUM_LABELS)


def straightforward(scene_map, statistics, labels, camera, pose, config):
    """The likelihood of PAPER 3.5 as it is written, one point after the other, without cells."""
    probabilities = label_probabilities(statistics, NUM_LABELS, config)
    counts = np.bincount(labels.labels.ravel(), minlength=NUM_LABELS)
    present = counts > 0
    shares = (counts + 1) / (labels.labels.size + present.sum())
    visibility, center, total, weight, count = scene_map.visibility, pose.center(), 0.0, 0.0, 0
    for i, point in enumerate(scene_map.points3D):
        if statistics is not None and not statistics.stationary[scene_map.labels.labels[i]]:
            continue
        offset = center - point
        distance = np.linalg.norm(offset)
        if visibility.max_distance[i] <= 0:
            continue
        near, far = visibility.min_distance[i] / config.distance_slack, visibility.max_distance[i] * config.distance_slack
        angle = np.arccos(np.clip(offset @ visibility.direction[i] / distance, -1, 1))
        if not (near < distance < far and angle < visibility.angle_rad[i] / 2 + np.radians(config.angle_slack_deg)):
            continue
        share = scene_map.labels.vote_share[i]
        in_camera = pose.apply(point[None])[0]
        if in_camera[2] <= 0.1:
            continue
        x, y = camera.project(in_camera[None])[0]
        if not (-0.5 <= x < camera.width - 0.5 and -0.5 <= y < camera.height - 0.5):
            continue
        count += 1
        weight += share
        label = labels.labels[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
        total += share * np.log(probabilities[scene_map.labels.labels[i], label] / shares[label])
    used = (visibility.max_distance > 0) & (statistics is None or statistics.stationary[scene_map.labels.labels])
    return total / max(weight, config.min_visible * scene_map.labels.vote_share[used].mean()), count


@pytest.mark.parametrize("wrong", [0.0, 0.4])
def test_the_batched_likelihood_is_that_of_a_loop_over_points(scene_map, wrong):
    stationary = np.ones(NUM_LABELS, bool)
    stationary[3] = False
    statistics = toy_statistics(stationary=stationary)
    rng = np.random.default_rng(0)
    varied = replace(scene_map, labels=replace(scene_map.labels, vote_share=rng.uniform(0.4, 1, len(scene_map.points3D))))
    labels = label_image(drive(9)[8], wrong=wrong)
    points = labelled_points(varied, statistics, SHARP)
    probabilities = label_probabilities(statistics, NUM_LABELS, SHARP)
    volume = label_volume(labels, CAMERA, probabilities, np.unique(points.labels.numpy()), SHARP)
    assert volume.cell_px == 1
    poses = [*drive(12)[6:], looking(np.array([20.0, 2.0, 1.4]), 0.3), looking(np.array([20.0, 2.0, 1.4]), 3.0)]
    qvec, centers = np.array([pose.qvec for pose in poses]), np.array([pose.center() for pose in poses])
    values, counts = mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)
    expected = [straightforward(varied, statistics, labels, CAMERA, pose, SHARP) for pose in poses]
    assert counts.tolist() == [count for _, count in expected]
    assert np.allclose(values, [value for value, _ in expected], atol=2e-3)  # f32 may round a projection to the next pixel


def test_blocks_of_poses_change_nothing(scene_map, prepared, monkeypatch):
    points, probabilities = prepared
    volume = label_volume(label_image(drive(9)[8]), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    qvec, centers = cloud_around(drive(9)[8], 60)
    whole = mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)[0]
    monkeypatch.setattr(label_likelihood, "_MAX_BLOCK", 7 * len(points))
    assert np.allclose(whole, mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)[0], atol=1e-5)


def test_points_that_all_poses_surely_see_are_scored_as_if_each_pose_were_asked(scene_map, prepared, monkeypatch):
    points, probabilities = prepared
    volume = label_volume(label_image(drive(9)[8]), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    surely, share = label_likelihood._surely_visible, []

    def counted(*known):
        share.append(float(surely(*known).float().mean()))
        return surely(*known)

    for position_m in (0.1, 1.0):
        qvec, centers = cloud_around(drive(9)[8], 200, position_m)
        monkeypatch.setattr(label_likelihood, "_surely_visible", counted)
        fast = mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)
        monkeypatch.setattr(label_likelihood, "_surely_visible", lambda points, *_: torch.zeros(len(points), dtype=torch.bool))
        plain = mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)
        assert np.array_equal(fast[1], plain[1])
        assert np.allclose(fast[0], plain[0], atol=1e-5)
    assert share[0] > share[1] > 0.02


def test_the_true_pose_fits_best_and_a_pose_that_sees_nothing_says_nothing(prepared):
    points, probabilities = prepared
    truth = drive(9)[8]
    volume = label_volume(label_image(truth, wrong=0.3), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    around = [truth, *(looking(truth.center() + [dx, dy, 0], a) for dx, dy, a in ((3, 0, 0), (0, 2, 0), (0, 0, 0.2)))]
    away = looking(np.array([-500.0, 0, 1.5]), 0)
    qvec, centers = np.array([p.qvec for p in [*around, away]]), np.array([p.center() for p in [*around, away]])
    values, counts = mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)
    assert values.argmax() == 0
    assert values[0] > 0.5
    assert (values[-1], counts[-1]) == (0.0, 0)


def test_a_few_points_that_fit_do_not_beat_a_street_that_fits_nearly(prepared):
    points, probabilities = prepared
    truth = drive(9)[8]
    volume = label_volume(label_image(truth, wrong=0.5), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    values = {}
    for crowd in (0.0, 0.9):
        config = replace(SHARP, crowd=crowd, min_visible=1)
        poses = [truth] * 8 + [looking(np.array([62.0, 0, 1.5]), 0.0)] * 2
        pose = rotations_of(np.array([p.qvec for p in poses])), np.array([p.center() for p in poses])
        values[crowd], counts = mean_log_ratios(points, volume, *pose, config)
    assert counts[-1] < 0.7 * counts[0]
    assert values[0.9][0] == pytest.approx(values[0.0][0])
    assert values[0.9][-1] == pytest.approx(values[0.0][-1] * counts[-1] / (0.9 * counts[0]))
    assert abs(values[0.0][-1]) > 0.01


def test_pixels_of_low_confidence_say_little(prepared):
    points, probabilities = prepared
    truth = drive(9)[8]
    qvec, centers = truth.qvec[None], truth.center()[None]
    sure = label_image(truth)
    values = []
    for confidence in (1.0, 0.3, 0.0):
        labels = LabelMap(sure.labels, NUM_LABELS, VOCABULARY, np.full(sure.labels.shape, confidence))
        volume = label_volume(labels, CAMERA, probabilities, np.arange(NUM_LABELS), replace(SHARP, confidence=1.0))
        values.append(mean_log_ratios(points, volume, rotations_of(qvec), centers, SHARP)[0][0])
    assert values[0] > values[1] > values[2]
    assert values[2] == pytest.approx(0, abs=1e-5)


def test_a_distorted_camera_is_compared_as_its_pinhole(prepared):
    points, probabilities = prepared
    truth = drive(9)[8]
    bent = Camera("OPENCV", 128, 96, [100, 100, 63.5, 47.5, -0.15, 0.02, 0.001, -0.001])
    volume = label_volume(label_image(truth, bent), bent, probabilities, np.arange(NUM_LABELS), SHARP)
    straight = label_volume(label_image(truth), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    assert not volume.camera.has_distortion
    pose = rotations_of(truth.qvec[None]), truth.center()[None]
    expected = mean_log_ratios(points, straight, *pose, SHARP)[0][0]
    assert mean_log_ratios(points, volume, *pose, SHARP)[0][0] == pytest.approx(expected, rel=0.1)


def test_cells_grow_until_the_volume_fits(monkeypatch, prepared):
    monkeypatch.setattr(label_likelihood, "_MAX_VOLUME", 12 * 20 * 20)
    volume = label_volume(label_image(drive(1)[0]), CAMERA, prepared[1], np.arange(NUM_LABELS), SHARP)
    assert NUM_LABELS * volume.width * volume.height <= 12 * 20 * 20
    assert volume.cell_px > 1


def test_points_are_chosen_by_reach_and_rare_labels_first(prepared, scene_map):
    points, _ = prepared
    rng = np.random.default_rng(0)
    near = near_points(points, np.array([[70.0, 0, 1.5]]), 10_000, rng)
    distance = np.linalg.norm(near.points.numpy() + points.origin - [70, 0, 1.5], axis=1)
    assert 0 < len(near) < len(points)
    assert (distance < near.far.numpy()).all()
    labels = points.labels.clone()
    labels[:] = 0
    labels[:40] = 1  # one in forty
    uneven = replace(points, labels=labels)
    few = near_points(uneven, scene_map.points3D[::20], 200, rng)
    assert len(few) == 200
    assert (few.labels == 1).sum() > 2 * 200 * 40 / len(points)
    assert torch.equal(few.labels, few.labels.sort(descending=True).values)


def test_nothing_visible_is_lost_by_leaving_out_what_is_out_of_reach(prepared):
    points, probabilities = prepared
    truth = drive(9)[8]
    volume = label_volume(label_image(truth), CAMERA, probabilities, np.arange(NUM_LABELS), SHARP)
    qvec, centers = cloud_around(truth, 80, position_m=3.0)
    near = near_points(points, centers, 10_000, np.random.default_rng(0))
    whole, part = (mean_log_ratios(some, volume, rotations_of(qvec), centers, SHARP) for some in (points, near))
    assert np.array_equal(whole[1], part[1])
    assert np.allclose(whole[0], part[0], atol=1e-5)


def test_maps_that_cannot_be_compared_are_refused_in_a_sentence(scene_map):
    with pytest.raises(InputError, match="the map has no labels"):
        labelled_points(replace(scene_map, labels=None), None, SHARP)
    with pytest.raises(InputError, match="from where its points were seen"):
        labelled_points(replace(scene_map, visibility=None), None, SHARP)
    with pytest.raises(InputError, match=r"'other' .* 'toy/12'"):
        labelled_points(scene_map, toy_statistics(vocabulary="other"), SHARP)
    nothing_still = toy_statistics(stationary=np.zeros(NUM_LABELS, bool))
    with pytest.raises(InputError, match="none of the map's 1500 points"):
        labelled_points(scene_map, nothing_still, SHARP)
