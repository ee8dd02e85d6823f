"""Pairs for cluster training: which images, which crops, what the reference's labels are there (PAPER 2.3).

Every pair follows from the seed and its own number, so a batch is the same however it is split among passes and processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from core.engine.augmentation import cell_positions, change_appearance, move_points, random_crop_matrix
from core.engine.dataset import PairData, View
from core.engine.fgsn_config import FGSNConfig
from core.engine.losses import MatchCells, cells_of_points
from core.engine.pretraining import as_batch
from core.engine.weights import Preprocessing
from core.errors import InputError
from core.geometry import Array
from core.images import resize_image

_SHRINK = 0.75  # below this scale an image is averaged before it is sampled


@dataclass(frozen=True, slots=True, eq=False)
class TargetMap:
    """What the frozen copy says of an image or crop: ``labels`` (h, w, T) u16, ``shares`` (h, w, T) f16, nearest first."""

    labels: Array
    shares: Array

    def at(self, points: Array, size: tuple[int, int]) -> tuple[Array, Array]:
        """Labels (N, T) i64 and shares (N, T) f32 at px (N, 2) of what the map covers, of ``size`` (H, W); outside 0."""
        cells = cells_of_points(torch.from_numpy(np.asarray(points, np.float64)), size, self.labels.shape[:2]).numpy()
        inside = ((points >= -0.5) & (points <= np.array(size[::-1]) - 0.5)).all(1)
        labels, shares = self.labels[cells[:, 1], cells[:, 0]], self.shares[cells[:, 1], cells[:, 0]]
        return labels.astype(np.int64), np.where(inside[:, None], shares, 0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedTargets:
    """A target map and where it lies: over a crop that ``matrix`` (2, 3) cuts from the image, or over all of it (None)."""

    targets: TargetMap
    size: tuple[int, int]
    matrix: Array | None = None

    def at(self, points: Array) -> tuple[Array, Array]:
        """As ``TargetMap.at``, at px of the reference image."""
        return self.targets.at(points if self.matrix is None else move_points(points, self.matrix), self.size)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPair:
    """A reference and another image of one view; ``turns``: whether the gradient flows through each of the two.

    ``matrices``: from image px to crop px of each (2, 3), None where no crop is needed.
    """

    index: int
    view: View
    other: int
    turns: tuple[bool, bool]
    matrices: tuple[Array | None, Array | None]

    @property
    def points(self) -> tuple[Array, Array]:
        matches = self.view.correspondences[self.other - 1]
        return matches.points_ref, matches.points_other

    def image(self, side: int) -> Array:
        return np.asarray(self.view.images[self.other if side else 0])


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """Crops of one pass: ``images`` (N, 3, S, S) f32; ``is_reference``, ``turn`` (N,) bool; dense ``labels`` (N, T, h, w) i64
    with ``shares`` f32, all 0 where there is none; ``cells``: matches on all of them; ``links`` (L, 2) i64: rows of
    ``cells`` that are the reference's and the other image's end of one match (for the hinge).
    """

    images: Tensor
    is_reference: Tensor
    turn: Tensor
    labels: Tensor
    shares: Tensor
    cells: MatchCells
    links: Tensor
    num_pairs: int

    def to(self, device: torch.device) -> PairBatch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        cells = MatchCells(*(getattr(self.cells, item.name).to(device) for item in fields(MatchCells)))
        moved = {item.name: getattr(self, item.name) for item in fields(self)} | {"cells": cells}
        return PairBatch(**{name: value.to(device) if isinstance(value, Tensor) else value for name, value in moved.items()})


def draw_pairs(data: PairData, config: FGSNConfig, preprocessing: Preprocessing, seed: int, draw: int) -> list[DrawnPair]:
    """Draw the pairs of one pass, independently of each other (PAPER 2.4: with replacement)."""
    count = config.pairs_per_draw
    return [draw_pair(data, config, preprocessing, seed, draw * count + pair) for pair in range(count)]


def draw_pair(data: PairData, config: FGSNConfig, preprocessing: Preprocessing, seed: int, number: int) -> DrawnPair:
    """Draw pair ``number`` of a run; InputError when its view has one condition only."""
    random = np.random.default_rng([seed, number])
    index = int(random.integers(len(data)))
    view = data.view(index)
    if not view.correspondences:
        raise InputError(f"{view.name} has one condition only, expected at least two to train across conditions")
    other = int(random.integers(1, len(view.conditions)))
    turns = reference_turn(config.reference_fraction, random)
    pair = DrawnPair(index, view, other, turns, (None, None))
    count = len(pair.points[0])
    anchor = int(random.integers(count)) if count else None
    matrices = []
    for side in (0, 1):
        needed = turns[side] or config.needs_both_crops
        focus = None if anchor is None else pair.points[side][anchor]
        matrices.append(_crop_matrix(pair.image(side).shape[:2], focus, config, preprocessing, random) if needed else None)
    return DrawnPair(index, view, other, turns, (matrices[0], matrices[1]))


def reference_turn(probability: float | None, random: np.random.Generator) -> tuple[bool, bool]:
    """Alternating back-propagation: whether the gradient of a pair flows through its reference, and its other image.

    With ``probability`` (0.5 in the paper) through the reference (L_class and the reference part of L_corr), otherwise
    through the other image only (its part of L_corr). None: through both.
    """
    if probability is None:
        return True, True
    reference = bool(random.random() < probability)
    return reference, not reference


def _crop_matrix(
    size: tuple[int, int], focus: Array | None, config: FGSNConfig, preprocessing: Preprocessing, random: np.random.Generator
) -> Array:
    if config.crops == "random":
        return random_crop_matrix(size, config.augmentation, random, focus)
    if focus is None:
        focus = random.uniform(0, 1, 2) * (np.array(size[::-1]) - 1)
    return centred_crop_matrix(size, focus, config.augmentation.crop, preprocessing.short_side)


def centred_crop_matrix(size: tuple[int, int], focus: Array, crop: int, short_side: int) -> Array:
    """Map px of an image of ``size`` (H, W) to px of the paper's crop (2, 3) f64: Resize(short_side), then a crop around
    ``focus`` (2,) px that stays in the image where that is large enough (PAPER 2.3).
    """
    scale = short_side / min(size)
    seen = np.array([round(side * scale) for side in size[::-1]])
    middle = (np.asarray(focus, np.float64) + 0.5) * scale - 0.5
    start = np.clip(np.round(middle - (crop - 1) / 2), 0, np.maximum(seen - crop, 0))
    return np.column_stack([np.eye(2) * scale, 0.5 * scale - 0.5 - start])


def crop_pixels(image: Array, matrix: Array, crop: int, fit: str) -> Array:
    """Sample the crop (crop, crop, 3) u8. Outside the image it is black where the network pads so, and mirrors elsewhere."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < _SHRINK:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        factors = np.array([width, height]) / image.shape[1::-1]
        image = resize_image(image, width, height)
        linear = matrix[:, :2] / factors
        matrix = np.column_stack([linear, matrix[:, 2] - linear @ (0.5 * factors - 0.5)])
    border = cv2.BORDER_CONSTANT if fit == "pad" else cv2.BORDER_REFLECT_101
    return cv2.warpAffine(image, matrix, (crop, crop), flags=cv2.INTER_LINEAR, borderMode=border)


