from dataclasses import replace

import numpy as np
import pytest
import torch
from sequence_toys import CAMERA, NUM_LABELS, VOCABULARY, drive, label_image, street_map, toy_statistics

from core.localizer.affinity import AffinityConfig, affinity_ratios, match_log_ratios
from core.localizer.label_likelihood import (
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    labelled_points,
    mean_log_ratios,
    rotations_of,
)
from core.localizer.methods import MethodInput
from core.localizer.pipeline import LocalizerConfig
from core.localizer.ssmc import SsmcConfig, ssmc
from core.localizer.view_labels import labels_around, labels_by_distance, views_of
from core.mapping.labels import label_map
from core.records import VIEW_STEPS, ImageData, LabelMap, Matches2D3D, view_step_px

SLACK = 1.2


@pytest.fixture(scope="module")
def scene_map():
    made = street_map(300)
    return replace(made, labels=label_map(made, lambda image: label_image(image.cam_from_world)))


def distances(scene_map):
    centers = np.array([image.cam_from_world.center() for image in scene_map.images])
    seen = scene_map.observations
    return np.linalg.norm(centers[seen.image] - scene_map.points3D[seen.point], axis=1)


def told_by_distance(scene_map):
    """Views from nearer than 12 m say 1, from farther 2."""
    near = distances(scene_map) < 12
    views = np.repeat(np.where(near, 1, 2)[:, None], len(VIEW_STEPS), axis=1)
    return replace(scene_map, labels=replace(scene_map.labels, views=views))


def test_a_map_keeps_what_every_view_said_at_and_around_its_keypoint(scene_map):
    seen, step = scene_map.observations, view_step_px(CAMERA.width)
    assert scene_map.labels.views.shape == (len(seen.point), 9)
    for row in (0, 17, len(seen.point) - 1):
        image = label_image(scene_map.images[seen.image[row]].cam_from_world)
        places = seen.points2D[row] + step * np.array(VIEW_STEPS)
        assert scene_map.labels.views[row].tolist() == image.at(places).tolist()


def test_the_views_of_points_are_found_for_any_choice_of_them(scene_map):
    ids = np.array([7, 3, 7, 0])
    which, rows = views_of(scene_map, ids)
    for k, point in enumerate(ids):
        assert rows[which == k].tolist() == np.flatnonzero(scene_map.observations.point == point).tolist()
    assert [len(part) for part in views_of(scene_map, np.zeros(0, int))] == [0, 0]


def test_a_point_bears_each_label_at_the_distances_of_the_views_that_say_so(scene_map):
    made = told_by_distance(scene_map)
    rows, seen, away = labels_by_distance(made, SLACK), made.observations, distances(made)
    both = 0
    for point in np.unique(seen.point):
        own = np.flatnonzero(rows.point == point)
        there = np.sort(away[seen.point == point])
        assert rows.near[own[0]] == pytest.approx(there[0] / SLACK)
        assert rows.far[own[-1]] == pytest.approx(there[-1] * SLACK)
        expected = [1] * bool((there < 12).any()) + [2] * bool((there >= 12).any())
        assert rows.labels[own].tolist() == expected
        if len(own) == 2:
            both += 1
            border = np.sqrt(there[there < 12].max() * there[there >= 12].min())
            assert rows.far[own[0]] == rows.near[own[1]] == pytest.approx(border)
    assert both > 50


def test_what_lies_around_a_keypoint_projects_there_at_the_keypoints_depth(scene_map):
    rows = labels_around(scene_map, SLACK)
    assert rows.weights.mean() == pytest.approx(1)
    assert 6 * len(scene_map.observations.point) < len(rows.point) < 9 * len(scene_map.observations.point)
    image = scene_map.images[4]
    point = scene_map.observations.point[scene_map.observations.image == 4][0]
    pixel = scene_map.observations.points2D[(scene_map.observations.image == 4) & (scene_map.observations.point == point)][0]
    depth = image.cam_from_world.apply(scene_map.points3D[[point]])[0, 2]
    in_camera = image.cam_from_world.apply(rows.points3D[rows.point == point])
    beside = CAMERA.project(in_camera) - pixel
    step = view_step_px(CAMERA.width)
    own = (np.abs(in_camera[:, 2] - depth) < 1e-6) & (np.abs(beside) < 1.5 * step).all(axis=1)
    assert {tuple(np.rint(one / step).astype(int)) for one in beside[own]} <= set(VIEW_STEPS)
    assert own.sum() >= 4


def test_a_map_that_does_not_know_its_views_bears_the_majoritys_labels(scene_map):
    plain = replace(scene_map, labels=replace(scene_map.labels, views=None))
    seen = np.unique(scene_map.observations.point)
    assert 0 < len(seen) < len(scene_map.points3D)
    for rows in (labels_by_distance(plain, SLACK), labels_around(plain, SLACK)):
        assert rows.point.tolist() == seen.tolist()
        assert rows.labels.tolist() == plain.labels.labels[seen].tolist()
        np.testing.assert_allclose(rows.far, plain.visibility.max_distance[seen] * SLACK, rtol=1e-6)
    np.testing.assert_allclose(labels_around(plain, SLACK).weights, plain.labels.vote_share[seen])


