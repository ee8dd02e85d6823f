"""Records of a sequence that is localized frame by frame (PAPER 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Camera, Rigid3d, frozen_array
from core.records import ImageData, LabelMap, Localization


@dataclass(frozen=True, slots=True, eq=False)
class OdometryNoise:
    """How far odometry errs: standard deviations as a share of the way driven plus a floor for each frame.

    Turns err by ``rotation_deg_per_m`` of the way plus ``rotation_floor_deg``, around every axis.
    """

    translation_share: float = 0.03
    translation_floor_m: float = 0.02
    rotation_deg_per_m: float = 0.1
    rotation_floor_deg: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SideView:
    """What another camera of the same vehicle saw at the time of a frame; ``cam_from_query`` is their fixed mounting."""

    camera: Camera
    labels: LabelMap
    cam_from_query: Rigid3d


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One moment of a sequence.

    ``labels`` of the query's image, or None where there is no image (``missing`` says why). ``odometry``:
    cam_now_from_cam_before, from the frame that stands before this one; None where it is not known. ``candidates`` is
    asked, at the start and while the track is lost, for cam_from_world poses near which the camera may be, as retrieval
    finds them; the query's prior comes first.
    """

    query: ImageData
    labels: LabelMap | None
    odometry: Rigid3d | None = None
    noise: OdometryNoise = OdometryNoise()
    candidates: Callable[[], tuple[Rigid3d, ...]] | None = None
    side_views: tuple[SideView, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ParticleSet:
    """N weighted camera poses: ``qvec`` (N, 4) f64 unit qw qx qy qz and ``centers`` (N, 3) f64 m in the world, so that
    ``cam_from_world`` of particle i is the rotation qvec[i] and the camera centre centers[i]; ``log_weights`` (N,) f64,
    whose exponentials add up to 1; ``step`` counts the frames; ``num_effective`` = 1 / sum of squared weights.
    """

    qvec: Array
    centers: Array
    log_weights: Array
    step: int
    num_effective: float

    def __post_init__(self) -> None:
        for name, shape in (("qvec", (None, 4)), ("centers", (None, 3)), ("log_weights", (None,))):
            value = frozen_array(getattr(self, name), np.float64, shape, f"ParticleSet.{name}")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def weights(self) -> Array:
        """(N,) f64 that add up to 1."""
        return np.exp(self.log_weights)


@dataclass(frozen=True, slots=True, eq=False)
class PoseCloud:
    """What the particles say: the ``cam_from_world`` of their dominant mode, its ``covariance`` (6, 6) f64, and the
    ``share`` of all weight that lies in it.

    The covariance is of the camera centre in the world (m), then of the rotation vector in the camera's frame (rad).
    """

    cam_from_world: Rigid3d
    covariance: Array
    share: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", frozen_array(self.covariance, np.float64, (6, 6), "covariance"))

    @property
    def position_error_m(self) -> float:
        """Standard deviation of the camera centre along its least certain direction."""
        return float(np.sqrt(max(0.0, np.linalg.eigvalsh(self.covariance[:3, :3])[-1])))

    @property
    def rotation_error_deg(self) -> float:
        """Standard deviation of the rotation around its least certain axis."""
        return float(np.degrees(np.sqrt(max(0.0, np.linalg.eigvalsh(self.covariance[3:, 3:])[-1]))))


@dataclass(frozen=True, slots=True, eq=False)
class ParticleStep:
    """The state after one frame, ``index`` of ``total`` (None when not known beforehand).

    ``particles`` is None before there is anything to start from; ``cloud`` is the particles' dominant mode, also where
    they are ``lost``. ``evidence``: mean log-likelihood ratio of the visible points at that mode, and ``chance`` what
    the best of random poses on the map reach, both None without an image. ``localization`` is the frame's answer.

    Of a drive that is followed by matches too, the particles are its tracks, ``evidence`` is that of the best one by all
    guided matches so far, and ``chance`` what is asked of it.
    """

    index: int
    total: int | None
    particles: ParticleSet | None
    cloud: PoseCloud | None
    lost: bool
    evidence: float | None
    chance: float | None
    localization: Localization
    seconds: float

    @property
    def estimate(self) -> Rigid3d | None:
        return None if self.cloud is None else self.cloud.cam_from_world

    @property
    def covariance(self) -> Array | None:
        return None if self.cloud is None else self.cloud.covariance

    @property
    def message(self) -> str:
        return f"{'Lost at' if self.lost else 'Followed to'} {self.localization.query.name}"

    @property
    def fraction(self) -> float | None:
        return (self.index + 1) / self.total if self.total else None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceResult:
    """The answers for all frames in order, each a pose or a failure as of any method; how often the track was lost and
    found again; ``seconds`` for each frame, segmentation not included.
    """

    localizations: tuple[Localization, ...]
    covariances: tuple[Array | None, ...]
    seconds: tuple[float, ...]
    num_lost: int
    num_recovered: int
