"""Weighted camera poses: spreading, tempering, resampling, and what they say together (PAPER 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Rigid3d
from core.localizer.motion import multiply, quaternions_from_vectors, rotate_back, vectors_from_quaternions
from core.records import setting
from core.sequences import ParticleSet, PoseCloud

_BISECTIONS = 30


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    num_particles: int = setting(1000, minimum=20, maximum=100_000, help="camera poses that are followed")
    start_factor: float = setting(4.0, minimum=1.0, maximum=100.0, help="so many times as many particles at the start")
    strength: float = setting(
        40.0, minimum=0.0, maximum=1e6, help="what an image's mean log-likelihood ratio counts: independent points it is worth"
    )
    stages: int = setting(
        6, minimum=1, maximum=20, help="an image's likelihood is taken in up to this many parts where it is sharp (tempering)"
    )
    start_position_m: float = setting(
        5.0, unit="m", minimum=0.0, maximum=1000.0, help="spread of the first particles around poses without a stated error"
    )
    start_heading_deg: float = setting(
        8.0, unit="deg", minimum=0.0, maximum=180.0, help="spread of the first particles' heading"
    )
    roughening: float = setting(
        0.3, minimum=0.0, maximum=2.0, help="after resampling particles move by this share of their spread"
    )
    mode_radius_m: float = setting(
        1.5, unit="m", minimum=0.01, maximum=100.0, help="particles this near to the densest place are its mode"
    )
    mode_angle_deg: float = setting(
        10.0, unit="deg", minimum=0.1, maximum=180.0, help="particles turned this little from it are its mode"
    )


MIN_JITTER_M, MAX_JITTER_M = 0.02, 0.5
MIN_JITTER_RAD, MAX_JITTER_RAD = np.radians(0.1), np.radians(3.0)


def normalised(log_weights: Array) -> Array:
    """Shift log-weights (N,) so that their exponentials add up to 1; -inf and NaN count as impossible, all so as equal."""
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = log_weights.max()
    if not np.isfinite(top):
        return np.full(len(log_weights), -np.log(len(log_weights)))
    shifted = log_weights - top
    return shifted - np.log(np.exp(shifted).sum())


def num_effective(log_weights: Array) -> float:
    """1 / sum of squared weights, of log-weights (N,) that need not add up to 1."""
    top = log_weights.max()
    weights = np.exp(log_weights - top) if np.isfinite(top) else np.exp(normalised(log_weights))
    return float(weights.sum() ** 2 / (weights @ weights))


def systematic(weights: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw ``count`` rows, in order, so that each comes up its share of times to within one (systematic resampling)."""
    marks = (np.arange(count) + rng.random()) / count
    total = np.cumsum(weights)
    return np.minimum(np.searchsorted(total / total[-1], marks, side="right"), len(weights) - 1)


def particle_set(qvec: Array, centers: Array, log_weights: Array, step: int) -> ParticleSet:
    log_weights = normalised(log_weights)
    return ParticleSet(qvec, centers, log_weights, step, num_effective(log_weights))


