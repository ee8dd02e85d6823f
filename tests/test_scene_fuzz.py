"""Readers and files that were changed at random: a scene that can be relied on comes out, or one sentence led by the file."""

from __future__ import annotations

from itertools import pairwise

import fuzz_scenes
import pytest
from fuzzing import Specimen, address_space, changes, check_map, check_scene, fuzz
from hypothesis import given
from hypothesis import strategies as st

from core.records import ImageData
from core.scene.correspondences import read_correspondences
from core.scene.label_statistics import load_label_statistics
from core.scene.map_file import load_labels, load_map
from core.scene.odometry import read_odometry
from core.scene.scene import open_scene
from core.scene.submission import read_submission


def opened(folder):
    check_scene(open_scene(folder))


def own_scene(folder):
    opened(folder)
    read_odometry(folder / "odometry.txt")


def odometry_used(name):
    def read(folder):
        odometry = read_odometry(folder / name)
        names = [line.name for line in getattr(odometry, "lines", ())] or ["a"] * 3
        frames = [ImageData(name, folder, timestamp_s=10.3 + k) for k, name in enumerate(names)]
        for before, now in pairwise(odometry.ordered(frames)):
            odometry.between(before, now)

    return read


def map_read(folder):
    check_map(load_map(folder, "toy"))
    load_labels(folder, "toy")


def correspondences_read(folder):
    name_ref, name_other, found = read_correspondences(folder / "a_b.mat")
    assert ".." not in (name_ref + name_other).split("/")
    assert len(found.weights) == len(found.points_ref)


def statistics_read(folder):
    found = load_label_statistics(folder / "a.labels.safetensors")
    assert found.joint.shape == (found.num_labels,) * 2


def not_a_picture(name):
    return not name.endswith((".png", ".jpg"))


READERS = {
    "scene.toml": (fuzz_scenes.own_scene, own_scene, lambda name: name.endswith((".txt", ".toml"))),
    "odometry": (lambda folder: fuzz_scenes.write_toy_odometry(folder / "odometry.txt"), odometry_used("odometry.txt"), None),
    "trajectory": (fuzz_scenes.trajectory, odometry_used("tum.txt"), None),
    "map.h5": (fuzz_scenes.map_folder, map_read, lambda name: name == "map.h5"),
    "map folder": (fuzz_scenes.map_folder, opened, None),
    "COLMAP binary": (fuzz_scenes.colmap_binary, opened, None),
    "COLMAP text": (fuzz_scenes.colmap_text, opened, None),
    "COLMAP database": (fuzz_scenes.colmap_database, opened, lambda name: name.endswith(".db")),
    "correspondences": (fuzz_scenes.correspondence_file, correspondences_read, None),
    "label statistics": (fuzz_scenes.statistics, statistics_read, lambda name: name.endswith(".safetensors")),
    "NVM": (fuzz_scenes.nvm_file, opened, not_a_picture),
    "Extended CMU Seasons": (fuzz_scenes.extended_cmu, opened, not_a_picture),
    "CMU Seasons": (fuzz_scenes.rectified_cmu, opened, not_a_picture),
    "RobotCar Seasons, one location": (fuzz_scenes.robotcar, opened, not_a_picture),
    "RobotCar Seasons, merged": (fuzz_scenes.robotcar_merged, opened, not_a_picture),
    "Aachen": (fuzz_scenes.aachen, opened, not_a_picture),
    "hloc": (fuzz_scenes.hloc_outputs, opened, not_a_picture),
    "submission": (fuzz_scenes.submission, lambda folder: read_submission(folder / "submission.txt"), "submission.txt".__eq__),
}


@pytest.fixture(scope="module", params=READERS)
def specimen(request, tmp_path_factory):
    build, read, files = READERS[request.param]
    folder = tmp_path_factory.mktemp("fuzz") / "specimen"
    folder.mkdir()
    build(folder)
    return Specimen(folder, read, files)


@fuzz
@given(data=st.data())
def test_changed_files_give_a_sound_scene_or_one_sentence(specimen, data):
    made = data.draw(changes(specimen.files))
    with address_space():
        specimen.survives(made)
