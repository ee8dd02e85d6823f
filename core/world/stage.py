"""Meshes ready for rays: Open3D scenes and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from core.geometry import Array
from core.world.mesh import Mesh


@dataclass(slots=True, eq=False)
class Hits:
    """The first surface on each of R rays: ``distance`` (R,) in units of the ray's direction, inf where there is none;
    ``triangle`` (R,) i64 and ``bary`` (R, 2) are meaningless there.
    """

    distance: Array
    triangle: Array
    bary: Array


class Stage:
    """One mesh in a ray casting scene; an empty mesh is never hit."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._scene = o3d.t.geometry.RaycastingScene()
        if len(mesh):
            vertices = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
            indices = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
            self._scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(indices))

    def cast(self, origins: Array, directions: Array) -> Hits:
        """First hits of rays from (R, 3) along (R, 3)."""
        if not len(self.mesh):
            count = len(directions)
            return Hits(np.full(count, np.inf, np.float32), np.zeros(count, np.int64), np.zeros((count, 2), np.float32))
        answer = self._scene.cast_rays(_rays(origins, directions))
        triangle = answer["primitive_ids"].numpy()
        valid = triangle != o3d.t.geometry.RaycastingScene.INVALID_ID
        return Hits(answer["t_hit"].numpy(), np.where(valid, triangle, 0).astype(np.int64), answer["primitive_uvs"].numpy())

    def blocked(self, origins: Array, directions: Array, reach: float) -> Array:
        """Tell (R,) which rays meet anything before ``reach``."""
        if not len(self.mesh) or not len(directions):
            return np.zeros(len(directions), bool)
        return self._scene.test_occlusions(_rays(origins, directions), tnear=0.0, tfar=reach).numpy()

    def clearance(self, points: Array) -> Array:
        """Distance (N,) m from (N, 3) points to the nearest surface."""
        if not len(self.mesh):
            return np.full(len(points), np.inf)
        return self._scene.compute_distance(o3d.core.Tensor(np.asarray(points, np.float32))).numpy()


def _rays(origins: Array, directions: Array) -> o3d.core.Tensor:
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3] = origins
    rays[:, 3:] = directions
    return o3d.core.Tensor(rays)
