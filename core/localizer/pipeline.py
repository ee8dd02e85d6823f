"""One query from pixels to pose: features, matches to the map, a method's choice among them, RANSAC, ranking."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.errors import ImageError, InputError
from core.evaluation.errors import pose_error
from core.geometry import Array, Rigid3d
from core.images import read_image
from core.localizer.affinity import AffinityConfig, descriptor_probabilities, drawn_by, ssmc_soft
from core.localizer.features import FeatureConfig
from core.localizer.given_matches import given_matches
from core.localizer.gravity import PriorConfig, near_enough
from core.localizer.gsmc import GsmcConfig, gsmc, gsmc_soft
from core.localizer.guided import GuidedConfig, GuidedMatcher, guided_matcher
from core.localizer.matching import MatchConfig, match_to_map_steps, require_matchable
from core.localizer.methods import Method, MethodInput
from core.localizer.query_features import extractor_for, query_features
from core.localizer.ransac import RansacConfig, candidate_poses, estimate_pose
from core.localizer.retrieval import RetrievalConfig, Retriever, build_retriever, candidate_points, is_used
from core.localizer.ssmc import SsmcConfig, ssmc
from core.localizer.tracks import DriveConfig
from core.localizer.verification import PoseVerifier, pose_verifier
from core.records import (
    Consistency,
    Features,
    ImageData,
    LabelMap,
    LabelStatistics,
    Localization,
    LocalizationResult,
    Matches2D3D,
    Progress,
    SceneMap,
    setting,
    settings_of,
)
from core.steps import scaled


def keep_all(given: MethodInput) -> Consistency:
    """The baseline of PAPER 3.2: every match goes to RANSAC, labels or not.

    With ``affinity.weigh_p3p`` each is drawn, and counts, as its descriptors deserve: what a method that weighs by labels is
    fairly compared with.
    """
    everything = np.ones(len(given.matches), bool)
    if not given.config.affinity.weigh_p3p:
        return Consistency(everything)
    return drawn_by(descriptor_probabilities(given), given, everything)


METHODS: dict[str, Method] = {"p3p": keep_all, "ssmc": ssmc, "ssmc-soft": ssmc_soft, "gsmc": gsmc, "gsmc-soft": gsmc_soft}
NEED_LABELS = frozenset(METHODS) - {"p3p"}
_VERIFIED = frozenset({"ssmc-soft", "gsmc-soft"})
_SEEN = "have a place on their circle from where the labels fit"
_KEPT = {"ssmc": "keep their label", "ssmc-soft": "have labels that go together", "gsmc": _SEEN, "gsmc-soft": _SEEN}
"""What it means that a method keeps a match, to say why too few are left."""


@dataclass(frozen=True, kw_only=True)
class LocalizerConfig:
    features: FeatureConfig = field(default_factory=FeatureConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    matching: MatchConfig = field(default_factory=MatchConfig)
    ransac: RansacConfig = field(default_factory=RansacConfig)
    ssmc: SsmcConfig = field(default_factory=SsmcConfig)
    affinity: AffinityConfig = field(default_factory=AffinityConfig)
    gsmc: GsmcConfig = field(default_factory=GsmcConfig)
    guided: GuidedConfig = field(default_factory=GuidedConfig)
    drive: DriveConfig = field(default_factory=DriveConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    method: str = setting("p3p", help="how labels choose among the matches")
    keep_moving: bool = setting(
        False, help="labels that the statistics do not call stationary speak like any other; off: they are ignored"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What all methods share of a query: its keypoints and their matches to the map."""

    query: ImageData
    features: Features
    matches: Matches2D3D


