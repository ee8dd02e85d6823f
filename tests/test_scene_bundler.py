"""Bundler files: a world of known truth there and back, VisualSFM's dialect, Aachen's own file, and broken ones."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace

import numpy as np
import pytest
from foreign_scenes import same_map

from core.errors import InputError, SceneError
from core.geometry import Camera
from core.scene.bundler import read_bundler
from core.scene.kapture import read_kapture
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_bundler import write_bundler


@pytest.fixture
def folder(small_world_scene, tmp_path):
    write_bundler(small_world_scene, tmp_path / "out")
    return tmp_path / "out"


def with_lens(scene, params):
    """The same map seen through SIMPLE_RADIAL or RADIAL lenses, observations where these put them."""
    scene_map = scene.map
    model = "SIMPLE_RADIAL" if len(params) == 1 else "RADIAL"
    lens = [Camera(model, 400, 300, [320.0, 199.5, 149.5, *params])] * len(scene_map.images)
    images = tuple(replace(image, camera=camera) for image, camera in zip(scene_map.images, lens))
    seen = scene_map.observations
    rays = scene_map.images[0].camera.bearings(seen.points2D)
    observations = replace(seen, points2D=lens[0].project(rays))
    return replace(scene, map=replace(scene_map, images=images, observations=observations))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("visualsfm", [False, True])
def test_a_world_comes_back_as_it_was_written(small_world_scene, tmp_path, visualsfm, zipped):
    write_bundler(small_world_scene, tmp_path / "out", visualsfm=visualsfm, zipped=zipped)
    scene = open_scene(tmp_path / "out")
    assert (scene.layout, scene.notes) == ("Bundler model", ())
    same_map(scene.map, small_world_scene.map, descriptors=False)


@pytest.mark.parametrize(("visualsfm", "params"), [(False, [-0.1, 0.02]), (False, [-0.1]), (True, [-0.1])])
def test_lenses_keep_their_distortion(small_world_scene, tmp_path, visualsfm, params):
    bent = with_lens(small_world_scene, params)
    write_bundler(bent, tmp_path / "out", visualsfm=visualsfm)
    scene = open_scene(tmp_path / "out")
    same_map(scene.map, bent.map, descriptors=False)
    image = scene.map.images[0]
    assert image.camera.params[3] == pytest.approx(params[0], abs=1e-9)
    rows = scene.map.observations.image == 0
    pixels = image.camera.project(image.cam_from_world.apply(scene.map.points3D[scene.map.observations.point[rows]]))
    assert np.median(np.linalg.norm(pixels - scene.map.observations.points2D[rows], axis=1)) < 1.5


def test_the_file_itself_opens_as_its_folder_does(folder, small_world_scene):
    same_map(open_scene(folder / "bundle.out").map, small_world_scene.map, descriptors=False)


def test_aachens_file_is_in_the_frame_of_the_benchmark(shared_data, tmp_path):
    """VisualSFM wrote it; the poses are those of NAVER's conversion of the NVM file to kapture."""
    scene = open_scene(shared_data("kapture_aachen_tiny") / "3D-models")
    truth = {i.name: i for i in read_kapture(shared_data("kapture_aachen_tiny") / "kapture" / "training").images}
    assert len(scene.reference) == len(truth) == 3
    for image in scene.reference:
        np.testing.assert_allclose(image.cam_from_world.matrix(), truth[image.name].cam_from_world.matrix(), atol=1e-6)
        np.testing.assert_allclose(image.camera.params, truth[image.name].camera.params, atol=1e-6)
    first = [769.607, 14.6241, 19.7262]
    np.testing.assert_allclose(scene.map.points3D[0], first, atol=1e-6)


def test_cameras_without_a_pose_and_without_a_picture_are_said(folder):
    lines = (folder / "bundle.out").read_text().splitlines()
    lines[2:7] = ["0 0 0"] * 5
    (folder / "bundle.out").write_text("\n".join(lines))
    shutil.rmtree(folder / "overcast")
    scene = open_scene(folder)
    assert len(scene.reference) == 5
    assert all(image.camera is None for image in scene.reference)
    notes = " ".join(scene.notes)
    for words in ("1 of 6 images have no pose", "5 cameras are not known", "5 of 5 images are missing"):
        assert words in notes


