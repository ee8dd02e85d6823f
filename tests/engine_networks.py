"""Random networks whose answers vary over an image, and images for them."""

from __future__ import annotations

import os

import cv2
import numpy as np
import torch
from torch import nn

from core.engine.device import choose_device
from core.engine.network import PSPNet, PSPNetConfig, official_config
from core.engine.segmenter import Segmenter, normalise
from core.engine.weights import NetworkInfo, Preprocessing


def tiny_config(num_labels: int = 7, **changes) -> PSPNetConfig:
    """A PSPNet with every part of the official one, a few thousand times cheaper."""
    shape = {"stem": (4, 4, 8), "blocks": (2, 1, 2, 1), "widths": (4, 4, 8, 8)}
    return PSPNetConfig(num_labels=num_labels, pyramid_width=4, feature_width=16, aux_width=4, **(shape | changes))


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random blobs of colour with fine noise on them (H, W, 3) u8."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 255, (max(2, height // 30), max(2, width // 30), 3), dtype=np.uint8)
    blobs = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int64)
    return np.clip(blobs + random.integers(-12, 13, blobs.shape), 0, 255).astype(np.uint8)


def random_network(config: PSPNetConfig, preprocessing: Preprocessing | None = None, seed: int = 0, side: int = 321) -> PSPNet:
    """Initialise a network and fit its BatchNorm statistics and classifier, so that every label is somewhere the largest."""
    preprocessing = preprocessing or Preprocessing(output_stride=config.output_stride)
    torch.manual_seed(seed)
    network = PSPNet(config)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            if "increase" in name or "bn3" in name:
                nn.init.constant_(module.weight, 0.2)  # as in trained networks, a block adds little: else noise grows
    images = [photograph(side, side, seed + index) for index in range(3)]
    x = normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), preprocessing)
    with torch.no_grad():
        network.train()(x)
        network.eval()
        active = network(x).features.relu()
        network.conv6.bias.copy_(-(network.conv6.weight[..., 0, 0] @ active.mean((0, 2, 3))))
        network.conv6.weight.mul_(2 / network(x).logits.std())
        network.conv6.bias.copy_(-(network.conv6.weight[..., 0, 0] @ active.mean((0, 2, 3))))
    return network


def random_segmenter(config: PSPNetConfig, precision: str = "exact", preprocessing: Preprocessing | None = None, **keywords):
    """Build a Segmenter on the CPU over ``random_network``."""
    preprocessing = preprocessing or Preprocessing(output_stride=config.output_stride)
    network = random_network(config, preprocessing, **keywords)
    info = NetworkInfo(vocabulary="random", num_labels=config.num_labels, preprocessing=preprocessing, config=config)
    return Segmenter(network, info, choose_device("cpu", precision))


def official_state(num_labels: int = 11, base: str = "caffe") -> dict[str, torch.Tensor]:
    """All entries of a checkpoint, filled with zeros that share one element: right shapes, little memory."""
    with torch.device("meta"):
        state = PSPNet(official_config(num_labels, base)).state_dict()
    return {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}


class RunsCode:
    """A pickle that makes a folder when it is loaded carelessly."""

    def __init__(self, folder: object) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)
