"""A trained network made ready to run: BatchNorm folded into the convolutions, memory layout and number format."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.device import ComputeConfig
from core.engine.network import ConvBN, OriginalBase, OriginalBottleneck, PSPNet


class InferenceNetwork(nn.Module):
    """Logits (N, K, h, w) f32 of a PSPNet. Exact: the network itself. Fast: see ``fold_batchnorm`` and ``ComputeConfig``."""

    def __init__(self, network: PSPNet, compute: ComputeConfig) -> None:
        super().__init__()
        self.compute = compute
        fast = compute.precision == "fast"
        self.network = (fold_batchnorm(network) if fast else network).eval().to(compute.device)
        if fast:
            self.network.to(dtype=compute.dtype, memory_format=torch.channels_last)
            self.network.conv6.to(torch.float32)  # near ties between labels need every bit

    def forward(self, x: Tensor) -> Tensor:
        if self.compute.precision == "exact":
            return self.network(x).logits
        x = x.to(dtype=self.compute.dtype, memory_format=torch.channels_last)
        features = self.network.final["conv5_4"](self.network.ppm(self.network.fcn(x)[1]))
        return self.network.conv6(F.relu(features).float())


def fold_batchnorm(network: PSPNet) -> PSPNet:
    """Copy a network with every BatchNorm multiplied into the convolution before it; the outputs stay the same."""
    folded = deepcopy(network).eval()
    for module in folded.modules():
        for conv, bn in _pairs(module):
            _fold(module, conv, bn)
    return folded


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of (convolution, BatchNorm) inside one module."""
    if isinstance(module, ConvBN):
        return [("conv", "bn")]
    if isinstance(module, OriginalBottleneck):
        return [(f"conv{index}", f"bn{index}") for index in (1, 2, 3)]
    if isinstance(module, OriginalBase):
        return [("conv1", "bn1")]
    if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
        return [("0", "1")]
    return []


def _fold(module: nn.Module, conv_name: str, bn_name: str) -> None:
    conv, bn = getattr(module, conv_name), getattr(module, bn_name)
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).float(), requires_grad=False)
    conv.bias = nn.Parameter((bn.bias.double() - bn.running_mean.double() * scale).float(), requires_grad=False)
    setattr(module, bn_name, nn.Identity())
