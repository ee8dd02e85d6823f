"""Augmentation for networks that must leave the rendered world: strong changes of colour and texture, random crops.

Geometry works on single numpy images (exact matrices, so that correspondences follow); photometry works on batches of
torch images (N, 3, H, W) f32 in [0, 1]. Full strength matters more than the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.geometry import Array
from core.records import setting


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    crop: int = setting(256, unit="px", minimum=32, help="side of the square training crops")
    min_scale: float = setting(0.6, minimum=0.1, help="smallest random zoom of the image before the crop")
    max_scale: float = setting(2.0, minimum=0.1, help="largest random zoom of the image before the crop")
    max_aspect: float = setting(1.15, minimum=1.0, help="largest random stretch of width against height")
    max_rotation_deg: float = setting(4.0, unit="deg", minimum=0, maximum=45, help="largest random roll")
    flip: bool = setting(True, help="mirror half of the crops")
    strength: float = setting(1.0, minimum=0, maximum=2, help="scale of the photometric changes; 0 turns them off")


def random_crop_matrix(
    size: tuple[int, int], config: AugmentationConfig, random: np.random.Generator, anchor: Array | None
) -> Array:
    """A random affine map (2, 3) f64 from px of an image of ``size`` (H, W) to px of the crop.

    The crop shows ``anchor`` (2,) px near its middle, or a random part; it leaves the image only where that is smaller.
    """
    height, width = size
    zoom = float(np.exp(random.uniform(np.log(config.min_scale), np.log(config.max_scale))))
    stretch = float(np.exp(random.uniform(-1, 1) * np.log(config.max_aspect) / 2))
    angle = np.radians(random.uniform(-1, 1) * config.max_rotation_deg)
    mirror = -1.0 if config.flip and random.random() < 0.5 else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.diag([mirror * zoom * stretch, zoom / stretch])
    reach = (config.crop - 1) / 2 * np.abs(np.linalg.inv(linear)).sum(1)  # half extent of the crop in the image
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    slack = np.maximum(middle - reach, 0)
    if anchor is None:
        focus = middle + random.uniform(-1, 1, 2) * slack
    else:
        focus = np.clip(anchor + random.uniform(-0.5, 0.5, 2) * reach, middle - slack, middle + slack)
    offset = (config.crop - 1) / 2 - linear @ focus
    return np.hstack([linear, offset[:, None]])


def crop_image(image: Array, matrix: Array, side: int) -> Array:
    """Sample the crop (side, side, 3) u8; outside the image it mirrors, so that no crop has a black border."""
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def crop_labels(labels: Array, matrix: Array, side: int, outside: int) -> Array:
    """Sample labels (H, W) at the crop's pixels by nearest neighbour; ``outside`` where the image has none."""
    return cv2.warpAffine(
        labels, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
    )


def cell_positions(matrix: Array, crop: int, side: int) -> Array:
    """Where the centres of the crop's side x side cells lie in the image: (side * side, 2) px, row by row."""
    steps = np.linspace(0, crop - 1, side)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return (grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def move_points(points: Array, matrix: Array) -> Array:
    """Map px points (N, 2) by the affine matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def change_appearance(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change colour, texture and light of images (N, 3, H, W) f32 in [0, 1]; same shape and range.

    Random convolutions (Xu 2021), Fourier amplitude mixing (Yang 2020, Xu 2021), illumination fields, colour matrices,
    gamma, blur and noise, each on a random part of the batch.
    """
    if strength <= 0:
        return images
    with torch.autocast(images.device.type, enabled=False):  # colours need f32, whatever the network computes in
        for change, share in _CHANGES:
            chosen = torch.rand(len(images), generator=generator) < share
            if chosen.any():
                images = images.clone()
                images[chosen] = change(images[chosen], images, strength, generator).clamp(0, 1)
    return images


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator)


