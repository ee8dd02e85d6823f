"""Files that lie on purpose: counts that must take no memory, names that lead elsewhere, links in circles, pickles that run."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - what an attacker writes
import struct
import tracemalloc

import fuzz_scenes
import h5py
import numpy as np
import pytest
import torch
from fuzzing import check_scene

from core.engine.segmenter import load_segmenter
from core.errors import InputError, SceneError, WeightsError
from core.scene.correspondences import read_correspondences
from core.scene.hdf5 import seal
from core.scene.label_statistics import load_label_statistics, load_stationary_indices
from core.scene.map_file import load_map
from core.scene.scene import open_scene

MANY = 2**40
MEGABYTE = 1 << 20


def peak_bytes(call, refused=InputError):
    """What a call that must be refused takes at most, and its sentence."""
    tracemalloc.start()
    try:
        with pytest.raises(refused) as caught:
            call()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [10**9, MANY, 2**63, 2**64 - 1])
@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_a_huge_count_at_the_head_of_a_colmap_file_takes_no_memory(tmp_path, part, count):
    fuzz_scenes.colmap_binary(tmp_path)
    file = tmp_path / "sparse" / f"{part}.bin"
    file.write_bytes(struct.pack("<Q", count) + file.read_bytes()[8:])
    peak, sentence = peak_bytes(lambda: open_scene(tmp_path))
    assert str(file) in sentence
    assert peak < 4 * MEGABYTE


def test_a_huge_number_of_keypoints_or_track_elements_takes_no_memory(tmp_path):
    fuzz_scenes.colmap_binary(tmp_path)
    for part, at in (("images", 8 + 4 + 56 + 4 + len("overcast/0.png\0")), ("points3D", 8 + 8 + 24 + 3 + 8)):
        file = tmp_path / "sparse" / f"{part}.bin"
        good = file.read_bytes()
        file.write_bytes(good[:at] + struct.pack("<Q", MANY) + good[at + 8 :])
        peak, sentence = peak_bytes(lambda: open_scene(tmp_path))
        assert sentence.startswith(f"{file}: cut off or corrupt")
        assert peak < 4 * MEGABYTE
        file.write_bytes(good)


def hollow(group, name, shape, dtype="f8"):
    """A dataset of a shape of which nothing is stored."""
    if name in group:
        del group[name]
    group.create_dataset(name, shape, dtype, chunks=(1024, *shape[1:]), compression="gzip")


@pytest.mark.parametrize("rows", [10**8, MANY])
@pytest.mark.parametrize("name", ["points3D", "observations/point", "images/cam_from_world", "labels/0/labels"])
def test_hollow_arrays_of_a_map_take_no_memory(tmp_path, name, rows):
    fuzz_scenes.map_folder(tmp_path)
    with h5py.File(tmp_path / "map.h5", "a") as file:
        hollow(file, name, (rows, *file[name].shape[1:]))
    seal(tmp_path / "map.h5")
    peak, sentence = peak_bytes(lambda: load_map(tmp_path), SceneError)
    assert sentence.startswith(f"{tmp_path / 'map.h5'}: corrupt (")
    assert peak < 8 * MEGABYTE


def test_hollow_correspondences_take_no_memory_whether_they_say_so_or_call_themselves_empty(tmp_path):
    fuzz_scenes.correspondence_file(tmp_path)
    path = tmp_path / "a_b.mat"
    with h5py.File(path, "a") as file:
        hollow(file, "pt_i", (MANY, 2))
    assert peak_bytes(lambda: read_correspondences(path), SceneError)[0] < 4 * MEGABYTE
    with h5py.File(path, "a") as file:
        del file["pt_i"]
        file["pt_i"] = np.array([2, MANY], np.uint64)
        file["pt_i"].attrs["MATLAB_empty"] = 1
    peak, sentence = peak_bytes(lambda: read_correspondences(path), SceneError)
    assert "said to be empty" in sentence
    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize("length", [2**31, 2**63 - 1, 2**64 - 1])
def test_a_huge_header_of_a_safetensors_file_takes_no_memory(tmp_path, length):
    path = tmp_path / "a.labels.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    assert peak_bytes(lambda: load_label_statistics(path), WeightsError)[0] < 4 * MEGABYTE
    weights = path.rename(tmp_path / "a.safetensors")
    assert peak_bytes(lambda: load_segmenter(str(weights), device="cpu"), WeightsError)[0] < 4 * MEGABYTE


ELSEWHERE = ("../../../../etc/passwd", "/etc/passwd", "C:\\Windows\\win.ini", "..\\..\\up.png", "a/../../b.png")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_lists_whose_names_lead_out_of_the_folder_of_images_are_refused(tmp_path, name):
    fuzz_scenes.own_scene(tmp_path)
    with (tmp_path / "queries.txt").open("a", encoding="utf-8") as file:
        file.write(f"{name} PINHOLE 64 48 60 60 32 24\n")
    with pytest.raises(SceneError) as caught:
        open_scene(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'queries.txt'}: the name {name!r} leads out of the folder of images")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_of_images_in_models_maps_and_correspondences_stay_in_their_folder(tmp_path, name):
    fuzz_scenes.colmap_text(tmp_path / "model")
    file = tmp_path / "model/sparse/images.txt"
    file.write_text(file.read_text().replace("overcast/0.png", name))
    check_scene(open_scene(tmp_path / "model"))
    fuzz_scenes.map_folder(tmp_path / "map")
    with h5py.File(tmp_path / "map/map.h5", "a") as stored:
        stored["images/name"][0] = name
    seal(tmp_path / "map/map.h5")
    assert all(".." not in image.name and image.name[0] != "/" for image in load_map(tmp_path / "map").images)
    fuzz_scenes.correspondence_file(tmp_path)
    with h5py.File(tmp_path / "a_b.mat", "a") as stored:
        del stored["im_i_path"]
        stored["im_i_path"] = np.frombuffer(name.encode("utf-16-le"), "<u2").reshape(-1, 1)
    reference = read_correspondences(tmp_path / "a_b.mat")[0]
    assert ".." not in reference.split("/")
    assert not reference.startswith("/")


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights there")
def test_links_in_circles_end(tmp_path):
    fuzz_scenes.toy_scene(tmp_path)
    (tmp_path / "images" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "images" / "self.png").symlink_to(tmp_path / "images" / "self.png")
    (tmp_path / "scene.toml").symlink_to(tmp_path / "scene.toml")
    scene = open_scene(tmp_path / "images")
    assert 6 <= len(scene.images) <= 7
    check_scene(open_scene(tmp_path))


class Runs:
    """Whoever unpickles this leaves a file behind."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


