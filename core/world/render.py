"""Render a world: rays, surfaces, light, then the camera's own traits."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import cv2
import numpy as np

from core.geometry import Array, Camera, Rigid3d, frozen_array
from core.world.classes import SKY, VEGETATION
from core.world.conditions import Atmosphere, atmosphere
from core.world.film import develop
from core.world.geometry import World
from core.world.materials import Material
from core.world.mobile import mobile_mesh
from core.world.reflection import mirrored
from core.world.shading import Lighting, Points, radiance
from core.world.sky import sky, sky_gradient
from core.world.stage import Hits, Stage
from core.world.visibility import open_sky, softened, sun_share

NO_SURFACE = 255
_SUBPIXEL = (0.5, 0.45)  # where pixels at edges are looked at a second time
_LAMP_RANGE_M = 120.0
_BRIGHTEST = np.float32(12.0)
_CHUNKS = 4  # fixed, so that the result does not depend on the number of cores
_LEAFY = (Material.LEAF, Material.NEEDLE)
_FLEETING = (Material.LEAF, Material.NEEDLE, Material.SNOW_PILE, Material.WATER)


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """``rgb`` (H, W, 3) u8; ``depth`` (H, W) f32 m along z, inf for sky; ``classes`` (H, W) u8 Cityscapes train ids, 255 void;
    ``static`` (H, W) bool: the same physical surface in every condition and traversal.

    A fresh rendering also knows its surfaces: ``material`` (H, W) u8 (a Material; 255: sky) and unit ``normals`` (H, W, 3)
    f32 in world axes, towards the camera; one read back from files does not (None).
    """

    rgb: Array
    depth: Array
    classes: Array
    static: Array
    camera: Camera
    cam_from_world: Rigid3d
    condition: str
    material: Array | None = None
    normals: Array | None = None

    def __post_init__(self) -> None:
        for name, dtype, shape in (
            ("rgb", np.uint8, (None, None, 3)),
            ("depth", np.float32, (None, None)),
            ("classes", np.uint8, (None, None)),
            ("static", np.bool_, (None, None)),
        ):
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype, shape, f"Rendering.{name}"))


@dataclass(slots=True, eq=False)
class _Surfaces:
    """What each of R rays sees: depth (R,), and for the hit ones geometry and identity."""

    depth: Array
    position: Array
    normal: Array
    uv: Array
    material: Array
    klass: Array
    obj: Array
    mobile: Array
    veiled: Array


class Renderer:
    """Draws one world; keeps the ray casting scenes of the latest conditions and traversals."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._stages: OrderedDict[tuple[str, Any], Stage] = OrderedDict()
        self._lock = Lock()
        self._litter = _litter_map(world)

    def render(self, cam_from_world: Rigid3d, camera: Camera, condition: str, traversal_seed: int) -> Rendering:
        """Render one image; the same arguments give the same pixels."""
        air = atmosphere(condition, self.world.seed, traversal_seed)
        stages = [self._standing(), self._foliage(air.foliage), self._moving(traversal_seed)]
        shape = (camera.height, camera.width)
        lighting = self._lighting(cam_from_world, air)
        eye, directions = _pixel_rays(cam_from_world, camera)
        seen = _see(stages, eye, directions)
        free = open_sky(stages, seen.position, seen.normal, seen.depth, shape)
        sun = softened(sun_share(stages, seen.position, seen.normal, seen.depth, air), seen.depth, shape)
        points = _points(seen, stages, directions, camera, lighting, sun, free)
        color = _color(seen, points, directions, air, lighting)
        edges = _edges(seen, shape)
        color[edges] = 0.5 * (color[edges] + _again(cam_from_world, camera, edges, stages, lighting, sun[edges], free[edges]))
        fleeting = np.isin(seen.material, _FLEETING) | seen.mobile
        static = np.isfinite(seen.depth) & ~fleeting
        rgb = develop(color.reshape(*shape, 3), air, cam_from_world)
        classes = self._classes(seen, air, eye, directions, shape)
        material = np.where(np.isfinite(seen.depth), seen.material, NO_SURFACE).astype(np.uint8).reshape(shape)
        maps = (rgb, seen.depth.reshape(shape), classes, static.reshape(shape))
        return Rendering(*maps, camera, cam_from_world, condition, material, seen.normal.reshape(*shape, 3))

    def render_many(self, views: Iterable[tuple[Rigid3d, Camera, str, int]]) -> Iterator[Rendering]:
        """Render views, the arguments of ``render``, in their order but two at a time; the pixels are the same."""
        with ThreadPoolExecutor(2) as pool:
            waiting = deque()
            for view in views:
                waiting.append(pool.submit(self.render, *view))
                if len(waiting) > 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _lighting(self, pose: Rigid3d, air: Atmosphere) -> Lighting:
        heading = pose.R[2] * [1, 1, 0]
        heading = (heading / max(np.linalg.norm(heading), 1e-6)).astype(np.float32)
        eye = pose.center().astype(np.float32)
        lamps = self.world.lamps
        near = lamps[np.linalg.norm(lamps[:, :2] - eye[:2], axis=1) < _LAMP_RANGE_M]
        return Lighting(air, self.world.objects, near, eye, heading, self._litter)

    def _standing(self) -> Stage:
        return self._stage(("standing", 0), lambda: Stage(self.world.core))

    def _foliage(self, state: str) -> Stage:
        return self._stage(("foliage", state), lambda: Stage(self.world.foliage(state)))

    def _moving(self, traversal_seed: int) -> Stage:
        return self._stage(("moving", traversal_seed), lambda: Stage(mobile_mesh(self.world, traversal_seed)))

    def _stage(self, key: tuple[str, Any], make: Callable[[], Stage]) -> Stage:
        with self._lock:
            if key not in self._stages:
                self._stages[key] = make()
            self._stages.move_to_end(key)
            while len(self._stages) > 10:
                self._stages.popitem(last=False)
            return self._stages[key]

    def _classes(self, seen: _Surfaces, air: Atmosphere, eye: Array, directions: Array, shape: tuple[int, int]) -> Array:
        """Class ids; a thin or bare crown keeps its class over the small gaps that it shows."""
        classes = np.where(np.isfinite(seen.depth), seen.klass, SKY).astype(np.uint8).reshape(shape)
        veiled = (
            seen.veiled if air.foliage == "leafy" else self._foliage("leafy").cast(eye, directions, rounds=0).card < seen.depth
        )
        reach = max(3, round(shape[1] * 0.016)) | 1
        wood = (classes == VEGETATION).astype(np.uint8)
        near = cv2.dilate(wood, np.ones((reach, reach), np.uint8)) > 0
        return np.where(veiled.reshape(shape) & near, np.uint8(VEGETATION), classes)


