"""Pose estimation beside pycolmap and bare PoseLib on the same synthetic matches, all in one run.

1024 x 768 pinhole camera, 1 px noise, 8 px threshold. PoseLib and pycolmap are called with their own stopping rules, and
PoseLib a second time with ours, so that the ratio to it is what counting the inliers again and checking the pose costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import poselib
import pycolmap

from core.evaluation.errors import pose_error
from core.geometry import Camera, Rigid3d
from core.localizer.ransac import RansacConfig, estimate_pose
from core.records import Matches2D3D, Observations, SceneMap

CAMERA = Camera.pinhole(1024, 768, 800.0)
CELLS = ((200, 0.8), (200, 0.3), (200, 0.1), (2000, 0.8), (2000, 0.3), (2000, 0.1))
NUM_SCENES = 9
CONFIG = RansacConfig()


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    matches: Matches2D3D
    scene_map: SceneMap
    truth: Rigid3d


def make_problem(count: int, inlier_ratio: float, seed: int, noise_px: float = 1.0) -> Problem:
    """Points 4 to 40 m before a camera at a random pose; the rest of the keypoints lie anywhere in the image."""
    rng = np.random.default_rng(seed)
    truth = Rigid3d(rng.normal(size=4), rng.normal(0, 20, 3))
    size = (CAMERA.width, CAMERA.height)
    pixels = rng.uniform((0, 0), size, (count, 2))
    points3D = truth.inverse().apply(CAMERA.bearings(pixels) * rng.uniform(4, 40, (count, 1)))
    pixels += rng.normal(0, noise_px, (count, 2))
    wrong = rng.permutation(count)[round(inlier_ratio * count) :]
    pixels[wrong] = rng.uniform((0, 0), size, (len(wrong), 2))
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    rows = np.arange(count)
    matches = Matches2D3D(pixels, rows, np.ones(count), np.zeros(count), np.zeros((count, 2)), rows)
    return Problem(matches, SceneMap(points3D, np.zeros((count, 3)), (), nothing), truth)


def solve_ours(problem: Problem) -> Rigid3d | None:
    return estimate_pose(problem.matches, problem.scene_map, CAMERA, CONFIG).cam_from_world


def solve_poselib(problem: Problem, **options: float) -> Rigid3d | None:
    camera = {"model": "PINHOLE", "width": CAMERA.width, "height": CAMERA.height, "params": CAMERA.params.tolist()}
    options = {"max_reproj_error": CONFIG.max_error_px} | options
    pose, info = poselib.estimate_absolute_pose(problem.matches.points2D, problem.scene_map.points3D, camera, options, {})
    return Rigid3d(pose.q, pose.t) if info["num_inliers"] >= CONFIG.min_inliers else None


def solve_poselib_same_rules(problem: Problem) -> Rigid3d | None:
    return solve_poselib(
        problem,
        min_iterations=CONFIG.min_iterations,
        max_iterations=CONFIG.max_iterations,
        success_prob=CONFIG.confidence,
    )


def solve_pycolmap(problem: Problem) -> Rigid3d | None:
    camera = pycolmap.Camera(model="PINHOLE", width=CAMERA.width, height=CAMERA.height, params=CAMERA.params.tolist())
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = CONFIG.max_error_px
    points2D, points3D = problem.matches.points2D, problem.scene_map.points3D
    found = pycolmap.estimate_and_refine_absolute_pose(points2D, points3D, camera, options)
    if found is None or found["num_inliers"] < CONFIG.min_inliers:
        return None
    return Rigid3d.from_rotation(found["cam_from_world"].rotation.matrix(), found["cam_from_world"].translation)


SOLVERS: dict[str, Callable[[Problem], Rigid3d | None]] = {
    "ours": solve_ours,
    "PoseLib, our rules": solve_poselib_same_rules,
    "PoseLib": solve_poselib,
    "pycolmap": solve_pycolmap,
}


def run() -> list[dict]:
    """One row a number of matches, share of inliers and solver: median ms, times of ours, median errors, poses found."""
    solve_ours(make_problem(100, 0.5, seed=0))  # the first call loads libraries
    return [row for count, ratio in CELLS for row in _cell(count, ratio)]


def _cell(count: int, ratio: float) -> list[dict]:
    problems = [make_problem(count, ratio, seed) for seed in range(NUM_SCENES)]
    measured = {name: _measure(solve, problems) for name, solve in SOLVERS.items()}
    ours_ms = measured["ours"]["ms"]
    return [
        {"matches": count, "inliers": f"{ratio:.0%}", "solver": name, **values, "x ours": values["ms"] / ours_ms}
        for name, values in measured.items()
    ]


def _measure(solve: Callable[[Problem], Rigid3d | None], problems: list[Problem]) -> dict:
    times, errors = [], []
    for problem in problems:
        start = time.perf_counter()
        pose = solve(problem)
        times.append(1000 * (time.perf_counter() - start))
        if pose is not None:
            errors.append(pose_error(pose, problem.truth))
    return {
        "ms": float(np.median(times)),
        "position_mm": 1000 * float(np.median([error.position_m for error in errors])) if errors else float("nan"),
        "rotation_mdeg": 1000 * float(np.median([error.rotation_deg for error in errors])) if errors else float("nan"),
        "right": f"{sum(error.position_m < 0.5 for error in errors)}/{len(problems)}",
    }


def main() -> None:
    for row in run():
        print(*(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()), sep="\t")


if __name__ == "__main__":
    main()
