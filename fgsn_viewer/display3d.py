"""Pure functions from records to what the 3D view draws: colours, frustums, grid, framing, picking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.geometry import Array, Camera, Rigid3d
from core.records import ImageData, SceneMap

_FALLBACK_CAMERA = Camera.pinhole(640, 480, 560.0)
_DIMMED = 0.28
_BACKGROUND = np.array([20, 26, 32], np.float64)


def point_colors(rgb: Array, labels: Array | None, palette: Array, by_label: bool, highlight: int | None = None) -> Array:
    """Colours (P, 4) u8 of map points: their photographs' ``rgb`` or their labels' palette; a highlight dims the others."""
    colors = np.full((len(rgb), 4), 255, np.uint8)
    colors[:, :3] = rgb
    if by_label and labels is not None:
        lut = np.full((len(palette) + 1, 3), 128, np.uint8)
        lut[: len(palette)] = palette
        colors[:, :3] = np.take(lut, labels, axis=0, mode="clip")
    if highlight is not None and labels is not None:
        others = labels != highlight
        colors[others, :3] = (colors[others, :3] * _DIMMED + _BACKGROUND * (1 - _DIMMED)).astype(np.uint8)
        if highlight < len(palette):
            colors[~others, :3] = palette[highlight]
    return colors


def frustum_lines(camera: Camera | None, cam_from_world: Rigid3d, size: float) -> Array:
    """Segments (N, 2, 3) f64 m in the world of a camera's pyramid: 4 edges, 4 sides of the image, 2 of an up mark.

    ``size`` m is the distance of the drawn image plane from the centre; distortion is not drawn.
    """
    camera = camera or _FALLBACK_CAMERA
    w, h = camera.width, camera.height
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h], [0.38 * w, 0], [0.62 * w, 0], [0.5 * w, -0.14 * h]], np.float64) - 0.5
    in_camera = np.hstack([(corners - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((7, 1))]) * size
    world_from_cam = cam_from_world.inverse()
    p = world_from_cam.apply(in_camera)
    center = world_from_cam.tvec
    edges = [(center, p[i]) for i in range(4)] + [(p[i], p[(i + 1) % 4]) for i in range(4)] + [(p[4], p[6]), (p[6], p[5])]
    return np.array(edges)


def cameras_lines(images: Sequence[ImageData], size: float) -> tuple[Array, Array]:
    """Frustums of all posed images: segments (N, 2, 3) and the index into ``images`` of each, (N,) i64."""
    posed = [(index, image) for index, image in enumerate(images) if image.cam_from_world is not None]
    if not posed:
        return np.zeros((0, 2, 3)), np.zeros(0, np.int64)
    lines = [frustum_lines(image.camera, image.cam_from_world, size) for _, image in posed]
    return np.concatenate(lines), np.repeat([index for index, _ in posed], [len(each) for each in lines])


def camera_centers(images: Sequence[ImageData]) -> Array:
    """Centres (C, 3) m of the images, NaN rows where no pose is known."""
    rows = [np.full(3, np.nan) if image.cam_from_world is None else image.cam_from_world.center() for image in images]
    return np.array(rows, np.float64).reshape(-1, 3)


def up_direction(scene_map: SceneMap | None, images: Sequence[ImageData]) -> Array:
    """Unit up (3,): against gravity where it is known, else the mean of the cameras' up axes, else z."""
    if scene_map is not None and scene_map.gravity_in_world is not None:
        up = -scene_map.gravity_in_world
    else:
        ups = [-image.cam_from_world.R[1] for image in images if image.cam_from_world is not None]
        up = np.sum(ups, axis=0) if ups else np.array([0.0, 0, 1])
    norm = np.linalg.norm(up)
    return up / norm if norm > 1e-6 else np.array([0.0, 0, 1])


