"""`localize --method pfsl` on a street that lies on disk, labelled by a network that reads colours."""

import json

import numpy as np
import pytest
from sequence_toys import NUM_LABELS, VOCABULARY, drive, label_image, query_of, street_map

from core.geometry import Camera
from core.images import write_image
from core.records import LabelMap
from core.scene.list_files import write_poses, write_queries
from core.scene.map_file import save_map
from fgsn_viewer import commands
from fgsn_viewer.cli import main

SCENE = """format = "fgsn-scene"
version = 1
images = "images"
map = "map"
queries = "queries.txt"
poses = "poses.txt"
gravity = [0, 0, -1]
weights = "colours"
"""
CAMERA = Camera.pinhole(128, 96, 100.0)


class ReadsColours:
    """The label is the red channel's value over 20."""

    vocabulary, num_labels = VOCABULARY, NUM_LABELS

    def segment(self, image, source=None):
        return LabelMap(image[..., 0] // 20, NUM_LABELS, VOCABULARY)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    queries = [query_of(k, pose) for k, pose in enumerate(drive(5, 2.0, 20.0))]
    for query in queries:
        labels = label_image(query.cam_from_world, wrong=0.2).labels.astype(np.uint8)
        write_image(tmp_path / "images" / query.name, np.repeat(labels[..., None] * 20, 3, axis=2))
    write_queries(tmp_path / "queries.txt", {query.name: CAMERA for query in queries})
    write_poses(tmp_path / "poses.txt", {query.name: query.cam_from_world for query in queries})
    save_map(tmp_path / "map", street_map(1500))
    (tmp_path / "scene.toml").write_text(SCENE)
    monkeypatch.setattr(commands, "segmenter_for", lambda options: ReadsColours())
    monkeypatch.setattr(commands, "Labelled", WithoutWeights)
    return tmp_path


class WithoutWeights:
    def __init__(self, scene, segmenter):
        self.scene_map, self.statistics, self.segment = scene.map, None, segmenter.segment


def rows_of(capsys):
    out = capsys.readouterr()
    return [json.loads(line) for line in out.out.splitlines()], out.err


def test_the_queries_of_a_condition_are_followed_as_a_sequence(scene, capsys):
    assert main(["localize", str(scene), "--method", "pfsl", "--json"]) == 0
    rows, said = rows_of(capsys)
    assert [row["query"] for row in rows] == [f"night/{k:03d}.png" for k in range(5)]
    assert {row["method"] for row in rows} == {"pfsl"}
    assert rows[-1]["position_error_m"] < 0.7
    assert "night: odometry: 4 steps simulated from the true poses, with noise" in said


def test_a_missing_photograph_is_a_failure_of_its_frame_alone(scene, capsys):
    (scene / "images/night/002.png").unlink()
    assert main(["localize", str(scene), "--method", "pfsl", "--json", "--odometry", "none"]) == 0
    rows, said = rows_of(capsys)
    assert [bool(row["failure"]) for row in rows] == [False, False, True, False, False]
    assert "002.png" in rows[2]["failure"]
    assert rows[2]["qvec"] is None
    assert "odometry: none" in said


def test_the_table_of_recall_follows_in_plain_text(scene, capsys):
    assert main(["localize", str(scene), "--method", "pfsl", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "0.25 m, 2 deg" in text
    assert text.count("night/") == 5


def test_a_drive_needs_descriptors_and_says_so(scene, capsys):
    assert main(["localize", str(scene), "--method", "ssmc-drive"]) == 2
    assert "the map has no descriptors" in capsys.readouterr().err
