"""A drive is localized as a whole: images that show too little are held by odometry and by the images around them."""

from dataclasses import replace

import numpy as np
import pytest
from drive_toys import NOISE, Photographer, described_street, drive_of
from sequence_toys import toy_statistics

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.geometry import Rigid3d
from core.localizer import autopsy
from core.localizer.autopsy import VERDICTS, explain
from core.localizer.drive import METHODS, localize_drive
from core.localizer.drive_adjustment import adjusted
from core.localizer.guided import GuidedMatcher
from core.localizer.motion import odometry_deviations
from core.localizer.pipeline import LocalizerConfig, localize_prepared
from core.localizer.pose_gaussian import PoseGaussian, adjoint, changed, noise
from core.localizer.tracks import DriveConfig, Look, Moment, Track, begun, best_apart, led, share_at
from core.steps import finish

SSMC, P3P = LocalizerConfig(method="ssmc-drive"), LocalizerConfig(method="p3p-drive")
WEAK = (6, 6, 60, 60, 6, 0, 6, 60, 6)
"""Keypoints on points of the map in each image; six among 150 of clutter are too few for one image alone."""


@pytest.fixture(scope="module")
def street():
    return described_street()


def followed(street, shown, config=SSMC, change=lambda frames: frames, missing=(), statistics=None):
    frames, counts = drive_of(shown)
    scene_map, own = street
    photographer = Photographer(scene_map, own, counts, missing=missing)
    steps = []
    statistics = toy_statistics(0.7) if statistics is None else statistics
    result = finish(localize_drive(change(frames), scene_map, photographer, config, statistics, 0), steps.append)
    return steps, result, photographer


def errors_m(localizations):
    return np.array([np.nan if one.error is None else one.error.position_m for one in localizations])


@pytest.fixture(scope="module")
def weak(street):
    return followed(street, WEAK)


def test_images_that_show_too_little_alone_are_localized_by_their_drive(street, weak):
    steps, result, photographer = weak
    alone = [
        localize_prepared(photographer(step.localization.query), street[0], LocalizerConfig(method="p3p")) for step in steps
    ]
    assert [one.result.failure is None for one in alone] == [count == 60 for count in WEAK]
    assert (errors_m(result.localizations) < 0.5).all()
    assert max(one.error.rotation_deg for one in result.localizations) < 2
    assert {one.result.method for one in result.localizations} == {"ssmc-drive"}
    assert (result.num_lost, result.num_recovered) == (0, 0)


def test_on_the_road_nothing_is_known_before_an_image_has_shown_it(street):
    shown = (0, 0, 60, 6, 0, 60)
    steps, result, _ = followed(street, shown, replace(SSMC, drive=DriveConfig(causal=True)))
    failed = [one.result.failure is not None for one in result.localizations]
    assert failed == [True, True, False, False, False, False]
    assert [step.lost for step in steps] == failed
    assert [step.localization for step in steps] == list(result.localizations)
    ahead, later, _ = followed(street, shown)
    assert [step.localization.result.failure for step in ahead] == [one.result.failure for one in result.localizations]
    assert (errors_m(later.localizations) < 0.5).all()  # at the end of the drive it is known of all


def test_without_labels_a_drive_goes_by_matches_alone(street):
    _, result, _ = followed(street, WEAK, P3P, lambda frames: [replace(frame, labels=None) for frame in frames])
    assert (errors_m(result.localizations) < 0.5).all()
    assert all(one.result.stats.label_fit is None for one in result.localizations)


def test_an_answer_holds_all_that_the_window_shows(weak):
    steps, result, _ = weak
    for one, covariance in zip(result.localizations, result.covariances):
        assert len(one.result.inlier_mask) == len(one.matches) == len(one.consistency.keep)
        assert len(one.result.guided) == one.result.stats.guided_matches
        assert one.result.config["drive.max_tracks"] == 8
        assert one.ranking
        assert np.linalg.eigvalsh(covariance).min() > 0
    for k, step in enumerate(steps):
        assert step.particles is None or step.particles.weights.sum() == pytest.approx(1)
        assert (step.index, step.total) == (k, 9)
        assert step.cloud is None or 0 < step.cloud.share <= 1


def test_the_error_is_about_what_the_covariance_says(weak):
    _, result, _ = weak
    stated = np.array([np.sqrt(np.trace(covariance[:3, :3])) for covariance in result.covariances])
    assert 0.1 < np.median(errors_m(result.localizations) / stated) < 3