def level_rotation(up: Array) -> Array:
    """(3, 3) rotation that turns ``up`` to z by the shortest way."""
    z = np.array([0.0, 0, 1])
    axis, cosine = np.cross(up, z), float(up @ z)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1, -1])
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def robust_sample(points: Array, centers: Array, count: int = 4000) -> Array:
    """Positions (N, 3) m that stand for the scene when it is framed: all cameras, and a sample of the points without the
    3 % farthest and without any that are six times as far as most.
    """
    centers = centers[np.isfinite(centers).all(axis=1)]
    sample = points[:: max(1, len(points) // count)].astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    if len(sample):
        middle = np.median(np.concatenate([sample, centers]), axis=0)
        distance = np.linalg.norm(sample - middle, axis=1)
        sample = sample[distance <= min(np.percentile(distance, 97), 6 * np.median(distance))]
    return np.concatenate([sample, centers])


def robust_ball(points: Array, centers: Array) -> tuple[Array, float]:
    """Centre (3,) and radius m of a ball around the scene; far outliers among the points do not stretch it."""
    sample = robust_sample(points, centers)
    if not len(sample):
        return np.zeros(3), 5.0
    low, high = sample.min(axis=0), sample.max(axis=0)
    radius = float(np.linalg.norm(high - low)) / 2
    return (low + high) / 2, radius if radius > 1e-9 else 1.0


def frustum_size(centers: Array, radius: float) -> float:
    """How large to draw cameras, m: near the spacing of a drive, within bounds set by the scene's ``radius``."""
    centers = centers[np.isfinite(centers).all(axis=1)]
    spacing = np.inf
    if len(centers) > 1:
        sample = centers[:: max(1, len(centers) // 200)]
        distances = np.linalg.norm(sample[:, None] - sample[None], axis=2)
        distances[distances < 1e-9] = np.inf
        spacing = float(np.median(distances.min(axis=1)))
    return float(np.clip(0.6 * spacing if np.isfinite(spacing) else np.inf, 0.015 * radius, 0.06 * radius))


def view_direction(images: Sequence[ImageData], level: Array) -> tuple[float, float]:
    """Azimuth and elevation, degrees, of an eye above the cameras, looking along with them.

    A drive is seen from its side instead: along the road it would shrink to a point of the (wide) view.
    """
    posed = [image.cam_from_world for image in images if image.cam_from_world is not None]
    mean = level @ np.mean([pose.R[2] for pose in posed], axis=0) if posed else np.zeros(3)
    if np.hypot(mean[0], mean[1]) < 0.2:
        return -60.0, 35.0
    ahead = mean[:2] / np.hypot(mean[0], mean[1])
    centers = (np.array([pose.center() for pose in posed]) @ level.T)[:, :2]
    along, across = np.ptp(centers @ ahead), np.ptp(centers @ [-ahead[1], ahead[0]])
    turn = 64.0 if along > 3 * max(across, 1e-9) else 18.0
    return float(np.degrees(np.arctan2(-mean[1], -mean[0]))) + turn, 28.0


def ground_grid(center: Array, radius: float, height: float, level: Array) -> tuple[Array, float]:
    """Lines (N, 2, 3) m of a level grid at ``height`` of the levelled world, and its cell size m (1, 2 or 5 x 10^n)."""
    cell = nice_step(radius / 8)
    middle = np.round((level @ center)[:2] / cell) * cell
    ticks = np.arange(-10, 11) * cell
    ends = np.array([ticks[0], ticks[-1]])
    along_x = np.stack([np.broadcast_to(ends, (21, 2)), np.broadcast_to(ticks[:, None], (21, 2))], axis=2)
    flat = np.concatenate([along_x, along_x[:, :, ::-1]]) + middle
    lines = np.concatenate([flat, np.full((*flat.shape[:2], 1), height)], axis=2)
    return lines @ level, cell


def ground_height(points: Array, centers: Array, level: Array) -> float:
    """Height of the grid in the levelled world, m: under nearly all points, and below the cameras."""
    heights = [part @ level[2] for part in (points, centers[np.isfinite(centers).all(axis=1)]) if len(part)]
    return float(min((np.percentile(each, 3) for each in heights), default=0.0))


def nice_step(size: float) -> float:
    """The number 1, 2 or 5 x 10^n nearest below ``size``."""
    power = 10.0 ** np.floor(np.log10(max(size, 1e-9)))
    return float(max(step for step in (1, 2, 5) if step * power <= size * (1 + 1e-9)) * power)


def nearest_point(pixels: Array, depth: Array, position: Array, radius: float = 8.0) -> int | None:
    """Index of the projected point (P, 2) px to pick at ``position``: within ``radius`` px, and of those about as near as
    the nearest (2 px) the one in front. NaN px are not seen.
    """
    x, y = float(position[0]), float(position[1])
    near = np.flatnonzero((np.abs(pixels[:, 0] - x) <= radius) & (np.abs(pixels[:, 1] - y) <= radius))
    distance = np.hypot(pixels[near, 0] - x, pixels[near, 1] - y)
    near, distance = near[distance <= radius], distance[distance <= radius]
    if not len(near):
        return None
    candidates = near[distance <= distance.min() + 2.0]
    return int(candidates[np.argmin(depth[candidates])])


def seen_in_reference(scene_map: SceneMap, point: int, reference: ImageData | None) -> Array:
    """Where a map point was observed in a reference image, (N, 2) px; projected there if it was not; empty if not in it."""
    if reference is None:
        return np.zeros((0, 2))
    observations = scene_map.observations
    mine = observations.image[observations.point == point]
    rows = np.flatnonzero(observations.point == point)[[scene_map.images[i].name == reference.name for i in mine]]
    if len(rows):
        return observations.points2D[rows].astype(np.float64)
    return projected(scene_map, point, reference.cam_from_world, reference.camera)


def projected(scene_map: SceneMap, point: int, cam_from_world: Rigid3d | None, camera: Camera | None) -> Array:
    """Where a posed camera sees a map point, (1, 2) px; empty where it does not, or where nothing is known."""
    if cam_from_world is None or camera is None:
        return np.zeros((0, 2))
    pixels = camera.project(cam_from_world.apply(scene_map.points3D[point]))
    inside = ((pixels >= -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5))).all(axis=1)
    return pixels[inside]


_VIRIDIS = np.array([[70, 95, 150], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64)  # its bright part


def score_colors(scores: Array) -> Array:
    """Colours (N, 3) u8 of scores (N,), blue for the lowest to yellow for the highest; even ones are in between."""
    low, high = float(np.min(scores)), float(np.max(scores))
    share = (np.asarray(scores) - low) / (high - low) if high > low else np.full(len(scores), 0.5)
    at = share * (len(_VIRIDIS) - 1)
    return np.stack([np.interp(at, np.arange(len(_VIRIDIS)), channel) for channel in _VIRIDIS.T], axis=1).astype(np.uint8)


def way_lines(positions: Array) -> Array:
    """Segments (N, 2, 3) between positions (T, 3) that follow each other; gaps (NaN) stay gaps."""
    segments = np.stack([positions[:-1], positions[1:]], axis=1) if len(positions) > 1 else np.zeros((0, 2, 3))
    return segments[np.isfinite(segments).all(axis=(1, 2))]


def clip_to_front(segments: Array, depths: Array, near: float) -> tuple[Array, Array]:
    """Cut segments (N, 2, 3) at the plane where ``depths`` (N, 2) is ``near``; also return which (N,) bool are in front."""
    seen = depths.max(axis=1) > near
    clipped = segments.copy()
    for end in (0, 1):
        behind = seen & (depths[:, end] < near)
        d0, d1 = depths[behind, end], depths[behind, 1 - end]
        t = ((near - d0) / (d1 - d0))[:, None]
        clipped[behind, end] += t * (segments[behind, 1 - end] - segments[behind, end])
    return clipped, seen
