"""P3P by others, on the same matches as ours: PoseLib and pycolmap as a user would call them, with our threshold."""

from __future__ import annotations

import poselib
import pycolmap

from core.geometry import Camera, Rigid3d
from core.localizer.pipeline import LocalizerConfig
from core.records import Matches2D3D, SceneMap


def poselib_p3p(
    matches: Matches2D3D, scene_map: SceneMap, camera: Camera, config: LocalizerConfig, seed: int
) -> Rigid3d | None:
    """PoseLib's LO-RANSAC with its own stopping rule."""
    if len(matches) < 4:
        return None
    options = {"max_reproj_error": config.ransac.max_error_px, "max_iterations": config.ransac.max_iterations, "seed": seed}
    about = {"model": camera.model, "width": camera.width, "height": camera.height, "params": camera.params.tolist()}
    points3D = scene_map.points3D[matches.point_ids]
    pose, info = poselib.estimate_absolute_pose(matches.points2D, points3D, about, options, {})
    return Rigid3d(pose.q, pose.t) if info["num_inliers"] >= config.ransac.min_inliers else None


def pycolmap_p3p(
    matches: Matches2D3D, scene_map: SceneMap, camera: Camera, config: LocalizerConfig, seed: int
) -> Rigid3d | None:
    """COLMAP's LO-RANSAC and refinement, as hloc calls it."""
    if len(matches) < 4:
        return None
    about = pycolmap.Camera(model=camera.model, width=camera.width, height=camera.height, params=camera.params.tolist())
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = config.ransac.max_error_px
    options.ransac.max_num_trials = config.ransac.max_iterations
    options.ransac.random_seed = seed
    points3D = scene_map.points3D[matches.point_ids]
    found = pycolmap.estimate_and_refine_absolute_pose(matches.points2D, points3D, about, options)
    if found is None or found["num_inliers"] < config.ransac.min_inliers:
        return None
    pose = found["cam_from_world"]
    return Rigid3d.from_rotation(pose.rotation.matrix(), pose.translation)
