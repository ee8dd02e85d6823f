"""Overlapping crops of an image, and the blending of their logits (PAPER 1.3).

A crop's weight is the product of a ramp along x and one along y, and upsampling is linear along x and along y. So the
blended logits of one label are ``rows @ logits @ columns.T``, with the crops' small logit maps laid side by side.
Any rectangle of them can be computed alone: nothing of the image's size times the number of labels ever exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.engine.weights import Preprocessing
from core.geometry import Array

TILE_BYTES = 4 << 20  # of blended f32 logits: what a processor's cache holds
MIN_CELLS = 9  # along a crop: mirrored padding needs more cells than it adds


@dataclass(frozen=True, slots=True)
class Axis:
    """Crops along one axis of the resized image: ``length``, ``crop`` and ``starts`` in px, ``cells`` features a crop."""

    length: int
    crop: int
    starts: tuple[int, ...]
    cells: int

    @property
    def padded(self) -> int:
        """Length after padding, px: what the last crop reaches."""
        return max(self.length, self.starts[-1] + self.crop)


def resized_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Size (h, w) px at which the network sees an image: short side fixed, long side int(short * long / short).

    Beyond ``max_long_side`` both shrink, so that a very long image costs no more than a long one.
    """
    short, long = preprocessing.short_side, preprocessing.short_side * max(height, width) // min(height, width)
    if long > preprocessing.max_long_side:
        short, long = max(1, short * preprocessing.max_long_side // long), preprocessing.max_long_side
    return (short, long) if height <= width else (long, short)


def crop_axis(length: int, preprocessing: Preprocessing) -> Axis:
    """Place crops evenly, at most ``max_stride`` px apart; the last one ends at the end."""
    crop, stride = preprocessing.crop, preprocessing.output_stride
    if length <= crop:
        whole = (max(MIN_CELLS, ceil((length - 1) / stride) + 1) - 1) * stride + 1
        side = crop if preprocessing.fit == "pad" else min(crop, whole)
        return Axis(length, side, (0,), ceil(side / stride))
    count = ceil((length - crop) / preprocessing.max_stride) + 1
    step = (length - crop) / (count - 1)
    starts = (*(int(index * step) for index in range(count - 1)), length - crop)
    return Axis(length, crop, starts, ceil(crop / stride))


def crop_weights(crop: int, ramp: int) -> Array:
    """Weights (crop,) f64 along one axis: rising by 1/ramp a pixel from both edges."""
    weights = np.ones(crop)
    rise = np.arange(1, min(ramp, crop) + 1) / ramp
    weights[: len(rise)] *= rise
    weights[-len(rise) :] *= rise[::-1]
    return weights


def blend_matrix(axis: Axis, positions: Array, ramp: int) -> Array:
    """Weights (N, crops * cells) f32 that make blended logits at ``positions`` (N,) px from the crops' cells.

    Bilinear with aligned corners: the first cell lies on a crop's first pixel, the last one on its last. Rows sum to 1.
    """
    matrix = np.zeros((len(positions), len(axis.starts), axis.cells))
    weights = crop_weights(axis.crop, ramp)
    for index, start in enumerate(axis.starts):
        rows = np.flatnonzero((positions >= start) & (positions < start + axis.crop))
        offset = positions[rows] - start
        place = offset * ((axis.cells - 1) / max(1, axis.crop - 1))
        cell = np.minimum(place.astype(np.int64), max(0, axis.cells - 2))
        share = place - cell
        matrix[rows, index, cell] += weights[offset] * (1 - share)
        matrix[rows, index, np.minimum(cell + 1, axis.cells - 1)] += weights[offset] * share
    matrix = matrix.reshape(len(positions), -1)
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


def smoothed(logits: Tensor, deviation: float) -> Tensor:
    """Filter logits (N, K, h, w) by a Gaussian of ``deviation`` cells, cut at three of them; the border cells go on outside."""
    reach = ceil(3 * deviation)
    if not reach:
        return logits
    taps = torch.arange(-reach, reach + 1, device=logits.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (taps / deviation) ** 2)
    weights /= weights.sum()
    count, labels, height, width = logits.shape
    planes = F.pad(logits.float().reshape(count * labels, 1, height, width), [reach] * 4, mode="replicate")
    across = F.conv2d(planes, weights.view(1, 1, 1, -1))
    return F.conv2d(across, weights.view(1, 1, -1, 1)).reshape(logits.shape)


def nearest_positions(source: int, target: int) -> tuple[Array, Array]:
    """Find which of ``source`` pixels a nearest-neighbour resize to ``target`` takes: the distinct ones, and their use.

    Returns positions (N,) i64 and, for each target pixel, an index into them.
    """
    taken = (2 * np.arange(target) + 1) * source // (2 * target)
    return np.unique(taken, return_inverse=True)


def classify_tiles(logits: Tensor, rows: Array, columns: Array) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Blend ``logits`` (crops_y * cells, K, crops_x * cells) f32 tile by tile and classify every pixel.

    ``rows``, ``columns`` come from ``blend_matrix``. Yields where (slices), labels i64 and confidence f32, the largest
    softmax probability of the blended logits.
    """
    num_labels = logits.shape[1]
    tile_bytes = TILE_BYTES if logits.device.type == "cpu" else 32 * TILE_BYTES
    side = max(8, int((tile_bytes / 4 / num_labels) ** 0.5))
    for band in _spans(len(rows), side):
        row_cells, row_weights = _used(rows[band], logits)
        band_logits = logits.index_select(0, row_cells)
        for span in _spans(len(columns), side):
            column_cells, column_weights = _used(columns[span], logits)
            across = band_logits.index_select(2, column_cells) @ column_weights.T
            blended = (row_weights @ across.flatten(1)).view(len(row_weights), num_labels, -1)
            best, labels = blended.max(dim=1)
            confidence = blended.sub_(best[:, None]).exp_().sum(dim=1).reciprocal_()
            yield band, span, labels, confidence


def _spans(length: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]


def _used(weights: Array, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cells that any of the pixels uses, and the weights of those cells only, on the logits' device."""
    cells = np.flatnonzero(weights.any(axis=0))
    return torch.from_numpy(cells).to(logits.device), torch.from_numpy(weights[:, cells]).to(logits.device)
