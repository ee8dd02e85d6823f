"""Supervised pre-training: the classes of rendered worlds, from random weights to a network worth clustering."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.engine.augmentation import AugmentationConfig, change_appearance, crop_image, crop_labels, random_crop_matrix
from core.engine.dataset import TrainingSet
from core.engine.losses import IGNORE, segmentation_loss
from core.engine.network import PSPNet
from core.engine.optimization import OptimizationConfig, StepRecord, optimise, step_seed
from core.engine.segmenter import normalise
from core.engine.weights import Preprocessing
from core.records import setting


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """AdamW, for weights that start at random; a crop side of 8 n + 1 px puts the label cells onto whole pixels."""

    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(crop=225))
    upsample: int = setting(2, minimum=1, help="bilinear upsampling of the logits before the loss")


def pretrain(
    network: PSPNet,
    data: TrainingSet,
    preprocessing: Preprocessing,
    config: PretrainingConfig,
    seed: int,
    snapshot: Path | None = None,
) -> Generator[StepRecord, None, PSPNet]:
    """Train ``network`` in place on the classes of ``data``; every yield can cancel, ``snapshot`` lets it go on.

    The same seed and settings give the same network on the same machine.
    """
    network.to(memory_format=torch.channels_last)

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        images, classes = class_batch(data, config, step_seed(seed, step))
        output = network.forward_train(normalised(images, preprocessing))
        loss = segmentation_loss(output.logits, output.aux_logits, classes, config.upsample)
        return loss, {"class": float(loss.detach())}

    yield from optimise(network, loss_of_step, config.optimization, seed, snapshot)
    return finished(network)


def class_batch(data: TrainingSet, config: PretrainingConfig, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images (N, 3, S, S) f32 in [0, 1], changed in appearance, and their classes (N, S, S) i64, void 255."""
    random = np.random.default_rng(seed)
    side = config.augmentation.crop
    images, classes = [], []
    for _ in range(config.optimization.batch_size):
        view = data.view(int(random.integers(len(data))))
        condition = int(random.integers(len(view.conditions)))
        matrix = random_crop_matrix(view.classes.shape[1:], config.augmentation, random, None)
        images.append(crop_image(view.images[condition], matrix, side))
        classes.append(crop_labels(view.classes[condition], matrix, side, IGNORE))
    batch = change_appearance(as_batch(images), config.augmentation.strength, torch.Generator().manual_seed(seed))
    return batch, torch.from_numpy(np.stack(classes)).long()


def as_batch(images: list[np.ndarray]) -> Tensor:
    """Stack RGB images (H, W, 3) u8 to (N, 3, H, W) f32 in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the network takes of RGB images (N, 3, H, W) f32 in [0, 1]; channels last in memory."""
    return normalise(images * 255, preprocessing).contiguous(memory_format=torch.channels_last)


def finished(network: nn.Module) -> nn.Module:
    """The network in eval mode, its weights in the plain memory layout that files want."""
    return network.eval().to(memory_format=torch.contiguous_format)
