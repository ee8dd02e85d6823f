"""Tracks: ways that a drive may have gone, each with what every image says of it (multiple hypothesis tracking, Reid 1979).

A track is a Kalman filter on rigid motions whose measurement is a guided match. It may begin at any image, and is then led
back through those before, so that all tracks explain the same images and their evidence can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.evaluation.errors import pose_error
from core.geometry import Array, Rigid3d
from core.localizer.guided import GuidedMatcher, GuidedPairs
from core.localizer.pose_gaussian import PoseGaussian
from core.localizer.verification import PoseVerifier
from core.records import setting

if TYPE_CHECKING:
    from core.localizer.pipeline import Prepared
    from core.records import Consistency
    from core.sequences import Frame

T = TypeVar("T")
_NEAR_M, _NEAR_DEG = 0.3, 2.5
"""Guided matches lead poses nearer than this to the same one."""
_PLACE_M, _PLACE_DEG = 1.0, 10.0
"""Tracks nearer than this do not contradict each other."""
_BASIN_PX = 12.0  # points that project farther off are not found by looking around where they are expected
_REACH = 5.0  # standard deviations from where odometry leads
_BEGUN_M, _BEGUN_RAD = 3.0, 0.2  # how far a pose by few guided matches may be off
_LEAST_EVIDENCE = 3.0  # for a pose at which a track begins


@dataclass(frozen=True, kw_only=True)
class DriveConfig:
    candidates: int = setting(5, minimum=1, maximum=100, help="so many of an image's poses may begin a track")
    window: int = setting(30, minimum=1, maximum=10_000, help="tracks are led back through, and compared over, so many images")
    max_tracks: int = setting(8, minimum=1, maximum=1000, help="so many tracks are followed at most")
    noise_factor: float = setting(
        1.5, minimum=0.1, maximum=20.0, help="odometry is taken to err so many times as far as it is said to"
    )
    min_evidence: float = setting(
        30.0,
        minimum=0.0,
        maximum=10_000.0,
        help="a log likelihood ratio of the best track to chance, by guided matches, below this is no pose",
    )
    min_share: float = setting(
        0.9, minimum=0.0, maximum=1.0, help="the place where the best track has an image must be this likely"
    )
    max_position_error_m: float = setting(
        1.0, unit="m", minimum=0.01, maximum=1000.0, help="a pose less certain than this (standard deviation) is none"
    )
    causal: bool = setting(
        False, help="a drive's answers know only of images up to their own, as on the road; off: of all of the drive"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One image of a drive, ready to be compared with poses. ``step``, ``deviations``: how the camera moved since the image
    before, and how far that errs (m, rad). ``candidates``: the image's own best poses; ``found_near``: those of it near a pose
    that is badly known; ``seconds``: what finding keypoints and matches took. Without an image that can be used all else is
    None, and ``failure`` says why.
    """

    frame: Frame
    step: Rigid3d
    deviations: tuple[float, float]
    prepared: Prepared | None = None
    consistency: Consistency | None = None
    verifier: PoseVerifier | None = None
    guided: GuidedMatcher | None = None
    candidates: tuple[Rigid3d, ...] = ()
    found_near: Callable[[PoseGaussian], Sequence[Rigid3d]] = lambda known: ()
    seconds: float = 0.0
    failure: str = ""

    def evidence(self, pose: Rigid3d, pairs: GuidedPairs) -> float:
        """The log-likelihood ratio of a pose to chance by guided matches and by the labels of all that it sees."""
        labels = 0.0 if self.verifier is None else float(self.verifier(pose.matrix()[None])[0])
        return pairs.evidence + labels


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One image of a track: its pose, the evidence for it, and its guided matches (None without an image)."""

    known: PoseGaussian
    evidence: float
    pairs: GuidedPairs | None

    @property
    def pose(self) -> Rigid3d:
        return self.known.cam_from_world


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One way that the drive may have gone: a moment for each image of the window, the newest last."""

    moments: tuple[Moment, ...]

    @property
    def now(self) -> Moment:
        return self.moments[-1]

    @property
    def evidence(self) -> float:
        """The log-likelihood ratio to chance by all images: by guided matches, labels and odometry."""
        return sum(moment.evidence for moment in self.moments)

    @property
    def guided_evidence(self) -> float:
        """The same by guided matches alone: places that bear alike labels are many."""
        return sum(moment.pairs.evidence for moment in self.moments if moment.pairs is not None)


