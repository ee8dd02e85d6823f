"""Localize a whole drive: every image's best poses by matches, joined by odometry (beyond the paper).

One image may show too few right matches, or two places that look alike; a drive seldom does in all of its images. Every
image's best poses may begin a track (``tracks``), which odometry, guided matches and labels lead through all images; the
track of most evidence says where each image was taken. PFSL (``sequence``) does without descriptors and so needs many labelled
points; this needs descriptors, and few points.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sized
from dataclasses import replace
from functools import partial

import numpy as np

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.geometry import Array, Camera, Rigid3d
from core.localizer.batch import refused
from core.localizer.drive_adjustment import adjusted
from core.localizer.guided import GuidedMatcher
from core.localizer.motion import MotionConfig, odometry_deviations, unknown_step
from core.localizer.particle_filter import particle_set
from core.localizer.pipeline import (
    NEED_LABELS,
    LocalizerConfig,
    Prepared,
    every_setting,
    pose_candidates,
    rank_references,
    weigh,
)
from core.localizer.pose_gaussian import PoseGaussian
from core.localizer.ransac import candidate_poses, reprojection_errors
from core.localizer.tracks import Look, Moment, Track, begun, best_apart, led, log_shares, poses_apart, share_at
from core.records import ImageData, LabelStatistics, Localization, LocalizationResult, RansacStats, SceneMap
from core.sequences import Frame, ParticleStep, PoseCloud, SequenceResult

METHODS = {"p3p-drive": "p3p", "ssmc-drive": "ssmc-soft"}
"""Which method finds the poses of single images that tracks begin at."""
_NEAR_ITERATIONS = 1000
_Answer = tuple[Localization, Array | None]  # with the covariance (6, 6) as in PoseCloud where there is a pose


def localize_drive(
    frames: Iterable[Frame],
    scene_map: SceneMap,
    prepare: Callable[[ImageData], Prepared],
    config: LocalizerConfig,
    statistics: LabelStatistics | None = None,
    seed: int = 0,
) -> Generator[ParticleStep, None, SequenceResult]:
    """Follow a drive from frame to frame: yields a ParticleStep after each, whose particles are the tracks, and returns the
    SequenceResult, in which, without ``drive.causal``, a frame's pose knows of the frames that came after it too.

    ``config.method`` is one of ``METHODS``. ``prepare`` finds a query's keypoints and matches; a frame for which it raises
    InputError or OSError, or that has no labels where these are needed, is one without an image: it gets no pose, and
    odometry leads past it. Raises InputError for a map that does not know from where its points were seen, or that has no
    labels where these are needed.
    """
    drive = Drive(scene_map, prepare, config, statistics, seed)
    total = len(frames) if isinstance(frames, Sized) else None
    answers: list[_Answer] = []
    seconds = []
    for index, frame in enumerate(frames):
        step = drive.advance(frame, index, total)
        seconds.append(step.seconds)
        answers.append((step.localization, None if step.localization.result.failure else step.covariance))
        if not config.drive.causal and (index + 1) % max(1, config.drive.window // 2) == 0:
            answers[-len(drive.looks) :] = drive.settled()  # each image at least once before it leaves the window
        yield step
    if not config.drive.causal and answers:
        answers[-len(drive.looks) :] = drive.settled()
    localizations, covariances = zip(*answers) if answers else ((), ())
    return SequenceResult(localizations, covariances, tuple(seconds), drive.num_lost, drive.num_recovered)


class Drive:
    """The state of one drive; ``advance`` by one frame at a time. ``looks``: the images of the window."""

    def __init__(
        self,
        scene_map: SceneMap,
        prepare: Callable[[ImageData], Prepared],
        config: LocalizerConfig,
        statistics: LabelStatistics | None,
        seed: int,
    ) -> None:
        if scene_map.visibility is None:
            raise InputError(
                "the map does not say from where its points were seen, which leads a drive; build it anew with `map`"
            )
        if scene_map.labels is None and METHODS[config.method] in NEED_LABELS:
            raise InputError(f"the map has no labels, which {config.method!r} goes by; add them with `label`")
        self._map, self._prepare, self._statistics, self._seed = scene_map, prepare, statistics, seed
        self._method, self._config = config.method, replace(config, method=METHODS[config.method])
        self._tracks: list[Track] = []
        self._last_step: Rigid3d | None = None
        self._following = False
        self.looks: deque[Look] = deque(maxlen=config.drive.window)
        self.num_lost = self.num_recovered = 0

    def advance(self, frame: Frame, index: int, total: int | None = None) -> ParticleStep:
        """Lead the tracks to a frame, and begin others where its image shows a place that none of them is at."""
        begin, settings = time.perf_counter(), self._config.drive
        look = self._look(frame)
        self.looks.append(look)
        tracks = [led(track, look, settings.window) for track in self._tracks]
        for pose in look.candidates:
            new = begun(tuple(self.looks), pose, tracks)
            tracks += [] if new is None else [new]
        self._tracks = best_apart(tracks, settings.max_tracks)
        answer, _ = self.answer(len(self.looks) - 1)
        if look.prepared is not None:
            self._judge(answer.result.failure is None)
        particles = cloud = evidence = None
        if self._tracks:
            poses, shares = [track.now.pose for track in self._tracks], log_shares(self._tracks)
            particles = particle_set(np.array([p.qvec for p in poses]), np.array([p.center() for p in poses]), shares, index)
            cloud = PoseCloud(poses[0], self._tracks[0].now.known.in_world(), share_at(self._tracks, -1))
            evidence = self._tracks[0].guided_evidence
        seconds = time.perf_counter() - begin - look.seconds
        lost = not self._following
        return ParticleStep(index, total, particles, cloud, lost, evidence, settings.min_evidence, answer, seconds)

    def settled(self) -> list[_Answer]:
        """What is known of all images of the window, with the best track's poses adjusted together."""
        if self._tracks:
            self._tracks[0] = adjusted(self._tracks[0], self.looks)
        return [self.answer(place) for place in range(len(self.looks))]

    def answer(self, place: int) -> _Answer:
        """What is known by now of an image of the window: its pose on the best track, or why there is none."""
        look, failure = self.looks[place], self._objection(place)
        if failure is not None:
            return self._refused(look, failure), None
        moment = self._moment(place)
        return self._localized(look, moment), moment.known.in_world()

    def _moment(self, place: int) -> Moment:
        return self._tracks[0].moments[place - len(self.looks)]

    def _look(self, frame: Frame) -> Look:
        step, deviations = self._step(frame)
        query, config = frame.query, self._config
        try:
            if frame.missing:
                raise InputError(frame.missing)
            begin = time.perf_counter()
            prepared = self._prepare(query)
            seconds = time.perf_counter() - begin
            weighed = weigh(prepared, self._map, config, self._seed, frame.labels, self._statistics)
        except (InputError, OSError) as error:
            return Look(frame, step, deviations, failure=str(error))
        poses = pose_candidates(prepared, weighed, self._map, config, self._seed)
        apart = () if weighed.guided is None else poses_apart(poses, config.drive.candidates)
        near = partial(self._found_near, weighed.guided, query.camera)
        return Look(
            frame, step, deviations, prepared, weighed.consistency, weighed.verifier, weighed.guided, apart, near, seconds
        )

    def _found_near(self, guided: GuidedMatcher, camera: Camera, known: PoseGaussian) -> tuple[Rigid3d, ...]:
        """An image's best poses by all pairs that may be right where a pose is known as badly as this: P3P among few points
        and few keypoints each.
        """
        matches = guided.likely_near(known)
        config = replace(self._config.ransac, max_iterations=_NEAR_ITERATIONS)
        likely = matches.scores
        poses = candidate_poses(matches, self._map, camera, config, self._seed, weights=likely, probabilities=likely)
        return poses_apart(poses, self._config.drive.candidates)

    def _step(self, frame: Frame) -> tuple[Rigid3d, tuple[float, float]]:
        if frame.odometry is None:
            return unknown_step(self._last_step, MotionConfig())
        self._last_step = frame.odometry
        position_m, rotation_rad = odometry_deviations(frame.odometry, frame.noise)
        factor = self._config.drive.noise_factor
        return frame.odometry, (factor * position_m, factor * rotation_rad)

    def _objection(self, place: int) -> str | None:
        """Say why an image has no pose, or None."""
        look, settings, tracks = self.looks[place], self._config.drive, self._tracks
        if look.prepared is None:
            return look.failure
        if not tracks:
            return "no track: no image so far shows a place for which guided matches and labels speak"
        if tracks[0].guided_evidence < settings.min_evidence:
            best = f"evidence of {tracks[0].guided_evidence:.0f} by guided matches for the best of {len(tracks)}"
            return f"no track: {best} over {len(self.looks)} images, {settings.min_evidence:g} needed"
        share = share_at(tracks, place - len(self.looks))
        if share < settings.min_share:
            likely = f"where the best of {len(tracks)} tracks has this image is {share:.0%} likely"
            return f"ambiguous: {likely}, at least {settings.min_share:.0%} needed"
        error_m = self._moment(place).known.position_error_m
        if error_m > settings.max_position_error_m:
            return f"not settled: the position is known to {error_m:.1f} m, at most {settings.max_position_error_m:g} m allowed"
        return None

    def _judge(self, found: bool) -> None:
        """Count how often the drive was lost, and found again."""
        self.num_lost += self._following and not found
        self.num_recovered += found and not self._following and self.num_recovered < self.num_lost
        self._following = found

    def _refused(self, look: Look, failure: str) -> Localization:
        if look.prepared is None:
            return refused(look.frame.query, failure, self._method, self._seed)
        matches = look.prepared.matches
        nothing, far = np.zeros(len(matches), bool), np.full(len(matches), np.nan)
        return self._made(look, LocalizationResult(None, nothing, far, RansacStats(), self._method, failure=failure))

    def _localized(self, look: Look, moment: Moment) -> Localization:
        pose, matches, kept = moment.pose, look.prepared.matches, look.consistency.keep
        errors = reprojection_errors(pose, matches.points2D, self._map.points3D[matches.point_ids], look.frame.query.camera)
        inliers = kept & (errors <= self._config.ransac.max_error_px)
        found_again = None if moment.pairs is None else look.guided.matches(moment.pairs)
        stats = RansacStats(
            num_inliers=int(inliers.sum()),
            inlier_ratio=float(inliers.sum()) / max(1, int(kept.sum())),
            label_fit=None if look.verifier is None else float(look.verifier.fit(pose.matrix()[None])[0]),
            guided_evidence=None if moment.pairs is None else moment.pairs.evidence,
            guided_matches=None if found_again is None else len(found_again),
        )
        return self._made(look, LocalizationResult(pose, inliers, errors, stats, self._method, guided=found_again))

    def _made(self, look: Look, result: LocalizationResult) -> Localization:
        query, prepared = look.frame.query, look.prepared
        result = replace(result, config=every_setting(self._config), seed=self._seed)
        known = result.cam_from_world is not None and query.cam_from_world is not None
        error = pose_error(result.cam_from_world, query.cam_from_world) if known else None
        ranking = rank_references(prepared.matches, result, self._map)
        return Localization(query, prepared.features, prepared.matches, result, ranking, error, look.consistency)
