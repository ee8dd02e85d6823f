"""The records that cross borders: frozen, arrays cast and read-only."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.geometry import Array, Camera, Rigid3d, frozen_array


def _freeze(record: object, **arrays: tuple[Any, tuple[int | None, ...]]) -> None:
    """Cast the named fields in place to (dtype, shape); fields that are None stay None."""
    for name, (dtype, shape) in arrays.items():
        value = getattr(record, name)
        if value is not None:
            object.__setattr__(record, name, frozen_array(value, dtype, shape, f"{type(record).__name__}.{name}"))


def _descriptor_type(descriptors: Any) -> Any:
    """Floating descriptors of 16 or 32 bit stay what they are, all others are u8."""
    given = np.asarray(descriptors).dtype
    return given if given in (np.float16, np.float32) else np.uint8


def _same_length(record: object, *names: str) -> None:
    lengths = {name: len(getattr(record, name)) for name in names if getattr(record, name) is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{type(record).__name__}: lengths differ: {lengths}")


@dataclass(frozen=True, slots=True, eq=False)
class QueryPrior:
    """What is known of a query's pose before its pixels speak; None: not known.

    ``gravity_in_camera`` (3,) f64 unit vector that points down, with the standard deviation of its angle;
    ``height_m``: world z of the camera centre, ``position`` (3,) f64 its centre in the world, both with a standard
    deviation (or radius) in m; ``cam_from_world``: a previous or predicted pose. ``source`` says where it comes from.
    """

    gravity_in_camera: Array | None = None
    gravity_error_deg: float = 0.0
    height_m: float | None = None
    height_error_m: float = 0.0
    position: Array | None = None
    position_error_m: float = 0.0
    cam_from_world: Rigid3d | None = None
    source: str = ""

    def __post_init__(self) -> None:
        _freeze(self, gravity_in_camera=(np.float64, (3,)), position=(np.float64, (3,)))
        if self.gravity_in_camera is not None:
            length = float(np.linalg.norm(self.gravity_in_camera))
            if not (np.isfinite(length) and length > 1e-9):
                raise ValueError(f"QueryPrior.gravity_in_camera has length {length}, expected a direction")
            object.__setattr__(
                self, "gravity_in_camera", frozen_array(self.gravity_in_camera / length, np.float64, (3,), "gravity")
            )


@dataclass(frozen=True, slots=True, eq=False)
class FeatureFile:
    """Where an image's features lie, made elsewhere: a file (HDF5 of hloc, database of COLMAP) or a folder (kapture).

    ``extractor`` names what made them; ``key`` is the image's name there. ``matches``: a file of hloc's matches of this
    image to map images whose features lie in the same file, or None.
    """

    path: Path
    extractor: str
    key: str
    matches: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """One image of a scene. ``name`` is unique in the scene, '/' separated; ``path`` may not exist.

    ``cam_from_world`` is the known (true or mapping) pose, or None; ``camera`` None where nothing is known. An image with
    ``features`` is matched by these, not by ones found in its pixels.
    """

    name: str
    path: Path
    condition: str = ""
    camera: Camera | None = None
    cam_from_world: Rigid3d | None = None
    timestamp_s: float | None = None
    prior: QueryPrior | None = None
    features: FeatureFile | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    reference: ImageData
    query: ImageData


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """``labels`` (H, W) u16 in [0, num_labels), ``confidence`` (H, W) f32 in [0, 1] or None, same H, W as the image."""

    labels: Array
    num_labels: int
    vocabulary: str
    confidence: Array | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _freeze(self, labels=(np.uint16, (None, None)), confidence=(np.float32, (None, None)))
        if self.labels.size and int(self.labels.max()) >= self.num_labels:
            raise ValueError(f"label {int(self.labels.max())} found, expected less than num_labels {self.num_labels}")
        if self.confidence is not None and self.confidence.shape != self.labels.shape:
            raise ValueError(f"confidence is {self.confidence.shape}, expected {self.labels.shape} as the labels")

    def at(self, points2D: Array) -> Array:
        """Labels (N,) i64 at (N, 2) px, rounded to the nearest pixel and clamped to the image."""
        height, width = self.labels.shape
        x = np.clip(np.rint(points2D[:, 0]).astype(np.int64), 0, width - 1)
        y = np.clip(np.rint(points2D[:, 1]).astype(np.int64), 0, height - 1)
        return self.labels[y, x].astype(np.int64)

    def shares(self) -> Array:
        """Share of the image (num_labels,) f64 that each label covers."""
        return np.bincount(self.labels.ravel(), minlength=self.num_labels) / max(1, self.labels.size)


@dataclass(frozen=True, slots=True, eq=False)
class Correspondences:
    """Cross-season training data: ``points_ref``, ``points_other`` (N, 2) f32 px (x, y); ``weights`` (N,) f32."""

    points_ref: Array
    points_other: Array
    weights: Array

    def __post_init__(self) -> None:
        _freeze(self, points_ref=(np.float32, (None, 2)), points_other=(np.float32, (None, 2)), weights=(np.float32, (None,)))
        _same_length(self, "points_ref", "points_other", "weights")


@dataclass(frozen=True, slots=True, eq=False)
class LabelStatistics:
    """How a vocabulary's labels behave on training correspondences; it travels beside the weights.

    ``stationary`` (K,) bool: labels of what stays where it is (PAPER 2.6); ``correspondence_share`` (K,) f64: share of a
    label's pixels that lie on correspondences; ``joint`` (K, K) f64 counts: label in the reference by label in the other
    condition at the same surface point.
    """

    vocabulary: str
    num_labels: int
    stationary: Array
    correspondence_share: Array
    joint: Array

    def __post_init__(self) -> None:
        count = self.num_labels
        shares, pairs = (np.float64, (count,)), (np.float64, (count, count))
        _freeze(self, stationary=(np.bool_, (count,)), correspondence_share=shares, joint=pairs)


@dataclass(frozen=True, slots=True, eq=False)
class Consistency:
    """What labels say of M matches: ``keep`` (M,) bool may be used; ``weights`` (M,) f32 >= 0 how likely each is drawn, or
    None for all alike; ``probabilities`` (M,) f32 how likely each is right, by which a pose is judged, or None where every
    match that agrees counts alike. GSMC adds the best angle on each match's circle and how many points were visible there.
    """

    keep: Array
    weights: Array | None = None
    probabilities: Array | None = None
    best_angle_rad: Array | None = None
    num_visible: Array | None = None

    def __post_init__(self) -> None:
        _freeze(
            self,
            keep=(np.bool_, (None,)),
            weights=(np.float32, (None,)),
            probabilities=(np.float32, (None,)),
            best_angle_rad=(np.float32, (None,)),
            num_visible=(np.int32, (None,)),
        )
        _same_length(self, "keep", "weights", "probabilities", "best_angle_rad", "num_visible")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """``keypoints`` (N, 2) f32 px, ``scales`` (N,) f32 px, ``orientations_rad`` (N,) f32,
    ``descriptors`` (N, D) f32 unit L2; D is 128 for RootSIFT. ``extractor`` names what made them.
    """

    keypoints: Array
    scales: Array
    orientations_rad: Array
    descriptors: Array
    extractor: str

    def __post_init__(self) -> None:
        _freeze(
            self,
            keypoints=(np.float32, (None, 2)),
            scales=(np.float32, (None,)),
            orientations_rad=(np.float32, (None,)),
            descriptors=(np.float32, (None, None)),
        )
        _same_length(self, "keypoints", "scales", "orientations_rad", "descriptors")

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Where map points were seen, one row an observation (T rows), sorted by point.

    ``point`` (T,) i32 index into SceneMap.points3D, ``image`` (T,) i32 index into SceneMap.images,
    ``points2D`` (T, 2) f32 px, ``descriptors`` (T, D) or None: u8 (RootSIFT x 512, clipped, as COLMAP stores it), or f16 or
    f32 of unit L2 (other extractors).
    """

    point: Array
    image: Array
    points2D: Array
    descriptors: Array | None = None

    def __post_init__(self) -> None:
        _freeze(
            self,
            point=(np.int32, (None,)),
            image=(np.int32, (None,)),
            points2D=(np.float32, (None, 2)),
            descriptors=(_descriptor_type(self.descriptors), (None, None)),
        )
        _same_length(self, "point", "image", "points2D", "descriptors")


