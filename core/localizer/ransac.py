"""Camera pose from 2D-3D matches by LO-RANSAC, with the inliers counted again from the pose that is returned.

Matches that are all alike go to PoseLib's search; where they have weights, ``lo_ransac`` draws by them.

Distortion, everywhere in the localizer: samples are drawn among the rays of the keypoints (COLMAP's inverse of the
distortion); poses are refined, and inliers counted, by projecting points with the distortion, in px of the photograph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import poselib

from core.geometry import Array, Camera, Rigid3d
from core.localizer.absolute_pose import AbsolutePose
from core.localizer.guided import GuidedMatcher
from core.localizer.lo_ransac import lo_ransac
from core.localizer.uncertainty import log10_false_alarms, pose_uncertainty
from core.records import LocalizationResult, Matches2D3D, RansacStats, SceneMap, setting, settings_of
from core.scene.colmap import points2D_to_colmap, to_pycolmap_camera, to_pycolmap_pose

MIN_SAMPLE = 4  # P3P needs three and a fourth to choose among its solutions
Judge = Callable[[Array], Array]
"""What else speaks for poses (B, 3, 4) [R | t] of cam_from_world: log-likelihoods (B,), added to those of their matches."""
_POSELIB_MODELS = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE"})


@dataclass(frozen=True, kw_only=True)
class RansacConfig:
    max_error_px: float = setting(
        8.0, unit="px", minimum=0.1, maximum=100.0, help="a match agrees with a pose when its point projects this near"
    )
    min_inliers: int = setting(
        12,
        minimum=4,
        maximum=1000,
        help="fewer agreeing points than this are a failure, unless evidence stands in; those whose labels differ count too",
    )
    min_evidence: float = setting(
        70.0,
        minimum=0.0,
        maximum=10_000.0,
        help="fewer inliers will do where a method knows how likely each match is right, and the log likelihood ratio of the "
        "pose to chance, by these, by the labels of what it sees and by guided matches, is at least this",
    )
    min_guided: float = setting(
        20.0,
        minimum=0.0,
        maximum=10_000.0,
        help="fewer inliers will do for any method where the log likelihood ratio of the pose to chance by guided matches "
        "alone is at least this",
    )
    min_iterations: int = setting(100, minimum=1, maximum=1_000_000, help="try at least this many samples")
    max_iterations: int = setting(10_000, minimum=1, maximum=1_000_000, help="try at most this many samples")
    confidence: float = setting(0.9999, minimum=0.5, maximum=0.999999, help="stop when a better pose is less likely than this")
    progressive: bool = setting(
        True, help="draw samples from the matches of highest score first (PROSAC); off: all alike, as in plain RANSAC"
    )


def estimate_pose(
    matches: Matches2D3D,
    scene_map: SceneMap,
    camera: Camera,
    config: RansacConfig = RansacConfig(),
    seed: int = 0,
    *,
    keep: Array | None = None,
    weights: Array | None = None,
    probabilities: Array | None = None,
    judge: Judge | None = None,
    guided: GuidedMatcher | None = None,
    method: str = "p3p",
    kept: str = "can be used",
) -> LocalizationResult:
    """Estimate ``cam_from_world`` by P3P in LO-RANSAC and refinement on the inliers (PAPER 3.2); samples are drawn from
    the matches of highest score first unless ``config.progressive`` is off.

    ``keep`` (M,) bool limits the estimation and the inliers to a part of the matches (PAPER 3.3), ``kept`` says in words
    what these do. ``weights`` (M,) >= 0 are how likely each match is drawn (PAPER 3.4), instead of by score; matches of
    weight 0 are never drawn, but may be inliers. ``probabilities`` (M,) are how likely each match is right: with them a pose
    is as good as the evidence of the matches that agree with it (see ``evidence``), not as their number, and all of
    ``max_iterations`` samples are tried, because the best pose need not be the one most likely drawn. ``judge`` then chooses
    among the best poses of all parts of the search, as much as it adds to their evidence. ``guided`` then looks again for
    points near where the pose puts them, and refines it. Inliers are the kept matches that project within ``max_error_px``
    in front of the returned camera; ``reproj_errors_px`` is of all matches. Whether enough points agree is counted among
    all of them: a match that labels dropped chose no pose, and is all the better a witness of the one that was found. A pose
    of evidence enough (``min_evidence``, ``min_guided``) needs no more inliers than fix it, and is not asked whether chance
    gives as many.
    Fewer than four matches to draw from, no consensus, no more than chance gives, and poses that the inliers do not fix
    are results with a ``failure``.
    """
    points3D = scene_map.points3D[matches.point_ids]
    usable, weights, counts, num_drawn = _drawn(matches, points3D, camera, config, keep, weights, probabilities)
    if num_drawn < MIN_SAMPLE:
        return _failure(_too_few(num_drawn, len(matches), kept), matches, config, seed, method)
    poses, info = _search(matches, points3D, usable, weights, counts, judge, camera, config, seed)
    pose = poses[0] if poses else None
    if pose is not None and camera.model not in _POSELIB_MODELS:
        pose = _refined(pose, matches.points2D, points3D, usable, camera, config)
    if pose is None:
        return _failure("no pose found: RANSAC gave no finite pose", matches, config, seed, method, info)
    found_again = None
    if guided is not None:
        pose, pairs = guided.refined(pose)
        found_again = guided.matches(pairs)
        info |= {"guided_evidence": pairs.evidence, "guided_matches": len(found_again)}
    errors = reprojection_errors(pose, matches.points2D, points3D, camera)
    inliers = usable & (errors <= config.max_error_px)
    if counts is not None:
        info["evidence"] = _agreed(counts, errors, inliers, matches.point_ids, config) + info["judged"]
    failure = _objection(pose, inliers, usable, weights, errors, info, matches, points3D, camera, config)
    if failure:
        return _failure(failure, matches, config, seed, method, info)
    stats = _stats(info, int(inliers.sum()), int(usable.sum()))
    return LocalizationResult(pose, inliers, errors, stats, method, settings_of(config), seed, guided=found_again)


def candidate_poses(
    matches: Matches2D3D,
    scene_map: SceneMap,
    camera: Camera,
    config: RansacConfig = RansacConfig(),
    seed: int = 0,
    *,
    keep: Array | None = None,
    weights: Array | None = None,
    probabilities: Array | None = None,
    judge: Judge | None = None,
) -> list[Rigid3d]:
    """The poses that ``estimate_pose`` would choose among, with the same arguments, from the best on; nothing is asked of them.

    Where all matches are alike, PoseLib's search tells its best alone.
    """
    points3D = scene_map.points3D[matches.point_ids]
    usable, weights, counts, num_drawn = _drawn(matches, points3D, camera, config, keep, weights, probabilities)
    if num_drawn < MIN_SAMPLE:
        return []
    return _search(matches, points3D, usable, weights, counts, judge, camera, config, seed)[0]


def reprojection_errors(cam_from_world: Rigid3d, points2D: Array, points3D: Array, camera: Camera) -> Array:
    """Distances (N,) f64 px between (N, 2) px and the projections of (N, 3) world points; NaN behind the camera
    and where a value is not finite.
    """
    errors = np.full(len(points2D), np.nan)
    finite = np.isfinite(points3D).all(axis=1) & np.isfinite(points2D).all(axis=1)
    projected = camera.project(cam_from_world.apply(points3D[finite]))
    errors[finite] = np.linalg.norm(projected - points2D[finite], axis=1)
    return errors


def log10_chance(inlier_errors_px: Array, num_matches: int, camera: Camera) -> float:
    """Log10 of how many poses as good as this chance gives where wrong matches fall anywhere in the image."""
    chances = np.pi * inlier_errors_px**2 / (camera.width * camera.height)
    return log10_false_alarms(chances, num_matches, sample_size=3)


def log10_chance_weighted(inliers: Array, errors_px: Array, usable: Array, weights: Array | None, camera: Camera) -> float:
    """``log10_chance`` among the usable matches, or among the half, quarter, ... of highest weight where that says more.

    Few inliers among many matches may be chance, and the same few among those that labels hold to be right are not; each
    part that is tried is one more way to be wrong by chance, and counts as one.
    """
    order = np.flatnonzero(usable)
    if weights is None:
        return log10_chance(errors_px[inliers], len(order), camera)
    order = order[np.argsort(-weights[order], kind="stable")]
    sizes = [len(order) >> k for k in range(max(1, len(order).bit_length() - 2))]
    parts = [order[:size] for size in sizes]
    alarms = [log10_chance(errors_px[part[inliers[part]]], len(part), camera) for part in parts]
    return min(alarms) + float(np.log10(len(parts)))


def evidence(probabilities: Array, camera: Camera, max_error_px: float) -> Array:
    """How much (M,) f64 >= 0 a match that agrees with a pose speaks for it: the log of P(it is right, or wrong and agrees by
    chance) over P(it is wrong and agrees by chance); it is right as likely as given, a wrong one falls anywhere in the image.

    A sum of these, cut off by the error as inliers are, is MLESAC's likelihood with a prior for every match (Tordoff and
    Murray, Guided-MLESAC, PAMI 2005): three matches that are probably right outweigh ten that are probably not. Values
    that are not finite count as 0.
    """
    likely = np.clip(np.nan_to_num(probabilities.astype(np.float64), nan=0.0), 0.0, 1 - 1e-6)
    chance = min(1.0, np.pi * max_error_px**2 / (camera.width * camera.height))
    return np.log1p(likely / ((1 - likely) * chance))


def _agreed(counts: Array, errors_px: Array, inliers: Array, point_ids: Array, config: RansacConfig) -> float:
    """The evidence of the matches that agree, less the farther off they are; copies of one match are no further evidence."""
    best = np.zeros(int(point_ids.max(initial=0)) + 1)
    np.maximum.at(best, point_ids[inliers], counts[inliers] * (1 - (errors_px[inliers] / config.max_error_px) ** 2))
    return float(best.sum())


def _drawn(
    matches: Matches2D3D,
    points3D: Array,
    camera: Camera,
    config: RansacConfig,
    keep: Array | None,
    weights: Array | None,
    probabilities: Array | None,
) -> tuple[Array, Array | None, Array | None, int]:
    """What may be drawn: usable matches (M,) bool, their weights, what each counts (None: all alike), how many are drawn."""
    usable = np.isfinite(matches.points2D).all(axis=1) & np.isfinite(points3D).all(axis=1)
    if keep is not None:
        usable &= keep
    weights = _drawing_weights(weights, usable)
    counts = None if weights is None or probabilities is None else evidence(probabilities, camera, config.max_error_px)
    return usable, weights, counts, int((usable if weights is None else usable & (weights > 0)).sum())


def _drawing_weights(weights: Array | None, usable: Array) -> Array | None:
    """Weights (M,) f64 of the usable matches, 0 where there is none; None where all are alike and above 0."""
    if weights is None:
        return None
    weights = np.where(usable & np.isfinite(weights), np.maximum(weights, 0), 0).astype(np.float64)
    among = weights[usable]
    return None if len(among) and among.min() == among.max() > 0 else weights


def _search(
    matches: Matches2D3D,
    points3D: Array,
    usable: Array,
    weights: Array | None,
    counts: Array | None,
    judge: Judge | None,
    camera: Camera,
    config: RansacConfig,
    seed: int,
) -> tuple[list[Rigid3d], dict]:
    """The best pose, then the next best that were refined on the way to it; none where no sample gave one."""
    order = np.flatnonzero(usable)
    if weights is not None:
        own = None if counts is None else counts[order]
        return _weighted(matches.points2D[order], points3D[order], weights[order], own, judge, camera, config, seed)
    order = order[np.argsort(-matches.scores[order], kind="stable")]
    return _poselib(matches.points2D[order], points3D[order], camera, _with_scores(config, matches.scores[order]), seed)


def _weighted(
    points2D: Array,
    points3D: Array,
    weights: Array,
    counts: Array | None,
    judge: Judge | None,
    camera: Camera,
    config: RansacConfig,
    seed: int,
) -> tuple[list[Rigid3d], dict]:
    points2D, camera = _for_poselib(points2D, camera)
    problem = AbsolutePose(points2D, points3D, camera, config.max_error_px, counts)
    found = lo_ransac(
        problem,
        weights,
        min_iterations=min(config.min_iterations, config.max_iterations) if counts is None else config.max_iterations,
        max_iterations=config.max_iterations,
        confidence=config.confidence,
        seed=seed,
        enough=config.min_inliers,
        judge=None if counts is None or judge is None else lambda models: -judge(problem.in_world(models)),
    )
    info = {"iterations": found.num_iterations, "refinements": found.num_refinements, "model_score": found.cost}
    info["judged"] = -found.judged
    if found.model is None or not np.isfinite(found.model).all():
        return [], info
    poses = (problem.in_world(model) for model in found.others if np.isfinite(model).all())
    return [Rigid3d.from_rotation(pose[:, :3], pose[:, 3]) for pose in poses], info


def _poselib(points2D: Array, points3D: Array, camera: Camera, config: RansacConfig, seed: int) -> tuple[list[Rigid3d], dict]:
    points2D, camera = _for_poselib(points2D, camera)
    options = {
        "max_reproj_error": config.max_error_px,
        "min_iterations": min(config.min_iterations, config.max_iterations),
        "max_iterations": config.max_iterations,
        "success_prob": config.confidence,
        "progressive_sampling": config.progressive,
        "max_prosac_iterations": config.max_iterations,
        "seed": seed,
    }
    poselib_camera = {"model": camera.model, "width": camera.width, "height": camera.height, "params": camera.params.tolist()}
    found, info = poselib.estimate_absolute_pose(points2D, points3D, poselib_camera, options, {})
    good = np.isfinite(found.q).all() and np.isfinite(found.t).all() and info["num_inliers"] > 0
    return [Rigid3d(found.q, found.t)] if good else [], info


def _refined(pose: Rigid3d, points2D: Array, points3D: Array, usable: Array, camera: Camera, config: RansacConfig) -> Rigid3d:
    """Refine a pose in the photograph's own px, by COLMAP, for cameras that PoseLib saw as pinhole cameras."""
    import pycolmap  # heavy, and only rare cameras need it

    for _ in range(2):  # more points agree with the better pose
        near = usable & (reprojection_errors(pose, points2D, points3D, camera) <= config.max_error_px)
        if near.sum() < MIN_SAMPLE:
            return pose
        options = pycolmap.AbsolutePoseRefinementOptions()
        options.loss_function_scale = config.max_error_px / 4
        pixels, everyone = points2D_to_colmap(points2D[near]), np.ones(int(near.sum()), bool)
        given = to_pycolmap_pose(pose), pixels, points3D[near], everyone, to_pycolmap_camera(camera, 1)
        found = pycolmap.refine_absolute_pose(*given, options)
        if found is None:
            return pose
        refined = found["cam_from_world"]
        pose = Rigid3d(refined.rotation.quat[[3, 0, 1, 2]], refined.translation)
    return pose


