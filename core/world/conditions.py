"""The eight conditions: light, sky, air, wetness, snow, leaves, lamps and the sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.geometry import Array

CONDITIONS = ("overcast", "sun", "autumn", "no-foliage", "snow", "rain", "dusk", "night")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Atmosphere:
    """Everything about a condition but geometry. Colours (3,) f32 are linear; shares are in [0, 1].

    ``sun_direction`` (3,) points to the sun (or the moon); ``fog`` is extinction a metre; ``noise`` the sensor's sigma
    in display units; ``lit`` the share of windows with light; ``headlights`` the own car's.
    """

    foliage: str = "leafy"
    sun_direction: Array
    sun_color: Array
    zenith: Array
    horizon: Array
    cloud_color: Array
    clouds: float = 0.5
    fog: float = 0.0008
    snow: float = 0.0
    wet: float = 0.0
    litter: float = 0.0
    turf: Array
    lamps: float = 0.0
    lit: float = 0.0
    headlights: float = 0.0
    exposure: float = 1.0
    white_balance: Array
    noise: float = 0.006
    streaks: float = 0.0
    seed: int = 0

    @property
    def has_shadows(self) -> bool:
        return bool(self.sun_color.max() > 0.15)


def atmosphere(condition: str, world_seed: int, traversal_seed: int) -> Atmosphere:
    """The air and light of one traversal; deterministic from both seeds."""
    if condition not in CONDITIONS:
        raise ValueError(f"condition {condition!r} is not known; expected one of {', '.join(CONDITIONS)}")
    rng = np.random.default_rng([world_seed, traversal_seed, CONDITIONS.index(condition), 88])
    air = _MAKERS[condition](rng)
    balance = np.exp(rng.normal(0, 0.035, 3)).astype(np.float32)
    exposure = air.exposure * float(np.exp(rng.normal(0, 0.1)))
    return replace(air, white_balance=balance, exposure=exposure, seed=int(rng.integers(2**31)))


def _rgb(r: float, g: float, b: float, gain: float = 1.0) -> Array:
    return np.array([r, g, b], np.float32) * np.float32(gain)


def _toward(rng: np.random.Generator, low_deg: float, high_deg: float) -> Array:
    elevation = np.radians(rng.uniform(low_deg, high_deg))
    azimuth = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], np.float32)


_WHITE = np.ones(3, np.float32)


def _overcast(rng: np.random.Generator) -> Atmosphere:
    dark = float(rng.uniform(0.75, 1.1))
    return Atmosphere(
        sun_direction=_toward(rng, 40, 60),
        sun_color=_rgb(1, 0.97, 0.92, 0.12),
        zenith=_rgb(0.78, 0.84, 0.92, 1.0 * dark),
        horizon=_rgb(0.95, 0.97, 1.0, 1.05 * dark),
        cloud_color=_rgb(0.62, 0.66, 0.72, dark),
        clouds=float(rng.uniform(0.8, 1.0)),
        fog=0.0011,
        turf=_WHITE,
        white_balance=_WHITE,
        exposure=0.95,
    )


def _sun(rng: np.random.Generator) -> Atmosphere:
    return Atmosphere(
        sun_direction=_toward(rng, 28, 58),
        sun_color=_rgb(1.0, 0.93, 0.8, float(rng.uniform(2.3, 3.0))),
        zenith=_rgb(0.24, 0.42, 0.78, 1.15),
        horizon=_rgb(0.68, 0.8, 0.97, 1.2),
        cloud_color=_rgb(1.5, 1.5, 1.52),
        clouds=float(rng.uniform(0.1, 0.5)),
        turf=_rgb(1.05, 1.02, 0.9),
        white_balance=_WHITE,
        exposure=0.6,
    )


def _autumn(rng: np.random.Generator) -> Atmosphere:
    base = _sun(rng) if rng.random() < 0.6 else _overcast(rng)
    low = _toward(rng, 16, 34)
    return replace(
        base,
        foliage="autumn",
        litter=1.0,
        turf=_rgb(1.12, 0.98, 0.72),
        sun_direction=low,
        sun_color=base.sun_color * _rgb(1, 0.93, 0.8),
    )


def _no_foliage(rng: np.random.Generator) -> Atmosphere:
    base = _overcast(rng) if rng.random() < 0.55 else _sun(rng)
    return replace(base, foliage="bare", litter=0.22, turf=_rgb(1.2, 0.98, 0.72), sun_direction=_toward(rng, 13, 30))


def _snow(rng: np.random.Generator) -> Atmosphere:
    base = _overcast(rng) if rng.random() < 0.7 else _sun(rng)
    return replace(
        base,
        foliage="snow",
        snow=float(rng.uniform(0.75, 1.0)),
        fog=float(rng.uniform(0.0015, 0.005)),
        sun_direction=_toward(rng, 12, 26),
        exposure=base.exposure * 0.72,
        turf=_rgb(1.1, 0.98, 0.78),
    )


def _rain(rng: np.random.Generator) -> Atmosphere:
    base = _overcast(rng)
    return replace(
        base,
        wet=1.0,
        zenith=_rgb(0.4, 0.44, 0.5, 0.8),
        horizon=_rgb(0.62, 0.66, 0.7, 0.8),
        cloud_color=_rgb(0.26, 0.29, 0.33),
        clouds=1.0,
        fog=float(rng.uniform(0.003, 0.008)),
        lit=0.12,
        exposure=1.3,
        noise=0.012,
        streaks=1.0,
    )


def _dusk(rng: np.random.Generator) -> Atmosphere:
    return replace(
        _sun(rng),
        sun_direction=_toward(rng, 3.5, 9),
        sun_color=_rgb(1.0, 0.52, 0.22, 1.0),
        zenith=_rgb(0.13, 0.17, 0.36, 0.75),
        horizon=_rgb(1.0, 0.58, 0.36, 0.75),
        cloud_color=_rgb(0.95, 0.5, 0.4, 0.8),
        clouds=float(rng.uniform(0.3, 0.7)),
        lit=0.35,
        lamps=0.35,
        exposure=1.1,
        noise=0.014,
    )


def _night(rng: np.random.Generator) -> Atmosphere:
    return replace(
        _overcast(rng),
        sun_direction=_toward(rng, 30, 60),
        sun_color=_rgb(0.5, 0.6, 0.9, 0.02),
        zenith=_rgb(0.010, 0.013, 0.026),
        horizon=_rgb(0.05, 0.04, 0.035),
        cloud_color=_rgb(0.045, 0.037, 0.032),
        clouds=float(rng.uniform(0.2, 0.9)),
        lit=0.3,
        lamps=1.0,
        headlights=1.0,
        exposure=1.7,
        noise=0.035,
    )


_MAKERS = {
    "overcast": _overcast,
    "sun": _sun,
    "autumn": _autumn,
    "no-foliage": _no_foliage,
    "snow": _snow,
    "rain": _rain,
    "dusk": _dusk,
    "night": _night,
}
