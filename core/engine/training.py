"""Self-supervised training of cluster labels (PAPER 2): cluster, label the reference images, train, again if wanted.

The label of a match is always that of the reference image, given by a frozen copy of the network; the copy is of one
clustering, so its labels are computed once, for whole reference images, and cropped together with them.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.engine.augmentation import (
    AugmentationConfig,
    cell_positions,
    change_appearance,
    crop_image,
    move_points,
    random_crop_matrix,
)
from core.engine.clustering import ClusterConfig, ClusterModel, fit_clusters
from core.engine.dataset import TrainingSet, View
from core.engine.losses import (
    UNLABELLED,
    MatchCells,
    cells_of_points,
    class_loss,
    correspondence_loss,
    reference_turns,
    usage_entropy,
    with_auxiliary,
)
from core.engine.network import NetworkOutput, PSPNet
from core.engine.optimization import OptimizationConfig, StepRecord, optimise, step_seed
from core.engine.pretraining import as_batch, finished, normalised
from core.engine.weights import Preprocessing
from core.errors import InputError
from core.geometry import Array
from core.images import resize_image
from core.records import Progress, setting


def _default_optimization() -> OptimizationConfig:
    return OptimizationConfig(learning_rate=3e-4, head_factor=10.0, head_iterations=400)


@dataclass(frozen=True, kw_only=True)
class FGSNConfig:
    """Defaults follow the paper where it says anything; what differs is for a small network from rendered images.

    AdamW at 3e-4 and a fresh head at ten times that at first (the paper: SGD at 2.5e-5 for 60,000 steps of a finished
    Cityscapes network); changed appearance (the paper: none, on photographs); BatchNorm in training mode.
    """

    optimization: OptimizationConfig = field(default_factory=_default_optimization)
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(crop=225, flip=False, min_scale=0.8))
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    max_reference_images: int = setting(0, minimum=0, help="reference images whose features are clustered; 0: all")
    max_features_per_image: int = setting(500, minimum=2, help="features of a reference image that are clustered")
    pool_conditions: bool = setting(False, help="cluster features averaged over the conditions at corresponding points")
    recluster_every: int = setting(0, minimum=0, help="steps between clusterings; 0: cluster once (the paper's best run)")
    label_scale: float = setting(1.5, minimum=0.25, help="reference images are enlarged this much to be labelled")
    correspondence_weight: float = setting(1.0, minimum=0, help="weight of L_corr; 0 is the control without it")
    class_weight: float = setting(1.0, minimum=0, help="weight of L_class")
    reference_fraction: float | None = setting(
        0.5, minimum=0, maximum=1, help="share of turns of the reference; None: both sides"
    )
    entropy_weight: float = setting(0.0, minimum=0, help="reward for even use of the clusters")


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClusters:
    """The network with K labels and the clustering that its last labels came from."""

    network: PSPNet
    clusters: ClusterModel


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """Crops of one step: ``images`` (N, 3, S, S); ``is_reference`` (N,) bool; dense cluster ``labels`` (N, h, w) i64,
    UNLABELLED on the other images; ``cells``: matches on all of them.
    """

    images: Tensor
    is_reference: Tensor
    labels: Tensor
    cells: MatchCells
    num_pairs: int


def train_clusters(
    network: PSPNet,
    data: TrainingSet,
    preprocessing: Preprocessing,
    config: FGSNConfig,
    seed: int,
    work: Path | None = None,
) -> Generator[Progress | StepRecord, None, TrainedClusters]:
    """Train a copy of ``network`` to predict cluster labels that hold across conditions (PAPER 2.2, 2.3).

    With ``work`` the clusterings and snapshots are kept there, and the same call goes on where it stopped.
    """
    total = config.optimization.iterations
    interval = config.recluster_every or total
    for number, start in enumerate(range(0, total, interval)):
        frozen = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)
        clusters = yield from _clusters_of_round(
            frozen, data, preprocessing, config, seed + number, _inside(work, number, "clusters")
        )
        labels = yield from reference_labels(frozen, clusters, data, preprocessing, config)
        network = with_fresh_heads(frozen, clusters.num_clusters, seed + number)
        network.to(memory_format=torch.channels_last)

        def loss_of_step(step: int, network: PSPNet = network, labels: list[Array] = labels) -> tuple[Tensor, dict[str, float]]:
            batch = pair_batch(data, labels, config, network.config.output_stride, step_seed(seed, step))
            return fgsn_loss(network.forward_train(normalised(batch.images, preprocessing)), batch, config)

        span = (start, min(total, start + interval))
        yield from optimise(network, loss_of_step, config.optimization, seed, _inside(work, number, "snapshot"), span)
    return TrainedClusters(finished(network), clusters)


def _inside(work: Path | None, number: int, what: str) -> Path | None:
    suffix = {"clusters": "safetensors", "snapshot": "pt"}[what]
    return None if work is None else Path(work) / f"{what}_{number}.{suffix}"


def _clusters_of_round(
    network: PSPNet, data: TrainingSet, preprocessing: Preprocessing, config: FGSNConfig, seed: int, path: Path | None
) -> Generator[Progress, None, ClusterModel]:
    if path is not None and path.is_file():
        return ClusterModel.load(path)
    features = yield from reference_features(network, data, preprocessing, config, seed)
    clusters = yield from fit_clusters(features, config.clusters, seed)
    if path is not None:
        clusters.save(path)
    return clusters


def with_fresh_heads(network: PSPNet, num_labels: int, seed: int) -> PSPNet:
    """A copy of the network whose classifiers are new: weights N(0, 0.01), biases 0 (PAPER 2.2 step 6)."""
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.reset_heads(num_labels)
    return fresh


def image_features(
    network: PSPNet, image: Array, preprocessing: Preprocessing, scale: float, precision: str = "fp32"
) -> Tensor:
    """Features (D, h, w) f32 before the ReLU of a whole image (H, W, 3) u8, enlarged by ``scale`` first.

    The size is rounded to a multiple of the output stride plus 1, where the outer cells lie on the outer pixels.
    """
    stride = network.config.output_stride
    height, width = (max(1, round((side * scale - 1) / stride)) * stride + 1 for side in image.shape[:2])
    batch = normalised(as_batch([resize_image(np.asarray(image), width, height)]), preprocessing)
    with torch.inference_mode(), torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return network(batch).features[0].float()


def reference_features(
    network: PSPNet, data: TrainingSet, preprocessing: Preprocessing, config: FGSNConfig, seed: int
) -> Generator[Progress, None, Tensor]:
    """Collect features (N, D) of all reference images, half at correspondences, half at random cells (PAPER 2.2 step 2).

    With ``pool_conditions`` the features at correspondences are means over the conditions that show the point.
    """
    limit = config.max_reference_images or len(data)
    indices = np.unique(np.linspace(0, len(data) - 1, min(limit, len(data))).astype(int))
    precision = config.optimization.precision
    collected = []
    for done, index in enumerate(indices):
        view = data.view(int(index))
        images = view.images if config.pool_conditions else view.images[:1]
        maps = [image_features(network, image, preprocessing, config.label_scale, precision) for image in images]
        random = np.random.default_rng([seed, int(index)])
        collected.append(sample_features(maps, view, config.max_features_per_image, random))
        yield Progress(f"features of reference image {done + 1} of {len(indices)}", (done + 1) / len(indices))
    return torch.cat(collected)


def sample_features(maps: list[Tensor], view: View, max_features: int, random: np.random.Generator) -> Tensor:
    """Sample a view's features (2 P, D): P = min(max_features / 2, unique cells with a correspondence) there, P at random.

    ``maps`` (D, h, w): of the reference image, and, to average over conditions, of all others.
    """
    dims, height, width = maps[0].shape
    size = view.images.shape[1:3]
    sums = maps[0].reshape(dims, -1).clone()
    counts = torch.ones(height * width)
    for other, points in zip(maps[1:], view.correspondences, strict=len(maps) > 1):
        here, there = (
            _flat_cells(p, view.images.shape[1:3], (height, width)) for p in (points.points_ref, points.points_other)
        )
        sums.index_add_(1, here, other.reshape(dims, -1)[:, there])
        counts.index_add_(0, here, torch.ones(len(here)))
    pooled = sums / counts
    seen = [_flat_cells(points.points_ref, size, (height, width)) for points in view.correspondences]
    matched = torch.cat(seen).unique().numpy() if seen else np.zeros(0, np.int64)
    count = min(max_features // 2, len(matched))
    chosen = random.choice(matched, count, replace=False) if count else matched
    # A view without correspondences gives random cells alone.
    anywhere = random.choice(height * width, min(height * width, count or max_features // 2), replace=False)
    return pooled[:, torch.from_numpy(np.concatenate([chosen, anywhere]))].T


def _flat_cells(points: Array, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    places = cells_of_points(torch.tensor(points), size, cells)
    return places[:, 1] * cells[1] + places[:, 0]


def reference_labels(
    network: PSPNet, clusters: ClusterModel, data: TrainingSet, preprocessing: Preprocessing, config: FGSNConfig
) -> Generator[Progress, None, list[Array]]:
    """Label every reference image by its features' nearest centroids: one (h, w) u16 map a view."""
    labels = []
    for index in range(len(data)):
        image = data.view(index).images[0]
        features = image_features(network, image, preprocessing, config.label_scale, config.optimization.precision)
        labels.append(clusters.assign_map(features[None])[0].numpy().astype(np.uint16))
        yield Progress(f"labels of reference image {index + 1} of {len(data)}", (index + 1) / len(data))
    return labels