def _with_scores(config: RansacConfig, scores: Array) -> RansacConfig:
    """Turn progressive sampling off where no score is better than another: the order would mean nothing."""
    return config if scores[0] > scores[-1] else replace(config, progressive=False)


def _for_poselib(points2D: Array, camera: Camera) -> tuple[Array, Camera]:
    """Hand cameras that PoseLib does not know over as a pinhole camera with undistorted keypoints."""
    if camera.model in _POSELIB_MODELS:
        return points2D, camera
    rays = camera.bearings(points2D)
    ideal = Camera("PINHOLE", camera.width, camera.height, camera.K[[0, 1, 0, 1], [0, 1, 2, 2]])
    return rays[:, :2] / rays[:, 2:] * ideal.K[[0, 1], [0, 1]] + ideal.K[:2, 2], ideal


def _objection(
    pose: Rigid3d,
    inliers: Array,
    usable: Array,
    weights: Array | None,
    errors: Array,
    info: Mapping[str, Any],
    matches: Matches2D3D,
    points3D: Array,
    camera: Camera,
    config: RansacConfig,
) -> str | None:
    """Say why the pose may not be returned, or None."""
    all_matches = f"{len(matches)} matches" if usable.all() else f"{int(usable.sum())} usable matches"
    num_points = len(np.unique(matches.point_ids[inliers]))  # copies of one match are no further evidence
    num_in_all = len(np.unique(matches.point_ids[errors <= config.max_error_px]))
    guided, all_told = info.get("guided_evidence", 0.0), _all_told(info)
    if guided < config.min_guided and all_told < config.min_evidence:
        agree = f"{num_points} of {all_matches} agree" if num_points else f"none of {all_matches} agree"
        if num_in_all < config.min_inliers:
            others = f", {num_in_all} of all {len(matches)}" if num_in_all > num_points else ""
            stead = ""
            if "evidence" in info:
                stead = f", or evidence of {config.min_evidence:g} where it is {all_told:.0f}"
            elif "guided_evidence" in info:
                stead = f", or evidence of {config.min_guided:g} by guided matches where it is {guided:.0f}"
            return f"no consensus: {agree} with the best pose found{others}, at least {config.min_inliers} needed{stead}"
        if log10_chance_weighted(inliers, errors, usable, weights, camera) > 0:
            return f"no consensus: {agree} with the best pose found, no more than chance gives"
    position_m, _ = pose_uncertainty(pose, points3D[inliers], camera)
    depth = float(np.median(pose.apply(points3D[inliers])[:, 2]))
    if not position_m < depth:
        return f"degenerate: the {num_points} agreeing points do not fix the pose (they lie on a line or at one spot)"
    return None


