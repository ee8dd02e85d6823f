"""What a texture is given and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array
from core.world.conditions import Atmosphere


@dataclass(slots=True, eq=False)
class Sample:
    """N surface points of one material: ``u, v`` (N,) texture coordinates, ``footprint`` (N,) m a pixel on the surface,
    ``point, normal, view`` (N, 3) world (view points from the eye), ``color, accent`` (N, 3), ``seed`` (N,), ``params`` (N, 4).
    """

    u: Array
    v: Array
    footprint: Array
    point: Array
    normal: Array
    view: Array
    color: Array
    accent: Array
    seed: Array
    params: Array
    air: Atmosphere

    @property
    def shift(self) -> Array:
        """A large offset (N,) by object, so that no two things share a pattern."""
        return np.floor(self.seed * 997) * np.float32(1.37)


@dataclass(slots=True, eq=False)
class Look:
    """``albedo`` (N, 3); ``mirror`` (N,) share of the sky's reflection at normal incidence; ``emission`` (N, 3) or None."""

    albedo: Array
    mirror: Array | float = 0.0
    emission: Array | None = None


def mix(a: Array, b: Array, share: Array) -> Array:
    """(N, 3) between ``a`` and ``b`` by ``share`` (N,)."""
    return a + (b - a) * share[:, None]


def line(distance: Array, half_width: float, footprint: Array) -> Array:
    """Coverage (N,) of a line, antialiased: ``distance`` is from its middle, all in metres."""
    wide = np.maximum(footprint, 1e-4)
    share = np.clip((half_width - np.abs(distance)) / wide + 0.5, 0, 1)
    return share * np.minimum(1.0, 2 * half_width / wide)


def fract(x: Array) -> Array:
    return x - np.floor(x)
