"""Supervised pre-training: classes, what worlds know of surfaces, and which points are the same under two conditions.

From random weights to features worth clustering.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.augmentation import (
    AugmentationConfig,
    cell_positions,
    change_appearance,
    crop_image,
    crop_labels,
    random_crop_matrix,
)
from core.engine.contrast import common_points, contrast_loss, paired_crop_matrices
from core.engine.dataset import TrainingSet, View
from core.engine.losses import IGNORE, segmentation_loss
from core.engine.network import NetworkOutput, PSPNet
from core.engine.optimization import OptimizationConfig, StepRecord, optimise, step_seed
from core.engine.segmenter import normalise
from core.engine.surfaces import SURFACE_BINS, SURFACE_NAMES, UNKNOWN, surface_targets
from core.engine.weights import Preprocessing
from core.errors import InputError
from core.geometry import Array
from core.records import setting


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """AdamW, for weights that start at random; a crop side of 8 n + 1 px puts the label cells onto whole pixels."""

    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(crop=225))
    upsample: int = setting(2, minimum=1, help="bilinear upsampling of the logits before the loss")
    surface_weight: float = setting(0.0, minimum=0, help="weight of what worlds know of surfaces beside their classes; 0: off")
    surface_names: tuple[str, ...] = setting(
        SURFACE_NAMES, help="what is learnt of surfaces; size and facing change when the camera moves"
    )
    contrast_weight: float = setting(
        0.0,
        minimum=0,
        help="weight of telling the points of a view apart by features that hold between its conditions; crops then come in "
        "pairs; 0: off",
    )
    temperature: float = setting(0.1, minimum=1e-3, help="of the contrast: cosines are divided by it")

    def __post_init__(self) -> None:
        unknown = set(self.surface_names) - set(SURFACE_NAMES)
        if unknown:
            raise InputError(f"surface_names has {sorted(unknown)}, expected some of {', '.join(SURFACE_NAMES)}")


class ClassBatch(NamedTuple):
    """``images`` (N, 3, S, S) f32 in [0, 1], ``classes`` (N, S, S) i64, void 255, ``surfaces`` (N, h, w, 4) i64 or None,
    ``points`` (N / 2, 2, M, 2) f32 px of points that crops 2 i and 2 i + 1 both show, NO_POINT where there are fewer, or None.
    """

    images: Tensor
    classes: Tensor
    surfaces: Tensor | None
    points: Tensor | None = None

    def to(self, device: torch.device) -> ClassBatch:
        return ClassBatch(*(None if part is None else part.to(device) for part in self))


class JointNetwork(nn.Module):
    """A network with what is learnt beside the classes and then thrown away: a classifier for the surface targets of
    ``core.engine.surfaces``, side by side, and a linear map to the vectors that tell points apart.
    """

    def __init__(self, network: PSPNet) -> None:
        super().__init__()
        width = network.config.feature_width
        self.network = network
        self.surface_head = nn.Conv2d(width, sum(SURFACE_BINS), 1)
        self.point_head = nn.Conv2d(width, max(2, width // 2), 1)

    def forward_train(self, x: Tensor) -> NetworkOutput:
        return self.network.forward_train(x)

    def surfaces(self, features: Tensor) -> Tensor:
        """Surface logits (N, sum of SURFACE_BINS, h, w)."""
        return self.surface_head(F.relu(self.network.dropout(features)))


def pretrain(
    network: PSPNet,
    data: TrainingSet,
    preprocessing: Preprocessing,
    config: PretrainingConfig,
    seed: int,
    snapshot: Path | None = None,
) -> Generator[StepRecord, None, PSPNet]:
    """Train ``network`` in place on the classes of ``data``; every yield can cancel, ``snapshot`` lets it go on.

    With ``surface_weight`` the features also learn the surfaces of worlds, with ``contrast_weight`` to be alike at one
    point under two conditions and unlike elsewhere in the view; what is learnt for these two alone is thrown away. The
    same seed and settings give the same network on the same machine.
    """
    network.to(memory_format=torch.channels_last)
    device = next(network.parameters()).device
    trained: nn.Module = network
    if config.surface_weight or config.contrast_weight:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trained = JointNetwork(network).to(device)

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        batch = class_batch(data, config, network.config.output_stride, step_seed(seed, step)).to(device)
        output = network.forward_train(normalised(batch.images, preprocessing))
        parts = {"class": segmentation_loss(output.logits, output.aux_logits, batch.classes, config.upsample)}
        if config.surface_weight:
            logits = trained.surfaces(output.features)
            parts["surface"] = config.surface_weight * surface_loss(logits, batch.surfaces, config.surface_names)
        if config.contrast_weight:
            vectors = trained.point_head(output.features)
            contrast = contrast_loss(vectors, batch.points, config.augmentation.crop, config.temperature)
            parts["contrast"] = config.contrast_weight * contrast
        return sum(parts.values()), {name: float(part.detach()) for name, part in parts.items()}

    yield from optimise(trained, loss_of_step, config.optimization, seed, snapshot)
    return finished(network)


def surface_loss(logits: Tensor, targets: Tensor | None, names: Sequence[str] = SURFACE_NAMES) -> Tensor:
    """Sum over the ``names`` of surface targets of the mean CE where they are known; 0 without targets.

    ``logits`` (N, sum of SURFACE_BINS, h, w), ``targets`` (N, h, w, 4) i64, UNKNOWN where there is none.
    """
    if targets is None:
        return logits.sum() * 0.0
    losses = []
    for name, part, wanted in zip(SURFACE_NAMES, logits.float().split(SURFACE_BINS, dim=1), targets.unbind(-1), strict=True):
        if name in names:
            known = (wanted != UNKNOWN).sum().clamp(min=1)
            losses.append(F.cross_entropy(part, wanted, ignore_index=UNKNOWN, reduction="sum") / known)
    return torch.stack(losses).sum()


class _Crop(NamedTuple):
    """What is cut: one condition of a view; ``matrix`` (2, 3) from its px to those of the crop."""

    view: View
    condition: int
    matrix: Array


def class_batch(data: TrainingSet, config: PretrainingConfig, stride: int, seed: int) -> ClassBatch:
    """Draw crops, changed in appearance, of random images and conditions, with their classes and surfaces.

    With ``contrast_weight`` two neighbours are of one view, its reference and another condition, around a common point.
    """
    random = np.random.default_rng(seed)
    side = config.augmentation.crop
    if config.contrast_weight:
        pairs = [_draw_pair(data, config, random) for _ in range(config.optimization.batch_size // 2)]
        crops = [crop for pair, _ in pairs for crop in pair]
        points = torch.from_numpy(np.stack([found for _, found in pairs]))
    else:
        crops = [_draw_crop(data, config, random) for _ in range(config.optimization.batch_size)]
        points = None
    images, classes, surfaces = [], [], []
    for view, condition, matrix in crops:
        image = view.images[condition]
        images.append(crop_image(image, matrix, side))
        classes.append(crop_labels(view.classes[condition], matrix, side, IGNORE))
        if config.surface_weight and view.surfaces is not None:
            surfaces.append(crop_surfaces(view.surfaces[condition], image.shape[:2], matrix, side, -(-side // stride)))
    changed = change_appearance(as_batch(images), config.augmentation.strength, torch.Generator().manual_seed(seed))
    known = torch.from_numpy(np.stack(surfaces)) if len(surfaces) == len(images) else None
    return ClassBatch(changed, torch.from_numpy(np.stack(classes)).long(), known, points)


def _draw_crop(data: TrainingSet, config: PretrainingConfig, random: np.random.Generator) -> _Crop:
    view = data.view(int(random.integers(len(data))))
    condition = int(random.integers(len(view.conditions)))
    size = view.images[condition].shape[:2]
    return _Crop(view, condition, random_crop_matrix(size, config.augmentation, random, None))


def _draw_pair(
    data: TrainingSet, config: PretrainingConfig, random: np.random.Generator
) -> tuple[tuple[_Crop, _Crop], NDArray[np.float32]]:
    """Crops of a view's reference and of another condition, and the points (2, M, 2) that both show."""
    view = data.view(int(random.integers(len(data))))
    if len(view.conditions) < 2:
        raise InputError(f"{view.name} has one condition only, expected at least two to tell points apart across conditions")
    other = int(random.integers(1, len(view.conditions)))
    matches = view.correspondences[other - 1]
    ends = (matches.points_ref, matches.points_other)
    sizes = [view.images[condition].shape[:2] for condition in (0, other)]
    matrices = paired_crop_matrices(sizes, ends, config.augmentation, random)
    crops = (_Crop(view, 0, matrices[0]), _Crop(view, other, matrices[1]))
    return crops, common_points(ends, matrices, config.augmentation.crop, random)


