"""What semantics cost: GSMC beside a plain loop over matches and places, SSMC, and RANSAC by weights beside PoseLib's."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import poselib

from benchmarks.bench_pose import CAMERA, CONFIG, Problem, make_problem
from core.geometry import Array, Camera
from core.localizer.absolute_pose import AbsolutePose
from core.localizer.circle import Circles
from core.localizer.circle_scores import LabelledCloud, score_circles
from core.localizer.label_plane import LabelPlane
from core.localizer.lo_ransac import lo_ransac
from core.localizer.ssmc import labels_near
from core.records import LabelMap

NUM_MATCHES, NUM_ANGLES, NUM_POINTS, NUM_LABELS = 1000, 360, 20_000, 100
PLAIN_MATCHES = 2  # the loop is measured on these and scaled up
EXTENT_M, HEIGHT_M = 60.0, 1.5


def run() -> list[dict]:
    """Rows of what was done, its milliseconds and how many times faster it is than the reference, where there is one."""
    return [*_gsmc_rows(), _ssmc_row(), *_ransac_rows()]


def street_problem(seed: int = 0) -> tuple[Circles, LabelledCloud, LabelPlane]:
    """Points up to 8 m high on a square of 120 m, seen within a few degrees; matches on circles of 5 to 30 m."""
    rng = np.random.default_rng(seed)
    camera = Camera.pinhole(640, 480, 500.0)
    points = np.c_[rng.uniform(-EXTENT_M, EXTENT_M, (NUM_POINTS, 2)), rng.uniform(0, 8, NUM_POINTS)]
    direction = rng.normal(size=(NUM_POINTS, 3)) * [1, 1, 0.2]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    near = rng.uniform(4, 15, NUM_POINTS)
    labels = rng.integers(0, NUM_LABELS, NUM_POINTS)
    half, far = np.radians(rng.uniform(6, 20, NUM_POINTS)), near * rng.uniform(1.5, 4, NUM_POINTS)
    cloud = LabelledCloud(points, direction, half, near, far, labels, np.ones(NUM_POINTS))
    up = np.array([0, -np.cos(0.05), -np.sin(0.05)])
    forward = rng.normal(size=(NUM_MATCHES, 3)) * [0.4, 0.2, 0] + [0, 0, 1]
    forward -= (forward @ up)[:, None] * up
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    axes = np.stack([forward, np.cross(up, forward), np.broadcast_to(up, forward.shape)], axis=2)
    matched = points[rng.integers(0, NUM_POINTS, NUM_MATCHES)]
    circles = Circles(matched, rng.uniform(5, 30, NUM_MATCHES), HEIGHT_M, axes, np.eye(3))
    cells = rng.integers(0, NUM_LABELS, (24, 32))
    image = np.kron(cells, np.ones((20, 20), int))
    return circles, cloud, LabelPlane(image, np.ones(image.shape, np.float32), camera)


def plain_loop(circles: Circles, cloud: LabelledCloud, plane: LabelPlane, num_matches: int) -> Array:
    """Scores (num_matches, A) as one would write them down: all points at every place of every match."""
    height, width = plane.labels.shape
    scores = np.zeros((num_matches, NUM_ANGLES))
    for match in range(num_matches):
        level = np.linalg.norm(cloud.points[:, :2] - circles.points[match, :2], axis=1)
        for place in range(NUM_ANGLES):
            angle = 2 * np.pi * place / NUM_ANGLES
            out = np.array([np.cos(angle), np.sin(angle), 0])
            center = np.append(circles.points[match, :2], circles.height) + circles.radius[match] * out
            to_camera = center - cloud.points
            distance = np.linalg.norm(to_camera, axis=1)
            seen = (level <= circles.radius[match]) & (cloud.near < distance) & (distance < cloud.far)
            seen &= (to_camera * cloud.direction).sum(axis=1) >= np.cos(cloud.half_angle) * distance
            axes = np.stack([-out, np.cross([0, 0, 1.0], -out), [0, 0, 1.0]])
            projected = -to_camera[seen] @ (plane.K @ circles.axes[match] @ axes).T
            projected, labels = projected[projected[:, 2] > 0.1], cloud.labels[seen][projected[:, 2] > 0.1]
            x, y = np.rint(projected[:, :2] / projected[:, 2:]).astype(int).T
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            scores[match, place] = (plane.labels[y[inside], x[inside]] == labels[inside]).sum()
    return scores


def _gsmc_rows() -> list[dict]:
    circles, cloud, plane = street_problem()
    values = np.eye(NUM_LABELS, dtype=np.float32)
    ours_ms = _milliseconds(lambda: score_circles(circles, cloud, plane, values, NUM_ANGLES), times=3)
    plain_ms = _milliseconds(lambda: plain_loop(circles, cloud, plane, PLAIN_MATCHES), times=1) * NUM_MATCHES / PLAIN_MATCHES
    ours = score_circles(circles, cloud, plane, values, NUM_ANGLES)[0][:PLAIN_MATCHES]
    differ = int((ours != plain_loop(circles, cloud, plane, PLAIN_MATCHES)).sum())
    size = f"{NUM_MATCHES} matches x {NUM_ANGLES} places x {NUM_POINTS} points"
    return [
        {"what": f"GSMC, {size}", "ms": ours_ms, "times faster": plain_ms / ours_ms, "scores that differ": differ},
        {"what": f"GSMC as a plain loop ({PLAIN_MATCHES} matches, scaled up)", "ms": plain_ms, "times faster": 1.0},
    ]


def _ssmc_row() -> dict:
    rng = np.random.default_rng(0)
    labels = LabelMap(rng.integers(0, NUM_LABELS, (768, 1024)), NUM_LABELS, "random")
    pixels, expected = rng.uniform((0, 0), (1023, 767), (4000, 2)), rng.integers(0, NUM_LABELS, 4000)
    return {"what": "SSMC, 4000 matches", "ms": _milliseconds(lambda: labels_near(labels, pixels, expected), times=9)}


def _ransac_rows() -> list[dict]:
    """Both searches on the same matches, all of equal weight, with the same rules."""
    rows = []
    for count, ratio in ((200, 0.8), (200, 0.3), (2000, 0.8), (2000, 0.3), (2000, 0.1)):
        problems = [make_problem(count, ratio, seed) for seed in range(5)]
        ours, theirs = ([_milliseconds(partial(solve, one), 1) for one in problems] for solve in (_solve_ours, _solve_poselib))
        name = f"RANSAC by equal weights, {count} matches, {ratio:.0%} inliers"
        rows.append({"what": name, "ms": float(np.median(ours)), "times faster": float(np.median(theirs) / np.median(ours))})
    return rows


def _solve_ours(problem: Problem) -> None:
    points2D, points3D = problem.matches.points2D, problem.scene_map.points3D
    lo_ransac(
        AbsolutePose(points2D, points3D, CAMERA, CONFIG.max_error_px),
        np.ones(len(points2D)),
        min_iterations=CONFIG.min_iterations,
        max_iterations=CONFIG.max_iterations,
        confidence=CONFIG.confidence,
        seed=0,
    )


def _solve_poselib(problem: Problem) -> None:
    camera = {"model": "PINHOLE", "width": CAMERA.width, "height": CAMERA.height, "params": CAMERA.params.tolist()}
    options = {
        "max_reproj_error": CONFIG.max_error_px,
        "min_iterations": CONFIG.min_iterations,
        "max_iterations": CONFIG.max_iterations,
        "success_prob": CONFIG.confidence,
    }
    poselib.estimate_absolute_pose(problem.matches.points2D, problem.scene_map.points3D, camera, options, {})


def _milliseconds(work: Callable[[], object], times: int) -> float:
    """The median of several runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return float(np.median(taken))
