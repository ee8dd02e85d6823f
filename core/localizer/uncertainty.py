"""How well a set of inliers fixes a pose, and whether chance could have made them."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from core.geometry import Array, Camera, Rigid3d


def pose_uncertainty(cam_from_world: Rigid3d, points3D: Array, camera: Camera, noise_px: float = 1.0) -> tuple[float, float]:
    """Standard deviation of the camera position in m and of the rotation in deg when keypoints err by ``noise_px``.

    From the inverse of J^T J of the projections of (N, 3) world points in front of the camera, distortion left out.
    Infinite when the points do not fix the pose (fewer than three, one spot, one line).
    """
    points = cam_from_world.apply(points3D)
    points = points[points[:, 2] > 0]
    if len(points) < 3:
        return np.inf, np.inf
    depth = float(np.median(points[:, 2]))
    singular, basis = np.linalg.svd(np.linalg.qr(_jacobian(points, depth), mode="r"))[1:]
    if singular[-1] < 1e-9 * singular[0]:
        return np.inf, np.inf
    noise = noise_px / np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    covariance = (basis.T / singular**2) @ basis * noise**2
    rotation = np.degrees(np.sqrt(np.trace(covariance[:3, :3])))
    return depth * float(np.sqrt(np.trace(covariance[3:, 3:]))), float(rotation)


def _jacobian(points: Array, depth: float) -> Array:
    """Derivatives (2N, 6) of x/z, y/z by a small rotation about the camera centre and a shift of it in units of ``depth``."""
    x, y, z = points.T
    u, v, s, o = x / z, y / z, depth / z, np.zeros(len(points))
    along_u = np.stack([-u * v, 1 + u * u, -v, s, o, -u * s], axis=1)
    along_v = np.stack([-(1 + v * v), u * v, u, o, s, -v * s], axis=1)
    return np.concatenate([along_u, along_v])


def log10_false_alarms(num_inliers: int, num_matches: int, sample_size: int, chance: float) -> float:
    """Log10 of how many models with as many inliers chance alone would give among all minimal samples.

    ``chance``: probability that a wrong match is an inlier of a given model. Above 0, the inliers mean nothing
    (Moisan and Stival 2004, "a contrario" RANSAC).
    """
    extra = num_inliers - sample_size
    if extra <= 0:
        return float("inf")
    choose = _log_choose(num_matches, num_inliers) + _log_choose(num_inliers, sample_size)
    tests = np.log(max(1, num_matches - sample_size))
    return float((tests + choose + extra * np.log(min(1.0, max(chance, 1e-12)))) / np.log(10))


def _log_choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