def test_frames_without_an_image_are_failures_and_odometry_leads_past_them(street):
    _, result, _ = followed(street, (60,) * 7, missing=("night/002.png", "night/003.png"))
    failures = [one.result.failure for one in result.localizations]
    assert [why is not None for why in failures] == [False, False, True, True, False, False, False]
    assert "no such file" in failures[2]
    assert errors_m(result.localizations)[4:].max() < 0.2


def test_a_frame_without_labels_is_one_without_an_image(street):
    unlabelled = lambda frames: [replace(f, labels=None) if k == 2 else f for k, f in enumerate(frames)]  # noqa: E731
    _, result, _ = followed(street, (60,) * 5, change=unlabelled)
    assert "needs the labels of the query" in result.localizations[2].result.failure
    assert [one.result.failure is None for one in result.localizations] == [True, True, False, True, True]


def test_where_odometry_is_missing_the_images_own_poses_find_the_track_again(street):
    gap = lambda frames: [replace(f, odometry=None) if k == 4 else f for k, f in enumerate(frames)]  # noqa: E731
    _, result, _ = followed(street, (60,) * 8, change=gap)
    assert np.nanmax(errors_m(result.localizations)) < 0.3


def test_a_drive_that_shows_nothing_of_the_map_gets_no_pose(street):
    _, result, _ = followed(street, (0,) * 6)
    assert all(one.result.cam_from_world is None for one in result.localizations)
    assert all(one.result.failure.startswith("no track") for one in result.localizations)


def test_an_empty_drive_is_an_empty_answer(street):
    result = finish(localize_drive([], street[0], None, SSMC, None, 0))
    assert result.localizations == () == result.covariances


def test_a_map_that_does_not_know_from_where_its_points_were_seen_is_refused(street):
    with pytest.raises(InputError, match="from where its points were seen"):
        next(localize_drive([], replace(street[0], visibility=None), None, SSMC, None, 0))


def test_a_map_without_labels_is_refused_where_they_are_needed(street):
    bare = replace(street[0], labels=None)
    with pytest.raises(InputError, match="the map has no labels, which 'ssmc-drive' goes by"):
        next(localize_drive([], bare, None, SSMC, None, 0))
    assert finish(localize_drive([], bare, None, P3P, None, 0)).localizations == ()


def test_a_long_drive_is_settled_part_by_part(street):
    short = replace(SSMC, drive=DriveConfig(window=4))
    steps, result, photographer = followed(street, (60, 6, 60, 6, 6, 60, 6, 60, 60, 6), short)
    assert len(result.localizations) == len(steps) == 10
    assert len(photographer.asked) == 10  # each image once
    assert np.nanmax(errors_m(result.localizations)) < 0.5
    assert sum(one.result.failure is None for one in result.localizations) >= 9


def test_the_same_drive_gives_the_same_poses(street, weak):
    _, again, _ = followed(street, WEAK)
    for one, two in zip(weak[1].localizations, again.localizations):
        assert np.array_equal(one.result.cam_from_world.matrix(), two.result.cam_from_world.matrix())


def test_places_far_apart_that_are_as_likely_share_the_doubt_and_those_near_do_not(street):
    frames, _ = drive_of((60,))
    pose = frames[0].query.cam_from_world
    beside, away = changed(pose, np.array([0, 0, 0, 0.5, 0, 0])), changed(pose, np.array([0, 0, 0, 5.0, 0, 0]))
    tracks = [Track((Moment(PoseGaussian(each, np.eye(6)), 50.0, None),)) for each in (pose, beside, away)]
    assert share_at(tracks[:2], -1) == pytest.approx(1)
    assert share_at(tracks, -1) == pytest.approx(2 / 3)
    assert [track.now.pose for track in best_apart(tracks, 2)] == [pose, beside]


def test_the_autopsy_says_what_holds_a_pose_of_a_drive(street, weak):
    _, result, _ = weak
    causes = [explain(one, street[0]) for one in result.localizations]
    assert {each.verdict for each in causes} <= set(VERDICTS)
    assert "images around it" in causes[5].cause
    _, lost, _ = followed(street, (0,) * 3)
    told = explain(lost.localizations[1], street[0])
    assert told.verdict == "wrong matches" or "few" in told.verdict
    assert "nor do the images around it" in told.cause
    _, gone, _ = followed(street, (60, 60), missing=("night/001.png",))
    assert explain(gone.localizations[1], street[0]).verdict == "no labels"
    assert tuple(METHODS) == autopsy.DRIVES


