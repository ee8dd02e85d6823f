"""The street's centre line, and strips swept along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.geometry import Array
from core.world.materials import Material
from core.world.mesh import Mesh, grid


@dataclass(frozen=True, slots=True, eq=False)
class StreetPath:
    """A gently winding line: ``s`` metres along it, ``d`` metres to its left.

    ``points`` (N, 2) m and ``heading`` (N,) rad stand at ``stations`` (N,) m.
    """

    stations: Array
    points: Array
    heading: Array

    @classmethod
    def winding(cls, start: float, end: float, amplitude_rad: float, period_m: float, phase: float) -> StreetPath:
        """A line whose heading swings by ``amplitude_rad`` once every ``period_m``."""
        stations = np.arange(start, end + 1.0)
        heading = amplitude_rad * np.sin(2 * np.pi * stations / period_m + phase)
        steps = np.stack([np.cos(heading), np.sin(heading)], -1)
        points = np.cumsum(steps, axis=0)
        return cls(stations, points - points[int(-start)], heading)

    def angle(self, s: ArrayLike) -> Array:
        """Heading in radians at ``s``."""
        return np.interp(s, self.stations, self.heading)

    def at(self, s: ArrayLike, d: ArrayLike, z: ArrayLike = 0.0) -> Array:
        """World points (..., 3) of street coordinates."""
        s, d, z = np.broadcast_arrays(np.asarray(s, float), np.asarray(d, float), np.asarray(z, float))
        x = np.interp(s, self.stations, self.points[:, 0])
        y = np.interp(s, self.stations, self.points[:, 1])
        angle = self.angle(s)
        return np.stack([x - np.sin(angle) * d, y + np.cos(angle) * d, z], -1)

    def sweep(self, s: Array, d: Array, z: Array, material: Material, klass: int, obj: int) -> Mesh:
        """A surface over stations ``s`` (R,) and offsets ``d`` (C,), rising; ``z`` broadcasts to (R, C); uv is (s, d)."""
        ss, dd = np.meshgrid(s, d, indexing="ij")
        points = self.at(ss, dd, np.broadcast_to(z, ss.shape))
        # Rows run along the street and columns to its left, so the normal is turned up.
        mesh = grid(points, np.stack([ss, dd], -1), material, klass, obj)
        flip = np.where(mesh.normals[..., 2:] < 0, -1, 1).astype(np.float32)
        return Mesh(mesh.corners, mesh.normals * flip, mesh.uv, mesh.material, mesh.klass, mesh.obj)

    def distance(self, xy: Array) -> Array:
        """Distance (N,) of (N, 2) world points to the line, by its stations."""
        step = self.points[::4]
        gaps = np.linalg.norm(np.asarray(xy)[:, None] - step[None], axis=-1)
        return gaps.min(axis=1)
