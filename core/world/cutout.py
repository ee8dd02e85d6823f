"""Leaf cards are cut to leaves: which part of a card is there, as a function of its coordinates."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.materials import Material
from core.world.noise import hash01

_LEAFLETS = 4  # a card holds 4 x 4 of them
CUT = (Material.LEAF, Material.NEEDLE)


def leaflets(u: Array, v: Array) -> tuple[Array, Array, Array]:
    """For card coordinates (N,): whether a leaf is there, its own random number, and -1..1 across it."""
    i, j = np.floor(u), np.floor(v)
    x, y = (u - i) * _LEAFLETS, (v - j) * _LEAFLETS
    x = (x + 0.5 * np.mod(np.floor(y), 2) + 0.3 * np.mod(i, 3)) % _LEAFLETS
    cx, cy = np.floor(x), np.floor(y)
    own = hash01(i * _LEAFLETS + cx, j * _LEAFLETS + cy, 0.5)
    turn = own * np.float32(2 * np.pi)
    dx, dy = x - cx - 0.4 - 0.2 * own, y - cy - 0.5 + 0.3 * (own * 7 % 1 - 0.5)
    c, s = np.cos(turn), np.sin(turn)
    along, across = (dx * c + dy * s) * np.float32(1.75), (dy * c - dx * s) * np.float32(2.5)
    outline = along * along + across * across < 1
    ragged = ((u - i) - 0.5) ** 2 + ((v - j) - 0.5) ** 2 < 0.17 + 0.12 * own
    return outline & ragged, own, across


def needles(u: Array, v: Array) -> tuple[Array, Array]:
    """For card coordinates (N,): whether a needle is there, and its own random number."""
    i, j = np.floor(u), np.floor(v)
    x, y = u - i, v - j - 0.5
    away = np.abs(y)
    comb = x * 13 + away * 9
    own = hash01(np.floor(comb) + i * 13, j * 2 + (y > 0), 0.3)
    needle = (away < (0.48 - 0.4 * x) * (0.6 + 0.4 * own)) & (comb - np.floor(comb) < 0.62)
    return needle | (away < 0.03), own


def missing(material: Array, u: Array, v: Array) -> Array:
    """Tell (N,) where a card has a hole; other materials have none."""
    hole = np.zeros(len(u), bool)
    broad, spruce = np.flatnonzero(material == Material.LEAF), np.flatnonzero(material == Material.NEEDLE)
    hole[broad] = ~leaflets(u[broad], v[broad])[0]
    hole[spruce] = ~needles(u[spruce], v[spruce])[0]
    return hole
