"""Whatever folder a person drops opens, or one sentence says what was expected."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from core.errors import ImageError, SceneError
from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.records import ImageData, Observations, PointLabels, SceneMap
from core.scene.colmap import write_model
from core.scene.list_files import read_poses, read_queries, write_poses, write_queries
from core.scene.map_file import save_map
from core.scene.pair import open_pair
from core.scene.scene import open_scene

CAMERA = Camera("OPENCV", 64, 48, np.array([50, 51, 31.5, 23.5, 0.1, 0.01, 0.001, 0.002]))
TOML = """format = "fgsn-scene"
version = 1
name = "A street"
kind = "urban"
images = "images"
map = "map"
reference_condition = "overcast"
queries = "queries.txt"
poses = "poses.txt"
gravity = [0, 0, -2]
weights = "world-100"
"""


def picture(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((48, 64, 3), 90, np.uint8))


def small_map(root, names=("overcast/0000.jpg", "overcast/0001.jpg")) -> SceneMap:
    images = tuple(ImageData(n, root / n, n.split("/")[0], CAMERA, Rigid3d.identity()) for n in names)
    observations = Observations([0, 0, 1], [0, 1, 1], np.array([[3, 4], [5, 6], [7, 8.25]]))
    labels = PointLabels([4, 9], [1, 0.5], 100, "world-100")
    return SceneMap(np.eye(3)[:2], np.full((2, 3), 7), images, observations, "sift", labels=labels)


@pytest.fixture
def scene_folder(tmp_path):
    root = tmp_path / "ein schöner scene"
    for name in ("overcast/0000.jpg", "overcast/0001.jpg", "snow/0000.jpg", "night/my photo.jpg"):
        picture(root / "images" / name)
    save_map(root / "map", small_map(root / "images"))
    write_queries(root / "queries.txt", {"snow/0000.jpg": CAMERA, "night/my photo.jpg": CAMERA})
    write_poses(root / "poses.txt", {"snow/0000.jpg": Rigid3d(np.array([1, 0.1, 0, 0]), np.array([1.0, 2, 3]))})
    (root / "scene.toml").write_text(TOML)
    return root


def test_a_scene_opens_whole(scene_folder):
    scene = open_scene(scene_folder)
    assert (scene.name, scene.kind, scene.weights, scene.notes) == ("A street", "urban", "world-100", ())
    assert [image.name for image in scene.reference] == ["overcast/0000.jpg", "overcast/0001.jpg"]
    assert scene.conditions == ("overcast", "snow", "night")
    assert all(image.path.is_file() for image in scene.images)
    snow, night = scene.queries
    np.testing.assert_allclose(snow.camera.params, CAMERA.params)
    np.testing.assert_allclose(snow.cam_from_world.tvec, [1, 2, 3])
    assert night.cam_from_world is None
    np.testing.assert_array_equal(scene.map.gravity_in_world, [0, 0, -1])
    assert scene.map.labels.labels.tolist() == [4, 9]


def test_the_labels_of_a_map_load_though_the_network_is_called_otherwise_than_its_vocabulary(scene_folder):
    (scene_folder / "scene.toml").write_text(TOML.replace('"world-100"', '"/my networks/mine.pth"'))
    assert open_scene(scene_folder).map.labels.labels.tolist() == [4, 9]


def test_the_scene_file_itself_opens_its_folder(scene_folder):
    assert open_scene(scene_folder / "scene.toml").name == "A street"


def test_missing_images_are_a_note_with_numbers(scene_folder):
    (scene_folder / "images" / "snow" / "0000.jpg").unlink()
    (scene_folder / "images" / "overcast" / "0001.jpg").unlink()
    (note,) = open_scene(scene_folder).notes
    assert note.startswith(f"2 of 4 images are missing under {scene_folder / 'images'}")


def test_a_scene_without_a_map_takes_its_reference_condition(scene_folder):
    shutil.rmtree(scene_folder / "map")
    (scene_folder / "scene.toml").write_text(TOML.replace('map = "map"\n', ""))
    scene = open_scene(scene_folder)
    assert scene.map is None
    assert [image.name for image in scene.reference] == ["overcast/0000.jpg", "overcast/0001.jpg"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "version = 2", "expected 'fgsn-scene' version 1"),
        ('"fgsn-scene"', '"other"', "found format 'other'"),
        ('name = "A street"', "name = 3", "name is 3, expected text"),
        ("[0, 0, -2]", "[0, 1]", "expected three numbers"),
        ("[0, 0, -2]", "[0, 0, 0]", "expected three numbers"),
        ("version = 1", "version = ", "not readable as TOML"),
        ('"map"\n', '"elsewhere"\n', "no COLMAP model here"),
        ('"queries.txt"', '"lost.txt"', "cannot be read"),
    ],
)
def test_a_wrong_scene_file_is_one_sentence(scene_folder, old, new, says):
    (scene_folder / "scene.toml").write_text(TOML.replace(old, new))
    with pytest.raises(SceneError, match=says) as caught:
        open_scene(scene_folder)
    assert str(caught.value).startswith(str(scene_folder))


@pytest.mark.parametrize("place", [".", "sparse", "sparse/0", "map", "a model"])
@pytest.mark.parametrize("text", [False, True])
def test_a_colmap_folder_finds_its_images_nearby(tmp_path, place, text):
    root = tmp_path / "work"
    for name in ("overcast/0000.jpg", "overcast/0001.jpg"):
        picture(root / "images" / name)
    write_model(root / place, small_map(root), text=text)
    scene = open_scene(root)
    assert (scene.name, len(scene.reference), scene.notes) == ("work", 2, ())
    assert all(image.path.is_file() for image in scene.reference)


@pytest.mark.parametrize("opened", ["sparse/0", "sparse", "sparse/0/cameras.bin"])
def test_opening_the_inner_model_folder_finds_the_images_too(tmp_path, opened):
    picture(tmp_path / "work" / "images" / "overcast" / "0000.jpg")
    write_model(tmp_path / "work" / "sparse" / "0", small_map(tmp_path, names=("overcast/0000.jpg",) * 1 + ("gone.jpg",)))
    scene = open_scene(tmp_path / "work" / opened)
    assert scene.name == "work"
    assert scene.notes[0].startswith("1 of 2 images are missing under")


def test_a_colmap_model_without_any_image_opens_and_says_so(tmp_path):
    write_model(tmp_path / "model", small_map(tmp_path))
    scene = open_scene(tmp_path / "model")
    assert len(scene.map.points3D) == 2
    assert scene.notes[0].startswith("2 of 2 images are missing under")


def test_half_a_colmap_model_is_one_sentence(tmp_path):
    write_model(tmp_path, small_map(tmp_path))
    (tmp_path / "points3D.bin").unlink()
    with pytest.raises(SceneError, match=r"incomplete COLMAP model, found cameras\.bin, images\.bin"):
        open_scene(tmp_path)


def test_a_folder_of_images_is_a_scene_without_map(tmp_path):
    for name in ("summer/a.jpg", "winter/deep/b.PNG", "c.jpg", ".hidden/d.jpg"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    scene = open_scene(tmp_path)
    assert {image.name: image.condition for image in scene.reference} == {
        "c.jpg": "reference",
        "summer/a.jpg": "summer",
        "winter/deep/b.PNG": "winter",
    }
    assert scene.map is None
    assert not scene.queries


def test_what_is_no_scene_is_one_sentence_that_says_what_was_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("a")
    picture(tmp_path / "one.jpg")
    cases = {"empty": "the folder is empty", "other": "nothing to open", "lost": "no such folder", "other/a.txt": "is a file"}
    for name, says in cases.items():
        with pytest.raises(SceneError, match=says) as caught:
            open_scene(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "expected a folder with scene.toml, a COLMAP model" in str(caught.value)
    with pytest.raises(SceneError, match="open two images as a pair"):
        open_scene(tmp_path / "one.jpg")


def test_two_photographs_are_a_scene_of_one_reference_and_one_query(tmp_path):
    for name in ("summer/a.jpg", "winter/a.jpg"):
        picture(tmp_path / name)
    scene = open_pair(tmp_path / "summer" / "a.jpg", tmp_path / "winter" / "a.jpg")
    assert [image.name for image in scene.images] == ["summer/a.jpg", "winter/a.jpg"]
    assert scene.conditions == ("reference", "query")
    same = open_pair(tmp_path / "summer" / "a.jpg", tmp_path / "summer" / "a.jpg")
    assert len({image.name for image in same.images}) == 2


def test_a_pair_with_a_broken_image_is_refused(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("no image at all")
    (tmp_path / "empty.jpg").touch()
    for name in ("cut.jpg", "text.jpg", "empty.jpg"):
        with pytest.raises(ImageError, match=name):
            open_pair(tmp_path / "a.jpg", tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"lost\.jpg"):
        open_pair(tmp_path / "lost.jpg", tmp_path / "a.jpg")


def test_lists_keep_names_with_spaces_cameras_and_poses_exactly(tmp_path):
    names = ["a  b/c d.jpg", "PINHOLE 1 2.jpg", "zwölf.jpg"]
    pose = Rigid3d(np.array([0.1, -0.3, 0.4, 0.5]), np.array([1 / 3, -2e-9, 1e5]))
    write_queries(tmp_path / "q.txt", dict.fromkeys(names, CAMERA))
    write_poses(tmp_path / "p.txt", dict.fromkeys(names, pose))
    queries, poses = read_queries(tmp_path / "q.txt"), read_poses(tmp_path / "p.txt")
    assert list(queries) == list(poses) == names
    for name in names:
        np.testing.assert_allclose(queries[name].params, CAMERA.params, rtol=1e-15)
        np.testing.assert_allclose(poses[name].qvec, pose.qvec, rtol=1e-15)
        np.testing.assert_array_equal(poses[name].tvec, pose.tvec)


def test_a_query_list_is_in_colmaps_pixels(tmp_path):
    (tmp_path / "q.txt").write_bytes(b"\xef\xbb\xbf# comment\r\n\r\nq.jpg SIMPLE_PINHOLE 64 48 50 32 24\r\n")
    assert read_queries(tmp_path / "q.txt")["q.jpg"].K[:2, 2].tolist() == [31.5, 23.5]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.jpg PINHOLE 64 48 50 50 32", "PINHOLE needs width, height and 4 parameters, found 5 numbers"),
        ("a.jpg PINHOLE 64 48 50 50 32 24 1", "found 7 numbers"),
        ("a.jpg HOLE 64 48 50 50 32 24", "no known camera model"),
        ("PINHOLE 64 48 50 50 32 24", "no known camera model"),
        ("a.jpg PINHOLE 64 x 50 50 32 24", "expected numbers"),
        ("a.jpg PINHOLE 64 48 -50 50 32 24", "positive focal lengths"),
        ("a.jpg PINHOLE 0 48 50 50 32 24", "at least 1 x 1"),
        ("ok.jpg PINHOLE 64 48 50 50 32 24", "listed a second time"),
    ],
)
def test_a_bad_query_line_names_file_and_line(tmp_path, line, says):
    (tmp_path / "q.txt").write_text(f"# one\nok.jpg PINHOLE 64 48 50 50 32 24\n{line}\n")
    with pytest.raises(SceneError, match=says) as caught:
        read_queries(tmp_path / "q.txt")
    assert str(caught.value).startswith(f"{tmp_path / 'q.txt'}:3: ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.jpg 1 0 0 0 1 2", "expected name qw qx qy qz tx ty tz"),
        ("a.jpg 0 0 0 0 1 2 3", "no rotation"),
        ("a.jpg 1 0 0 0 1 2 nan", "finite numbers"),
        ("a.jpg 1 0 0 0 1 2 three", "expected numbers"),
    ],
)
def test_a_bad_pose_line_names_file_and_line(tmp_path, line, says):
    (tmp_path / "p.txt").write_text(line)
    with pytest.raises(SceneError, match=says) as caught:
        read_poses(tmp_path / "p.txt")
    assert str(caught.value).startswith(f"{tmp_path / 'p.txt'}:1: ")


def test_a_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SceneError, match="not a UTF-8 text file"):
        read_poses(tmp_path / "p.txt")


def test_opening_a_scene_loads_no_heavy_package(scene_folder):
    code = "import sys; from core.scene.scene import open_scene; import core.scene.pair; open_scene(sys.argv[1]);"
    code += "sys.exit(any(m in sys.modules for m in ('torch', 'open3d', 'pycolmap', 'poselib')))"
    # The distorted test camera stays unprojected, so not even pycolmap is needed.
    done = subprocess.run([sys.executable, "-c", code, str(scene_folder)], check=False, timeout=60, env={"PYTHONPATH": "."})
    assert done.returncode == 0