def localize(
    query: ImageData,
    scene_map: SceneMap,
    config: LocalizerConfig = LocalizerConfig(),
    seed: int = 0,
    image: Array | None = None,
    labels: LabelMap | None = None,
    statistics: LabelStatistics | None = None,
    retriever: Retriever | None = None,
) -> Generator[Progress, None, Localization]:
    """Localize one query: yields Progress, returns a Localization, which holds a failure where no pose was found.

    ``image`` RGB (H, W, 3) u8 is read from ``query.path`` when not given. Raises InputError for an unknown method, a
    query without intrinsics or of another size than its camera, a map that cannot be matched, and labels that the method
    needs and that are not there or of another vocabulary; ImageError or FileNotFoundError for an unreadable image.
    """
    _method(config.method)
    prepared = yield from scaled(prepare(query, scene_map, config, image, retriever), 0.0, 0.9)
    yield Progress("Estimating the pose", 0.9)
    localization = localize_prepared(prepared, scene_map, config, seed, labels, statistics)
    yield Progress("Ranking the reference images", 1.0)
    return localization


def prepare(
    query: ImageData,
    scene_map: SceneMap,
    config: LocalizerConfig = LocalizerConfig(),
    image: Array | None = None,
    retriever: Retriever | None = None,
) -> Generator[Progress, None, Prepared]:
    """Find keypoints, or read those that the query came with, and match them to the map, or take the matches that it came
    with, once for all methods; raises as ``localize`` does.

    A large map is matched only where ``retriever`` says that the query may be; without one it is made for this query
    alone, so give one where there are many.
    """
    require_matchable(extractor_for(query, scene_map, config.features), scene_map)
    if query.camera is None:
        raise InputError(f"{query.path}: no intrinsics are known for this query; a pose needs its camera")
    yield Progress(f"Finding keypoints in {query.name}", 0.0)
    features = query_features(query, scene_map, config.features, lambda: _pixels(query, image))
    if config.matching.source == "given" and query.features is not None and query.features.matches is not None:
        given = given_matches(query, features, scene_map, config.matching.one_to_one)
        if given is not None:
            return Prepared(query, features, given)
    if retriever is None and is_used(scene_map, config.retrieval):
        retriever = yield from scaled(build_retriever(scene_map, config.retrieval), 0.1, 0.3)
    candidates = candidate_points(query, features, scene_map, config.retrieval, retriever)
    matches = yield from scaled(match_to_map_steps(features, scene_map, config.matching, candidates), 0.3, 1.0)
    return Prepared(query, features, matches)


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What a method knows of a query before any pose: of its matches, and what judges poses by labels and finds points again
    near where they put them (None where it does not).
    """

    consistency: Consistency
    verifier: PoseVerifier | None
    guided: GuidedMatcher | None


def weigh(
    prepared: Prepared,
    scene_map: SceneMap,
    config: LocalizerConfig,
    seed: int = 0,
    labels: LabelMap | None = None,
    statistics: LabelStatistics | None = None,
) -> Weighed:
    """Let the method of ``config`` weigh the matches; raises as ``localize`` does. Matches that cannot be seen from where the
    query is known to be are not kept.
    """
    query, matches = prepared.query, prepared.matches
    _require_label_size(query, labels)
    given = MethodInput(query, matches, scene_map, labels, statistics, config, seed)
    consistency = _method(config.method)(given)
    near = near_enough(query, scene_map, matches.point_ids)
    return Weighed(
        consistency if near.all() else replace(consistency, keep=consistency.keep & near),
        pose_verifier(given) if config.method in _VERIFIED else None,
        guided_matcher(prepared.features, scene_map, query.camera, config.guided),
    )


def pose_candidates(
    prepared: Prepared, weighed: Weighed, scene_map: SceneMap, config: LocalizerConfig, seed: int = 0
) -> list[Rigid3d]:
    """The poses that RANSAC would choose among, from the best on (``ransac.candidate_poses``)."""
    known = weighed.consistency
    return candidate_poses(
        prepared.matches,
        scene_map,
        prepared.query.camera,
        config.ransac,
        seed,
        keep=known.keep,
        weights=known.weights,
        probabilities=known.probabilities,
        judge=weighed.verifier,
    )


def localize_prepared(
    prepared: Prepared,
    scene_map: SceneMap,
    config: LocalizerConfig = LocalizerConfig(),
    seed: int = 0,
    labels: LabelMap | None = None,
    statistics: LabelStatistics | None = None,
) -> Localization:
    """Let the method of ``config`` weigh the matches and estimate the pose; raises as ``localize`` does.

    Inliers are counted among the matches that the method keeps, without those that cannot be seen from where the query is
    known to be; ``consistency`` says which these are.
    """
    query, matches = prepared.query, prepared.matches
    weighed = weigh(prepared, scene_map, config, seed, labels, statistics)
    consistency, verifier = weighed.consistency, weighed.verifier
    result = estimate_pose(
        matches,
        scene_map,
        query.camera,
        config.ransac,
        seed,
        keep=consistency.keep,
        weights=consistency.weights,
        probabilities=consistency.probabilities,
        judge=verifier,
        guided=weighed.guided,
        method=config.method,
        kept=_KEPT.get(config.method, "can be used"),
    )
    result = replace(result, config=every_setting(config))
    if verifier is not None and result.cam_from_world is not None:
        fit = float(verifier.fit(result.cam_from_world.matrix()[None])[0])
        result = replace(result, stats=replace(result.stats, label_fit=fit))
    known = result.cam_from_world is not None and query.cam_from_world is not None
    error = pose_error(result.cam_from_world, query.cam_from_world) if known else None
    ranking = rank_references(matches, result, scene_map)
    return Localization(query, prepared.features, matches, result, ranking, error, consistency)


def rank_references(matches: Matches2D3D, result: LocalizationResult, scene_map: SceneMap) -> tuple[tuple[int, int], ...]:
    """Order the map images as (index, number of inliers whose point it saw): most inliers first, then most matches.

    Images that saw none of the matched points are left out. After a failure the inliers are 0 and the matches decide.
    One inlier counts in every image that saw its point, so the numbers do not add up to the inliers.
    """
    num_images = max(1, len(scene_map.images), int(scene_map.observations.image.max(initial=0)) + 1)
    num_matches = _count_seen(matches.point_ids, scene_map, num_images)
    num_inliers = _count_seen(matches.point_ids[result.inlier_mask], scene_map, num_images)
    order = np.lexsort((np.arange(num_images), -num_matches, -num_inliers))
    return tuple((int(image), int(num_inliers[image])) for image in order if num_matches[image])


def _count_seen(point_ids: Array, scene_map: SceneMap, num_images: int) -> Array:
    """Number (num_images,) of the given matches whose point each map image saw."""
    observations = scene_map.observations
    times = np.bincount(point_ids, minlength=len(scene_map.points3D))
    rows = np.flatnonzero(times[observations.point])
    seen = np.unique(observations.point[rows].astype(np.int64) * num_images + observations.image[rows])
    return np.bincount(seen % num_images, weights=times[seen // num_images], minlength=num_images).astype(np.int64)


def every_setting(config: LocalizerConfig) -> dict[str, Any]:
    """All settings as plain values, to store with a result: RANSAC's own, and those of each other group with its name."""
    groups = {"features": config.features, "retrieval": config.retrieval, "matching": config.matching, "prior": config.prior}
    groups |= {
        "ssmc": config.ssmc,
        "affinity": config.affinity,
        "gsmc": config.gsmc,
        "guided": config.guided,
        "drive": config.drive,
    }
    values = {f"{group}.{name}": value for group, part in groups.items() for name, value in settings_of(part).items()}
    return settings_of(config.ransac) | values | {"keep_moving": config.keep_moving}


def _method(name: str) -> Method:
    if name not in METHODS:
        raise InputError(f"method {name!r} is not known; expected one of {', '.join(METHODS)}")
    return METHODS[name]


def _pixels(query: ImageData, image: Array | None) -> Array:
    image = read_image(query.path) if image is None else image
    _require_size(query, image)
    return image


def _require_size(query: ImageData, image: Array) -> None:
    height, width = image.shape[:2]
    camera = query.camera
    if camera is not None and (width, height) != (camera.width, camera.height):
        raise ImageError(
            f"{query.path}: the image is {width} x {height}, but its camera is for {camera.width} x {camera.height}"
        )


def _require_label_size(query: ImageData, labels: LabelMap | None) -> None:
    camera = query.camera
    if labels is not None and camera is not None and labels.labels.shape != (camera.height, camera.width):
        height, width = labels.labels.shape
        raise InputError(f"{query.path}: its labels are {width} x {height}, its camera is for {camera.width} x {camera.height}")
