"""Where down is in a query and how high its camera is: given with the scene, estimated from the map, or the oracle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.errors import InputError
from core.evaluation.priors import noisy_prior
from core.geometry import Array, Rigid3d
from core.localizer.methods import MethodInput
from core.records import ImageData, QueryPrior, SceneMap, setting

SOURCES = ("auto", "given", "estimated", "oracle")
_NEIGHBOURS = 5
_LEAST_TILT_DEG, _LEAST_RISE_M = 1.0, 0.1  # neighbours that agree exactly do not make the query exact


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    source: str = setting(
        "auto",
        help="gravity and height: what the scene gives and the rest estimated (auto), given, estimated, or the truth (oracle)",
    )
    gravity_noise_deg: float = setting(
        0.0, unit="deg", minimum=0.0, maximum=90.0, help="error added to the oracle's gravity (standard deviation)"
    )
    height_noise_m: float = setting(
        0.0, unit="m", minimum=0.0, maximum=100.0, help="error added to the oracle's height (standard deviation)"
    )


def resolve_prior(given: MethodInput) -> QueryPrior:
    """Gravity and height of the query with their errors, from the source that the config names.

    The oracle reads the true pose, as the literature does; it is never taken unless it is asked for by name.
    Raises InputError where the source does not give both.
    """
    query, config = given.query, given.config.prior
    if config.source not in SOURCES:
        raise InputError(f"prior source {config.source!r} is not known; expected one of {', '.join(SOURCES)}")
    if config.source == "oracle":
        return noisy_prior(query, config.gravity_noise_deg, config.height_noise_m, given.seed)
    known = query.prior if query.prior is not None and config.source != "estimated" else QueryPrior()
    complete = known.gravity_in_camera is not None and known.height_m is not None
    if config.source == "given" and not complete:
        raise InputError(f"{query.path}: gravity and height are not given for this query; take `estimated` or `auto`")
    return known if complete else _completed(known, estimate_prior(given))


def _completed(known: QueryPrior, estimated: QueryPrior) -> QueryPrior:
    """What is known, and the rest as estimated."""
    if known.gravity_in_camera is None:
        known = replace(known, gravity_in_camera=estimated.gravity_in_camera, gravity_error_deg=estimated.gravity_error_deg)
    if known.height_m is None:
        known = replace(known, height_m=estimated.height_m, height_error_m=estimated.height_error_m)
    return replace(known, source=" and ".join(part for part in (known.source, estimated.source) if part))


def estimate_prior(given: MethodInput) -> QueryPrior:
    """Gravity and height of the mapping cameras that the query looks most alike, as if it had been mounted as they were.

    These are the cameras that most matches were made with, or those nearest to a position that is known. Their spread
    is the stated error. Raises InputError for a map without poses.
    """
    poses, votes = _mapping_cameras(given)
    if not len(poses):
        raise InputError(f"{given.query.path}: the map has no mapping cameras to estimate gravity and height from")
    down = map_gravity(given.scene_map)
    nearest = np.argsort(-votes, kind="stable")[:_NEIGHBOURS]
    share = votes[nearest] / votes[nearest].sum() if votes[nearest].sum() > 0 else np.full(len(nearest), 1 / len(nearest))
    downs = np.array([poses[k].R @ down for k in nearest])
    heights = np.array([-down @ poses[k].center() for k in nearest])
    gravity = share @ downs
    if np.linalg.norm(gravity) < 0.5:
        raise InputError(f"{given.query.path}: the mapping cameras are held in too many ways to tell where down is")
    gravity = gravity / np.linalg.norm(gravity)
    tilt = np.degrees(np.sqrt(share @ np.arccos(np.clip(downs @ gravity, -1, 1)) ** 2))
    height = float(share @ heights)
    rise = float(np.sqrt(share @ (heights - height) ** 2))
    return QueryPrior(
        gravity_in_camera=gravity,
        gravity_error_deg=max(_LEAST_TILT_DEG, float(tilt)),
        height_m=height,
        height_error_m=max(_LEAST_RISE_M, rise),
        source="estimated from the mapping cameras",
    )


def _mapping_cameras(given: MethodInput) -> tuple[list[Rigid3d], Array]:
    """Poses of the map's images and how much each resembles the query (the higher, the more)."""
    images = given.scene_map.images
    posed = [index for index, image in enumerate(images) if image.cam_from_world is not None]
    poses = [images[index].cam_from_world for index in posed]
    prior = given.query.prior
    if prior is not None and prior.position is not None and poses:
        away = np.linalg.norm(np.array([pose.center() for pose in poses]) - prior.position, axis=1)
        return poses, 1 / (away + max(prior.position_error_m, 1.0))
    votes = np.bincount(given.matches.reference_image, weights=given.matches.scores, minlength=len(images))
    return poses, votes[posed]


def map_gravity(scene_map: SceneMap) -> Array:
    """Where down is in the world (3,): what the map says, or else the mean of the mapping cameras' own down.

    Raises InputError where the cameras do not agree on it.
    """
    if scene_map.gravity_in_world is not None:
        return scene_map.gravity_in_world
    downs = [image.cam_from_world.R[1] for image in scene_map.images if image.cam_from_world is not None]
    mean = np.mean(downs, axis=0) if downs else np.zeros(3)
    if np.linalg.norm(mean) < 0.5:
        raise InputError("the map does not say where down is, and its cameras do not agree on it; give its gravity")
    return mean / np.linalg.norm(mean)


def near_enough(query: ImageData, scene_map: SceneMap, point_ids: Array, slack: float = 1.1) -> Array:
    """Which points (N,) bool may be seen from where the query is known to be; all where nothing is known.

    A position counts with three times its error, a previous pose with 10 m; a point is seen from up to ``slack`` times
    the largest distance that it was mapped from.
    """
    prior, visibility = query.prior, scene_map.visibility
    if prior is None or visibility is None or (prior.position is None and prior.cam_from_world is None):
        return np.ones(len(point_ids), bool)
    if prior.position is not None:
        place, radius = prior.position, 3 * prior.position_error_m
    else:
        place, radius = prior.cam_from_world.center(), 10.0
    away = np.linalg.norm(scene_map.points3D[point_ids] - place, axis=1)
    return ~(away > slack * visibility.max_distance[point_ids] + radius)
