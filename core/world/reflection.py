"""What glass, paint, water and wet ground mirror: one ray each, its hit shaded without texture."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.conditions import Atmosphere
from core.world.materials import Material
from core.world.noise import noise4
from core.world.objects import Objects
from core.world.sky import sky_gradient
from core.world.stage import Stage

_GLOSSY = (Material.WINDOW, Material.CAR_GLASS, Material.PAINT, Material.WATER)
_WET = (Material.ASPHALT, Material.PAVING, Material.COBBLE, Material.KERB, Material.GRAVEL)


def mirrored(
    stages: list[Stage], position: Array, normal: Array, view: Array, material: Array, objects: Objects, air: Atmosphere
) -> Array:
    """Light (R, 3) f32 from the mirrored direction for the glossy materials, NaN for all others."""
    light = np.full(position.shape, np.nan, np.float32)
    glossy = _GLOSSY + (_WET if air.wet > 0 else ())
    rays = np.flatnonzero(np.isin(material, glossy))
    if not len(rays):
        return light
    bent = _rippled(position[rays], normal[rays], material[rays])
    seen = view[rays]
    direction = seen - 2 * np.einsum("ij,ij->i", seen, bent)[:, None] * bent
    direction[:, 2] = np.where(normal[rays, 2] > 0.7, np.abs(direction[:, 2]) + 0.01, direction[:, 2])
    light[rays] = _look(stages, position[rays] + normal[rays] * 0.03, direction, objects, air)
    return light


def _rippled(position: Array, normal: Array, material: Array) -> Array:
    flat = normal[:, 2] > 0.7
    strength = np.where(material == Material.WATER, 0.035, np.where(flat, 0.05, 0.006)).astype(np.float32)
    waves = noise4(position[:, 0] + position[:, 2], position[:, 1] - position[:, 2], 0.18)[:, :3]
    bent = normal + waves * strength[:, None]
    return bent / np.linalg.norm(bent, axis=1, keepdims=True)


def _look(stages: list[Stage], start: Array, direction: Array, objects: Objects, air: Atmosphere) -> Array:
    light = sky_gradient(direction, air)
    nearest = np.full(len(direction), np.inf, np.float32)
    for stage in stages:
        hits = stage.cast(start, direction, rounds=0)
        rays = np.flatnonzero(hits.distance < nearest)
        nearest[rays] = hits.distance[rays]
        light[rays] = _plain(stage, hits.triangle[rays], objects, air)
    return light


def _plain(stage: Stage, triangle: Array, objects: Objects, air: Atmosphere) -> Array:
    """Light (N, 3) of triangles (N,) as if they had no texture."""
    mesh = stage.mesh
    slope = np.abs(mesh.normals[triangle, 0] @ air.sun_direction)
    around = 0.45 * (0.5 * air.zenith + 0.5 * air.horizon) + air.sun_color * (0.35 * slope)[:, None]
    glass = (mesh.material[triangle] == Material.WINDOW)[:, None]
    color = objects.color[mesh.obj[triangle]] * np.where(glass, np.float32(0.25), np.float32(0.9)) * around
    lamp = mesh.material[triangle] == Material.LAMP
    color[lamp] += np.array([6.0, 4.6, 2.6], np.float32) * np.float32(air.lamps)
    return color
