"""Maps are built from pictures whose truth is known, and from real photographs beside COLMAP's own model."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from core.errors import ImageError, InputError, SceneError
from core.geometry import Camera, Rigid3d, rotation_angle_deg
from core.images import write_image
from core.localizer.features import EXTRACTOR
from core.mapping.build import MapConfig, build_map, build_scene_map, select_points
from core.mapping.inputs import fit_camera, images_with_poses
from core.mapping.pairs import mutual_matches, near_epipolar_lines, near_pairs, similar_pairs
from core.records import ImageData, LabelMap
from core.scene.colmap import read_model, write_model
from core.scene.list_files import write_poses
from core.scene.map_file import load_map
from core.scene.scene import open_scene
from core.steps import finish

CAMERA = Camera.pinhole(320, 240, 300.0)
PLANES = ((np.array([0.0, 0.0, 1.0]), 4.0), (np.array([0.6, 0.0, 0.8]), 4.4))  # n . x = d, seen from about the origin


def watched(steps):
    """Run a generator to its end; return its result and what it yielded."""
    yielded = []
    return finish(steps, yielded.append), yielded


def render_corner(pose: Rigid3d, textures) -> np.ndarray:
    """Ray-cast two textured planes; texture coordinates are world x and y."""
    v, u = np.mgrid[0:240, 0:320]
    rays = CAMERA.bearings(np.stack([u.ravel(), v.ravel()], axis=1)) @ pose.R
    center = pose.center()
    depths = np.stack([(d - n @ center) / (rays @ n) for n, d in PLANES])
    nearest = depths.argmin(axis=0)
    points = center + rays * depths.min(axis=0)[:, None]
    # The texture's pixel 0 lies at world -5; 100 px a metre.
    maps = [((points[:, k] + 5) * 100).reshape(240, 320).astype(np.float32) for k in (0, 1)]
    sampled = [cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for texture in textures]
    return np.where(nearest.reshape(240, 320, 1) == 0, sampled[0], sampled[1])


def corner_poses(num: int = 5) -> list[Rigid3d]:
    poses = []
    for k in range(num):
        turn = cv2.Rodrigues(np.array([0.01 * k, 0.04 * (k - 2), 0.01]))[0]
        poses.append(Rigid3d.from_rotation(turn, -turn @ np.array([0.35 * (k - 2), 0.04 * k, -0.05 * k])))
    return poses


@pytest.fixture(scope="module")
def corner(tmp_path_factory):
    """Five pictures of a corner of two planes, with their poses."""
    root = tmp_path_factory.mktemp("corner") / "schöne images"
    rng = np.random.default_rng(5)
    textures = []
    for _ in PLANES:
        layers = [cv2.resize(rng.integers(0, 256, (n, n, 3)).astype(np.float32), (1000, 1000), interpolation=cv2.INTER_CUBIC)
                  for n in (40, 120, 250)]  # fmt: skip
        textures.append(np.clip(sum(layers) / 3, 0, 255).astype(np.uint8))
    images = []
    for k, pose in enumerate(corner_poses()):
        name = f"day/view {k}.png"
        (root / "day").mkdir(parents=True, exist_ok=True)
        write_image(root / name, render_corner(pose, textures))
        images.append(ImageData(name, root / name, "day", CAMERA, pose))
    return root, images


@pytest.fixture(scope="module")
def corner_map(corner, tmp_path_factory):
    out = tmp_path_factory.mktemp("map") / "map"
    scene_map, yielded = watched(build_map(corner[1], out))
    return out, scene_map, yielded


def test_triangulated_points_lie_on_the_true_planes(corner_map):
    points = corner_map[1].points3D
    assert len(points) > 300
    distance = np.min([np.abs(points @ n - d) for n, d in PLANES], axis=0)
    assert np.median(distance) < 0.004  # metres, at 4 m: a tenth of a pixel of parallax
    assert np.quantile(distance, 0.9) < 0.03


def test_known_poses_stay_and_keypoints_have_no_half_pixel_bias(corner_map, corner):
    scene_map = corner_map[1]
    for image, truth in zip(scene_map.images, corner[1], strict=True):
        np.testing.assert_allclose(image.cam_from_world.matrix(), truth.cam_from_world.matrix(), atol=1e-12)
        np.testing.assert_allclose(image.camera.params, CAMERA.params)
    # Put each point on its plane (along the plane's normal), then look at where it should be seen.
    normal, d = PLANES[0]
    on_plane = np.abs(scene_map.points3D @ normal - d) < 0.01
    points = scene_map.points3D - np.outer(scene_map.points3D @ normal - d, normal)
    observations = scene_map.observations
    residuals = []
    for k, image in enumerate(scene_map.images):
        rows = (observations.image == k) & on_plane[observations.point]
        projected = CAMERA.project(image.cam_from_world.apply(points[observations.point[rows]]))
        residuals.append(projected - observations.points2D[rows])
    assert np.abs(np.median(np.concatenate(residuals), axis=0)).max() < 0.05


def test_a_map_has_descriptors_colours_and_visibility_and_reads_back(corner_map, corner):
    out, scene_map, _ = corner_map
    again = load_map(out)
    assert again.extractor == scene_map.extractor == EXTRACTOR
    assert again.observations.descriptors.shape == (len(again.observations.point), 128)
    norms = np.linalg.norm(again.observations.descriptors.astype(float) / 512, axis=1)
    assert np.abs(norms - 1).max() < 0.02
    assert len(again.visibility.angle_rad) == len(again.points3D)
    assert again.rgb.std() > 5
    assert (np.bincount(again.observations.point) >= 3).all()
    scene = open_scene(out)
    assert scene.notes == ()
    assert scene.reference[0].path.resolve() == corner[1][0].path.resolve()
    assert read_model(out).images.keys() == {1, 2, 3, 4, 5}


def test_progress_grows_from_start_to_end(corner_map):
    fractions = [progress.fraction for progress in corner_map[2]]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1


def test_a_segmenter_labels_the_points_of_a_map(corner, tmp_path):
    class Halves:
        def segment(self, image, source=None):
            return LabelMap((np.arange(image.shape[1]) >= 160) * np.ones((len(image), 1)), 2, "halves")

    scene_map, yielded = watched(build_map(corner[1], tmp_path / "map", segmenter=Halves()))
    fractions = [progress.fraction for progress in yielded]
    assert fractions == sorted(fractions)
    labels = load_map(tmp_path / "map", "halves").labels
    np.testing.assert_array_equal(labels.labels, scene_map.labels.labels)
    right = scene_map.points3D[labels.labels == 1, 0].mean()
    assert right > scene_map.points3D[labels.labels == 0, 0].mean() + 1


def test_the_same_seed_builds_the_same_map(corner, corner_map):
    again, _ = watched(build_scene_map(corner[1]))
    np.testing.assert_array_equal(again.points3D, corner_map[1].points3D)
    np.testing.assert_array_equal(again.observations.descriptors, corner_map[1].observations.descriptors)


def test_unknown_poses_are_found_up_to_a_similarity(corner):
    images = [dataclasses.replace(image, cam_from_world=None) for image in corner[1]]
    scene_map, _ = watched(build_scene_map(images))
    assert len(scene_map.images) == 5
    relative = [
        rotation_angle_deg(a.cam_from_world @ scene_map.images[0].cam_from_world.inverse(),
                           b.cam_from_world @ corner[1][0].cam_from_world.inverse())
        for a, b in zip(scene_map.images, corner[1], strict=True)
    ]  # fmt: skip
    assert max(relative) < 1.0


@pytest.mark.parametrize("stop_at", ["Features", "Matching", "Triangulating", "Writing"])
def test_closing_the_generator_leaves_nothing(corner, tmp_path, stop_at):
    steps = build_map(corner[1], tmp_path / "out" / "map")
    for progress in steps:
        if progress.message.startswith(stop_at):
            break
    else:
        pytest.fail(f"never came to {stop_at}")
    steps.close()
    assert not (tmp_path / "out" / "map").exists()
    assert list((tmp_path / "out").iterdir()) == []


def test_cancelling_incremental_mapping_stops_it(corner):
    images = [dataclasses.replace(image, cam_from_world=None, camera=None) for image in corner[1]]
    steps = build_scene_map(images)
    assert any(progress.message.startswith("Placing") for progress in steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def test_a_folder_with_a_list_of_poses_or_a_model_gives_posed_images(corner, corner_map, tmp_path):
    root, images = corner
    write_poses(tmp_path / "poses.txt", {image.name: image.cam_from_world for image in images[:4]})
    posed = images_with_poses(root, tmp_path / "poses.txt")
    assert [image.name for image in posed] == [image.name for image in images[:4]]
    assert posed[0].camera is None
    with_cameras = images_with_poses(root, corner_map[0])
    assert len(with_cameras) == 5
    np.testing.assert_allclose(with_cameras[2].camera.params, CAMERA.params)
    assert [image.cam_from_world for image in images_with_poses(root)] == [None] * 5


def test_bad_input_is_one_sentence(corner, tmp_path):
    root, images = corner
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "single" / "one.png", np.zeros((60, 80, 3), np.uint8))
    unposed = dataclasses.replace(images[0], cam_from_world=None)
    flat = [dataclasses.replace(image, path=tmp_path / "flat.png") for image in images]
    write_image(tmp_path / "flat.png", np.full((240, 320, 3), 128, np.uint8))
    other_shape = dataclasses.replace(images[0], camera=Camera.pinhole(240, 320, 300))
    write_poses(tmp_path / "poses.txt", {"other.jpg": Rigid3d.identity()})
    (tmp_path / "cut.png").write_bytes(images[0].path.read_bytes()[:1000])
    cut = dataclasses.replace(images[0], path=tmp_path / "cut.png")
    cases = [
        ((tmp_path / "lost",), InputError, "no such folder"),
        ((tmp_path / "empty",), InputError, "no images found"),
        ((root, tmp_path / "o", tmp_path / "poses.txt"), InputError, "names none of the 5 images"),
        ((root, tmp_path / "o", tmp_path / "empty"), SceneError, "no COLMAP model here"),
        ((images[:1],), InputError, "at least two images, got 1"),
        ((tmp_path / "single",), InputError, "single: a map needs at least two images, found 1"),
        (([*images, images[0]],), InputError, "a name twice"),
        (([unposed, *images[1:]],), InputError, "1 of 5 images have no pose"),
        (([other_shape, *images[1:]],), InputError, "not of the shape of its camera, 240 x 320"),
        ((flat,), InputError, "no two of the 5 images match"),
        (([cut, *images[1:]],), ImageError, "cut off"),
    ]
    for arguments, error, says in cases:
        source, out, poses = (*arguments, tmp_path / "o", None)[:1] + (*arguments[1:], tmp_path / "o", None)[:2]
        with pytest.raises(error, match=says) as caught:
            finish(build_map(source, tmp_path / "o" if out is None else out, poses if len(arguments) == 3 else None))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_an_output_that_cannot_be_written_is_found_before_the_work(corner, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        next(build_map(corner[1], tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be written"):
        next(build_map(corner[1], tmp_path / "file" / "map"))


def test_wrong_poses_give_no_map(corner):
    rng = np.random.default_rng(0)
    turns = [np.array([1, *rng.normal(size=3) * 0.2]) for _ in corner[1]]
    wrong = [
        dataclasses.replace(i, cam_from_world=Rigid3d(q, rng.normal(size=3))) for i, q in zip(corner[1], turns, strict=True)
    ]
    with pytest.raises(InputError, match="no two of the 5 images match; expected photographs that overlap, and poses"):
        finish(build_scene_map(wrong, MapConfig(min_matches=100)))


def test_a_camera_follows_a_resized_image_and_is_guessed_without(corner):
    image = corner[1][0]
    assert fit_camera(image, np.zeros((120, 160, 3), np.uint8)).K[0, 0] == pytest.approx(150)
    guess = fit_camera(dataclasses.replace(image, camera=None), np.zeros((240, 320, 3), np.uint8))
    assert (guess.width, guess.height, guess.K[0, 0]) == (320, 240, pytest.approx(1.2 * 320))
    np.testing.assert_allclose(guess.K[:2, 2], [159.5, 119.5])


def test_points_can_be_selected(corner_map):
    scene_map = corner_map[1]
    keep = np.arange(len(scene_map.points3D)) % 3 == 0
    kept = select_points(scene_map, keep)
    np.testing.assert_array_equal(kept.points3D, scene_map.points3D[keep])
    row = np.flatnonzero(scene_map.observations.point == 3)
    kept_row = np.flatnonzero(kept.observations.point == 1)
    np.testing.assert_array_equal(kept.observations.points2D[kept_row], scene_map.observations.points2D[row])
    np.testing.assert_array_equal(kept.observations.descriptors[kept_row], scene_map.observations.descriptors[row])


def test_near_pairs_look_the_same_way():
    turn = Rigid3d.from_rotation(np.diag([-1.0, 1, -1]), np.zeros(3))
    poses = [Rigid3d(np.array([1.0, 0, 0, 0]), np.array([-k, 0.0, 0])) for k in range(6)]
    poses.append(Rigid3d.from_rotation(turn.R, -turn.R @ np.array([2.0, 0, 0])))
    assert near_pairs(poses, 2) == [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5)]


def test_similar_pairs_find_the_images_with_common_descriptors():
    rng = np.random.default_rng(0)
    places = [rng.normal(size=(60, 128)) for _ in range(10)]
    images = [places[k % 10] + 0.01 * rng.normal(size=(60, 128)) for k in range(20)]
    images = [(d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32) for d in images]
    assert similar_pairs(images, neighbors=1, window=0) == [(k, k + 10) for k in range(10)]


def test_mutual_matches_are_those_of_brute_force():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(80, 16))
    b = np.vstack([a[:40] + 0.15 * rng.normal(size=(40, 16)), rng.normal(size=(30, 16))])
    a, b = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (a, b))
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    expected = []
    for i in range(80):
        j = distance[i].argmin()
        second = min(np.delete(distance[i], j).min(), np.delete(distance[:, j], i).min())
        if distance[:, j].argmin() == i and distance[i, j] < min(0.8 * second, np.sqrt(2 - 2 * 0.765)):
            expected.append((i, j))
    assert [tuple(pair) for pair in mutual_matches(a, b, 0.8)] == expected
    assert len(expected) > 20
    assert mutual_matches(a[:1], b, 0.8).shape == (0, 2)


def test_only_points_near_the_epipolar_line_may_match():
    rng = np.random.default_rng(3)
    b_from_a = Rigid3d(np.array([1, 0.02, 0.05, 0.01]), np.array([0.0, 1.0, 0.0]))
    points = rng.uniform(-1, 1, (50, 3)) + [0, 0, 5]
    in_b = CAMERA.project(b_from_a.apply(points))
    in_a = CAMERA.bearings(CAMERA.project(points))

    def allowed(offset, limit_px, pose=b_from_a):
        return near_epipolar_lines(in_a, CAMERA.bearings(in_b + offset), pose, CAMERA, CAMERA, limit_px)

    assert np.diagonal(allowed([0, 0], 0.01)).all()
    assert allowed([0, 0], 2.0).mean() < 0.2
    assert np.diagonal(allowed([0, 30.0], 0.5)).mean() > 0.9  # along the vertical baseline
    assert np.diagonal(allowed([1.0, 0], 1.4)).all()  # across it
    assert not np.diagonal(allowed([1.0, 0], 0.6)).any()


def test_without_a_baseline_only_the_same_direction_may_match():
    rays = CAMERA.bearings(np.array([[100.0, 100], [103, 100], [200, 50]]))
    near = near_epipolar_lines(rays, rays, Rigid3d.identity(), CAMERA, CAMERA, 4.0)
    assert near.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_real_photographs_without_poses_agree_with_colmaps_model(shared_data, tmp_path):
    source = shared_data("gtsfm_lund_door")
    for file in sorted((source / "images").iterdir()):
        image = cv2.imread(str(file))
        small = cv2.resize(image, (image.shape[1] // 4, image.shape[0] // 4), interpolation=cv2.INTER_AREA)
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / file.name), small)
    scene_map, _ = watched(build_map(tmp_path / "images", tmp_path / "map"))
    truth = {image.name: image.cam_from_world for image in read_model(source / "colmap_ground_truth").images.values()}
    assert len(scene_map.images) == 12
    assert len(scene_map.points3D) > 2000
    ours = np.array([image.cam_from_world.center() for image in scene_map.images])
    theirs = np.array([truth[image.name].center() for image in scene_map.images])
    scale, R, t = umeyama(ours, theirs)
    extent = np.linalg.norm(np.ptp(theirs, axis=0))
    assert np.linalg.norm(scale * ours @ R.T + t - theirs, axis=1).max() / extent < 0.002
    # The centres lie nearly on a line, which leaves the turn about it open: align rotations by themselves.
    u, _, vt = np.linalg.svd(sum(truth[i.name].R.T @ i.cam_from_world.R for i in scene_map.images))
    turned = [Rigid3d.from_rotation(i.cam_from_world.R @ (u @ vt).T, np.zeros(3)) for i in scene_map.images]
    errors = [rotation_angle_deg(pose, truth[i.name]) for pose, i in zip(turned, scene_map.images, strict=True)]
    assert max(errors) < 0.1


def umeyama(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The similarity target = s R source + t of least squares (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, d, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    R = (u * sign) @ vt
    scale = (d * sign).sum() / (a**2).sum()
    return scale, R, target.mean(axis=0) - scale * R @ source.mean(axis=0)


def test_a_written_colmap_model_serves_as_poses(corner, corner_map, tmp_path):
    write_model(tmp_path / "text", corner_map[1], text=True)
    posed = images_with_poses(corner[0], tmp_path / "text")
    np.testing.assert_allclose(posed[1].cam_from_world.matrix(), corner[1][1].cam_from_world.matrix(), atol=1e-9)
