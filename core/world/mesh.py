"""Triangle soups with texture coordinates, normals, materials and classes, and the solids built from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.geometry import Array
from core.world.materials import Material


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """T triangles: ``corners`` (T, 3, 3) f32 m, ``normals`` (T, 3, 3) f32 unit, ``uv`` (T, 3, 2) f32 (metres unless a
    material says otherwise), ``material`` and ``klass`` (T,) u8, ``obj`` (T,) i32 row of the object table.
    """

    corners: Array
    normals: Array
    uv: Array
    material: Array
    klass: Array
    obj: Array

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, position: ArrayLike, yaw_rad: float = 0.0, scale: float = 1.0, obj: int | None = None) -> Mesh:
        """Scale, turn about z, then move; ``obj`` replaces the object of every triangle."""
        c, s = np.cos(yaw_rad), np.sin(yaw_rad)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
        corners = (self.corners @ turn) * np.float32(scale) + np.asarray(position, np.float32)
        objects = self.obj if obj is None else np.full(len(self), obj, np.int32)
        return Mesh(corners, self.normals @ turn, self.uv, self.material, self.klass, objects)

    def kept(self, mask: Array) -> Mesh:
        """The triangles where ``mask`` (T,) is true."""
        arrays = (self.corners, self.normals, self.uv, self.material, self.klass, self.obj)
        return Mesh(*(a[mask] for a in arrays))


def concat(meshes: Sequence[Mesh]) -> Mesh:
    """Join meshes in order; none gives an empty mesh."""
    if not meshes:
        return _empty()
    names = ("corners", "normals", "uv", "material", "klass", "obj")
    return Mesh(*(np.concatenate([getattr(m, name) for m in meshes]) for name in names))


def _empty() -> Mesh:
    corners = np.zeros((0, 3, 3), np.float32)
    flat = np.zeros(0, np.uint8)
    return Mesh(corners, corners, np.zeros((0, 3, 2), np.float32), flat, flat, np.zeros(0, np.int32))


def triangles(
    corners: ArrayLike, uv: ArrayLike, material: Material, klass: int, obj: int = 0, normals: Array | None = None
) -> Mesh:
    """Make a mesh of (T, 3, 3) corners and (T, 3, 2) uv; flat normals unless (T, 3, 3) ``normals`` are given."""
    corners = np.asarray(corners, np.float32).reshape(-1, 3, 3)
    if normals is None:
        face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.repeat(face[:, None], 3, axis=1)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(length > 1e-12, normals / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])
    count = len(corners)
    return Mesh(
        corners,
        normals.astype(np.float32),
        np.asarray(uv, np.float32).reshape(-1, 3, 2),
        np.full(count, material, np.uint8),
        np.full(count, klass, np.uint8),
        np.full(count, obj, np.int32),
    )


def quads(
    corners: ArrayLike,
    material: Material,
    klass: int,
    obj: int = 0,
    uv: ArrayLike | None = None,
    normals: Array | None = None,
) -> Mesh:
    """Make two triangles of each quad (N, 4, 3), corners in order around it; uv (N, 4, 2) in metres by default."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    uv = planar_uv(corners) if uv is None else np.asarray(uv, np.float32).reshape(-1, 4, 2)
    split = [0, 1, 2, 0, 2, 3]
    turned = None if normals is None else np.asarray(normals, np.float32).reshape(-1, 4, 3)[:, split].reshape(-1, 3, 3)
    return triangles(corners[:, split], uv[:, split], material, klass, obj, turned)


def planar_uv(corners: Array) -> Array:
    """Metres along the first and the last edge, measured from the origin so that neighbours continue (N, 4, 2)."""
    first = corners[:, 1] - corners[:, 0]
    last = corners[:, 3] - corners[:, 0]
    axes = np.stack([first, last], axis=1)
    axes = axes / np.maximum(np.linalg.norm(axes, axis=-1, keepdims=True), 1e-9)
    return np.einsum("nkc,nac->nka", corners, axes)


