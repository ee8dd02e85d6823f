"""Why a query was localized, or why not: decision rules over numbers that anyone can check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from core.evaluation.recall import outcome
from core.geometry import Array, Camera, Rigid3d
from core.localizer.ransac import RansacConfig, log10_chance, reprojection_errors
from core.localizer.uncertainty import pose_uncertainty
from core.records import Localization, LocalizationResult, SceneMap

SEQUENCE = "pfsl"  # as core.localizer.sequence calls itself, which needs torch
DRIVES = ("p3p-drive", "ssmc-drive")  # as core.localizer.drive does
FEW_KEYPOINTS = 100
FEW_MAP_POINTS = 50
SMALL_IMAGE_SHARE = 0.05
ONE_DEPTH = 1.15  # 95th over 5th percentile of the inliers' depths
LOOSE = 0.01  # standard deviation of the position over the median depth of the inliers


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number behind a verdict, and the sentence that says what it means."""

    name: str
    value: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Autopsy:
    """``verdict`` one word of ``VERDICTS``; ``cause`` one sentence; ``evidence`` the numbers; ``remedy`` what would help."""

    verdict: str
    cause: str
    evidence: tuple[Evidence, ...]
    remedy: str = ""


VERDICTS = {
    "localized": "a pose that many matches agree with",
    "weak": "a pose whose inliers fix it badly",
    "wrong pose": "a pose far from the known one",
    "few keypoints": "the image shows too little structure",
    "outside the map": "the map has too few points where the query was taken",
    "few matches": "too few descriptors resemble the map's",
    "wrong matches": "the matches point at wrong places",
    "missed": "enough right matches, but the search did not find them",
    "no consensus": "the matches do not agree on a pose",
    "degenerate": "the agreeing matches do not fix a pose",
    "lost": "the labels stopped fitting the track",
    "unsettled": "the particles do not agree on one place",
    "no labels": "there was no image, or no labels of it, to compare",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at. Values about the inliers are None without a pose or inliers, those about the truth without a
    known one, ``label_evidence`` where a method compares no labels with all that the pose sees.
    """

    condition: str
    failure: str | None
    min_inliers: int
    num_keypoints: int
    num_matches: int
    num_inliers: int
    num_kept: int | None = None
    num_agreeing: int | None = None
    image_share: float | None = None
    median_depth_m: float | None = None
    depth_ratio: float | None = None
    position_std_m: float | None = None
    rotation_std_deg: float | None = None
    log10_chance: float | None = None
    num_right: int | None = None
    num_right_inliers: int | None = None
    num_in_view: int | None = None
    num_seen: int | None = None
    num_labelled: int | None = None
    label_evidence: float | None = None
    total_evidence: float | None = None
    num_guided: int | None = None
    guided_evidence: float | None = None
    outcome: str = "unknown"
    position_error_m: float | None = None
    rotation_error_deg: float | None = None


def explain(localization: Localization, scene_map: SceneMap) -> Autopsy:
    """Name the cause of one query's result, with the evidence and what would fix it.

    Where the true pose is known, matches are right when their point projects within the RANSAC threshold under it.
    """
    facts = measure(localization, scene_map)
    if localization.result.method == SEQUENCE:
        verdict, cause, remedy = _followed(facts)
    elif localization.result.method in DRIVES:
        verdict, cause, remedy = _driven(facts)
    else:
        verdict, cause, remedy = _failed(facts) if facts.failure else _posed(facts)
    return Autopsy(verdict, cause, _evidence(facts), remedy)


def measure(localization: Localization, scene_map: SceneMap) -> Facts:
    """Compute the numbers that ``explain`` decides by."""
    result, query = localization.result, localization.query
    defaults = RansacConfig()
    max_error = result.config.get("max_error_px", defaults.max_error_px)
    values: dict = {}
    if query.camera is not None and result.cam_from_world is not None and result.inlier_mask.any():
        values |= _about_inliers(localization, scene_map, query.camera)
    if query.camera is not None and query.cam_from_world is not None:
        values |= _about_truth(localization, scene_map, query.camera, query.cam_from_world, max_error)
    if result.cam_from_world is not None:
        values |= {"label_evidence": result.stats.label_fit, "total_evidence": result.stats.evidence}
        values |= {"num_guided": result.stats.guided_matches, "guided_evidence": result.stats.guided_evidence}
    if result.method == SEQUENCE:
        values |= _about_labels(localization, scene_map)
    if localization.error is not None:
        values |= {
            "position_error_m": localization.error.position_m,
            "rotation_error_deg": localization.error.rotation_deg,
            "outcome": outcome(localization.error, result.failure is not None),
        }
    return Facts(
        condition=query.condition,
        failure=result.failure,
        min_inliers=result.config.get("min_inliers", defaults.min_inliers),
        num_keypoints=len(localization.features),
        num_matches=len(localization.matches),
        num_inliers=int(result.inlier_mask.sum()),
        num_agreeing=_num_agreeing(result, max_error),
        num_kept=None if localization.consistency is None else int(localization.consistency.keep.sum()),
        **values,
    )


def _num_agreeing(result: LocalizationResult, max_error_px: float) -> int | None:
    """How many matches agree with the pose, kept or not; None where no more do than the inliers."""
    num_agreeing = int((result.reproj_errors_px <= max_error_px).sum())
    return num_agreeing if num_agreeing > result.inlier_mask.sum() else None


def hull_share(points2D: Array, width: int, height: int) -> float:
    """Share of a ``width`` x ``height`` image that the convex hull of (N, 2) px covers; 0 for fewer than three or a line."""
    if len(points2D) < 3:
        return 0.0
    try:
        return float(ConvexHull(points2D).volume) / (width * height)
    except QhullError:
        return 0.0


def _about_inliers(localization: Localization, scene_map: SceneMap, camera: Camera) -> dict:
    """What the inliers say of the pose, and with them the points that were found again from it: they fix it together."""
    matches, result = localization.matches, localization.result
    pixels, points = matches.points2D[result.inlier_mask], matches.point_ids[result.inlier_mask]
    if result.guided is not None:
        pixels, points = np.concatenate([pixels, result.guided.points2D]), np.append(points, result.guided.point_ids)
        points, first = np.unique(points, return_index=True)
        pixels = pixels[first]
    points3D = scene_map.points3D[points]
    depths = result.cam_from_world.apply(points3D)[:, 2]
    near, far = np.percentile(depths, [5, 95])
    noise = max(0.5, float(np.sqrt(np.mean(result.reproj_errors_px[result.inlier_mask] ** 2) / 2)))
    position_m, rotation_deg = pose_uncertainty(result.cam_from_world, points3D, camera, noise)
    num_usable = len(matches) if localization.consistency is None else int(localization.consistency.keep.sum())
    return {
        "image_share": hull_share(pixels, camera.width, camera.height),
        "median_depth_m": float(np.median(depths)),
        "depth_ratio": float(far / near),
        "position_std_m": position_m,
        "rotation_std_deg": rotation_deg,
        "log10_chance": log10_chance(result.reproj_errors_px[result.inlier_mask], num_usable, camera),
    }


def _about_truth(
    localization: Localization, scene_map: SceneMap, camera: Camera, truth: Rigid3d, max_error: float
) -> dict[str, int]:
    matches = localization.matches
    errors = reprojection_errors(truth, matches.points2D, scene_map.points3D[matches.point_ids], camera)
    right = errors <= max_error
    return {
        "num_right": int(right.sum()),
        "num_right_inliers": int((right & localization.result.inlier_mask).sum()),
        "num_in_view": int(in_view(truth, scene_map, camera).sum()),
    }


def _about_labels(localization: Localization, scene_map: SceneMap) -> dict:
    """What a method without descriptors goes by: labelled points, and those before the camera."""
    result, query = localization.result, localization.query
    values: dict = {"num_labelled": 0 if scene_map.labels is None else len(scene_map.labels.labels)}
    if result.cam_from_world is not None and query.camera is not None:
        values["num_seen"] = int(in_view(result.cam_from_world, scene_map, query.camera).sum())
    return values


def in_view(cam_from_world: Rigid3d, scene_map: SceneMap, camera: Camera) -> Array:
    """Map points (P,) bool that project into the image, whatever stands before them."""
    with np.errstate(invalid="ignore"):
        pixels = camera.project(cam_from_world.apply(scene_map.points3D))
        return ((pixels >= -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5))).all(axis=1)


def _failed(facts: Facts) -> tuple[str, str, str]:
    """Verdict, cause and remedy of a query without a pose: the first rule that holds, from the image to the search."""
    season = f" in {facts.condition}" if facts.condition else ""
    if facts.num_keypoints < FEW_KEYPOINTS:
        cause = f"only {facts.num_keypoints} keypoints found: the image is too dark, blurred, plain or small"
        return "few keypoints", cause, "lower the contrast threshold, or use a sharper, brighter or larger image"
    if facts.num_in_view is not None and facts.num_in_view < FEW_MAP_POINTS:
        return _outside(facts)
    if facts.num_matches < facts.min_inliers:
        cause = f"{facts.num_keypoints} keypoints, but only {facts.num_matches} resemble a point of the map"
        return "few matches", cause, "raise the ratio, or add reference images from this condition"
    if facts.failure and facts.failure.startswith("degenerate"):
        return "degenerate", facts.failure, "use an image with more structure around the agreeing points"
    if facts.num_right is not None and facts.num_right < facts.min_inliers:
        few = f"only {facts.num_right} point" if facts.num_right else "none points"
        cause = f"of {facts.num_matches} matches {few} at the right place: descriptors do not hold{season}"
        return "wrong matches", cause, "choose matches by their labels, or add reference images from this condition"
    if facts.num_kept is not None and facts.num_kept < facts.min_inliers:
        cause = f"labels leave only {facts.num_kept} of {facts.num_matches} matches"
        return "few matches", cause, "let labels weigh the matches instead of dropping them, or widen their window"
    if facts.num_right is not None:
        cause = f"{facts.num_right} of {facts.num_matches} matches are right, but the search did not find their pose"
        return "missed", cause, "allow more iterations, lower the ratio, or choose matches by their labels"
    cause = f"{facts.num_matches} matches, but fewer than {facts.min_inliers} agree on any pose"
    return "no consensus", cause, "check the camera's intrinsics, lower the ratio, or choose matches by their labels"


def _outside(facts: Facts) -> tuple[str, str, str]:
    cause = f"the map has only {facts.num_in_view} points in view of the true pose"
    return "outside the map", cause, "add reference images of this place to the map"


def _posed(facts: Facts) -> tuple[str, str, str]:
    """Verdict, cause and remedy of a query with a pose."""
    agree = f"{facts.num_inliers} of {facts.num_matches} matches agree"
    if facts.outcome == "bad":
        far = f"{facts.position_error_m:.1f} m and {facts.rotation_error_deg:.1f} deg from the true one"
        cause = f"{agree} on a pose {far}; {facts.num_right_inliers} of them are right"
        return "wrong pose", cause, "ask for more inliers, or choose matches by their labels"
    if facts.num_guided:
        agree += f" and {facts.num_guided} points are found where the pose puts them"
    reasons = _weaknesses(facts)
    if reasons:
        return (
            "weak",
            f"{agree}, but {' and '.join(reasons)}",
            "treat the pose with care; more or wider spread matches would fix it",
        )
    return "localized", f"localized: {agree}", ""


def _followed(facts: Facts) -> tuple[str, str, str]:
    """Verdict, cause and remedy of a frame of a sequence, which is followed by labels: it has no matches to speak of."""
    if facts.failure:
        start = facts.failure.split(":")[0]
        followed = start in ("lost", "ambiguous", "not settled")
        if followed and facts.num_in_view is not None and facts.num_in_view < FEW_MAP_POINTS:
            return _outside(facts)
        if start == "lost":
            return "lost", facts.failure, "give a position, or labels that hold in this condition; it goes on looking"
        if followed:
            return "unsettled", facts.failure, "give a position at the start, drive on, or follow more particles"
        return "no labels", facts.failure, "give the image and its camera, and name a network for its labels"
    seen = "" if facts.num_seen is None else f"; {facts.num_seen} map points are before it"
    fit = f"the particles agree on one place, whose labels fit with a mean log ratio of {facts.label_evidence or 0:.2f}{seen}"
    if facts.outcome == "bad":
        far = f"{facts.position_error_m:.1f} m and {facts.rotation_error_deg:.1f} deg from the true one"
        return "wrong pose", f"{fit}, but it is {far}", "give a position at the start: places of alike labels look the same"
    if facts.label_evidence is not None and facts.label_evidence <= 0:
        return "weak", f"{fit}: no better than what any place shows", "treat the pose with care; odometry holds it alone"
    return "localized", f"localized: {fit}", ""


def _driven(facts: Facts) -> tuple[str, str, str]:
    """Verdict, cause and remedy of a frame of a drive, whose pose the images around it hold too."""
    if facts.failure:
        start = facts.failure.split(":")[0]
        if start in ("ambiguous", "not settled"):
            return "unsettled", facts.failure, "drive on: more images tell places apart; or give a position at the start"
        if start == "no track":
            verdict, cause, _ = _failed(facts)
            around = "add reference images from this condition, or drive on until an image shows a place"
            return verdict, f"{cause}; nor do the images around it show a place", around
        return "no labels", facts.failure, "give the image and its camera, and name a network for its labels"
    verdict, cause, _ = _posed(facts)
    if verdict == "wrong pose":
        return verdict, cause, "ask for more evidence of a drive, or give a position at the start"
    if facts.label_evidence is not None and facts.label_evidence <= 0:
        return "weak", f"{cause}; odometry holds it against its labels", "treat the pose with care"
    if (facts.guided_evidence or 0.0) < RansacConfig().min_guided:
        own = f"{facts.num_guided or 'no'} guided matches"
        return "localized", f"localized by odometry and the images around it: {own} of its own are too few", ""
    agree = f"{facts.num_inliers} matches and {facts.num_guided} guided ones agree"
    return "localized", f"localized: {agree}, as do the images around it", ""


def _weaknesses(facts: Facts) -> list[str]:
    """What makes the pose uncertain. One depth alone is no weakness: many inliers fix a pose before a flat wall too."""
    reasons = []
    if facts.image_share is not None and facts.image_share < SMALL_IMAGE_SHARE:
        reasons.append(f"they lie within {100 * facts.image_share:.1f} % of the image")
    if facts.position_std_m is not None and facts.median_depth_m and facts.position_std_m > LOOSE * facts.median_depth_m:
        flat = " and lie at one depth" if facts.depth_ratio is not None and facts.depth_ratio < ONE_DEPTH else ""
        reasons.append(f"they fix the position only to {facts.position_std_m:.2f} m{flat}")
    if facts.label_evidence is not None and facts.label_evidence <= 0:
        reasons.append("the labels of what it sees of the map fit no better than by chance")
    return reasons


def _evidence(facts: Facts) -> tuple[Evidence, ...]:
    known = (
        []
        if facts.num_labelled is not None
        else [
            Evidence("keypoints", facts.num_keypoints, f"{facts.num_keypoints} keypoints found in the query"),
            Evidence("matches", facts.num_matches, f"{facts.num_matches} of them match a point of the map"),
            Evidence("inliers", facts.num_inliers, f"{facts.num_inliers} matches agree with the returned pose"),
        ]
    )
    sentences = {
        "num_kept": "{:.0f} of them may be used by what their labels say",
        "num_agreeing": "{:.0f} agree with the pose where those that may not be used are counted too, as its acceptance does",
        "num_labelled": "{:.0f} points of the map have a label",
        "label_evidence": "a visible point's label is e^{:.2f} times as likely here as by chance, in the geometric mean",
        "total_evidence": "matches and labels together make the pose e^{:.0f} times as likely as by chance",
        "num_guided": "{:.0f} points are found where the pose puts them, inliers among them",
        "guided_evidence": "these points make the pose e^{:.0f} times as likely as by chance",
        "num_seen": "{:.0f} map points project into the image from the estimated pose",
        "num_in_view": "{:.0f} map points are in view of the true pose",
        "num_right": "{:.0f} matches point at the right place under the true pose",
        "image_share": "what agrees with the pose spans {:.1%} of the image",
        "depth_ratio": "the farthest of it is {:.1f} times as far as the nearest",
        "position_std_m": "it fixes the position to {:.3f} m (one standard deviation)",
        "rotation_std_deg": "it fixes the rotation to {:.3f} deg (one standard deviation)",
        "log10_chance": "by its inliers alone, chance would give a pose as good as this 10^{:.0f} times",
        "position_error_m": "the camera is {:.3f} m from its true position",
        "rotation_error_deg": "the camera is turned by {:.2f} deg from its true rotation",
    }
    if facts.num_labelled is not None:
        del sentences["num_right"]  # a sequence has no matches
    for name, sentence in sentences.items():
        value = getattr(facts, name)
        if value is not None:
            known.append(Evidence(name.removeprefix("num_"), float(value), sentence.format(value)))
    return tuple(known)
