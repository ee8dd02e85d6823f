from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from engine_toys import drain
from scipy.cluster.vq import kmeans2

from core.engine.clustering import (
    ClusterConfig,
    ClusterModel,
    assign,
    discriminant_whitening,
    entropy_constrained,
    fit_clusters,
    initial_centroids,
    kmeans,
    pca_whitening,
    update_centroids,
)
from core.engine.targets import NoiseSum
from core.errors import InputError, WeightsError


def faiss_or_skip():
    if sys.platform == "darwin":
        pytest.skip("faiss and torch bring two OpenMP libraries that end the process on macOS")
    return pytest.importorskip("faiss", reason="faiss-cpu is not installed")


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


def test_the_discriminant_projection_solves_the_generalised_eigenvalue_problem(blobs):
    """Beside scipy's solver: in the projection noise is white and features vary by the eigenvalues, largest first."""
    random = np.random.default_rng(1)
    mixing = random.normal(0, 1, (5, 5))
    noise = torch.tensor(mixing @ mixing.T)
    A, b = discriminant_whitening(blobs, noise, 3)
    shrunk = noise.numpy() + 0.02 * np.trace(noise.numpy()) / 5 * np.eye(5)
    expected = scipy.linalg.eigh(np.cov(blobs.numpy().T.astype(np.float64)), shrunk, eigvals_only=True)[::-1][:3]
    white = (blobs @ A + b).double()
    assert white.mean(0).abs().max() < 1e-4
    assert torch.cov(white.T).diagonal().numpy() == pytest.approx(expected, rel=1e-4)
    assert (A.double().T @ torch.tensor(shrunk) @ A.double()).numpy() == pytest.approx(np.eye(3), abs=1e-5)


def test_discriminant_clusters_hold_where_a_season_shifts_features_that_pca_would_cut():
    """Two directions tell places apart; a third, larger one is the season alone."""
    random = np.random.default_rng(2)
    places = random.normal(0, 1, (2000, 2))
    seasons = [torch.tensor(np.c_[places, random.normal(0, 3, 2000)], dtype=torch.float32) for _ in range(2)]
    noise = NoiseSum()
    noise.add(seasons[0] - seasons[1])
    agreement = {}
    for projection in ("pca", "discriminant"):
        config = ClusterConfig(num_clusters=8, projection=projection, init="k-means++")
        model = drain(fit_clusters(torch.cat(seasons), config, 0, noise.covariance()))[1]
        agreement[projection] = float((model.assign(seasons[0]) == model.assign(seasons[1])).float().mean())
    assert agreement["discriminant"] > 0.85 > 0.6 > agreement["pca"]


def test_a_discriminant_projection_without_correspondences_is_refused(blobs):
    with pytest.raises(InputError, match="needs correspondences"):
        drain(fit_clusters(blobs, ClusterConfig(num_clusters=6, projection="discriminant"), 0))


def test_features_that_do_not_vary_are_refused():
    with pytest.raises(InputError, match="do not vary"):
        pca_whitening(torch.ones(20, 4), 4)


def test_features_that_vary_by_rounding_only_are_refused():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(InputError, match="do not vary"):
        pca_whitening(3 + 1e-6 * torch.randn(20, 4, generator=generator), 4)


def test_features_that_are_no_numbers_are_refused(blobs):
    blobs[3, 2] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        drain(fit_clusters(blobs, ClusterConfig(num_clusters=6), 0))


def test_whitening_agrees_with_faiss_up_to_signs_and_scale(blobs):
    """faiss divides by n where we divide by n - 1; the L2 normalisation that follows removes any common scale."""
    faiss = faiss_or_skip()
    pca = faiss.PCAMatrix(5, 3, -0.5)
    pca.train(blobs.numpy())
    expected = pca.apply(blobs.numpy())
    A, b = pca_whitening(blobs, 3)
    ours = (blobs @ A + b).numpy()
    ratio = ours / expected
    assert np.abs(ratio) == pytest.approx(np.full_like(ratio, np.abs(ratio).mean()), rel=5e-3)
    assert (np.sign(ratio) == np.sign(ratio[:1])).all()


