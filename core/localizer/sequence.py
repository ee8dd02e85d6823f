"""Localize a sequence by labels alone: a particle filter over noisy odometry and labelled points (PAPER 3.5)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.geometry import Array, Camera, Rigid3d
from core.localizer.batch import refused
from core.localizer.label_likelihood import (
    LabelledPoints,
    LabelVolume,
    LikelihoodConfig,
    label_probabilities,
    label_volume,
    labelled_points,
    mean_log_ratios,
    near_points,
    pose_arrays,
    require_vocabulary,
    rotations_of,
)
from core.localizer.motion import (
    MotionConfig,
    Mounting,
    mounting_of,
    move,
    nearest_rows,
    odometry_deviations,
    prior_log_likelihood,
    unknown_step,
)
from core.localizer.particle_filter import (
    FilterConfig,
    dominant_mode,
    joined,
    particle_set,
    resampled,
    resampled_if_few,
    spread,
    tempered,
    turned,
)
from core.records import (
    LabelMap,
    LabelStatistics,
    Localization,
    LocalizationResult,
    RansacStats,
    SceneMap,
    setting,
    settings_of,
)
from core.sequences import Frame, ParticleSet, ParticleStep, PoseCloud, SequenceResult

METHOD = "pfsl"


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    max_position_error_m: float = setting(
        5.0, unit="m", minimum=0.01, maximum=1000.0, help="particles spread wider than this are no pose"
    )
    min_share: float = setting(0.5, minimum=0.0, maximum=1.0, help="less of the weight at one place than this is no pose")
    patience: int = setting(3, minimum=1, maximum=100, help="the track is lost after this many frames no better than chance")
    num_random: int = setting(64, minimum=8, maximum=10_000, help="random poses nearby that say what chance gives")
    min_evidence: float = setting(
        0.05, minimum=0.0, maximum=10.0, help="a mean log-likelihood ratio below this is no better than chance either"
    )
    injected_share: float = setting(
        0.3, minimum=0.0, maximum=1.0, help="share of the particles that look for the place elsewhere while lost"
    )
    rival_share: float = setting(
        0.25,
        minimum=0.0,
        maximum=1.0,
        help="so many times as many particles follow the best other place; 0: none do",
    )
    rival_frames: int = setting(
        4, minimum=1, maximum=100, help="images after which the other place takes over, if they fit it better, or is given up"
    )
    rival_log_odds: float = setting(
        6.0, minimum=0.0, maximum=1000.0, help="how much better they must fit it, as the filter counts them"
    )


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    likelihood: LikelihoodConfig = field(default_factory=LikelihoodConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def localize_sequence(
    frames: Iterable[Frame],
    scene_map: SceneMap,
    statistics: LabelStatistics | None = None,
    config: SequenceConfig = SequenceConfig(),
    seed: int = 0,
    device: str = "cpu",
) -> Generator[ParticleStep, None, SequenceResult]:
    """Follow a vehicle from frame to frame: yields a ParticleStep after each, returns the SequenceResult.

    ``frames`` may be a generator, so that only one label map is held at a time. Particles start around the first
    frame's prior, else its candidates and all mapping cameras. Every frame gets a pose or a failure: without an
    image, while lost, and while the particles do not agree on one place there is none. Without ``statistics`` a query
    label is the point's own or, with probability eps, any other. Beside a track without priors some particles follow the
    best other place, and take over where it fits several images clearly better: that counts as lost and recovered.
    Raises InputError for a map without labels, visibility or posed images, and labels or statistics of another
    vocabulary than the map's.
    """
    tracker = Tracker(scene_map, statistics, config, seed, device)
    total = len(frames) if isinstance(frames, Sized) else None
    steps = []
    for index, frame in enumerate(frames):
        step = tracker.advance(frame, index, total)
        steps.append((step.localization, step.covariance if step.localization.result.failure is None else None, step.seconds))
        yield step
    localizations, covariances, seconds = zip(*steps) if steps else ((), (), ())
    return SequenceResult(localizations, covariances, seconds, tracker.num_lost, tracker.num_recovered)


ELSEWHERE_M = 8.0
"""Farther than this from the track is another place."""
ONE_VEHICLE_M = 1.0
"""Cameras of one vehicle are no farther apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """Another place that is followed beside the track, with how much better it has fitted ``num_frames`` images."""

    particles: ParticleSet
    log_odds: float = 0.0
    num_frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """An image of one camera, ready to be compared: its volume and the rotation and centre that lead to it."""

    volume: LabelVolume
    cam_from_query: Rigid3d | None


