"""Training data across seasons from whatever a user has: correspondence files, scenes with a map, rendered shards."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.engine.correspondence_folder import CorrespondenceFolder, find_correspondences
from core.engine.dataset import PairData, TrainingSet, View
from core.engine.lazy_images import CACHE_BYTES, ImageStore
from core.engine.scene_pairs import SceneCorrespondences
from core.engine.season_pairs import NEIGHBOURS, SeasonViews, drawn
from core.errors import InputError, SceneError
from core.records import Progress
from core.scene.scene import open_scene

_EXPECTED = (
    "expected correspondence files (*.mat) with their images, a scene whose map shows its places in several conditions, "
    "or a folder of rendered shards"
)


def open_pair_data(
    paths: Sequence[str | Path],
    weights: Sequence[float] | None = None,
    *,
    short_side: int | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> PairData:
    """Open training data; each path is recognised by what it holds, several are joined.

    Rendered shards; correspondence files in the paper's layout, also several roots in one folder; any scene with a map.
    ``weights`` (one a path): how often each is drawn, relative to the others; None: each view alike.
    ``short_side`` px: photographs are resized so that their shorter side has it, as the paper does with 1024; None leaves
    them. Images that were read are kept up to ``cache_bytes``. Raises InputError: one sentence, led by the path.
    """
    if not paths:
        raise InputError("no training data given, expected at least one folder")
    store = ImageStore(short_side, cache_bytes)
    data = [_open(Path(path), store) for path in paths]
    return data[0] if len(data) == 1 and weights is None else JoinedData(data, weights)


def _open(path: Path, store: ImageStore) -> PairData:
    if not path.exists():
        raise SceneError(f"{path}: no such folder, {_EXPECTED}")
    if any(path.glob("*/shard.json")):
        return TrainingSet(path)
    folders = find_correspondences(path)
    if folders:
        views = [SeasonViews(CorrespondenceFolder(folder), store) for folder in folders]
        return views[0] if len(views) == 1 else JoinedData(views)
    try:
        scene = open_scene(path)
    except SceneError as error:
        raise SceneError(f"{path}: no training data found, {_EXPECTED} ({error})") from error
    if scene.map is None:
        raise SceneError(f"{path}: no training data found, {_EXPECTED}; this scene has no map, build one with `map`")
    return SeasonViews(SceneCorrespondences(scene), store)


class JoinedData:
    """Several data sets as one (PairData).

    Without ``weights`` the views follow each other. With weights (one a set, > 0) the sets' shares of the indices are as
    their weights, so that whoever draws indices evenly draws the sets by weight: every view occurs, and those of a set that is
    small for its weight occur again, in turn. ``distinct(index)`` tells repeated views: it is the same for the same view.
    """

    def __init__(self, data: Sequence[PairData], weights: Sequence[float] | None = None) -> None:
        self.data = tuple(data)
        self.weights = None if weights is None else tuple(float(weight) for weight in weights)
        if self.weights is not None and len(self.weights) != len(self.data):
            raise InputError(f"{len(self.weights)} weights for {len(self.data)} data sets, expected one for each")
        if self.weights is not None and not all(0 < weight < np.inf for weight in self.weights):
            raise InputError(f"the weights of the data sets are {list(self.weights)}, expected positive numbers")
        sizes = np.array([len(part) for part in self.data])
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self._ends = np.cumsum(_counts(sizes, sizes if self.weights is None else np.array(self.weights)))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def view(self, index: int) -> View:
        """Its name begins with the number of its set."""
        part, inner = self._place(index)
        view = self.data[part].view(inner)
        return replace(view, name=f"{part}/{view.name}")

    def distinct(self, index: int) -> int:
        """A number below the sets' sizes together, one for every different view."""
        part, inner = self._place(index)
        return int(self._first[part]) + inner

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for part in self.data for note in notes_of(part))

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"view {index} of {len(self)}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return part, (index - start) % len(self.data[part])


def _counts(sizes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How many indices each set has: as the weights say, and at least its size."""
    shares = weights / weights.sum()
    total = np.max(sizes / shares)
    return np.maximum(sizes, np.rint(shares * total)).astype(np.int64)


class Subset:
    """Some views of a data set (PairData)."""

    def __init__(self, data: PairData, indices: Sequence[int]) -> None:
        self.data, self.indices = data, tuple(int(index) for index in indices)

    def __len__(self) -> int:
        return len(self.indices)

    def view(self, index: int) -> View:
        return self.data.view(self.indices[index])


def split(data: PairData, fraction: float, seed: int) -> tuple[PairData, PairData]:
    """Training and validation views with no place in both; ``fraction`` (0 to 1) is the share for validation.

    Photographs: by reference image, and no other image is on both sides either; the lists of the data set go first.
    Rendered shards: whole worlds. Anything else: runs of neighbouring views. Joined sets: each
    by itself, with the same weights.
    Raises InputError when there are too few places.
    """
    if isinstance(data, SeasonViews):
        return data.split(fraction, seed)
    if isinstance(data, JoinedData):
        parts = [split(part, fraction, seed) for part in data.data]
        train, validation = (JoinedData(side, data.weights) for side in zip(*parts, strict=True))
        return train, validation
    groups, run = _groups(data)
    if len(set(groups)) < 2:
        raise InputError(f"{len(data)} views are too few to keep {fraction:.0%} for validation, expected at least 2")
    held_out = set(drawn(max(groups) + 1, fraction, seed, run).tolist())
    sides = ([k for k, group in enumerate(groups) if (group in held_out) == wanted] for wanted in (False, True))
    train, validation = (Subset(data, side) for side in sides)
    return train, validation


def _groups(data: PairData) -> tuple[list[int], int]:
    """A number for each view, the same for views of one place, and how many neighbouring numbers may show one place."""
    if isinstance(data, TrainingSet) and len(data.shards) > 1:
        return [number for number, shard in enumerate(data.shards) for _ in range(len(shard.images))], 1
    return list(range(len(data))), NEIGHBOURS


def first_indices(data: PairData) -> list[int]:
    """For every index the first one that gives the same view: work on repeated views need be done once only."""
    number_of = getattr(data, "distinct", int)
    first: dict[int, int] = {}
    return [first.setdefault(number_of(index), index) for index in range(len(data))]


def notes_of(data: PairData) -> tuple[str, ...]:
    """What the data says to its user: sentences."""
    return getattr(data, "notes", ())


def check_pair_data(data: PairData) -> Generator[Progress, None, tuple[str, ...]]:
    """Read all correspondences once, before hours of training; return the notes. Raises SceneError for what is unusable."""
    indices = sorted(set(first_indices(data)))
    for done, index in enumerate(indices):
        for _ in data.view(index).correspondences:
            pass
        yield Progress(f"checked view {done + 1} of {len(indices)}", (done + 1) / len(indices))
    return notes_of(data)
