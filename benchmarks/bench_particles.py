"""The particle filter's likelihood: all particles against all visible points, once for an image, beside a numpy loop.

An image is the likelihood volume of 1024 x 768 pixels of 100 labels and one score of every particle. The whole frame, its
labels given, is all that the filter does: it moves the particles by odometry, scores them (in as many parts as tempering
takes), resamples and roughens them, follows a rival place, compares with chance and estimates the pose. It is timed on one
thread and on two, as CPU time, which other programs do not lengthen, and as it passes; ``load`` is how many ran meanwhile.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from core.geometry import Array, Camera, Rigid3d
from core.localizer.label_likelihood import (
    LabelledPoints,
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    mean_log_ratios,
    rotations_of,
)
from core.localizer.motion import disturbed
from core.localizer.sequence import SequenceConfig, Tracker
from core.records import ImageData, LabelMap, Observations, PointLabels, PointVisibility, SceneMap
from core.sequences import Frame, OdometryNoise

NUM_LABELS = 100
CAMERA = Camera.pinhole(1024, 768, 800.0)
CONFIG = LikelihoodConfig(max_points=20_000)
REPEATS = 9
NUM_FRAMES = 30
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
    sizes = ((300, 5000), (1000, 5000), (1000, 20_000), (4000, 5000))
    return [_whole_frame(1), _whole_frame(2), *(_row(particles, points) for particles, points in sizes)]


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
        "what": "image",
        "particles": num_particles,
        "points": num_points,
        "volume ms": volume_ms,
        "scores ms": scores_ms,
        "frames/s": 1000 / (volume_ms + scores_ms),
        "loop ms": loop_ms,
        "x loop": loop_ms / scores_ms,
    }


def _whole_frame(num_threads: int = 1) -> dict:
    """Follow a drive with the filter's own settings: 1000 particles, 5000 points, all visible."""
    config, noise, rng = SequenceConfig(), OdometryNoise(), np.random.default_rng(0)
    poses = [Rigid3d([1, 0, 0, 0], [0, 0, -0.1 * k]) for k in range(NUM_FRAMES)]
    scene_map = make_map(config.likelihood.max_points, poses)
    frames = []
    for k, pose in enumerate(poses):
        moved = disturbed(pose @ poses[k - 1].inverse(), noise, rng) if k else None
        query = ImageData(f"{k}.png", Path(f"{k}.png"), "", CAMERA, pose)
        frames.append(Frame(query, labels_seen(scene_map, pose), moved, noise))
    seconds, errors_m = _follow(Tracker(scene_map, None, config, 0, "cpu"), frames, num_threads)
    cpu_ms, passed_ms = 1000 * np.median(seconds, axis=0)
    return {
        "what": f"whole frame, {num_threads} thread{'s' * (num_threads > 1)}",
        "particles": config.filter.num_particles,
        "points": len(scene_map.points3D),
        "CPU ms": float(cpu_ms),
        "passed ms": float(passed_ms),
        "frames/s": float(1000 / (cpu_ms if num_threads == 1 else passed_ms)),
        "load": os.getloadavg()[0],
        "error m": float(np.median(errors_m)),
    }


def _follow(tracker: Tracker, frames: list[Frame], num_threads: int) -> tuple[list[tuple[float, float]], list[float]]:
    """Seconds of CPU time and of the clock for each frame after the first, which begins with more particles; all errors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        seconds, errors_m = [], []
        for k, frame in enumerate(frames):
            begin = time.process_time(), time.perf_counter()
            step = tracker.advance(frame, k, len(frames))
            seconds.append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
            errors_m.append(float(np.linalg.norm(step.estimate.center() - frame.query.cam_from_world.center())))
        return seconds[1:], errors_m
    finally:
        torch.set_num_threads(threads)


def make_map(num_points: int, poses: list[Rigid3d], seed: int = 0) -> SceneMap:
    """Labelled points before a drive, visible from all of it."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-10, -5, 6), (10, 5, 40), (num_points, 3))
    images = tuple(ImageData(f"ref/{k}.png", Path(f"{k}.png"), "ref", CAMERA, pose) for k, pose in enumerate(poses))
    facing = np.tile([0.0, 0.0, -1.0], (num_points, 1))
    ones = np.ones(num_points)
    visibility = PointVisibility(facing, 2 * ones, 0.1 * ones, 100 * ones)
    labels = PointLabels(rng.integers(0, NUM_LABELS, num_points), ones, NUM_LABELS, "bench")
    none = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    return SceneMap(points, np.zeros((num_points, 3)), images, none, visibility=visibility, labels=labels)


def labels_seen(scene_map: SceneMap, pose: Rigid3d, cell: int = 8) -> LabelMap:
    """An image of which every cell has the label of the point that projects nearest."""
    tree = cKDTree(CAMERA.project(pose.apply(scene_map.points3D)))
    across, down = np.meshgrid(np.arange(0, CAMERA.width, cell), np.arange(0, CAMERA.height, cell))
    nearest = tree.query(np.stack([across, down], -1) + cell / 2)[1]
    return LabelMap(np.kron(scene_map.labels.labels[nearest], np.ones((cell, cell), np.uint16)), NUM_LABELS, "bench")


def _median_ms(call) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return float(np.median(times))
