"""Meshes ready for rays: Open3D scenes and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from core.geometry import Array
from core.world.cutout import CUT, missing
from core.world.mesh import Mesh

_STEP = np.float32(0.004)  # m past a hole before the ray goes on


@dataclass(slots=True, eq=False)
class Hits:
    """The first surface on each of R rays: ``distance`` (R,) in units of the ray's direction, inf where there is none;
    ``triangle`` (R,) i64 and ``bary`` (R, 2) are meaningless there;
    ``card`` (R,) is the distance of the first leaf card, holes included, inf where there is none.
    """

    distance: Array
    triangle: Array
    bary: Array
    card: Array


class Stage:
    """One mesh in a ray casting scene; an empty mesh is never hit."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._is_cut = np.isin(mesh.material, CUT) if len(mesh) else np.zeros(1, bool)
        self._scene = o3d.t.geometry.RaycastingScene()
        if len(mesh):
            vertices = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
            indices = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
            self._scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(indices))
            self._scene.cast_rays(o3d.core.Tensor(np.ones((1, 6), np.float32)))  # builds the tree, before threads share it

    def cast(self, origins: Array, directions: Array, rounds: int = 4, limit: Array | float = np.inf) -> Hits:
        """First hits of rays from (3,) or (R, 3) along (R, 3), past ``rounds`` holes in leaf cards (0: whole cards).

        Rays whose hit lies beyond ``limit`` (R,) are not followed through holes.
        """
        hits = self._first(origins, directions)
        hits.card[:] = np.where(np.isfinite(hits.distance) & self._is_cut[hits.triangle], hits.distance, np.inf)
        origins = np.broadcast_to(np.asarray(origins, np.float32), directions.shape)
        rays = np.flatnonzero(hits.card < limit) if rounds else np.zeros(0, np.int64)
        for _ in range(rounds):
            rays = rays[self._through(hits, rays)]
            if not len(rays):
                break
            passed = hits.distance[rays] + _STEP
            again = self._first(origins[rays] + directions[rays] * passed[:, None], directions[rays])
            hits.distance[rays] = passed + again.distance
            hits.triangle[rays], hits.bary[rays] = again.triangle, again.bary
        return hits

    def _through(self, hits: Hits, rays: Array) -> Array:
        """Tell which of ``rays`` (N,) met a hole."""
        triangle = hits.triangle[rays]
        cut = np.flatnonzero(np.isfinite(hits.distance[rays]) & self._is_cut[triangle])
        uv, bary = self.mesh.uv[triangle[cut]], hits.bary[rays[cut]]
        at = uv[:, 0] + (uv[:, 1] - uv[:, 0]) * bary[:, :1] + (uv[:, 2] - uv[:, 0]) * bary[:, 1:]
        hole = np.zeros(len(rays), bool)
        hole[cut] = missing(self.mesh.material[triangle[cut]], at[:, 0], at[:, 1])
        return hole

    def _first(self, origins: Array, directions: Array) -> Hits:
        if not len(self.mesh) or not len(directions):
            count = len(directions)
            return Hits(
                np.full(count, np.inf, np.float32),
                np.zeros(count, np.int64),
                np.zeros((count, 2), np.float32),
                np.zeros(count, bool),
            )
        answer = self._scene.cast_rays(_rays(origins, directions))
        triangle = answer["primitive_ids"].numpy()
        valid = triangle != o3d.t.geometry.RaycastingScene.INVALID_ID
        return Hits(
            answer["t_hit"].numpy().copy(),
            np.where(valid, triangle, 0).astype(np.int64),
            answer["primitive_uvs"].numpy().copy(),
            _never(len(directions)),
        )

    def blocked(self, origins: Array, directions: Array, reach: float) -> Array:
        """Tell (R,) which rays meet anything before ``reach``, leaf cards as whole."""
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


def _never(count: int) -> Array:
    return np.full(count, np.inf, np.float32)


def blocked_by_any(stages: list[Stage], origins: Array, directions: Array, reach: float) -> Array:
    """Tell (R,) which rays meet anything of any stage before ``reach``."""
    dark = np.zeros(len(directions), bool)
    for stage in stages:
        rays = np.flatnonzero(~dark)
        dark[rays] = stage.blocked(origins[rays], directions[rays], reach)
    return dark
