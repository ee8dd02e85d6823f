"""A vehicle is followed through a street by labels alone; whatever is missing is said, never made up."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_toys import (
    CAMERA,
    NUM_LABELS,
    VOCABULARY,
    drive,
    label_image,
    looking,
    query_of,
    street_map,
    toy_statistics,
)

from core.errors import InputError
from core.geometry import Rigid3d
from core.localizer.autopsy import SEQUENCE, VERDICTS, explain
from core.localizer.frames import make_frames, simulated_odometry
from core.localizer.particle_filter import FilterConfig
from core.localizer.sequence import METHOD, SequenceConfig, TrackingConfig, localize_sequence
from core.records import LabelMap, QueryPrior
from core.sequences import OdometryNoise, SideView
from core.steps import finish

CONFIG = SequenceConfig(filter=FilterConfig(num_particles=300, start_factor=2.0))
NOISE = OdometryNoise()


@pytest.fixture(scope="module")
def scene_map():
    return street_map(1200)


def frames_of(poses, wrong=0.3, start_error=(2.0, -1.0, 0.0), noise=NOISE, seed=0):
    queries = [query_of(k, pose) for k, pose in enumerate(poses)]
    prior = QueryPrior(position=poses[0].center() + start_error, position_error_m=3.0)
    queries[0] = replace(queries[0], prior=prior)
    labels = {q.name: label_image(pose, wrong=wrong, seed=k) for k, (q, pose) in enumerate(zip(queries, poses))}
    return list(make_frames(queries, labels, simulated_odometry(queries, noise, seed), noise))


def steps_of(frames, scene_map, statistics=None, config=CONFIG, seed=0):
    steps = []
    result = finish(localize_sequence(frames, scene_map, statistics, config, seed), steps.append)
    return steps, result


def errors_m(result):
    return np.array([np.nan if one.error is None else one.error.position_m for one in result.localizations])


@pytest.fixture(scope="module")
def followed(scene_map):
    return steps_of(frames_of(drive(9, 2.0, 12.0, sideways_m=0.5, yaw_deg=5)), scene_map, toy_statistics(0.7))


def test_a_drive_is_followed_from_a_rough_start_to_decimetres(followed):
    steps, result = followed
    assert len(steps) == len(result.localizations) == len(result.covariances) == len(result.seconds) == 9
    assert np.median(errors_m(result)[2:]) < 0.3
    assert max(one.error.rotation_deg for one in result.localizations[2:]) < 2
    assert (result.num_lost, result.num_recovered) == (0, 0)
    assert {one.result.method for one in result.localizations} == {"pfsl"}
    assert steps[-1].fraction == 1.0


def test_every_step_holds_the_particles_and_what_they_say(followed):
    steps, _ = followed
    for k, step in enumerate(steps):
        assert step.particles.step == k
        assert step.particles.weights.sum() == pytest.approx(1)
        assert step.evidence > step.chance
        assert step.covariance.shape == (6, 6)
        assert np.array_equal(step.estimate.matrix(), step.localization.result.cam_from_world.matrix())
    assert len(steps[-1].particles) == 300


def test_the_error_is_about_what_the_covariance_says(followed):
    steps, result = followed
    stated = np.array([np.sqrt(np.trace(step.covariance[:3, :3])) for step in steps[2:]])
    assert np.median(errors_m(result)[2:] / stated) < 3


def test_the_same_seed_gives_the_same_poses_and_another_seed_others(scene_map):
    frames = frames_of(drive(3, 2.0, 12.0))
    one, two, three = (steps_of(frames, scene_map, seed=seed)[1] for seed in (4, 4, 5))
    poses = [[found.result.cam_from_world.matrix() for found in result.localizations] for result in (one, two, three)]
    assert np.array_equal(poses[0], poses[1])
    assert not np.array_equal(poses[0], poses[2])


def test_without_statistics_or_prior_the_place_is_found_among_all_mapping_cameras(scene_map):
    frames = frames_of(drive(7, 2.0, 30.0), wrong=0.2)
    frames[0] = replace(frames[0], query=replace(frames[0].query, prior=None))
    config = replace(CONFIG, filter=replace(CONFIG.filter, num_particles=600, start_factor=4.0))
    result = steps_of(frames, scene_map, config=config)[1]
    assert errors_m(result)[-1] < 0.5


def test_a_known_position_says_nothing_of_which_of_a_vehicles_cameras_it_is(scene_map):
    """The mapping image nearest to the prior is of a camera that looked to the side."""
    frames = frames_of(drive(5, 2.0, 12.0))
    prior = frames[0].query.prior
    aside = replace(scene_map.images[0], name="ref/aside.png", cam_from_world=looking(prior.position, np.pi / 2))
    steps, result = steps_of(frames, replace(scene_map, images=(*scene_map.images, aside)), toy_statistics(0.7))
    assert errors_m(result)[-1] < 0.4
    assert not steps[-1].lost


def test_candidates_of_retrieval_are_where_the_search_begins(scene_map):
    poses = drive(2, 2.0, 30.0)
    frames = frames_of(poses)
    near = looking(poses[0].center() + [1.0, 0.5, 0], 0.05)
    frames[0] = replace(frames[0], query=replace(frames[0].query, prior=None), candidates=lambda: (near,))
    steps, _ = steps_of(frames, scene_map)
    assert np.linalg.norm(steps[0].estimate.center() - poses[0].center()) < 2.0


def test_frames_without_an_image_are_failures_and_the_track_goes_on_behind_them(scene_map):
    frames = frames_of(drive(9, 2.0, 12.0))
    for k in (3, 4):
        frames[k] = replace(frames[k], labels=None, missing=f"frame {k}: file not found")
    steps, result = steps_of(frames, scene_map, toy_statistics(0.7))
    failures = [one.result.failure for one in result.localizations]
    assert failures[3:5] == ["frame 3: file not found", "frame 4: file not found"]
    assert [k for k, why in enumerate(failures) if why] == [3, 4]
    assert result.covariances[3] is None
    assert (steps[3].evidence, steps[3].chance) == (None, None)
    assert steps[4].cloud.position_error_m > steps[2].cloud.position_error_m
    assert errors_m(result)[-1] < 0.5


def test_without_odometry_doubt_grows_and_labels_still_hold_the_track(scene_map):
    frames = frames_of(drive(9, 2.0, 12.0))
    frames = [replace(frame, odometry=None) if k in (4, 5) else frame for k, frame in enumerate(frames)]
    result = steps_of(frames, scene_map, toy_statistics(0.7))[1]
    assert errors_m(result)[-1] < 0.6


def test_a_jump_that_odometry_does_not_tell_is_noticed_and_recovered_from(scene_map):
    """The vehicle is carried 30 m on, without odometry knowing."""
    before, after = drive(5, 2.0, 8.0), drive(14, 1.0, 45.0)
    frames = frames_of(before + after, wrong=0.2)
    unknown = make_frames([f.query for f in frames], {f.query.name: f.labels for f in frames}, [f.odometry for f in frames])
    frames = list(unknown)
    still = Rigid3d([1, 0, 0, 0], [0, 0, -2.0])
    frames[5] = replace(frames[5], odometry=still)
    config = replace(CONFIG, tracking=TrackingConfig(patience=2, injected_share=0.5))
    steps, result = steps_of(frames, scene_map, toy_statistics(0.8), config)
    lost = [step.lost for step in steps]
    assert not any(lost[:5])
    assert any(lost[5:])
    assert result.num_lost >= 1
    assert all("lost" in one.result.failure for step, one in zip(steps, result.localizations) if step.lost)
    assert result.num_recovered >= 1
    assert errors_m(result)[-1] < 1.0


def patient(**more):
    return replace(CONFIG, tracking=TrackingConfig(patience=100, **more))


def test_a_track_that_begins_at_a_wrong_place_is_left_for_one_that_fits_better(scene_map):
    """The first frame's prior is 28 m off; chance, that is asked patiently here, does not tell."""
    frames = frames_of(drive(14, 1.5, 9.0, sideways_m=0.5, yaw_deg=8), wrong=0.4, start_error=(28.0, 0, 0), seed=1)
    alone, contested = (
        steps_of(frames, scene_map, toy_statistics(0.6), patient(rival_share=share), 4)[1] for share in (0.0, 0.25)
    )
    assert not (errors_m(alone)[5:] < 20).any()  # far off, or no pose: they do not settle at the true place
    assert alone.num_lost == 0
    assert errors_m(contested)[-1] < 3  # it settles within some frames more
    assert (contested.num_lost, contested.num_recovered) == (1, 1)


