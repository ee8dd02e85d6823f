"""All poses of a track adjusted together to the guided matches of all images and to odometry, by Gauss-Newton.

What a Kalman filter made of an image knew nothing of those that came after, and its linearization was that of a first guess;
here the images after count as those before do (a bundle adjustment with the points held fast).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.geometry import Array, Rigid3d
from core.localizer.guided import GuidedPairs
from core.localizer.pose_gaussian import PoseGaussian, adjoint, changed, noise
from core.localizer.tracks import Look, Moment, Track

_ROUNDS = 6
_HELD = 1e-3  # 1 / m^2 and 1 / rad^2: what holds poses that nothing else does


def adjusted(track: Track, looks: Sequence[Look]) -> Track:
    """The track with its poses, their covariances, and their guided matches, as all ``looks`` together have them; the same
    track where these speak no more for the new poses.
    """
    poses = [moment.pose for moment in track.moments]
    best, most = None, -np.inf
    for _ in range(_ROUNDS):
        pairs = [None if look.guided is None else look.guided.judged(pose) for look, pose in zip(looks, poses)]
        normal, gradient, squared = _system(poses, pairs, looks)
        told = sum(found.evidence for found in pairs if found is not None) - squared.sum() / 2
        if told > most:
            best, most = (poses, pairs, normal, squared), told
        step = -np.linalg.solve(normal, gradient).reshape(-1, 6)
        if not np.isfinite(step).all():
            break
        poses = [changed(pose, error) for pose, error in zip(poses, step)]
    return _track(looks, *best)


def _system(poses: Sequence[Rigid3d], pairs: Sequence[GuidedPairs | None], looks: Sequence[Look]) -> tuple[Array, Array, Array]:
    """Normal matrix (6N, 6N) and gradient (6N,) by all poses' errors, and the squared errors (N,) of the odometry to each."""
    count = len(poses)
    normal, gradient, squared = _HELD * np.eye(6 * count), np.zeros(6 * count), np.zeros(count)
    for k, (pose, found, look) in enumerate(zip(poses, pairs, looks)):
        own = slice(6 * k, 6 * k + 6)
        if found is not None:
            information, slope = look.guided.measured(pose, found)
            normal[own, own] += information
            gradient[own] += slope
        if k == 0:
            continue
        both = slice(6 * k - 6, 6 * k + 6)
        expected = PoseGaussian(look.step @ poses[k - 1], noise(look.deviations))
        error, information = expected.offset(pose), expected.information
        by_errors = np.hstack([-adjoint(look.step), np.eye(6)])
        normal[both, both] += by_errors.T @ information @ by_errors
        gradient[both] += by_errors.T @ information @ error
        squared[k] = error @ information @ error
    return normal, gradient, squared


def _track(
    looks: Sequence[Look], poses: Sequence[Rigid3d], pairs: Sequence[GuidedPairs | None], normal: Array, squared: Array
) -> Track:
    """The track of adjusted poses; what odometry costs counts against each moment, as where a track is led."""
    covariances = np.linalg.inv(normal)
    moments = []
    for k, (pose, found, look) in enumerate(zip(poses, pairs, looks)):
        own = slice(6 * k, 6 * k + 6)
        evidence = 0.0 if found is None else look.evidence(pose, found)
        moments.append(Moment(PoseGaussian(pose, covariances[own, own]), evidence - squared[k] / 2, found))
    return Track(tuple(moments))
