"""How particles move: noisy odometry, and what a vehicle's mapping drive says of height, roll and pitch (PAPER 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Rigid3d
from core.records import QueryPrior, SceneMap, setting
from core.sequences import OdometryNoise

_MIN_HEIGHT_ERROR_M = 0.15  # a road is no plane, and no two drives load a car alike
_MIN_TILT_ERROR_RAD = np.radians(1.5)


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    noise_factor: float = setting(
        3.0, minimum=0.0, maximum=20.0, help="particles spread this many times as far as the odometry is said to err"
    )
    unknown_share: float = setting(
        0.5, minimum=0.0, maximum=5.0, help="without odometry: error of the last known step, as a share of it"
    )
    unknown_m: float = setting(
        1.0, unit="m", minimum=0.0, maximum=100.0, help="without odometry: error of the position, added to that share"
    )
    unknown_deg: float = setting(3.0, unit="deg", minimum=0.0, maximum=180.0, help="without odometry: error of the heading")


def odometry_deviations(step: Rigid3d, noise: OdometryNoise) -> tuple[float, float]:
    """Standard deviations of a step's position (m) and rotation (rad), per axis."""
    way_m = float(np.linalg.norm(step.tvec))
    position = noise.translation_share * way_m + noise.translation_floor_m
    return position, float(np.radians(noise.rotation_deg_per_m * way_m + noise.rotation_floor_deg))


def disturbed(step: Rigid3d, noise: OdometryNoise, rng: np.random.Generator) -> Rigid3d:
    """A step (cam_now_from_cam_before) as odometry with this noise would measure it."""
    position, rotation = odometry_deviations(step, noise)
    error = Rigid3d(quaternions_from_vectors(rng.normal(0, rotation, (1, 3)))[0], rng.normal(0, position, 3))
    return error @ step


