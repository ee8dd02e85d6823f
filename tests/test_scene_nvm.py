"""NVM models: read as they were written, in pieces, with one sentence for whatever is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from benchmark_toys import PINHOLE, RADIAL, TrueScene, assert_same_map

from core.errors import SceneError
from core.scene import nvm
from core.scene.nvm import nvm_map, read_nvm
from core.scene.scene import open_scene, open_scene_steps
from core.steps import finish
from core.world.layout_parts import write_nvm

IMAGE = "a.jpg 500 1 0 0 0 1 2 3 0 0"
POINT = "1 2 3 10 20 30 1 0 7 5.5 6.5"


def written(path, text: str):
    path.write_bytes(text.encode())
    return path


def nvm_text(images=(IMAGE,), points=(POINT,)) -> str:
    return "\n".join(["NVM_V3", "", str(len(images)), *images, "", str(len(points)), *points, "", "0", ""])


@pytest.fixture
def true(tmp_path):
    return TrueScene(tmp_path / "photos").scene


def names_of(scene) -> dict[str, str]:
    return {image.name: image.name for image in scene.map.images}


@pytest.mark.parametrize("relative", [False, True])
def test_an_nvm_file_gives_back_the_map_that_it_was_written_of(true, tmp_path, relative):
    write_nvm(tmp_path / "a.nvm", true.map, list(names_of(true)), relative)
    model = finish(read_nvm(tmp_path / "a.nvm"))
    assert model.relative == relative
    assert_same_map(nvm_map(model, true.map.images), true.map, names_of(true))


@pytest.mark.parametrize("piece", [97, 1000, 1 << 21])
def test_points_are_the_same_however_the_file_is_cut_into_pieces(true, tmp_path, monkeypatch, piece):
    write_nvm(tmp_path / "a.nvm", true.map, list(names_of(true)))
    monkeypatch.setattr(nvm, "_PIECE_BYTES", piece)
    model = finish(read_nvm(tmp_path / "a.nvm"))
    np.testing.assert_array_equal(model.points3D, true.map.points3D)
    np.testing.assert_array_equal(model.observations.point, true.map.observations.point)
    np.testing.assert_allclose(model.observations.points2D, true.map.observations.points2D, atol=1e-4)


def test_keypoint_numbers_of_observations_are_kept(true, tmp_path):
    write_nvm(tmp_path / "a.nvm", true.map, list(names_of(true)))
    model = finish(read_nvm(tmp_path / "a.nvm"))
    for image in range(len(true.map.images)):
        own = model.features[model.observations.image == image]
        np.testing.assert_array_equal(own, np.arange(len(own)))


def test_line_ends_and_paths_of_windows_are_read(tmp_path):
    images = (r"C:\photos\my" '"' r"trip\a.jpg 500 1 0 0 0 1 2 3 0 0", r"photos\b.jpg 500 1 0 0 0 1 2 3 0 0")
    text = nvm_text(images, (POINT, POINT.replace(" 1 0 7", " 1 1 7")))
    model = finish(read_nvm(written(tmp_path / "a.nvm", text.replace("\n", "\r\n"))))
    assert model.names == ("photos/my trip/a.jpg", "photos/b.jpg")
    assert model.observations.image.tolist() == [0, 1]
    assert "points out of the folder" in model.notes[0]


@pytest.mark.parametrize("end", ["", "\n", "\n0\n", "\n0\n#the last part of NVM file points to the PLY files\n0\n"])
def test_whatever_follows_the_points_is_left_alone(tmp_path, end):
    text = f"NVM_V3\n\n1\n{IMAGE}\n\n2\n{POINT}\n\n{POINT}{end}"
    model = finish(read_nvm(written(tmp_path / "a.nvm", text)))
    assert model.points3D.shape == (2, 3)
    assert not model.notes


def test_only_the_first_of_several_models_is_read_and_a_note_says_so(shared_data):
    folder = shared_data("kapture_aachen_tiny") / "3D-models"
    model = finish(read_nvm(folder / "aachen_two_parts.nvm"))
    assert (len(model.names), len(model.points3D)) == (2, 3)
    assert "more models follow" in model.notes[0]


def test_the_fixture_of_aachen_has_the_poses_and_keypoints_that_kapture_made_of_it(shared_data):
    folder = shared_data("kapture_aachen_tiny")
    model = finish(read_nvm(folder / "3D-models" / "aachen_cvpr2018_db.nvm"))
    lines = (folder / "kapture/training/sensors/trajectories.txt").read_text().splitlines()
    expected = np.array([line.split(",")[2:] for line in lines if line[0] != "#"], float)
    found = np.array([[*pose.qvec, *pose.tvec] for pose in model.poses])
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)  # the file's quaternions are of length 1 to 6 digits
    for k, name in enumerate(model.names):
        keypoints = np.fromfile(folder / f"kapture/training/reconstruction/keypoints/sift/{name}.kpt").reshape(-1, 2)
        own = model.observations.points2D[model.observations.image == k] + 0.5
        np.testing.assert_allclose(own, keypoints, atol=1e-3)


def test_names_that_lead_out_of_the_folder_are_looked_for_inside(tmp_path):
    folder = tmp_path / "deep" / "down" / "scene"
    folder.mkdir(parents=True)
    (tmp_path / "secret.jpg").touch()
    images = ("../../../secret.jpg 500 1 0 0 0 1 2 3 0 0", "/etc/b.jpg 500 1 0 0 0 1 2 3 0 0")
    scene = open_scene(written(folder / "a.nvm", nvm_text(images)))
    assert [image.name for image in scene.reference] == ["secret.jpg", "etc/b.jpg"]
    assert all(folder in image.path.parents for image in scene.reference)
    assert "2 image names point out of the folder" in scene.notes[0]


CASES = {
    "no NVM": ("VERSION 3\n", "starts with 'VERSION 3', expected NVM_V3"),
    "empty": ("", "cut off after 0 bytes, expected NVM_V3"),
    "another kind": (nvm_text().replace("NVM_V3", "NVM_V3_R9T"), "starts with 'NVM_V3_R9T', expected NVM_V3"),
    "no count": ("NVM_V3\n\nmany\n", "expected the number of images, found 'many'"),
    "too many images": (nvm_text().replace("\n1\na.jpg", "\n999999999999\na.jpg"), "counts 999999999999 images, more than"),
    "one image more": (nvm_text().replace("\n1\na.jpg", "\n2\na.jpg"), "for image 2 of 2"),
    "too many points": (
        nvm_text(points=(POINT,)).replace("\n1\n1 2", "\n88888888888888888888888\n1 2"),
        "points, more than the",
    ),
    "one point more": (nvm_text(points=(POINT * 1,)).replace("\n1\n1 2", "\n2\n1 2"), "expected X Y Z R G B n"),
    "cut off": (nvm_text(points=(POINT, POINT, POINT))[:100], "found 1 values that begin '1'"),
    "observations lie": (nvm_text(points=(POINT.replace("30 1", "30 2"),)), "found 11 values that begin '1 2 3"),
    "half an observation": (nvm_text(points=(POINT.replace("30 1", "30 0.5"),)), "expected X Y Z R G B n"),
    "image out of range": (nvm_text(points=(POINT.replace(" 1 0 7", " 1 1 7"),)), "an image below 1"),
    "image below zero": (nvm_text(points=(POINT.replace(" 1 0 7", " 1 -1 7"),)), "an image below 1"),
    "a word": (nvm_text(points=(POINT.replace("5.5", "x"),)), "expected X Y Z R G B n"),
    "two points in a number": (nvm_text(points=(POINT.replace("5.5", "5.5.5"),)), "expected X Y Z R G B n"),
    "half a number": (nvm_text(points=(POINT.replace("5.5", "1e"),)), "expected X Y Z R G B n"),
    "NaN point": (nvm_text(points=(POINT.replace("1 2 3", "nan 2 3"),)), "found 11 values that begin 'nan 2 3"),
    "infinite pixel": (nvm_text(points=(POINT.replace("5.5", "1e999"),)), "expected X Y Z R G B n"),
    "colour": (nvm_text(points=(POINT.replace("10 20", "10 256"),)), "expected X Y Z R G B n"),
    "NaN pose": (nvm_text((IMAGE.replace("1 2 3", "nan 2 3"),)), "image 'a.jpg' has numbers that are not finite"),
    "long quaternion": (nvm_text((IMAGE.replace("500 1", "500 2"),)), "the quaternion has length 2, expected 1"),
    "no quaternion": (nvm_text((IMAGE.replace("500 1", "500 0"),)), "the quaternion has length 0, expected 1"),
    "twice": (nvm_text((IMAGE, IMAGE)), "the image name 'a.jpg' occurs 2 times, expected once"),
    "nine numbers": (nvm_text(("a.jpg 500 1 0 0 0 1 2 3 0",)), "expected name f qw qx qy qz cx cy cz d 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_says_what_is_wrong_and_where(tmp_path, case):
    text, says = CASES[case]
    path = written(tmp_path / "a.nvm", text)
    with pytest.raises(SceneError, match=re.escape(says)) as caught:
        finish(read_nvm(path))
    assert str(caught.value).startswith(str(path))


def test_the_line_of_a_fault_is_named_in_a_later_piece_too(tmp_path, monkeypatch):
    monkeypatch.setattr(nvm, "_PIECE_BYTES", 200)
    text = nvm_text(points=(POINT,) * 60 + ("1 2",) + (POINT,) * 5)
    line = 1 + text.split("\n").index("1 2")
    with pytest.raises(SceneError, match=rf"a\.nvm:{line}: "):
        finish(read_nvm(written(tmp_path / "a.nvm", text)))


def test_a_line_without_end_is_refused_and_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(nvm, "_MAX_POINT_BYTES", 10_000)
    monkeypatch.setattr(nvm, "_PIECE_BYTES", 2_000)
    path = written(tmp_path / "a.nvm", nvm_text(points=("1 " * 20_000,)))
    with pytest.raises(SceneError, match="a line of over 10000 bytes"):
        finish(read_nvm(path))


def test_opening_can_be_cancelled_between_pieces_and_lets_go_of_the_file(true, tmp_path, monkeypatch):
    monkeypatch.setattr(nvm, "_PIECE_BYTES", 500)
    path = tmp_path / "a.nvm"
    write_nvm(path, true.map, list(names_of(true)))
    steps = open_scene_steps(path)
    for progress in steps:
        if "point 5" in progress.message or "point 6" in progress.message:
            break
    assert 0 < progress.fraction < 1
    steps.close()  # an open file would be a ResourceWarning, which is an error here


@pytest.mark.parametrize("camera", [PINHOLE, RADIAL])
def test_an_nvm_file_beside_its_pictures_is_a_scene(tmp_path, camera):
    scene = TrueScene(tmp_path / "images", camera).scene
    write_nvm(tmp_path / "a.nvm", scene.map, list(names_of(scene)))
    found = open_scene(tmp_path / "a.nvm")
    assert found.layout == "NVM model"
    assert [image.path.is_file() for image in found.reference] == [True] * 5
    own = found.reference[0].camera
    assert (own.width, own.height, own.K[0, 0]) == (160, 120, 140)
    if camera is RADIAL:
        assert own.params[3] == pytest.approx(-0.05)
    assert any("no queries" in note for note in found.notes)


def test_without_pictures_a_model_in_pixels_opens_and_one_relative_to_the_middle_says_why_not(true, tmp_path):
    for name, relative in (("a", False), ("b", True)):
        write_nvm(tmp_path / name / "a.nvm", true.map, list(names_of(true)), relative)
    found = open_scene(tmp_path / "a")
    assert len(found.map.points3D) == len(true.map.points3D)
    assert any("5 images have no known camera" in note for note in found.notes)
    found = open_scene(tmp_path / "b")
    assert found.map is None
    assert any("relative to the middle" in note for note in found.notes)


def test_pictures_are_found_by_the_last_part_of_their_name(tmp_path):
    scene = TrueScene(tmp_path / "photos").scene
    path = tmp_path / "photos" / "overcast" / "a.nvm"
    write_nvm(path, scene.map, [rf"D:\elsewhere\{image.name.rsplit('/', 1)[-1]}" for image in scene.map.images])
    found = open_scene(path)
    assert [image.name for image in found.reference] == [f"{k}.jpg" for k in range(5)]
    assert all(image.path.is_file() for image in found.reference)
