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
    singular, basis = np.linalg.svd(np.linalg.qr(pose_jacobian(points, depth), mode="r"))[1:]
    if singular[-1] < 1e-9 * singular[0]:
        return np.inf, np.inf
    noise = noise_px / np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    covariance = (basis.T / singular**2) @ basis * noise**2
    rotation = np.degrees(np.sqrt(np.trace(covariance[:3, :3])))
    return depth * float(np.sqrt(np.trace(covariance[3:, 3:]))), float(rotation)


def pose_jacobian(points: Array, depth: float) -> Array:
    """Derivatives (2N, 6) of x/z, y/z by a small rotation about the camera centre and a shift of it in units of ``depth``."""
    x, y, z = points.T
    u, v, s, o = x / z, y / z, depth / z, np.zeros(len(points))
    along_u = np.stack([-u * v, 1 + u * u, -v, s, o, -u * s], axis=1)
    along_v = np.stack([-(1 + v * v), u * v, u, o, s, -v * s], axis=1)
    return np.concatenate([along_u, along_v])


def log10_false_alarms(chances: Array, num_matches: int, sample_size: int) -> float:
    """Log10 of how many models as good as this one chance alone would give among all minimal samples.

    ``chances`` (I,): for each inlier the probability that a wrong match has an error as small as its own. The part of the
    inliers that tells most decides, so that few exact ones count as much as many loose ones. Above 0 the model means
    nothing; infinite without more inliers than a sample (Moisan and Stival 2004, "a contrario" RANSAC).
    """
    count = np.arange(1, len(chances) + 1)[sample_size:]
    if not len(count):
        return float("inf")
    chance = np.log(np.clip(np.sort(chances)[sample_size:], 1e-12, 1.0))
    samples = _log_choose(num_matches, count) + _log_choose(count, sample_size)
    alarms = np.log(max(1, num_matches - sample_size)) + samples + (count - sample_size) * chance
    return float(alarms.min() / np.log(10))


def _log_choose(n: int | Array, k: int | Array) -> Array:
    return gammaln(np.add(n, 1)) - gammaln(np.add(k, 1)) - gammaln(np.subtract(n, k) + 1)