@dataclass(frozen=True, slots=True, eq=False)
class PointVisibility:
    """From where each map point was seen (PAPER 3.1).

    ``direction`` (P, 3) f32 unit, point to camera, mean of the two extreme views; ``angle_rad`` (P,) f32 largest
    pairwise angle; ``min_distance``, ``max_distance`` (P,) f32 m.
    """

    direction: Array
    angle_rad: Array
    min_distance: Array
    max_distance: Array

    def __post_init__(self) -> None:
        vector = (np.float32, (None,))
        _freeze(self, direction=(np.float32, (None, 3)), angle_rad=vector, min_distance=vector, max_distance=vector)
        _same_length(self, "direction", "angle_rad", "min_distance", "max_distance")


@dataclass(frozen=True, slots=True, eq=False)
class PointLabels:
    """Majority label (P,) u16 of each map point and the share of its votes (P,) f32, in one vocabulary (PAPER 3.1).

    ``views`` (O, 9) u16, beyond the paper: what the image of each of the map's observations says at the keypoint, and
    around it at ``VIEW_STEPS`` times ``view_step_px``; None where that was not kept. A label may depend on how near the
    camera is, and a majority forgets it.
    """

    labels: Array
    vote_share: Array
    num_labels: int
    vocabulary: str
    views: Array | None = None

    def __post_init__(self) -> None:
        _freeze(
            self,
            labels=(np.uint16, (None,)),
            vote_share=(np.float32, (None,)),
            views=(np.uint16, (None, len(VIEW_STEPS))),
        )
        _same_length(self, "labels", "vote_share")


