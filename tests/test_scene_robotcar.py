"""RobotCar Seasons v1 and v2: written of a scene of known truth, read again."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from benchmark_toys import PINHOLE, TrueScene, assert_same_map, resized_map

from core.errors import SceneError
from core.evaluation.errors import pose_error
from core.localizer.pipeline import localize
from core.scene.robotcar_seasons import CAMERAS, read_extrinsics
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_robotcar import rig, write_robotcar

LOCATION = "3D-models/individual/colmap_reconstructions/001_aligned"


@pytest.fixture
def true(tmp_path):
    return TrueScene(tmp_path / "photos", PINHOLE, pictures=False)


@pytest.fixture
def pictured(tmp_path):
    return TrueScene(tmp_path / "photos", PINHOLE)


def test_v2_gives_back_the_merged_map_cameras_conditions_and_the_poses_of_its_training_list(true, tmp_path):
    names = write_robotcar(true.scene, tmp_path / "rc")
    found = open_scene(tmp_path / "rc")
    assert (found.layout, found.name) == ("RobotCar Seasons", "RobotCar Seasons v2")
    assert_same_map(found.map, resized_map(true.scene, 1024, 1024), names)
    assert found.conditions == ("overcast-reference", "sun", "snow", "night")
    poses = {query.name: query.cam_from_world for query in found.queries}
    for k, query in enumerate(true.scene.queries):
        if k % 2:
            assert poses[names[query.name]] is None
        else:
            np.testing.assert_allclose(poses[names[query.name]].matrix(), query.cam_from_world.matrix(), atol=1e-6)
    assert found.queries[0].timestamp_s == pytest.approx(1417176458.999821 + 5 * 0.125)


def test_the_poses_of_left_and_right_follow_from_rear_by_the_extrinsics(true, tmp_path):
    names = write_robotcar(true.scene, tmp_path / "rc")
    found = {query.name: query for query in open_scene(tmp_path / "rc").queries}
    first = true.scene.queries[0]
    car_from_world = rig()["rear"] @ first.cam_from_world
    for side in ("left", "right"):
        query = found[names[first.name].replace("/rear/", f"/{side}/")]
        expected = rig()[side].inverse() @ car_from_world
        np.testing.assert_allclose(query.cam_from_world.matrix(), expected.matrix(), atol=1e-6)
        np.testing.assert_allclose(query.camera.K, found[names[first.name]].camera.K)
    notes = open_scene(tmp_path / "rc").notes
    assert any(note.startswith("The poses of 6 queries follow from those taken at the same time") for note in notes)


def test_the_three_extrinsics_are_read_as_camera_from_car(true, tmp_path):
    write_robotcar(true.scene, tmp_path)
    for side, pose in read_extrinsics(tmp_path).items():
        np.testing.assert_allclose(pose.matrix(), rig()[side].inverse().matrix(), atol=1e-9)
    assert set(read_extrinsics(tmp_path)) == set(CAMERAS)


def test_v1_has_queries_without_poses(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc", version=1)
    found = open_scene(tmp_path / "rc")
    assert found.name == "RobotCar Seasons"
    assert len(found.queries) == 18
    assert all(query.cam_from_world is None for query in found.queries)


@pytest.mark.parametrize("opened", ["", LOCATION])
def test_a_location_is_read_from_its_text_model_with_its_own_queries(pictured, tmp_path, opened):
    names = write_robotcar(pictured.scene, tmp_path / "rc", merged=False)
    found = open_scene(tmp_path / "rc" / opened)
    assert found.name == "RobotCar Seasons v2, location 1"
    assert_same_map(found.map, resized_map(pictured.scene, 1024, 1024), names)
    assert len(found.queries) == 18
    assert all(image.path.is_file() for image in found.reference)


def test_an_nvm_file_of_a_location_comes_with_its_own_queries(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc")
    own = tmp_path / "rc" / "3D-models" / "individual" / "nvm" / "001_aligned.nvm"
    own.parent.mkdir()
    shutil.copy(tmp_path / "rc" / "3D-models" / "all-merged" / "all.nvm", own)
    (tmp_path / "rc" / "3D-models" / "individual" / "queries_per_location" / "queries_location_2.txt").write_text(
        "sun/rear/1.jpg\n"
    )
    found = open_scene(own)
    assert (found.name, len(found.queries)) == ("RobotCar Seasons v2, location 1", 18)
    assert len(found.map.points3D) == len(true.scene.map.points3D)


def test_of_several_locations_the_first_is_opened_and_each_brings_its_own_queries(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc", merged=False)
    individual = tmp_path / "rc" / "3D-models" / "individual"
    shutil.copytree(tmp_path / "rc" / LOCATION, individual / "colmap_reconstructions" / "012_aligned")
    own = individual / "queries_per_location" / "queries_location_12.txt"
    own.write_text("night/rear/1417999999999999.jpg\n")
    assert any("the first of 2 locations" in note for note in open_scene(tmp_path / "rc").notes)
    other = open_scene(individual / "colmap_reconstructions" / "012_aligned")
    assert [query.name for query in other.queries] == ["night/rear/1417999999999999.jpg"]
    own.unlink()
    other = open_scene(individual / "colmap_reconstructions" / "012_aligned")
    assert any("no list of the queries of location 12" in note for note in other.notes)


@pytest.mark.parametrize("merged", [True, False])
def test_the_databases_give_descriptors_and_a_query_is_localized_to_its_true_pose(true, tmp_path, merged):
    write_robotcar(true.scene, tmp_path / "rc", merged=merged, features=true.features)
    found = open_scene(tmp_path / "rc")
    assert found.map.extractor == "colmap-sift-root"
    query = next(query for query in found.queries if "/rear/" in query.name)
    answer = finish(localize(query, found.map))
    error = pose_error(answer.result.cam_from_world, true.scene.queries[0].cam_from_world)
    assert error.position_m < 0.01
    assert error.rotation_deg < 0.02


def test_without_pictures_and_lists_the_map_opens_and_notes_say_what_is_missing(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc", version=1, location=False)
    (tmp_path / "rc" / "3D-models" / "overcast-reference.db").unlink()
    found = open_scene(tmp_path / "rc")
    assert len(found.map.points3D) == len(true.scene.map.points3D)
    for says in ("5 of 5 images are missing", "no queries were found", "has no descriptors"):
        assert any(says in note for note in found.notes), says


def test_without_lists_the_queries_are_the_pictures_of_every_condition_but_the_reference(pictured, tmp_path):
    names = write_robotcar(pictured.scene, tmp_path / "rc", version=1, location=False)
    found = open_scene(tmp_path / "rc")
    assert {query.name for query in found.queries} == {names[query.name] for query in pictured.scene.queries}


def test_without_a_map_the_reference_pictures_and_queries_open(pictured, tmp_path):
    write_robotcar(pictured.scene, tmp_path / "rc", merged=False)
    shutil.rmtree(tmp_path / "rc" / "3D-models")
    found = open_scene(tmp_path / "rc")
    assert (len(found.reference), len(found.queries), found.map) == (5, 6, None)
    assert any("no map was found" in note for note in found.notes)


def test_without_intrinsics_the_cameras_are_those_of_the_nvm_file_and_a_note_says_so(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc")
    shutil.rmtree(tmp_path / "rc" / "intrinsics")
    found = open_scene(tmp_path / "rc")
    assert found.reference[0].camera.model == "SIMPLE_PINHOLE"
    assert any("have the camera of the NVM file" in note for note in found.notes)
    assert any("18 of 18 queries have no known intrinsics" in note for note in found.notes)


def test_lists_that_leave_conditions_out_find_them_by_the_time(true, tmp_path):
    names = write_robotcar(true.scene, tmp_path / "rc")
    for file in ("robotcar_v2_train.txt", "robotcar_v2_test.txt"):
        path = tmp_path / "rc" / file
        path.write_text("".join(line.split("/", 1)[1] + "\n" for line in path.read_text().splitlines()))
    found = open_scene(tmp_path / "rc")
    assert len(found.queries) == 18
    query = next(query for query in found.queries if query.name == names[true.scene.queries[0].name])
    np.testing.assert_allclose(query.cam_from_world.matrix(), true.scene.queries[0].cam_from_world.matrix(), atol=1e-6)


def test_line_ends_of_windows_and_backslashes_are_read(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc")
    for file in (tmp_path / "rc").rglob("*.txt"):
        if "aligned" not in file.parent.name:
            text = file.read_text()
            text = text.replace("/", "\\") if "queries_location" in file.name or "robotcar_v2" in file.name else text
            file.write_bytes(text.replace("\n", "\r\n").encode())
    found = open_scene(tmp_path / "rc")
    assert len(found.queries) == 18
    assert sum(query.cam_from_world is not None for query in found.queries) == 9


IDENTITY = "1 0 0 1 0 1 0 2 0 0 1 3 0 0 0 1"


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (IDENTITY.replace("1 0 0 1", "nan 0 0 1", 1), "the matrix is not finite"),
        (IDENTITY.replace("1 0 0 1", "2 0 0 1", 1), "the matrix holds no rotation (determinant 2)"),
        (IDENTITY.replace("1 0 0 1", "-1 0 0 1", 1), "the matrix holds no rotation (determinant -1)"),
    ],
)
def test_a_matrix_that_is_no_pose_leaves_one_query_without_and_is_noted(true, tmp_path, matrix, says):
    write_robotcar(true.scene, tmp_path / "rc")
    file = tmp_path / "rc" / "robotcar_v2_train.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{lines[0].split()[0]} {matrix}", *lines[1:], lines[1]]) + "\n")
    found = open_scene(tmp_path / "rc")
    assert sum(query.cam_from_world is not None for query in found.queries) == 6
    note = next(note for note in found.notes if "poses are left out" in note)
    assert note.startswith("2 poses are left out")  # this one, and the one that is listed twice
    assert says in note


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("robotcar_v2_train.txt", "dusk/rear/1.png 1 2 3\n", "expected a name and a 4 x 4 matrix, found 4 values"),
        ("robotcar_v2_train.txt", "dusk/rear/1.png " + "x " * 16 + "\n", "expected numbers"),
        ("intrinsics/rear_intrinsics.txt", "fx 400\nfy 400\ncx 508\n", "has no cy"),
        ("intrinsics/rear_intrinsics.txt", "fx wide\nfy 400\ncx 508\ncy 3\n", "expected numbers, found 'wide'"),
        ("intrinsics/left_intrinsics.txt", "fx -1\nfy 400\ncx 508\ncy 3\n", "positive focal lengths"),
        ("extrinsics/left_extrinsics.txt", "1,0,0,0\n", "expected a 4 x 4 matrix [R c; 0 1], found 4 numbers"),
        ("extrinsics/left_extrinsics.txt", IDENTITY.replace("1 0 0 1", "2 0 0 1", 1), "the matrix holds no rotation"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_sentence(true, tmp_path, file, text, says):
    write_robotcar(true.scene, tmp_path / "rc")
    (tmp_path / "rc" / file).write_text(text)
    with pytest.raises(SceneError, match=re.escape(says)) as caught:
        open_scene(tmp_path / "rc")
    assert str(caught.value).startswith(str(tmp_path / "rc" / file))


def test_names_that_lead_out_of_the_folder_are_looked_for_inside(true, tmp_path):
    write_robotcar(true.scene, tmp_path / "rc")
    file = tmp_path / "rc" / "3D-models" / "individual" / "queries_per_location" / "queries_location_1.txt"
    file.write_text("../../../../secret.jpg\nsun/rear/1.jpg\n")
    found = open_scene(tmp_path / "rc")
    assert all((tmp_path / "rc" / "images") in image.path.parents for image in found.images)
    assert any("1 image name points out of the folder" in note for note in found.notes)
