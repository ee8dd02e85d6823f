"""Value noise as table look-ups, and integer hashes: the raw material of every texture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from core.geometry import Array

_SIZE = 256
_ROW = 512  # cv2.remap wants a picture, so points are folded into rows of this length


@lru_cache(maxsize=1)
def _table() -> Array:
    """Four independent channels of smooth random values in [-1, 1], tiling every 256 cells."""
    return np.random.default_rng(20190).uniform(-1, 1, (_SIZE, _SIZE, 4)).astype(np.float32)


def noise4(u: Array, v: Array, wavelength: float, footprint: Array | float = 0.0) -> Array:
    """Four noises (N, 4) f32 in [-1, 1] at surface points (N,), fading where the pixel ``footprint`` (m) hides the wave."""
    count = len(u)
    rows = -(-max(count, 1) // _ROW)
    maps = np.zeros((2, rows * _ROW), np.float32)
    for target, source in zip(maps, (u, v), strict=True):
        scaled = source * np.float32(1 / wavelength)
        target[:count] = scaled - np.floor(scaled * np.float32(1 / _SIZE)) * np.float32(_SIZE)
    x, y = maps.reshape(2, rows, _ROW)
    values = cv2.remap(_table(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).reshape(-1, 4)[:count]
    if np.ndim(footprint):
        values = values * np.clip(2.0 - footprint * (3.0 / wavelength), 0, 1)[:, None]
    return values


def noise(u: Array, v: Array, wavelength: float, footprint: Array | float = 0.0) -> Array:
    """One noise (N,) f32 in [-1, 1]."""
    return noise4(u, v, wavelength, footprint)[:, 0]


def fbm(u: Array, v: Array, wavelength: float, octaves: int, footprint: Array | float = 0.0) -> Array:
    """Sum of octaves (N,) f32, roughly in [-1, 1]; every octave uses another channel of the table."""
    total = np.zeros(len(u), np.float32)
    gain, norm = 1.0, 0.0
    for octave in range(octaves):
        shift = np.float32(17.3 * octave)
        total += gain * noise4(u + shift, v - shift, wavelength / 2**octave, footprint)[:, octave % 4]
        norm += gain
        gain *= 0.55
    return total * np.float32(1.6 / norm)


def hash01(i: Array, j: Array | float = 0, k: Array | float = 0) -> Array:
    """A repeatable random number (N,) f32 in [0, 1) for integer cells ``i, j`` and a seed ``k`` in [0, 1)."""
    a = np.atleast_1d(np.floor(i)).astype(np.int64).astype(np.uint32)
    b = np.atleast_1d(np.floor(j)).astype(np.int64).astype(np.uint32)
    c = np.atleast_1d(np.multiply(k, 1048576.0)).astype(np.uint32)
    h = a * np.uint32(0x9E3779B1) + b * np.uint32(0x85EBCA77) + c * np.uint32(0xC2B2AE3D) + np.uint32(0x27D4EB2F)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(1 / 16777216)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)