def led(track: Track, look: Look, window: int) -> Track:
    """A track with one image more, its last ``window`` moments."""
    known = track.now.known.moved(look.step, look.deviations)
    return Track((*track.moments, _seen(known, look))[-window:])


def begun(looks: Sequence[Look], pose: Rigid3d, others: Sequence[Track]) -> Track | None:
    """A track that begins at a pose of the last image and is led back through those before; None where one of the others is
    there, or this image speaks more for one of them.
    """
    look = looks[-1]
    if any(near(other.now.pose, pose) for other in others):
        return None
    pose, pairs = look.guided.refined(pose)
    evidence = look.evidence(pose, pairs)
    if evidence < max([_LEAST_EVIDENCE, *(other.now.evidence for other in others)]):
        return None
    if any(near(other.now.pose, pose) for other in others):
        return None
    vague = PoseGaussian(pose, np.diag([_BEGUN_RAD**2] * 3 + [_BEGUN_M**2] * 3))
    moments = [Moment(vague.seen(pose, look.guided.measured(pose, pairs)[0]), evidence, pairs)]
    for before, after in zip(looks[-2::-1], looks[:0:-1]):
        moments.append(_seen(moments[-1].known.moved_back(after.step, after.deviations), before))
    return Track(tuple(reversed(moments)))


def _seen(known: PoseGaussian, look: Look) -> Moment:
    """What an image makes of a pose as odometry has it: fitted from there, and from the image's own poses near it."""
    if look.guided is None:
        return Moment(known, 0.0, None)
    others = [*look.candidates]
    if look.guided.spread_px(known) > _BASIN_PX:
        others += look.found_near(known)
    starts = [known.cam_from_world, *(pose for pose in others if known.distance(pose) < _REACH)]
    fitted = [look.guided.refined(start, known) for start in starts]
    told = [look.evidence(pose, pairs) - known.cost(pose) for pose, pairs in fitted]
    best = int(np.argmax(told))
    pose, pairs = fitted[best]
    return Moment(known.seen(pose, look.guided.measured(pose, pairs)[0]), told[best], pairs)


def best_apart(tracks: Sequence[Track], count: int) -> list[Track]:
    """The ``count`` tracks of most evidence, each at a place of its own, from the best on."""
    return _apart(sorted(tracks, key=lambda each: -each.evidence), lambda track: track.now.pose, count)


def log_shares(tracks: Sequence[Track]) -> Array:
    """How likely each track is among all, as logarithms."""
    evidence = np.array([track.evidence for track in tracks])
    return evidence - np.logaddexp.reduce(evidence)


def share_at(tracks: Sequence[Track], place: int) -> float:
    """How likely it is that one of the images (an index of the moments) was taken where the first track has it."""
    pose = tracks[0].moments[place].pose
    here = [near(track.moments[place].pose, pose, _PLACE_M, _PLACE_DEG) for track in tracks]
    return float(np.exp(log_shares(tracks))[here].sum())


def near(a: Rigid3d, b: Rigid3d, metres: float = _NEAR_M, degrees: float = _NEAR_DEG) -> bool:
    """Whether two poses are nearer than this to each other."""
    off = pose_error(a, b)
    return off.position_m < metres and off.rotation_deg < degrees


def poses_apart(poses: Sequence[Rigid3d], count: int) -> tuple[Rigid3d, ...]:
    """The first ``count`` poses that are at places of their own."""
    return tuple(_apart(poses, lambda pose: pose, count))


def _apart(ranked: Iterable[T], pose_of: Callable[[T], Rigid3d], count: int) -> list[T]:
    kept: list[T] = []
    for each in ranked:
        if len(kept) < count and not any(near(pose_of(other), pose_of(each)) for other in kept):
            kept.append(each)
    return kept
