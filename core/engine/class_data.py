"""Annotated photographs and rendered worlds as data for supervised pre-training: images with a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from core.engine.class_layouts import CITYSCAPES_19, LAYOUTS, TRAINING, VALIDATION, Annotated, ClassLayout
from core.engine.dataset import PairData, TrainingSet, View
from core.engine.lazy_images import CACHE_BYTES, BoundedCache, ImageStore, LazyImages
from core.engine.season_data import JoinedData, split
from core.errors import InputError, SceneError
from core.geometry import Array
from core.world.classes import CLASS_NAMES

WORLD = "world"
LAYOUT_NAMES = (WORLD, *LAYOUTS)
_VALIDATION_SHARE = 0.1
_LABEL_CACHE_SHARE = 4  # an annotation has a third of an image's bytes


@dataclass(frozen=True, slots=True, eq=False)
class ClassData:
    """``train`` and ``validation``: views with images and classes (u8, void 255), of ``names`` in a ``vocabulary``.

    ``notes``: sentences for the user.
    """

    train: PairData
    validation: PairData
    names: tuple[str, ...]
    vocabulary: str
    notes: tuple[str, ...] = ()


class LazyClasses(Sequence):
    """The classes (H, W) u8 of a view's images, each read when it is asked for."""

    def __init__(self, items: Sequence[Annotated], source: ClassImages) -> None:
        self._items, self._source = tuple(items), source

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyClasses(self._items[index], self._source)
        return self._source.classes(self._items[index])


class ClassImages:
    """Annotated photographs, one a view (PairData without correspondences); read when they are asked for."""

    def __init__(self, items: Sequence[Annotated], layout: ClassLayout, store: ImageStore, max_bytes: int) -> None:
        self.items, self.layout, self._store = tuple(items), layout, store
        self._classes = BoundedCache(max_bytes, _num_bytes)

    def __len__(self) -> int:
        return len(self.items)

    def view(self, index: int) -> View:
        item = self.items[index]
        return View(item.name, (self.layout.name,), LazyImages([item.image], self._store), LazyClasses([item], self), ())

    def classes(self, item: Annotated) -> Array:
        """The annotation in the size in which the image is read. Raises SceneError or ImageError."""
        return self._classes.get(item, lambda: self._read(item))

    def _read(self, item: Annotated) -> Array:
        classes = self.layout.decode(item.annotation)
        width, height = self._store.original_size(item.image)
        if classes.shape != (height, width):
            found = f"{classes.shape[1]} x {classes.shape[0]}"
            raise SceneError(f"{item.annotation}: is {found}, but its image {item.image.name} is {width} x {height}")
        size = self._store.size(item.image)
        if size != (width, height):
            classes = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
        classes.setflags(write=False)
        return classes


def open_class_data(
    path: str | Path,
    layout: str | None = None,
    *,
    short_side: int | None = None,
    seed: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> ClassData:
    """Open annotated images: rendered shards ("world") or the layout of CamVid, Cityscapes or Mapillary Vistas 1.2.

    ``layout`` None: what is found. CamVid's 11 (or 32) classes become Cityscapes' train ids, so that it can be joined with
    worlds and Cityscapes: a bicyclist is a rider, signs are traffic signs, lane markings road; bridges, tunnels, parking
    blocks and "truck or bus" are void. Vistas keeps its 66 classes, of which the last, unlabelled, is void in training.
    The validation part is the data set's own, or a tenth of it by ``seed``. ``short_side`` px: photographs are resized so
    that their shorter side has it; None: 768 for Cityscapes and Vistas, else as they are.
    Raises SceneError: one sentence, led by the path.
    """
    path = Path(path)
    if not path.is_dir():
        raise SceneError(f"{path}: no such folder of annotated images")
    name = layout or _recognised(path)
    if name == WORLD:
        train, validation = split(TrainingSet(path), _VALIDATION_SHARE, seed)
        return ClassData(train, validation, CLASS_NAMES, CITYSCAPES_19)
    if name not in LAYOUTS:
        raise InputError(f"layout {name!r} is not known; expected one of {', '.join(LAYOUT_NAMES)}")
    chosen = LAYOUTS[name]
    store = ImageStore(short_side or chosen.short_side, cache_bytes)
    parts = [
        ClassImages(chosen.find(path, p), chosen, store, cache_bytes // _LABEL_CACHE_SHARE) for p in (TRAINING, VALIDATION)
    ]
    if not len(parts[0]):
        raise SceneError(f"{path}: no annotated images in the layout of {name}")
    train, validation = parts if len(parts[1]) else split(parts[0], _VALIDATION_SHARE, seed)
    return ClassData(train, validation, chosen.names, chosen.vocabulary)


def join_class_data(data: Sequence[ClassData]) -> ClassData:
    """Several as one. Raises InputError unless all have the same classes."""
    vocabularies = list(dict.fromkeys(part.vocabulary for part in data))
    if len(vocabularies) != 1:
        raise InputError(f"the data have different classes ({', '.join(vocabularies)}), expected the same in all")
    if len(data) == 1:
        return data[0]
    train, validation = (JoinedData([getattr(part, side) for part in data]) for side in ("train", "validation"))
    return ClassData(train, validation, data[0].names, data[0].vocabulary, tuple(n for part in data for n in part.notes))


def _recognised(path: Path) -> str:
    """Which layout a folder has. Raises SceneError."""
    if any(path.glob("*/shard.json")):
        return WORLD
    if (path / "leftImg8bit").is_dir() and (path / "gtFine").is_dir():
        return "cityscapes"
    if (path / TRAINING / "images").is_dir():
        return "vistas"
    if any((path / folder).is_dir() for folder in ("trainannot", "train_labels", "LabeledApproved_full")):
        return "camvid"
    raise SceneError(
        f"{path}: no annotated images found, expected rendered shards, or the folders of CamVid (train, trainannot), "
        "Cityscapes (leftImg8bit, gtFine) or Mapillary Vistas (training/images, training/labels)"
    )


def _num_bytes(classes: Array) -> int:
    return classes.nbytes
