"""COLMAP models come in and go out whole, or with one sentence that names the file."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pycolmap
import pytest

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Camera, Rigid3d
from core.records import ImageData, Observations, SceneMap
from core.scene.colmap import camera_from_colmap, params_to_colmap, read_model, read_scene_map, write_model
from core.scene.colmap_binary import MODEL_NAMES

NAMES = ("day/a photo.jpg", "day/zwölf ünd 日本.jpg", "night/c.jpg")


def pycolmap_model(model: str = "PINHOLE", seed: int = 0) -> pycolmap.Reconstruction:
    """A reconstruction made by pycolmap alone: ids with gaps, keypoints without points, names that are not plain."""
    rng = np.random.default_rng(seed)
    camera = pycolmap.Camera.create_from_model_name(7, model, 500.0, 640, 480)
    camera.params = [
        *camera.params[: len(camera.params) - len(camera.extra_params_idxs())],
        *[0.01] * len(camera.extra_params_idxs()),
    ]
    reconstruction = pycolmap.Reconstruction()
    reconstruction.add_camera_with_trivial_rig(camera)
    for image_id, name in zip((3, 8, 11), NAMES, strict=True):
        image = pycolmap.Image(name=name, camera_id=7, image_id=image_id, keypoints=rng.uniform(0, 480, (6, 2)))
        quaternion = rng.normal(size=4)
        rotation = pycolmap.Rotation3d(quaternion / np.linalg.norm(quaternion))
        pose = pycolmap.Rigid3d(rotation, rng.normal(size=3))
        reconstruction.add_image_with_trivial_frame(image, pose)
    for k, point_id in enumerate((40, 5, 900, 77)):
        track = pycolmap.Track([pycolmap.TrackElement(3, k), pycolmap.TrackElement(11, k + 1)])
        color = np.array([k, 100 + k, 200], np.uint8)
        point = pycolmap.Point3D(xyz=rng.normal(size=3), color=color, track=track)
        reconstruction.add_point3D_with_id(point_id, point)
    return reconstruction


@pytest.fixture
def model_folder(tmp_path):
    """A binary and a text model written by pycolmap."""
    for kind in ("bin", "txt"):
        (tmp_path / kind).mkdir()
    reconstruction = pycolmap_model()
    reconstruction.write_binary(str(tmp_path / "bin"))
    reconstruction.write_text(str(tmp_path / "txt"))
    return tmp_path


@pytest.mark.parametrize("kind", ["bin", "txt"])
@pytest.mark.parametrize("camera_model", NUM_CAMERA_PARAMS)
def test_a_model_written_by_pycolmap_reads_back_half_a_pixel_up_and_left(tmp_path, kind, camera_model):
    reference = pycolmap_model(camera_model)
    (reference.write_binary if kind == "bin" else reference.write_text)(str(tmp_path))
    model = read_model(tmp_path)
    truth, camera = reference.camera(7), model.cameras[7]
    assert (camera.model, camera.width, camera.height) == (camera_model, 640, 480)
    np.testing.assert_allclose(params_to_colmap(camera), truth.params, rtol=1e-12)
    if camera_model != "EQUIRECTANGULAR":
        np.testing.assert_allclose(camera.K[:2, 2], [truth.principal_point_x - 0.5, truth.principal_point_y - 0.5])
    assert {image.name for image in model.images.values()} == set(NAMES)
    for image_id, image in model.images.items():
        other = reference.image(image_id)
        np.testing.assert_allclose(image.points2D + 0.5, [p.xy for p in other.points2D], atol=1e-9)
        np.testing.assert_array_equal(image.point3D_ids, [p.point3D_id if p.has_point3D() else -1 for p in other.points2D])
        np.testing.assert_allclose(image.cam_from_world.matrix(), other.cam_from_world().matrix(), atol=1e-12)
    assert model.point_ids.tolist() == [5, 40, 77, 900]
    for point_id, xyz, color in zip(model.point_ids, model.points3D, model.rgb, strict=True):
        np.testing.assert_allclose(xyz, reference.point3D(point_id).xyz, atol=1e-12)
        np.testing.assert_array_equal(color, reference.point3D(point_id).color)


def test_the_binary_camera_model_numbers_are_colmaps():
    for number, name in MODEL_NAMES.items():
        assert int(getattr(pycolmap.CameraModelId, name)) == number
    assert set(MODEL_NAMES.values()) == set(NUM_CAMERA_PARAMS)


@pytest.mark.parametrize("camera_model", NUM_CAMERA_PARAMS)
def test_a_camera_projects_as_pycolmap_does_half_a_pixel_apart(camera_model):
    theirs = pycolmap_model(camera_model).camera(7)
    ours = camera_from_colmap(camera_model, 640, 480, theirs.params, "here")
    points = np.random.default_rng(1).uniform(-1, 1, (20, 3)) * [0.5, 0.5, 0.2] + [0, 0, 2]
    np.testing.assert_allclose(ours.project(points) + 0.5, theirs.img_from_cam(points), atol=1e-9)


def test_a_map_keeps_only_observed_keypoints_sorted_by_point(model_folder, tmp_path):
    scene_map = read_scene_map(model_folder / "bin", tmp_path)
    assert [image.name for image in scene_map.images] == sorted(NAMES)
    assert [image.condition for image in scene_map.images] == ["day", "day", "night"]
    observations = scene_map.observations
    assert len(observations.point) == 8
    assert (np.diff(observations.point) >= 0).all()
    assert observations.descriptors is None
    names = np.array([image.name for image in scene_map.images])[observations.image]
    assert set(names) == {NAMES[0], NAMES[2]}


@pytest.mark.parametrize("text", [False, True])
def test_a_written_map_reads_back_the_same_here_and_in_pycolmap(tmp_path, model_folder, text):
    scene_map = read_scene_map(model_folder / "bin", tmp_path)
    write_model(tmp_path / "out", scene_map, text=text)
    again = read_scene_map(tmp_path / "out", tmp_path)
    tolerance = 1e-6 if text else 1e-12
    np.testing.assert_allclose(again.points3D, scene_map.points3D, atol=tolerance)
    np.testing.assert_array_equal(again.rgb, scene_map.rgb)
    for field in ("point", "image"):
        np.testing.assert_array_equal(getattr(again.observations, field), getattr(scene_map.observations, field))
    np.testing.assert_allclose(again.observations.points2D, scene_map.observations.points2D, atol=1e-4)
    theirs = pycolmap.Reconstruction(str(tmp_path / "out"))
    assert (theirs.num_images(), theirs.num_points3D(), theirs.num_cameras()) == (3, 4, 1)
    their_names = {name.split(" ")[0] for name in NAMES} if text else set(NAMES)  # pycolmap's text reader stops at spaces
    assert {image.name for image in theirs.images.values()} == their_names


def test_images_with_other_intrinsics_keep_cameras_of_their_own(tmp_path):
    images = tuple(
        ImageData(f"{k}.jpg", tmp_path / f"{k}.jpg", "", Camera.pinhole(64, 48, 50.0 + k // 2), Rigid3d.identity())
        for k in range(4)
    )
    empty = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    write_model(tmp_path, SceneMap(np.zeros((0, 3)), np.zeros((0, 3)), images, empty))
    again = read_scene_map(tmp_path, tmp_path)
    assert [image.camera.K[0, 0] for image in again.images] == [50, 50, 51, 51]
    assert len(read_model(tmp_path).cameras) == 2


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.4, 0.7, 0.95, -1])
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_cut_off_binary_file_is_one_sentence_that_names_it(model_folder, name, fraction):
    file = model_folder / "bin" / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] if fraction == -1 else data[: int(len(data) * fraction)])
    with pytest.raises(SceneError, match=r"cut off") as caught:
        read_model(model_folder / "bin")
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("count", [0, 1, 2**62])
def test_a_count_that_lies_is_found(model_folder, name, count):
    file = model_folder / "bin" / name
    data = bytearray(file.read_bytes())
    true_count = struct.unpack_from("<Q", data)[0]
    struct.pack_into("<Q", data, 0, count if count != true_count else count + 1)
    file.write_bytes(bytes(data))
    with pytest.raises(SceneError, match=r"cut off|corrupt"):
        read_model(model_folder / "bin")


def test_a_huge_track_or_keypoint_count_does_not_eat_the_memory(model_folder):
    for name, offset in (("points3D.bin", 8 + 43), ("images.bin", 8 + 64 + len(NAMES[0]) + 1)):
        shutil.copytree(model_folder / "bin", model_folder / name)
        file = model_folder / name / name
        data = bytearray(file.read_bytes())
        struct.pack_into("<Q", data, offset, 2**60)
        file.write_bytes(bytes(data))
        with pytest.raises(SceneError, match="cut off"):
            read_model(model_folder / name)


def test_an_unknown_camera_model_is_named(model_folder):
    file = model_folder / "bin" / "cameras.bin"
    data = bytearray(file.read_bytes())
    struct.pack_into("<i", data, 12, 99)
    file.write_bytes(bytes(data))
    with pytest.raises(SceneError, match=r"cameras\.bin: camera 1 of 1 has the model id 99, expected one of"):
        read_model(model_folder / "bin")


def test_files_of_different_models_do_not_make_one(model_folder, tmp_path):
    other = pycolmap_model()
    other.delete_point3D(77)
    other.write_binary(str(tmp_path / "txt"))
    shutil.copy(tmp_path / "txt" / "points3D.bin", model_folder / "bin" / "points3D.bin")
    with pytest.raises(SceneError, match=r"images\.bin: image 'day/a photo.jpg' sees point 77, not found in points3D\.bin"):
        read_model(model_folder / "bin")


@pytest.mark.parametrize("name", ["cameras.txt", "images.txt", "points3D.txt"])
def test_a_cut_off_text_file_is_one_sentence_that_names_it(model_folder, name):
    file = model_folder / "txt" / name
    content = file.read_text().rstrip()
    while content[-1] != " ":
        content = content[:-1]
    file.write_text(content.rstrip(), newline="\n")
    with pytest.raises(SceneError) as caught:
        read_model(model_folder / "txt")
    assert str(caught.value).startswith(str(model_folder / "txt"))


def test_windows_line_ends_and_a_byte_order_mark_read_the_same(model_folder):
    before = read_model(model_folder / "txt")
    for file in (model_folder / "txt").glob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    after = read_model(model_folder / "txt")
    np.testing.assert_array_equal(before.points3D, after.points3D)
    assert [i.name for i in before.images.values()] == [i.name for i in after.images.values()]


def test_a_bad_number_names_file_and_line(model_folder):
    file = model_folder / "txt" / "cameras.txt"
    file.write_text("# comment\n7 PINHOLE 640 480 500 abc 320 240\n")
    with pytest.raises(SceneError, match=r"cameras\.txt:2: expected numbers, found"):
        read_model(model_folder / "txt")


def test_real_text_models_agree_with_pycolmap(shared_data):
    for name, sub in (("gtsfm_lund_door", "colmap_ground_truth"), ("kapture_maupertuis_colmap", "reconstruction")):
        folder = shared_data(name) / sub
        model, theirs = read_model(folder), pycolmap.Reconstruction(str(folder))
        assert (len(model.images), len(model.points3D)) == (theirs.num_images(), theirs.num_points3D())
        scene_map = read_scene_map(folder, folder)
        track_lengths = [len(theirs.point3D(i).track.elements) for i in model.point_ids]
        counts = np.bincount(scene_map.observations.point, minlength=len(track_lengths))
        np.testing.assert_array_equal(counts, track_lengths)
