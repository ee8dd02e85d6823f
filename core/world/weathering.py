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
    p, fp = q.point, q.footprint
    share = np.clip(density * (0.6 + 0.7 * fbm(p[:, 0], p[:, 1], 1.6, 3)), 0, 0.9)
    cell = 0.11
    x = p[:, 0] / cell + 0.4 * noise(p[:, 1], p[:, 0], 0.3)
    y = p[:, 1] / cell
    here = hash01(x, y, 0.31)
    dx, dy = fract(x) - 0.5, fract(y) - 0.5
    turn = hash01(x, y, 0.77) * 3
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    shape = ((along / 0.46) ** 2 + (across / 0.3) ** 2 < 1) & (here < share * 1.6)
    far = np.clip(fp / 0.06 - 0.4, 0, 1)
    cover = shape * (1 - far) + share * 0.75 * far
    hue = hash01(y, x, 0.53) * (1 - far) + 0.5 * far
    color = np.stack([0.36 + 0.34 * hue, 0.13 + 0.24 * hue, np.full_like(hue, 0.035)], -1)
    shade = (0.65 + 0.5 * hash01(x + 3, y, 0.2) * (1 - far) + 0.25 * far)[:, None]
    return Look(mix(look.albedo, color * shade, cover.astype(np.float32)), look.mirror * (1 - cover), look.emission)


def _snow(look: Look, q: Sample, material: Material) -> Look:
    p, fp = q.point, q.footprint
    rough = fbm(p[:, 0], p[:, 1] + p[:, 2], 0.7, 4, fp)
    cover = smoothstep(0.22, 0.62, q.normal[:, 2] + 0.22 * rough) * min(1.0, q.air.snow * 1.15)
    tone = 0.95 + 0.07 * rough + 0.10 * fbm(p[:, 1], p[:, 0], 0.13, 3, fp) + 0.05 * noise(p[:, 0], p[:, 1], 4.0)
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
    tread = 0.9 + 0.22 * fbm(q.u * 0.35, q.v * 2.0, 0.3, 4, fp)
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
