"""Extended CMU Seasons and CMU Seasons: written of a scene of known truth, read again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from benchmark_toys import OPENCV, PINHOLE, TrueScene, assert_same_map, last, resized_map, without_pictures

from core.errors import SceneError
from core.evaluation.errors import pose_error
from core.localizer.pipeline import localize
from core.scene.cmu_seasons import camera_key, condition_of_day, kind_of_slice, timestamp_of
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_cmu import write_extended_cmu, write_rectified_cmu

NAME = "img_00122_c0_1303398475046031us.jpg"
PUBLISHED_C1 = [873.382641, 876.489513, 528.824138, 396.772397, -0.397066, 0.181925, 0.000176, -0.000579]


@pytest.fixture
def extended(tmp_path):
    """The truth, the root that was written, and the new names, those of folders included."""
    true = TrueScene(tmp_path / "photos", OPENCV)
    names = write_extended_cmu(true.scene, tmp_path / "cmu", 7, true.features)
    folders = {i.name: "database" for i in true.scene.map.images} | {q.name: "query" for q in true.scene.queries}
    return true, tmp_path / "cmu", {name: f"{folders[name]}/{new}" for name, new in names.items()}


def test_a_name_tells_camera_time_and_the_day_with_the_benchmarks_words():
    assert camera_key(NAME) == "c0"
    assert timestamp_of(NAME) == pytest.approx(1303398475.046031, abs=1e-6)
    assert condition_of_day(NAME) == "2011-04-21"
    assert condition_of_day("query/img_01555_c1_1283347879534213us_rect.jpg") == "2010-09-01-sunny-foliage"
    assert (camera_key("photo.jpg"), timestamp_of("photo.jpg"), condition_of_day("photo.jpg")) == ("", None, "unknown-day")


def test_slices_are_urban_suburban_and_park():
    assert [kind_of_slice(n) for n in (2, 8, 9, 17, 18, 25)] == ["urban"] * 2 + ["suburban"] * 2 + ["park"] * 2


@pytest.mark.parametrize("opened", ["", "slice7"])
def test_a_slice_or_its_root_gives_back_map_cameras_conditions_and_poses(extended, opened):
    true, root, names = extended
    found = open_scene(root / opened)
    assert (found.layout, found.name, found.kind) == ("Extended CMU Seasons", "slice7", "urban")
    assert_same_map(found.map, true.scene.map, names)
    np.testing.assert_allclose(found.map.images[0].camera.params, OPENCV.params, atol=1e-12)
    assert found.map.gravity_in_world.tolist() == [0, 0, -1]
    assert found.conditions == (
        "2011-04-04-sunny-no-foliage",
        "2010-09-01-sunny-foliage",
        "2010-10-01-cloudy-foliage",
        "2010-10-28-overcast-mixed-foliage",
    )
    assert not found.notes
    assert all(image.path.is_file() for image in found.images)


def test_half_of_the_queries_have_the_pose_that_camera_poses_gives_by_its_centre(extended):
    true, root, names = extended
    found = open_scene(root)
    assert [query.name for query in found.queries] == [names[query.name] for query in true.scene.queries]
    for k, (query, expected) in enumerate(zip(found.queries, true.scene.queries, strict=True)):
        np.testing.assert_allclose(query.camera.params, OPENCV.params, atol=1e-12)
        if k % 2:
            assert query.cam_from_world is None
        else:
            np.testing.assert_allclose(query.cam_from_world.matrix(), expected.cam_from_world.matrix(), atol=1e-6)


def test_the_databases_give_descriptors_and_a_distorted_query_is_localized_to_its_true_pose(extended):
    true, root, _ = extended
    found = open_scene(root)
    assert found.map.extractor == "colmap-sift-root"
    answer = finish(localize(found.queries[1], found.map))
    error = pose_error(answer.result.cam_from_world, true.scene.queries[1].cam_from_world)
    assert error.position_m < 0.01
    assert error.rotation_deg < 0.02


def test_without_databases_or_pictures_a_slice_opens_and_notes_say_what_is_missing(extended):
    _, root, _ = extended
    for file in (*root.glob("slice7/*.db"), root / "intrinsics.txt"):
        file.unlink()
    for folder in ("database", "query"):
        shutil.rmtree(root / "slice7" / folder)
    found = open_scene(root)
    assert found.map.observations.descriptors is None
    for says in ("has no descriptors", "11 of 11 images are missing", "no intrinsics.txt here or above"):
        assert any(says in note for note in found.notes), says
    odd = next(query for query in found.queries if "_c1_" in query.name)
    np.testing.assert_allclose(odd.camera.params, PUBLISHED_C1, atol=1e-9)


def test_without_a_model_the_reference_images_have_the_listed_poses(extended):
    true, root, names = extended
    shutil.rmtree(root / "slice7" / "sparse")
    found = open_scene(root)
    assert found.map is None
    poses = {image.name: image.cam_from_world.matrix() for image in found.reference}
    for image in true.scene.map.images:
        np.testing.assert_allclose(poses[names[image.name]], image.cam_from_world.matrix(), atol=1e-6)
    assert any("no map was found" in note for note in found.notes)


def test_of_several_slices_the_first_is_opened_and_the_others_are_named(extended):
    true, root, _ = extended
    write_extended_cmu(true.scene, root, 10)
    found = open_scene(root)
    assert found.name == "slice7"
    assert "the first of 2 slices" in found.notes[0]
    assert "slice10" in found.notes[0]
    assert open_scene(root / "slice10").kind == "suburban"


def changed(file, change) -> None:
    file.write_bytes(change(file.read_text()).encode())


def test_line_ends_of_windows_are_read(extended):
    _, root, _ = extended
    for file in root.rglob("*.txt"):
        changed(file, lambda text: text.replace("\n", "\r\n"))
    found = open_scene(root)
    assert len(found.queries) == 6
    assert sum(query.cam_from_world is not None for query in found.queries) == 3


def pose_file(root):
    return sorted((root / "slice7" / "camera-poses").glob("*.txt"))[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("nan 0 0 0 1 2 3", "the pose is not finite"),
        ("1 0 0 0 1 inf 3", "the pose is not finite"),
        ("2 0 0 0 1 2 3", "the quaternion has length 2, expected 1"),
        ("0 0 0 0 1 2 3", "the quaternion has length 0, expected 1"),
    ],
)
def test_a_pose_that_is_none_leaves_one_query_without_and_is_noted(extended, values, says):
    _, root, _ = extended
    file = pose_file(root)
    changed(file, lambda text: f"{text.split()[0]} {values}\n")
    found = open_scene(root)
    assert sum(query.cam_from_world is not None for query in found.queries) == 2
    (note,) = found.notes
    assert says in note
    assert note.startswith("1 pose is left out (the first: " + str(file))


def test_a_query_listed_twice_is_taken_once_and_keeps_its_first_pose(extended):
    true, root, _ = extended
    changed(pose_file(root), lambda text: text + f"{text.split()[0]} 1 0 0 0 9 9 9\n")
    changed(root / "slice7" / "test-images-slice7.txt", lambda text: text + text.split("\n")[0] + "\n")
    found = open_scene(root)
    assert len(found.queries) == 6
    np.testing.assert_allclose(
        found.queries[0].cam_from_world.matrix(), true.scene.queries[0].cam_from_world.matrix(), atol=1e-6
    )
    assert any("listed a second time" in note for note in found.notes)


def test_names_that_lead_out_of_the_slice_are_looked_for_inside(extended):
    _, root, _ = extended
    changed(root / "slice7" / "test-images-slice7.txt", lambda text: text + "../../../secret.jpg\n/etc/passwd.jpg\n")
    found = open_scene(root)
    assert {"query/secret.jpg", "query/passwd.jpg"} < {query.name for query in found.queries}
    assert all((root / "slice7") in image.path.parents for image in found.images)
    assert any("2 image names point out of the folder" in note for note in found.notes)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("intrinsics.txt", lambda text: text.replace("OPENCV", "MAGIC"), "camera model 'MAGIC' is not known"),
        (
            "intrinsics.txt",
            lambda text: text.replace("c0 OPENCV 160", "c0 OPENCV"),
            "OPENCV needs width, height and 8 parameters",
        ),
        ("slice7/camera-poses/sun.txt", lambda text: text[: len(text) // 2], "expected name qw qx qy qz cx cy cz"),
        ("slice7/camera-poses/sun.txt", lambda text: text.replace(" ", " x", 1), "expected name qw qx qy qz cx cy cz"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_sentence(extended, file, change, says):
    _, root, _ = extended
    changed(root / file, change)
    with pytest.raises(SceneError, match=says) as caught:
        open_scene(root)
    assert str(caught.value).startswith(str(root / file))


def test_folders_that_link_to_themselves_do_not_hold_the_reader(extended):
    _, root, _ = extended
    try:
        (root / "slice7" / "query" / "again").symlink_to(root / "slice7", target_is_directory=True)
        (root / "slice99").symlink_to(root / "slice99")
        (root / "slice7" / "camera-poses" / "loop.txt").symlink_to("loop.txt")
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(SceneError, match=r"loop\.txt: cannot be read"):
        open_scene(root)
    (root / "slice7" / "camera-poses" / "loop.txt").unlink()
    assert len(open_scene(root).queries) == 6


# CMU Seasons


@pytest.mark.parametrize("relative", [False, True])
def test_cmu_seasons_gives_back_map_cameras_and_queries(tmp_path, relative):
    true = TrueScene(tmp_path / "photos", PINHOLE).scene
    names = write_rectified_cmu(true, tmp_path / "cmu", 18, relative)
    found = open_scene(tmp_path / "cmu")
    assert (found.layout, found.name, found.kind) == ("CMU Seasons", "slice18", "park")
    expected = resized_map(true, 1024, 768)
    assert_same_map(found.map, expected, {name: f"database/{new}" for name, new in names.items()})
    assert [query.name for query in found.queries] == [f"query/{names[query.name]}" for query in true.queries]
    for query in found.queries:
        np.testing.assert_allclose(query.camera.K, expected.images[0].camera.K, atol=1e-9)
        assert query.cam_from_world is None
    assert found.conditions[1:] == (
        "2010-09-01-sunny-foliage",
        "2010-10-01-cloudy-foliage",
        "2010-10-28-overcast-mixed-foliage",
    )
    assert all(image.path.is_file() for image in found.images)
    assert len(found.notes) == 1
    assert "has no descriptors" in found.notes[0]


def test_a_model_opened_by_its_own_path_comes_with_its_own_queries(tmp_path):
    true = without_pictures(TrueScene(tmp_path / "photos", PINHOLE, pictures=False).scene)
    for number in (2, 24):
        write_rectified_cmu(true, tmp_path / "cmu", number)
    lists = tmp_path / "cmu" / "query_lists"
    (lists / "slice2.queries_with_intrinsics.txt").unlink()
    first = open_scene(tmp_path / "cmu")
    assert first.name == "slice2"
    assert any("the first of 2 models" in note for note in first.notes)
    other = open_scene(tmp_path / "cmu" / "3D-models" / "slice24.nvm")
    assert (other.layout, other.name, len(other.queries)) == ("CMU Seasons", "slice24", 6)


def test_without_intrinsics_the_queries_say_what_the_cameras_are(tmp_path):
    true = TrueScene(tmp_path / "photos", PINHOLE).scene
    write_rectified_cmu(true, tmp_path / "cmu")
    expected = resized_map(true, 1024, 768).images[0].camera
    shutil.rmtree(tmp_path / "cmu" / "intrinsics")
    found = open_scene(tmp_path / "cmu")
    np.testing.assert_allclose(found.reference[0].camera.K, expected.K, atol=1e-9)
    shutil.rmtree(tmp_path / "cmu" / "query_lists")
    (tmp_path / "cmu" / "query_lists").mkdir()
    found = open_scene(tmp_path / "cmu")
    assert found.reference[0].camera.K[0, 0] == pytest.approx(868.993378)
    assert any("no list of queries" in note for note in found.notes)
    assert any("no queries were found" in note for note in found.notes)


def test_an_intrinsics_file_that_is_no_matrix_is_one_sentence(tmp_path):
    true = TrueScene(tmp_path / "photos", PINHOLE, pictures=False).scene
    write_rectified_cmu(true, tmp_path / "cmu")
    file = tmp_path / "cmu" / "intrinsics" / "c1.txt"
    file.write_text("1 2 3\n4 5 6\n")
    with pytest.raises(SceneError, match=r"c1\.txt: expected a 3 x 3 matrix") as caught:
        open_scene(tmp_path / "cmu")
    assert last(str(caught.value).split(":")[0]) == "c1.txt"
