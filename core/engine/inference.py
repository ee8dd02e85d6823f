"""A trained network made ready to run: BatchNorm folded into the convolutions, memory layout and number format."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.device import ComputeConfig
from core.engine.network import ConvBN, NetworkOutput, OriginalBase, OriginalBottleneck, PSPNet


class InferenceNetwork(nn.Module):
    """Logits (N, K, h, w) f32 of a network. Exact: the network itself. Fast: in the device's number format, where it counts
    less; of a PSPNet ``FastNetwork``.
    """

    def __init__(self, network: nn.Module, compute: ComputeConfig) -> None:
        super().__init__()
        self.compute = compute
        fast = compute.precision == "fast"
        self.network = FastNetwork(fold_batchnorm(network), compute.dtype) if fast and isinstance(network, PSPNet) else network
        self.network.eval().to(compute.device)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.network, PSPNet | FastNetwork):
            return self.network(x).logits
        with torch.autocast(self.compute.device, self.compute.dtype, enabled=self.compute.dtype != torch.float32):
            return self.network(x).logits


class FastNetwork(nn.Module):
    """A network with BatchNorm folded, in ``dtype`` and channels-last; the last layers add up in f32, near ties need it."""

    def __init__(self, folded: PSPNet, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.base = folded.fcn.to(dtype=dtype, memory_format=torch.channels_last)
        self.head = PyramidHead(folded).to(dtype=dtype, memory_format=torch.channels_last)
        self.conv6 = folded.conv6 if folded.config.head_dims else nn.Sequential(nn.ReLU(), folded.conv6)

    def forward(self, x: Tensor) -> NetworkOutput:
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        features = self.head(self.base(x)[1])
        return NetworkOutput(features, self.conv6(features))


class PyramidHead(nn.Module):
    """``conv5_4(ppm(x))`` without its largest part: convolving the upsampled pyramid, half of the inputs of conv5_4.

    Upsampling and convolution are linear, so each pyramid cell goes through the nine taps first, and the few results
    are then spread over the image: out = A_y Q A_x^T, where A holds the bilinear weights at each of the three shifts.
    """

    def __init__(self, folded: PSPNet) -> None:
        super().__init__()
        conv = folded.final["conv5_4"].conv
        self.padding = folded.config.padding
        self.stages = folded.ppm.stages
        widths = [stage.conv.conv.out_channels for stage in self.stages]
        direct, *parts = conv.weight.detach().split([conv.in_channels - sum(widths), *widths], dim=1)
        self.direct = nn.Conv2d(direct.shape[1], len(direct), 3, padding=1, padding_mode=self.padding)
        self.direct.weight = nn.Parameter(direct.clone(), requires_grad=False)
        self.direct.bias = conv.bias
        taps = (part.permute(2, 3, 1, 0).contiguous() for part in parts)
        self.taps = nn.ParameterList(nn.Parameter(tap, requires_grad=False) for tap in taps)  # (3, 3, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D, h, w) f32."""
        features = self.direct(x).float()
        for stage, taps in zip(self.stages, self.taps, strict=True):
            features += self._spread(stage.pooled(x), taps, x.shape[-2], x.shape[-1])
        return features

    def _spread(self, cells: Tensor, taps: Tensor, height: int, width: int) -> Tensor:
        size = 3 * cells.shape[-1]
        reached = torch.einsum("ncij,yxcd->nyixjd", cells, taps).float().reshape(len(cells), size, -1)
        rows, columns = (shifted_upsampling(length, size // 3, self.padding).to(cells.device) for length in (height, width))
        bands = (rows @ reached).view(len(cells), height, size, -1)
        return (columns @ bands).permute(0, 3, 1, 2)


def shifted_upsampling(length: int, cells: int, padding: str) -> Tensor:
    """Weights (length, 3 * cells) f32: aligned bilinear upsampling seen from each pixel's left, own and right place."""
    place = torch.arange(length, dtype=torch.float64) * ((cells - 1) / max(1, length - 1))
    upsampling = torch.clamp(1 - (place[:, None] - torch.arange(cells)).abs(), min=0)
    mode = {"zeros": "constant"}.get(padding, padding)
    padded = F.pad(upsampling.T[None], (1, 1), mode=mode)[0].T
    return torch.cat([padded[shift : shift + length] for shift in range(3)], dim=1).float()


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