def _random_convolution(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Filter each image by its own random 3x3 or 1x1 kernels, keep its mean and spread, mix with the original."""
    count, channels, height, width = images.shape
    size = 3 if torch.rand(1, generator=generator) < 0.5 else 1
    kernels = torch.randn(count * channels, channels, size, size, generator=generator) / (channels * size**2) ** 0.5
    padded = F.pad(images, [size // 2] * 4, mode="reflect").reshape(1, count * channels, height + size - 1, width + size - 1)
    filtered = F.conv2d(padded, kernels, groups=count).reshape(images.shape)
    mean, spread = filtered.mean((2, 3), keepdim=True), filtered.std((2, 3), keepdim=True)
    target_mean = images.mean((2, 3), keepdim=True) + 0.15 * strength * torch.randn(count, channels, 1, 1, generator=generator)
    target_spread = images.std((2, 3), keepdim=True) * _uniform(generator, 0.7, 1.3, count, 1, 1, 1)
    filtered = (filtered - mean) / (spread + 1e-3) * target_spread + target_mean
    alpha = _uniform(generator, 0, min(1.0, strength), count, 1, 1, 1)
    return torch.lerp(images, filtered, alpha)


def _mix_amplitude(images: Tensor, batch: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Mix the Fourier amplitudes with those of other images of the batch; the phase, which holds the shapes, stays."""
    count = len(images)
    others = batch[torch.randint(len(batch), (count,), generator=generator)]
    spectrum = torch.fft.rfft2(images)
    alpha = _uniform(generator, 0, min(1.0, strength), count, 1, 1, 1)
    amplitude = spectrum.abs()
    mixed = torch.lerp(amplitude, torch.fft.rfft2(others).abs(), alpha)
    return torch.fft.irfft2(spectrum * (mixed / (amplitude + 1e-6)), s=images.shape[2:])


def _illuminate(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Multiply by a smooth coloured field, as shadows and lamps do."""
    count = len(images)
    size = int(torch.randint(2, 7, (1,), generator=generator))
    field = torch.randn(count, 1, size, size, generator=generator) + 0.25 * torch.randn(
        count, 3, size, size, generator=generator
    )
    field = F.interpolate(field, size=images.shape[2:], mode="bicubic", align_corners=True)
    return images * torch.exp(field * _uniform(generator, 0, 0.6 * strength, count, 1, 1, 1))


def _change_colours(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Multiply by a random colour matrix, then change saturation, contrast and brightness."""
    count = len(images)
    matrix = torch.eye(3) + 0.2 * strength * torch.randn(count, 3, 3, generator=generator)
    images = torch.einsum("nij,njhw->nihw", matrix, images)
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, _uniform(generator, max(0.0, 1 - strength), 1.4, count, 1, 1, 1))
    contrast = torch.exp(_uniform(generator, -0.5, 0.4, count, 1, 1, 1) * strength)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean + _uniform(generator, -0.2, 0.2, count, 1, 1, 1) * strength


def _gamma(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    exponent = torch.exp(_uniform(generator, -0.7, 0.7, len(images), 1, 1, 1) * strength)
    return images.clamp(1e-4, 1) ** exponent


def _blur(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    sigma = float(_uniform(generator, 0.4, 0.4 + 1.2 * strength, 1))
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    blurred = F.conv2d(F.pad(images, (3, 3, 0, 0), mode="reflect"), kernel, groups=3)
    return F.conv2d(F.pad(blurred, (0, 0, 3, 3), mode="reflect"), kernel.transpose(2, 3), groups=3)


def _add_noise(images: Tensor, _: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    level = _uniform(generator, 0, 0.08 * strength, len(images), 1, 1, 1)
    return images + level * torch.randn(images.shape, generator=generator)


_CHANGES = (
    (_mix_amplitude, 0.35),
    (_random_convolution, 0.4),
    (_illuminate, 0.5),
    (_change_colours, 0.8),
    (_gamma, 0.5),
    (_blur, 0.3),
    (_add_noise, 0.4),
)