_BOX_FACES = np.array(
    [[0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6], [4, 5, 7, 6], [2, 3, 1, 0]],
)


def boxes(low: ArrayLike, high: ArrayLike, material: Material, klass: int, obj: int = 0) -> Mesh:
    """Axis-aligned boxes between (N, 3) ``low`` and ``high`` corners."""
    low = np.atleast_2d(np.asarray(low, np.float32))
    high = np.atleast_2d(np.asarray(high, np.float32))
    bits = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)], np.float32)
    vertices = low[:, None] + bits * (high - low)[:, None]
    return quads(vertices[:, _BOX_FACES].reshape(-1, 4, 3), material, klass, obj)


def tubes(
    start: ArrayLike,
    end: ArrayLike,
    radius_start: ArrayLike,
    radius_end: ArrayLike,
    sides: int,
    material: Material,
    klass: int,
    obj: int = 0,
) -> Mesh:
    """Open tapered tubes from (N, 3) to (N, 3) with smooth normals; u runs around in metres, v along."""
    start = np.atleast_2d(np.asarray(start, np.float64))
    end = np.atleast_2d(np.asarray(end, np.float64))
    axis = end - start
    length = np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    side, up = _frame(axis / length)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    r0 = np.broadcast_to(np.asarray(radius_start, float).reshape(-1, 1, 1), (len(start), 1, 1))
    r1 = np.broadcast_to(np.asarray(radius_end, float).reshape(-1, 1, 1), (len(start), 1, 1))
    low, high = start[:, None] + ring * r0, end[:, None] + ring * r1
    corners = np.stack([low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]], axis=2)
    normals = np.stack([ring[:, :-1], ring[:, 1:], ring[:, 1:], ring[:, :-1]], axis=2)
    u = angle[None, :] * r0[:, :, 0]
    v0 = np.broadcast_to(start[:, 2:3], u.shape)
    v1 = v0 + length
    uv = np.stack([np.stack(pair, -1) for pair in ((u[:, :-1], v0[:, :-1]), (u[:, 1:], v0[:, :-1]))], axis=2)
    uv_top = np.stack([np.stack(pair, -1) for pair in ((u[:, 1:], v1[:, :-1]), (u[:, :-1], v1[:, :-1]))], axis=2)
    return quads(corners, material, klass, obj, np.concatenate([uv, uv_top], axis=2), normals)


def _frame(axis: Array) -> tuple[Array, Array]:
    helper = np.where(np.abs(axis[:, 2:3]) < 0.9, [[0.0, 0, 1]], [[1.0, 0, 0]])
    side = np.cross(helper, axis)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return side, np.cross(axis, side)


def ellipsoid(center: ArrayLike, radii: ArrayLike, material: Material, klass: int, obj: int = 0, rings: int = 7) -> Mesh:
    """One smooth ellipsoid; uv in metres along its equator and height."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, rings)
    phi = np.linspace(0, 2 * np.pi, 2 * rings - 1)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    unit = np.stack([np.cos(t) * np.cos(p), np.cos(t) * np.sin(p), np.sin(t)], -1)
    radii = np.asarray(radii, float)
    return grid(
        np.asarray(center) + unit * radii, np.stack([p * radii[0], t * radii[2]], -1), material, klass, obj, unit / radii
    )


def grid(points: Array, uv: Array, material: Material, klass: int, obj: int = 0, normals: Array | None = None) -> Mesh:
    """A smooth surface through (R, C, 3) points with (R, C, 2) uv; normals from differences by default.

    The surface faces the side from which the columns run counter-clockwise to the rows (up, for x columns and y rows).
    """
    if normals is None:
        across = np.gradient(points, axis=1)
        along = np.gradient(points, axis=0)
        normals = np.cross(across, along)

    def cells(values: Array) -> Array:
        return np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]], axis=2).reshape(
            -1, 4, values.shape[-1]
        )

    return quads(cells(points), material, klass, obj, cells(uv), cells(normals))