def test_a_malicious_pickle_is_one_when_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Runs(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir(), "the tests below would show nothing"


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(tmp_path, form):
    path, trace = tmp_path / "weights.pth", tmp_path / "ran"
    if form == "bare":
        path.write_bytes(pickle.dumps(Runs(trace)))
    else:
        torch.save({"conv6.weight": Runs(trace)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError) as caught:
        load_segmenter(str(path), device="cpu")
    assert str(caught.value).startswith(f"{path}: not a checkpoint of tensors")
    assert not trace.exists()


def test_logs_of_hloc_that_would_run_code_are_refused_and_nothing_runs(tmp_path):
    fuzz_scenes.hloc_outputs(tmp_path)
    (logs,) = tmp_path.glob("*_logs.pkl")
    logs.write_bytes(pickle.dumps({"loc": {"sun/0.png": Runs(tmp_path / "ran")}}))
    with pytest.raises(SceneError) as caught:
        open_scene(tmp_path)
    assert str(caught.value).startswith(f"{logs}: holds ")
    assert not (tmp_path / "ran").exists()


def test_published_stationary_labels_that_would_run_code_are_refused_and_nothing_runs(tmp_path):
    path = tmp_path / "stationary_inds.npy"
    np.save(path, np.array([Runs(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(InputError) as caught:
        load_stationary_indices(path, "toy", 5)
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "ran").exists()
