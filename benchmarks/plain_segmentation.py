"""Dense segmentation as PAPER 1.3 words it, one crop at a time in f32: the yardstick of the engine's answers and speed.

Shares no code with the engine; holds labels x height x width f32 in memory, so only for few labels.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

MEAN_RGB = np.float32([123.68, 116.779, 103.939])


def plain_segmentation(network: nn.Module, image: NDArray[np.uint8], short_side: int = 1024, crop: int = 713):
    """Label an RGB image (H, W, 3) u8 with a PSPNet in eval mode; returns labels and confidence (H, W)."""
    height, width = image.shape[:2]
    scale_to = (
        (short_side, int(short_side * width / height)) if height <= width else (int(short_side * height / width), short_side)
    )
    seen = triangle_resize(image, *scale_to)
    tops, lefts = plain_starts(seen.shape[0], crop), plain_starts(seen.shape[1], crop)
    weights = plain_weights(crop)
    padded = np.zeros((max(seen.shape[0], crop), max(seen.shape[1], crop), 3), np.uint8)
    padded[: seen.shape[0], : seen.shape[1]] = seen
    total, total_weight = None, np.zeros(padded.shape[:2], np.float32)
    for top in tops:
        for left in lefts:
            logits = _crop_logits(network, padded[top : top + crop, left : left + crop])
            total = np.zeros((len(logits), *padded.shape[:2]), np.float32) if total is None else total
            total[:, top : top + crop, left : left + crop] += weights * logits
            total_weight[top : top + crop, left : left + crop] += weights
    blended = (total / total_weight)[:, : seen.shape[0], : seen.shape[1]]
    labels = blended.argmax(0).astype(np.uint16)
    confidence = 1 / np.exp(blended - blended.max(0)).sum(0)
    rows = np.floor((np.arange(height) + 0.5) * seen.shape[0] / height).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * seen.shape[1] / width).astype(int)
    return labels[np.ix_(rows, columns)], confidence[np.ix_(rows, columns)]


def plain_starts(length: int, crop: int) -> list[int]:
    if length <= crop:
        return [0]
    count = ceil((length - crop) / ceil(crop * 2 / 3)) + 1
    stride = (length - crop) / (count - 1)
    return [int(index * stride) for index in range(count - 1)] + [length - crop]


def plain_weights(crop: int) -> NDArray[np.float32]:
    ramp = round(crop * (1 - 2 / 3))
    weights = np.ones((crop, crop), np.float32)
    for k in range(ramp):
        weights[:, k] *= (k + 1) / ramp
        weights[:, -(k + 1)] *= (k + 1) / ramp
        weights[k, :] *= (k + 1) / ramp
        weights[-(k + 1), :] *= (k + 1) / ramp
    return weights


def _crop_logits(network: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    bgr = (pixels.astype(np.float32) - MEAN_RGB)[..., ::-1]
    with torch.no_grad():
        logits = network(torch.from_numpy(bgr.transpose(2, 0, 1).copy())[None]).logits
        return F.interpolate(logits, pixels.shape[:2], mode="bilinear", align_corners=True)[0].numpy()


def triangle_resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) u8 as Pillow's BILINEAR: a triangle filter, wider when it shrinks; columns first, rounded between."""
    across = _triangle_matrix(image.shape[1], width)
    down = _triangle_matrix(image.shape[0], height)
    wide = np.floor(np.einsum("xs,ysc->yxc", across, image.astype(np.float64), optimize=True) + 0.5)
    return np.floor(np.einsum("ys,sxc->yxc", down, wide, optimize=True) + 0.5).clip(0, 255).astype(np.uint8)


def _triangle_matrix(source: int, target: int) -> NDArray[np.float64]:
    scale = source / target
    reach = max(1.0, scale)
    centres = (np.arange(target) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(source) + 0.5 - centres[:, None]) / reach)
    return weights / weights.sum(1, keepdims=True)