def test_kmeans_agrees_with_faiss_from_the_same_start(blobs):
    faiss = faiss_or_skip()
    faiss.omp_set_num_threads(1)
    points = torch.nn.functional.normalize(blobs, dim=1)
    start = initial_centroids(points, 9, "random", 4)
    reference = faiss.Kmeans(5, 9, niter=20, max_points_per_centroid=10**7, min_points_per_centroid=1)
    reference.train(points.numpy(), init_centroids=start.numpy())
    _, centroids = drain(kmeans(points, start, 20, 0))
    assert centroids.numpy() == pytest.approx(reference.centroids, abs=1e-4)
    _, expected = reference.index.search(points.numpy(), 1)
    assert np.array_equal(assign(points, centroids)[0].numpy(), expected[:, 0])


def test_soft_shares_fall_with_the_squared_distance(blobs):
    _, model = drain(fit_clusters(blobs, ClusterConfig(num_clusters=6), 0))
    labels, shares = model.nearest(blobs, 3, 0.5)
    y = model.project(blobs)
    distances = (y[:, None] - torch.tensor(model.centroids)[None]).square().sum(2)
    expected, order = distances.topk(3, largest=False)
    assert torch.equal(labels, order)
    assert shares.numpy() == pytest.approx((-expected / 0.5).softmax(1).numpy(), abs=1e-4)
    assert torch.equal(labels[:, 0], model.assign(blobs))


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


def test_a_cost_on_bits_lowers_the_sum_that_it_minimises():
    random = np.random.default_rng(5)
    points = torch.tensor(random.normal(0, 1, (3000, 4)) * [3, 1, 0.3, 0.3], dtype=torch.float32)
    start = drain(kmeans(points, points[:30], 20, 0))[1]
    cost = 0.4

    def of(centroids):
        """Mean squared distance plus cost times entropy in bits, of labels by the nearest of (point, 0)."""
        padded = torch.nn.functional.pad(points, (0, centroids.shape[1] - points.shape[1]))
        labels, _ = assign(padded, centroids)
        shares = torch.bincount(labels, minlength=len(centroids)) / len(points)
        entropy = -(shares[shares > 0] * shares[shares > 0].log2()).sum()
        return float((points - centroids[labels, :4]).square().sum(1).mean() + cost * entropy), float(entropy)

    found = drain(entropy_constrained(points, start, cost, 20))[1]
    assert of(found)[0] < 0.97 * of(start)[0]
    assert of(found)[1] < of(start)[1] - 0.2
    free = drain(entropy_constrained(points, start, 0.0, 1))[1]
    assert torch.equal(assign(torch.nn.functional.pad(points, (0, 1)), free)[0], assign(points, free[:, :4])[0])


def test_labels_by_cost_are_the_models_own_and_come_back_from_a_file(tmp_path, blobs):
    config = ClusterConfig(num_clusters=12, max_dims=4, bit_cost=0.1, init="k-means++")
    model = drain(fit_clusters(blobs, config, 0))[1]
    assert model.centroids.shape == (12, model.A.shape[1])
    assert not model.A[:, -1].any()
    counts = torch.bincount(model.assign(blobs), minlength=12)
    assert model.centroids[counts.argmax(), -1] == model.centroids[:, -1].min() == 0
    model.save(tmp_path / "model.safetensors")
    assert torch.equal(ClusterModel.load(tmp_path / "model.safetensors").assign(blobs), model.assign(blobs))


def test_a_price_at_which_one_label_takes_everything_is_refused(blobs):
    config = ClusterConfig(num_clusters=12, max_dims=4, bit_cost=100.0, init="k-means++")
    with pytest.raises(InputError, match=r"clusters\.bit_cost is 100: at this price one label takes all features"):
        drain(fit_clusters(blobs, config, 0))
