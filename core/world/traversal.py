"""Drives through a world, and exact correspondences between two renderings."""

from __future__ import annotations

import numpy as np

from core.geometry import Array, Rigid3d
from core.records import Correspondences
from core.world.geometry import World
from core.world.render import Rendering
from core.world.stage import Stage

_CLEARANCE_M = 0.55
_TRIES = 40
_SWAY = 0.15  # of what differs from drive to drive, how much changes along one
_KEPT_FROM_FRAME = 0.8


def plan_traversal(
    world: World,
    num_images: int,
    seed: int,
    *,
    lateral_m: float = 0.25,
    yaw_deg: float = 4.0,
    yaw_offset_deg: float = 0.0,
    spacing_m: float | None = None,
    start_m: float | None = None,
    height_m: float = 1.5,
) -> list[Rigid3d]:
    """Plan ``num_images`` poses (cam_from_world) of a car that drives along the street in its own lane.

    ``lateral_m`` and ``yaw_deg`` are standard deviations around the lane and the heading; ``yaw_offset_deg`` turns the
    camera to the left for all of them; ``spacing_m`` defaults to an even spread over the drive. Cameras keep clear of
    everything that stands and stay out of the lanes of what moves.
    """
    rng = np.random.default_rng([world.seed, seed, 31])
    low, high = world.drive
    spacing = (high - low) / max(1, num_images) if spacing_m is None else spacing_m
    first = low + spacing * 0.5 if start_m is None else start_m
    stage = Stage(world.core)
    return [
        _clear_pose(
            world, stage, rng, low + (first - low + i * spacing) % (high - low), lateral_m, yaw_deg, yaw_offset_deg, height_m
        )
        for i in range(num_images)
    ]


def _clear_pose(
    world: World,
    stage: Stage,
    rng: np.random.Generator,
    s: float,
    lateral_m: float,
    yaw_deg: float,
    offset_deg: float,
    height_m: float,
) -> Rigid3d:
    for attempt in range(_TRIES):
        shrink = 1 - attempt / _TRIES
        d = np.clip(lane(world) + rng.normal(0, lateral_m) * shrink, *_corridor(world))
        z = height_m + float(rng.normal(0, 0.04))
        yaw = np.radians(offset_deg + rng.normal(0, yaw_deg))
        pitch = np.radians(rng.normal(0, 1.0))
        pose = _pose(world.path.at(s + float(rng.normal(0, 0.3)), d, z), float(world.path.angle(s)) + yaw, pitch)
        if stage.clearance(pose.center()[None])[0] > _CLEARANCE_M:
            return pose
    raise ValueError(f"no free camera position at {s:.1f} m of the {world.kind} street with seed {world.seed}")


def plan_drive(
    world: World,
    num_images: int,
    seed: int,
    *,
    spacing_m: float,
    between_m: tuple[float, float],
    lateral_m: float,
    yaw_deg: float,
    height_m: float = 1.5,
) -> list[Rigid3d]:
    """Plan ``num_images`` consecutive poses (cam_from_world) of one drive, ``spacing_m`` apart, somewhere ``between_m``.

    ``lateral_m`` and ``yaw_deg`` are standard deviations, from drive to drive, of how far it keeps beside the lane and how
    far the camera is turned from the heading; along a drive both sway by a small part of that. Cameras keep clear as those
    of ``plan_traversal``.
    """
    rng = np.random.default_rng([world.seed, seed, 32])
    low, high = between_m
    spacing_m = min(spacing_m, (high - low) / max(1, num_images - 1))
    stage = Stage(world.core)
    for attempt in range(_TRIES):
        shrink = 1 - attempt / _TRIES
        stations = rng.uniform(low, high - spacing_m * (num_images - 1)) + spacing_m * np.arange(num_images)
        beside = np.clip(lane(world) + shrink * lateral_m * _swaying(rng, num_images), *_corridor(world))
        turn = np.radians(shrink * yaw_deg) * _swaying(rng, num_images)
        height = height_m + 0.04 * _swaying(rng, num_images)
        pitch = np.radians(1.0) * _swaying(rng, num_images)
        centers = world.path.at(stations, beside, height)
        if (stage.clearance(centers) > _CLEARANCE_M).all():
            return [_pose(*values) for values in zip(centers, world.path.angle(stations) + turn, pitch)]
    raise ValueError(f"no free drive of {num_images} images between {low:.1f} and {high:.1f} m of {world.kind} {world.seed}")


