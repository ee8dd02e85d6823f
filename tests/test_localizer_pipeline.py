"""One query from pixels to pose, on maps whose truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import ImageError, InputError
from core.geometry import Camera, Rigid3d
from core.images import limit_size, read_image, write_image
from core.localizer.autopsy import VERDICTS, explain
from core.localizer.features import extract_features, quantize_descriptors
from core.localizer.gsmc import GsmcConfig
from core.localizer.matching import MatchConfig, match_features
from core.localizer.pipeline import METHODS, LocalizerConfig, localize, localize_prepared, prepare
from core.localizer.ransac import RansacConfig, log10_chance
from core.records import (
    ImageData,
    LabelMap,
    Observations,
    PointLabels,
    PointVisibility,
    Progress,
    QueryPrior,
    SceneMap,
)
from core.scene.sightings import matches_seen_in
from core.steps import finish

CAMERA = Camera("PINHOLE", 320, 240, [280, 290, 150, 125])
POSE = Rigid3d([0.9, 0.1, -0.2, 0.3], [1.0, 2.0, 3.0])


def texture(seed=0, height=240, width=320):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5, width // 5, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((5, 5, 1), np.uint8)))


def map_of_one_view(image, seed=0, nearest=3, farthest=30):
    """A map of what one camera at POSE sees, at random depths; images 0 and 1 saw all of it and the left part of it."""
    features = extract_features(image)
    depths = np.random.default_rng(seed).uniform(nearest, farthest, (len(features), 1))
    points3D = POSE.inverse().apply(CAMERA.bearings(features.keypoints) * depths)
    points, left = np.arange(len(points3D)), np.flatnonzero(features.keypoints[:, 0] < 160)
    order = np.argsort(np.concatenate([points, left]), kind="stable")
    row = np.concatenate([points, left])[order]
    seen_by = np.concatenate([np.zeros(len(points)), np.ones(len(left))])[order]
    observations = Observations(row, seen_by, features.keypoints[row], quantize_descriptors(features.descriptors[row]))
    images = tuple(ImageData(f"overcast/000{i}.jpg", Path(f"000{i}.jpg"), "overcast", CAMERA, POSE) for i in range(2))
    return SceneMap(points3D, np.zeros((len(points3D), 3)), images, observations, features.extractor)


def query_of(path="query.png", **known):
    return ImageData("sun/query.png", Path(path), "sun", **({"camera": CAMERA, "cam_from_world": POSE} | known))


@pytest.fixture(scope="module")
def scene_map():
    return map_of_one_view(texture())


def test_a_query_is_localized_from_its_pixels(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture()))
    assert found.result.failure is None
    assert found.error.position_m < 0.01
    assert found.error.rotation_deg < 0.05
    assert found.result.stats.num_inliers > 100
    assert found.result.method == "p3p"


def test_reference_images_are_ranked_by_the_inliers_that_they_saw(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture()))
    left = found.matches.points2D[found.result.inlier_mask][:, 0] < 160
    assert found.ranking == ((0, int(found.result.inlier_mask.sum())), (1, int(left.sum())))


def test_the_lines_to_a_reference_image_are_the_matches_whose_points_it_saw(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture()))
    for image, num_inliers in found.ranking:
        index, pixels = matches_seen_in(found.matches, scene_map, image)
        assert found.result.inlier_mask[index].sum() == num_inliers
        expected = CAMERA.project(POSE.apply(scene_map.points3D[found.matches.point_ids[index]]))
        assert np.abs(pixels - expected).max() < 1e-3
    assert [len(part) for part in matches_seen_in(found.matches, scene_map, None)] == [0, 0]


def test_the_image_is_read_from_disk_and_progress_is_reported(scene_map, tmp_path):
    path = tmp_path / "Straße im Schnee.png"
    write_image(path, texture())
    returned = []

    def listen():
        returned.append((yield from localize(query_of(path), scene_map)))

    seen = list(listen())
    assert returned[0].error.position_m < 0.01
    assert all(isinstance(step, Progress) for step in seen)
    fractions = [step.fraction for step in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_another_place_is_a_failure_with_a_ranking_and_no_error(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture(seed=5)))
    assert found.result.cam_from_world is None
    assert found.result.failure
    assert found.error is None
    assert found.ranking
    assert {inliers for _, inliers in found.ranking} == {0}


def test_an_image_without_keypoints_is_a_failure_not_a_crash(scene_map):
    found = finish(localize(query_of(), scene_map, image=np.zeros((240, 320, 3), np.uint8)))
    assert "0 matches" in found.result.failure
    assert found.ranking == ()


def test_a_query_without_a_known_pose_has_no_error(scene_map):
    found = finish(localize(query_of(cam_from_world=None), scene_map, image=texture()))
    assert found.result.cam_from_world is not None
    assert found.error is None


def test_the_same_seed_gives_the_same_answer(scene_map):
    one, two = (finish(localize(query_of(), scene_map, seed=9, image=texture())) for _ in range(2))
    assert np.array_equal(one.result.cam_from_world.matrix(), two.result.cam_from_world.matrix())
    assert one.result.seed == 9


def test_the_settings_are_stored_with_the_result(scene_map):
    config = LocalizerConfig(matching=MatchConfig(ratio=0.7), ransac=RansacConfig(max_error_px=5))
    stored = finish(localize(query_of(), scene_map, config, image=texture())).result.config
    assert (stored["matching.ratio"], stored["max_error_px"], stored["features.max_keypoints"]) == (0.7, 5, 4096)


def test_input_that_cannot_be_localized_is_refused_in_words(scene_map, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 this is no picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        finish(localize(query_of(broken), scene_map))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        finish(localize(query_of("nowhere.png"), scene_map))
    with pytest.raises(InputError, match="no intrinsics"):
        finish(localize(query_of(camera=None), scene_map, image=texture()))
    with pytest.raises(InputError, match="'magic' is not known; expected one of p3p"):
        finish(localize(query_of(), scene_map, LocalizerConfig(method="magic"), image=texture()))
    with pytest.raises(ImageError, match="100 x 80, but its camera is for 320 x 240"):
        finish(localize(query_of(), scene_map, image=texture(height=80, width=100)))


def labelled(scene_map, right=0.9, seed=0):
    """The map with a label a point, and label maps of the query that agree at ``right`` of the points."""
    rng = np.random.default_rng(seed)
    pixels = CAMERA.project(POSE.apply(scene_map.points3D))
    cells = rng.integers(0, 5, (24, 32))
    labels = LabelMap(np.kron(cells, np.ones((10, 10), int)), 5, "toy")
    of_points = labels.at(pixels)
    other = rng.random(len(of_points)) > right
    of_points[other] = (of_points[other] + 1) % 5
    points = PointLabels(of_points, np.ones(len(of_points)), 5, "toy")
    to_camera = POSE.center() - scene_map.points3D
    distance = np.linalg.norm(to_camera, axis=1)
    views = PointVisibility(to_camera / distance[:, None], np.full(len(distance), 0.1), 0.8 * distance, 1.2 * distance)
    return replace(scene_map, labels=points, visibility=views, gravity_in_world=[0.0, 0, -1]), labels


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_localizes_from_the_same_prepared_matches(scene_map, method):
    known, labels = labelled(scene_map)
    prior = QueryPrior(gravity_in_camera=POSE.R @ [0, 0, -1.0], height_m=float(POSE.center()[2]))
    prepared = finish(prepare(query_of(prior=prior), known, image=texture()))
    config = LocalizerConfig(method=method, gsmc=GsmcConfig(num_angles=60))
    found = localize_prepared(prepared, known, config, 3, labels)
    assert found.result.failure is None
    assert found.error.position_m < 0.01
    assert (found.result.method, found.result.seed) == (method, 3)
    assert found.matches is prepared.matches
    assert len(found.consistency.keep) == len(found.matches)
    assert not (found.result.inlier_mask & ~found.consistency.keep).any()
    steps = finish(localize(query_of(prior=prior), known, config, 3, texture(), labels))
    assert np.array_equal(steps.result.cam_from_world.matrix(), found.result.cam_from_world.matrix())


def test_a_known_position_leaves_only_matches_that_may_be_seen_from_there(scene_map):
    known, _ = labelled(scene_map)
    far = QueryPrior(position=POSE.center() + [300, 0, 0], position_error_m=10)
    found = finish(localize(query_of(prior=far), known, image=texture()))
    assert found.result.failure.startswith("too few matches: 0 of")
    assert not found.consistency.keep.any()
    near = QueryPrior(position=POSE.center() + [3, 0, 0], position_error_m=2)
    assert finish(localize(query_of(prior=near), known, image=texture())).error.position_m < 0.01


def test_what_labels_leave_too_few_of_is_explained(scene_map):
    known, labels = labelled(scene_map, right=0.0)
    found = finish(localize(query_of(), known, LocalizerConfig(method="ssmc"), image=texture(), labels=labels))
    autopsy = explain(found, known)
    assert "keep their label" in found.result.failure
    assert autopsy.verdict == "few matches"
    assert autopsy.cause == f"labels leave only {found.consistency.keep.sum()} of {len(found.matches)} matches"


def test_matches_that_labels_dropped_and_that_agree_are_told(scene_map):
    known, labels = labelled(scene_map, right=0.6)
    found = finish(localize(query_of(), known, LocalizerConfig(method="ssmc"), image=texture(), labels=labels))
    values = {item.name: item.value for item in explain(found, known).evidence}
    assert values["agreeing"] == (found.result.reproj_errors_px <= 8).sum() > values["inliers"] > 12
    plain = explain(finish(localize(query_of(), known, image=texture())), known)
    assert "agreeing" not in {item.name for item in plain.evidence}
    kept = found.consistency.keep
    errors = found.result.reproj_errors_px[found.result.inlier_mask]
    assert values["log10_chance"] == log10_chance(errors, int(kept.sum()), CAMERA)


def test_a_localized_query_is_explained_by_its_numbers(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture()))
    autopsy = explain(found, scene_map)
    assert autopsy.verdict == "localized"
    assert autopsy.cause == f"localized: {found.result.stats.num_inliers} of {len(found.matches)} matches agree"
    values = {item.name: item.value for item in autopsy.evidence}
    assert values["keypoints"] == len(found.features)
    assert values["right"] >= values["inliers"] > 100
    assert values["image_share"] > 0.5
    assert values["position_std_m"] < 0.1
    assert values["log10_chance"] < -100


def test_wrong_matches_are_counted_under_the_true_pose(scene_map):
    found = finish(localize(query_of(), scene_map, LocalizerConfig(matching=MatchConfig(ratio=1.0)), image=texture(seed=5)))
    autopsy = explain(found, scene_map)
    projected = CAMERA.project(POSE.apply(scene_map.points3D[found.matches.point_ids]))
    right = int((np.linalg.norm(projected - found.matches.points2D, axis=1) <= 8).sum())
    start = f"of {len(found.matches)} matches only {right} point at the right place: descriptors do not hold in sun"
    assert autopsy.cause == start
    assert autopsy.remedy
    assert next(item.value for item in autopsy.evidence if item.name == "right") == right


def test_right_matches_without_a_pose_are_called_missed_by_the_search(scene_map):
    found = finish(localize(query_of(), scene_map, image=texture()))
    nothing = replace(
        found.result,
        cam_from_world=None,
        inlier_mask=np.zeros(len(found.matches), bool),
        failure="no consensus: 3 of 90 matches agree",
    )
    assert explain(replace(found, result=nothing, error=None), scene_map).verdict == "missed"
    degenerate = replace(nothing, failure="degenerate: the 20 agreeing points do not fix the pose")
    assert explain(replace(found, result=degenerate, error=None), scene_map).verdict == "degenerate"


@pytest.mark.parametrize(
    ("image", "known", "config", "verdict"),
    [
        (np.zeros((240, 320, 3), np.uint8), {}, {}, "few keypoints"),
        (texture(5), {"cam_from_world": Rigid3d([0, 0, 1, 0], [500, 0, 0])}, {}, "outside the map"),
        (texture(5), {}, {"matching": MatchConfig(ratio=0.5)}, "few matches"),
        (texture(5), {}, {"matching": MatchConfig(ratio=1.0)}, "wrong matches"),
        (texture(5), {"cam_from_world": None}, {"matching": MatchConfig(ratio=1.0)}, "no consensus"),
        (texture(), {"cam_from_world": Rigid3d([0.9, 0.1, -0.2, 0.3], [1, 2, 11.0])}, {}, "wrong pose"),
        (texture(), {"cam_from_world": None}, {}, "localized"),
    ],
)
def test_each_cause_has_its_verdict(scene_map, image, known, config, verdict):
    found = finish(localize(query_of(**known), scene_map, LocalizerConfig(**config), image=image))
    autopsy = explain(found, scene_map)
    assert autopsy.verdict == verdict
    assert autopsy.verdict in VERDICTS
    assert autopsy.cause


def test_inliers_in_a_corner_of_the_image_make_a_weak_pose(scene_map):
    image = np.full((240, 320, 3), 127, np.uint8)
    image[:60, :70] = texture()[:60, :70]
    config = LocalizerConfig(ransac=RansacConfig(min_inliers=6))
    autopsy = explain(finish(localize(query_of(), scene_map, config, image=image)), scene_map)
    assert autopsy.verdict == "weak"
    assert "of the image" in autopsy.cause


def test_inliers_on_a_small_wall_at_one_depth_fix_the_position_badly():
    image = np.full((240, 320, 3), 127, np.uint8)
    image[60:130, 80:150] = texture()[60:130, 80:150]
    wall = map_of_one_view(texture(), nearest=20, farthest=20)
    autopsy = explain(finish(localize(query_of(), wall, image=image)), wall)
    assert autopsy.verdict == "weak"
    assert "fix the position only to" in autopsy.cause
    assert "lie at one depth" in autopsy.cause


def strecha_view(folder, name):
    """Image, camera and pose of one photograph at a third of its size."""
    rows = [line.split() for line in (folder / "gt_dense_cameras" / f"{name}.camera").read_text().splitlines()]
    K, R, center = np.array(rows[:3], float), np.array(rows[4:7], float).T, np.array(rows[7], float)
    width, height = map(int, rows[8])
    image = limit_size(read_image(folder / "images" / name), 1024)[0]
    camera = Camera("PINHOLE", width, height, [K[0, 0], K[1, 1], K[0, 2], K[1, 2]])
    return image, camera.scaled(image.shape[1], image.shape[0]), Rigid3d.from_rotation(R, -R @ center)


def triangulated(camera_a, pose_a, pixels_a, camera_b, pose_b, pixels_b):
    """World points (N, 3) nearest to both rays."""
    rays_a, rays_b = camera_a.bearings(pixels_a) @ pose_a.R, camera_b.bearings(pixels_b) @ pose_b.R
    between = pose_b.center() - pose_a.center()
    cosine = (rays_a * rays_b).sum(axis=1)
    along = (rays_a @ between - cosine * (rays_b @ between)) / (1 - cosine**2)
    return pose_a.center() + along[:, None] * rays_a


def test_a_photograph_is_localized_in_a_map_of_two_others(shared_data):
    folder = shared_data("strecha/Herz-Jesus-P8")
    (image_a, camera_a, pose_a), (image_b, camera_b, pose_b) = (strecha_view(folder, n) for n in ("0002.jpg", "0004.jpg"))
    a, b = extract_features(image_a), extract_features(image_b)
    index_a, index_b, _ = match_features(a, b)
    pixels_a, pixels_b = a.keypoints[index_a], b.keypoints[index_b]
    points3D = triangulated(camera_a, pose_a, pixels_a, camera_b, pose_b, pixels_b)
    fits = np.linalg.norm(camera_b.project(pose_b.apply(points3D)) - pixels_b, axis=1) < 2
    count = int(fits.sum())
    observations = Observations(
        np.arange(count), np.zeros(count), pixels_a[fits], quantize_descriptors(a.descriptors[index_a[fits]])
    )
    scene_map = SceneMap(points3D[fits], np.zeros((count, 3)), (), observations, a.extractor)
    image, camera, pose = strecha_view(folder, "0003.jpg")
    found = finish(localize(ImageData("0003.jpg", folder / "images", "", camera, pose), scene_map, image=image))
    assert found.result.stats.num_inliers > 100
    assert found.error.position_m < 0.05
    assert found.error.rotation_deg < 0.2
