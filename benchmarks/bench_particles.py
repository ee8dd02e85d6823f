"""The particle filter's likelihood: all particles against all visible points, once for an image, beside a numpy loop.

A frame is the likelihood volume of a 1024 x 768 label image of 100 labels and one score of every particle.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from core.geometry import Array, Camera, Rigid3d
from core.localizer.label_likelihood import (
    LabelledPoints,
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    mean_log_ratios,
    rotations_of,
)
from core.records import LabelMap

NUM_LABELS = 100
CAMERA = Camera.pinhole(1024, 768, 800.0)
CONFIG = LikelihoodConfig(max_points=20_000)
REPEATS = 9
_LOOPED = 20  # poses that the loop is timed on


def make_points(count: int, seed: int = 0) -> LabelledPoints:
    """Points before the camera, all of them visible from around the origin."""
    rng = np.random.default_rng(seed)
    columns = (
        rng.uniform((-10, -5, 4), (10, 5, 40), (count, 3)),
        np.tile([0.0, 0.0, -1.0], (count, 1)),
        np.full(count, -1.0),
        np.full(count, 0.5),
        np.full(count, 100.0),
    )
    floats = (torch.as_tensor(np.ascontiguousarray(column, np.float32)) for column in columns)
    labels = torch.as_tensor(np.sort(rng.integers(0, NUM_LABELS, count)))
    return LabelledPoints(np.zeros(3), *floats, labels, torch.ones(count), NUM_LABELS, "bench")


def make_labels(seed: int = 0) -> LabelMap:
    blocks = np.random.default_rng(seed).integers(0, NUM_LABELS, (24, 32))
    return LabelMap(np.kron(blocks, np.ones((32, 32), np.int64)), NUM_LABELS, "bench")


def make_poses(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Rotations (N, 3, 3) and centres (N, 3) around the origin."""
    rng = np.random.default_rng(seed)
    qvec = np.array([1.0, 0, 0, 0]) + rng.normal(0, 0.02, (count, 4))
    return rotations_of(qvec / np.linalg.norm(qvec, axis=1, keepdims=True)), rng.normal(0, 0.5, (count, 3))


def loop_over_poses(points: LabelledPoints, labels: LabelMap, table: Array, rotations: Array, centers: Array) -> Array:
    """The same sum, one pose after the other, each pixel looked up in the label image itself."""
    world, of_point = points.points.double().numpy(), points.labels.numpy()
    near, far = points.near.numpy(), points.far.numpy()
    direction, cosine = points.direction.numpy(), points.cos_half_angle.numpy()
    means = []
    for rotation, center in zip(rotations, centers):
        pose = Rigid3d.from_rotation(rotation, -rotation @ center)
        pixels = CAMERA.project(pose.apply(world))
        offset = center - world
        distance = np.linalg.norm(offset, axis=1)
        visible = (distance > near) & (distance < far) & ((offset * direction).sum(axis=1) > cosine * distance)
        inside = visible & ((pixels >= 0) & (pixels <= (CAMERA.width - 1, CAMERA.height - 1))).all(axis=1)
        means.append(table[of_point[inside], labels.at(pixels[inside])].sum() / max(1, visible.sum()))
    return np.array(means)


def run() -> list[dict]:
    """One row a number of particles and points: ms of each part, frames a second, and how much slower the loop is."""
    return [_row(particles, points) for particles, points in ((300, 5000), (1000, 5000), (1000, 20_000), (4000, 5000))]


def _row(num_particles: int, num_points: int) -> dict:
    points, labels = make_points(num_points), make_labels()
    rotations, centers = make_poses(num_particles)
    probabilities = label_probabilities(None, NUM_LABELS, CONFIG)
    volume = label_volume(labels, CAMERA, probabilities, np.arange(NUM_LABELS), CONFIG)
    volume_ms = _median_ms(lambda: label_volume(labels, CAMERA, probabilities, np.arange(NUM_LABELS), CONFIG))
    scores_ms = _median_ms(lambda: mean_log_ratios(points, volume, rotations, centers, CONFIG))
    begin = time.perf_counter()
    loop_over_poses(points, labels, np.log(probabilities), rotations[:_LOOPED], centers[:_LOOPED])
    loop_ms = 1000 * (time.perf_counter() - begin) * num_particles / _LOOPED
    return {
        "particles": num_particles,
        "points": num_points,
        "volume ms": volume_ms,
        "scores ms": scores_ms,
        "frames/s": 1000 / (volume_ms + scores_ms),
        "loop ms": loop_ms,
        "x loop": loop_ms / scores_ms,
    }


def _median_ms(call) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return float(np.median(times))