def labels_at(labels: Array, points: Array, size: tuple[int, int]) -> Array:
    """Labels (N,) i64 at px points (N, 2) of the image of ``size``, from its label map (h, w); UNLABELLED outside."""
    cells = cells_of_points(torch.from_numpy(np.asarray(points, np.float64)), size, labels.shape).numpy()
    inside = (points >= -0.5).all(1) & (points[:, 0] <= size[1] - 0.5) & (points[:, 1] <= size[0] - 0.5)
    return np.where(inside, labels[cells[:, 1], cells[:, 0]].astype(np.int64), UNLABELLED)


def pair_batch(data: TrainingSet, labels: list[Array], config: FGSNConfig, stride: int, seed: int) -> PairBatch:
    """Draw the pairs of one step and crop the images whose turn it is, around a random correspondence.

    ``batch_size`` counts images: with alternating turns a pair gives one image, otherwise two.
    """
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    both = config.reference_fraction is None
    num_pairs = max(1, config.optimization.batch_size // (2 if both else 1))
    reference, other = reference_turns(num_pairs, config.reference_fraction, generator)
    items, roles = [], []
    for pair in range(num_pairs):
        index = int(random.integers(len(data)))
        view = data.view(index)
        if not view.correspondences:
            raise InputError(f"{view.name} has one condition only, expected at least two to train across conditions")
        target = int(random.integers(1, len(view.conditions)))
        for is_reference in [True] * bool(reference[pair]) + [False] * bool(other[pair]):
            items.append(_crop_of_turn(view, labels[index], target, is_reference, config.augmentation, stride, random))
            roles.append(is_reference)
    images = change_appearance(as_batch([item[0] for item in items]), config.augmentation.strength, generator)
    dense = torch.from_numpy(np.stack([item[1] for item in items]))
    rows = np.concatenate([np.hstack([np.full((len(item[2]), 1), i), item[2]]) for i, item in enumerate(items)])
    cells = MatchCells(*torch.from_numpy(rows.astype(np.int64)).unbind(1))
    return PairBatch(images, torch.tensor(roles), dense, cells, num_pairs)


def _crop_of_turn(
    view: View,
    label_map: Array,
    target: int,
    is_reference: bool,
    config: AugmentationConfig,
    stride: int,
    random: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """One crop: image, dense labels (h, w) i64, and its matches (M, 3) i64 as y, x, label."""
    matches = view.correspondences[target - 1]
    points = matches.points_ref if is_reference else matches.points_other
    image = view.images[0 if is_reference else target]
    size = image.shape[:2]
    anchor = points[random.integers(len(points))] if len(points) else None
    matrix = random_crop_matrix(size, config, random, anchor)
    side = -(-config.crop // stride)
    dense = np.full((side, side), UNLABELLED, np.int64)
    if is_reference:
        dense = labels_at(label_map, cell_positions(matrix, config.crop, side), size).reshape(side, side)
    moved = move_points(points, matrix)
    inside = ((moved >= 0) & (moved <= config.crop - 1)).all(1)
    cells = cells_of_points(torch.from_numpy(moved[inside]), config.crop, (side, side)).numpy()
    label = labels_at(label_map, matches.points_ref[inside], size)
    return crop_image(image, matrix, config.crop), dense, np.column_stack([cells[:, ::-1], label])[label != UNLABELLED]


def fgsn_loss(output: NetworkOutput, batch: PairBatch, config: FGSNConfig) -> tuple[Tensor, dict[str, float]]:
    """L = L_corr + L_class, each main + 0.4 auxiliary, as means over the pairs of the batch (PAPER 2.3).

    A pair's reference part counts where its reference has the turn, its other part where the other image has.
    """
    aux = output.aux_logits
    reference_share = int(batch.is_reference.sum()) / batch.num_pairs
    other_share = int((~batch.is_reference).sum()) / batch.num_pairs
    dense = with_auxiliary(class_loss(output.logits, batch.labels), None if aux is None else class_loss(aux, batch.labels))
    parts = {"class": config.class_weight * reference_share * dense}
    from_reference = batch.is_reference[batch.cells.image]
    for name, chosen, share in (("corr_ref", from_reference, reference_share), ("corr_other", ~from_reference, other_share)):
        cells = replace(batch.cells, **{part: getattr(batch.cells, part)[chosen] for part in ("image", "y", "x", "label")})
        term = with_auxiliary(
            correspondence_loss(output.logits, cells), None if aux is None else correspondence_loss(aux, cells)
        )
        parts[name] = config.correspondence_weight * share * term
    if config.entropy_weight:
        parts["entropy"] = -config.entropy_weight * usage_entropy(output.logits)
    return sum(parts.values()), {name: float(part.detach()) for name, part in parts.items()}
