"""Supervised pre-training: classes and what worlds know of surfaces, from random weights to features worth clustering."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
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
from core.engine.dataset import TrainingSet
from core.engine.losses import IGNORE, segmentation_loss
from core.engine.network import NetworkOutput, PSPNet
from core.engine.optimization import OptimizationConfig, StepRecord, optimise, step_seed
from core.engine.segmenter import normalise
from core.engine.surfaces import SURFACE_BINS, UNKNOWN, surface_targets
from core.engine.weights import Preprocessing
from core.geometry import Array
from core.records import setting


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """AdamW, for weights that start at random; a crop side of 8 n + 1 px puts the label cells onto whole pixels."""

    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(crop=225))
    upsample: int = setting(2, minimum=1, help="bilinear upsampling of the logits before the loss")
    surface_weight: float = setting(
        0.0, minimum=0, help="weight of material, height, size and facing beside the classes, where worlds know them; 0: off"
    )


class ClassBatch(NamedTuple):
    """``images`` (N, 3, S, S) f32 in [0, 1], ``classes`` (N, S, S) i64, void 255, ``surfaces`` (N, h, w, 4) i64 or None."""

    images: Tensor
    classes: Tensor
    surfaces: Tensor | None

    def to(self, device: torch.device) -> ClassBatch:
        return ClassBatch(*(None if part is None else part.to(device) for part in self))


class SurfaceNetwork(nn.Module):
    """A network with one more classifier, for the four surface targets of ``core.engine.surfaces``, side by side."""

    def __init__(self, network: PSPNet) -> None:
        super().__init__()
        self.network = network
        self.surface_head = nn.Conv2d(network.config.feature_width, sum(SURFACE_BINS), 1)

    def forward_train(self, x: Tensor) -> tuple[NetworkOutput, Tensor]:
        """The network's output and surface logits (N, sum of SURFACE_BINS, h, w)."""
        output = self.network.forward_train(x)
        return output, self.surface_head(F.relu(self.network.dropout(output.features)))


def pretrain(
    network: PSPNet,
    data: TrainingSet,
    preprocessing: Preprocessing,
    config: PretrainingConfig,
    seed: int,
    snapshot: Path | None = None,
) -> Generator[StepRecord, None, PSPNet]:
    """Train ``network`` in place on the classes of ``data``; every yield can cancel, ``snapshot`` lets it go on.

    With ``surface_weight`` the features also learn the surfaces of worlds; the classifier for them is thrown away. The
    same seed and settings give the same network on the same machine.
    """
    network.to(memory_format=torch.channels_last)
    device = next(network.parameters()).device
    if not config.surface_weight:

        def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
            batch = class_batch(data, config, network.config.output_stride, step_seed(seed, step)).to(device)
            output = network.forward_train(normalised(batch.images, preprocessing))
            loss = segmentation_loss(output.logits, output.aux_logits, batch.classes, config.upsample)
            return loss, {"class": float(loss.detach())}

        yield from optimise(network, loss_of_step, config.optimization, seed, snapshot)
        return finished(network)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        joint = SurfaceNetwork(network).to(device)

    def joint_loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        batch = class_batch(data, config, network.config.output_stride, step_seed(seed, step)).to(device)
        output, surface_logits = joint.forward_train(normalised(batch.images, preprocessing))
        loss = segmentation_loss(output.logits, output.aux_logits, batch.classes, config.upsample)
        surface = surface_loss(surface_logits, batch.surfaces)
        parts = {"class": float(loss.detach()), "surface": float(surface.detach())}
        return loss + config.surface_weight * surface, parts

    yield from optimise(joint, joint_loss_of_step, config.optimization, seed, snapshot)
    return finished(network)


def surface_loss(logits: Tensor, targets: Tensor | None) -> Tensor:
    """Sum over the four surface targets of the mean CE where they are known; 0 without targets.

    ``logits`` (N, sum of SURFACE_BINS, h, w), ``targets`` (N, h, w, 4) i64, UNKNOWN where there is none.
    """
    if targets is None:
        return logits.sum() * 0.0
    losses = []
    for number, part in enumerate(logits.float().split(SURFACE_BINS, dim=1)):
        wanted = targets[..., number]
        known = (wanted != UNKNOWN).sum().clamp(min=1)
        losses.append(F.cross_entropy(part, wanted, ignore_index=UNKNOWN, reduction="sum") / known)
    return torch.stack(losses).sum()


def class_batch(data: TrainingSet, config: PretrainingConfig, stride: int, seed: int) -> ClassBatch:
    """Draw crops, changed in appearance, of random images and conditions, with their classes and surfaces."""
    random = np.random.default_rng(seed)
    side = config.augmentation.crop
    images, classes, surfaces = [], [], []
    for _ in range(config.optimization.batch_size):
        view = data.view(int(random.integers(len(data))))
        condition = int(random.integers(len(view.conditions)))
        image, annotation = view.images[condition], view.classes[condition]
        matrix = random_crop_matrix(image.shape[:2], config.augmentation, random, None)
        images.append(crop_image(image, matrix, side))
        classes.append(crop_labels(annotation, matrix, side, IGNORE))
        if config.surface_weight and view.surfaces is not None:
            surfaces.append(crop_surfaces(view.surfaces[condition], image.shape[:2], matrix, side, -(-side // stride)))
    changed = change_appearance(as_batch(images), config.augmentation.strength, torch.Generator().manual_seed(seed))
    known = torch.from_numpy(np.stack(surfaces)) if len(surfaces) == len(images) else None
    return ClassBatch(changed, torch.from_numpy(np.stack(classes)).long(), known)


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