def test_the_surer_the_prior_the_longer_a_better_place_must_fit(scene_map):
    """The same wrong start 28 m off, told as if known to 3 m and to 1 m: the odds against the other place are 44 and 392."""
    frames = frames_of(drive(14, 1.5, 9.0, sideways_m=0.5, yaw_deg=8), wrong=0.4, start_error=(28.0, 0, 0), seed=1)
    left = []
    for error_m in (3.0, 1.0):
        prior = replace(frames[0].query.prior, position_error_m=error_m)
        told = [replace(frames[0], query=replace(frames[0].query, prior=prior)), *frames[1:]]
        result = steps_of(told, scene_map, toy_statistics(0.6), patient(), seed=4)[1]
        left.append(next((frame for frame, error in enumerate(errors_m(result)) if error < 10), len(frames)))
    assert 0 < left[0] < left[1]


def test_a_track_that_is_right_is_not_left_for_another_place(scene_map):
    frames = frames_of(drive(10, 1.5, 9.0, sideways_m=0.5, yaw_deg=8), wrong=0.6, start_error=(1.0, -1.0, 0), seed=1)
    result = steps_of(frames, scene_map, toy_statistics(0.6), seed=1)[1]
    assert (result.num_lost, result.num_recovered) == (0, 0)
    assert np.max(errors_m(result)) < 1.0


def test_labels_that_say_nothing_give_failures_and_no_poses(scene_map):
    frames = frames_of(drive(8, 2.0, 12.0), wrong=1.0)
    result = steps_of(frames, scene_map, toy_statistics(0.7))[1]
    assert all(one.result.cam_from_world is None for one in result.localizations[3:])