VIEW_STEPS = ((0, 0), (-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))
"""Where ``PointLabels.views`` look, x and y: at the keypoint first, then around it."""


def view_step_px(width: int) -> float:
    """How far apart ``PointLabels.views`` look in an image of this width: what is nearer is much the same surface."""
    return width / 50


@dataclass(frozen=True, slots=True, eq=False)
class SceneMap:
    """A sparse 3D map: ``points3D`` (P, 3) f64 m, ``rgb`` (P, 3) u8, posed mapping ``images``, their observations.

    ``extractor`` names what made the descriptors; ``gravity_in_world`` (3,) f64 unit, pointing down, or None.
    """

    points3D: Array
    rgb: Array
    images: tuple[ImageData, ...]
    observations: Observations
    extractor: str = ""
    visibility: PointVisibility | None = None
    labels: PointLabels | None = None
    gravity_in_world: Array | None = None

    def __post_init__(self) -> None:
        _freeze(
            self,
            points3D=(np.float64, (None, 3)),
            rgb=(np.uint8, (None, 3)),
            gravity_in_world=(np.float64, (3,)),
        )
        _same_length(self, "points3D", "rgb")


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What was opened. ``reference`` images make the map; ``queries`` are to be localized (poses known or None).

    Two photographs are a scene with one reference, one query and no map. ``notes`` are sentences for the user
    (for instance missing images). ``weights`` names the network that the scene asks for, or ""; ``start_query`` the image
    to show first, or "". ``map_path`` is the folder that holds the map; ``layout`` names what was recognised on disk.
    ``odometry_path`` is a file of measured odometry, read when a sequence is followed.
    """

    name: str
    root: Path
    reference: tuple[ImageData, ...]
    queries: tuple[ImageData, ...]
    map: SceneMap | None = None
    kind: str = ""
    weights: str = ""
    notes: tuple[str, ...] = ()
    map_path: Path | None = None
    start_query: str = ""
    layout: str = ""
    odometry_path: Path | None = None

    @property
    def images(self) -> tuple[ImageData, ...]:
        return self.reference + self.queries

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions in the order in which they first occur, the reference's first."""
        return tuple(dict.fromkeys(image.condition for image in self.images))

    def image(self, name: str) -> ImageData:
        """Find an image by name, or by its last part when that is unique; KeyError says what is there."""
        exact = [image for image in self.images if image.name == name]
        found = exact or [image for image in self.images if image.name.rsplit("/", 1)[-1] == name]
        if len(found) != 1:
            example = self.images[0].name if self.images else "none"
            raise KeyError(f"{name!r} names {len(found)} images of {self.name}; names look like {example!r}")
        return found[0]


