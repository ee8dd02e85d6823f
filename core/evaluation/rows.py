"""What is kept of one query's result: plain values, as they stand in the journal and in result.json."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from core.evaluation.job import Answer, Variant
from core.geometry import Array, Rigid3d
from core.localizer.ransac import reprojection_errors
from core.records import ImageData, Localization, PoseError, Scene, SceneMap

TRUE_MATCH_PX = 8.0


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One query by one method. ``changed``: its condition is not the map's; ``has_truth``: its true pose is known.

    ``inlier_ratio_before``, ``inlier_ratio_after``: share of the matches, and of those that the method chose (by how
    likely it draws them), that project within 8 px under the true pose; None where that is not known. ``evidence``,
    ``label_fit``, ``guided_evidence`` and ``guided_matches`` as in RansacStats.
    ``seconds`` by stage. ``refused``: the input could not be used, ``failure`` says why.
    """

    scene: str
    kind: str
    query: str
    condition: str
    changed: bool
    method: str
    labels: str
    has_truth: bool
    qvec: tuple[float, ...] | None
    tvec: tuple[float, ...] | None
    position_error_m: float | None
    rotation_error_deg: float | None
    num_matches: int
    num_kept: int
    num_inliers: int
    inlier_ratio_before: float | None
    inlier_ratio_after: float | None
    seconds: dict[str, float]
    failure: str | None = None
    refused: bool = False
    evidence: float | None = None
    label_fit: float | None = None
    guided_evidence: float | None = None
    guided_matches: int | None = None

    @property
    def error(self) -> PoseError | None:
        """The error, or None without a pose or truth."""
        if self.position_error_m is None or self.rotation_error_deg is None:
            return None
        return PoseError(self.position_error_m, self.rotation_error_deg)

    @property
    def pose(self) -> Rigid3d | None:
        return None if self.qvec is None or self.tvec is None else Rigid3d(np.array(self.qvec), np.array(self.tvec))

    @property
    def line(self) -> str:
        """What names the line of a table: method and labels."""
        return f"{self.method} {self.labels}".strip()

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What names the row in every run: scene, query, method, labels."""
        return self.scene, self.query, self.method, self.labels

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


_NAMES = tuple(item.name for item in fields(QueryRow))


def row_to_json(row: QueryRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


def row_from_json(entry: dict[str, Any]) -> QueryRow:
    """Make the row of a journal entry, or of an older one without the last columns; raises TypeError or KeyError where it is
    none.
    """
    values = {name: entry[name] for name in _NAMES if name in entry}
    for name in ("qvec", "tvec"):
        values[name] = None if values[name] is None else tuple(values[name])
    return QueryRow(**values)


def row_of(scene: Scene, scene_map: SceneMap, variant: Variant, answer: Answer) -> QueryRow:
    localization = answer.localization
    query, result, error = localization.query, localization.result, localization.error
    pose = result.cam_from_world
    before, after = true_inlier_ratios(localization, scene_map)
    return QueryRow(
        scene=scene.name,
        kind=scene.kind,
        query=query.name,
        condition=query.condition,
        changed=is_changed(scene, query),
        method=variant.name,
        labels=variant.labels,
        has_truth=query.cam_from_world is not None,
        qvec=None if pose is None else tuple(pose.qvec.tolist()),
        tvec=None if pose is None else tuple(pose.tvec.tolist()),
        position_error_m=None if error is None else error.position_m,
        rotation_error_deg=None if error is None else error.rotation_deg,
        num_matches=len(localization.matches),
        num_kept=_num_kept(localization),
        num_inliers=result.stats.num_inliers,
        inlier_ratio_before=before,
        inlier_ratio_after=after,
        seconds={stage: round(value, 6) for stage, value in answer.seconds.items()},
        failure=result.failure,
        refused=answer.refused,
        evidence=result.stats.evidence,
        label_fit=result.stats.label_fit,
        guided_evidence=result.stats.guided_evidence,
        guided_matches=result.stats.guided_matches,
    )


def is_changed(scene: Scene, query: ImageData) -> bool:
    """Whether the query's condition is none of the map's."""
    return query.condition not in {image.condition for image in scene.reference}


def true_inlier_ratios(localization: Localization, scene_map: SceneMap) -> tuple[float | None, float | None]:
    """The share of matches that are right under the true pose, among all and as the method draws them (PAPER 4.4)."""
    query, matches = localization.query, localization.matches
    if query.cam_from_world is None or query.camera is None or not len(matches):
        return None, None
    points3D = scene_map.points3D[matches.point_ids]
    errors = reprojection_errors(query.cam_from_world, matches.points2D, points3D, query.camera)
    right = errors <= TRUE_MATCH_PX  # NaN is not
    drawn = _draw_weights(localization)
    after = float(drawn[right].sum() / drawn.sum()) if drawn.sum() > 0 else None
    return float(right.mean()), after


def _draw_weights(localization: Localization) -> Array:
    chosen = localization.consistency
    if chosen is None:
        return np.ones(len(localization.matches))
    return chosen.keep * (1.0 if chosen.weights is None else chosen.weights.astype(np.float64))


def _num_kept(localization: Localization) -> int:
    return int((_draw_weights(localization) > 0).sum())
