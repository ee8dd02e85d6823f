"""Textures of plants, cars, people and lamps."""

from __future__ import annotations

import numpy as np

from core.world.cutout import leaflets, needles
from core.world.noise import fbm, hash01, noise, smoothstep
from core.world.surface import Look, Sample, mix


def leaf(q: Sample) -> Look:
    """Leaves of a card, each with its own tone and a midrib; in autumn between green and the tree's accent."""
    _, own, across = leaflets(q.u, q.v)
    near = np.clip(1.6 - q.footprint * 14, 0, 1)
    rib = 1 + near * (0.16 * across - 0.2 * np.exp(-((across / 0.16) ** 2)))
    card = hash01(q.u, q.v, 0.2)
    color = q.color
    if q.air.foliage == "autumn":
        color = mix(q.color, q.accent, np.clip(0.45 + 0.8 * q.seed + 0.6 * (card - 0.5) + 0.3 * (own - 0.5), 0, 1))
    elif q.air.foliage != "leafy":
        color = color * np.array([0.8, 0.72, 0.7], np.float32)
    hue = (own - 0.5)[:, None] * np.array([0.35, 0.08, -0.2], np.float32)
    return Look(color * ((0.72 + 0.28 * card + 0.35 * own) * rib)[:, None] * (1 + hue), 0.015)


def needle(q: Sample) -> Look:
    _, own = needles(q.u, q.v)
    return Look(q.color * (0.55 + 0.5 * hash01(q.u, q.v, 0.2) + 0.4 * own)[:, None])


def bark(q: Sample) -> Look:
    """Ridges along the stem, moss; birches are white with dark marks."""
    u, v, fp = q.u + q.shift + q.point[:, 0], q.v, q.footprint
    ridges = fbm(u, v * 0.22, 0.05, 3, fp)
    tone = 0.9 + 0.5 * ridges + 0.18 * fbm(u, v, 0.5, 3, fp)
    moss = smoothstep(0.2, 0.8, noise(u, v, 0.9) + 0.35 - 0.3 * v)
    albedo = mix(q.color * np.clip(tone, 0.25, 1.9)[:, None], np.array([0.10, 0.13, 0.05], np.float32), moss * 0.35)
    white = np.float32(0.62) * (1 - 0.75 * smoothstep(0.25, 0.5, fbm(u * 0.3, v * 2.4, 0.14, 3, fp)))
    return Look(np.where((q.params[:, 0] > 0.5)[:, None], white[:, None] * np.array([1, 0.97, 0.9], np.float32), albedo))


def paint(q: Sample) -> Look:
    """Car paint: clear coat over colour, dust near the sills, door gaps."""
    u, v = q.u, q.v
    gap = (np.minimum(np.abs(np.mod(u, 1.13) - 0.55), 1) < 0.008) & (v > 0.35) & (v < 0.9)
    dust = smoothstep(0.62, 0.25, v + 0.1 * noise(u, v, 0.3)) * 0.35
    albedo = mix(q.color, np.array([0.2, 0.18, 0.15], np.float32), dust) * (1 - 0.7 * gap)[:, None]
    return Look(albedo, 0.055)


def car_glass(q: Sample) -> Look:
    """Tinted glass framed by pillars in the car's colour; the side has one more pillar."""
    face = np.floor(q.u)
    x, y = q.u - face, q.v - np.floor(q.v)
    side = (face == 0) | (face == 2)
    edge = (np.minimum(x, 1 - x) < np.where(side, 0.05, 0.04)) | (y > 0.93) | (y < 0.03)
    pillar = side & (np.abs(x - 0.53) < 0.028)
    frame = (edge | pillar).astype(np.float32)
    seats = ((y < 0.45) & (np.abs(np.mod(x * 2 + 0.2, 1) - 0.5) < 0.2)).astype(np.float32)
    dark = np.full(3, 0.015, np.float32) + 0.02 * seats[:, None]
    return Look(mix(dark, q.color * 0.9, frame), 0.12 * (1 - frame) + 0.05 * frame)


def tyre(q: Sample) -> Look:
    """Rubber, and at the flank (uv around 2) a spoked rim."""
    x, y = q.u - 2, q.v - 2
    radius = np.sqrt(x * x + y * y)
    flank = (q.u > 0.99) & (q.v > 0.99) & (radius < 0.66)
    spoke = np.cos(np.arctan2(y, x) * 5) > -0.25
    rim = np.where(spoke | (radius > 0.57) | (radius < 0.2), 0.42, 0.06)
    tone = np.where(flank, rim, 0.035).astype(np.float32)
    return Look(np.repeat(tone[:, None], 3, axis=1), np.where(flank, 0.1, 0.0))


def headlight(q: Sample) -> Look:
    shine = q.color * np.float32(2.5 * max(q.air.headlights, q.air.lamps))
    return Look(q.color * 0.8, 0.25, shine if q.air.lamps > 0 else None)


def taillight(q: Sample) -> Look:
    red = np.broadcast_to(np.array([0.55, 0.02, 0.02], np.float32), q.color.shape)
    return Look(red, 0.15, red * np.float32(1.2) if q.air.lamps > 0 else None)


def cloth(q: Sample) -> Look:
    p = q.point
    fold = fbm(p[:, 0] + p[:, 1], p[:, 2] * 0.5, 0.12, 3, q.footprint)
    return Look(q.color * (0.95 + 0.3 * fold)[:, None])


def skin(q: Sample) -> Look:
    return Look(q.color * (0.95 + 0.1 * noise(q.u, q.v, 0.05, q.footprint))[:, None])


def lamp(q: Sample) -> Look:
    return Look(np.full_like(q.color, 0.8), 0.1, q.color * np.float32(6.0 * q.air.lamps) if q.air.lamps > 0 else None)
