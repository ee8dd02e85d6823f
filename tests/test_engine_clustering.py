from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_toys import drain
from scipy.cluster.vq import kmeans2

from core.engine.clustering import (
    ClusterConfig,
    ClusterModel,
    assign,
    fit_clusters,
    initial_centroids,
    kmeans,
    pca_whitening,
    update_centroids,
)
from core.errors import InputError, WeightsError


@pytest.fixture
def blobs() -> torch.Tensor:
    """600 points in 5 dimensions around 6 centres."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 4, (6, 5))
    return torch.tensor(centres[random.integers(0, 6, 600)] + random.normal(0, 0.7, (600, 5)), dtype=torch.float32)


def test_whitened_features_have_no_mean_and_unit_covariance(blobs):
    A, b = pca_whitening(blobs, 256)
    white = (blobs @ A + b).double()
    assert A.shape == (5, 5)
    assert white.mean(0).abs().max() < 1e-4
    assert (torch.cov(white.T) - torch.eye(5)).abs().max() < 1e-3


def test_whitening_is_the_projection_on_scaled_eigenvectors(blobs):
    A, b = pca_whitening(blobs, 3)
    x = blobs.numpy().astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    reference = (x - x.mean(0)) @ vectors[:, ::-1][:, :3] / np.sqrt(values[::-1][:3])
    assert np.abs((blobs @ A + b).numpy()) == pytest.approx(np.abs(reference), abs=1e-3)


def test_directions_without_variance_are_left_out(blobs):
    doubled = torch.cat([blobs, blobs[:, :2], torch.ones(600, 1)], dim=1)
    A, _ = pca_whitening(doubled, 256)
    assert A.shape == (8, 5)


def test_features_that_do_not_vary_are_refused():
    with pytest.raises(InputError, match="do not vary"):
        pca_whitening(torch.ones(20, 4), 4)


def test_kmeans_agrees_with_scipy_from_the_same_start(blobs):
    start = initial_centroids(blobs, 9, "random", 4)
    steps, centroids = drain(kmeans(blobs, start, 20, 0))
    expected, expected_labels = kmeans2(blobs.double().numpy(), start.double().numpy(), iter=20, minit="matrix")
    assert len(steps) == 20
    assert centroids.numpy() == pytest.approx(expected, abs=1e-4)
    assert (assign(blobs, centroids)[0].numpy() == expected_labels).mean() > 0.995


def test_assignment_is_the_nearest_centroid_and_its_squared_distance(blobs):
    centroids = blobs[:7]
    labels, distances = assign(blobs, centroids)
    direct = ((blobs[:, None].double() - centroids[None].double()) ** 2).sum(2)
    assert torch.equal(labels, direct.argmin(1))
    assert distances.numpy() == pytest.approx(direct.min(1).values.numpy(), abs=1e-3)


def test_an_empty_cluster_is_filled_from_a_non_empty_one(blobs):
    far = torch.full((1, 5), 1e3)
    start = torch.cat([blobs[:4], far])
    labels, _ = assign(blobs, start)
    assert (labels == 4).sum() == 0
    updated = update_centroids(blobs, labels, start, np.random.default_rng(0))
    distances = (updated[4] - updated[:4]).norm(dim=1)
    assert distances.min() < 0.05
    _, centroids = drain(kmeans(blobs, start, 20, 0))
    assert torch.bincount(assign(blobs, centroids)[0], minlength=5).min() > 0


def test_kmeans_plus_plus_finds_separate_blobs():
    centres = torch.tensor([[0.0, 0], [50, 0], [0, 50], [50, 50]])
    points = centres.repeat(30, 1) + torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        start = initial_centroids(points, 4, "k-means++", seed)
        assert assign(start, centres)[0].unique().numel() == 4


def test_more_clusters_than_different_points_still_gives_k_centroids():
    points = torch.tensor([[0.0, 0], [1, 1], [1, 1], [0, 0], [2, 0]])
    assert initial_centroids(points, 5, "k-means++", 0).shape == (5, 2)


def test_more_clusters_than_features_is_an_input_error(blobs):
    with pytest.raises(InputError, match="600 features for 601 clusters"):
        drain(fit_clusters(blobs, ClusterConfig(num_clusters=601), 0))


def test_the_same_seed_gives_the_same_clusters(blobs):
    config = ClusterConfig(num_clusters=8)
    first, second, other = (drain(fit_clusters(blobs, config, seed))[1] for seed in (5, 5, 6))
    assert np.array_equal(first.centroids, second.centroids)
    assert not np.array_equal(first.centroids, other.centroids)


def test_labels_come_from_projected_normalised_features(blobs):
    _, model = drain(fit_clusters(blobs, ClusterConfig(num_clusters=6), 0))
    y = blobs.numpy() @ model.A + model.b
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    expected = ((y[:, None] - model.centroids[None]) ** 2).sum(2).argmin(1)
    assert np.array_equal(model.assign(blobs).numpy(), expected)
    grid = blobs.reshape(1, 20, 30, 5).permute(0, 3, 1, 2)
    assert np.array_equal(model.assign_map(grid)[0].numpy(), expected.reshape(20, 30))


def test_a_saved_model_reads_back_and_another_file_is_refused(tmp_path, blobs):
    _, model = drain(fit_clusters(blobs, ClusterConfig(num_clusters=6), 0))
    model.save(tmp_path / "clusters.safetensors")
    again = ClusterModel.load(tmp_path / "clusters.safetensors")
    assert np.array_equal(again.assign(blobs).numpy(), model.assign(blobs).numpy())
    (tmp_path / "other").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="other: not a cluster model"):
        ClusterModel.load(tmp_path / "other")


def test_clustering_stops_when_its_generator_is_closed(blobs):
    steps = fit_clusters(blobs, ClusterConfig(num_clusters=6), 0)
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