def _pixel_rays(
    pose: Rigid3d, camera: Camera, pixels: Array | None = None, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Array, Array]:
    """The eye (3,) and a direction (R, 3) a pixel (all by default), scaled so that distance along it is depth along z."""
    index = np.arange(camera.width * camera.height) if pixels is None else pixels
    points2D = np.stack([index % camera.width, index // camera.width], -1) + np.asarray(shift)
    bearings = camera.bearings(points2D)
    rays = bearings / bearings[:, 2:3]
    return pose.center(), (rays @ pose.R).astype(np.float32)


def _see(stages: list[Stage], eye: Array, directions: Array) -> _Surfaces:
    """First surfaces of what stands, grows and moves, in this order."""
    standing, foliage, moving = stages
    first = [standing.cast(eye, directions, rounds=0), moving.cast(eye, directions, rounds=0)]
    limit = np.minimum(first[0].distance, first[1].distance)
    hits = [first[0], foliage.cast(eye, directions, limit=limit), first[1]]
    distance = np.stack([h.distance for h in hits])
    which = np.argmin(distance, axis=0)
    count = len(directions)
    vectors = [np.zeros((count, 3), np.float32) for _ in range(2)]
    bytes_ = [np.zeros(count, np.uint8) for _ in range(2)]
    uv, obj = np.zeros((count, 2), np.float32), np.zeros(count, np.int32)
    depth = distance.min(axis=0)
    seen = _Surfaces(depth, *vectors, uv, *bytes_, obj, which == 2, hits[1].card < depth)
    for index, (stage, hit) in enumerate(zip(stages, hits, strict=True)):
        rays = np.flatnonzero((which == index) & np.isfinite(seen.depth))
        _fill(seen, rays, stage, hit, eye, directions)
    return seen


def _again(
    pose: Rigid3d, camera: Camera, pixels: Array, stages: list[Stage], lighting: Lighting, sun: Array, free: Array
) -> Array:
    """Light (N, 3) of ``pixels`` (N,) seen half a pixel further; shadows are taken over."""
    eye, directions = _pixel_rays(pose, camera, pixels, _SUBPIXEL)
    seen = _see(stages, eye, directions)
    points = _points(seen, stages, directions, camera, lighting, sun, free)
    return _color(seen, points, directions, lighting.air, lighting)


def _points(
    seen: _Surfaces, stages: list[Stage], directions: Array, camera: Camera, lighting: Lighting, sun: Array, free: Array
) -> Points:
    view = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = np.clip(np.abs(np.einsum("ij,ij->i", view, seen.normal)), 0.1, 1)
    reach = np.where(np.isfinite(seen.depth), seen.depth, 0)
    footprint = (reach / camera.K[0, 0] / np.sqrt(cosine)).astype(np.float32)
    light = mirrored(stages[:2], seen.position, seen.normal, view, seen.material, lighting.objects, lighting.air)
    return Points(seen.position, seen.normal, view, seen.uv, footprint, seen.material, seen.obj, sun, free, light)


def _color(seen: _Surfaces, points: Points, directions: Array, air: Atmosphere, lighting: Lighting) -> Array:
    """Light (R, 3) f32 along each ray, haze included."""
    hit = np.isfinite(seen.depth)
    reach = seen.depth * np.linalg.norm(directions, axis=1)

    def part(index: Array) -> Array:
        color = np.empty((len(index), 3), np.float32)
        solid = hit[index]
        color[~solid] = sky(points.view[index[~solid]], air)
        lit = radiance(points.taken(index[solid]), lighting)
        haze = np.exp(-air.fog * reach[index[solid]])[:, None].astype(np.float32)
        flat = points.view[index[solid]] * np.array([1, 1, 0.15], np.float32)
        color[solid] = lit * haze + sky_gradient(flat, air) * 0.92 * (1 - haze)
        return np.minimum(color, _BRIGHTEST)

    with ThreadPoolExecutor(2) as pool:
        return np.concatenate(list(pool.map(part, np.array_split(np.arange(len(hit)), _CHUNKS))))


def _edges(seen: _Surfaces, shape: tuple[int, int]) -> Array:
    """Pixels (N,) beside another surface: the ones that need more than one ray; not those between leaves of a crown."""
    depth = np.where(np.isfinite(seen.depth), seen.depth, 1e4).astype(np.float32).reshape(shape)
    thing = (seen.material.astype(np.int32) * 65536 + seen.obj).reshape(shape)
    normal = seen.normal.reshape(*shape, 3)
    hit = np.isfinite(seen.depth).reshape(shape)
    leafy = np.isin(seen.material, _LEAFY).reshape(shape) & hit
    edge = np.zeros(shape, bool)
    for axis in (0, 1):
        a = [slice(None)] * 2
        b = [slice(None)] * 2
        a[axis], b[axis] = slice(1, None), slice(None, -1)
        one, two = tuple(a), tuple(b)
        apart = np.abs(depth[one] - depth[two]) > 0.05 * np.minimum(depth[one], depth[two])
        apart |= thing[one] != thing[two]
        apart |= (np.einsum("ijk,ijk->ij", normal[one], normal[two]) < 0.7) & hit[one] & hit[two]
        apart &= ~(leafy[one] & leafy[two])
        edge[one] |= apart
        edge[two] |= apart
    return np.flatnonzero(edge)


def _fill(seen: _Surfaces, rays: Array, stage: Stage, hit: Hits, eye: Array, directions: Array) -> None:
    mesh, triangle = stage.mesh, hit.triangle[rays]
    b1, b2 = hit.bary[rays, 0, None], hit.bary[rays, 1, None]
    b0 = 1 - b1 - b2
    corners = mesh.normals[triangle]
    normal = corners[:, 0] * b0 + corners[:, 1] * b1 + corners[:, 2] * b2
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    normal *= np.where((normal * directions[rays]).sum(axis=1, keepdims=True) > 0, -1, 1).astype(np.float32)
    uv = mesh.uv[triangle]
    seen.normal[rays] = normal
    seen.uv[rays] = uv[:, 0] * b0 + uv[:, 1] * b1 + uv[:, 2] * b2
    seen.position[rays] = eye.astype(np.float32) + directions[rays] * hit.distance[rays, None]
    seen.material[rays], seen.klass[rays], seen.obj[rays] = mesh.material[triangle], mesh.klass[triangle], mesh.obj[triangle]


def _litter_map(world: World) -> Callable[[Array], Array]:
    """A look-up of how many leaves fall at points (N, 3), from the crowns, at 1 m."""
    low = np.array([world.path.points[:, 0].min(), world.path.points[:, 1].min()]) - 70
    size = (np.array([world.path.points[:, 0].max(), world.path.points[:, 1].max()]) + 70 - low).astype(int) + 1
    density = np.full((size[1], size[0]), 0.03, np.float32)
    for x, y, radius in world.crowns:
        center = (int(x - low[0]), int(y - low[1]))
        blob = np.zeros_like(density[max(0, center[1] - 8) : center[1] + 9, max(0, center[0] - 8) : center[0] + 9])
        rows, columns = np.mgrid[: blob.shape[0], : blob.shape[1]]
        near = np.hypot(rows - min(8, center[1]), columns - min(8, center[0])) / (float(radius) + 0.8)
        density[max(0, center[1] - 8) : center[1] + 9, max(0, center[0] - 8) : center[0] + 9] += 0.5 * np.exp(-(near**2))

    def look_up(points: Array) -> Array:
        x = np.clip(points[:, 0] - low[0], 0, size[0] - 1).astype(np.int64)
        y = np.clip(points[:, 1] - low[1], 0, size[1] - 1).astype(np.int64)
        return density[y, x]

    return look_up