@dataclass(frozen=True, slots=True, eq=False)
class Matches2D3D:
    """``points2D`` (M, 2) f64 px of the query, ``point_ids`` (M,) i64 into SceneMap.points3D, ``scores`` (M,) f32
    (1 - descriptor ratio), ``reference_image`` (M,) i32 into SceneMap.images, ``points2D_ref`` (M, 2) f32 px there,
    ``keypoint`` (M,) i32 into the query's features.
    """

    points2D: Array
    point_ids: Array
    scores: Array
    reference_image: Array
    points2D_ref: Array
    keypoint: Array

    def __post_init__(self) -> None:
        _freeze(
            self,
            points2D=(np.float64, (None, 2)),
            point_ids=(np.int64, (None,)),
            scores=(np.float32, (None,)),
            reference_image=(np.int32, (None,)),
            points2D_ref=(np.float32, (None, 2)),
            keypoint=(np.int32, (None,)),
        )
        _same_length(self, "points2D", "point_ids", "scores", "reference_image", "points2D_ref", "keypoint")

    def __len__(self) -> int:
        return len(self.points2D)

    def part(self, rows: Array | slice) -> Matches2D3D:
        """Some of the matches, by a mask (M,) bool, indices or a slice."""
        return Matches2D3D(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True, eq=False)
class RansacStats:
    """How the search went. ``evidence``: the log-likelihood ratio of the pose to chance by all that a method knows of its
    matches and labels, None where matches count alike. ``label_fit``: the mean log-likelihood ratio of the labels of all that
    the pose sees, 0 as by chance. ``guided_matches``: how many points were found again where the pose puts them, and
    ``guided_evidence`` the log-likelihood ratio of the pose to chance by these. None where that was not asked.
    """

    num_iterations: int = 0
    num_refinements: int = 0
    num_inliers: int = 0
    inlier_ratio: float = 0.0
    score: float = 0.0
    evidence: float | None = None
    label_fit: float | None = None
    guided_evidence: float | None = None
    guided_matches: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LocalizationResult:
    """The answer for one query: a pose, or the ``failure`` sentence; exactly one of the two.

    ``inlier_mask`` (M,) bool and ``reproj_errors_px`` (M,) f64 belong to the returned pose (all False / NaN without one).
    ``guided``: points found again where the pose puts them, scored by how likely each is right; None where that was not asked.
    """

    cam_from_world: Rigid3d | None
    inlier_mask: Array
    reproj_errors_px: Array
    stats: RansacStats
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    failure: str | None = None
    guided: Matches2D3D | None = None

    def __post_init__(self) -> None:
        _freeze(self, inlier_mask=(bool, (None,)), reproj_errors_px=(np.float64, (None,)))
        if (self.cam_from_world is None) == (self.failure is None):
            raise ValueError("a result has either a pose or a failure, exactly one")


@dataclass(frozen=True, slots=True, eq=False)
class PoseError:
    """Against the truth: ``position_m`` distance of the camera centres, ``rotation_deg`` angle between the rotations."""

    position_m: float
    rotation_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class Localization:
    """Everything that one query's localization made. ``ranking``: (map image index, inliers seen in it), best first."""

    query: ImageData
    features: Features
    matches: Matches2D3D
    result: LocalizationResult
    ranking: tuple[tuple[int, int], ...] = ()
    error: PoseError | None = None
    consistency: Consistency | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PairMatches:
    """2D-2D matches of two photographs: ``points_ref``, ``points_query`` (M, 2) f32 px, ``scores`` (M,) f32,
    ``inlier_mask`` (M,) bool of the epipolar geometry, ``fundamental`` (3, 3) f64 with x_query^T F x_ref = 0, or None.
    """

    points_ref: Array
    points_query: Array
    scores: Array
    inlier_mask: Array
    fundamental: Array | None
    num_keypoints: tuple[int, int]
    failure: str | None = None

    def __post_init__(self) -> None:
        _freeze(
            self,
            points_ref=(np.float32, (None, 2)),
            points_query=(np.float32, (None, 2)),
            scores=(np.float32, (None,)),
            inlier_mask=(bool, (None,)),
            fundamental=(np.float64, (3, 3)),
        )
        _same_length(self, "points_ref", "points_query", "scores", "inlier_mask")


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What a long task yields: ``fraction`` in [0, 1] or None when unknown, and a few words. Every yield can cancel."""

    message: str
    fraction: float | None = None


def setting(default: Any, *, unit: str = "", minimum: float | None = None, maximum: float | None = None, help: str) -> Any:
    """A field of a config record that says its unit, its range and what it does, for whoever shows or checks it."""
    return field(default=default, metadata={"unit": unit, "min": minimum, "max": maximum, "help": help})


def settings_of(config: Any) -> dict[str, Any]:
    """The config as plain values, to store beside a result."""
    return {item.name: getattr(config, item.name) for item in fields(config)}