def _swaying(rng: np.random.Generator, count: int) -> Array:
    """One value for all ``count`` images, evenly spread with deviation 1 and so bounded, and what sways slowly around it."""
    sway = rng.normal(size=count)
    for k in range(1, count):
        sway[k] = _KEPT_FROM_FRAME * sway[k - 1] + np.sqrt(1 - _KEPT_FROM_FRAME**2) * sway[k]
    return rng.uniform(-np.sqrt(3), np.sqrt(3)) + _SWAY * sway


def lane(world: World) -> float:
    """Offset (m, negative is right) of the lane in which the camera drives."""
    return -2.0 if world.half_road > 4.5 else -0.9


def _corridor(world: World) -> tuple[float, float]:
    return (-3.2, 0.6) if world.half_road > 4.5 else (-1.6, -0.05)


def _pose(center: Array, heading_rad: float, pitch_rad: float) -> Rigid3d:
    """A camera at ``center`` that looks along ``heading_rad``, nose up by ``pitch_rad``."""
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    forward = np.array([c * np.cos(pitch_rad), s * np.cos(pitch_rad), np.sin(pitch_rad)])
    right = np.array([s, -c, 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Rigid3d.from_rotation(rotation, -rotation @ center)


def correspondences(
    a: Rendering, b: Rendering, seed: int, num: int = 500, tolerance: float = 0.01, margin_px: float = 1.0
) -> Correspondences:
    """Sample up to ``num`` exact correspondences: static pixels of ``a`` whose 3D point ``b`` sees too, and the reverse.

    ``points_ref`` are pixel centres of ``a``, ``points_other`` exact projections into ``b``; ``tolerance`` is the
    relative depth difference allowed; weights are 1.
    """
    rng = np.random.default_rng([seed, 55])
    y, x = np.nonzero(a.static)
    order = rng.permutation(len(x))[: max(num * 12, 20_000)]
    pixels = np.stack([x[order], y[order]], -1).astype(np.float64)
    moved, depth = transfer(a, b, pixels)
    good = _seen(b, moved, depth, tolerance, margin_px)
    pixels, moved = pixels[good], moved[good]
    back, depth = transfer(b, a, np.rint(moved))
    # The way back starts at b's pixel centre, up to 0.7 px away, so it may land that far (scaled) from where it began.
    again = _seen(a, back, depth, tolerance * 2, 0.0) & (np.linalg.norm(back - pixels, axis=1) < 3.0)
    pixels, moved = pixels[again][:num], moved[again][:num]
    return Correspondences(pixels, moved, np.ones(len(pixels)))


def transfer(a: Rendering, b: Rendering, pixels: Array) -> tuple[Array, Array]:
    """Carry whole pixels (N, 2) of ``a`` over its depth into ``b``: (N, 2) px, NaN behind the camera, and depths (N,) there."""
    x, y = pixels[:, 0].astype(int), pixels[:, 1].astype(int)
    bearings = a.camera.bearings(pixels)
    points = bearings / bearings[:, 2:3] * a.depth[y, x, None]
    finite = np.isfinite(points).all(axis=1)
    in_b = b.cam_from_world.apply(a.cam_from_world.inverse().apply(np.where(finite[:, None], points, 0)))
    in_b[~finite] = -1
    return b.camera.project(in_b), in_b[:, 2]


def _seen(r: Rendering, pixels: Array, depth: Array, tolerance: float, margin_px: float) -> Array:
    """Tell (N,) which projected points are inside, static and at the depth that the rendering has around them."""
    height, width = r.depth.shape
    inside = np.isfinite(pixels).all(axis=1) & (depth > 0)
    safe = np.where(inside[:, None], pixels, 0)
    inside &= (safe >= margin_px).all(axis=1) & (safe[:, 0] <= width - 1 - margin_px) & (safe[:, 1] <= height - 1 - margin_px)
    x = np.clip(np.rint(safe[:, 0]), 0, width - 1).astype(int)
    y = np.clip(np.rint(safe[:, 1]), 0, height - 1).astype(int)
    # A slanted surface changes its depth within the rounded half pixel: the nearest of 3 x 3 pixels decides.
    gaps = [
        np.abs(r.depth[np.clip(y + j, 0, height - 1), np.clip(x + i, 0, width - 1)] - depth)
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    return inside & r.static[y, x] & (np.min(gaps, axis=0) < tolerance * depth)