def _all_told(info: Mapping[str, Any]) -> float:
    """The evidence of matches, labels and guided matches together; 0 where it is not known how likely a match is right."""
    return info["evidence"] + info.get("guided_evidence", 0.0) if "evidence" in info else 0.0


def _too_few(num_usable: int, num_matches: int, kept: str) -> str:
    noun = "match" if num_matches == 1 else "matches"
    if num_usable == num_matches:
        return f"too few matches: {num_matches} {noun} found, at least {MIN_SAMPLE} needed"
    return f"too few matches: {num_usable} of {num_matches} {noun} {kept}, at least {MIN_SAMPLE} needed"


def _stats(info: dict[str, Any], num_inliers: int, num_usable: int) -> RansacStats:
    return RansacStats(
        num_iterations=int(info.get("iterations", 0)),
        num_refinements=int(info.get("refinements", 0)),
        num_inliers=num_inliers,
        inlier_ratio=num_inliers / max(1, num_usable),
        score=float(info.get("model_score", 0.0)),
        evidence=info.get("evidence"),
        guided_evidence=info.get("guided_evidence"),
        guided_matches=info.get("guided_matches"),
    )


def _failure(
    why: str, matches: Matches2D3D, config: RansacConfig, seed: int, method: str, info: dict[str, Any] | None = None
) -> LocalizationResult:
    nothing = np.zeros(len(matches), bool)
    errors = np.full(len(matches), np.nan)
    stats = _stats(info or {}, 0, len(matches))
    return LocalizationResult(None, nothing, errors, stats, method, settings_of(config), seed, failure=why)