def test_a_sequence_of_no_frames_and_of_frames_without_any_image(scene_map):
    steps, result = steps_of([], scene_map)
    assert (steps, result.localizations, result.seconds) == ([], (), ())
    blind = [replace(frame, labels=None) for frame in frames_of(drive(3))]
    steps, result = steps_of(blind, scene_map)
    assert [one.result.cam_from_world for one in result.localizations] == [None] * 3
    assert "no labels are there" in result.localizations[0].result.failure


def test_one_frame_is_a_sequence_too(scene_map):
    result = steps_of(frames_of(drive(1, 2.0, 12.0)), scene_map, toy_statistics(0.7))[1]
    assert errors_m(result)[0] < 1.5


def test_labels_of_another_vocabulary_are_refused_by_both_names(scene_map):
    frames = frames_of(drive(1))
    other = LabelMap(np.zeros((96, 128)), NUM_LABELS, "cityscapes")
    with pytest.raises(InputError, match=r"/photos/night/000.png: .*'cityscapes'.*'toy/12'"):
        steps_of([replace(frames[0], labels=other)], scene_map)
    with pytest.raises(InputError, match="'other'"):
        steps_of(frames, scene_map, toy_statistics(vocabulary="other"))


def test_maps_without_labels_visibility_or_posed_images_are_refused(scene_map):
    frames = frames_of(drive(1))
    for lacking in ({"labels": None}, {"visibility": None}, {"images": ()}):
        with pytest.raises(InputError, match="map"):
            steps_of(frames, replace(scene_map, **lacking))


def test_a_frame_without_intrinsics_or_of_another_size_is_a_failure_that_says_so(scene_map):
    frames = frames_of(drive(3, 2.0, 12.0))
    frames[1] = replace(frames[1], query=replace(frames[1].query, camera=None))
    small = LabelMap(np.zeros((48, 64)), NUM_LABELS, VOCABULARY)
    frames[2] = replace(frames[2], labels=small)
    result = steps_of(frames, scene_map, toy_statistics(0.7))[1]
    assert "no intrinsics" in result.localizations[1].result.failure
    assert "64 x 48, but the camera is for 128 x 96" in result.localizations[2].result.failure


def test_a_second_camera_of_the_vehicle_adds_its_evidence(scene_map):
    poses = drive(4, 2.0, 20.0)
    aside = Rigid3d([np.cos(0.3), 0, np.sin(0.3), 0], [0.1, 0, 0])  # turned by 34 degrees
    alone = frames_of(poses, wrong=0.3)
    both = [
        replace(frame, side_views=(SideView(CAMERA, label_image(aside @ pose, wrong=0.3, seed=99), aside),))
        for frame, pose in zip(alone, poses)
    ]
    one, two = (steps_of(frames, scene_map, toy_statistics(0.7)) for frames in (alone, both))
    assert two[0][-1].evidence > 1.4 * one[0][-1].evidence
    assert errors_m(two[1])[-1] < 0.4


def test_frames_are_taken_from_a_generator_one_by_one(scene_map):
    frames = frames_of(drive(3, 2.0, 12.0))
    taken = []

    def one_by_one():
        for frame in frames:
            taken.append(frame)
            yield frame

    steps = localize_sequence(one_by_one(), scene_map, None, CONFIG)
    first = next(steps)
    assert (len(taken), first.total, first.fraction) == (1, None, None)
    steps.close()
    assert len(taken) == 1


def test_a_pose_without_matches_is_explained_by_its_labels(followed, scene_map):
    assert SEQUENCE == METHOD
    _, result = followed
    autopsy = explain(result.localizations[-1], scene_map)
    values = {item.name: item.value for item in autopsy.evidence}
    assert autopsy.verdict == "localized"
    assert "the particles agree on one place" in autopsy.cause
    assert values["label_evidence"] == pytest.approx(result.localizations[-1].result.stats.label_fit)
    assert values["labelled"] == len(scene_map.points3D)
    assert values["seen"] > 50
    assert values["position_error_m"] < 0.5
    assert not {"keypoints", "matches", "inliers", "right"} & set(values)


def test_frames_without_a_pose_are_explained_by_why_there_is_none(followed, scene_map):
    _, result = followed
    found = result.localizations[-1]

    def verdict(failure, **more):
        failed = replace(found.result, cam_from_world=None, failure=failure)
        return explain(replace(found, result=failed, error=None, **more), scene_map).verdict

    outside = replace(found.query, cam_from_world=looking(np.array([500.0, 0, 1.5]), 0))
    assert verdict("lost: for 3 images the labels fitted the track no better than chance") == "lost"
    assert verdict("ambiguous: 20% of the particles agree on one place, at least 50% needed") == "unsettled"
    assert verdict("ambiguous: 20% of the particles agree on one place", query=outside) == "outside the map"
    assert verdict("night/3.png: no labels are there for this image", query=outside) == "no labels"
    away = replace(found.error, position_m=40.0)
    assert explain(replace(found, error=away), scene_map).verdict == "wrong pose"
    assert {"lost", "unsettled", "no labels"} <= set(VERDICTS)
