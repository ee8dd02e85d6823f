"""The sky as a function of direction."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.conditions import Atmosphere
from core.world.noise import fbm, hash01, smoothstep


def sky_gradient(directions: Array, air: Atmosphere) -> Array:
    """Cloudless sky (N, 3) f32 along unit ``directions`` (N, 3); below the horizon its colour fades to the ground's."""
    height = np.clip(directions[:, 2:3], 0, 1) ** 0.5
    color = air.horizon * (1 - height) + air.zenith * height
    glow = np.clip(directions @ air.sun_direction, 0, 1)[:, None]
    strength = float(air.sun_color.max())
    return color + air.sun_color * (0.06 * glow**8 + 0.10 * min(1.0, strength) * glow**64)


def sky(directions: Array, air: Atmosphere) -> Array:
    """Full sky (N, 3) f32 with clouds, the sun's disk and, by night, stars."""
    color = sky_gradient(directions, air)
    up = np.maximum(directions[:, 2], 0.02)
    u, v = directions[:, 0] / (up + 0.12), directions[:, 1] / (up + 0.12)
    drift = np.float32(air.seed % 4096)
    shape = fbm(u + drift, v + drift * 0.37, 1.6, 6)
    cover = smoothstep(0.62 - 1.15 * air.clouds, 1.05 - 1.1 * air.clouds, shape) * smoothstep(0.0, 0.16, directions[:, 2])
    relief = fbm(u + drift + 0.06, v + drift * 0.37 + 0.05, 1.6, 4) - shape
    tone = np.clip(1.0 + 0.55 * relief - 0.28 * np.clip(shape, -1, 1) * air.clouds, 0.35, 1.5)
    color = color * (1 - 0.92 * cover[:, None]) + air.cloud_color * (0.92 * cover * tone)[:, None]
    disk = smoothstep(0.99985, 0.99996, directions @ air.sun_direction) * (1 - cover)
    if air.has_shadows:
        color = color + air.sun_color * (12 * disk)[:, None]
    if air.headlights > 0:
        color = color + _stars(directions, cover)
    return color.astype(np.float32)


def _stars(directions: Array, cover: Array) -> Array:
    cells = directions * 220
    lucky = hash01(cells[:, 0], cells[:, 1], 0.3) * hash01(cells[:, 2], cells[:, 1], 0.7)
    return (0.35 * (lucky > 0.985) * (1 - cover) * (directions[:, 2] > 0.08))[:, None].astype(np.float32)
