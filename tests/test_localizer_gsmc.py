"""GSMC: the scores on the circles are those of trying every point at every place."""

from dataclasses import replace

import numpy as np
import pytest
from localizer_toys import (
    CAMERA,
    NUM_LABELS,
    counted,
    given_of,
    label_image,
    matches_to,
    query_at,
    street,
    true_prior,
    upright_pose,
)

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.localizer.affinity import match_probabilities
from core.localizer.circle import circles_of_matches
from core.localizer.circle_scores import LabelledCloud, score_circles
from core.localizer.gravity import PriorConfig
from core.localizer.gsmc import GsmcConfig, gsmc, gsmc_soft, match_circle
from core.localizer.label_plane import LabelPlane, label_plane
from core.localizer.pipeline import LocalizerConfig, Prepared, localize_prepared
from core.records import Features, LabelMap, QueryPrior


def plain_scores(circles, cloud, plane, values, num_angles):
    """Every match, every place, every point (PAPER 3.4, steps 4 and 5), written down as it is said."""
    height, width = plane.labels.shape
    scores, visible = np.zeros((2, len(circles.radius), num_angles))
    for match, radius in enumerate(circles.radius):
        level = np.linalg.norm(cloud.points[:, :2] - circles.points[match, :2], axis=1)
        for place in range(num_angles):
            angle = 2 * np.pi * place / num_angles
            out = np.array([np.cos(angle), np.sin(angle), 0])
            center = np.append(circles.points[match, :2], circles.height) + radius * out
            to_camera = center - cloud.points
            distance = np.linalg.norm(to_camera, axis=1)
            seen = (level <= radius) & (cloud.near < distance) & (distance < cloud.far)
            seen &= (to_camera * cloud.direction).sum(axis=1) >= np.cos(np.minimum(cloud.half_angle, np.pi)) * distance
            forward, up = -out, np.array([0, 0, 1.0])
            world_axes = np.stack([forward, np.cross(up, forward), up])
            cam_from_world = circles.axes[match] @ world_axes
            projected = (cloud.points[seen] - center) @ cam_from_world.T @ plane.K.T
            front = projected[:, 2] > 0.1
            u, v = np.rint(projected[front, :2] / projected[front, 2:]).astype(int).T
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            rows = np.flatnonzero(seen)[front][inside]
            u, v = u[inside], v[inside]
            added = values[cloud.labels[rows], plane.labels[v, u]] * cloud.weights[rows] * plane.confidence[v, u]
            scores[match, place], visible[match, place] = added.sum(), len(rows)
    return scores, visible


def cloud_around(count, seed, half_angle=(0.1, 0.4), extent=40, lift=(0, 8)):
    rng = np.random.default_rng(seed)
    points = np.c_[rng.uniform(-extent, extent, (count, 2)), rng.uniform(*lift, count)]
    direction = rng.normal(size=(count, 3)) * [1, 1, 0.3]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    near = rng.uniform(2, 15, count)
    weights, labels = rng.uniform(0.3, 1, count), rng.integers(0, NUM_LABELS, count)
    return LabelledCloud(
        points, direction, rng.uniform(*half_angle, count), near, near * rng.uniform(1.5, 4, count), labels, weights
    )


def circles_in(cloud, count, seed):
    """Matches of points of the cloud, seen by a pitched and rolled camera."""
    rng = np.random.default_rng(seed)
    pose = Rigid3d([1, 0.05, 0.02, 0.03], [0, 0, 0]) @ upright_pose(0, 0, 0.3)
    ids = rng.choice(len(cloud.points), count)
    pixels = rng.uniform((0, 0), (CAMERA.width - 1, CAMERA.height - 1), (count, 2))
    scene_map = street(count=len(cloud.points))[0]
    visibility = replace(
        scene_map.visibility, min_distance=np.full(len(cloud.points), 1.0), max_distance=np.full(len(cloud.points), 60.0)
    )
    scene_map = replace(scene_map, points3D=cloud.points)
    prior = replace(true_prior(pose), gravity_error_deg=15.0, height_error_m=0.5)
    return circles_of_matches(
        matches_to(pixels, ids), scene_map, visibility, CAMERA, prior, np.array([0, 0, -1.0]), distance_slack=1.0
    )


@pytest.mark.parametrize("half_angle", [(0.05, 0.3), (0.3, 1.2), (1.0, 3.5)], ids=["narrow", "wide", "any"])
@pytest.mark.parametrize("num_angles", [36, 97])
def test_the_scores_are_those_of_trying_everything(half_angle, num_angles):
    cloud = cloud_around(300, seed=1, half_angle=half_angle)
    circles = circles_in(cloud, 12, seed=2)
    assert np.isfinite(circles.radius).sum() > 5
    plane = label_plane(label_image(), CAMERA)
    plane = LabelPlane(
        plane.labels, np.random.default_rng(0).uniform(0.2, 1, plane.labels.shape).astype(np.float32), plane.camera
    )
    values = np.random.default_rng(3).normal(size=(NUM_LABELS, NUM_LABELS))
    scores, visible = score_circles(circles, cloud, plane, values, num_angles)
    expected, expected_visible = plain_scores(circles, cloud, plane, values, num_angles)
    assert expected_visible.sum() > 50
    assert (visible != expected_visible).mean() < 1e-3  # points on a border, in f32
    same = visible == expected_visible
    assert np.abs(scores - expected)[same].max() < 1e-4


