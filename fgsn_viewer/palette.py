"""Colours: one id, one colour, everywhere. All colours are sRGB u8."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from core.geometry import Array

ACCENT = "#4FC3F7"  # selection and the estimated pose
GOOD, FAIR, POOR, BAD = "#66BB6A", "#D4E157", "#FFCA28", "#EF5350"
DROPPED = "#7FA8F8"  # matches that labels keep from RANSAC
GUIDED = "#26C6DA"  # matches that were found again from the pose
BEST_SCORE = "#FDE725"  # the end of display3d.score_colors
TRUTH = "#FFFFFF"
PRIOR = "#9E9E9E"
REFERENCE = "#8A97A6"  # the mapping cameras: there, but quiet
OUTCOME_COLORS = {"good": GOOD, "fair": FAIR, "poor": POOR, "bad": BAD, "failed": BAD, "unknown": PRIOR, "": PRIOR}
CONDITION_COLORS = {
    "overcast": "#90A4AE",
    "sun": "#FFD54F",
    "autumn": "#FF8A50",
    "no-foliage": "#A1887F",
    "snow": "#E1F5FE",
    "rain": "#5C8FD6",
    "dusk": "#BA68C8",
    "night": "#5C6BC0",
}
# What scenes call images whose weather nobody knows.
_NO_CONDITIONS = ("reference", "db", "database", "mapping", "training", "images")
_CONDITION_WORDS = {  # what a longer name of a condition is about, the most telling first
    "snow": "snow",
    "night": "night",
    "dusk": "dusk",
    "dawn": "dusk",
    "rain": "rain",
    "mixed-foliage": "autumn",
    "no-foliage": "no-foliage",
    "overcast": "overcast",
    "cloudy": "overcast",
    "sun": "sun",
    "sunny": "sun",
    "day": "sun",
}
# Cityscapes, by train id: road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky,
# person, rider, car, truck, bus, train, motorcycle, bicycle.
CITYSCAPES_COLORS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
    (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip
NUM_DISTINCT = 1024
_RECENT = 6  # a colour keeps this far (in OKLab) from so many ids before it
_RECENT_DISTANCE = {False: 0.17, True: 0.08}
# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB: protanopia, deuteranopia.
_COLOR_VISION = (
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
)


def label_colors(num_labels: int, vocabulary: str = "", colorblind_safe: bool = False) -> Array:
    """Colours (K, 3) u8 of the labels 0..K-1; the colour of an id never depends on K.

    The vocabulary ``cityscapes-19`` has its customary colours; every other one takes the general list, whose first
    twenty are as far apart as they can be, and where ids near each other differ.
    """
    if num_labels < 0:
        raise ValueError(f"num_labels is {num_labels}, expected 0 or more")
    general = _distinct_colors(colorblind_safe)
    if vocabulary.startswith("cityscapes") and not colorblind_safe:
        general = np.concatenate([np.array(CITYSCAPES_COLORS, np.uint8), general])
    return general[np.arange(num_labels) % len(general)]


def condition_color(condition: str) -> str:
    """The hue of a condition, as #rrggbb: of its weather or light where the name says so, else a stable one of its own."""
    if condition in CONDITION_COLORS:
        return CONDITION_COLORS[condition]
    if condition in _NO_CONDITIONS:
        return REFERENCE
    said = f"-{condition.replace('_', '-')}-"
    for word, known in _CONDITION_WORDS.items():
        if f"-{word}-" in said:
            return CONDITION_COLORS[known]
    red, green, blue = _distinct_colors(False)[zlib.crc32(condition.encode()) % 20]
    return f"#{red:02x}{green:02x}{blue:02x}" if condition else PRIOR


def linear_rgb(colors: Array) -> Array:
    """sRGB (N, 3) u8 to linear light (N, 3) f64 in [0, 1]."""
    c = np.asarray(colors, np.float64) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(linear: Array) -> Array:
    """Linear RGB (N, 3) to OKLab (N, 3) (Ottosson 2020), where distance is about perceived difference."""
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(np.clip(linear, 0, None) @ to_lms.T) @ to_lab.T


def simulated_oklab(colors: Array, colorblind: bool) -> Array:
    """OKLab (N, V, 3) of sRGB colours as V kinds of eyes see them: normal only, or also protanopes and deuteranopes."""
    linear = linear_rgb(colors)
    seen = [linear, *(np.clip(linear @ m.T, 0, 1) for m in _COLOR_VISION)] if colorblind else [linear]
    return np.stack([oklab(each) for each in seen], axis=1)


@lru_cache(maxsize=2)
def _distinct_colors(colorblind_safe: bool) -> Array:
    """Greedy farthest-first choice of ``NUM_DISTINCT`` colours; each also keeps away from the few chosen just before it."""
    candidates = _candidates()
    views = simulated_oklab(candidates, colorblind_safe).astype(np.float32)
    start = int(np.argmin(np.abs(candidates.astype(int) - (230, 80, 60)).sum(axis=1)))
    chosen = [start]
    to_chosen = [_distance(views, start)]
    nearest = to_chosen[0].copy()
    while len(chosen) < NUM_DISTINCT:
        recent = np.minimum.reduce(to_chosen[-_RECENT:])
        index = int(np.argmax(np.where(recent > _RECENT_DISTANCE[colorblind_safe], nearest, nearest * 1e-3 + recent * 1e-6)))
        chosen.append(index)
        to_chosen = [*to_chosen[1 - _RECENT :], _distance(views, index)]
        nearest = np.minimum(nearest, to_chosen[-1])
    colors = candidates[chosen]
    colors.setflags(write=False)
    return colors


def _distance(views: Array, index: int) -> Array:
    return np.sqrt(((views - views[index]) ** 2).sum(axis=2)).min(axis=1)


def _candidates() -> Array:
    """A grid of sRGB colours that are neither near black, near white nor grey: they have to show on a photograph."""
    axis = np.linspace(0, 255, 20).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = oklab(linear_rgb(grid))
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    return grid[(lab[:, 0] > 0.42) & (lab[:, 0] < 0.92) & (chroma > 0.07)]
