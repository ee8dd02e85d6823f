"""The scene.toml that `scene init` writes opens as the folder did, and a person can read it."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from test_scene_open import CAMERA, picture, small_map

from core.errors import InputError, SceneError
from core.geometry import Rigid3d
from core.records import Progress, QueryPrior, Scene
from core.scene import scene as scene_module
from core.scene import scene_file
from core.scene.colmap import write_model
from core.scene.layouts import Layout
from core.scene.list_files import camera_of, read_queries, write_poses, write_queries
from core.scene.map_file import save_map
from core.scene.priors import write_priors
from core.scene.scene import open_scene
from core.scene.scene_file import Entry, init_scene
from core.steps import finish

NAMES = ("overcast/0000.jpg", "overcast/0001.jpg")
QUERIES = ("snow/0000.jpg", "night/my photo.jpg")
POSE = Rigid3d([1, 0.1, 0, 0], [1.0, 2, 3])


def init(folder, force=False):
    file = finish(init_scene(folder, force))
    return tomllib.loads(file.read_text(encoding="utf-8"))


def facts(scene):
    """What must be the same of two scenes."""
    images = [
        (one.name, one.path.resolve(), one.condition, one.camera and one.camera.params.tolist(), one.cam_from_world is None)
        for one in scene.images
    ]
    points = None if scene.map is None else scene.map.points3D.tolist()
    return scene.name, images, len(scene.reference), points, scene.notes


@pytest.fixture(params=["sparse/0", "sparse", ".", "map"])
def model_folder(request, tmp_path):
    root = tmp_path / "eine straße"
    for name in (*NAMES, *QUERIES):
        picture(root / "images" / name)
    if request.param == "map":
        gravity = np.array([0, 0.6, -0.8])
        save_map(root / "map", replace(small_map(root / "images"), gravity_in_world=gravity))
    else:
        write_model(root / request.param, small_map(root), text=request.param == "sparse")
    return root


def test_what_init_writes_opens_as_the_folder_did(model_folder):
    before = open_scene(model_folder)
    table = init(model_folder)
    after = open_scene(model_folder)
    assert after.layout == "scene file"
    assert facts(after) == facts(before)
    np.testing.assert_allclose(after.map.points3D, before.map.points3D)
    if before.map.gravity_in_world is not None:
        np.testing.assert_allclose(after.map.gravity_in_world, before.map.gravity_in_world, atol=1e-8)
        assert after.map.labels.labels.tolist() == before.map.labels.labels.tolist()
        assert table["weights"] == "world-100"


def test_a_real_model_opens_the_same_with_its_scene_file(shared_data, tmp_path):
    source = shared_data("gtsfm_lund_door")
    shutil.copytree(source / "colmap_ground_truth", tmp_path / "door" / "colmap_ground_truth")
    (tmp_path / "door" / "images").mkdir()
    for image in (source / "images").iterdir():
        (tmp_path / "door" / "images" / image.name).write_bytes(image.read_bytes())
    before = open_scene(tmp_path / "door")
    assert init(tmp_path / "door")["map"] == "colmap_ground_truth"
    after = open_scene(tmp_path / "door")
    assert facts(after) == facts(before)
    assert (len(after.reference), len(after.map.points3D), after.notes) == (12, 11384, ())


def test_queries_poses_priors_and_a_network_that_are_found_come_in(model_folder):
    write_queries(model_folder / "day.txt", {QUERIES[0]: CAMERA})
    write_queries(model_folder / "night_queries.txt", {QUERIES[1]: CAMERA})
    write_poses(model_folder / "truth.txt", {QUERIES[0]: POSE})
    write_priors(model_folder / "priors.txt", {QUERIES[1]: QueryPrior(height_m=1.5, height_error_m=0.1)})
    (model_folder / "weights").mkdir()
    for name in ("net.pth", "net.labels.safetensors"):
        (model_folder / "weights" / name).write_bytes(b"weights")
    table = init(model_folder)
    assert table["queries"] == ["night_queries.txt", "day.txt"]
    assert (table["poses"], table["priors"], table["weights"]) == ("truth.txt", "priors.txt", "weights/net.pth")
    scene = open_scene(model_folder)
    assert {query.name: query.cam_from_world is not None for query in scene.queries} == {QUERIES[0]: True, QUERIES[1]: False}
    assert scene.image(QUERIES[1]).prior.height_m == 1.5
    assert scene.weights == str(model_folder / "weights" / "net.pth")
    assert [image.name for image in scene.reference] == list(NAMES)


def test_lists_of_other_images_and_other_texts_are_left_alone(model_folder):
    write_queries(model_folder / "queries.txt", {"elsewhere/1.jpg": CAMERA})
    write_poses(model_folder / "poses.txt", {"elsewhere/1.jpg": POSE})
    (model_folder / "README.txt").write_text("Photographs of a street.\n")
    (model_folder / "broken_queries.txt").write_bytes(b"\xff\xfe\x00")
    table = init(model_folder)
    assert not {"queries", "poses", "priors"} & set(table)
    lines = (model_folder / "scene.toml").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith('# queries = "queries.txt" ') and " # images to localize" in line for line in lines) == 1


def test_queries_that_are_only_named_take_their_cameras_from_the_intrinsics(tmp_path):
    names = ["query/img_00001_c0_7us.jpg", "query/img_00002_c1_8us.jpg"]
    for name in (*names, *NAMES):
        picture(tmp_path / "images" / name)
    write_model(tmp_path / "sparse", small_map(tmp_path))
    (tmp_path / "intrinsics.txt").write_text(
        "# two cameras\r\nc0 PINHOLE 64 48 50 51 32 24\r\nc1 PINHOLE 64 48 60 61 32 24\r\n"
    )
    (tmp_path / "test_queries.txt").write_text("".join(f"{name}\r\n" for name in names))
    assert init(tmp_path)["intrinsics"] == "intrinsics.txt"
    scene = open_scene(tmp_path)
    assert [query.camera.params[0] for query in scene.queries] == [50, 60]
    assert [query.name for query in scene.queries] == names


def test_a_folder_of_photographs_becomes_a_scene_of_all_of_them(tmp_path):
    for name in ("sun/a.jpg", "snow/a.jpg", "snow/b.jpg"):
        picture(tmp_path / "work" / "images" / name)
    init(tmp_path / "work")
    scene = open_scene(tmp_path / "work")
    assert {image.name: image.condition for image in scene.reference} == {
        "snow/a.jpg": "snow",
        "snow/b.jpg": "snow",
        "sun/a.jpg": "sun",
    }
    (tmp_path / "flat").mkdir()
    picture(tmp_path / "flat" / "c.jpg")
    assert init(tmp_path / "flat")["images"] == "."
    assert facts(open_scene(tmp_path / "flat"))[1:3] == ([("c.jpg", tmp_path / "flat" / "c.jpg", "reference", None, True)], 1)


def test_photographs_with_known_poses_keep_them(tmp_path):
    for name in ("sun/a.jpg", "snow/a.jpg"):
        picture(tmp_path / name)
    write_poses(tmp_path / "poses.txt", {"sun/a.jpg": POSE})
    write_queries(tmp_path / "queries.txt", {"snow/a.jpg": CAMERA})
    init(tmp_path)
    scene = open_scene(tmp_path)
    assert [(one.name, one.cam_from_world is None) for one in scene.images] == [("sun/a.jpg", False), ("snow/a.jpg", True)]
    assert len(scene.queries) == 1


def test_nothing_is_replaced_without_force(model_folder):
    init(model_folder)
    file = model_folder / "scene.toml"
    file.write_text("mine")
    with pytest.raises(InputError, match=f"^{file}: is there already") as caught:
        init(model_folder)
    assert "--force" in str(caught.value)
    assert file.read_text() == "mine"
    assert init(model_folder, force=True)["map"]
    assert [path.name for path in model_folder.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_one_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "lost"):
        with pytest.raises(SceneError, match=f"^{folder}: nothing found to make a scene of"):
            init(folder)


def test_a_benchmark_is_named_by_its_layout_and_what_the_file_adds_counts(tmp_path, monkeypatch):
    """A stand-in layout: its reader makes a scene with a query that the file then knows more about."""
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "benchmark.list").write_text("")

    def read(path):
        yield Progress("reading")
        query = scene_module.ImageData("q/night/0.jpg", path / "q.jpg", "q", CAMERA)
        own = small_map(path / "images")
        return Scene("Benchmark 3", path, own.images, (query,), own)

    layout = Layout("Some Seasons", "a benchmark", lambda path: (path / "benchmark.list").is_file(), read)
    for module in (scene_module, scene_file):
        monkeypatch.setattr(module, "LAYOUTS", (layout,))
    assert init(tmp_path)["layout"] == "Some Seasons"
    plain = open_scene(tmp_path)
    assert (plain.name, plain.layout, plain.weights) == ("Benchmark 3", "Some Seasons", "world-100")
    write_poses(tmp_path / "poses.txt", {"q/night/0.jpg": POSE})
    with (tmp_path / "scene.toml").open("a") as file:
        file.write('poses = "poses.txt"\nkind = "park"\ngravity = [0, 2, 0]\n[conditions]\nnight = "q/night/*"\n')
    scene = open_scene(tmp_path)
    assert (scene.kind, scene.queries[0].condition, scene.reference[0].condition) == ("park", "night", "overcast")
    np.testing.assert_allclose(scene.queries[0].cam_from_world.tvec, [1, 2, 3])
    np.testing.assert_array_equal(scene.map.gravity_in_world, [0, 1, 0])
    (tmp_path / "benchmark.list").unlink()
    with pytest.raises(SceneError, match="not recognised as Some Seasons"):
        open_scene(tmp_path)
    (tmp_path / "scene.toml").write_text('format = "fgsn-scene"\nversion = 1\nlayout = "Any"\n')
    with pytest.raises(SceneError, match="layout is 'Any', expected one of Some Seasons, COLMAP model"):
        open_scene(tmp_path)


HEAD = 'format = "fgsn-scene"\nversion = 1\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("queries = [1, 2]", "queries is .*, expected text or a list of texts"),
        ('queries = ["a.txt", "a.txt"]', "is listed a second time"),
        ('intrinsics = "PINHOLE 64 48 1 2 3"', "PINHOLE needs width, height and 4 parameters"),
        ('conditions = "night"', "conditions is 'night', expected a table of patterns"),
        ("[conditions]\nnight = 3", "the condition 'night' is 3, expected a pattern"),
        ('queries = "out.txt"', "leads out of the folder of images"),
        ('queries = "\\u0000"', "holds a zero character"),
        ('queries = "names.txt"', "found no known camera model"),
        (f'images = "{"a" * 5000}"', "cannot be read"),
        (f'map = "{"a/" * 3000}"', "cannot be read"),
    ],
)
def test_a_wrong_entry_is_one_sentence(tmp_path, text, says):
    picture(tmp_path / "images" / "a.jpg")
    write_queries(tmp_path / "a.txt", {"a.jpg": CAMERA})
    (tmp_path / "names.txt").write_text("a.jpg\n")
    (tmp_path / "out.txt").write_text("../../secret.jpg PINHOLE 64 48 1 1 3 4\n")
    (tmp_path / "scene.toml").write_text(HEAD + text + "\n")
    with pytest.raises(SceneError, match=says) as caught:
        open_scene(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_one_camera_for_all_may_be_written_out(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "names.txt").write_text("a.jpg\n")
    (tmp_path / "scene.toml").write_text(HEAD + 'queries = "names.txt"\nintrinsics = "PINHOLE 64 48 50 51 32 24"\n')
    (query,) = open_scene(tmp_path).queries
    np.testing.assert_array_equal(query.camera.params, [50, 51, 31.5, 23.5])


def test_a_camera_is_found_by_name_by_part_and_for_all(tmp_path):
    (tmp_path / "k.txt").write_text(
        "".join(f"{key} PINHOLE 64 48 {k} 1 1 1\n" for k, key in enumerate(("a/c0_1.jpg", "c0", "rear", "*"), start=1))
    )
    known = read_queries(tmp_path / "k.txt")
    names = ("a/c0_1.jpg", "a/c0_2.jpg", "night/rear/c0_3.jpg", "night/rear/3.jpg", "left/3.jpg")
    assert [camera_of(name, known).params[0] for name in names] == [1, 2, 2, 3, 4]
    assert camera_of("left/3.jpg", {"c0": CAMERA}) is None


def test_any_name_survives_the_file(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    shutil.copytree(tmp_path / "images", tmp_path / 'a "quoted" \\ näme#')
    entries = [Entry("name", 'A "street" \\ #1\n', "a name"), Entry("images", 'a "quoted" \\ näme#', "images")]
    (tmp_path / "scene.toml").write_text(scene_file.scene_text(entries), encoding="utf-8")
    scene = open_scene(tmp_path)
    assert scene.name == 'A "street" \\ #1\n'
    assert scene.reference[0].path.is_file()