def test_counts_of_equal_labels_are_exact():
    cloud = replace(cloud_around(500, seed=4), weights=np.ones(500))
    circles = circles_in(cloud, 10, seed=5)
    plane = label_plane(label_image(), CAMERA)
    scores, visible = score_circles(circles, cloud, plane, np.eye(NUM_LABELS), 60)
    expected, expected_visible = plain_scores(circles, cloud, plane, np.eye(NUM_LABELS), 60)
    assert np.array_equal(visible, expected_visible)
    assert np.array_equal(scores, expected)
    assert scores.max() >= 1


def test_bounded_blocks_change_nothing(monkeypatch):
    cloud = cloud_around(400, seed=6, half_angle=(0.1, 2.0))
    circles = circles_in(cloud, 9, seed=7)
    plane = label_plane(label_image(), CAMERA)
    whole = score_circles(circles, cloud, plane, np.eye(NUM_LABELS), 90)
    monkeypatch.setattr("core.localizer.circle_scores._BLOCK", {"cpu": 700, "cuda": 700})
    parts = score_circles(circles, cloud, plane, np.eye(NUM_LABELS), 90)
    assert np.array_equal(whole[1], parts[1])
    assert np.allclose(whole[0], parts[0], atol=1e-4)


def test_places_with_few_visible_points_score_nothing():
    cloud = cloud_around(500, seed=4)
    circles = circles_in(cloud, 10, seed=5)
    plane = label_plane(label_image(), CAMERA)
    scores, visible = score_circles(circles, cloud, plane, np.ones((NUM_LABELS, NUM_LABELS)), 60, min_visible=4)
    assert (scores[visible < 4] == 0).all()
    assert (scores[visible >= 4] > 0).all()


def test_the_circle_goes_through_the_true_camera_and_scores_highest_there():
    scene_map, matches, labels, pose = street()
    for match in (0, 7, 50):
        circle = match_circle(match, given_of(scene_map, matches, labels, pose, gsmc=GsmcConfig(num_angles=720)))
        away = np.linalg.norm(circle.positions - pose.center(), axis=1)
        radius = np.linalg.norm((scene_map.points3D[match] - pose.center())[:2])
        assert away.min() < 1.1 * np.pi * radius / 720
        assert away.argmin() == pytest.approx(circle.scores.argmax(), abs=2)
        level = np.linalg.norm((scene_map.points3D - scene_map.points3D[match])[:, :2], axis=1)
        assert circle.scores.max() > 0.7 * (level < radius).sum()
        assert (circle.scores <= circle.num_visible).all()


def test_right_matches_weigh_more_than_wrong_ones():
    scene_map, matches, labels, pose = street(confusion=0.3)
    rng = np.random.default_rng(2)
    ids = matches.point_ids.copy()
    ids[:200] = rng.permutation(400)[:200]
    wrong = np.arange(400) < 200
    given = given_of(scene_map, matches_to(matches.points2D, ids), labels, pose)
    for method in (gsmc, gsmc_soft):
        found = method(given)
        assert found.keep.all()
        assert np.median(found.weights[~wrong]) > 3 * np.median(found.weights[wrong])
        assert found.num_visible[~wrong].min() >= 10
        assert ((found.best_angle_rad >= 0) & (found.best_angle_rad < 2 * np.pi)).all()


@pytest.mark.parametrize("method", [gsmc, gsmc_soft])
def test_of_many_matches_the_likeliest_alone_are_scored_and_the_rest_may_be_inliers(method):
    scene_map, matches, labels, pose = street()
    matches = replace(matches, scores=np.random.default_rng(0).uniform(0.1, 0.5, 400))
    given = given_of(scene_map, matches, labels, pose, gsmc=GsmcConfig(max_matches=50))
    every, some = method(replace(given, config=LocalizerConfig())), method(given)
    chance = matches.scores if method is gsmc else match_probabilities(given)
    likeliest = np.argsort(-chance)[:50]
    assert set(np.flatnonzero(some.weights)) <= set(likeliest.tolist())
    assert (some.num_visible[likeliest] == every.num_visible[likeliest]).all()
    assert (some.best_angle_rad[likeliest] == every.best_angle_rad[likeliest]).all()
    assert (some.weights[likeliest] > 0).sum() > 40
    assert some.keep.all()
    if method is gsmc_soft:
        assert (some.probabilities == every.probabilities).all()


