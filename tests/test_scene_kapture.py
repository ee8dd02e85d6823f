"""kapture folders: a world of known truth round trip, the samples of NAVER, and what is wrong with a file."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from foreign_scenes import errors_of_queries, features_of, same_map

from core.errors import InputError, SceneError
from core.geometry import Rigid3d
from core.localizer.pipeline import localize
from core.mapping.build import MapConfig, build_scene_map
from core.scene.kapture import read_kapture
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_kapture import KIND, write_kapture

MOUNT = Rigid3d([0.9, 0.1, -0.3, 0.2], [0.4, -0.1, 0.2])


@pytest.fixture(scope="module")
def written(small_world_scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("kapture") / "welt"
    write_kapture(small_world_scene, out, features_of)
    return out


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "welt")


def test_a_world_comes_back_as_it_was_written(written, small_world_scene):
    scene = open_scene(written)
    assert (scene.layout, scene.name, scene.notes) == ("kapture", "welt", ())
    same_map(scene.map, small_world_scene.map)
    assert scene.map.extractor == f"kapture:{KIND}"
    assert {query.name for query in scene.queries} == {query.name for query in small_world_scene.queries}
    for query in scene.queries:
        truth = small_world_scene.image(query.name)
        np.testing.assert_allclose(query.cam_from_world.matrix(), truth.cam_from_world.matrix(), atol=1e-9)
        np.testing.assert_allclose(query.camera.params, truth.camera.params, atol=1e-9)
        assert query.path.is_file()
        assert query.features.extractor == scene.map.extractor


def test_its_queries_are_localized_by_the_features_that_came_with_them(written, small_world_scene):
    scene = open_scene(written)
    errors = errors_of_queries(scene, small_world_scene)
    assert errors[:, 0].max() < 0.1
    assert errors[:, 1].max() < 0.5


def test_poses_on_a_rig_are_passed_on_to_its_cameras(small_world_scene, tmp_path):
    write_kapture(small_world_scene, tmp_path / "rig", mount=MOUNT)
    assert (tmp_path / "rig" / "mapping" / "sensors" / "rigs.txt").is_file()
    same_map(open_scene(tmp_path / "rig").map, small_world_scene.map)


def test_format_1_0_without_folders_of_types_reads_the_same(folder, small_world_scene):
    for part in ("mapping", "query"):
        for what in ("keypoints", "descriptors"):
            place = folder / part / "reconstruction" / what
            for entry in (place / KIND).iterdir():
                entry.rename(place / entry.name)
            (place / KIND).rmdir()
    observations = folder / "mapping" / "reconstruction" / "observations.txt"
    observations.write_text(observations.read_text().replace(f", {KIND}", "").replace("1.1", "1.0"))
    scene = open_scene(folder)
    same_map(scene.map, small_world_scene.map)
    assert errors_of_queries(scene, small_world_scene)[:, 0].max() < 0.1


def test_one_kapture_without_roles_is_a_reference(written):
    scene = open_scene(written / "query")
    assert [image.name for image in scene.reference] == sorted(image.name for image in scene.reference)
    assert (len(scene.reference), scene.queries, scene.map) == (2, (), None)


def test_windows_line_ends_and_paths_make_no_difference(folder, small_world_scene):
    for file in folder.rglob("*.txt"):
        text = file.read_text()
        if file.name in ("records_camera.txt", "observations.txt"):
            text = text.replace("overcast/", "overcast\\")
        file.write_bytes(text.replace("\n", "\r\n").encode())
    same_map(open_scene(folder).map, small_world_scene.map)


def edited(folder, file, old, new, count=1):
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path


BAD = [
    ("mapping/sensors/sensors.txt", "PINHOLE", "PINHOLY", r"sensors\.txt:3: camera model 'PINHOLY' is not known"),
    ("mapping/sensors/sensors.txt", "PINHOLE, 400", "PINHOLE, many", r"sensors\.txt:3: expected numbers"),
    ("mapping/sensors/sensors.txt", "camera1,", "camera0,", r"sensors\.txt:4: the sensor 'camera0' is listed a second time"),
    ("mapping/sensors/trajectories.txt", "0, camera0, ", "0, camera0, 3", r"trajectories\.txt:3: the quaternion has length"),
    ("mapping/sensors/trajectories.txt", "0, camera0, ", "0, camera0, nan, ", r"trajectories\.txt:3: .*found 10 values"),
    ("mapping/sensors/trajectories.txt", "1, camera1", "0, camera0", r"trajectories\.txt:4: a second pose of 'camera0' at 0"),
    ("mapping/sensors/trajectories.txt", "1, camera1", "soon, camera1", r"the timestamp 'soon' is no whole number"),
    ("mapping/sensors/records_camera.txt", "camera2", "camera7", r"records_camera\.txt:5: the device 'camera7' is no camera"),
    ("mapping/sensors/records_camera.txt", "0001.jpg", "0000.jpg", r"records_camera\.txt:4: .* is listed a second time"),
    ("mapping/reconstruction/observations.txt", "\n2, ", "\n99999999, ", r"'99999999' is no index of one of \d+ points"),
    ("mapping/reconstruction/points3d.txt", "B\n", "B\n1, ", r"points3d\.txt:3: expected X, Y, Z.*found 7 values"),
    ("mapping/reconstruction/points3d.txt", "B\n", "B\ninf, 0, 0\n", r"points3d\.txt:3: expected finite numbers"),
    (f"mapping/reconstruction/keypoints/{KIND}/keypoints.txt", "float32", "object", r"the type 'object' is not known"),
    (f"mapping/reconstruction/keypoints/{KIND}/keypoints.txt", "32, 2", "32, 99999999999", r"'99999999999' numbers a row"),
    (f"mapping/reconstruction/descriptors/{KIND}/descriptors.txt", "128", "77", r"\.desc: cut off or corrupt"),
]


@pytest.mark.parametrize(("file", "old", "new", "sentence"), BAD, ids=[f"{b[0].rsplit('/', 1)[-1]}-{b[2]}" for b in BAD])
def test_what_is_wrong_with_a_file_is_one_sentence(folder, file, old, new, sentence):
    edited(folder, file, old, new)
    with pytest.raises(SceneError, match=sentence) as error:
        open_scene(folder)
    assert str(error.value).startswith(str(folder))


def test_a_pose_that_is_not_a_number_is_refused(folder):
    path = folder / "mapping" / "sensors" / "trajectories.txt"
    lines = path.read_text().splitlines()
    lines[2] = "0, camera0, nan, 0, 0, 0, 0, 0, 0"
    path.write_text("\n".join(lines))
    with pytest.raises(SceneError, match=r"trajectories\.txt:3: expected finite numbers"):
        open_scene(folder)


def test_a_rig_on_itself_is_refused(small_world_scene, tmp_path):
    write_kapture(small_world_scene, tmp_path / "rig", mount=MOUNT)
    edited(tmp_path / "rig", "mapping/sensors/rigs.txt", "rig, camera", "rig, rig")
    with pytest.raises(SceneError, match="mounted on itself"):
        open_scene(tmp_path / "rig")


def test_cut_off_keypoints_are_named(folder):
    path = next((folder / "mapping" / "reconstruction" / "keypoints" / KIND).rglob("*.kpt"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(SceneError, match=r"an observation is of keypoint \d+ of"):
        open_scene(folder)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SceneError, match=r"\.kpt: cut off or corrupt"):
        open_scene(folder)


def test_names_that_lead_out_of_the_folder_stay_inside_and_are_said(folder):
    edited(folder, "query/sensors/records_camera.txt", "overcast/", "../../../overcast/")
    scene = open_scene(folder)
    assert all(".." not in image.name for image in scene.images)
    assert any("points out of the folder" in note for note in scene.notes)


def test_missing_images_are_a_note(folder):
    shutil.rmtree(folder / "query" / "sensors" / "records_data")
    assert any("2 of 8 images are missing" in note for note in open_scene(folder).notes)


def test_a_scene_without_a_map_cannot_be_written(small_world_scene, tmp_path):
    from dataclasses import replace

    with pytest.raises(InputError, match="without a map"):
        write_kapture(replace(small_world_scene, map=None), tmp_path / "x")


def test_the_virtual_gallery_is_localized_in(shared_data):
    """Exact poses of map and query come with it; the rigs of the map have six cameras."""
    scene = open_scene(shared_data("kapture_virtual_gallery"))
    assert (scene.layout, len(scene.reference), len(scene.queries)) == ("kapture", 12, 4)
    near = [image for image in scene.reference if "camera_0" in image.name]
    scene_map = finish(build_scene_map(near, MapConfig(max_image_side=480, min_track_length=2)))
    found = finish(localize(scene.queries[-1], scene_map))
    assert found.error.position_m < 0.05
    assert found.error.rotation_deg < 0.3


def test_the_rigs_of_the_virtual_gallery_keep_their_cameras_together(shared_data):
    kapture = read_kapture(shared_data("kapture_virtual_gallery") / "mapping")
    by_stamp: dict[float, list] = {}
    for image in kapture.images:
        by_stamp.setdefault(image.timestamp_s, []).append(image)
    for a, b in by_stamp.values():
        b_from_a = b.cam_from_world @ a.cam_from_world.inverse()
        assert np.degrees(np.arccos((np.trace(b_from_a.R) - 1) / 2)) == pytest.approx(60, abs=1e-6)
        assert np.linalg.norm(a.cam_from_world.center() - b.cam_from_world.center()) == pytest.approx(0.1, abs=1e-6)


def test_the_kapture_of_aachen_says_that_its_keypoints_are_of_another_type(shared_data):
    scene = open_scene(shared_data("kapture_aachen_tiny") / "kapture")
    assert (len(scene.reference), len(scene.queries), len(scene.map.points3D)) == (3, 4, 5)
    assert scene.image("db/1045.jpg").camera.model == "SIMPLE_RADIAL"
    assert any("is their type right?" in note for note in scene.notes)


def test_a_stereo_drive_without_poses_is_a_list_of_photographs(shared_data):
    scene = open_scene(shared_data("kapture_utbm_stereo"))
    assert (scene.layout, len(scene.reference), scene.map) == ("kapture", 10, None)
    assert {image.camera.model for image in scene.reference} == {"OPENCV"}
    assert all(image.path.is_file() and image.cam_from_world is None for image in scene.reference)
    assert scene.reference[0].timestamp_s == pytest.approx(1531487840.875079, abs=1e-5)
