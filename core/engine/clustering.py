"""Cluster labels: PCA whitening, L2 normalisation, k-means (PAPER 2.2), in torch on any device."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from core.errors import InputError, WeightsError
from core.geometry import Array, frozen_array
from core.images import write_atomic
from core.records import Progress, setting

INITS = ("random", "k-means++")
PROJECTIONS = ("pca", "discriminant")
MAX_LABELS = 65535  # labels are kept in 16 bits
_CHUNK_ROWS = 16384
_SHRINK = 0.02  # of the noise's mean variance, added in every direction: few matches leave some without any
_SPLIT = 1 / 1024  # how far an empty cluster's new centre is moved from the centre that it was copied from


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    num_clusters: int = setting(100, minimum=1, maximum=MAX_LABELS, help="number of clusters K")
    max_dims: int = setting(256, minimum=1, help="dimensions kept by the whitening")
    projection: str = setting(
        "pca",
        help="what whitening makes even. pca: how features vary over all places, as in the paper; discriminant: how they vary "
        "at one place between conditions, so that clusters are cut where features hold",
    )
    num_iterations: int = setting(20, minimum=1, help="k-means iterations")
    init: str = setting("random", help="random as in faiss; k-means++ wastes fewer clusters where features are few")
    bit_cost: float = setting(
        0.0,
        minimum=0,
        help="squared distance that a bit of a label's code is worth: a rare label must be so much nearer than a common one, "
        "so that labels are cut where features are few and hold better; 0: the nearest, as in the paper",
    )

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise InputError(f"clusters.init is {self.init!r}, expected one of {', '.join(INITS)}")
        if self.projection not in PROJECTIONS:
            raise InputError(f"clusters.projection is {self.projection!r}, expected one of {', '.join(PROJECTIONS)}")


@dataclass(frozen=True, slots=True, eq=False)
class ClusterModel:
    """From features to labels: y = x @ A + b, L2 normalised, nearest of the centroids (PAPER 2.2).

    ``A`` (D_in, D_out) f32, ``b`` (D_out,) f32, ``centroids`` (K, D_out) f32.
    """

    A: Array
    b: Array
    centroids: Array

    def __post_init__(self) -> None:
        dims = np.shape(self.A)[-1] if np.ndim(self.A) else None
        for name, shape in (("A", (None, None)), ("b", (dims,)), ("centroids", (None, dims))):
            object.__setattr__(self, name, frozen_array(getattr(self, name), np.float32, shape, f"ClusterModel.{name}"))

    @property
    def num_clusters(self) -> int:
        return len(self.centroids)

    def project(self, features: Tensor) -> Tensor:
        """Whiten and L2-normalise features (N, D_in) to (N, D_out) f32."""
        A, b = (torch.tensor(array, device=features.device) for array in (self.A, self.b))
        return torch.nn.functional.normalize(features.float() @ A + b, dim=1)

    def assign(self, features: Tensor) -> Tensor:
        """Labels (N,) i64 of features (N, D_in)."""
        centroids = torch.tensor(self.centroids, device=features.device)
        labels = [assign(self.project(chunk), centroids)[0] for chunk in features.split(_CHUNK_ROWS)]
        return torch.cat(labels) if labels else torch.zeros(0, dtype=torch.long, device=features.device)

    def assign_map(self, features: Tensor) -> Tensor:
        """Labels (N, h, w) i64 of feature maps (N, D_in, h, w)."""
        count, dims, height, width = features.shape
        return self.assign(features.permute(0, 2, 3, 1).reshape(-1, dims)).reshape(count, height, width)

    def nearest(self, features: Tensor, count: int, temperature: float) -> tuple[Tensor, Tensor]:
        """The ``count`` nearest labels (N, count) i64 of features (N, D_in) and their shares (N, count) f32, nearest first.

        Shares are softmax(-d^2 / temperature) of the distances to those centroids; each row sums to 1.
        """
        centroids = torch.tensor(self.centroids, device=features.device)
        squares = centroids.square().sum(1)
        labels, shares = [], []
        for chunk in features.split(_CHUNK_ROWS):
            relative = squares - 2 * self.project(chunk) @ centroids.T  # lacks |y|^2, the same for all labels
            distances, label = relative.topk(min(count, self.num_clusters), largest=False)
            labels.append(label)
            shares.append((-distances / temperature).softmax(1))
        return torch.cat(labels), torch.cat(shares)

    def save(self, path: Path) -> None:
        """Write safetensors with the names that the paper's own centroid files use (PAPER 1.4)."""
        tensors = {
            "cluster_centroids": torch.tensor(self.centroids),
            "pca_transform_Amat": torch.tensor(self.A),
            "pca_transform_bvec": torch.tensor(self.b),
        }
        write_atomic(path, lambda name: Path(name).write_bytes(save(tensors)))  # save_file hides a full disk

    @classmethod
    def load(cls, path: Path) -> ClusterModel:
        """Read what ``save`` wrote; WeightsError when the file is something else."""
        try:
            tensors = load_file(path)
            return cls(
                *(tensors[f"{name}"].numpy() for name in ("pca_transform_Amat", "pca_transform_bvec", "cluster_centroids"))
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise WeightsError(f"{path}: not a cluster model ({error}); expected centroids and a PCA transform") from error


def pca_whitening(features: Tensor, max_dims: int) -> tuple[Tensor, Tensor]:
    """Fit y = (x - mu) V lambda^-1/2 on features (N, D); return A (D, D_out), b (D_out,) f32 with y = x @ A + b.

    Computed in float64 from the eigenvectors of the covariance, largest first. D_out = min(max_dims, D), less
    directions without variance, which whitening would turn into noise.
    """
    count, dims = features.shape
    mean, covariance = mean_and_covariance(features)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0), vectors.flip(1)
    size = float(features.square().sum(1).mean())  # variance far below it is rounding
    rank = int((values > max(1e-9 * float(values[0]), 1e-10 * size, 1e-30)).sum())
    kept = min(max_dims, dims, rank)
    if kept == 0:
        raise InputError(f"{count} features do not vary at all, expected features of different places")
    A = vectors[:, :kept] * values[:kept].rsqrt()
    return A.float(), (-mean @ A).float()


