"""A map folder keeps everything, opens fast, and never mixes a map.h5 with another COLMAP model."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time

import numpy as np
import pytest

from core.errors import InputError, SceneError
from core.geometry import Camera, Rigid3d
from core.mapping.visibility import point_visibility
from core.records import ImageData, Observations, PointLabels, SceneMap
from core.scene.colmap import write_model
from core.scene.map_file import load_labels, load_map, load_map_with_notes, save_labels, save_map


def random_map(root, num_points=50, num_images=5, seed=0) -> SceneMap:
    rng = np.random.default_rng(seed)
    cameras = (Camera.pinhole(640, 480, 500), Camera("SIMPLE_RADIAL", 640, 480, np.array([500, 320, 240, 0.1])))
    images = tuple(
        ImageData(
            f"day/{k:04d}.jpg",
            root / f"day/{k:04d}.jpg",
            "day",
            cameras[k % 2],
            Rigid3d(rng.normal(size=4), rng.normal(size=3)),
        )
        for k in range(num_images)
    )
    seen = np.argwhere(rng.random((num_points, num_images)) < 0.6)
    observations = Observations(
        seen[:, 0], seen[:, 1], rng.uniform(0, 480, (len(seen), 2)), rng.integers(0, 256, (len(seen), 128))
    )
    scene_map = SceneMap(
        rng.normal(size=(num_points, 3)) * 10,
        rng.integers(0, 256, (num_points, 3)),
        images,
        observations,
        extractor="opencv-sift-root/1",
        gravity_in_world=[0, 0, -1],
    )
    views = rng.integers(0, 1000, (len(observations.point), 9))
    labels = PointLabels(rng.integers(0, 1000, num_points), rng.random(num_points), 1000, "thousand", views)
    return dataclasses.replace(scene_map, visibility=point_visibility(scene_map), labels=labels)


def assert_same(record, other) -> None:
    for field in dataclasses.fields(record):
        a, b = getattr(record, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            rtol = 1e-15 if field.name == "qvec" else 0  # normalised once more
            np.testing.assert_allclose(a, b, rtol=rtol, err_msg=field.name)
        elif dataclasses.is_dataclass(a):
            assert_same(a, b)
        elif isinstance(a, tuple) and a and dataclasses.is_dataclass(a[0]):
            for one, two in zip(a, b, strict=True):
                assert_same(one, two)
        elif field.name == "path":
            assert a.resolve() == b.resolve()
        else:
            assert a == b, field.name


def test_a_map_reads_back_exactly(tmp_path):
    scene_map = random_map(tmp_path / "images")
    save_map(tmp_path / "map", scene_map)
    assert_same(scene_map, load_map(tmp_path / "map"))


def test_a_map_without_descriptors_labels_and_visibility_reads_back(tmp_path):
    scene_map = random_map(tmp_path)
    bare = dataclasses.replace(scene_map.observations, descriptors=None)
    bare_map = dataclasses.replace(scene_map, observations=bare, labels=None, visibility=None, gravity_in_world=None)
    save_map(tmp_path / "map", bare_map)
    again = load_map(tmp_path / "map")
    assert again.observations.descriptors is None
    assert_same(bare_map, again)


def test_an_empty_map_reads_back(tmp_path):
    empty = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 128)))
    save_map(tmp_path / "map", SceneMap(np.zeros((0, 3)), np.zeros((0, 3)), (), empty))
    assert len(load_map(tmp_path / "map").points3D) == 0


def test_labels_of_several_vocabularies_live_side_by_side(tmp_path):
    scene_map = random_map(tmp_path)
    save_map(tmp_path / "map", scene_map)
    classes = PointLabels(np.arange(50) % 19, np.ones(50), 19, "cityscapes-19")
    save_labels(tmp_path / "map", classes)
    assert_same(classes, load_map(tmp_path / "map", "cityscapes-19").labels)
    assert load_map(tmp_path / "map", "thousand").labels.num_labels == 1000
    assert load_map(tmp_path / "map", "unheard of").labels.vocabulary == "thousand", "the first stored"
    assert_same(classes, load_labels(tmp_path / "map", "cityscapes-19"))
    assert load_labels(tmp_path / "map", "unheard of") is None
    save_labels(tmp_path / "map", dataclasses.replace(classes, labels=np.full(50, 3)))
    assert set(load_map(tmp_path / "map", "cityscapes-19").labels.labels) == {3}
    with pytest.raises(SceneError, match="has 50 points, got labels for 2"):
        save_labels(tmp_path / "map", PointLabels([1, 2], [1, 1], 19, "cityscapes-19"))


def test_labels_of_views_that_do_not_fit_the_map_are_refused(tmp_path):
    scene_map = random_map(tmp_path)
    save_map(tmp_path / "map", scene_map)
    for views in (scene_map.labels.views[1:], np.full_like(scene_map.labels.views, 1000)):
        save_labels(tmp_path / "map", dataclasses.replace(scene_map.labels, views=views))
        with pytest.raises(SceneError, match=r"map\.h5.*views for"):
            load_map(tmp_path / "map")


def test_a_colmap_model_that_changed_wins_over_map_h5_with_a_note(tmp_path):
    save_map(tmp_path / "map", random_map(tmp_path))
    write_model(tmp_path / "map", random_map(tmp_path, num_points=30, seed=1))
    scene_map, notes = load_map_with_notes(tmp_path / "map")
    assert len(scene_map.points3D) == 30
    assert scene_map.observations.descriptors is None
    assert "does not belong to the COLMAP model beside it" in notes[0]
    assert load_labels(tmp_path / "map", "thousand") is None


def test_a_map_of_another_program_has_no_stored_labels(tmp_path):
    write_model(tmp_path, random_map(tmp_path))
    assert load_labels(tmp_path, "thousand") is None


@pytest.mark.parametrize("fraction", [0, 0.01, 0.5, 0.99])
def test_a_cut_off_map_file_is_one_sentence_that_names_it(tmp_path, fraction):
    save_map(tmp_path / "map", random_map(tmp_path))
    file = tmp_path / "map" / "map.h5"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(SceneError, match=r"map\.h5: cut off"):
        load_map(tmp_path / "map")


def test_flipped_bytes_never_crash_the_reader(tmp_path):
    save_map(tmp_path / "map", random_map(tmp_path, num_points=20))
    file = tmp_path / "map" / "map.h5"
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 40):
            broken[at] ^= 0xFF
        file.write_bytes(bytes(broken))
        with contextlib.suppress(SceneError):  # or it hit padding and nothing is wrong
            load_map(tmp_path / "map")


def test_saving_keeps_what_else_is_in_the_folder(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "photo.jpg").write_bytes(b"precious")
    save_map(tmp_path / "map", random_map(tmp_path))
    save_map(tmp_path / "map", random_map(tmp_path, seed=2))
    assert (tmp_path / "map" / "photo.jpg").read_bytes() == b"precious"
    assert_same(random_map(tmp_path, seed=2), load_map(tmp_path / "map"))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_failing_save_leaves_the_old_map(tmp_path, monkeypatch):
    save_map(tmp_path / "map", random_map(tmp_path))
    before = {file.name: file.read_bytes() for file in (tmp_path / "map").iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.scene.map_file._write", fail)
    with pytest.raises(InputError, match=r"map: cannot be written \(No space left on device\)"):
        save_map(tmp_path / "map", random_map(tmp_path, seed=3))
    assert {file.name: file.read_bytes() for file in (tmp_path / "map").iterdir()} == before
    assert {entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("xdg")} == {"map"}


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "map").write_text("a file")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        save_map(tmp_path / "map", random_map(tmp_path))


def test_a_read_only_output_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)  # as root, no folder is read-only
    with pytest.raises(InputError, match=r"map: cannot be written \(Permission denied\)"):
        save_map(tmp_path / "locked" / "map", random_map(tmp_path))


def test_the_images_are_found_after_the_folder_moved(tmp_path):
    save_map(tmp_path / "a" / "map", random_map(tmp_path / "a" / "images"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert load_map(tmp_path / "b" / "map").images[0].path == (tmp_path / "b" / "images" / "day" / "0000.jpg").resolve()


def test_a_map_as_large_as_the_demos_loads_in_half_a_second(tmp_path):
    save_map(tmp_path / "map", random_map(tmp_path, num_points=4000, num_images=40))  # about 96,000 observations
    start = time.perf_counter()
    load_map(tmp_path / "map")
    assert time.perf_counter() - start < 0.5


def test_a_map_file_changed_anywhere_after_it_was_written_is_refused(tmp_path):
    save_map(tmp_path / "map", random_map(tmp_path))
    file = tmp_path / "map" / "map.h5"
    whole = file.read_bytes()
    for place in range(20, len(whole), len(whole) // 40):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        file.write_bytes(changed)
        with pytest.raises(SceneError, match=r"map\.h5: cut off or changed"):
            load_map(tmp_path / "map")
    file.write_bytes(whole)
    assert len(load_map(tmp_path / "map").points3D)
