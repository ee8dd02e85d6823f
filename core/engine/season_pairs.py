"""Views across seasons from pairs of photographs: a reference image with all images that correspond to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.engine.dataset import View
from core.engine.lazy_images import BoundedCache, ImageStore, LazyImages, inside
from core.errors import InputError
from core.geometry import Array
from core.records import Correspondences

_PAIR_CACHE_BYTES = 128 * 2**20
NEIGHBOURS = 10  # views that follow each other and may show one place


@dataclass(frozen=True, slots=True)
class SeasonPair:
    """A reference image and another image of its place, by their names in the source; ``file`` where the pair has one."""

    reference: str
    other: str
    file: Path | None = None


class PairSource(Protocol):
    """Where pairs come from: correspondence files, or a map. Pixels are those of the image files."""

    name: str
    pairs: tuple[SeasonPair, ...]
    notes: tuple[str, ...]

    def path(self, image: str) -> Path: ...

    def condition(self, image: str) -> str: ...

    def correspondences(self, pair: SeasonPair) -> Correspondences:
        """Those of one pair; they may lie outside of the images."""

    def positions(self, reference: str) -> Array | None:
        """Where features of a reference image are taken, (N, 2) px, or None."""

    def parts(self) -> tuple[tuple[SeasonPair, ...], tuple[SeasonPair, ...]] | None:
        """The pairs for training and those for validation where the source itself tells them apart, or None."""


class LazyPairs(Sequence):
    """The correspondences of a view's pairs; each is read when it is asked for."""

    def __init__(self, pairs: Sequence[SeasonPair], views: SeasonViews) -> None:
        self._pairs, self._views = tuple(pairs), views

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyPairs(self._pairs[index], self._views)
        return self._views.correspondences(self._pairs[index])


class SeasonViews:
    """The views of a source (PairData), in the order of their references' names; ``pairs``: only these.

    Points outside of an image are left out; ``notes`` says how many, of what has been read so far.
    """

    def __init__(self, source: PairSource, images: ImageStore, pairs: Sequence[SeasonPair] | None = None) -> None:
        self.source, self._store = source, images
        self.pairs = tuple(source.pairs if pairs is None else pairs)
        if not self.pairs:
            raise InputError(f"{source.name}: no image pairs for training, expected at least one")
        views: dict[str, list[SeasonPair]] = {}
        for pair in sorted(self.pairs, key=lambda pair: (pair.reference, pair.other, str(pair.file))):
            views.setdefault(pair.reference, []).append(pair)
        self._views = tuple(views.items())
        self._read = BoundedCache(_PAIR_CACHE_BYTES, _num_bytes)
        self._left_out: dict[SeasonPair, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._views)

    def view(self, index: int) -> View:
        """Its images and correspondences are read when they are asked for, and raise then."""
        reference, pairs = self._views[index]
        names = (reference, *(pair.other for pair in pairs))
        return View(
            name=reference,
            conditions=tuple(self.source.condition(name) for name in names),
            images=LazyImages([self.source.path(name) for name in names], self._store),
            classes=None,
            correspondences=LazyPairs(pairs, self),
            positions=self._positions(reference),
        )

    def correspondences(self, pair: SeasonPair) -> Correspondences:
        """Those of one pair, in px of the images as they are read. Raises SceneError for a file that cannot be used."""
        return self._read.get(pair, lambda: self._fitted(pair))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        files = [pair for pair, (left_out, _) in self._left_out.items() if left_out]
        if not files:
            return self.source.notes
        count, of = (sum(numbers[k] for numbers in self._left_out.values()) for k in (0, 1))
        first = files[0].file or f"{files[0].reference} and {files[0].other}"
        sentence = f"{count} of {of} correspondences lie outside of their images and are left out (the first in {first})."
        return (*self.source.notes, sentence)

    def split(self, fraction: float, seed: int) -> tuple[SeasonViews, SeasonViews]:
        """Training and validation views that share no image; the source's own lists go before ``fraction`` and ``seed``.

        Runs of up to ten reference images, neighbours by name, are drawn without replacement; training loses the pairs whose
        other image validation has too. The published split draws pair files with replacement from an unsorted folder, so
        that it depends on the file system and has a place on both sides.
        """
        parts = self.source.parts()
        if parts is None:
            parts = self._drawn(fraction, seed)
        mine = set(self.pairs)
        train, validation = (tuple(pair for pair in part if pair in mine) for part in parts)
        if not train or not validation:
            raise InputError(
                f"{self.source.name}: {len(self)} reference images with {len(self.pairs)} pairs are too few to keep "
                f"{fraction:.0%} for validation; expected more places"
            )
        return SeasonViews(self.source, self._store, train), SeasonViews(self.source, self._store, validation)

    def _drawn(self, fraction: float, seed: int) -> tuple[tuple[SeasonPair, ...], tuple[SeasonPair, ...]]:
        chosen = set(drawn(len(self), fraction, seed, NEIGHBOURS).tolist())
        held_out = {reference for k, (reference, _) in enumerate(self._views) if k in chosen}
        validation = tuple(pair for pair in self.pairs if pair.reference in held_out)
        seen = {name for pair in validation for name in (pair.reference, pair.other)}
        return tuple(pair for pair in self.pairs if not {pair.reference, pair.other} & seen), validation

    def _fitted(self, pair: SeasonPair) -> Correspondences:
        """Leave out what lies outside of either image and carry the rest to the size in which the images are read."""
        found, paths = self.source.correspondences(pair), (self.source.path(pair.reference), self.source.path(pair.other))
        sides = found.points_ref, found.points_other
        keep = np.all([inside(points, self._store.original_size(path)) for points, path in zip(sides, paths)], axis=0)
        self._left_out[pair] = int((~keep).sum()), len(keep)
        moved = (self._store.move(points[keep], path) for points, path in zip(sides, paths))
        return Correspondences(*moved, found.weights[keep])

    def _positions(self, reference: str) -> Array | None:
        positions, path = self.source.positions(reference), self.source.path(reference)
        if positions is None:
            return None
        return self._store.move(positions[inside(positions, self._store.original_size(path))], path)


def drawn(count: int, fraction: float, seed: int, run: int = 1) -> Array:
    """Indices of about the ``fraction`` of ``count`` places for validation, in runs of up to ``run``; not all of them."""
    if not 0 < fraction < 1:
        raise InputError(f"the validation part is {fraction}, expected a share between 0 and 1")
    wanted = min(max(1, round(count * fraction)), count - 1)
    run = max(1, min(run, wanted))
    starts = np.random.default_rng(seed).permutation(np.arange(0, count, run))
    indices = [index for start in starts for index in range(start, min(start + run, count))]
    return np.sort(np.array(indices[:wanted], np.int64))


def _num_bytes(pair: Correspondences) -> int:
    return pair.points_ref.nbytes + pair.points_other.nbytes + pair.weights.nbytes
