"""A world is written as a whole scene that every other part opens, with truth that fits its pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.images import read_image, read_labels
from core.records import ImageData, LabelMap, Observations, SceneMap
from core.scene.correspondences import positions_name, read_correspondences, read_reference_positions
from core.scene.scene import open_scene
from core.steps import finish
from core.world.export import agrees_with_depth, write_scene

SIZE = (320, 240)
GOOD = {"kind": "urban", "seed": 3, "conditions": ("snow",), "num_reference": 6, "num_queries": 1, "size": SIZE}
CONDITIONS = ("snow", "overcast")


class Halves:
    """A segmenter that tells the upper half of an image from the lower one."""

    def segment(self, image, source=None):
        labels = np.zeros(image.shape[:2], np.uint16)
        labels[len(labels) // 2 :] = 1
        return LabelMap(labels, 2, "halves")


def watched(steps):
    """Run a generator to its end; return its result and what it yielded."""
    yielded = []
    return finish(steps, yielded.append), yielded


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "eine Straße"
    scene, yielded = watched(
        write_scene("urban", 3, CONDITIONS, 6, 1, SIZE, out, Halves(), truth=True, weights="halves", name='"Main" street')
    )
    return out, scene, yielded


def test_the_scene_opens_with_map_queries_and_true_poses(written):
    out, scene, _ = written
    assert (scene.name, scene.kind, scene.weights, scene.notes) == ('"Main" street', "urban", "halves", ())
    assert len(scene.reference) == 6
    assert sorted(image.name for image in scene.queries) == ["overcast/0006.jpg", "snow/0000.jpg"]
    assert all(image.cam_from_world is not None for image in scene.images)
    assert read_image(scene.queries[0].path).shape == (240, 320, 3)
    np.testing.assert_array_equal(scene.map.gravity_in_world, [0, 0, -1])
    assert scene.map.visibility is not None
    assert scene.map.observations.descriptors is not None
    np.testing.assert_allclose(open_scene(out).map.points3D, scene.map.points3D)
    assert {entry.name for entry in out.iterdir()} == {
        "images", "map", "truth", "correspondences", "correspondences_reference_feature_positions",
        "queries.txt", "poses.txt", "scene.toml",
    }  # fmt: skip


def test_map_points_lie_on_what_the_pictures_show(written):
    out, scene, _ = written
    depths = []
    for image in scene.map.images:
        depth = cv2.imread(str(out / "truth" / "depth" / image.name.replace(".jpg", ".png")), cv2.IMREAD_UNCHANGED) / 100
        depths.append(np.where(depth > 0, depth, np.inf))
    assert len(scene.map.points3D) > 50
    assert agrees_with_depth(scene.map, depths, 0.025).mean() > 0.99  # the depth was rounded to centimetres
    assert set(np.unique(scene.map.labels.labels)) == {0, 1}
    assert scene.map.labels.vocabulary == "halves"


def test_truth_has_depth_in_centimetres_and_classes(written):
    out, scene, _ = written
    for image in scene.images:
        stem = image.name.replace(".jpg", ".png")
        depth, classes = (read_labels(out / "truth" / kind / stem) for kind in ("depth", "classes"))
        assert depth.shape == classes.shape == (240, 320)
        assert set(np.unique(classes)) <= {*range(19), 255}
        assert 100 < depth[-1, 160] < 1500  # the road in front of the car, a few metres away


def test_correspondences_follow_the_true_geometry(written):
    out, scene, _ = written
    files = sorted((out / "correspondences").glob("*.mat"))
    assert len(files) >= 2
    for file in files:
        reference, other, pair = read_correspondences(file)
        a, b = scene.image(reference), scene.image(other)
        assert a in scene.reference
        assert b in scene.queries
        depth = read_labels(out / "truth" / "depth" / reference.replace(".jpg", ".png")) / 100
        x, y = np.rint(pair.points_ref).astype(int).T
        rays = a.camera.bearings(pair.points_ref)
        world = a.cam_from_world.inverse().apply(rays / rays[:, 2:] * depth[y, x, None])
        expected = b.camera.project(b.cam_from_world.apply(world))
        assert np.median(np.linalg.norm(expected - pair.points_other, axis=1)) < 0.5
        folder = out / "correspondences_reference_feature_positions"
        positions = {tuple(p) for p in read_reference_positions(folder / positions_name(reference))}
        assert {tuple(p) for p in pair.points_ref.astype(float)} <= positions


def test_progress_grows_and_nothing_stays_when_closed(written, tmp_path):
    fractions = [progress.fraction for progress in written[2]]
    assert fractions == sorted(fractions)
    steps = write_scene("urban", 3, CONDITIONS, 6, 1, SIZE, tmp_path / "out" / "scene")
    for _ in range(4):
        next(steps)
    steps.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_the_same_seed_writes_the_same_scene(written, tmp_path):
    finish(write_scene("urban", 3, CONDITIONS, 6, 1, SIZE, tmp_path / "again", pairs=False))
    for image in ("overcast/0003.jpg", "snow/0000.jpg"):
        assert (tmp_path / "again" / "images" / image).read_bytes() == (written[0] / "images" / image).read_bytes()
    assert (tmp_path / "again" / "map" / "points3D.bin").read_bytes() == (written[0] / "map" / "points3D.bin").read_bytes()
    assert not (tmp_path / "again" / "correspondences").exists()


def test_with_a_spacing_the_queries_of_a_condition_are_consecutive_frames_of_one_drive(tmp_path):
    scene = finish(write_scene("urban", 3, CONDITIONS, 6, 3, SIZE, tmp_path / "out", pairs=False, query_spacing_m=1.5))
    for condition in CONDITIONS:
        centers = [query.cam_from_world.center() for query in scene.queries if query.condition == condition]
        np.testing.assert_allclose(np.linalg.norm(np.diff(centers, axis=0), axis=1), 1.5, atol=0.3)


def test_the_cameras_of_a_vehicle_take_every_image_from_one_place(tmp_path):
    out = tmp_path / "out"
    scene = finish(write_scene("urban", 3, ("snow",), 6, 1, SIZE, out, camera_yaws_deg=(45, -45), spacing_m=1.0))
    ahead = finish(write_scene("urban", 3, ("snow",), 6, 1, SIZE, tmp_path / "ahead", pairs=False, spacing_m=1.0))
    left, right = (image.cam_from_world for image in scene.queries)
    assert [image.name for image in scene.queries] == ["snow/0000_c0.jpg", "snow/0000_c1.jpg"]
    assert len(scene.reference) == 12
    between = ahead.queries[0].cam_from_world
    for pose, side in ((left, -1), (right, 1)):
        np.testing.assert_allclose(pose.center(), between.center(), atol=1e-9)
        seen = between.R @ pose.R[2]  # where it looks, as the camera that looks ahead sees it: x is to the right
        np.testing.assert_allclose(seen, [side * np.sqrt(0.5), 0, np.sqrt(0.5)], atol=1e-9)
    pairs = [read_correspondences(path) for path in sorted((out / "correspondences").glob("*.mat"))]
    assert len(pairs) == 4
    assert {path.stem[-2:] for path in (out / "correspondences").glob("*_c0_snow*")} == {"c0"}, "of one camera"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kind": "village"}, "world kind 'village' is not known; expected one of urban, suburban, park"),
        ({"conditions": ("snow", "hail")}, "condition 'hail' is not known"),
        ({"num_reference": 1}, "got 1 reference images"),
        ({"num_queries": -1}, "-1 queries"),
        ({"size": (320, 2)}, "image size is 320 x 2"),
        ({"camera_yaws_deg": ()}, "expected one or more"),
        ({"camera_yaws_deg": (45, 45)}, "each by its own"),
    ],
)
def test_what_cannot_be_made_is_one_sentence_before_any_work(tmp_path, changed, says):
    with pytest.raises(InputError, match=says):
        next(write_scene(**(GOOD | {"out": tmp_path / "out"} | changed)))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="the folder is not empty"):
        next(write_scene("urban", 3, CONDITIONS, 6, 1, SIZE, tmp_path))
    assert (tmp_path / "photo.jpg").read_bytes() == b"precious"


def test_points_off_the_surface_are_found(tmp_path):
    rng = np.random.default_rng(0)
    camera = Camera.pinhole(64, 48, 50)
    poses = [Rigid3d(np.array([1.0, 0, 0, 0]), np.array([0.1 * k, 0, 0])) for k in range(3)]
    images = tuple(ImageData(f"{k}", tmp_path, "", camera, pose) for k, pose in enumerate(poses))
    points = np.column_stack([rng.uniform(-1, 1, (20, 2)), np.full(20, 5.0)])
    points[10:, 2] = 5.2
    seen = np.argwhere(np.ones((20, 3)))
    pixels = np.array([camera.project(images[k].cam_from_world.apply(points[p]))[0] for p, k in seen])
    scene_map = SceneMap(points, np.zeros((20, 3)), images, Observations(seen[:, 0], seen[:, 1], pixels))
    flat = [np.full((48, 64), 5.0)] * 3
    assert agrees_with_depth(scene_map, flat, 0.02).tolist() == [True] * 10 + [False] * 10
    assert agrees_with_depth(scene_map, [np.full((48, 64), np.inf)] * 3, 0.02).sum() == 0
