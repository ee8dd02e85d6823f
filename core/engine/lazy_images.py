"""Photographs of a training set: read when asked for, resized if wanted, kept while memory lasts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.geometry import Array
from core.images import image_size, read_image, resize_image

CACHE_BYTES = 512 * 2**20


class BoundedCache:
    """Values by key, the least recently used dropped first, so that their ``size`` stays under ``max_bytes`` together."""

    def __init__(self, max_bytes: int, size: Callable[[Any], int]) -> None:
        self.max_bytes, self._size = max_bytes, size
        self.num_bytes = 0
        self._values: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value of ``key``, made if it is not there; what is larger than the cache is made and not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._keep(key, value)
        return value

    def _keep(self, key: Any, value: Any) -> None:
        if key in self._values or self._size(value) > self.max_bytes:
            return
        self._values[key] = value
        self.num_bytes += self._size(value)
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= self._size(self._values.popitem(last=False)[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundedCache, (self.max_bytes, self._size)  # a process of its own begins with an empty one


class ImageStore:
    """Reads RGB images (H, W, 3) u8, read-only. ``short_side`` px: resize so that the shorter side has it (paper: 1024)."""

    def __init__(self, short_side: int | None = None, max_bytes: int = CACHE_BYTES) -> None:
        self.short_side = short_side
        self._images = BoundedCache(max_bytes, _num_bytes)
        self._sizes: dict[Path, tuple[int, int]] = {}

    def read(self, path: Path) -> Array:
        """Raises FileNotFoundError or ImageError."""
        return self._images.get(path, lambda: self._make(path))

    def original_size(self, path: Path) -> tuple[int, int]:
        """Width and height of the file, px."""
        if path not in self._sizes:
            self._sizes[path] = image_size(path)
        return self._sizes[path]

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height that ``read`` gives, px."""
        width, height = self.original_size(path)
        return (width, height) if self.short_side is None else resized(width, height, self.short_side)

    def move(self, points: Array, path: Path) -> Array:
        """Carry px (N, 2) of the file to px of what ``read`` gives."""
        scale = np.divide(self.size(path), self.original_size(path))
        return (np.asarray(points, np.float64) + 0.5) * scale - 0.5

    def _make(self, path: Path) -> Array:
        image = read_image(path)
        if self.short_side is not None:
            image = resize_image(image, *resized(image.shape[1], image.shape[0], self.short_side))
        image.setflags(write=False)
        return image


def _num_bytes(image: Array) -> int:
    return image.nbytes


def resized(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height when the shorter side has ``short_side`` px (PAPER 1.3: the longer one is rounded down)."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


class LazyImages(Sequence):
    """The images of a view; each is read when it is asked for."""

    def __init__(self, paths: Sequence[Path], store: ImageStore) -> None:
        self.paths, self._store = tuple(paths), store

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyImages(self.paths[index], self._store)
        return self._store.read(self.paths[index])


def inside(points: Array, size: tuple[int, int]) -> Array:
    """Which px (N, 2) lie in the pixels of an image of ``size`` (width, height)."""
    return ((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=1)
