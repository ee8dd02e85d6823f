"""From query results to the lines of the tables: recall with its interval, medians, inlier ratios, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.evaluation.intervals import median_interval, wilson_interval
from core.evaluation.recall import THRESHOLDS, recall, within
from core.evaluation.rows import QueryRow

ALL = "all"
CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line: the queries of one condition of one scene (or of all scenes of a kind) by one method with its labels.

    ``recall`` in percent within each of ``THRESHOLDS``, with Wilson's 95 % ``intervals``; a missing pose is a failure.
    Medians are over all queries, None where more than half have no pose; their bootstrap intervals end in None where
    they reach the missing ones. Inlier ratios are means over the queries that have matches. ``seconds`` by stage.
    """

    scene: str
    kind: str
    method: str
    labels: str
    condition: str
    num_queries: int
    num_failed: int
    recall: tuple[float, float, float]
    intervals: tuple[tuple[float, float], ...]
    median_position_error_m: float | None
    median_rotation_error_deg: float | None
    median_position_interval_m: tuple[float | None, float | None]
    inlier_ratio_before: float | None
    inlier_ratio_after: float | None
    seconds_per_query: float
    seconds: dict[str, float]

    @property
    def line(self) -> str:
        return f"{self.method} {self.labels}".strip()


def rows_by_scene(rows: Iterable[QueryRow]) -> list[TableRow]:
    """One line for each scene, method, labels and condition, in order of first occurrence."""
    return [
        table_row(own, scene, kind, condition)
        for (scene, kind, _, _, condition), own in _grouped(
            rows, lambda row: (row.scene, row.kind, row.method, row.labels, row.condition)
        ).items()
    ]


def rows_by_kind(rows: Iterable[QueryRow]) -> list[TableRow]:
    """Lines over all scenes of a kind: each condition, "changed" (those that are not the map's) and "all"."""
    made = []
    for (kind, _, _), own in _grouped(rows, lambda row: (row.kind, row.method, row.labels)).items():
        conditions = _grouped(own, lambda row: row.condition)
        changed = [row for row in own if row.changed]
        made += [table_row(some, ALL, kind, condition) for condition, some in conditions.items()]
        made += [table_row(some, ALL, kind, name) for name, some in ((CHANGED, changed), (ALL, own)) if some]
    return made


def _grouped(rows: Iterable[QueryRow], key) -> dict:
    groups: dict = {}
    for row in rows:
        if row.has_truth:
            groups.setdefault(key(row), []).append(row)
    return groups


def table_row(rows: Sequence[QueryRow], scene: str, kind: str, condition: str) -> TableRow:
    """Summarise results of one method; all must have a known true pose."""
    errors = [row.error for row in rows]
    counts = [sum(error is not None and within(error, limit) for error in errors) for limit in THRESHOLDS]
    position, rotation = position_errors(rows), rotation_errors(rows)
    stages = dict.fromkeys(stage for row in rows for stage in row.seconds)
    return TableRow(
        scene=scene,
        kind=kind,
        method=rows[0].method,
        labels=rows[0].labels,
        condition=condition,
        num_queries=len(rows),
        num_failed=sum(error is None for error in errors),
        recall=recall(errors),
        intervals=tuple(wilson_interval(count, len(rows)) for count in counts),
        median_position_error_m=_finite(_median(position)),
        median_rotation_error_deg=_finite(_median(rotation)),
        median_position_interval_m=tuple(_finite(end) for end in median_interval(position)),
        inlier_ratio_before=_mean(row.inlier_ratio_before for row in rows),
        inlier_ratio_after=_mean(row.inlier_ratio_after for row in rows),
        seconds_per_query=float(np.mean([row.total_seconds for row in rows])),
        seconds={stage: float(np.mean([row.seconds.get(stage, 0.0) for row in rows])) for stage in stages},
    )


def position_errors(rows: Iterable[QueryRow]) -> list[float]:
    """Errors in m, infinite without a pose."""
    return [np.inf if row.error is None else row.error.position_m for row in rows]


def rotation_errors(rows: Iterable[QueryRow]) -> list[float]:
    """Errors in deg, infinite without a pose."""
    return [np.inf if row.error is None else row.error.rotation_deg for row in rows]


def _median(values: Sequence[float]) -> float:
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low if low == high else (low + high) / 2)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def table_text(rows: Sequence[TableRow]) -> str:
    """The lines as plain text, for a terminal."""
    limits = "".join(f"{f'{metres:g} m, {degrees:g} deg':>14}" for metres, degrees in THRESHOLDS)
    head = f"{'kind':9} {'condition':11} {'method':28}{'queries':>8}{limits}{'inliers':>15}{'s/query':>9}"
    return "\n".join([head, *map(_line, rows)])


def _line(row: TableRow) -> str:
    shares = "".join(f"{share:12.1f} %" for share in row.recall)
    ratios = [row.inlier_ratio_before, row.inlier_ratio_after]
    known = " -> ".join("?" if ratio is None else f"{100 * ratio:.0f} %" for ratio in ratios)
    start = f"{row.kind:9} {row.condition:11} {row.line:28}{row.num_queries:8d}"
    return f"{start}{shares}{known:>15}{row.seconds_per_query:9.2f}"
