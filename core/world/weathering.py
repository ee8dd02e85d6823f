"""What the condition lays over every material: snow, water, fallen leaves."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.materials import Material
from core.world.noise import fbm, hash01, noise, noise4, smoothstep
from core.world.surface import Look, Sample, fract, mix

GROUND = frozenset(
    {
        Material.ASPHALT,
        Material.PAVING,
        Material.COBBLE,
        Material.KERB,
        Material.GRASS,
        Material.GRAVEL,
        Material.SOIL,
        Material.HILL,
    }
)
PLANTS = frozenset({Material.LEAF, Material.NEEDLE})
_BARE_OF_SNOW = frozenset(
    {Material.LAMP, Material.SNOW_PILE, Material.CLOTH, Material.SKIN, Material.HEADLIGHT, Material.TAILLIGHT}
)
_SNOW = np.array([0.80, 0.84, 0.90], np.float32)


def weathered(look: Look, q: Sample, material: Material, litter: Array) -> Look:
    """Lay leaves, snow and water on a look; ``litter`` (N,) is how many leaves fall here."""
    if material in GROUND and q.air.litter > 0 and material != Material.HILL:
        look = _leaves(look, q, litter * q.air.litter)
    if q.air.snow > 0 and material not in _BARE_OF_SNOW:
        look = _snow(look, q, material)
    if q.air.wet > 0 and material not in PLANTS:
        look = _wet(look, q, material)
    return look


def _leaves(look: Look, q: Sample, density: Array) -> Look:
    """Two scattered layers of single leaves near by, their mean colour far away."""
    p, fp = q.point, q.footprint
    share = np.clip(density * (0.6 + 0.8 * fbm(p[:, 0], p[:, 1], 1.6, 4)), 0, 0.92)
    far = np.clip(fp / 0.05 - 0.4, 0, 1)
    albedo, mirror = look.albedo, look.mirror
    for cell, key in ((0.1, 0.31), (0.13, 0.67)):
        cover, hue = _scattered(p[:, 0] + 10 * key, p[:, 1], cell, key, share * (1 - far))
        albedo = mix(albedo, _leaf_color(hue), cover)
        mirror = mirror * (1 - cover)
    mean = _leaf_color(np.clip(0.5 + 0.3 * fbm(p[:, 1], p[:, 0], 0.5, 3, fp), 0, 1)) * 0.85
    return Look(mix(albedo, mean, share * 0.8 * far), mirror, look.emission)


def _scattered(x: Array, y: Array, cell: float, key: float, share: Array) -> tuple[Array, Array]:
    """Coverage (N,) and random hue (N,) of one leaf a cell, moved and turned at random."""
    x, y = x / cell, y / cell + 0.5 * np.floor(x / cell)
    one, two = hash01(x, y, key), hash01(y, x, key)
    dx, dy = fract(x) - 0.5 - 0.34 * (one - 0.5), fract(y) - 0.5 - 0.5 * (two - 0.5)
    c, s = np.cos(one * 19), np.sin(one * 19)
    along, across = dx * c + dy * s, dy * c - dx * s
    shape = (along / 0.36) ** 2 + (across / (0.2 + 0.1 * np.cos(along * 9))) ** 2 < 1
    return (shape & (fract(one * 13 + two * 7) < share)).astype(np.float32), fract(two * 31)


def _leaf_color(hue: Array) -> Array:
    shade = 0.6 + 0.5 * fract(hue * 17)
    return np.stack([0.34 + 0.34 * hue, 0.12 + 0.24 * hue, np.full_like(hue, 0.035)], -1) * shade[:, None]


def _snow(look: Look, q: Sample, material: Material) -> Look:
    p, fp = q.point, q.footprint
    rough = fbm(p[:, 0], p[:, 1] + p[:, 2], 0.7, 4, fp)
    cover = smoothstep(0.22, 0.62, q.normal[:, 2] + 0.22 * rough) * min(1.0, q.air.snow * 1.15)
    tone = 0.9 + 0.08 * rough + 0.2 * fbm(p[:, 1], p[:, 0], 0.22, 4, fp) + 0.05 * noise(p[:, 0], p[:, 1], 4.0)
    snow = _SNOW * tone[:, None]
    if material == Material.ASPHALT:
        cover, snow = _tracks(q, cover, snow)
    elif material in (Material.PAVING, Material.COBBLE, Material.GRAVEL):
        cover, snow = _trodden(q, cover, snow)
    elif material in PLANTS:
        cover = cover * 0.75 * (hash01(q.u, q.v, 0.4) < 0.8)
    elif material == Material.GRASS:
        cover = cover * (1 - 0.75 * smoothstep(0.45, 0.8, noise4(q.u, q.v, 0.07, fp)[:, 0] + 0.35 * rough))
    elif material in (Material.PAINT, Material.CAR_GLASS):
        cover = cover * 0.8
    emission = None if look.emission is None else look.emission * (1 - cover)[:, None]
    return Look(mix(look.albedo, snow, cover), look.mirror * (1 - cover), emission)


def _tracks(q: Sample, cover: Array, snow: Array) -> tuple[Array, Array]:
    """Wheels have worn the snow to slush and asphalt; the crown and the edges keep it."""
    half, v, fp = q.params[:, 0], q.v + 0.22 * noise(q.u, q.v * 0.1, 9.0), q.footprint
    lane = np.where(half > 4.5, 2.0, half * 0.38)
    wheel = np.exp(-(((np.abs(np.abs(v) - lane) - 0.74) / 0.27) ** 2))
    wheel = wheel * np.clip(0.95 + 0.5 * fbm(q.u * 0.4, q.v, 1.1, 3, fp), 0, 1)
    tread = 0.92 + 0.3 * fbm(q.u * 0.5, q.v * 2.0, 0.3, 5, fp)
    used = np.clip(1 - np.abs(v) / np.maximum(half, 1), 0, 1) ** 0.5
    brown = mix(snow, np.array([0.42, 0.40, 0.38], np.float32), np.clip(0.55 * used + 0.25 * fbm(q.u, q.v, 0.6, 3, fp), 0, 0.8))
    return cover * (1 - np.clip(wheel * 1.1, 0, 0.92) * (1.15 - 0.3 * q.air.snow)), brown * tread[:, None]


def _trodden(q: Sample, cover: Array, snow: Array) -> tuple[Array, Array]:
    path = smoothstep(-0.3, 0.5, fbm(q.u * 0.25, q.v, 0.9, 3))
    steps = 0.8 + 0.2 * (hash01(q.u / 0.3, q.v / 0.14, 0.5) > 0.4) * np.clip(1.5 - 18 * q.footprint, 0, 1)
    worn = mix(snow, np.array([0.55, 0.55, 0.56], np.float32) * 0.9, path * 0.6)
    return cover * (1 - 0.35 * path), worn * (1 - (1 - steps) * path)[:, None]


def _wet(look: Look, q: Sample, material: Material) -> Look:
    up = np.clip(q.normal[:, 2], 0, 1)
    soak = 1 - (0.45 if material in GROUND else 0.22) * q.air.wet * (0.35 + 0.65 * up)
    mirror = look.mirror
    if material in GROUND and material not in (Material.GRASS, Material.HILL, Material.SOIL):
        puddle = smoothstep(
            0.12, 0.4, fbm(q.point[:, 0], q.point[:, 1], 3.2, 3) + 0.25 * noise(q.point[:, 0], q.point[:, 1], 0.5)
        )
        mirror = mirror + up * (0.03 + 0.13 * puddle)
        soak = soak * (1 - 0.35 * puddle)
    elif material == Material.ROOF_TILE or material == Material.PAINT:
        mirror = mirror + 0.04
    return Look(look.albedo * soak[:, None], mirror, look.emission)
