"""COLMAP models as users have them: rigs, missing pictures, other systems' names, real ones, and broken numbers."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pycolmap
import pytest
from test_scene_colmap import pycolmap_model

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Rigid3d
from core.localizer.ransac import estimate_pose
from core.scene.colmap import read_images, read_model, read_scene_map
from core.scene.pair import open_pair
from core.scene.scene import open_scene

PAPER_LENS = [868.993378, 866.063001, 525.942323, 420.042529, -0.399431, 0.188924, 0.000153, 0.000571]


def rig_model():
    """Two cameras of different models on a rig, three frames, a point that all see."""
    reconstruction = pycolmap.Reconstruction()
    left = pycolmap.Camera(camera_id=1, model="PINHOLE", width=640, height=480, params=[500, 500, 320, 240])
    right = pycolmap.Camera(camera_id=2, model="OPENCV", width=1024, height=768, params=PAPER_LENS)
    for camera in (left, right):
        reconstruction.add_camera(camera)
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(left.sensor_id)
    turn = pycolmap.Rotation3d(np.array([0.0, 0.3, 0, 0.95]) / np.linalg.norm([0.3, 0.95]))
    right_from_left = pycolmap.Rigid3d(turn, np.array([0.5, 0.1, -0.2]))
    rig.add_sensor(right.sensor_id, right_from_left)
    reconstruction.add_rig(rig)
    for k in range(3):
        half_angle = 0.05 * k
        yaw = pycolmap.Rotation3d(np.array([0, np.sin(half_angle), 0, np.cos(half_angle)]))
        pose = pycolmap.Rigid3d(yaw, np.array([0.2 * k, 0, 1.0]))
        frame = pycolmap.Frame(frame_id=k + 1, rig_id=1, rig_from_world=pose)
        images = []
        for camera, side in ((left, "left"), (right, "right")):
            image = pycolmap.Image(name=f"{side}/{k}.jpg", camera_id=camera.camera_id, image_id=2 * k + camera.camera_id)
            image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([10.0 + k, 20.0]))])
            image.frame_id = k + 1
            frame.add_data_id(image.data_id)
            images.append(image)
        reconstruction.add_frame(frame)
        for image in images:
            reconstruction.add_image(image)
        reconstruction.register_frame(k + 1)
    track = pycolmap.Track([pycolmap.TrackElement(i, 0) for i in range(1, 7)])
    reconstruction.add_point3D_with_id(9, pycolmap.Point3D(xyz=np.array([0.1, 0.2, 8.0]), track=track))
    return reconstruction


@pytest.mark.parametrize("kind", ["binary", "text"])
def test_cameras_on_a_rig_have_the_poses_that_pycolmap_gives_them(tmp_path, kind):
    reference = rig_model()
    getattr(reference, f"write_{kind}")(str(tmp_path))
    assert {path.stem for path in tmp_path.iterdir()} == {"cameras", "frames", "images", "points3D", "rigs"}
    scene = open_scene(tmp_path)
    assert len(scene.reference) == 6
    for image in reference.images.values():
        ours = scene.image(image.name)
        np.testing.assert_allclose(ours.cam_from_world.matrix(), image.cam_from_world().matrix(), atol=1e-9)
        assert ours.camera.model == reference.cameras[image.camera_id].model_name
    assert (scene.image("left/0.jpg").condition, scene.image("right/0.jpg").condition) == ("left", "right")
    assert len(scene.map.observations.point) == 6


@pytest.mark.parametrize("kind", ["binary", "text"])
@pytest.mark.parametrize("model", NUM_CAMERA_PARAMS)
def test_models_of_every_camera_open_without_pictures(tmp_path, model, kind):
    getattr(pycolmap_model(model), f"write_{kind}")(str(tmp_path))
    scene = open_scene(tmp_path)
    assert {image.camera.model for image in scene.reference} == {model}
    assert scene.notes == (f"3 of 3 images are missing under {tmp_path / 'images'} (the first: {scene.reference[0].name}).",)


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_the_images_alone_are_those_of_the_model(tmp_path, kind):
    model = pycolmap_model()
    (model.write_binary if kind == "bin" else model.write_text)(str(tmp_path))
    whole, alone = read_model(tmp_path).images, read_images(tmp_path)
    assert list(alone) == list(whole)
    for image_id, image in alone.items():
        np.testing.assert_array_equal(image.points2D, whole[image_id].points2D)


def text_model(tmp_path):
    pycolmap_model().write_text(str(tmp_path))
    return tmp_path


def edited(folder, file, old, new):
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")


def test_windows_paths_in_names_are_paths(tmp_path):
    folder = text_model(tmp_path)
    edited(folder, "images.txt", "day/a photo.jpg", "day\\a photo.jpg")
    image = open_scene(folder).image("day/a photo.jpg")
    assert image.condition == "day"
    assert image.path == folder / "images" / "day" / "a photo.jpg"


@pytest.mark.parametrize("name", ["../../day/c.jpg", "/day/c.jpg", "C:\\day\\c.jpg", "day/../../day/./c.jpg"])
def test_names_that_lead_out_of_the_folder_are_looked_for_inside(tmp_path, name):
    folder = text_model(tmp_path)
    edited(folder, "images.txt", "night/c.jpg", name)
    scene = open_scene(folder)
    for image in scene.reference:
        assert ".." not in image.name.split("/")
        assert (folder / "images").resolve() in image.path.resolve().parents


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    folder = text_model(tmp_path)
    edited(folder, "images.txt", "night/c.jpg", "day/a photo.jpg")
    with pytest.raises(SceneError, match=r"images\.txt: the image name 'day/a photo\.jpg' occurs 2 times"):
        open_scene(folder)


def with_first_pose(folder, pose):
    lines = (folder / "images.txt").read_text(encoding="utf-8").splitlines()
    row = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    tokens = lines[row].split(None, 9)
    lines[row] = " ".join([tokens[0], *pose.split(), *tokens[8:]])
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return row + 1


@pytest.mark.parametrize(
    ("pose", "sentence"),
    [
        ("nan 0 0 0 0 0 0", "expected finite numbers"),
        ("1 0 0 0 inf 0 0", "expected finite numbers"),
        ("2 0 0 0 0 0 0", "the quaternion has length 2, expected 1"),
        ("0.5 0 0 0 0 0 0", "the quaternion has length 0.5, expected 1"),
        ("0 0 0 0 0 0 0", "has no rotation"),
        ("one 0 0 0 0 0 0", "expected numbers"),
    ],
)
def test_a_pose_that_is_none_names_file_and_line(tmp_path, pose, sentence):
    folder = text_model(tmp_path)
    line = with_first_pose(folder, pose)
    with pytest.raises(SceneError, match=rf"images\.txt:{line}: .*{sentence}"):
        open_scene(folder)


def test_a_quaternion_with_six_digits_is_taken_for_a_unit_one(tmp_path):
    folder = text_model(tmp_path)
    with_first_pose(folder, "0.860298 0.0113506 0.344769 0.375358 1 2 3")
    image = next(image for image in read_model(folder).images.values() if image.cam_from_world.tvec[2] == 3)
    assert np.linalg.norm(image.cam_from_world.qvec) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("values", [[np.nan] * 4, [3.0, 0, 0, 0]])
def test_a_binary_pose_that_is_none_names_the_record(tmp_path, values):
    pycolmap_model().write_binary(str(tmp_path))
    data = bytearray((tmp_path / "images.bin").read_bytes())
    struct.pack_into("<4d", data, 12, *values)
    (tmp_path / "images.bin").write_bytes(bytes(data))
    with pytest.raises(SceneError, match=r"images\.bin: image 1 of 3: "):
        open_scene(tmp_path)


@pytest.mark.parametrize("focal", [0.0, -500.0, np.nan, np.inf])
def test_a_camera_that_is_none_names_the_record(tmp_path, focal):
    pycolmap_model().write_binary(str(tmp_path))
    data = bytearray((tmp_path / "cameras.bin").read_bytes())
    struct.pack_into("<d", data, 8 + 24, focal)
    (tmp_path / "cameras.bin").write_bytes(bytes(data))
    with pytest.raises(SceneError, match=r"cameras\.bin: camera 1 of 1: camera parameters "):
        open_scene(tmp_path)


def test_many_points_are_gathered_part_by_part(tmp_path, monkeypatch):
    pycolmap_model().write_binary(str(tmp_path))
    whole = read_model(tmp_path)
    monkeypatch.setattr("core.scene.colmap_binary._POINTS_AT_ONCE", 3)
    parts = read_model(tmp_path)
    np.testing.assert_array_equal(parts.points3D, whole.points3D)
    np.testing.assert_array_equal(parts.rgb, whole.rgb)


def test_a_door_in_lund_is_resected_from_its_own_points(shared_data):
    """A real SIMPLE_RADIAL model: the pose of each image comes back from the points that it saw."""
    folder = shared_data("gtsfm_lund_door")
    scene = open_scene(folder)
    reference = pycolmap.Reconstruction(str(folder / "colmap_ground_truth"))
    assert (len(scene.reference), len(scene.map.points3D)) == (12, reference.num_points3D())
    observations = scene.map.observations
    for i in (0, 7):
        image = scene.reference[i]
        rows = np.flatnonzero(observations.image == i)
        points = scene.map.points3D[observations.point[rows]]
        pixels = image.camera.project(image.cam_from_world.apply(points))
        assert np.median(np.linalg.norm(pixels - observations.points2D[rows], axis=1)) < 1
        found = estimate_pose(matches_seen(observations, rows), scene.map, image.camera).cam_from_world
        assert np.linalg.norm(found.center() - image.cam_from_world.center()) < 0.02


def matches_seen(observations, rows):
    from core.records import Matches2D3D

    count, pixels = len(rows), observations.points2D[rows]
    return Matches2D3D(pixels, observations.point[rows], np.ones(count), np.zeros(count), pixels, np.arange(count))


def test_a_castle_opens_with_its_pictures_beside_the_model(shared_data):
    scene = open_scene(shared_data("kapture_maupertuis_colmap"))
    assert (scene.layout, len(scene.reference), scene.notes) == ("COLMAP model", 4, ())
    assert all(image.path.is_file() for image in scene.reference)


def test_two_real_photographs_are_a_pair_and_a_folder_a_list(shared_data):
    folder = shared_data("opensfm_berlin")
    pictures = sorted((folder / "images").glob("*.jpg"))
    pair = open_pair(*pictures[:2])
    assert (len(pair.reference), len(pair.queries), pair.map) == (1, 1, None)
    scene = open_scene(folder / "images")
    assert (scene.layout, [image.path for image in scene.reference]) == ("folder of images", pictures)


def test_a_folder_by_condition_has_these_conditions(shared_data, tmp_path):
    source = sorted((shared_data("opensfm_berlin") / "images").glob("*.jpg"))
    for condition, picture in zip(("dusk", "snow", "sun"), source, strict=True):
        (tmp_path / "all" / condition).mkdir(parents=True)
        shutil.copyfile(picture, tmp_path / "all" / condition / "a.jpg")
    (tmp_path / "all" / "loop").symlink_to(tmp_path / "all", target_is_directory=True)
    scene = open_scene(tmp_path / "all")
    assert scene.conditions == ("dusk", "snow", "sun")
    assert all(isinstance(image.cam_from_world, (Rigid3d, type(None))) for image in scene.images)
    assert read_nothing(scene)


def read_nothing(scene):
    """No map, no poses, no cameras: what ``map`` builds from."""
    return scene.map is None and all(image.cam_from_world is None and image.camera is None for image in scene.images)


def test_read_scene_map_looks_for_images_where_it_is_told(tmp_path):
    pycolmap_model().write_binary(str(tmp_path))
    scene_map = read_scene_map(tmp_path, tmp_path / "elsewhere")
    assert all((tmp_path / "elsewhere") in image.path.parents for image in scene_map.images)
