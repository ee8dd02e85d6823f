"""Telling the points of a view apart by features that hold between its conditions: a dense contrastive loss.

The paper's feature hinge pulls the features of matches together and pushes nothing apart (PAPER 2.3); its clusters are
then asked to be both fine and stable. Here a match must be found again among the other points of the same view (InfoNCE,
van den Oord 2018; dense, as Wang et al., CVPR 2021). Other views are no rivals: what tells two places apart says nothing of
where in the image one is. The two crops are zoomed and turned independently, so that neither the place in the image nor
the apparent size tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.engine.augmentation import AugmentationConfig, move_points, random_crop_matrix
from core.geometry import Array

NUM_POINTS = 96
NO_POINT = -1.0
NEAR_PX = 20.0  # points nearer than this are no rivals: cells are 8 px wide and see more than themselves


def paired_crop_matrices(
    sizes: Sequence[tuple[int, int]], ends: tuple[Array, Array], config: AugmentationConfig, random: np.random.Generator
) -> tuple[Array, Array]:
    """Crops (2, 3) of both images, of ``sizes`` (H, W), around one of their matches, both mirrored or neither.

    ``ends`` (N, 2) px of the matches in either image.
    """
    count = len(ends[0])
    anchor = int(random.integers(count)) if count else None
    upright = replace(config, flip=False)
    first, second = (
        random_crop_matrix(size, upright, random, None if anchor is None else points[anchor])
        for size, points in zip(sizes, ends, strict=True)
    )
    if config.flip and random.random() < 0.5:
        return mirrored(first, config.crop), mirrored(second, config.crop)
    return first, second


def mirrored(matrix: Array, side: int) -> Array:
    """The crop (2, 3) of ``side`` px with left and right exchanged."""
    return np.array([-matrix[0] + [0, 0, side - 1], matrix[1]])


def common_points(
    ends: tuple[Array, Array], matrices: tuple[Array, Array], side: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Up to NUM_POINTS matches that both crops show, in px of either crop: (2, NUM_POINTS, 2), NO_POINT for the rest."""
    moved = [move_points(points, matrix) for points, matrix in zip(ends, matrices, strict=True)]
    inside = np.logical_and.reduce([((points >= 0) & (points <= side - 1)).all(1) for points in moved])
    chosen = random.permutation(np.flatnonzero(inside))[:NUM_POINTS]
    found = np.full((2, NUM_POINTS, 2), NO_POINT, np.float32)
    found[:, : len(chosen)] = [points[chosen] for points in moved]
    return found


def contrast_loss(vectors: Tensor, points: Tensor, side: int, temperature: float) -> Tensor:
    """Mean CE of finding each point's match among the points of the other crop, both ways.

    ``vectors`` (2 P, D, h, w) of P pairs of crops of ``side`` px, ``points`` (P, 2, M, 2) px. The scores are cosines over
    ``temperature``; points nearer than NEAR_PX in either crop do not compete. 0 (with a gradient of 0) without points.
    """
    pairs, _, count, _ = points.shape
    at_points = sampled(vectors.float(), points.reshape(2 * pairs, count, 2), side)
    first, second = F.normalize(at_points, dim=-1).reshape(pairs, 2, count, -1).unbind(1)
    scores = first @ second.transpose(1, 2) / temperature
    known = (points != NO_POINT).all(-1).all(1)
    near = (torch.cdist(points, points) < NEAR_PX).any(1)
    rivals = ~near & known[:, None, :] & known[:, :, None] | torch.eye(count, dtype=torch.bool, device=points.device)
    scores = scores.masked_fill(~rivals, -torch.inf)
    wanted = torch.arange(count, device=points.device).expand(pairs, count)
    losses = [F.cross_entropy(s, wanted, reduction="none") for s in (scores, scores.transpose(1, 2))]
    return (sum(losses) / 2 * known).sum() / known.sum().clamp(min=1)


def sampled(maps: Tensor, points: Tensor, side: int) -> Tensor:
    """Values (N, M, D) of maps (N, D, h, w), whose outer cells lie on the outer pixels of ``side``, at points (N, M, 2) px."""
    grid = points[:, :, None] * (2 / (side - 1)) - 1
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)[..., 0].transpose(1, 2)
