"""What a network's features can be cut into: the table of benchmarks.vocabularies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_toys import on_one_thread, toy_network, toy_preprocessing, toy_set

from benchmarks.vocabularies import NetworkFeatures, SceneFeatures, features_at, main, row_text
from core.engine.clustering import ClusterModel
from core.engine.targets import FrozenNetwork, ReferenceFeatures
from core.engine.weights import NetworkInfo, save_network

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)

AXES = ClusterModel(np.eye(2), np.zeros(2), np.eye(2))
X, Y = [3.0, 0.1], [0.1, 2.0]


def test_matches_are_judged_by_the_majority_of_their_points_observations():
    scene = SceneFeatures(
        query=torch.tensor([X, Y, X, Y]),
        point=np.array([0, 0, 1, 1]),
        right=np.array([True, True, True, False]),
        map=torch.tensor([X, X, Y, Y]),
        observed=np.array([0, 0, 0, 1]),
        num_points=2,
    )
    right, wrong, _ = scene.shares(lambda rows: AXES.assign(rows).numpy(), 2)  # point 0 is X by two votes to one, point 1 is Y
    assert right == pytest.approx(100 / 3)
    assert wrong == pytest.approx(100.0)


def test_a_row_says_how_many_labels_are_used_and_leaves_empty_what_was_not_measured():
    rows = torch.tensor([X, X, X])
    found = NetworkFeatures(ReferenceFeatures(rows, None), [(rows, rows)], [], None)
    cells = row_text("net", AXES, 2, 0.5, found).split(" | ")
    assert cells[:5] == ["net", "2", "2", "0.5", "1"]
    assert cells[8:] == [""] * 6


def test_features_are_taken_where_the_points_lie():
    image = np.random.default_rng(0).integers(0, 255, (65, 89, 3), np.uint8)
    network = FrozenNetwork(toy_network().eval(), replace(toy_preprocessing(), short_side=65))
    maps = network.image_features(image)
    corners = features_at(network, image, np.array([[0.0, 0.0], [88.0, 64.0]]))
    assert torch.allclose(corners.float(), torch.stack([maps[:, 0, 0], maps[:, -1, -1]]), rtol=1e-2, atol=1e-2)


def test_the_table_has_a_row_for_every_vocabulary_asked_for(tmp_path):
    toy_set(tmp_path / "train", num_views=6)
    toy_set(tmp_path / "held-out", num_views=2, seed=1)
    network = toy_network()
    info = NetworkInfo(
        vocabulary="four", num_labels=4, preprocessing=replace(toy_preprocessing(), short_side=65), config=network.config
    )
    save_network(tmp_path / "toy.safetensors", network, info)
    paths = [str(tmp_path / name) for name in ("toy.safetensors", "train", "held-out", "out.md")]
    main(
        [paths[0], "--train", paths[1], "--held-out", paths[2], "--out", paths[3], "--clusters", "3", "4"]
        + ["--dims", "8", "--bit-costs", "0", "0.2"]
    )
    lines = (tmp_path / "out.md").read_text().splitlines()
    assert len(lines) == 2 + 4
    assert {line.count("|") for line in lines} == {15}
    assert [line.split(" | ")[1:4] for line in lines[2:]] == [
        ["3", "8", "0"],
        ["3", "8", "0.2"],
        ["4", "8", "0"],
        ["4", "8", "0.2"],
    ]
