"""What is written for other programs is read back by them: pycolmap, Open3D, h5py, and our own readers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import open3d
import pycolmap
import pytest
from scipy.spatial.transform import Rotation
from test_scene_open import picture

from core.engine.label_folder import open_label_folder, write_description
from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.images import read_image, read_labels
from core.records import (
    Consistency,
    Correspondences,
    Features,
    ImageData,
    LabelMap,
    Localization,
    LocalizationResult,
    Matches2D3D,
    Observations,
    PointLabels,
    RansacStats,
    SceneMap,
)
from core.scene.colmap import read_scene_map
from core.scene.correspondences import FOLDER, POSITIONS_FOLDER, read_correspondences, read_reference_positions
from core.scene.exports import label_files, write_label_images, write_labelled_model, write_ply
from core.scene.match_exports import MATCH_COLUMNS, write_matches_csv, write_pairs
from core.scene.pose_exports import posed, write_colmap_poses, write_kapture, write_tum
from core.scene.scene import open_scene
from core.steps import finish

CAMERAS = (
    Camera("OPENCV", 64, 48, [50, 51, 31.5, 23.5, 0.1, 0.01, 0.001, 0.002]),
    Camera("PINHOLE", 80, 48, [60, 61, 39.5, 23.5]),
)
COLORS = np.array([[10 * k, 255 - 10 * k, k] for k in range(20)], np.uint8)
NUM_POINTS = 30


def pose(k):
    return Rigid3d(np.array([1, 0.1 * k, -0.2, 0.05]), [k, 2.0 - k, 3.5])


def a_map(labels=True):
    rng = np.random.default_rng(3)
    images = tuple(ImageData(f"sun/{k}.jpg", Path(f"sun/{k}.jpg"), "sun", CAMERAS[k % 2], pose(k), 100.5 - k) for k in range(3))
    points = np.repeat(np.arange(NUM_POINTS), 2)
    observations = Observations(points, np.tile([0, 2], NUM_POINTS), rng.uniform(0, 40, (2 * NUM_POINTS, 2)))
    of_points = PointLabels(rng.integers(0, 20, NUM_POINTS), rng.random(NUM_POINTS), 20, "toy-20")
    rgb = rng.integers(0, 255, (NUM_POINTS, 3))
    return SceneMap(
        rng.normal(0, 100, (NUM_POINTS, 3)), rgb, images, observations, "sift", labels=of_points if labels else None
    )


@pytest.mark.parametrize("text", [False, True])
def test_pycolmap_reads_the_model_in_the_colours_of_its_labels(tmp_path, text):
    scene_map = a_map()
    write_labelled_model(tmp_path / "out", scene_map, COLORS, text)
    theirs = pycolmap.Reconstruction(str(tmp_path / "out"))
    assert theirs.num_points3D() == NUM_POINTS
    for k in range(NUM_POINTS):
        np.testing.assert_array_equal(theirs.points3D[k + 1].color, COLORS[scene_map.labels.labels[k]])
        np.testing.assert_allclose(theirs.points3D[k + 1].xyz, scene_map.points3D[k], rtol=1e-12)
    np.testing.assert_array_equal(read_scene_map(tmp_path / "out", tmp_path).rgb, COLORS[scene_map.labels.labels])
    suffix = ".txt" if text else ".bin"
    assert {"cameras", "images", "points3D"} <= {path.stem for path in (tmp_path / "out").glob(f"*{suffix}")}


def test_a_map_without_labels_has_no_label_colours(tmp_path):
    for write in (write_labelled_model, write_ply):
        with pytest.raises(InputError, match="the map's points have no labels to write"):
            write(tmp_path / "out", a_map(labels=False), COLORS)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_mixed_into_a_folder_that_holds_something(tmp_path):
    (tmp_path / "points3D.bin").write_bytes(b"mine")
    images = a_map().images
    writers = [
        lambda: write_labelled_model(tmp_path, a_map(), COLORS),
        lambda: write_colmap_poses(tmp_path, images),
        lambda: write_kapture(tmp_path, images),
        lambda: finish(write_pairs(tmp_path, [], 0)),
    ]
    for write in writers:
        with pytest.raises(InputError, match="the folder is not empty"):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["points3D.bin"]


@pytest.mark.parametrize("colors", [None, COLORS])
def test_open3d_reads_the_cloud_with_its_labels(tmp_path, colors):
    scene_map = a_map()
    write_ply(tmp_path / "map.ply", scene_map, colors)
    cloud = open3d.t.io.read_point_cloud(str(tmp_path / "map.ply"))
    np.testing.assert_array_equal(cloud.point.positions.numpy(), scene_map.points3D)
    np.testing.assert_array_equal(cloud.point.label.numpy().ravel(), scene_map.labels.labels)
    np.testing.assert_array_equal(cloud.point.vote_share.numpy().ravel(), scene_map.labels.vote_share)
    expected = scene_map.rgb if colors is None else COLORS[scene_map.labels.labels]
    np.testing.assert_array_equal(cloud.point.colors.numpy(), expected)
    head = (tmp_path / "map.ply").read_bytes().split(b"end_header")[0].decode()
    assert "comment vocabulary toy-20\ncomment num_labels 20\n" in head
    assert "property int label" in head


def test_a_cloud_without_labels_or_points_is_one_too(tmp_path):
    write_ply(tmp_path / "plain.ply", a_map(labels=False))
    cloud = open3d.io.read_point_cloud(str(tmp_path / "plain.ply"))
    np.testing.assert_array_equal(np.asarray(cloud.points), a_map().points3D)
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    write_ply(tmp_path / "none.ply", SceneMap(np.zeros((0, 3)), np.zeros((0, 3)), (), nothing))
    assert (tmp_path / "none.ply").read_bytes().endswith(b"property uchar blue\nend_header\n")


def test_label_images_are_16_bit_and_stand_in_for_a_network(tmp_path):
    names = ("sun/a.jpg", "snow/a.jpg", "snow/lost.jpg")
    for name in names[:2]:
        picture(tmp_path / "images" / name)
    images = [ImageData(name, tmp_path / "images" / name) for name in names]
    made = {name: np.random.default_rng(k).integers(0, 300, (48, 64)) for k, name in enumerate(names)}

    def segment(image):
        return LabelMap(made[image.name], 300, "toy-300", names=tuple(f"label {k}" for k in range(300)))

    written = finish(write_label_images(tmp_path / "out", images, segment))
    assert (written.count, written.left_out) == (2, ("snow/lost.jpg",))
    write_description(tmp_path / "out", written.last)
    for name in names[:2]:
        file = (tmp_path / "out" / name).with_suffix(".png")
        assert file.read_bytes()[24:26] == b"\x10\x00", "16 bit, one channel"
        np.testing.assert_array_equal(read_labels(file), made[name])
    about = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert (about["vocabulary"], about["num_labels"], about["names"][7]) == ("toy-300", 300, "label 7")
    folder = open_label_folder(tmp_path / "out")
    found = folder.segment(read_image(images[1].path), images[1].path)
    np.testing.assert_array_equal(found.labels, made["snow/a.jpg"])
    assert (found.vocabulary, found.num_labels) == ("toy-300", 300)


def test_labels_never_replace_an_image_or_each_other(tmp_path):
    images = [ImageData(name, tmp_path / name) for name in ("a.png", "b.jpg")]
    for image in images:
        picture(image.path)
    assert list(label_files(tmp_path / "out", images).values()) == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    assert label_files(tmp_path, images[1:]) == {tmp_path / "b.jpg": tmp_path / "b.png"}
    (tmp_path / "out").mkdir()
    for folder in (tmp_path, tmp_path / "out" / ".."):
        with pytest.raises(InputError, match=r"a\.png: its labels would replace the image .*a\.png"):
            label_files(folder, images)
    with pytest.raises(InputError, match=r"one\.png: would hold the labels of a/one\.png and of b/one\.jpg"):
        label_files(tmp_path / "out", [ImageData("one.png", Path("a/one.png")), ImageData("one.jpg", Path("b/one.jpg"))])
    assert label_files(tmp_path / "out", [ImageData("../../b.jpg", Path("b.jpg"))]) == {
        Path("b.jpg"): tmp_path / "out" / "b.png"
    }


def test_a_label_file_that_is_a_link_to_an_image_is_refused_too(tmp_path):
    picture(tmp_path / "a.jpg")
    try:
        (tmp_path / "a.png").symlink_to(tmp_path / "a.jpg")
    except OSError:
        pytest.skip("this system has no links for this user")
    with pytest.raises(InputError, match="would replace the image"):
        label_files(tmp_path, [ImageData("a.jpg", tmp_path / "a.jpg")])


def a_localization(found=True):
    count = 4
    matches = Matches2D3D(
        np.arange(8).reshape(4, 2) + 0.25, [3, 0, 7, 3], [0.5] * 4, [0, 2, 0, -1], np.ones((4, 2)) * [5, 6], np.arange(4)
    )
    failure, errors = (None, [0.5, np.nan, 3, 1]) if found else ("lost", [np.nan] * 4)
    inliers = [found, False, found, False]
    result = LocalizationResult(pose(1) if found else None, inliers, errors, RansacStats(), "ssmc", failure=failure)
    query = ImageData("night/q, 1.jpg", Path("q.jpg"))
    features = Features(np.zeros((4, 2)), np.zeros(4), np.zeros(4), np.zeros((count, 128)), "sift")
    return Localization(query, features, matches, result, consistency=Consistency(np.array([True, False, True, True])))


@pytest.mark.parametrize("found", [True, False])
def test_the_matches_of_a_query_are_a_table(tmp_path, found):
    scene_map, one = a_map(), a_localization(found)
    labels = LabelMap(np.arange(48)[:, None].repeat(64, 1) % 20, 20, "toy-20")
    write_matches_csv(tmp_path / "m.csv", one, scene_map, labels)
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == MATCH_COLUMNS
    first, second = rows[0], rows[1]
    assert (first["x"], first["y"], first["point"], first["reference"]) == ("0.25", "1.25", "3", "sun/0.jpg")
    assert [float(first[f"point_{axis}"]) for axis in "xyz"] == scene_map.points3D[3].tolist()
    assert (first["query_label"], first["point_label"]) == ("1", str(scene_map.labels.labels[3]))
    assert (first["kept"], second["kept"], second["reprojection_error_px"]) == ("1", "0", "")
    assert [row["inlier"] for row in rows] == (["1", "0", "1", "0"] if found else ["0"] * 4)
    assert rows[3]["reference"] == ""


def test_labels_of_two_vocabularies_are_not_put_side_by_side(tmp_path):
    write_matches_csv(tmp_path / "m.csv", a_localization(), a_map(), LabelMap(np.zeros((48, 64)), 100, "other-100"))
    write_matches_csv(tmp_path / "n.csv", a_localization(), a_map(labels=False))
    for name, label in (("m.csv", "0"), ("n.csv", "")):
        with (tmp_path / name).open(newline="") as file:
            row = next(csv.DictReader(file))
        assert (row["query_label"], row["point_label"]) == (label, "")


def test_pycolmap_reads_the_poses_that_were_written(tmp_path):
    images = a_map().images
    write_colmap_poses(tmp_path / "out", images)
    theirs = pycolmap.Reconstruction(str(tmp_path / "out"))
    by_name = {image.name: image for image in theirs.images.values()}
    for image in images:
        pose_read = by_name[image.name].cam_from_world()
        np.testing.assert_allclose(pose_read.rotation.matrix(), image.cam_from_world.R, atol=1e-12)
        np.testing.assert_allclose(pose_read.translation, image.cam_from_world.tvec, atol=1e-12)
        assert by_name[image.name].camera.model.name == image.camera.model
    lines = (tmp_path / "out" / "images.txt").read_text().splitlines()
    assert sum(line.endswith(".jpg") for line in lines) == 3
    with pytest.raises(InputError, match="needs a camera and a pose"):
        write_colmap_poses(tmp_path / "bad", [replace(images[0], camera=None)])
    assert not (tmp_path / "bad").exists()


def test_tum_trajectories_hold_where_the_cameras_are(tmp_path):
    images = a_map().images
    write_tum(tmp_path / "a.txt", images)
    rows = np.loadtxt(tmp_path / "a.txt")
    assert rows[:, 0].tolist() == [98.5, 99.5, 100.5], "by time"
    for row, image in zip(rows, reversed(images)):
        np.testing.assert_allclose(row[1:4], image.cam_from_world.center(), atol=1e-12)
        np.testing.assert_allclose(Rotation.from_quat(row[4:]).as_matrix(), image.cam_from_world.R.T, atol=1e-12)
    write_tum(tmp_path / "b.txt", [replace(images[0], timestamp_s=None), images[1]])
    assert np.loadtxt(tmp_path / "b.txt")[:, 0].tolist() == [0, 1]
    assert "no times are known" in (tmp_path / "b.txt").read_text()


def test_kapture_tables_hold_cameras_images_and_poses(tmp_path):
    images = a_map().images
    write_kapture(tmp_path / "k", images)
    tables = {
        name: [line.split(", ") for line in (tmp_path / "k" / "sensors" / f"{name}.txt").read_text().splitlines()]
        for name in ("sensors", "records_camera", "trajectories")
    }
    assert all(table[0] == ["# kapture format: 1.1"] for table in tables.values())
    sensors = {row[0]: row[3:] for row in tables["sensors"][2:]}
    assert len(sensors) == 2
    for image, record, row in zip(images, tables["records_camera"][2:], tables["trajectories"][2:], strict=True):
        assert record[2] == image.name
        assert row[:2] == record[:2]
        np.testing.assert_allclose([float(v) for v in row[2:]], [*image.cam_from_world.qvec, *image.cam_from_world.tvec])
        theirs = pycolmap.Camera(model=sensors[row[1]][0], width=80, height=48, params=[float(v) for v in sensors[row[1]][3:]])
        ray = np.array([[0.1, -0.2, 1.0]])
        np.testing.assert_allclose(theirs.img_from_cam(ray) - 0.5, image.camera.project(ray), atol=1e-9)
    for bad, says in ((replace(images[0], camera=None), "has no camera"), (replace(images[0], name="a,b"), "a comma")):
        with pytest.raises(InputError, match=says):
            write_kapture(tmp_path / "bad", [bad])


def test_our_own_reader_opens_the_kapture_folder_with_the_same_cameras_and_poses(tmp_path):
    images = a_map().images
    write_kapture(tmp_path / "k", images)
    scene = open_scene(tmp_path / "k")
    assert scene.layout == "kapture"
    found = {image.name: image for image in scene.images}
    for image in images:
        np.testing.assert_allclose(found[image.name].cam_from_world.matrix(), image.cam_from_world.matrix(), atol=1e-12)
        np.testing.assert_allclose(found[image.name].camera.params, image.camera.params)


def test_a_scene_without_poses_has_none_to_write():
    with pytest.raises(InputError, match=r"^street: no image has a pose to write"):
        posed([replace(a_map().images[0], cam_from_world=None)], "street")


def test_pairs_are_written_as_the_papers_files(tmp_path):
    points = np.arange(12.0).reshape(6, 2)
    made = Correspondences(points, points + 0.5, np.linspace(0.2, 1, 6))
    empty = Correspondences(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    pairs = [("sun/a.jpg", "snow/b.jpg", made), ("sun/a.jpg", "night/b.jpg", made), ("sun/c.jpg", "snow/b.jpg", empty)]
    assert finish(write_pairs(tmp_path / "out", iter(pairs), 3)) == 2
    files = sorted((tmp_path / "out" / FOLDER).iterdir())
    assert [file.name for file in files] == ["sun_a_night_b.mat", "sun_a_snow_b.mat"]
    reference, other, read = read_correspondences(files[1])
    assert (reference, other) == ("sun/a.jpg", "snow/b.jpg")
    np.testing.assert_allclose(read.points_other, made.points_other)
    np.testing.assert_allclose(read.weights, made.weights, rtol=1e-6)
    with h5py.File(files[0]) as file:
        assert file["pt_i"].shape == (6, 2)
        assert "".join(chr(c) for c in file["im_j_path"][:, 0]) == "night/b.jpg"
    positions = read_reference_positions(tmp_path / "out" / POSITIONS_FOLDER / "sun_a.h5")
    np.testing.assert_array_equal(positions, points)
    with pytest.raises(InputError, match=r"two pairs would be called a_b\.mat"):
        finish(write_pairs(tmp_path / "two", [("a.jpg", "b.jpg", made), ("a.png", "b.png", made)], 2))
    assert not (tmp_path / "two").exists()