def crop_surfaces(codes: Array, size: tuple[int, int], matrix: Array, side: int, cells: int) -> Array:
    """Surface targets (cells, cells, 4) i64 at the cells of a crop of ``side`` px; UNKNOWN outside the image.

    ``codes`` (H/2, W/2, 4) u8 are of every second pixel of an image of ``size`` (H, W).
    """
    places = cell_positions(matrix, side, cells)
    inside = (places >= 0).all(1) & (places <= [size[1] - 1, size[0] - 1]).all(1)
    column, row = np.clip(np.round(places / 2).astype(int), 0, [codes.shape[1] - 1, codes.shape[0] - 1]).T
    determinant = float(np.linalg.det(matrix[:, :2]))
    targets = surface_targets(codes[row, column], abs(determinant) ** 0.5, determinant < 0)
    return np.where(inside[:, None], targets, UNKNOWN).reshape(cells, cells, -1)


def as_batch(images: list[np.ndarray]) -> Tensor:
    """Stack RGB images (H, W, 3) u8 to (N, 3, H, W) f32 in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the network takes of RGB images (N, 3, H, W) f32 in [0, 1]; channels last in memory."""
    return normalise(images * 255, preprocessing).contiguous(memory_format=torch.channels_last)


def finished(network: nn.Module) -> nn.Module:
    """The network in eval mode, its weights in the plain memory layout that files want."""
    return network.eval().to(memory_format=torch.contiguous_format)
