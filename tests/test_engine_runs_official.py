from __future__ import annotations

import ast
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_set
from training_toys import RUN, run_config, start_weights

from core.engine.clustering import ClusterModel
from core.engine.official_runs import FOLDER, run_name
from core.engine.runs import train_run
from core.engine.weight_folders import weight_file
from core.engine.weights import load_network
from core.errors import WeightsError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of six steps in two rounds that also wrote the published layout; its folder and what it yielded."""
    root = tmp_path_factory.mktemp("official")
    data = toy_set(root / "set", num_views=8)
    config, settings = run_config(6, 3), replace(RUN, official_layout=True, validate_every=2)
    records, path = drain(train_run(start_weights(root), data, config, root / "run", 1, settings))
    return path.parent, path.parent / FOLDER / run_name(config, 2), records


def test_the_folder_says_what_it_was_trained_with(run):
    config = run_config(60_000, 10_000, max_features_per_image=500)
    optimization = replace(config.optimization, learning_rate=2.5e-5)
    clusters = replace(config.clusters, num_clusters=100)
    paper = replace(config, optimization=optimization, clusters=clusters)
    expected = "cluster-other-other-cn100-ci10000-vi2500-wc1.00000-ws1.00000-features500-valm-L2-0.0000250000lr"
    assert run_name(paper, 2500) == expected
    assert "-ws1.00000-wf0.10000-features" in run_name(replace(paper, hinge_weight=0.1), 2500)


def test_snapshots_and_clusterings_have_the_published_names_and_keys(run):
    _, folder, _ = run
    snapshots = sorted(path.name for path in folder.glob("iter_*.pth"))
    assert [name.split("_")[1] for name in snapshots] == ["2", "4", "6"]
    assert all((folder / f"opt_{name}").is_file() for name in snapshots)
    assert sorted(path.name for path in folder.glob("centroids_*.h5")) == ["centroids_0.h5", "centroids_3.h5"]
    with h5py.File(folder / "centroids_3.h5", "r") as file:
        shapes = {key: file[key].shape for key in file}
    assert shapes["cluster_centroids"][0] == 6
    assert shapes["pca_transform_Amat"] == (16, *shapes["pca_transform_bvec"])
    best = ast.literal_eval((folder / "bestval.txt").read_text().strip())
    assert list(best) == ["iter", "val_loss_feat", "val_loss_out", "val_loss_cluster", "snapshot"]
    state = torch.load(folder / f"{best['snapshot']}.pth", weights_only=True)
    assert state["conv6.weight"].shape == (6, 16, 1, 1)


def test_the_folder_reads_back_and_gives_the_best_network(run):
    own, folder, _ = run
    first, second = load_network(own)[0].state_dict(), load_network(folder)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert load_network(own)[1].vocabulary == load_network(folder)[1].vocabulary
    assert load_network(own)[1].preprocessing == load_network(folder)[1].preprocessing


def test_centroids_are_the_clusters_of_the_run(run):
    own, folder, _ = run
    ours = ClusterModel.load(own / "clusters_1.safetensors")
    with h5py.File(folder / "centroids_3.h5", "r") as theirs:
        assert np.array_equal(ours.A, theirs["pca_transform_Amat"])
        assert np.array_equal(ours.b, theirs["pca_transform_bvec"])
        assert np.array_equal(ours.centroids, theirs["cluster_centroids"])


def test_a_trailing_slash_and_an_export_are_fine_and_an_empty_folder_is_not(run, tmp_path):
    _, folder, _ = run
    best = weight_file(folder)
    assert load_network(f"{folder}/")[1].num_labels == 6
    (tmp_path / "weights.pth").write_bytes(best.read_bytes())
    (tmp_path / "weights.json").write_bytes(best.with_suffix(".json").read_bytes())
    assert load_network(tmp_path)[1].num_labels == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="empty: a folder without weights"):
        load_network(tmp_path / "empty")


@pytest.mark.parametrize("text", ["", "{'iter': 1}", "__import__('os')", "{'iter': 1"])
def test_foreign_numbers_of_the_best_are_refused(tmp_path, text):
    (tmp_path / "bestval.txt").write_text(text)
    with pytest.raises(WeightsError, match=r"bestval\.txt: not the best snapshot's numbers"):
        load_network(tmp_path)
