"""Heading from label agreement alone: how far one image must be shifted sideways to fit the label map of another.

Visual teach-and-repeat needs no more than that shift. No keypoint, no descriptor: two label maps, and for every shift
the agreeing pixels, each weighted by how rare its label is, less what chance would give. All shifts at once, by the
correlation theorem, one spectrum a label and image.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

import numpy as np
from scipy import fft

from core.errors import InputError, SceneError
from core.geometry import Array, frozen_array
from core.images import read_image
from core.records import LabelMap, Progress, setting

Segment = Callable[[Array], LabelMap]


@dataclass(frozen=True, kw_only=True)
class HeadingConfig:
    """Where shifts are searched, on a grid of cells that hold label shares, and how rarity counts."""

    num_columns: int = setting(128, minimum=8, help="cells along the image's width; a shift is known to a part of a cell")
    max_shift: float = setting(0.3, minimum=0, maximum=0.9, help="largest sideways shift, as a share of the width")
    max_rise: float = setting(0.2, minimum=0, maximum=0.9, help="largest shift up or down, as a share of the height")
    rarity_power: float = setting(1.0, minimum=0, help="an agreeing pixel counts (-log of its label's share) to this power")


@dataclass(frozen=True, slots=True, eq=False)
class LabelSpectrum:
    """A label map made ready for correlation: the ``present`` labels, their ``shares`` of the image, their spectra (L, ...)
    on a grid of ``grid`` (rows, columns) cells of ``cell_px``.
    """

    present: Array
    shares: Array
    spectra: Array
    grid: tuple[int, int]
    padded: tuple[int, int]
    cell_px: float
    vocabulary: str


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """What stands at (x, y) px in the first image stands at (x + ``dx``, y + ``dy``) in the second.

    ``score``: weighted agreement above chance a cell of the image; 0 and less: the labels say nothing.
    """

    dx: float
    dy: float
    score: float


def label_spectrum(labels: LabelMap, config: HeadingConfig | None = None) -> LabelSpectrum:
    """Prepare one label map; images that are compared must have one size and one vocabulary."""
    config = config or HeadingConfig()
    height, width = labels.labels.shape
    cell = width / config.num_columns
    rows = max(1, round(height / cell))
    present, shares = cell_shares(labels.labels, rows, config.num_columns)
    reach = _reach(config, (rows, config.num_columns))
    padded = tuple(fft.next_fast_len(side + far, real=True) for side, far in zip(shares.shape[1:], reach, strict=True))
    spectra = fft.rfft2(shares, s=padded, workers=1)
    return LabelSpectrum(
        present, shares.mean((1, 2)), spectra, (rows, config.num_columns), (padded[0], padded[1]), cell, labels.vocabulary
    )


def cell_shares(labels: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """The labels (L,) that a map (H, W) holds, and the share (L, rows, columns) f32 of every cell that each covers."""
    present, index = np.unique(labels, return_inverse=True)
    height, width = labels.shape
    row, column = (np.arange(side) * cells // side for side, cells in ((height, rows), (width, columns)))
    place = index.reshape(labels.shape) * (rows * columns) + row[:, None] * columns + column
    counts = np.bincount(place.ravel(), minlength=len(present) * rows * columns).reshape(-1, rows, columns)
    return present.astype(np.int64), (counts / np.maximum(1, counts.sum(0))).astype(np.float32)


def _reach(config: HeadingConfig, grid: tuple[int, int]) -> tuple[int, int]:
    """Largest shift in cells, down and sideways."""
    return round(config.max_rise * grid[0]), round(config.max_shift * grid[1])


def best_shift(first: LabelSpectrum, second: LabelSpectrum, config: HeadingConfig | None = None) -> Shift:
    """Find the shift at which the two label maps agree best above chance; a few milliseconds.

    score(d) = sum_k w_k (sum_x A_k(x) B_k(x + d) - |overlap(d)| p_k q_k), w_k = (-log((p_k + q_k) / 2))^power, with p, q
    the shares of the labels in the two images. Raises ValueError for maps of other sizes or vocabularies.
    """
    config = config or HeadingConfig()
    if (first.grid, first.padded, first.vocabulary) != (second.grid, second.padded, second.vocabulary):
        raise ValueError(
            f"label maps of {first.grid} cells in {first.vocabulary!r} and {second.grid} in {second.vocabulary!r}, "
            "expected one size and one vocabulary"
        )
    _both, here, there = np.intersect1d(first.present, second.present, assume_unique=True, return_indices=True)
    p, q = first.shares[here], second.shares[there]
    weights = rarity(p, q, config.rarity_power)
    product = np.einsum("k,kyx,kyx->yx", weights, first.spectra[here].conj(), second.spectra[there])
    far_down, far_aside = _reach(config, first.grid)
    down, aside = np.arange(-far_down, far_down + 1), np.arange(-far_aside, far_aside + 1)
    agreement = fft.irfft2(product, s=first.padded, workers=1)[down][:, aside]
    overlap = (first.grid[0] - abs(down))[:, None] * (first.grid[1] - abs(aside))
    scores = agreement - overlap * float((weights * p * q).sum())
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    dx, dy = aside[x] + _peak_offset(scores[y], int(x)), down[y] + _peak_offset(scores[:, x], int(y))
    return Shift(float(dx * first.cell_px), float(dy * first.cell_px), float(scores[y, x] / np.prod(first.grid)))


def rarity(p: Array, q: Array, power: float) -> Array:
    """Weights (L,) f32 of labels with shares ``p`` and ``q`` of two images: what is everywhere tells nothing."""
    share = np.clip((np.asarray(p) + np.asarray(q)) / 2, 1e-9, 1)
    return ((-np.log(share)) ** power).astype(np.float32)


def _peak_offset(values: Array, index: int) -> float:
    """Where between its neighbours the maximum of a parabola through three values lies, in [-0.5, 0.5] steps."""
    if not 0 < index < len(values) - 1:
        return 0.0
    left, middle, right = (float(value) for value in values[index - 1 : index + 2])
    bend = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def heading_shift(first: LabelMap, second: LabelMap, config: HeadingConfig | None = None) -> Shift:
    """The shift between two label maps of one size; prepare spectra yourself where a map is compared often."""
    return best_shift(label_spectrum(first, config), label_spectrum(second, config), config)


@dataclass(frozen=True, slots=True, eq=False)
class HeadingPair:
    """Two photographs of one ``place``: x_other = x_reference + ``dx`` px for what is far away, y + ``dy`` (0: not told)."""

    place: str
    reference: Path
    other: Path
    dx: float
    dy: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class HeadingAccuracy:
    """How often the shift was right: ``errors_px`` (N,) f64, one a pair, against ``tolerance_px``."""

    pairs: tuple[HeadingPair, ...]
    errors_px: Array
    tolerance_px: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors_px", frozen_array(self.errors_px, np.float64, (None,), "errors_px"))

    @property
    def right(self) -> Array:
        """(N,) bool."""
        return np.abs(self.errors_px) <= self.tolerance_px

    @property
    def accuracy(self) -> float:
        return float(self.right.mean()) if len(self.errors_px) else 0.0


def heading_pairs(folder: Path, every: int = 1) -> list[HeadingPair]:
    """Read the true shifts of a GRIEF folder; px of the photographs as they are (1024 wide in the published sets).

    michigan: ``ground_truth/location_P.txt`` holds x_j - x_i of sessions i, j of place P, whose photographs are
    ``images/SSPP.jpg``; all pairs i < j. stromovka: ``displacements.txt``, ``frame dx dy`` from season_00 to season_01.
    ``every`` takes each n-th session or frame. Raises SceneError.
    """
    folder = Path(folder)
    try:
        if (folder / "displacements.txt").is_file():
            return _season_pairs(folder)[::every]
        tables = sorted((folder / "ground_truth").glob("location_*.txt"))
        if not tables:
            raise SceneError(f"{folder}: no headings here, expected displacements.txt or ground_truth/location_*.txt")
        return [pair for table in tables for pair in _place_pairs(folder, table, every)]
    except (ValueError, OSError) as error:
        raise error if isinstance(error, InputError) else SceneError(f"{folder}: unreadable ground truth ({error})") from error


def _season_pairs(folder: Path) -> list[HeadingPair]:
    rows = [line.split() for line in (folder / "displacements.txt").read_text().splitlines()]
    seasons = (folder / "season_00", folder / "season_01")
    return [
        HeadingPair(row[0], *(season / f"{row[0]}.jpg" for season in seasons), *(float(shift) for shift in row[1:3]))
        for row in rows
        if row and not row[0].startswith("#")
    ]


def _place_pairs(folder: Path, table: Path, every: int) -> list[HeadingPair]:
    place = int(table.stem.rsplit("_", 1)[1])
    shifts = np.loadtxt(table, ndmin=2)
    images = [folder / "images" / f"{session + 1:02d}{place:02d}.jpg" for session in range(len(shifts))]
    chosen = combinations(range(0, len(shifts), every), 2)
    return [HeadingPair(f"place {place}", images[i], images[j], float(shifts[i, j])) for i, j in chosen]


def heading_accuracy(
    segment: Segment, folder: Path, tolerance_px: float, every: int = 1, config: HeadingConfig | None = None
) -> Generator[Progress, None, HeadingAccuracy]:
    """Estimate the heading of all pairs of a GRIEF folder from labels; every photograph is segmented once."""
    pairs = heading_pairs(folder, every)
    errors: list[float] = []
    for place, listed in groupby(pairs, key=lambda pair: pair.place):
        group = list(listed)
        spectra: dict[Path, LabelSpectrum] = {}
        for path in dict.fromkeys(path for pair in group for path in (pair.reference, pair.other)):
            spectra[path] = label_spectrum(segment(read_image(path)), config)
            yield Progress(f"{Path(folder).name}, {place}: {path.name}", len(errors) / len(pairs))
        errors += [best_shift(spectra[pair.reference], spectra[pair.other], config).dx - pair.dx for pair in group]
    return HeadingAccuracy(tuple(pairs), np.array(errors), tolerance_px)
