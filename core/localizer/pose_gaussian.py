"""What is known of a pose, as a Gaussian: carried along by odometry, and joined with what an image shows (a Kalman filter's
two steps, on the group of rigid motions; Barfoot, State Estimation for Robotics, chapter 8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Rigid3d, frozen_array
from core.localizer.motion import quaternions_from_vectors, vectors_from_quaternions


@dataclass(frozen=True, slots=True, eq=False)
class PoseGaussian:
    """The mean ``cam_from_world`` and the ``covariance`` (6, 6) f64 of its error: the pose is the mean, then turned by a
    rotation vector (rad) about the camera centre and shifted (m), both in the camera's frame and in this order.
    """

    cam_from_world: Rigid3d
    covariance: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", frozen_array(self.covariance, np.float64, (6, 6), "covariance"))

    @property
    def information(self) -> Array:
        """The inverse (6, 6) of the covariance."""
        return np.linalg.inv(self.covariance)

    @property
    def position_error_m(self) -> float:
        """Standard deviation of the camera centre along its least certain direction."""
        return float(np.sqrt(max(0.0, np.linalg.eigvalsh(self.covariance[3:, 3:])[-1])))

    def offset(self, pose: Rigid3d) -> Array:
        """How a pose differs from the mean (6,), as an error of it."""
        between = pose @ self.cam_from_world.inverse()
        return np.concatenate([vectors_from_quaternions(between.qvec[None])[0], between.tvec])

    def distance(self, pose: Rigid3d) -> float:
        """How far a pose is from the mean, in standard deviations (Mahalanobis)."""
        offset = self.offset(pose)
        return float(np.sqrt(offset @ self.information @ offset))

    def cost(self, pose: Rigid3d) -> float:
        """What a pose costs by what is known of it: the Gaussian's negative logarithm, 0 at the mean."""
        return 0.5 * self.distance(pose) ** 2

    def moved(self, step: Rigid3d, deviations: tuple[float, float]) -> PoseGaussian:
        """After a step (cam_now_from_cam_before) of which position (m) and rotation (rad) err by ``deviations``."""
        carried = adjoint(step)
        return PoseGaussian(step @ self.cam_from_world, carried @ self.covariance @ carried.T + noise(deviations))

    def moved_back(self, step: Rigid3d, deviations: tuple[float, float]) -> PoseGaussian:
        """Before such a step."""
        back = step.inverse()
        carried = adjoint(back)
        covariance = carried @ (self.covariance + noise(deviations)) @ carried.T
        return PoseGaussian(back @ self.cam_from_world, covariance)

    def seen(self, pose: Rigid3d, information: Array) -> PoseGaussian:
        """At the pose that the mean and what was seen agree on; ``information`` (6, 6) is that of what was seen."""
        covariance = np.linalg.inv(self.information + information)
        return PoseGaussian(pose, (covariance + covariance.T) / 2)

    def in_world(self) -> Array:
        """The covariance (6, 6) of the camera centre in the world (m), then of the rotation vector in the camera's frame."""
        change = np.zeros((6, 6))
        change[:3, 3:] = -self.cam_from_world.R.T
        change[3:, :3] = np.eye(3)
        return change @ self.covariance @ change.T


def changed(pose: Rigid3d, error: Array) -> Rigid3d:
    """A pose with an error (6,): turned about the camera centre, then shifted."""
    return Rigid3d(quaternions_from_vectors(error[None, :3])[0], error[3:]) @ pose


def adjoint(motion: Rigid3d) -> Array:
    """How an error (6,) before a motion looks after it."""
    made = np.zeros((6, 6))
    x, y, z = motion.tvec
    made[:3, :3] = made[3:, 3:] = motion.R
    made[3:, :3] = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ motion.R
    return made


def noise(deviations: tuple[float, float]) -> Array:
    """The covariance (6, 6) of a step of which position (m) and rotation (rad) err by ``deviations``."""
    position_m, rotation_rad = deviations
    return np.diag([max(rotation_rad, 1e-6) ** 2] * 3 + [max(position_m, 1e-6) ** 2] * 3)