def test_points_whose_labels_do_not_stay_are_ignored():
    scene_map, matches, labels, pose = street()
    statistics = counted(np.eye(NUM_LABELS), np.arange(NUM_LABELS) >= 4)
    all_points = match_circle(3, given_of(scene_map, matches, labels, pose)).num_visible.max()
    lasting = match_circle(3, given_of(scene_map, matches, labels, pose, statistics)).num_visible.max()
    assert 0.3 * all_points < lasting < 0.7 * all_points


@pytest.mark.parametrize("method", ["gsmc", "gsmc-soft"])
def test_poses_are_found_among_nine_wrong_matches_of_ten(method):
    scene_map, matches, labels, pose = street(count=500)
    rng = np.random.default_rng(3)
    ids = matches.point_ids.copy()
    ids[50:] = rng.integers(0, 500, 450)
    features = Features(np.zeros((500, 2)), np.ones(500), np.zeros(500), np.zeros((500, 128)), "toy")
    prepared = Prepared(query_at(pose, true_prior(pose)), features, matches_to(matches.points2D, ids))
    found = localize_prepared(prepared, scene_map, LocalizerConfig(method=method), labels=labels)
    assert found.error.position_m < 0.01
    assert found.consistency.num_visible is not None
    if method == "gsmc":  # gsmc-soft looks for a pose of better evidence until the last sample
        assert found.result.stats.num_iterations < 1500  # 10 % inliers alike: 9,000


def test_a_wrong_height_beyond_its_error_leaves_no_place_and_says_so():
    scene_map, matches, labels, pose = street(count=60)
    prior = QueryPrior(gravity_in_camera=pose.R @ [0, 0, -1.0], height_m=500.0)
    features = Features(np.zeros((60, 2)), np.ones(60), np.zeros(60), np.zeros((60, 128)), "toy")
    found = localize_prepared(
        Prepared(query_at(pose, prior), features, matches), scene_map, LocalizerConfig(method="gsmc"), labels=labels
    )
    assert found.result.cam_from_world is None
    assert found.result.failure.startswith("too few matches: 0 of 60 matches have a place on their circle")


def test_a_map_with_another_up_gives_the_same_scores():
    scene_map, matches, labels, pose = street()
    turn = Rigid3d([0.5, 0.7, -0.3, 0.4], [100.0, -50.0, 20.0])
    visibility = scene_map.visibility
    down = turn.R @ [0, 0, -1.0]
    turned = replace(
        scene_map,
        points3D=turn.apply(scene_map.points3D),
        visibility=replace(visibility, direction=visibility.direction @ turn.R.T),
        gravity_in_world=down,
    )
    moved = pose @ turn.inverse()
    prior = QueryPrior(gravity_in_camera=moved.R @ down, height_m=float(-down @ moved.center()))
    one = gsmc(given_of(scene_map, matches, labels, pose))
    two = gsmc(given_of(turned, matches, labels, moved, prior=prior))
    assert np.corrcoef(one.weights, two.weights)[0, 1] > 0.99  # the places on the circles are others
    circle = match_circle(5, given_of(turned, matches, labels, moved, prior=prior))
    assert np.linalg.norm(circle.positions - moved.center(), axis=1).min() < 0.3


def test_a_map_without_visibility_or_another_vocabulary_is_refused():
    scene_map, matches, labels, pose = street()
    with pytest.raises(InputError, match="from where its points were seen"):
        gsmc(given_of(replace(scene_map, visibility=None), matches, labels, pose))
    with pytest.raises(InputError, match=r"'other'.*'toy'"):
        gsmc(given_of(scene_map, matches, LabelMap(labels.labels, NUM_LABELS, "other"), pose))
    given = given_of(scene_map, matches, labels, pose)
    with pytest.raises(InputError, match="prior source 'guess' is not known"):
        gsmc(replace(given, config=LocalizerConfig(prior=PriorConfig(source="guess"))))


def test_labels_of_a_distorted_image_are_looked_up_where_points_project():
    camera = Camera("OPENCV", 320, 240, [200.0, 205.0, 158.0, 121.0, -0.25, 0.06, 0.001, -0.002])
    labels = label_image()
    plane = label_plane(labels, camera)
    rng = np.random.default_rng(0)
    distorted = rng.uniform((20, 20), (300, 220), (200, 2))
    rays = camera.bearings(distorted)
    ideal = np.rint((rays[:, :2] / rays[:, 2:]) * [200, 205] + [158, 121]).astype(int)
    inside = (ideal >= 0).all(axis=1) & (ideal < (320, 240)).all(axis=1)
    found = plane.labels[ideal[inside, 1], ideal[inside, 0]]
    assert (found == labels.at(distorted[inside])).mean() > 0.9
    assert (plane.confidence[ideal[inside, 1], ideal[inside, 0]] > 0).all()
