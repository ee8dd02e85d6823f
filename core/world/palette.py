"""Colours by thing, linear RGB, drawn by seed so that no two streets share their paint."""

from __future__ import annotations

import colorsys

import numpy as np

from core.geometry import Array


def hsv(hue: float, saturation: float, value: float) -> Array:
    """A linear colour from hue, saturation and value in [0, 1] (value is display referred)."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32) ** 2.2


def plaster(rng: np.random.Generator) -> Array:
    hue = rng.choice([0.08, 0.1, 0.12, 0.05, 0.02, 0.55, 0.3, 0.95])
    return hsv(hue + rng.normal(0, 0.015), rng.uniform(0.03, 0.38), rng.uniform(0.62, 0.92))


def brick(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.01, 0.09), rng.uniform(0.3, 0.6), rng.uniform(0.42, 0.68))


def stone(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.07, 0.14), rng.uniform(0.03, 0.22), rng.uniform(0.5, 0.76))


def cladding(rng: np.random.Generator) -> Array:
    hue = rng.choice([0.01, 0.03, 0.1, 0.13, 0.58, 0.4, 0.0])
    return hsv(hue, rng.uniform(0.02, 0.6), rng.uniform(0.4, 0.9))


def roof(rng: np.random.Generator) -> Array:
    if rng.random() < 0.5:
        return hsv(rng.uniform(0.01, 0.06), rng.uniform(0.4, 0.65), rng.uniform(0.38, 0.58))
    return hsv(rng.uniform(0.55, 0.7), rng.uniform(0.02, 0.15), rng.uniform(0.25, 0.45))


def trim(rng: np.random.Generator) -> Array:
    if rng.random() < 0.7:
        return hsv(rng.uniform(0.08, 0.14), rng.uniform(0.0, 0.12), rng.uniform(0.68, 0.9))
    return hsv(rng.random(), rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5))


def door(rng: np.random.Generator) -> Array:
    return hsv(rng.random(), rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.55))


def vivid(rng: np.random.Generator) -> Array:
    return hsv(rng.random(), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.9))


def car(rng: np.random.Generator) -> Array:
    if rng.random() < 0.55:
        return hsv(0.6, rng.uniform(0, 0.08), rng.choice([0.2, 0.3, 0.45, 0.62, 0.85, 0.92]))
    return hsv(rng.choice([0.0, 0.02, 0.58, 0.62, 0.35, 0.1, 0.13]), rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.75))


def leaf(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.17, 0.29), rng.uniform(0.42, 0.66), rng.uniform(0.42, 0.62))


def needle(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.28, 0.4), rng.uniform(0.3, 0.5), rng.uniform(0.27, 0.42))


def autumn_leaf(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.01, 0.145), rng.uniform(0.7, 0.92), rng.uniform(0.55, 0.88))


def bark(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.05, 0.11), rng.uniform(0.1, 0.35), rng.uniform(0.28, 0.46))


def grass(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.18, 0.27), rng.uniform(0.34, 0.52), rng.uniform(0.38, 0.52))


def sign_rim(rng: np.random.Generator) -> Array:
    return hsv(rng.choice([0.0, 0.0, 0.6, 0.14, 0.38]), rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.85))


def metal(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.3, 0.65), rng.uniform(0.02, 0.4), rng.uniform(0.2, 0.5))


def grey(rng: np.random.Generator, low: float, high: float) -> Array:
    return hsv(rng.uniform(0.05, 0.65), rng.uniform(0.0, 0.07), rng.uniform(low, high))


def skin(rng: np.random.Generator) -> Array:
    return hsv(rng.uniform(0.03, 0.08), rng.uniform(0.3, 0.55), rng.uniform(0.35, 0.9))
