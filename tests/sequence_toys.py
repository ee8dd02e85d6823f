"""A street of labelled patches whose label images are exact, to follow a camera through."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.geometry import Camera, Rigid3d
from core.mapping.visibility import point_visibility
from core.records import ImageData, LabelMap, LabelStatistics, Observations, PointLabels, SceneMap

CAMERA = Camera.pinhole(128, 96, 100.0)
VOCABULARY, NUM_LABELS = "toy/12", 12
LENGTH_M, HALF_WIDTH_M, HEIGHT_M, EYE_M = 80.0, 6.0, 9.0, 1.5
_PATCH_M = 2.5
_TABLE = np.random.default_rng(7).integers(0, NUM_LABELS - 1, (4, 64, 64))  # the last label is what lies far off


def drive(num, spacing_m=2.0, start_m=4.0, sideways_m=0.0, yaw_deg=0.0):
    """Poses along the street (towards +x), at eye height; z is up."""
    return [
        looking(np.array([start_m + k * spacing_m, sideways_m * np.sin(k), EYE_M]), np.radians(yaw_deg) * np.cos(1.7 * k))
        for k in range(num)
    ]


def looking(center, heading_rad):
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    forward, right = np.array([c, s, 0.0]), np.array([s, -c, 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Rigid3d.from_rotation(rotation, -rotation @ center)


def surface_labels(points, wall):
    """Labels of points on a wall: 0 left, 1 right, 2 ground; 3 is what lies off."""
    u = np.clip(points[:, 0] / _PATCH_M, 0, 63).astype(int)
    v = np.clip(np.where(wall == 2, points[:, 1] + HALF_WIDTH_M, points[:, 2]) / _PATCH_M, 0, 63).astype(int)
    return np.where(wall == 3, NUM_LABELS - 1, _TABLE[np.minimum(wall, 2), u, v])


def label_image(pose, camera=CAMERA, wrong=0.0, seed=0):
    """What a perfect segmenter sees; a share of ``wrong`` of the pixels gets any label instead."""
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1).reshape(-1, 2)
    rays = camera.bearings(grid) @ pose.R
    center = pose.center()
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.stack(
            [(HALF_WIDTH_M - center[1]) / rays[:, 1], (-HALF_WIDTH_M - center[1]) / rays[:, 1], -center[2] / rays[:, 2]], 1
        )
    far[~(far > 0)] = np.inf
    wall, distance = far.argmin(axis=1), far.min(axis=1)
    points = center + rays * np.where(np.isfinite(distance), distance, 0)[:, None]
    off = ~np.isfinite(distance) | (points[:, 2] > HEIGHT_M) | (points[:, 0] < 0) | (points[:, 0] > LENGTH_M)
    labels = surface_labels(points, np.where(off, 3, wall))
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(len(labels)) < wrong, rng.integers(0, NUM_LABELS, len(labels)), labels)
    return LabelMap(labels.reshape(camera.height, camera.width), NUM_LABELS, VOCABULARY)


def street_map(num_points=3000, seed=0):
    """Labelled points on both walls and the ground, seen from a drive along the middle."""
    rng = np.random.default_rng(seed)
    wall = rng.integers(0, 3, num_points)
    along, across = rng.uniform(0, LENGTH_M, num_points), rng.uniform(-HALF_WIDTH_M, HALF_WIDTH_M, num_points)
    side = np.where(wall == 0, HALF_WIDTH_M, -HALF_WIDTH_M)
    points = np.stack(
        [along, np.where(wall == 2, across, side), np.where(wall == 2, 0, rng.uniform(0, HEIGHT_M, num_points))], 1
    )
    poses = drive(36)
    images = tuple(ImageData(f"ref/{k:03d}.png", Path(f"{k:03d}.png"), "ref", CAMERA, pose) for k, pose in enumerate(poses))
    seen_point, seen_image, seen_pixel = [], [], []
    for k, pose in enumerate(poses):
        pixels = CAMERA.project(pose.apply(points))
        near = np.linalg.norm(points - pose.center(), axis=1) < 30
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels <= [CAMERA.width - 1, CAMERA.height - 1])).all(axis=1) & near
        rows = np.flatnonzero(inside)
        seen_point.append(rows)
        seen_image.append(np.full(len(rows), k))
        seen_pixel.append(pixels[rows])
    point = np.concatenate(seen_point)
    order = np.argsort(point, kind="stable")
    observations = Observations(point[order], np.concatenate(seen_image)[order], np.concatenate(seen_pixel)[order])
    labels = PointLabels(surface_labels(points, wall), np.ones(num_points), NUM_LABELS, VOCABULARY)
    made = SceneMap(points, np.zeros((num_points, 3)), images, observations, labels=labels, gravity_in_world=[0, 0, -1])
    return replace(made, visibility=point_visibility(made))


def toy_statistics(kept=0.8, vocabulary=VOCABULARY, stationary=None):
    """Statistics of a vocabulary of which each label is kept this often."""
    joint = np.full((NUM_LABELS, NUM_LABELS), 1000 * (1 - kept) / (NUM_LABELS - 1))
    np.fill_diagonal(joint, 1000 * kept)
    still = np.ones(NUM_LABELS, bool) if stationary is None else stationary
    return LabelStatistics(vocabulary, NUM_LABELS, still, np.full(NUM_LABELS, 0.2), joint)


def query_of(k, pose, **more):
    return ImageData(f"night/{k:03d}.png", Path(f"/photos/night/{k:03d}.png"), "night", CAMERA, pose, **more)
