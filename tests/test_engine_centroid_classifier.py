"""The classifier at the centroids: the clusters' own rule as layers of a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_networks import photograph, random_network, tiny_config
from engine_toys import drain, on_one_thread, toy_preprocessing
from test_engine_training import fgsn_config

from core.engine.clustering import ClusterConfig, fit_clusters
from core.engine.inference import FastNetwork, fold_batchnorm
from core.engine.training import with_new_heads
from core.engine.weights import NetworkInfo, load_network, save_network
from core.errors import InputError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


@pytest.fixture
def clusters():
    random = np.random.default_rng(0)
    rows = torch.tensor(random.normal(0, 1, (500, 16)) @ random.normal(0, 1, (16, 16)) + 3, dtype=torch.float32)
    return drain(fit_clusters(rows, ClusterConfig(num_clusters=9, max_dims=8, init="k-means++"), 0))[1]


def at_centroids(clusters, sharpness=10.0):
    network = random_network(tiny_config())
    config = fgsn_config(head="centroids", sharpness=sharpness)
    return with_new_heads(network, clusters, config, 0).eval()


def images(count=2):
    return torch.from_numpy(np.stack([photograph(97, 129, seed) for seed in range(count)])).permute(0, 3, 1, 2).float() - 120


def test_labels_are_those_of_the_clusters_before_anything_is_learnt(clusters):
    output = at_centroids(clusters)(images())
    assert torch.equal(output.logits.argmax(1), clusters.assign_map(output.features))
    assert len(output.logits.argmax(1).unique()) > 2


def test_logits_fall_with_the_squared_distance_to_the_centroids(clusters):
    output = at_centroids(clusters, sharpness=4.0)(images(1))
    rows = clusters.project(output.features[0].flatten(1).T)
    squares = torch.cdist(rows, torch.tensor(clusters.centroids)).square()
    expected = 4.0 * (1 - squares)
    torch.testing.assert_close(output.logits[0].flatten(1).T, expected, rtol=1e-3, atol=1e-3)


def test_the_network_comes_back_from_its_file_with_the_same_labels(clusters, tmp_path):
    network = at_centroids(clusters)
    preprocessing = replace(toy_preprocessing(), output_stride=network.config.output_stride)
    info = NetworkInfo(vocabulary="nine", num_labels=9, preprocessing=preprocessing, config=network.config)
    save_network(tmp_path / "nine.safetensors", network, info)
    again, described = load_network(tmp_path / "nine.safetensors")
    assert described.config.head_dims == 8
    torch.testing.assert_close(again(images()).logits, network(images()).logits, rtol=1e-3, atol=1e-3)


def test_the_fast_network_has_the_same_logits(clusters):
    network = at_centroids(clusters)
    fast = FastNetwork(fold_batchnorm(network), torch.float32)
    torch.testing.assert_close(fast(images()).logits, network(images()).logits, rtol=1e-3, atol=1e-3)


def test_an_unknown_classifier_is_refused():
    with pytest.raises(InputError, match="head is 'linear', expected one of fresh, centroids"):
        replace(fgsn_config(), head="linear")
