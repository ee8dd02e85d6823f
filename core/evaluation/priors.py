"""Priors of stated quality made from the truth, to study how good a sensor must be."""

from __future__ import annotations

import numpy as np

from core.errors import InputError
from core.geometry import Array, Rigid3d
from core.records import ImageData, QueryPrior


def noisy_prior(query: ImageData, gravity_error_deg: float, height_error_m: float, seed: int = 0) -> QueryPrior:
    """Gravity and height of the query's true pose with normal errors; the same query and seed give the same errors.

    Gravity turns around a random horizontal axis by an angle of standard deviation ``gravity_error_deg`` along each of
    two axes. World z is up. Raises InputError where the true pose is not known.
    """
    truth = _truth(query)
    rng = np.random.default_rng([seed, *query.name.encode()])
    tilt, rise = rng.normal(size=2), rng.normal()
    gravity = truth.R @ _tilted(np.radians(gravity_error_deg) * tilt)
    height = float(truth.center()[2]) + height_error_m * rise
    return QueryPrior(
        gravity_in_camera=gravity,
        gravity_error_deg=gravity_error_deg,
        height_m=height,
        height_error_m=height_error_m,
        source=f"truth with errors of {gravity_error_deg:g} deg and {height_error_m:g} m",
    )


def noisy_position(query: ImageData, error_m: float, seed: int = 0) -> QueryPrior:
    """The query's true position as GPS would tell it: normal errors of ``error_m`` along both level axes, as stated.

    The same query and seed give the same errors. World z is up. Raises InputError where the true pose is not known.
    """
    rng = np.random.default_rng([seed, 4, *query.name.encode()])
    offset = np.array([*rng.normal(0, error_m, 2), 0.0])
    position = _truth(query).center() + offset
    return QueryPrior(position=position, position_error_m=error_m, source=f"truth with level errors of {error_m:g} m")


def _truth(query: ImageData) -> Rigid3d:
    if query.cam_from_world is None:
        raise InputError(f"{query.path}: its true pose is not known, so no prior can be made from it")
    return query.cam_from_world


def _tilted(angles_rad: Array) -> Array:
    """Down (0, 0, -1) turned by two small angles around x and y, exactly by their length."""
    angle = float(np.linalg.norm(angles_rad))
    axis = angles_rad / angle if angle > 0 else np.zeros(2)
    return np.array([np.sin(angle) * axis[0], np.sin(angle) * axis[1], -np.cos(angle)])