def pair_batch(
    pairs: Sequence[DrawnPair],
    targets: Sequence[PlacedTargets],
    config: FGSNConfig,
    preprocessing: Preprocessing,
    generator: torch.Generator,
) -> PairBatch:
    """Cut the crops of the pairs and look up their labels; ``generator`` draws the photometric changes."""
    side = -(-config.augmentation.crop // preprocessing.output_stride)
    items, roles, turns, links = [], [], [], [np.zeros((0, 2), np.int64)]
    num_rows = 0
    for pair, placed in zip(pairs, targets, strict=True):
        present = [end for end in (0, 1) if pair.turns[end] or (config.hinge_weight > 0)]
        ends = [_item(pair, placed, end, side, config, preprocessing) for end in present]
        if config.hinge_weight:
            rows = np.arange(len(ends[0].cells))
            links.append(np.column_stack([num_rows + rows, num_rows + len(rows) + rows]))
        num_rows += sum(len(end.cells) for end in ends)
        items += ends
        roles += [end == 0 for end in present]
        turns += [pair.turns[end] for end in present]
    roles = torch.tensor(roles)
    return PairBatch(
        images=_changed(as_batch([item.image for item in items]), roles, config, generator),
        is_reference=roles,
        turn=torch.tensor(turns),
        labels=torch.from_numpy(np.stack([item.labels for item in items])).permute(0, 3, 1, 2),
        shares=torch.from_numpy(np.stack([item.shares for item in items])).permute(0, 3, 1, 2),
        cells=_joined_cells(items),
        links=torch.from_numpy(np.concatenate(links)),
        num_pairs=len(pairs),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One crop with its dense ``labels`` and ``shares`` (h, w, T); its matches: ``cells`` (M, 2) x, y and what they are."""

    image: Array
    labels: Array
    shares: Array
    cells: Array
    label: Array
    share: Array
    weight: Array


def _item(
    pair: DrawnPair, placed: PlacedTargets, end: int, side: int, config: FGSNConfig, preprocessing: Preprocessing
) -> _Item:
    crop, matrix = config.augmentation.crop, pair.matrices[end]
    inside = np.ones(len(pair.points[0]), bool)
    for points, other_matrix in zip(pair.points, pair.matrices, strict=True):
        if other_matrix is matrix or config.needs_both_crops:
            moved = move_points(points, other_matrix)
            inside &= ((moved >= 0) & (moved <= crop - 1)).all(1)
    label, share = placed.at(pair.points[0][inside])
    labelled = share[:, 0] > 0
    cells = cells_of_points(torch.from_numpy(move_points(pair.points[end][inside][labelled], matrix)), crop, (side, side))
    labels, shares = _dense(placed, matrix, crop, side) if end == 0 else _nothing(side, label.shape[1])
    if end == 0 and config.soft_targets == "other":
        share, shares = _hardened(share), _hardened(shares)
    image = crop_pixels(pair.image(end), matrix, crop, preprocessing.fit)
    weight = pair.view.correspondences[pair.other - 1].weights[inside][labelled]
    return _Item(image, labels, shares, cells.numpy(), label[labelled], share[labelled], weight)


def _dense(placed: PlacedTargets, matrix: Array, crop: int, side: int) -> tuple[Array, Array]:
    labels, shares = placed.at(cell_positions(matrix, crop, side))
    return labels.reshape(side, side, -1), shares.reshape(side, side, -1)


def _nothing(side: int, count: int) -> tuple[Array, Array]:
    return np.zeros((side, side, count), np.int64), np.zeros((side, side, count), np.float32)


def _hardened(shares: Array) -> Array:
    """The nearest label alone, where there is one."""
    hard = np.zeros_like(shares)
    hard[..., 0] = shares[..., 0] > 0
    return hard


def _joined_cells(items: list[_Item]) -> MatchCells:
    image = np.repeat(np.arange(len(items)), [len(item.cells) for item in items])
    names = ("cells", "label", "share", "weight")
    cells, *what = (np.concatenate([getattr(item, name) for item in items]) for name in names)
    return MatchCells(*map(torch.from_numpy, (image, cells[:, 1].copy(), cells[:, 0].copy(), *what)))


def _changed(images: Tensor, is_reference: Tensor, config: FGSNConfig, generator: torch.Generator) -> Tensor:
    """Change colour and light of the images that the config names."""
    chosen = {"none": torch.zeros_like(is_reference), "reference": is_reference, "other": ~is_reference}.get(
        config.photometric, torch.ones_like(is_reference)
    )
    if chosen.any():
        images[chosen] = change_appearance(images[chosen], config.augmentation.strength, generator)
    return images
