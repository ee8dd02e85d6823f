"""Shadow rays: the share of the sun and of the sky that each visible point sees."""

from __future__ import annotations

import cv2
import numpy as np

from core.geometry import Array
from core.world.conditions import Atmosphere
from core.world.stage import Stage, blocked_by_any

_AO_REACH_M = 5.0
_AO_RAYS = 4


def sun_share(stages: list[Stage], position: Array, normal: Array, depth: Array, air: Atmosphere) -> Array:
    """Share (R,) f32 in [0, 1] of the sun: one ray each, spread over the sun's disk so that edges soften."""
    share = np.ones(len(position), np.float32)
    if not air.has_shadows:
        return share
    lit = np.flatnonzero(np.isfinite(depth) & ((normal @ air.sun_direction) > -0.3))
    start = position[lit] + normal[lit] * (0.015 + 0.0015 * depth[lit])[:, None]
    direction = air.sun_direction + _sphere(lit) * np.float32(0.007)
    dark = np.zeros(len(lit), bool)
    for stage in stages:
        rays = np.flatnonzero(~dark)
        dark[rays] = np.isfinite(stage.cast(start[rays], direction[rays], rounds=2).distance)
    share[lit] = ~dark
    return share


def softened(share: Array, depth: Array, shape: tuple[int, int]) -> Array:
    """Smooth the single rays of ``share`` (R,) over 5 x 5 pixels wherever these lie on one surface."""
    near = np.where(np.isfinite(depth), depth, 1e4).astype(np.float32).reshape(shape)
    kernel = np.ones((5, 5), np.uint8)
    step = cv2.dilate(near, kernel) - cv2.erode(near, kernel)
    smooth = cv2.blur(share.reshape(shape), (5, 5))
    return np.where(step < 0.12 * near, smooth, share.reshape(shape)).ravel()


def open_sky(stages: list[Stage], position: Array, normal: Array, depth: Array, shape: tuple[int, int]) -> Array:
    """Share (R,) f32 of the hemisphere within 5 m that is free: four rays at every other pixel, smoothed within a surface."""
    rows, columns = shape
    index = np.arange(rows * columns).reshape(shape)[::2, ::2]
    at = index.ravel()
    solid = np.flatnonzero(np.isfinite(depth[at]))
    free = np.ones(len(at), np.float32)
    free[solid] = _free_share(stages[:2], position[at[solid]], normal[at[solid]], at[solid])
    small = _smooth(free.reshape(index.shape), depth[at].reshape(index.shape), normal[at].reshape(*index.shape, 3))
    return _enlarge(small, depth.reshape(shape), index).ravel()


def _free_share(stages: list[Stage], position: Array, normal: Array, seed: Array) -> Array:
    start = position + normal * 0.03
    free = np.zeros(len(position), np.float32)
    for ray in range(_AO_RAYS):
        free += ~blocked_by_any(stages, start, normal + _sphere(seed * _AO_RAYS + ray), _AO_REACH_M)
    return free / _AO_RAYS


def _sphere(index: Array) -> Array:
    """Unit vectors (N, 3), evenly spread; added to a normal they are cosine distributed."""
    a, b = _scrambled(index, 0x9E3779B1), _scrambled(index, 0x85EBCA77)
    z = 1.98 * a - 0.99
    r = np.sqrt(1 - z * z)
    angle = b * np.float32(2 * np.pi)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], -1)


def _scrambled(index: Array, key: int) -> Array:
    h = index.astype(np.uint32) * np.uint32(key)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(13)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(1 / 16777216)


def _smooth(values: Array, depth: Array, normal: Array) -> Array:
    """Average over 5 x 5 neighbours of the same surface."""
    pad = 2
    wide = np.pad(values, pad, mode="edge")
    near = np.where(np.isfinite(depth), depth, 1e4).astype(np.float32)
    wide_depth = np.pad(near, pad, mode="edge")
    wide_normal = np.pad(normal, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    total, weight = np.zeros_like(values), np.zeros_like(values)
    rows, columns = values.shape
    for dy in range(5):
        for dx in range(5):
            window = (slice(dy, dy + rows), slice(dx, dx + columns))
            same = (np.abs(wide_depth[window] - near) < 0.06 * near).astype(np.float32)
            same *= np.einsum("ijk,ijk->ij", wide_normal[window], normal) > 0.6
            total += wide[window] * same
            weight += same
    return np.where(weight > 0, total / np.maximum(weight, 1), values)


def _enlarge(small: Array, depth: Array, index: Array) -> Array:
    """To full size: each pixel takes the value of the nearest-depth one among its four sampled neighbours."""
    rows, columns = depth.shape
    near = np.where(np.isfinite(depth), depth, 1e4)
    small_depth = near.ravel()[index]
    y, x = np.arange(rows) // 2, np.arange(columns) // 2
    best = np.full(depth.shape, np.inf, np.float32)
    result = np.ones(depth.shape, np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            at = np.ix_(
                np.minimum(y + dy * (np.arange(rows) % 2), small.shape[0] - 1),
                np.minimum(x + dx * (np.arange(columns) % 2), small.shape[1] - 1),
            )
            gap = np.abs(small_depth[at] - near)
            better = gap < best
            best = np.where(better, gap, best)
            result = np.where(better, small[at], result)
    return result
