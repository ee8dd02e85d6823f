"""The layout of Aachen Day-Night: written of a scene of known truth, and the fixture of kapture."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from benchmark_toys import RADIAL, TrueScene, assert_same_map

from core.errors import SceneError
from core.evaluation.errors import pose_error
from core.localizer.pipeline import localize
from core.scene.colmap import write_model
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_aachen import write_aachen


@pytest.fixture
def written(tmp_path):
    true = TrueScene(tmp_path / "photos", RADIAL)
    return true, tmp_path / "aachen", write_aachen(true.scene, tmp_path / "aachen", features=true.features)


@pytest.mark.parametrize("opened", ["", "3D-models/aachen_cvpr2018_db.nvm"])
def test_it_gives_back_map_cameras_day_and_night(written, opened):
    true, root, names = written
    found = open_scene(root / opened)
    assert (found.layout, found.conditions) == ("Aachen", ("db", "day", "night"))
    assert_same_map(found.map, true.scene.map, names)
    assert {query.name for query in found.queries} == {names[query.name] for query in true.scene.queries}
    for image in found.images:
        np.testing.assert_allclose(image.camera.params, RADIAL.params, atol=1e-9)
        assert image.path.is_file()
    assert not found.notes


def test_the_database_gives_descriptors_and_a_night_query_is_localized_to_its_true_pose(written):
    true, root, names = written
    found = open_scene(root)
    query = next(query for query in found.queries if query.condition == "night")
    answer = finish(localize(query, found.map))
    expected = next(query_ for query_ in true.scene.queries if names[query_.name] == query.name)
    error = pose_error(answer.result.cam_from_world, expected.cam_from_world)
    assert error.position_m < 0.01
    assert error.rotation_deg < 0.02


def test_without_intrinsics_the_cameras_are_made_of_the_nvm_file_and_the_pictures(written, tmp_path):
    true, _, _ = written
    write_aachen(true.scene, tmp_path / "bare", intrinsics=False)
    found = open_scene(tmp_path / "bare")
    expected = [140, 79.5, 59.5, -0.05]  # the principal point is the middle of the picture
    np.testing.assert_allclose(found.reference[0].camera.params, expected, atol=1e-9)
    assert any("5 of 5 images have the camera of the NVM file" in note for note in found.notes)


def test_without_pictures_and_database_it_opens_and_notes_say_what_is_missing(written):
    _, root, _ = written
    shutil.rmtree(root / "images_upright")
    (root / "aachen.db").unlink()
    found = open_scene(root)
    assert len(found.map.points3D)
    assert any("11 of 11 images are missing" in note for note in found.notes)
    assert any("has no descriptors" in note for note in found.notes)


def test_a_map_whose_cameras_are_not_known_still_localizes_by_its_points_and_descriptors(written):
    true, root, names = written
    shutil.rmtree(root / "images_upright")
    (root / "3D-models" / "database_intrinsics.txt").unlink()
    found = open_scene(root)
    assert all(image.camera is None for image in found.reference)
    assert any("5 images have no known camera" in note for note in found.notes)
    query = next(query for query in found.queries if query.name == names[true.scene.queries[0].name])
    answer = finish(localize(query, found.map))
    assert pose_error(answer.result.cam_from_world, true.scene.queries[0].cam_from_world).position_m < 0.01


def test_descriptors_of_other_keypoints_are_left_out_with_the_reason(written):
    _, root, _ = written
    moved = TrueScene(root.parent / "others", RADIAL, num_points=90, pictures=False)
    write_aachen(moved.scene, root.parent / "other")
    shutil.copy(root.parent / "other" / "aachen.db", root / "aachen.db")
    found = open_scene(root)
    assert found.map.observations.descriptors is None
    assert any("has fitting features of none of the 5 images" in note for note in found.notes)


def test_the_colmap_model_of_v1_1_goes_before_the_nvm_file(written):
    true, root, names = written
    images = tuple(replace(image, name=names[image.name]) for image in true.scene.map.images)
    write_model(root / "3D-models" / "aachen_v_1_1", replace(true.scene.map, images=images))
    found = open_scene(root)
    assert found.map_path == root / "3D-models" / "aachen_v_1_1"
    assert_same_map(found.map, true.scene.map, names)
    assert found.map.extractor == "colmap-sift-root"
    assert found.conditions == ("db", "day", "night")


def test_the_fixture_of_the_real_layout_opens_with_the_cameras_of_its_lists(shared_data):
    folder = shared_data("kapture_aachen_tiny")
    found = open_scene(folder)
    assert (found.layout, len(found.reference), len(found.queries), len(found.map.points3D)) == ("Aachen", 3, 4, 5)
    assert found.conditions == ("db", "day")
    cameras = {query.name: query.camera for query in found.queries}
    phone = cameras["query/day/milestone/2011-12-17_14-50-43_241.jpg"]
    assert (phone.model, phone.width, phone.height) == ("SIMPLE_RADIAL", 768, 1024)
    np.testing.assert_allclose(phone.params, [971.838, 383.5, 511.5, -0.00177789])
    lines = (folder / "kapture/training/sensors/sensors.txt").read_text().splitlines()
    sensors = [line.split(", ")[3:] for line in lines if line[0] != "#"]  # what kapture made of the same NVM file
    for image, (model, width, height, f, cx, cy, k) in zip(found.reference, sensors, strict=True):
        assert (image.camera.model, image.camera.width, image.camera.height) == (model, int(width), int(height))
        np.testing.assert_allclose(image.camera.params, [float(f), float(cx) - 0.5, float(cy) - 0.5, float(k)], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("SIMPLE_RADIAL", "MAGIC", 1), "found no known camera model"),
        (lambda text: text + text.splitlines()[-1] + "\n", "is listed a second time"),
        (lambda text: text.replace("140.0", "nan", 1), "expected finite numbers"),
    ],
)
def test_a_query_list_that_cannot_be_read_is_one_sentence(written, change, says):
    _, root, _ = written
    file = root / "queries" / "day_time_queries_with_intrinsics.txt"
    file.write_text(change(file.read_text()))
    with pytest.raises(SceneError, match=says) as caught:
        open_scene(root)
    assert str(caught.value).startswith(str(file))


def test_line_ends_and_paths_of_windows_are_read(written):
    true, root, names = written
    for file in (*root.glob("queries/*.txt"), *root.glob("3D-models/*")):
        file.write_bytes(file.read_text().replace("/", "\\").replace("\n", "\r\n").encode())
    found = open_scene(root)
    assert_same_map(found.map, true.scene.map, names)
    assert {query.name for query in found.queries} == {names[query.name] for query in true.scene.queries}
    assert all(image.path.is_file() for image in found.images)


def test_names_that_lead_out_of_the_folder_are_looked_for_inside(written):
    _, root, _ = written
    file = root / "queries" / "day_time_queries_with_intrinsics.txt"
    camera = " SIMPLE_RADIAL 160 120 140 80 60 0\n"
    file.write_text(file.read_text() + "../../secret.jpg" + camera + "C:\\pictures\\b.jpg" + camera)
    found = open_scene(root)
    assert {"secret.jpg", "pictures/b.jpg"} < {query.name for query in found.queries}
    assert all((root / "images_upright") in query.path.parents for query in found.queries)
    assert any("2 image names point out of the folder" in note for note in found.notes)
