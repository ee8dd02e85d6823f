"""What the frozen copy of a network says of reference images: features for clustering, labels to learn (PAPER 2.2, 2.3)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.engine.clustering import ClusterModel
from core.engine.dataset import PairData, View
from core.engine.fgsn_config import FGSNConfig
from core.engine.losses import cells_of_points
from core.engine.network import PSPNet
from core.engine.optimization import PRECISIONS
from core.engine.pair_batches import DrawnPair, PlacedTargets, TargetMap, crop_pixels
from core.engine.pretraining import as_batch, normalised
from core.engine.season_data import first_indices
from core.engine.segmenter import plan_crops, prepare_pixels
from core.engine.tiling import Axis, blend_matrix
from core.engine.weights import Preprocessing
from core.geometry import Array
from core.images import resize_image
from core.records import Progress


@dataclass(frozen=True, slots=True, eq=False)
class FrozenNetwork:
    """A network in eval mode that no longer changes, with what its input must look like. ``precision`` as in training."""

    network: PSPNet
    preprocessing: Preprocessing
    precision: str = "fp32"

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D, h, w) f32 before the ReLU, of RGB images (N, 3, H, W) f32 in [0, 1]."""
        device = next(self.network.parameters()).device
        batch = normalised(images.to(device), self.preprocessing)
        dtype = PRECISIONS[self.precision]
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return self.network(batch).features.float()

    def image_features(self, image: Array, scale: float = 0.0) -> Tensor:
        """Features (D, h, w) f32 of a whole image (H, W, 3) u8; the outer cells lie on its outer pixels.

        ``scale`` 0: resized and cut into crops as for segmentation, the crops' features blended (PAPER 1.3). Otherwise
        enlarged by it, to a multiple of the output stride plus 1, in one piece.
        """
        if scale == 0:
            return self._blended_features(image)
        stride = self.network.config.output_stride
        height, width = (max(1, round((side * scale - 1) / stride)) * stride + 1 for side in image.shape[:2])
        return self.features(as_batch([resize_image(image, width, height)]))[0]

    def _blended_features(self, image: Array) -> Tensor:
        plan = plan_crops(*image.shape[:2], self.preprocessing)
        pixels = prepare_pixels(image, plan, self.preprocessing)
        y, x = plan.y, plan.x
        rows = []
        for top in y.starts:
            crops = [pixels[:, top : top + y.crop, left : left + x.crop].float()[None] / 255 for left in x.starts]
            rows.append(torch.cat([self.features(crop)[0] for crop in crops], dim=2))
        across = torch.cat(rows, dim=1)  # (D, crops_y * cells, crops_x * cells)
        weights = [torch.from_numpy(self._blending(axis)).to(across.device) for axis in (y, x)]
        return weights[0] @ across @ weights[1].T

    def _blending(self, axis: Axis) -> Array:
        cells = max(1, round((axis.length - 1) / self.network.config.output_stride)) + 1
        positions = np.round(np.linspace(0, axis.length - 1, cells)).astype(np.int64)
        return blend_matrix(axis, positions, self.preprocessing.ramp)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFeatures:
    """``rows`` (N, D) to cluster; ``noise`` (D, D) f64, how features of one point vary between conditions, where asked for."""

    rows: Tensor
    noise: Tensor | None


def reference_features(
    frozen: FrozenNetwork, data: PairData, config: FGSNConfig, seed: int
) -> Generator[Progress, None, ReferenceFeatures]:
    """Collect features of the reference images, half at correspondences, half at random cells (PAPER 2.2 step 2).

    With ``pool_conditions`` the features at correspondences are means over the conditions that show the point. The noise
    is measured for the discriminant projection only.
    """
    views = sorted(set(first_indices(data)))
    limit = config.max_reference_images or len(views)
    indices = [views[k] for k in np.unique(np.linspace(0, len(views) - 1, min(limit, len(views))).astype(int))]
    discriminant = config.clusters.projection == "discriminant"
    rows, noise = [], NoiseSum()
    for done, index in enumerate(indices):
        view = data.view(index)
        count = len(view.images) if config.pool_conditions or discriminant else 1
        maps = [frozen.image_features(np.asarray(view.images[i]), config.label_scale) for i in range(count)]
        random = np.random.default_rng([seed, index])
        rows.append(sample_features(maps if config.pool_conditions else maps[:1], view, config.max_features_per_image, random))
        noise.add(*(_differences(maps, view, config.max_features_per_image, random) if discriminant else ()))
        yield Progress(f"features of reference image {done + 1} of {len(indices)}", (done + 1) / len(indices))
    return ReferenceFeatures(torch.cat(rows), noise.covariance())


