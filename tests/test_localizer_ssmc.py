"""SSMC: a match stays when its point and its pixel bear one label."""

import time
from dataclasses import replace

import numpy as np
import pytest
from localizer_toys import CAMERA, NUM_LABELS, counted, given_of, matches_to, query_at, street

from core.errors import InputError
from core.localizer.pipeline import LocalizerConfig, Prepared, localize_prepared
from core.localizer.ssmc import SsmcConfig, labels_near, ssmc
from core.records import Features, LabelMap


def prepared(query, matches):
    count = len(matches)
    features = Features(np.zeros((count, 2)), np.ones(count), np.zeros(count), np.zeros((count, 128)), "toy")
    return Prepared(query, features, matches)


def test_matches_are_kept_exactly_when_labels_are_equal():
    scene_map, matches, labels, pose = street(confusion=0.5)
    keep = ssmc(given_of(scene_map, matches, labels, pose)).keep
    x, y = np.rint(matches.points2D).astype(int).T
    assert np.array_equal(keep, labels.labels[y, x] == scene_map.labels.labels)
    assert 0 < keep.sum() < len(keep)


def test_a_window_finds_labels_of_pixels_beside():
    pixels = np.zeros((240, 320), int)
    pixels[100:, 150:] = 3
    labels = LabelMap(pixels, NUM_LABELS, "toy")
    points2D = np.array([[149.4, 120], [147.0, 120], [146.0, 120], [0, 0], [300, 200]])
    expected = np.array([3, 3, 3, 3, 3])
    assert labels_near(labels, points2D, expected).tolist() == [False, False, False, False, True]
    assert labels_near(labels, points2D, expected, 7).tolist() == [True, True, False, False, True]


def test_labels_that_do_not_stay_are_dropped():
    scene_map, matches, labels, pose = street()
    statistics = counted(np.eye(NUM_LABELS), np.arange(NUM_LABELS) != 2)
    keep = ssmc(given_of(scene_map, matches, labels, pose, statistics)).keep
    assert np.array_equal(keep, scene_map.labels.labels != 2)


def test_labels_that_move_speak_like_any_other_where_that_is_asked():
    scene_map, matches, labels, pose = street(confusion=0.5)
    statistics = counted(np.eye(NUM_LABELS), np.arange(NUM_LABELS) != 2)
    keep = ssmc(given_of(scene_map, matches, labels, pose, statistics, keep_moving=True)).keep
    assert np.array_equal(keep, ssmc(given_of(scene_map, matches, labels, pose)).keep)
    assert keep[scene_map.labels.labels == 2].any()


def test_matches_of_other_labels_may_count_though_they_are_never_drawn():
    scene_map, matches, labels, pose = street(confusion=0.5)
    keep = ssmc(given_of(scene_map, matches, labels, pose)).keep
    config = SsmcConfig(count_all=True)
    found = ssmc(given_of(scene_map, matches, labels, pose, ssmc=config))
    assert found.keep.all()
    assert np.array_equal(found.weights, keep)
    inliers = [
        localize_prepared(
            prepared(query_at(pose), matches), scene_map, LocalizerConfig(method="ssmc", ssmc=one), labels=labels
        ).result.stats.num_inliers
        for one in (SsmcConfig(), config)
    ]
    assert inliers == [keep.sum(), len(keep)]


def test_pixels_that_are_not_finite_are_dropped():
    scene_map, matches, labels, pose = street(count=30)
    pixels = matches.points2D.copy()
    pixels[4] = np.nan
    keep = ssmc(given_of(scene_map, matches_to(pixels, matches.point_ids), labels, pose)).keep
    assert np.flatnonzero(~keep).tolist() == [4]


def test_another_vocabulary_is_refused_with_both_names():
    scene_map, matches, labels, pose = street()
    other = LabelMap(labels.labels, NUM_LABELS, "world-19")
    with pytest.raises(InputError, match=r"night/query\.jpg: .*'world-19' \(8 labels\).*'toy' \(8 labels\)"):
        ssmc(given_of(scene_map, matches, other, pose))
    with pytest.raises(InputError, match="'toy', the label statistics of 'world-19'"):
        ssmc(given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS), vocabulary="world-19")))


def test_missing_labels_are_refused_in_words():
    scene_map, matches, labels, pose = street()
    with pytest.raises(InputError, match=r"'p3p' needs the labels of the query"):
        ssmc(given_of(scene_map, matches, None, pose))
    with pytest.raises(InputError, match="needs a labelled map"):
        ssmc(given_of(replace(scene_map, labels=None), matches, labels, pose))


def test_semantics_find_the_pose_among_wrong_matches_of_other_labels():
    scene_map, matches, labels, pose = street(count=600)
    rng = np.random.default_rng(1)
    ids = matches.point_ids.copy()
    ids[40:] = rng.integers(0, 600, 560)
    wrong = matches_to(matches.points2D, ids)
    config = LocalizerConfig(method="ssmc", ssmc=SsmcConfig())
    found = localize_prepared(prepared(query_at(pose), wrong), scene_map, config, labels=labels)
    assert found.error.position_m < 0.01
    assert not found.result.inlier_mask[~found.consistency.keep].any()
    assert found.consistency.keep.sum() < 200
    assert found.result.config["ssmc.window_px"] == 1


def test_a_failure_says_that_labels_left_too_few():
    scene_map, matches, labels, pose = street(count=50)
    keep = 3
    of_points = labels.at(matches.points2D)
    of_points[keep:] = (of_points[keep:] + 1) % NUM_LABELS
    relabelled = replace(scene_map, labels=replace(scene_map.labels, labels=of_points))
    config = LocalizerConfig(method="ssmc")
    found = localize_prepared(prepared(query_at(pose), matches), relabelled, config, labels=labels)
    assert found.result.failure == "too few matches: 3 of 50 matches keep their label, at least 4 needed"
    assert found.result.cam_from_world is None


@pytest.mark.parametrize("method", ["p3p", "ssmc", "ssmc-soft", "gsmc", "gsmc-soft"])
@pytest.mark.parametrize("count", [0, 3])
def test_no_or_three_matches_are_a_failure_of_every_method(method, count):
    scene_map, matches, labels, pose = street()
    few = matches_to(matches.points2D[:count], matches.point_ids[:count])
    found = localize_prepared(prepared(query_at(pose), few), scene_map, LocalizerConfig(method=method), labels=labels)
    assert "too few matches" in found.result.failure
    assert len(found.consistency.keep) == count


@pytest.mark.parametrize("method", ["ssmc", "ssmc-soft", "gsmc", "gsmc-soft"])
def test_labels_of_another_size_than_the_camera_are_refused(method):
    scene_map, matches, _, pose = street()
    small = LabelMap(np.zeros((24, 32), int), NUM_LABELS, "toy")
    with pytest.raises(InputError, match="its labels are 32 x 24, its camera is for 320 x 240"):
        localize_prepared(prepared(query_at(pose), matches), scene_map, LocalizerConfig(method=method), labels=small)


def test_it_adds_less_than_five_milliseconds():
    scene_map, _, labels, pose = street(count=4000)
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, (CAMERA.width - 1, CAMERA.height - 1), (4000, 2))
    given = given_of(scene_map, matches_to(pixels, rng.integers(0, 4000, 4000)), labels, pose)
    ssmc(given)
    times = []
    for _ in range(5):
        start = time.process_time()
        ssmc(given)
        times.append(time.process_time() - start)
    assert min(times) < 0.005