def move(
    qvec: Array, centers: Array, step: Rigid3d, deviations: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Move N particles by cam_now_from_cam_before, each with an error of its own; (N, 4) and (N, 3) as in ParticleSet."""
    forward = step.center()  # where the camera now is, in the frame of the one before
    position, rotation = deviations
    centers = centers + rotate_back(qvec, forward + rng.normal(0, position, centers.shape))
    qvec = multiply(np.broadcast_to(step.qvec, qvec.shape), qvec)
    return multiply(quaternions_from_vectors(rng.normal(0, rotation, centers.shape)), qvec), centers


def unknown_step(last: Rigid3d | None, config: MotionConfig) -> tuple[Rigid3d, tuple[float, float]]:
    """What is expected where odometry is missing: the last step again, with errors that say how little is known."""
    way_m = 0.0 if last is None else float(np.linalg.norm(last.tvec))
    deviations = config.unknown_share * way_m + config.unknown_m, float(np.radians(config.unknown_deg))
    return last or Rigid3d.identity(), deviations


@dataclass(frozen=True, slots=True, eq=False)
class Mounting:
    """Where the mapping cameras stood: ``centers`` (M, 3) m, ``up`` (3,) unit in the world, and the upward direction in
    each camera's frame ``up_in_camera`` (M, 3), with the deviations of ``height_error_m`` and ``tilt_error_rad``.
    """

    centers: Array
    up: Array
    up_in_camera: Array
    height_error_m: float
    tilt_error_rad: float

    def log_likelihood(self, qvec: Array, centers: Array) -> Array:
        """How well height, roll and pitch (N,) fit the nearest mapping camera: a Gaussian, no more than its tail of 4 sigma."""
        nearest = nearest_rows(_level(centers, self.up), _level(self.centers, self.up))
        height = (centers - self.centers[nearest]) @ self.up / self.height_error_m
        up_in_camera = rotate(qvec, np.broadcast_to(self.up, centers.shape))
        tilt = np.linalg.norm(up_in_camera - self.up_in_camera[nearest], axis=1) / self.tilt_error_rad
        return -0.5 * (np.minimum(np.abs(height), 4.0) ** 2 + np.minimum(tilt, 4.0) ** 2)


def mounting_of(scene_map: SceneMap) -> Mounting | None:
    """What the mapping cameras say of height and tilt, or None for a map without posed images.

    The deviations are those between neighbouring mapping cameras, so that cameras held by hand tie nothing tightly.
    Up is against the map's gravity, else the mean of the cameras' own.
    """
    poses = [image.cam_from_world for image in scene_map.images if image.cam_from_world is not None]
    if not poses:
        return None
    centers = np.array([pose.center() for pose in poses])
    rotations = np.array([pose.R for pose in poses])
    up = -rotations[:, 1].mean(axis=0) if scene_map.gravity_in_world is None else -scene_map.gravity_in_world
    up = up / max(float(np.linalg.norm(up)), 1e-12)
    up_in_camera = rotations @ up
    height_error_m, tilt_error_rad = _MIN_HEIGHT_ERROR_M, float(_MIN_TILT_ERROR_RAD)
    if len(poses) > 1:
        other = _nearest_other(centers)
        height_error_m = max(height_error_m, float(np.std((centers - centers[other]) @ up)))
        tilt = np.linalg.norm(up_in_camera - up_in_camera[other], axis=1)
        tilt_error_rad = max(tilt_error_rad, float(np.sqrt((tilt**2).mean())))
    return Mounting(centers, up, up_in_camera, height_error_m, tilt_error_rad)


def prior_log_likelihood(prior: QueryPrior | None, qvec: Array, centers: Array, up: Array | None) -> Array:
    """How well particles (N,) fit what is known of a query's position, height and gravity; 0 where nothing is."""
    total = np.zeros(len(centers))
    if prior is None:
        return total
    if prior.position is not None:
        offset = np.linalg.norm(centers - prior.position, axis=1) / max(prior.position_error_m, 0.1)
        total -= 0.5 * np.minimum(offset, 4.0) ** 2
    if prior.height_m is not None:
        total -= 0.5 * np.minimum(np.abs(centers[:, 2] - prior.height_m) / max(prior.height_error_m, 0.05), 4.0) ** 2
    if prior.gravity_in_camera is not None and up is not None:
        down = rotate(qvec, np.broadcast_to(-up, centers.shape))
        tilt = np.linalg.norm(down - prior.gravity_in_camera, axis=1) / np.radians(max(prior.gravity_error_deg, 0.25))
        total -= 0.5 * np.minimum(tilt, 4.0) ** 2
    return total


def _level(points: Array, up: Array) -> Array:
    return points - np.outer(points @ up, up)


def nearest_rows(points: Array, references: Array) -> Array:
    """Index (N,) of the reference nearest to each point, in bounded memory."""
    from scipy.spatial import cKDTree

    return cKDTree(references).query(points)[1]


def _nearest_other(centers: Array) -> Array:
    from scipy.spatial import cKDTree

    return cKDTree(centers).query(centers, k=2)[1][:, 1]


def multiply(a: Array, b: Array) -> Array:
    """Hamilton products (N, 4) of quaternions: the rotation b, then a."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def rotate(qvec: Array, vectors: Array) -> Array:
    """Rotate (N, 3) vectors by (N, 4) unit quaternions."""
    imaginary = qvec[:, 1:]
    twice = 2 * np.cross(imaginary, vectors)
    return vectors + qvec[:, :1] * twice + np.cross(imaginary, twice)


def rotate_back(qvec: Array, vectors: Array) -> Array:
    return rotate(qvec * np.array([1.0, -1, -1, -1]), vectors)


def quaternions_from_vectors(vectors: Array) -> Array:
    """Unit quaternions (N, 4) of rotation vectors (N, 3) rad."""
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    half = angle / 2
    return np.hstack([np.cos(half), vectors * 0.5 * np.sinc(half / np.pi)])


def vectors_from_quaternions(qvec: Array) -> Array:
    """Rotation vectors (N, 3) rad, at most pi long, of unit quaternions (N, 4)."""
    qvec = np.where(qvec[:, :1] < 0, -qvec, qvec)
    sine = np.linalg.norm(qvec[:, 1:], axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, qvec[:, :1])
    return qvec[:, 1:] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