def test_windows_line_ends_and_paths_make_no_difference(folder, small_world_scene):
    for name in ("bundle.out", "list.txt"):
        text = (folder / name).read_text().replace("\n", "\r\n").replace("overcast/", ".\\overcast\\")
        (folder / name).write_bytes(text.encode())
    same_map(open_scene(folder).map, small_world_scene.map, descriptors=False)


def test_names_that_lead_out_of_the_folder_stay_inside_and_are_said(folder):
    text = (folder / "list.txt").read_text()
    (folder / "list.txt").write_text(text.replace("overcast/0000", "../../overcast/0000", 1))
    scene = open_scene(folder)
    assert ".." not in scene.reference[0].name
    assert any("points out of the folder" in note for note in scene.notes)


def test_a_name_listed_twice_and_a_list_of_another_length_are_refused(folder):
    text = (folder / "list.txt").read_text()
    (folder / "list.txt").write_text(text.replace("0001", "0000"))
    with pytest.raises(SceneError, match=r"list\.txt: the image name 'overcast/0000\.jpg' occurs more than once"):
        open_scene(folder)
    (folder / "list.txt").write_text("a.jpg\n")
    with pytest.raises(SceneError, match=r"list\.txt: lists 1 images, but bundle\.out has 6 cameras"):
        open_scene(folder)


def broken(lines, what):
    if what == "magic":
        lines[0] = "# Bungle file v0.3"
    elif what == "huge counts":
        lines[1] = "99999999999999 1"
    elif what == "counts that lie":
        lines[1] = "6 7"
    elif what == "negative counts":
        lines[1] = "-1 7"
    elif what == "no counts":
        del lines[1:]
    elif what == "NaN pose":
        lines[6] = "nan 0 0"
    elif what == "no rotation":
        lines[3] = "2 0 0"
    elif what == "words":
        lines[4] = "a b c"
    elif what == "cut off":
        del lines[-1]
    elif what == "huge views":
        lines[-1] = "1e18 " + lines[-1].split(" ", 1)[1]
    elif what == "unknown camera":
        lines[-1] = lines[-1].split(" ", 1)[0] + " 77 " + lines[-1].split(" ", 2)[2]
    elif what == "NaN point":
        lines[-3] = "nan 0 0"
    return lines


SENTENCES = {
    "magic": "starts with b'# Bungle file v0.3', expected '# Bundle file v0.3'",
    "huge counts": "1e.14 cameras and 1 points need at least .* numbers",
    "counts that lie": "corrupt, .* numbers follow the 7 points",
    "negative counts": "expected the numbers of cameras and points, found",
    "no counts": "expected the numbers of cameras and points, found",
    "NaN pose": "camera 0 is not finite",
    "no rotation": "camera 0 has no rotation",
    "words": "expected only numbers",
    "cut off": "cut off",
    "huge views": "has 1e.18 views",
    "unknown camera": "seen by camera 77, expected one of 6",
    "NaN point": "is not finite",
}


@pytest.mark.parametrize("what", SENTENCES)
def test_what_is_wrong_with_a_file_is_one_sentence(folder, what):
    path = folder / "bundle.out"
    path.write_text("\n".join(broken(path.read_text().splitlines(), what)))
    with pytest.raises(SceneError, match=SENTENCES[what]) as error:
        finish(read_bundler(path))
    assert str(error.value).startswith(str(path))


def test_a_zipped_file_that_is_cut_off_is_one_sentence(folder):
    data = gzip.compress((folder / "bundle.out").read_bytes())
    for content in (data[: len(data) // 2], data[:2], data[:-6] + b"abcdef"):
        (folder / "bundle.out").write_bytes(content)
        with pytest.raises(SceneError, match=r"bundle\.out: "):
            open_scene(folder)


def test_cameras_that_bundler_has_no_place_for_are_not_written(small_world_scene, tmp_path):
    odd = Camera("PINHOLE", 400, 300, [320, 300, 199.5, 149.5])
    images = tuple(replace(image, camera=odd) for image in small_world_scene.map.images)
    with pytest.raises(InputError, match="has no place in a Bundler file"):
        write_bundler(replace(small_world_scene, map=replace(small_world_scene.map, images=images)), tmp_path / "x")
    assert not (tmp_path / "x").exists()