def spread(
    qvec: Array, centers: Array, count: int, position_m: float, heading_deg: float, up: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw ``count`` poses around the given ones (M, 4), (M, 3), each as often as the others: (N, 4) and (N, 3).

    They move level by ``position_m`` and turn around ``up`` by ``heading_deg``, both standard deviations of each axis.
    """
    rows = np.arange(count) * len(centers) // count
    offset = rng.normal(0, position_m, (count, 3))
    offset -= np.outer(offset @ up, up)
    turn = np.outer(rng.normal(0, np.radians(heading_deg), count), up)
    return turned(qvec[rows], turn), centers[rows] + offset


def turned(qvec: Array, turns: Array) -> Array:
    """Turn cameras (N, 4) where they stand by rotation vectors (N, 3) of the world."""
    return multiply(qvec, quaternions_from_vectors(-turns))


def tempered(
    particles: ParticleSet,
    score: Callable[[Array, Array], Array],
    strength: float,
    config: FilterConfig,
    rng: np.random.Generator,
) -> ParticleSet:
    """Weigh particles by exp(``strength`` x score(qvec, centers)), resampling on the way.

    A sharp likelihood is taken in parts: each leaves a quarter of the particles effective, which are then resampled,
    roughened and scored again; the last takes what is left.
    """
    remaining = strength
    for stage in range(config.stages):
        scores = score(particles.qvec, particles.centers)
        part = remaining if stage == config.stages - 1 else _largest_part(particles.log_weights, scores, remaining)
        log_weights = particles.log_weights + part * scores
        particles = particle_set(particles.qvec, particles.centers, log_weights, particles.step)
        remaining -= part
        if remaining <= 0:
            break
        particles = resampled(particles, config, rng)
    return particles


def _largest_part(log_weights: Array, scores: Array, most: float) -> float:
    """The largest part of ``most`` that leaves a quarter of the particles effective; by bisection."""
    enough = len(log_weights) / 4
    if num_effective(log_weights + most * scores) >= enough:
        return most
    low, high = 0.0, most
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if num_effective(log_weights + middle * scores) >= enough else (low, middle)
    return max(low, most / 100)


def resampled_if_few(particles: ParticleSet, config: FilterConfig, rng: np.random.Generator) -> ParticleSet:
    """Resample where fewer than half the particles are effective, or where there are more than shall be followed."""
    if particles.num_effective >= len(particles) / 2 and len(particles) <= config.num_particles:
        return particles
    return resampled(particles, config, rng, config.num_particles)


def resampled(particles: ParticleSet, config: FilterConfig, rng: np.random.Generator, count: int | None = None) -> ParticleSet:
    """Draw ``count`` particles (None: as many) by their weights, systematically; each moves a little (roughening)."""
    rows = systematic(particles.weights, count or len(particles), rng)
    moves = rng.multivariate_normal(np.zeros(6), _jitter(particles, config), len(rows), method="eigh")
    turns = quaternions_from_vectors(moves[:, 3:])
    centers = particles.centers[rows] + moves[:, :3]
    return particle_set(multiply(turns, particles.qvec[rows]), centers, np.zeros(len(rows)), particles.step)


def _jitter(particles: ParticleSet, config: FilterConfig) -> Array:
    """Covariance (6, 6) of how resampled particles move: a share of the dominant mode's, within limits.

    It has the mode's shape: were it alike along all axes, the doubt about heading and way would shake height, roll and
    pitch, which are known well, and the filter would trade one error for another.
    """
    covariance = dominant_mode(particles, config).covariance
    limits = np.array([MAX_JITTER_M, MAX_JITTER_RAD])
    spread = config.roughening * np.sqrt([np.trace(covariance[:3, :3]) / 2, np.trace(covariance[3:, 3:])])
    share = np.repeat(config.roughening * np.minimum(1, limits / np.maximum(spread, 1e-12)), 3)
    return covariance * np.outer(share, share) + np.diag(np.repeat([MIN_JITTER_M, MIN_JITTER_RAD], 3) ** 2)


def joined(particles: ParticleSet, qvec: Array, centers: Array, rng: np.random.Generator) -> ParticleSet:
    """Put M other poses in the place of M particles drawn at random; they weigh as much as the average."""
    rows = rng.permutation(len(particles))[: len(centers)]
    values = [particles.qvec.copy(), particles.centers.copy(), particles.log_weights.copy()]
    values[0][rows], values[1][rows], values[2][rows] = qvec, centers, -np.log(len(particles))
    return particle_set(*values, particles.step)


def dominant_mode(particles: ParticleSet, config: FilterConfig) -> PoseCloud:
    """The pose around which most weight lies: its mean (of positions, and of quaternions by Markley), covariance, share.

    The mode grows from the particle with the most weight around it, by mean shift within the mode's radius and angle.
    """
    weights = particles.weights
    place, facing = particles.centers / config.mode_radius_m, _directions(particles.qvec) / _chord(config.mode_angle_deg)
    features = np.hstack([place, facing])
    peak = features[_densest(features, weights)]
    for _ in range(5):
        near = ((features - peak) ** 2).sum(axis=1) < 1
        if not near.any():
            break
        peak = np.average(features[near], axis=0, weights=weights[near] + 1e-300)
    near = ((features - peak) ** 2).sum(axis=1) < 4  # the tails belong to the mode too
    share = float(weights[near].sum())
    weights = np.where(near, weights, 0) / max(share, 1e-300)
    return _cloud(particles.qvec, particles.centers, weights, min(share, 1.0))


def _chord(angle_deg: float) -> float:
    return float(2 * np.sin(np.radians(min(angle_deg, 180.0)) / 2))


def _directions(qvec: Array) -> Array:
    """Where cameras (N, 4) look in the world, (N, 3) unit."""
    return rotate_back(qvec, np.broadcast_to([0.0, 0.0, 1.0], (len(qvec), 3)))


def _densest(features: Array, weights: Array, most: int = 400) -> int:
    """The row with the most weight within distance 1, among the ``most`` heaviest."""
    heavy = np.argsort(-weights, kind="stable")[:most]
    squared = (features**2).sum(axis=1)
    distance = squared[heavy, None] + squared[None] - 2 * features[heavy] @ features.T
    density = np.exp(-np.clip(distance, 0, 60)) @ weights
    return int(heavy[np.argmax(density)])


def _cloud(qvec: Array, centers: Array, weights: Array, share: float) -> PoseCloud:
    """Weighted mean and covariance of the poses whose weights (N,) add up to 1."""
    center = weights @ centers
    mean = np.linalg.eigh((qvec * weights[:, None]).T @ qvec)[1][:, -1]
    conjugate = mean * np.array([1.0, -1, -1, -1])
    turns = vectors_from_quaternions(multiply(qvec, np.broadcast_to(conjugate, qvec.shape)))
    errors = np.hstack([centers - center, turns])
    pose = Rigid3d(mean, np.zeros(3))
    return PoseCloud(Rigid3d(mean, -pose.R @ center), (errors * weights[:, None]).T @ errors, share)
