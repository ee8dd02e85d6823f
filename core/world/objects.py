"""The object table: what one thing of the world looks like beyond its material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.geometry import Array


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """O things: ``color`` and ``accent`` (O, 3) f32 linear RGB, ``seed`` (O,) f32 in [0, 1), ``params`` (O, 4) f32."""

    color: Array
    accent: Array
    seed: Array
    params: Array


class ObjectTable:
    """Collects objects while a world is built."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rows: list[tuple[Array, Array, float, Array]] = []

    def add(self, color: ArrayLike, accent: ArrayLike | None = None, params: tuple[float, ...] = ()) -> int:
        """Store one object, return its row; ``params`` are filled up with zeros to four."""
        color = np.asarray(color, np.float32)
        filled = np.zeros(4, np.float32)
        filled[: len(params)] = params
        accent = color if accent is None else np.asarray(accent, np.float32)
        self._rows.append((color, accent, float(self._rng.random()), filled))
        return len(self._rows) - 1

    def freeze(self) -> Objects:
        colors, accents, seeds, params = zip(*self._rows, strict=True)
        return Objects(np.stack(colors), np.stack(accents), np.array(seeds, np.float32), np.stack(params))
