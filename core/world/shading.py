"""From surface points to light: the texture of each material, the weather on it, the lamps and the sky around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.geometry import Array
from core.world import textures_built as built
from core.world import textures_ground as soil
from core.world import textures_things as things
from core.world.conditions import Atmosphere
from core.world.materials import Material
from core.world.noise import fbm
from core.world.objects import Objects
from core.world.sky import sky_gradient
from core.world.surface import Look, Sample
from core.world.weathering import PLANTS, weathered

TEXTURES: dict[Material, Callable[[Sample], Look]] = {
    Material.ASPHALT: soil.asphalt,
    Material.PAVING: soil.paving,
    Material.COBBLE: soil.cobble,
    Material.KERB: soil.kerb,
    Material.GRASS: soil.grass,
    Material.GRAVEL: soil.gravel,
    Material.SOIL: soil.soil,
    Material.HILL: soil.hill,
    Material.WATER: soil.water,
    Material.SNOW_PILE: soil.snow_pile,
    Material.BRICK: built.brick,
    Material.PLASTER: built.plaster,
    Material.ASHLAR: built.ashlar,
    Material.CLADDING: built.cladding,
    Material.ROOF_TILE: built.roof_tile,
    Material.ROOF_FLAT: built.roof_flat,
    Material.WINDOW: built.window,
    Material.DOOR: built.door,
    Material.TRIM: built.trim,
    Material.METAL: built.metal,
    Material.PLANK: built.plank,
    Material.POSTER: built.poster,
    Material.SHOP_SIGN: built.shop_sign,
    Material.AWNING: built.awning,
    Material.SIGN: built.sign,
    Material.FAR_CITY: built.far_city,
    Material.LEAF: things.leaf,
    Material.NEEDLE: things.needle,
    Material.BARK: things.bark,
    Material.PAINT: things.paint,
    Material.CAR_GLASS: things.car_glass,
    Material.TYRE: things.tyre,
    Material.HEADLIGHT: things.headlight,
    Material.TAILLIGHT: things.taillight,
    Material.CLOTH: things.cloth,
    Material.SKIN: things.skin,
    Material.LAMP: things.lamp,
}


@dataclass(slots=True, eq=False)
class Points:
    """P points to be lit: world ``position``, unit ``normal`` (to the eye) and unit ``view`` (from the eye), (P, 3) f32;
    ``uv`` (P, 2), ``footprint`` (P,) m a pixel, ``material`` and ``obj`` (P,), ``sun`` and ``open_sky`` (P,) visible shares;
    ``reflected`` (P, 3) light from the mirrored direction, NaN where nobody looked.
    """

    position: Array
    normal: Array
    view: Array
    uv: Array
    footprint: Array
    material: Array
    obj: Array
    sun: Array
    open_sky: Array
    reflected: Array

    def taken(self, index: Array) -> Points:
        return Points(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """What lights a frame: the ``air``, ``lamps`` (L, 3) m, the eye and its heading (3,) for headlights, the ``litter`` map."""

    air: Atmosphere
    objects: Objects
    lamps: Array
    eye: Array
    heading: Array
    litter: Callable[[Array], Array]


def radiance(points: Points, lighting: Lighting) -> Array:
    """Light (P, 3) f32 that leaves the points towards the eye."""
    order = np.argsort(points.material, kind="stable")
    ordered = points.taken(order)
    color = np.empty((len(order), 3), np.float32)
    edges = np.flatnonzero(np.diff(ordered.material, prepend=255, append=255))
    for start, end in pairwise(edges):
        part = slice(int(start), int(end))
        color[part] = _lit(ordered.taken(part), Material(int(ordered.material[start])), lighting)
    result = np.empty_like(color)
    result[order] = color
    return result


def _sample(points: Points, lighting: Lighting) -> Sample:
    objects = lighting.objects
    row = points.obj
    return Sample(
        points.uv[:, 0], points.uv[:, 1], points.footprint, points.position, points.normal, points.view,
        objects.color[row], objects.accent[row], objects.seed[row], objects.params[row], lighting.air,
    )  # fmt: skip


def _lit(points: Points, material: Material, lighting: Lighting) -> Array:
    air = lighting.air
    q = _sample(points, lighting)
    litter = lighting.litter(points.position) if air.litter > 0 else np.float32(0)
    look = weathered(TEXTURES[material](q), q, material, litter)
    light = _sky_light(points, air) + _sun_light(points, air, material in PLANTS)
    if air.lamps > 0:
        light = light + _lamp_light(points, lighting)
    if air.headlights > 0:
        light = light + _headlight(points, lighting)
    color = look.albedo * light
    if np.ndim(look.mirror) or look.mirror > 0:
        color = color + _mirror(points, air, look.mirror)
    return color if look.emission is None else color + look.emission


def _sky_light(points: Points, air: Atmosphere) -> Array:
    up = (0.5 + 0.5 * points.normal[:, 2:3]) ** 0.8
    bounce = (air.horizon * 0.55 + air.sun_color * (0.7 * air.sun_direction[2])) * np.float32(0.3 + 0.45 * air.snow)
    above = 0.55 * air.zenith + 0.45 * air.horizon
    return (bounce * (1 - up) + above * up) * (0.12 + 0.88 * points.open_sky)[:, None]


def _sun_light(points: Points, air: Atmosphere, plant: bool) -> Array:
    slope = points.normal @ air.sun_direction
    slope = np.clip(0.45 + 0.55 * slope, 0.12, 1) * 0.85 if plant else np.clip(slope, 0, 1)
    return air.sun_color * (slope * points.sun)[:, None]


def _lamp_light(points: Points, lighting: Lighting) -> Array:
    """Pools of light under the lamps within 22 m."""
    light = np.zeros_like(points.position)
    warm = np.array([1.0, 0.76, 0.42], np.float32) * np.float32(2.6 * lighting.air.lamps)
    for lamp in lighting.lamps:
        to_lamp = lamp - points.position
        square = (to_lamp * to_lamp).sum(axis=1)
        near = np.flatnonzero(square < 480)
        if len(near):
            distance = np.sqrt(square[near])
            ray = to_lamp[near] / distance[:, None]
            slope = np.clip((ray * points.normal[near]).sum(axis=1) * 0.85 + 0.15, 0, 1)
            down = np.clip(ray[:, 2] * 1.3, 0.08, 1)
            falloff = slope * down * np.clip(1 - square[near] / 480, 0, 1) / (1 + square[near] / 14)
            light[near] += warm * falloff[:, None]
    return light


def _headlight(points: Points, lighting: Lighting) -> Array:
    source = lighting.eye - np.array([0, 0, 0.75], np.float32)
    ray = points.position - source
    distance = np.sqrt((ray * ray).sum(axis=1)) + 1e-3
    ray = ray / distance[:, None]
    side = ray @ np.array([lighting.heading[1], -lighting.heading[0], 0], np.float32)
    ahead = ray @ lighting.heading
    beam = np.exp(-((side / 0.42) ** 2)) * np.exp(-(((ray[:, 2] + 0.06) / 0.11) ** 2)) * (ahead > 0)
    slope = np.clip(-(ray * points.normal).sum(axis=1) * 0.8 + 0.2, 0, 1)
    power = beam * slope * 4.0 / (1 + (distance / 7) ** 2)
    return power[:, None] * np.array([1.0, 0.95, 0.82], np.float32)


def _mirror(points: Points, air: Atmosphere, strength: Array | float) -> Array:
    """The sky in smooth surfaces (Schlick), with a dim skyline where the reflected ray runs low."""
    cosine = -np.einsum("ij,ij->i", points.view, points.normal)
    reflected = points.view + 2 * cosine[:, None] * points.normal
    fresnel = strength + (np.minimum(1.0, strength * 3)) * np.clip(1 - cosine, 0, 1) ** 5
    if np.isfinite(points.reflected[0, 0]):
        return points.reflected * fresnel[:, None]
    skyline = 0.16 + 0.14 * fbm(
        reflected[:, 0] * 6 + points.position[:, 0] * 0.05, reflected[:, 1] * 6 + points.position[:, 1] * 0.05, 1.0, 3
    )
    blocked = np.clip((skyline - reflected[:, 2]) * 9, 0, 1)
    seen = sky_gradient(reflected, air) * (1 - 0.72 * blocked)[:, None]
    return seen * (fresnel * (0.35 + 0.65 * points.open_sky))[:, None]