def asked(scene_map, **config):
    """All points of the map matched to a pixel of label 1; views from near say 1, from far 2, and so does the majority."""
    made = told_by_distance(scene_map)
    made = replace(made, labels=replace(made.labels, labels=np.full(len(made.points3D), 2)))
    count = len(made.points3D)
    matches = Matches2D3D(
        np.full((count, 2), 5.0),
        np.arange(count),
        np.full(count, 0.5),
        np.zeros(count, int),
        np.zeros((count, 2)),
        np.arange(count),
    )
    labels = LabelMap(np.ones((CAMERA.height, CAMERA.width), int), NUM_LABELS, VOCABULARY)
    query = ImageData("q.jpg", "q.jpg", "snow", CAMERA)
    return MethodInput(query, matches, made, labels, toy_statistics(), LocalizerConfig(**config))


def test_a_label_that_any_view_saw_keeps_a_match_only_where_that_is_asked_for(scene_map):
    given = asked(scene_map, method="ssmc")
    near = np.isin(np.arange(300), given.scene_map.observations.point[distances(scene_map) < 12])
    assert not ssmc(given).keep.any()
    config = LocalizerConfig(method="ssmc", ssmc=SsmcConfig(any_view=True))
    assert ssmc(replace(given, config=config)).keep.tolist() == near.tolist()
    still = np.ones(NUM_LABELS, bool)
    still[1] = False
    moves = replace(given.statistics, stationary=still)
    assert not ssmc(replace(given, statistics=moves, config=config)).keep.any()


def test_soft_labels_weigh_a_point_by_how_many_views_say_what(scene_map):
    given = asked(scene_map, method="ssmc-soft")
    ratios = affinity_ratios(given.statistics, NUM_LABELS)
    found = match_log_ratios(given)
    near = distances(scene_map) < 12
    for point in np.unique(scene_map.observations.point)[[0, 11, 200]]:
        share = near[scene_map.observations.point == point].mean()
        assert found[point] == pytest.approx(np.log(share * ratios[1, 1] + (1 - share) * ratios[2, 1]), rel=1e-4)
    off = LocalizerConfig(method="ssmc-soft", affinity=AffinityConfig(views=False))
    assert match_log_ratios(replace(given, config=off)) == pytest.approx(np.log(ratios[2, 1]))


def test_a_step_back_does_not_win_by_bringing_more_points_in(scene_map):
    """Labels of one kind everywhere say nothing of the place: no pose may score more than another."""
    config = LikelihoodConfig(cells_across=128, blur_cells=0.0, crowd=0.5, min_visible=1)
    one = replace(scene_map.labels, views=np.zeros_like(scene_map.labels.views))
    points = labelled_points(replace(scene_map, labels=one), toy_statistics(), config)
    image = LabelMap(np.zeros((CAMERA.height, CAMERA.width), int), NUM_LABELS, VOCABULARY)
    probabilities = label_probabilities(toy_statistics(), NUM_LABELS, config)
    volume = label_volume(image, CAMERA, probabilities, np.arange(NUM_LABELS), config)
    poses = drive(36)[4:34:6]
    rotations, centers = rotations_of(np.array([p.qvec for p in poses])), np.array([p.center() for p in poses])
    values, counts = mean_log_ratios(points, volume, rotations, centers, config)
    assert counts.max() > 1.2 * counts.min()
    np.testing.assert_allclose(values, values[0], rtol=1e-4)


def test_poses_of_one_place_are_compared_over_the_points_that_their_middle_sees(scene_map):
    config = LikelihoodConfig(cells_across=128, blur_cells=0.0, crowd=0.5, min_visible=1, same_place_m=3.0)
    points = labelled_points(scene_map, toy_statistics(), config)
    probabilities = label_probabilities(toy_statistics(), NUM_LABELS, config)
    truth = drive(12)[6]
    volume = label_volume(label_image(truth), CAMERA, probabilities, np.arange(NUM_LABELS), config)
    poses = drive(3, 1.0, truth.center()[0] - 1.0)
    pose = rotations_of(np.array([p.qvec for p in poses])), np.array([p.center() for p in poses])
    offset = truth.center() - (points.points.numpy() + points.origin)
    distance = np.linalg.norm(offset, axis=1)
    seen = (distance > points.near.numpy()) & (distance < points.far.numpy())
    seen &= (offset * points.direction.numpy()).sum(1) > points.cos_half_angle.numpy() * distance
    part = points.part(torch.as_tensor(np.flatnonzero(seen)))
    free = replace(part, near=part.near * 0, far=part.far * 0 + 1e6, cos_half_angle=part.cos_half_angle * 0 - 1.01)
    expected = mean_log_ratios(free, volume, *pose, replace(config, same_place_m=0.0))
    found = mean_log_ratios(points, volume, *pose, config)
    assert found[1].tolist() == expected[1].tolist()
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    each = mean_log_ratios(points, volume, *pose, replace(config, same_place_m=0.0))
    assert each[1].tolist() != found[1].tolist()
    assert found[0].argmax() == 1