def discriminant_whitening(features: Tensor, noise: Tensor, max_dims: int) -> tuple[Tensor, Tensor]:
    """Fit a whitening of ``noise`` (D, D), the covariance of what one place's features differ by between conditions.

    Kept are the directions in which features (N, D) vary most for their noise: the generalised eigenvectors of linear
    discriminant analysis, with every corresponding point a class of its own. In this space equal distances are equally
    unlikely to be a change of season. Returns A (D, D_out), b (D_out,) f32 with y = x @ A + b, the best direction first.
    """
    count, dims = features.shape
    mean, covariance = mean_and_covariance(features)
    level = float(noise.diagonal().mean())
    if not level > 0:
        raise InputError("features are the same under all conditions, expected matches between images that differ")
    variances, axes = torch.linalg.eigh(noise.double() + _SHRINK * level * torch.eye(dims, device=noise.device))
    whiten = axes * variances.rsqrt()
    ratios, turned = torch.linalg.eigh(whiten.T @ covariance @ whiten)
    kept = min(max_dims, int((ratios > 1e-9 * float(ratios[-1])).sum()))
    if not float(ratios[-1]) > 0 or kept == 0:
        raise InputError(f"{count} features do not vary at all, expected features of different places")
    A = whiten @ turned.flip(1)[:, :kept]
    return A.float(), (-mean @ A).float()


def mean_and_covariance(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) f64 of rows (N, D)."""
    count, dims = rows.shape
    mean = rows.double().mean(0)
    covariance = torch.zeros(dims, dims, dtype=torch.float64, device=rows.device)
    for chunk in rows.split(_CHUNK_ROWS):
        centred = chunk.double() - mean
        covariance += centred.T @ centred
    return mean, covariance / max(1, count - 1)


def assign(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid (N,) i64 in L2 of each point (N, D), and the squared distance (N,) f32; ties go to the lower id."""
    labels, distances = [], []
    squares = centroids.square().sum(1)
    for chunk in points.split(_CHUNK_ROWS):
        relative, label = (squares - 2 * chunk @ centroids.T).min(1)
        labels.append(label)
        distances.append((relative + chunk.square().sum(1)).clamp(min=0))
    if not labels:
        return torch.zeros(0, dtype=torch.long, device=points.device), torch.zeros(0, device=points.device)
    return torch.cat(labels), torch.cat(distances)