def test_a_gaussian_goes_with_a_step_and_comes_back():
    rng = np.random.default_rng(3)
    pose = changed(Rigid3d.identity(), np.array([0.2, -0.4, 0.1, 3.0, 1.0, -2.0]))
    spread = rng.normal(size=(6, 6))
    known = PoseGaussian(pose, spread @ spread.T + np.eye(6))
    step = changed(Rigid3d.identity(), np.array([0.0, 0.1, 0.02, 0.1, 0.0, -2.0]))
    there = known.moved(step, (1e-6, 1e-6))
    back = there.moved_back(step, (1e-6, 1e-6))
    assert np.allclose(back.covariance, known.covariance, atol=1e-6)
    assert np.allclose(back.cam_from_world.matrix(), pose.matrix())
    error = np.array([1e-5, -2e-5, 1e-5, 2e-5, 1e-5, -1e-5])
    assert np.allclose(there.offset(step @ changed(pose, error)), adjoint(step) @ error, atol=1e-9)
    assert known.distance(pose) == pytest.approx(0, abs=1e-6)


def test_the_covariance_in_the_world_is_that_of_the_centre():
    rng = np.random.default_rng(4)
    pose = changed(Rigid3d.identity(), np.array([0.5, -0.3, 0.9, 3.0, 1.0, -2.0]))
    covariance = np.diag([1e-3, 2e-3, 3e-3, 0.04, 0.01, 0.02]) ** 2
    errors = rng.multivariate_normal(np.zeros(6), covariance, 20_000)
    centers = np.array([changed(pose, error).center() for error in errors])
    stated = PoseGaussian(pose, covariance).in_world()
    assert np.allclose(np.cov(centers.T), stated[:3, :3], atol=0.05 * stated[:3, :3].max())
    assert np.allclose(stated[3:, 3:], covariance[:3, :3])


def test_a_track_is_led_on_and_back_to_where_the_camera_was(street):
    frames, counts = drive_of((60, 60, 60))
    scene_map, own = street
    looks = looks_of(frames, counts, scene_map, own)
    track = begun(looks, frames[2].query.cam_from_world, [])
    assert [pose_error(m.pose, f.query.cam_from_world).position_m < 0.2 for m, f in zip(track.moments, frames)] == [True] * 3
    on = led(begun(looks[:2], frames[1].query.cam_from_world, []), looks[2], 2)
    assert len(on.moments) == 2
    assert pose_error(on.now.pose, frames[2].query.cam_from_world).position_m < 0.2
    assert begun(looks, frames[2].query.cam_from_world, [track]) is None  # it is there already


def test_adjusting_a_track_makes_its_poses_agree_with_images_and_odometry(street):
    frames, counts = drive_of((60, 4, 60, 4, 60))
    scene_map, own = street
    looks = looks_of(frames, counts, scene_map, own)
    track = begun(looks, frames[4].query.cam_from_world, [])
    off = np.array([0.01, 0.0, 0.01, 0.15, 0.0, 0.1])
    bent = [
        replace(m, known=PoseGaussian(changed(m.pose, off * (-1) ** k), m.known.covariance))
        for k, m in enumerate(track.moments)
    ]
    found = adjusted(replace(track, moments=tuple(bent)), looks)
    errors = [pose_error(m.pose, f.query.cam_from_world).position_m for m, f in zip(found.moments, frames)]
    assert max(errors[::2]) < 0.06
    assert max(errors) < 0.3  # where four keypoints say little, odometry does
    assert found.guided_evidence >= track.guided_evidence - 5
    same = adjusted(found, looks)
    assert max(pose_error(a.pose, b.pose).position_m for a, b in zip(found.moments, same.moments)) < 0.03


def looks_of(frames, counts, scene_map, own):
    photographer = Photographer(scene_map, own, counts)
    looks = []
    for frame in frames:
        step = Rigid3d.identity() if frame.odometry is None else frame.odometry
        features = photographer.features(frame.query)
        guided = GuidedMatcher(features, scene_map, frame.query.camera)
        looks.append(Look(frame, step, odometry_deviations(step, NOISE), guided=guided))
    return tuple(looks)


def test_noise_is_a_covariance():
    assert np.allclose(np.sqrt(np.diag(noise((0.5, 0.1)))), [0.1] * 3 + [0.5] * 3)