class Tracker:
    """The state of one sequence; ``advance`` by one frame at a time."""

    def __init__(
        self, scene_map: SceneMap, statistics: LabelStatistics | None, config: SequenceConfig, seed: int, device: str
    ) -> None:
        self.points = labelled_points(scene_map, statistics, config.likelihood, device)
        mounting = mounting_of(scene_map)
        if mounting is None:
            raise InputError("none of the map's images has a pose, from which particles could start")
        self.mounting: Mounting = mounting
        self.config = config
        self.num_lost = self.num_recovered = 0
        self._map_qvec, self._map_centers = pose_arrays(
            [image.cam_from_world for image in scene_map.images if image.cam_from_world is not None]
        )
        self._probabilities = label_probabilities(statistics, self.points.num_labels, config.likelihood)
        self._used = np.unique(self.points.labels.cpu().numpy())
        self._rng = np.random.default_rng([seed, 36])
        self._seed, self._device = seed, device
        self._particles: ParticleSet | None = None
        self._last_step: Rigid3d | None = None
        self._rival: Rival | None = None
        self._told_m = np.inf  # how well a prior has told where the track is
        self._doubts = 0
        self._lost = False

    def advance(self, frame: Frame, index: int, total: int | None = None) -> ParticleStep:
        """Move the particles to a frame and weigh them by what its image shows."""
        begin = time.perf_counter()
        views = self._views(frame)
        self._particles = self._predicted(frame, index)
        evidence = chance = None
        if views:
            self._observe(frame, views)
            cloud = dominant_mode(self._particles, self.config.filter)
            evidence, chance = self._against_chance(views, cloud)
            self._judge(evidence > max(chance, self.config.tracking.min_evidence))
            if self._contested(frame, views, cloud):
                cloud = dominant_mode(self._particles, self.config.filter)
                evidence, chance = self._against_chance(views, cloud)
        else:
            cloud = dominant_mode(self._particles, self.config.filter)
        failure = self._objection(frame, cloud)
        answer = self._answer(frame, cloud, failure, evidence)
        seconds = time.perf_counter() - begin
        return ParticleStep(index, total, self._particles, cloud, self._lost, evidence, chance, answer, seconds)

    def _views(self, frame: Frame) -> list[_View]:
        """The frame's images, ready to be compared; none where there is nothing to compare."""
        if frame.labels is None or _unusable(frame):
            return []
        own = _View(self._volume(frame, frame.query.camera, frame.labels), None)
        return [own, *(_View(self._volume(frame, v.camera, v.labels), v.cam_from_query) for v in frame.side_views)]

    def _volume(self, frame: Frame, camera: Camera, labels: LabelMap) -> LabelVolume:
        require_vocabulary(labels, self.points.vocabulary, self.points.num_labels, f"{frame.query.path}: ")
        return label_volume(labels, camera, self._probabilities, self._used, self.config.likelihood, self._device)

    def _predicted(self, frame: Frame, index: int) -> ParticleSet:
        """The particles moved to this frame, or the first ones."""
        before = self._particles
        if before is None:
            qvec, centers = self._start(frame, round(self.config.filter.start_factor * self.config.filter.num_particles))
            return particle_set(qvec, centers, np.zeros(len(centers)), index)
        before = resampled_if_few(before, self.config.filter, self._rng)
        step, deviations = self._step(frame)
        qvec, centers = move(before.qvec, before.centers, step, deviations, self._rng)
        self._last_step = step
        if self._rival is not None:
            rivals = resampled_if_few(self._rival.particles, self._rival_filter, self._rng)
            moved = move(rivals.qvec, rivals.centers, step, deviations, self._rng)
            self._rival = replace(self._rival, particles=particle_set(*moved, rivals.log_weights, index))
        return particle_set(qvec, centers, before.log_weights, index)

    def _step(self, frame: Frame) -> tuple[Rigid3d, tuple[float, float]]:
        if frame.odometry is None:
            return unknown_step(self._last_step, self.config.motion)
        position_m, rotation_rad = odometry_deviations(frame.odometry, frame.noise)
        factor = self.config.motion.noise_factor
        return frame.odometry, (factor * position_m, factor * rotation_rad)

    def _start(self, frame: Frame, count: int) -> tuple[Array, Array]:
        """Poses around where the camera may be: the prior, else the candidates and every mapping camera."""
        prior, settings = frame.query.prior, self.config.filter
        position_m = settings.start_position_m
        if prior is not None and prior.cam_from_world is not None:
            qvec, centers = pose_arrays([prior.cam_from_world])
            position_m = prior.position_error_m or position_m
        elif prior is not None and prior.position is not None:
            position_m = prior.position_error_m or position_m
            qvec = self._map_qvec[self._around(prior.position, position_m)]
            centers = np.broadcast_to(prior.position, (len(qvec), 3))
        else:
            qvec, centers = self._anywhere(frame)
        qvec, centers = spread(qvec, centers, count, position_m, settings.start_heading_deg, self.mounting.up, self._rng)
        return self._leveled(qvec, centers)

    def _around(self, position: Array, radius_m: float) -> Array:
        """The mapping cameras within a radius, or about as near as the nearest: those of one vehicle look several ways."""
        distance = np.linalg.norm(self._map_centers - position, axis=1)
        return np.flatnonzero(distance <= max(radius_m, float(distance.min()) + ONE_VEHICLE_M))

    def _anywhere(self, frame: Frame) -> tuple[Array, Array]:
        """The candidates, half of all, beside every mapping camera: retrieval across seasons may well be wrong."""
        candidates = frame.candidates() if frame.candidates is not None else ()
        if not candidates:
            return self._map_qvec, self._map_centers
        qvec, centers = pose_arrays(list(candidates))
        rows = np.arange(len(self._map_centers)) % len(centers)
        return np.concatenate([qvec[rows], self._map_qvec]), np.concatenate([centers[rows], self._map_centers])

    def _leveled(self, qvec: Array, centers: Array) -> tuple[Array, Array]:
        """Put poses at the height of the nearest mapping camera."""
        up = self.mounting.up
        nearest = nearest_rows(centers, self.mounting.centers)
        height = (self.mounting.centers[nearest] - centers) @ up
        height += self._rng.normal(0, self.mounting.height_error_m, len(centers))
        return qvec, centers + np.outer(height, up)

    def _observe(self, frame: Frame, views: list[_View]) -> None:
        if self._lost:
            count = round(self.config.tracking.injected_share * len(self._particles))
            self._particles = joined(self._particles, *self._start(frame, count), self._rng)
        self._particles = self._weighed(self._particles, frame, views)

    def _weighed(self, particles: ParticleSet, frame: Frame, views: list[_View]) -> ParticleSet:
        prior = frame.query.prior
        known = self.mounting.log_likelihood(particles.qvec, particles.centers)
        known += prior_log_likelihood(prior, particles.qvec, particles.centers, self.mounting.up)
        particles = particle_set(particles.qvec, particles.centers, particles.log_weights + known, particles.step)
        points = near_points(self.points, particles.centers, self.config.likelihood.max_points, self._rng)
        return tempered(
            particles,
            lambda qvec, centers: self._scores(views, points, qvec, centers),
            self.config.filter.strength,
            self.config.filter,
            self._rng,
        )

    @property
    def _rival_filter(self) -> FilterConfig:
        count = max(20, round(self.config.tracking.rival_share * self.config.filter.num_particles))
        return replace(self.config.filter, num_particles=count)

    def _contested(self, frame: Frame, views: list[_View], cloud: PoseCloud) -> bool:
        """Follow the best other place beside the track, and go over to it where several images fit it better.

        A track that began at a wrong place fits better than chance wherever places look alike; only what was looked for
        elsewhere, as carefully, and fits the same images better, shows that it is wrong. Where a prior told of the track's
        place, it must fit better by the Gaussian's odds against being so far away too. True where it was left.
        """
        settings, prior = self.config.tracking, frame.query.prior
        told = prior is not None and (prior.position is not None or prior.cam_from_world is not None)
        if told:
            self._told_m = prior.position_error_m or self.config.filter.start_position_m
        if self._lost or told or settings.rival_share == 0:
            self._rival = None
            return False
        rival = self._rival or self._elsewhere(frame, cloud)
        if rival is None:
            return False
        particles = self._weighed(rival.particles, frame, views)
        other = dominant_mode(particles, self.config.filter)
        away_m = float(np.linalg.norm(other.cam_from_world.center() - cloud.cam_from_world.center()))
        if away_m < ELSEWHERE_M:
            self._rival = None
            return False
        gain = rival.log_odds + self.config.filter.strength * self._advantage(views, other, cloud)
        self._rival = Rival(particles, gain, rival.num_frames + 1)
        if self._rival.num_frames < settings.rival_frames:
            return False
        self._rival = None
        if gain < settings.rival_log_odds + 0.5 * (away_m / self._told_m) ** 2:
            return False
        self._particles = resampled(particles, self.config.filter, self._rng, self.config.filter.num_particles)
        self.num_lost, self.num_recovered = self.num_lost + 1, self.num_recovered + 1
        return True

    def _elsewhere(self, frame: Frame, cloud: PoseCloud) -> Rival | None:
        """Particles all over the map but near the track; None where there is no elsewhere."""
        count = round(self.config.filter.start_factor * self._rival_filter.num_particles)
        qvec, centers = self._start(frame, count)
        far = np.linalg.norm(centers - cloud.cam_from_world.center(), axis=1) > ELSEWHERE_M
        return Rival(particle_set(qvec[far], centers[far], np.zeros(int(far.sum())), 0)) if far.sum() >= 20 else None

    def _advantage(self, views: list[_View], other: PoseCloud, cloud: PoseCloud) -> float:
        """By how much the views' mean log ratio is higher at another place, over the same points."""
        qvec, centers = pose_arrays([other.cam_from_world, cloud.cam_from_world])
        points = near_points(self.points, centers, self.config.likelihood.max_points, self._rng)
        scores = self._scores(views, points, qvec, centers)
        return float(scores[0] - scores[1])

    def _scores(self, views: list[_View], points: LabelledPoints, qvec: Array, centers: Array) -> Array:
        """Mean log-likelihood ratios (N,), those of several cameras added."""
        rotations = rotations_of(qvec)
        total = np.zeros(len(centers))
        for view in views:
            of_view, at = rotations, centers
            if view.cam_from_query is not None:
                of_view = view.cam_from_query.R @ rotations
                at = centers + np.einsum("nji,j->ni", rotations, view.cam_from_query.center())
            total += mean_log_ratios(points, view.volume, of_view, at, self.config.likelihood)[0]
        return total

    def _against_chance(self, views: list[_View], cloud: PoseCloud) -> tuple[float, float]:
        """The evidence at the estimate, and what the best (of 20) of random poses around it reach."""
        pose, count = cloud.cam_from_world, self.config.tracking.num_random
        way = self._rng.uniform(0, 2 * np.pi, count)
        level = np.linalg.svd(self.mounting.up[None])[2][1:]
        offset = np.stack([np.cos(way), np.sin(way)], 1) @ level * self._rng.uniform(4, 12, (count, 1))
        turn = np.outer(np.radians(self._rng.uniform(15, 60, count) * self._rng.choice((-1, 1), count)), self.mounting.up)
        qvec = np.concatenate([pose.qvec[None], turned(np.tile(pose.qvec, (count, 1)), turn)])
        centers = np.concatenate([pose.center()[None], pose.center() + offset])
        points = near_points(self.points, centers, self.config.likelihood.max_points, self._rng)
        scores = self._scores(views, points, qvec, centers)
        return float(scores[0]), float(np.quantile(scores[1:], 0.95))

    def _judge(self, better_than_chance: bool) -> None:
        """Count frames that speak against the track; lost after some of them, found again after as many for it."""
        self._doubts = max(0, self._doubts - 1) if better_than_chance else self._doubts + 1
        self._doubts = min(self._doubts, self.config.tracking.patience)
        if not self._lost and self._doubts >= self.config.tracking.patience:
            self._lost, self._told_m, self.num_lost = True, np.inf, self.num_lost + 1
        elif self._lost and self._doubts == 0:
            self._lost, self.num_recovered = False, self.num_recovered + 1

    def _objection(self, frame: Frame, cloud: PoseCloud) -> str | None:
        """Say why this frame has no pose, or None."""
        settings = self.config.tracking
        if frame.labels is None or _unusable(frame):
            return frame.missing or _unusable(frame) or f"{frame.query.path}: no labels are there for this image"
        if self._lost:
            return f"lost: for {settings.patience} images the labels fitted the track no better than chance"
        if cloud.share < settings.min_share:
            return f"ambiguous: {cloud.share:.0%} of the particles agree on one place, at least {settings.min_share:.0%} needed"
        if cloud.position_error_m > settings.max_position_error_m:
            return (
                f"not settled: the particles are spread by {cloud.position_error_m:.1f} m, "
                f"at most {settings.max_position_error_m:g} m allowed"
            )
        return None

    def _answer(self, frame: Frame, cloud: PoseCloud, failure: str | None, evidence: float | None) -> Localization:
        if failure is not None:
            empty = refused(frame.query, failure, METHOD, self._seed)
            return replace(empty, result=replace(empty.result, config=_settings(self.config)))
        empty = refused(frame.query, "", METHOD, self._seed)
        pose, truth = cloud.cam_from_world, frame.query.cam_from_world
        none = np.zeros(0)
        stats = RansacStats(label_fit=evidence or 0.0)
        result = LocalizationResult(pose, none, none, stats, METHOD, _settings(self.config), self._seed)
        return replace(empty, result=result, error=None if truth is None else pose_error(pose, truth))


def _unusable(frame: Frame) -> str:
    """Say why a frame's labels cannot be compared, or nothing."""
    if frame.query.camera is None:
        return f"{frame.query.path}: no intrinsics are known for this query; a pose needs its camera"
    views = ((frame.query.camera, frame.labels), *((view.camera, view.labels) for view in frame.side_views))
    for camera, labels in views:
        if labels is not None and labels.labels.shape != (camera.height, camera.width):
            height, width = labels.labels.shape
            return (
                f"{frame.query.path}: the labels are {width} x {height}, but the camera is for {camera.width} x {camera.height}"
            )
    return ""


def _settings(config: SequenceConfig) -> dict[str, Any]:
    groups = {"likelihood": config.likelihood, "motion": config.motion, "filter": config.filter, "tracking": config.tracking}
    return {f"{group}.{name}": value for group, part in groups.items() for name, value in settings_of(part).items()}
