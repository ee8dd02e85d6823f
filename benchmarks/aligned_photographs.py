"""Photographs that match but for a known shift, as views to train on and to measure on.

Fixed cameras: every pixel with itself. GRIEF's places and frames: shifted as their ground truth says, which holds for what
is far away; only rows above the horizon count (ground is near), so near trees are in it and a few points are wrong.
What is trained on and what is held out never share a camera, a place or a frame (``divided``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from core.engine.dataset import PairData, View
from core.engine.heading import heading_pairs
from core.engine.lazy_images import ImageStore, LazyImages, inside
from core.engine.season_data import JoinedData
from core.errors import InputError
from core.images import is_image_file
from core.records import Correspondences

TILDE, MICHIGAN, STROMOVKA = "tilde_webcam", "grief_michigan", "grief_stromovka"
SHARES = {TILDE: (2 / 3, 0), MICHIGAN: (3 / 5, 0), STROMOVKA: (1 / 2, 2)}  # to train on; places then left out
ABOVE_HORIZON = 0.6  # share of a GRIEF photograph's rows, from the top
TRAINING_STEP = 16
_IMAGES_PER_VIEW = 5


@dataclass(frozen=True, slots=True, eq=False)
class AlignedView:
    """Photographs of one ``place``, the reference first; ``shifts`` (C - 1) (dx, dy) px from the reference to each other;
    ``rows``: share of the height, from the top, that corresponds.
    """

    name: str
    place: str
    paths: tuple[Path, ...]
    shifts: tuple[tuple[float, float], ...]
    rows: float = 1.0


class AlignedPhotographs:
    """Aligned views as training data (PairData), with a match at every ``step``-th pixel of each row and column."""

    def __init__(self, views: Sequence[AlignedView], step: int) -> None:
        self.views, self.step, self._store = tuple(views), step, ImageStore()

    def __len__(self) -> int:
        return len(self.views)

    def view(self, index: int) -> View:
        view = self.views[index]
        sizes = [self._store.original_size(path) for path in view.paths]
        points = [shifted(sizes[0], size, d, view.rows, self.step) for size, d in zip(sizes[1:], view.shifts, strict=True)]
        conditions = tuple(path.stem for path in view.paths)
        return View(view.name, conditions, LazyImages(view.paths, self._store), None, points)


def shifted(
    size: tuple[int, int], other_size: tuple[int, int], shift: tuple[float, float], rows: float, step: int
) -> Correspondences:
    """Matches x_other = x + ``shift`` of a grid that lie in the upper ``rows`` of both images, of (width, height) px."""
    x, y = np.meshgrid(np.arange(step // 2, size[0], step), np.arange(step // 2, size[1], step))
    here = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    there = here + shift
    kept = inside(there, other_size) & (here[:, 1] < rows * size[1]) & (there[:, 1] < rows * other_size[1])
    return Correspondences(here[kept], there[kept], np.ones(int(kept.sum())))


def aligned_views(folder: Path, every: int = 1) -> list[AlignedView]:
    """The views of a folder of fixed cameras (a folder each) or of a GRIEF folder, with each ``every``-th session or frame.

    Raises InputError when it has none.
    """
    is_grief = (folder / "displacements.txt").is_file() or (folder / "ground_truth").is_dir()
    views = _grief_views(folder, every) if is_grief else _camera_views(folder)
    if not views:
        raise InputError(f"{folder}: no photographs of one place here, expected folders of fixed cameras or GRIEF's layout")
    return views


def _camera_views(folder: Path) -> list[AlignedView]:
    """Each photograph in one view, together with others from all over the camera's time."""
    views = []
    for camera in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = [path for path in sorted(camera.iterdir()) if is_image_file(path)]
        count = max(1, len(images) // _IMAGES_PER_VIEW)
        for number in range(count):
            paths = tuple(images[number::count])
            if len(paths) > 1:
                views.append(AlignedView(f"{camera.name}/{number}", camera.name, paths, ((0.0, 0.0),) * (len(paths) - 1)))
    return views


def _grief_views(folder: Path, every: int) -> list[AlignedView]:
    """A view for every photograph that is a reference; the set has a few copies of files, which are left out as others."""
    views = []
    for (place, reference), group in groupby(heading_pairs(folder, every), key=lambda pair: (pair.place, pair.reference)):
        pairs = [pair for pair in group if pair.other.read_bytes() != reference.read_bytes()]
        if pairs:
            paths = (reference, *(pair.other for pair in pairs))
            shifts = tuple((pair.dx, pair.dy) for pair in pairs)
            views.append(AlignedView(f"{place}/{reference.stem}", place, paths, shifts, ABOVE_HORIZON))
    return views


def divided(name: str, places: Sequence[str]) -> tuple[set[str], set[str]]:
    """The places of a data set to train on and those held out: the first ones and, after a gap, the last ones."""
    ordered = sorted(set(places))
    share, gap = SHARES[name]
    count = int(len(ordered) * share + 1e-9)
    return set(ordered[:count]), set(ordered[count + gap :])


def places_of(folder: Path) -> tuple[set[str], set[str]]:
    """The places of a folder of photographs to train on and those held out, as ``divided``."""
    return divided(folder.name, [view.place for view in aligned_views(folder)])


def with_photographs(data: PairData, photographs: Path, names: Sequence[str]) -> PairData:
    """The data together with the training places of the named folders of ``photographs``. Raises InputError."""
    parts = [data]
    for name in names:
        if not (photographs / name).is_dir():
            raise InputError(f"{photographs / name}: no such folder, but a row trains on it")
        views, trained = aligned_views(photographs / name), places_of(photographs / name)[0]
        parts.append(AlignedPhotographs([view for view in views if view.place in trained], TRAINING_STEP))
    return data if len(parts) == 1 else JoinedData(parts)