class NoiseSum:
    """Covariance of one feature around what it has in common with the same point's under another condition."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, *differences: Tensor) -> None:
        """Take note of differences (M, D) between the two features of corresponding points."""
        for rows in differences:
            squares = rows.double().T @ rows.double()
            self._sum = squares if self._sum is None else self._sum + squares
            self._count += len(rows)

    def covariance(self) -> Tensor | None:
        """E[d d^T] / 2 (D, D) f64, half because both features vary; None when there were no differences."""
        return self._sum / (2 * self._count) if self._count else None


def _differences(maps: list[Tensor], view: View, max_features: int, random: np.random.Generator) -> list[Tensor]:
    """Reference minus other features (M, D) at up to ``max_features`` matches of each pair."""
    found = []
    for number, matches in enumerate(view.correspondences):
        chosen = random.permutation(len(matches.points_ref))[:max_features]
        ends = (maps[0], view.images[0], matches.points_ref), (maps[number + 1], view.images[number + 1], matches.points_other)
        here, there = (_features_at(features, image.shape[:2], points[chosen]) for features, image, points in ends)
        found.append(here - there)
    return found


def _features_at(features: Tensor, size: tuple[int, int], points: Array) -> Tensor:
    cells = _flat_cells(points, size, features.shape[1:])
    return features.reshape(len(features), -1)[:, cells.to(features.device)].T


def sample_features(maps: list[Tensor], view: View, max_features: int, random: np.random.Generator) -> Tensor:
    """Sample a view's features (2 P, D): P = min(max_features / 2, unique cells with a correspondence) there, P at random.

    ``maps`` (D, h, w): of the reference image, and, to average over conditions, of all others. Where the view names the
    ``positions`` of features, those count instead of its correspondences.
    """
    dims, height, width = maps[0].shape
    pooled = _pooled(maps, view).reshape(dims, -1)
    points = [view.positions] if view.positions is not None else [matches.points_ref for matches in view.correspondences]
    seen = [_flat_cells(some, view.images[0].shape[:2], (height, width)) for some in points]
    matched = torch.cat(seen).unique().numpy() if seen else np.zeros(0, np.int64)
    count = min(max_features // 2, len(matched))
    chosen = random.choice(matched, count, replace=False) if count else matched
    # A view without correspondences gives random cells alone.
    anywhere = random.choice(height * width, min(height * width, count or max_features // 2), replace=False)
    return pooled[:, torch.from_numpy(np.concatenate([chosen, anywhere])).to(pooled.device)].T


def _pooled(maps: list[Tensor], view: View) -> Tensor:
    """Means (D, h, w) over the reference and what the other images show at the same points."""
    dims, height, width = maps[0].shape
    sums, counts = maps[0].reshape(dims, -1).clone(), torch.ones(height * width, device=maps[0].device)
    for number, other in enumerate(maps[1:]):
        matches, image = view.correspondences[number], view.images[number + 1]
        here = _flat_cells(matches.points_ref, view.images[0].shape[:2], (height, width)).to(sums.device)
        there = _flat_cells(matches.points_other, image.shape[:2], other.shape[1:]).to(sums.device)
        sums.index_add_(1, here, other.reshape(dims, -1)[:, there])
        counts.index_add_(0, here, torch.ones(len(here), device=sums.device))
    return (sums / counts).reshape(dims, height, width)


def _flat_cells(points: Array, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    places = cells_of_points(torch.tensor(points), size, cells)
    return places[:, 1] * cells[1] + places[:, 0]


def target_map(features: Tensor, clusters: ClusterModel, config: FGSNConfig) -> TargetMap:
    """What cells of a feature map (D, h, w) are to be called: their nearest centroid, or shares of the nearest few."""
    dims, height, width = features.shape
    rows = features.permute(1, 2, 0).reshape(-1, dims)
    if config.soft_targets == "none":
        labels, shares = clusters.assign(rows)[:, None], torch.ones(len(rows), 1)
    else:
        labels, shares = clusters.nearest(rows, config.num_targets, config.temperature)
    labels, shares = labels.cpu().numpy().astype(np.uint16), shares.cpu().numpy().astype(np.float16)
    return TargetMap(labels.reshape(height, width, -1), shares.reshape(height, width, -1))


class Targets(Protocol):
    """Where the labels of drawn pairs come from."""

    def place(self, pairs: Sequence[DrawnPair]) -> list[PlacedTargets]: ...


@dataclass(frozen=True, slots=True, eq=False)
class ImageTargets:
    """Labels of whole reference images, made once for a clustering: crops then cost nothing."""

    maps: Sequence[TargetMap]

    def place(self, pairs: Sequence[DrawnPair]) -> list[PlacedTargets]:
        return [PlacedTargets(self.maps[pair.index], pair.image(0).shape[:2]) for pair in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class CropTargets:
    """Labels of every reference crop from the frozen copy, as in the paper."""

    frozen: FrozenNetwork
    clusters: ClusterModel
    config: FGSNConfig

    def place(self, pairs: Sequence[DrawnPair]) -> list[PlacedTargets]:
        crop, fit = self.config.augmentation.crop, self.frozen.preprocessing.fit
        images = [crop_pixels(pair.image(0), pair.matrices[0], crop, fit) for pair in pairs]
        maps = [target_map(features, self.clusters, self.config) for features in self.frozen.features(as_batch(images))]
        return [PlacedTargets(targets, (crop, crop), pair.matrices[0]) for targets, pair in zip(maps, pairs, strict=True)]


def make_targets(
    frozen: FrozenNetwork, clusters: ClusterModel, data: PairData, config: FGSNConfig
) -> Generator[Progress, None, Targets]:
    """Get ready to label reference crops: by labelling every whole reference image first, or crop by crop later."""
    if config.labels == "crop":
        return CropTargets(frozen, clusters, config)
    first = first_indices(data)
    maps = {}
    for done, index in enumerate(indices := sorted(set(first))):
        features = frozen.image_features(np.asarray(data.view(index).images[0]), config.label_scale)
        maps[index] = target_map(features, clusters, config)
        yield Progress(f"labels of reference image {done + 1} of {len(indices)}", (done + 1) / len(indices))
    return ImageTargets([maps[index] for index in first])
