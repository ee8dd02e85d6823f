"""The camera pose as a problem for RANSAC: PoseLib's P3P and bundle refinement, costs of many poses at once."""

from __future__ import annotations

import numpy as np
import poselib

from core.geometry import Array, Camera

_PAIRS = 65_536  # poses x matches at a time: what stays in the processor's cache
_BEHIND = 1e-6
_FAR = 1e7  # m; beyond it the squares of f32 overflow, and no pose is meant


class AbsolutePose:
    """Poses are rows (3, 4) [R | t] of ``cam_from_world``; M matches of px (M, 2) and world points (M, 3), all finite.

    Errors are measured in px of the camera without its distortion; ``max_error_px`` truncates them. ``counts`` (M,) >= 0 is
    what each match adds to the cost of a pose that it does not agree with, 1 by default. The points are moved to their
    middle, where f32 is exact enough for a world of any origin.
    """

    sample_size = 3

    def __init__(
        self, points2D: Array, points3D: Array, camera: Camera, max_error_px: float, counts: Array | None = None
    ) -> None:
        self._points2D, self._camera = points2D, _poselib_camera(camera)
        self._middle = points3D.mean(axis=0)
        self._points3D = points3D - self._middle
        self._counts = np.ones(len(points2D), np.float32) if counts is None else counts.astype(np.float32)
        self._rays = camera.bearings(points2D)
        plane = (self._rays[:, :2] / self._rays[:, 2:]).T.astype(np.float32)
        homogeneous = np.vstack([self._points3D.T, np.ones(len(points3D))]).astype(np.float32)
        self._along_x = np.ascontiguousarray(np.vstack([homogeneous, -plane[0] * homogeneous]))
        self._along_y = np.ascontiguousarray(np.vstack([homogeneous, -plane[1] * homogeneous]))
        self._depth = np.ascontiguousarray(homogeneous)
        self._max_error = max_error_px / float(np.sqrt(camera.K[0, 0] * camera.K[1, 1]))
        self._options = {"loss_type": "TRUNCATED", "loss_scale": max_error_px, "max_iterations": 25}

    def solve(self, samples: Array) -> Array:
        pairs = zip(self._rays[samples], self._points3D[samples])
        poses = np.array([found.Rt for rays, points in pairs for found in poselib.p3p(rays, points)]).reshape(-1, 3, 4)
        return poses[np.isfinite(poses).all(axis=(1, 2))]  # points on a line give none or NaN

    def costs(self, models: Array) -> Array:
        """Sum (B,) over the matches of what each counts times its squared error in units of the largest allowed, at most 1."""
        if not len(models):
            return np.zeros(0, np.float32)
        step = max(1, _PAIRS // max(1, len(self._rays)))
        return np.concatenate([self._errors(models[k : k + step]) @ self._counts for k in range(0, len(models), step)])

    def inliers(self, model: Array) -> Array:
        return self._errors(model[None])[0] < 1

    def refine(self, model: Array) -> Array:
        """Bundle adjustment of the pose over the matches that agree with it; the same pose where these are fewer than 3."""
        near = self.inliers(model)
        if near.sum() < 3:
            return model
        pose = poselib.CameraPose()
        pose.R, pose.t = model[:, :3], model[:, 3]
        found, _ = poselib.refine_absolute_pose(self._points2D[near], self._points3D[near], pose, self._camera, self._options)
        return found.Rt if np.isfinite(found.Rt).all() else model

    def in_world(self, model: Array) -> Array:
        """The pose (..., 3, 4) of the points as they were given."""
        return np.concatenate([model[..., :3], model[..., 3:] - model[..., :3] @ self._middle[:, None]], axis=-1)

    def _errors(self, models: Array) -> Array:
        """Squared errors (B, M) f32 in units of the largest one allowed, cut at 1 (behind the camera: 1)."""
        x, y, z = np.minimum(np.maximum(models, -_FAR), _FAR).astype(np.float32).transpose(1, 0, 2)
        error = np.concatenate([x, z], axis=1) @ self._along_x
        other = np.concatenate([y, z], axis=1) @ self._along_y
        depth = z @ self._depth
        error *= error
        other *= other
        error += other
        np.maximum(depth, _BEHIND, out=depth)
        depth *= self._max_error
        depth *= depth
        error /= depth
        return np.fmin(error, 1, out=error)


def _poselib_camera(camera: Camera) -> dict:
    return {"model": camera.model, "width": camera.width, "height": camera.height, "params": camera.params.tolist()}
