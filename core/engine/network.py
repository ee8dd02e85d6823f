"""PSPNet: the full network of the official checkpoints, and the same code narrower and shallower."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4
BASES = ("caffe", "torchvision", "patch")
PADDINGS = ("zeros", "reflect", "replicate")


_SHAPE = {
    "stem": (3, 1, 65535),
    "blocks": (4, 1, 500),
    "widths": (4, 1, 65535),
    "strides": (4, 1, 8),
    "dilations": (4, 1, 64),
    "pyramids": (64, 1, 256),
    "pyramid_width": (1, 1, 65535),
    "feature_width": (1, 1, 65535),
    "aux_width": (1, 0, 65535),
    "head_dims": (1, 0, 65535),
}
"""How many numbers a part of the shape has at most, and from where to where they go: files say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PSPNetConfig:
    """Shape of a network; the defaults are the official PSPNet-101.

    ``base``: "caffe" (three 3x3 convolutions, then pooling), "torchvision" (7x7, then pooling; stride on the 1x1
    convolution as in Caffe) or "patch" (one 7x7 convolution of stride 4, then a 3x3: cheap). ``stem``: its channels.
    ``widths``: inner channels of the four stages, whose output has four times as many. ``aux_width`` 0: no auxiliary head.
    ``head_dims`` 0: a linear classifier after the ReLU; else the nearest centroid in that many dimensions.
    """

    num_labels: int
    base: str = "caffe"
    stem: tuple[int, ...] = (64, 64, 128)
    blocks: tuple[int, ...] = (3, 4, 23, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    pyramids: tuple[int, ...] = (6, 3, 2, 1)
    pyramid_width: int = 512
    feature_width: int = 512
    aux_width: int = 256
    padding: str = "zeros"
    dropout: float = 0.1
    bn_momentum: float = 0.95
    head_dims: int = 0

    def __post_init__(self) -> None:
        if self.base not in BASES or self.padding not in PADDINGS:
            raise ValueError(f"base {self.base!r}, padding {self.padding!r}; expected one of {BASES} and one of {PADDINGS}")
        if not 1 <= self.num_labels <= 65535:
            raise ValueError(f"num_labels {self.num_labels}, expected 1 to 65535")
        for name, (length, low, high) in _SHAPE.items():
            values = getattr(self, name)
            given = values if isinstance(values, tuple) else (values,)
            fits = all(type(value) is int and low <= value <= high for value in given)
            lengths = (length,) if length == 4 else range(1, length + 1)  # four stages, and no more or less
            if not fits or isinstance(values, tuple) != (length > 1) or len(given) not in lengths:
                raise ValueError(f"{name} is {values!r}, expected whole numbers from {low} to {high}, at most {length}")

    @property
    def output_stride(self) -> int:
        """Pixels between two neighbouring features."""
        return 4 * prod(self.strides)


def official_config(num_labels: int, base: str = "caffe") -> PSPNetConfig:
    """Shape of the official PSPNet-101 checkpoints (PAPER 1.1); ``base`` "caffe" or "torchvision"."""
    return PSPNetConfig(num_labels=num_labels, base=base, stem=(64, 64, 128) if base == "caffe" else (64,))


def small_config(num_labels: int) -> PSPNetConfig:
    """Shape of the shipped networks: about 3 M parameters, output stride 8, no strip along the image border."""
    return PSPNetConfig(
        num_labels=num_labels,
        base="patch",
        stem=(48, 64),
        blocks=(2, 3, 6, 2),
        widths=(32, 64, 96, 128),
        pyramid_width=64,
        feature_width=128,
        aux_width=64,
        padding="reflect",
        bn_momentum=0.1,
    )


class NetworkOutput(NamedTuple):
    """``features`` (N, D, h, w) before the ReLU: what is clustered; ``logits`` (N, K, h, w).

    h = ceil(H / output stride). The auxiliary pair comes from ``forward_train`` only.
    """

    features: Tensor
    logits: Tensor
    aux_features: Tensor | None = None
    aux_logits: Tensor | None = None


class ConvBN(nn.Module):
    """Convolution without bias, then BatchNorm; the padding keeps the size (at stride 1)."""

    def __init__(self, config: PSPNetConfig, inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _conv(config, inputs, outputs, size, stride, dilation)
        self.bn = nn.BatchNorm2d(outputs, momentum=config.bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.bn.training:
            return self._frozen(x)
        return self.bn(self.conv(x))

    def _frozen(self, x: Tensor) -> Tensor:
        """The same with fixed statistics, in training: a convolution with scaled weights, much cheaper to go back through."""
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        shift = self.bn.bias - self.bn.running_mean * scale
        return self.conv._conv_forward(x, self.conv.weight * scale[:, None, None, None], shift)


class ConvBNReLU(ConvBN):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x), inplace=True)


def _conv(config: PSPNetConfig, inputs: int, outputs: int, size: int, stride: int, dilation: int) -> nn.Conv2d:
    padding = dilation * (size // 2)
    mode = config.padding if padding else "zeros"
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False, padding_mode=mode)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class Bottleneck(nn.Module):
    """Residual block, Caffe names: the stride sits on the first 1x1 convolution."""

    def __init__(self, config: PSPNetConfig, inputs: int, width: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.reduce = ConvBNReLU(config, inputs, width, 1, stride)
        self.conv3x3 = ConvBNReLU(config, width, width, 3, 1, dilation)
        self.increase = ConvBN(config, width, outputs, 1)
        self.proj = ConvBN(config, inputs, outputs, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        residual = self.increase(self.conv3x3(self.reduce(x)))
        shortcut = x if self.proj is None else self.proj(x)
        return F.relu(residual.add_(shortcut), inplace=True)


class OriginalBottleneck(nn.Module):
    """Residual block, torchvision names; unlike torchvision's the stride sits on the first 1x1 convolution."""

    def __init__(self, config: PSPNetConfig, inputs: int, width: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        outputs, momentum = width * EXPANSION, config.bn_momentum
        self.conv1 = _conv(config, inputs, width, 1, stride, 1)
        self.bn1 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv2 = _conv(config, width, width, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width, momentum=momentum)
        self.conv3 = _conv(config, width, outputs, 1, 1, 1)
        self.bn3 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.downsample = None
        if project:
            projection = _conv(config, inputs, outputs, 1, stride, 1)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs, momentum=momentum))

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(residual.add_(shortcut), inplace=True)


def _stages(config: PSPNetConfig, block: type[nn.Module], name: str) -> list[nn.Sequential]:
    """Make the four residual stages; their blocks are called ``name`` + number, from 1 (or from 0 without a name)."""
    stages, inputs = [], config.stem[-1]
    for count, width, stride, dilation in zip(config.blocks, config.widths, config.strides, config.dilations, strict=True):
        blocks = OrderedDict()
        for index in range(count):
            first = index == 0
            blocks[f"{name}{index + bool(name)}"] = block(config, inputs, width, stride if first else 1, dilation, first)
            inputs = width * EXPANSION
        stages.append(nn.Sequential(blocks))
    return stages


class CaffeBase(nn.Module):
    """ResNet with ``layer1`` as the stem; returns the last two stages."""

    def __init__(self, config: PSPNetConfig) -> None:
        super().__init__()
        self.layer1 = _patch_stem(config) if config.base == "patch" else _caffe_stem(config)
        self.layer2, self.layer3, self.layer4, self.layer5 = _stages(config, Bottleneck, "block")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fourth = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return fourth, self.layer5(fourth)


def _caffe_stem(config: PSPNetConfig) -> nn.Sequential:
    first, second, third = config.stem
    return nn.Sequential(
        OrderedDict(
            conv1=ConvBNReLU(config, 3, first, 3, stride=2),
            conv2=ConvBNReLU(config, first, second, 3),
            conv3=ConvBNReLU(config, second, third, 3),
            pool=nn.MaxPool2d(3, 2, 1),
        )
    )


def _patch_stem(config: PSPNetConfig) -> nn.Sequential:
    first, second = config.stem
    return nn.Sequential(
        OrderedDict(conv1=ConvBNReLU(config, 3, first, 7, stride=4), conv2=ConvBNReLU(config, first, second, 3))
    )


class OriginalBase(nn.Module):
    """ResNet as torchvision names it; returns the last two stages."""

    def __init__(self, config: PSPNetConfig) -> None:
        super().__init__()
        self.conv1 = _conv(config, 3, config.stem[-1], 7, 2, 1)
        self.bn1 = nn.BatchNorm2d(config.stem[-1], momentum=config.bn_momentum)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(config, OriginalBottleneck, "")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


def average_pool(x: Tensor, cells: int) -> Tensor:
    """Average (N, C, H, W) over ``cells`` x ``cells`` nearly equal parts."""
    if x.device.type != "mps":
        return F.adaptive_avg_pool2d(x, cells)
    rows, columns = (averaging_matrix(length, cells).to(x) for length in x.shape[-2:])  # Metal lacks sizes that do not divide
    return rows @ x @ columns.T


def averaging_matrix(length: int, cells: int) -> Tensor:
    """Weights (cells, length) of adaptive average pooling along one axis."""
    matrix = torch.zeros(cells, length)
    for cell in range(cells):
        start, stop = cell * length // cells, -((cell + 1) * length // -cells)
        matrix[cell, start:stop] = 1 / (stop - start)
    return matrix


class PyramidStage(nn.Module):
    """Average pooling to ``cells`` x ``cells``, 1x1 convolution, bilinear back to the input's size."""

    def __init__(self, config: PSPNetConfig, inputs: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.conv = ConvBNReLU(config, inputs, config.pyramid_width, 1)

    def pooled(self, x: Tensor) -> Tensor:
        return self.conv(average_pool(x, self.cells))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.pooled(x), x.shape[-2:], mode="bilinear", align_corners=True)


class PyramidPooling(nn.Module):
    """The input and every pyramid stage, side by side."""

    def __init__(self, config: PSPNetConfig, inputs: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(PyramidStage(config, inputs, cells) for cells in config.pyramids)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(stage(x) for stage in self.stages)], dim=1)


class CentroidClassifier(nn.Module):
    """Logits by distance to centroids: y = x / |x| of the whitened features, logit_k = sharpness (1 - |y - c_k|^2) (PAPER 2.2).

    The rule that makes the cluster labels, as layers that can go on learning. Features come without a ReLU.
    """

    def __init__(self, inputs: int, dims: int, num_labels: int) -> None:
        super().__init__()
        self.whiten = _classifier(inputs, dims)
        self.nearest = _classifier(dims, num_labels)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # whitening takes differences of large numbers
            whitened = self.whiten(features.float())
        return self.nearest(F.normalize(whitened, dim=1))

    @torch.no_grad()
    def start_at(self, A: Tensor, b: Tensor, centroids: Tensor, sharpness: float) -> None:
        """Become the rule y = x @ A + b, nearest centroid: ``A`` (D, d), ``b`` (d,), ``centroids`` (K, d)."""
        self.whiten.weight.copy_(A.T[:, :, None, None])
        self.whiten.bias.copy_(b)
        self.nearest.weight.copy_(2 * sharpness * centroids[:, :, None, None])
        self.nearest.bias.copy_(-sharpness * centroids.square().sum(1))


class PSPNet(nn.Module):
    """Pixels (N, 3, H, W), normalised as the network's Preprocessing says, to features and logits (PAPER 1.1)."""

    def __init__(self, config: PSPNetConfig) -> None:
        super().__init__()
        self.config = config
        *_, fourth, fifth = (width * EXPANSION for width in config.widths)
        joined = fifth + len(config.pyramids) * config.pyramid_width
        self.fcn = OriginalBase(config) if config.base == "torchvision" else CaffeBase(config)
        self.ppm = PyramidPooling(config, fifth)
        self.final = nn.ModuleDict({"conv5_4": ConvBN(config, joined, config.feature_width, 3)})
        self.conv6 = _main_classifier(config)
        if config.aux_width:
            self.aux = nn.ModuleDict({"conv4_aux": ConvBN(config, fourth, config.aux_width, 3)})
            self.conv6_1 = _classifier(config.aux_width, config.num_labels)
        self.dropout = nn.Dropout2d(config.dropout)

    def forward(self, x: Tensor) -> NetworkOutput:
        """Compute features and logits at 1/output_stride of the input's size."""
        return self._head(self.fcn(x)[1])

    def forward_train(self, x: Tensor) -> NetworkOutput:
        """Compute the auxiliary features and logits too (None when the network has no auxiliary head)."""
        fourth, fifth = self.fcn(x)
        output = self._head(fifth)
        if not self.config.aux_width:
            return output
        aux_features = self.aux["conv4_aux"](fourth)
        return output._replace(aux_features=aux_features, aux_logits=self.conv6_1(F.relu(self.dropout(aux_features))))

    def _head(self, x: Tensor) -> NetworkOutput:
        features = self.final["conv5_4"](self.ppm(x))
        if self.config.head_dims:
            return NetworkOutput(features, self.conv6(features))
        return NetworkOutput(features, self.conv6(F.relu(self.dropout(features))))

    def reset_heads(self, num_labels: int, head_dims: int = 0) -> None:
        """Replace the classifiers by new ones for ``num_labels``: weights N(0, 0.01), biases 0 (PAPER 2.2)."""
        self.config = replace(self.config, num_labels=num_labels, head_dims=head_dims)
        device = next(self.conv6.parameters()).device
        self.conv6 = _main_classifier(self.config).to(device)
        if self.config.aux_width:
            self.conv6_1 = _classifier(self.config.aux_width, num_labels).to(device)


def _main_classifier(config: PSPNetConfig) -> nn.Module:
    if config.head_dims:
        return CentroidClassifier(config.feature_width, config.head_dims, config.num_labels)
    return _classifier(config.feature_width, config.num_labels)


def _classifier(inputs: int, num_labels: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, num_labels, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