def initial_centroids(points: Tensor, num_clusters: int, init: str, seed: int) -> Tensor:
    """Choose (K, D) of the points as starts: ``random`` without replacement, or ``k-means++`` (Arthur 2007)."""
    random = np.random.default_rng(seed)
    if init == "random":
        return points[torch.from_numpy(np.sort(random.choice(len(points), num_clusters, replace=False)))]
    chosen = [int(random.integers(len(points)))]
    nearest = torch.full((len(points),), torch.inf, device=points.device)
    for _ in range(num_clusters - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
        weights = nearest.double().cumsum(0)
        free = float(weights[-1]) > 0
        draw = torch.searchsorted(weights, random.random() * float(weights[-1])) if free else random.integers(len(points))
        chosen.append(min(int(draw), len(points) - 1))
    return points[torch.tensor(chosen, device=points.device)]


def update_centroids(points: Tensor, labels: Tensor, centroids: Tensor, random: np.random.Generator) -> Tensor:
    """Means (K, D) of the points of each label; an empty cluster takes a random non-empty one's centre (PAPER 2.2).

    The two centres are moved apart a little along every second axis, or the copy would stay empty.
    """
    count = torch.bincount(labels, minlength=len(centroids))
    sums = torch.zeros_like(centroids, dtype=torch.float64).index_add_(0, labels, points.double())
    updated = (sums / count.clamp(min=1)[:, None]).to(points.dtype)
    donors = np.flatnonzero(count.cpu().numpy() > 1)
    for empty in np.flatnonzero(count.cpu().numpy() == 0):
        donor = int(random.choice(donors)) if len(donors) else int(labels[0])
        sign = torch.ones(points.shape[1], device=points.device)
        sign[1::2] = -1
        updated[empty] = updated[donor] * (1 + _SPLIT * sign)
        updated[donor] = updated[donor] * (1 - _SPLIT * sign)
    return updated


def kmeans(points: Tensor, centroids: Tensor, num_iterations: int, seed: int) -> Generator[Progress, None, Tensor]:
    """Run Lloyd's k-means on points (N, D) from the given centroids (K, D); return centroids (K, D)."""
    random = np.random.default_rng([seed, 1])
    for iteration in range(num_iterations):
        labels, distances = assign(points, centroids)
        centroids = update_centroids(points, labels, centroids, random)
        inertia = float(distances.mean())
        yield Progress(f"k-means {iteration + 1} of {num_iterations}: {inertia:.4f}", (iteration + 1) / num_iterations)
    return centroids


def entropy_constrained(
    points: Tensor, centroids: Tensor, bit_cost: float, num_iterations: int
) -> Generator[Progress, None, Tensor]:
    """Go on from k-means centroids (K, D) on points (N, D), with distances that grow by ``bit_cost`` for each bit of -log2 p_k.

    Entropy-constrained vector quantization (Chou, Lookabaugh and Gray 1989): minimises the mean squared distance plus
    ``bit_cost`` times the labels' entropy. Returns centroids (K, D + 1), whose last coordinate is the root of the label's
    cost over the most common label's: the nearest of them to (point, 0) is the label, so that nothing else need know of costs.
    A label that has lost all its points stays, at the cost of its last place, and is hardly ever used.
    """
    points, centroids = torch.nn.functional.pad(points, (0, 1)), torch.nn.functional.pad(centroids, (0, 1))
    for iteration in range(num_iterations):
        labels, _ = assign(points, centroids)
        count = torch.bincount(labels, minlength=len(centroids))
        sums = torch.zeros_like(centroids, dtype=torch.float64).index_add_(0, labels, points.double())
        means = (sums / count.clamp(min=1)[:, None]).to(points.dtype)
        bits = -torch.log2((count + 0.5) / (len(points) + 0.5 * len(centroids)))
        centroids = torch.where(count[:, None] > 0, means, centroids)
        centroids[:, -1] = (bit_cost * (bits - bits.min())).sqrt()
        used = int((count > 0).sum())
        yield Progress(f"labels by cost {iteration + 1} of {num_iterations}: {used} used", (iteration + 1) / num_iterations)
    return centroids


def _where_double_is(features: Tensor) -> Tensor:
    """The features on a device that has float64: Apple's GPUs have none."""
    return features.cpu() if features.device.type == "mps" else features


def fit_clusters(
    features: Tensor, config: ClusterConfig, seed: int, noise: Tensor | None = None
) -> Generator[Progress, None, ClusterModel]:
    """Fit a whitening, L2 normalisation and k-means on features (N, D) (PAPER 2.2 steps 3 and 4).

    ``noise`` (D, D): what the discriminant projection whitens. Raises InputError when there are fewer features than
    clusters, when they are all alike or not finite, and when bits cost so much that one label is left.
    """
    if not torch.isfinite(features).all():
        raise InputError(f"some of the {len(features)} features are NaN or infinite, expected numbers; is the network sound?")
    if len(features) < config.num_clusters:
        raise InputError(f"{len(features)} features for {config.num_clusters} clusters, expected at least one a cluster")
    features = _where_double_is(features)
    yield Progress("Whitening", 0.0)
    A, b = _whitening(features, config, noise)
    points = torch.nn.functional.normalize(features.float() @ A + b, dim=1)
    centroids = initial_centroids(points, config.num_clusters, config.init, seed)
    centroids = yield from kmeans(points, centroids, config.num_iterations, seed)
    if config.bit_cost:
        centroids = yield from entropy_constrained(points, centroids, config.bit_cost, config.num_iterations)
        labels = assign(torch.nn.functional.pad(points, (0, 1)), centroids)[0]
        if config.num_clusters > 1 and (labels == labels[0]).all():
            raise InputError(f"clusters.bit_cost is {config.bit_cost:g}: at this price one label takes all features; lower it")
        A, b = torch.nn.functional.pad(A, (0, 1)), torch.nn.functional.pad(b, (0, 1))
    return ClusterModel(A.cpu().numpy(), b.cpu().numpy(), centroids.cpu().numpy())


def _whitening(features: Tensor, config: ClusterConfig, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    if config.projection == "pca":
        return pca_whitening(features, config.max_dims)
    if noise is None:
        raise InputError("clusters.projection is 'discriminant', which needs correspondences between conditions; found none")
    return discriminant_whitening(features, _where_double_is(noise), config.max_dims)
