"""The report of an evaluation as one HTML file: the tables of the paper with its numbers beside, and recall curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.evaluation.intervals import PairedComparison, share_curve
from core.evaluation.page import Curve, chart, escape, legend, page, table
from core.evaluation.paired import paired
from core.evaluation.paper import paper_recall
from core.evaluation.recall import THRESHOLDS
from core.evaluation.rows import QueryRow
from core.evaluation.summary import (
    ALL,
    CHANGED,
    TableRow,
    position_errors,
    rotation_errors,
    rows_by_kind,
    rows_by_scene,
)

_LIMITS = [f"{metres:g} m, {degrees:g}°" for metres, degrees in THRESHOLDS]
_POSITION_TICKS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)
_ROTATION_TICKS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
_CURVE_STEPS = 80
_EXPLAIN = (
    f"<p>Percent of the queries whose pose lies within ({'), ('.join(_LIMITS)}) of the truth; a missing pose counts as a "
    "failure. Below each: the 95 % interval of the middle number, and in brackets what the paper reports for a method of "
    "this kind on Extended CMU Seasons. Its places and photographs are others: a yardstick, not a competitor.</p>"
)


def evaluation_report(
    title: str, lead: str, rows: Sequence[QueryRow], num_labels: Mapping[str, int], notes: Sequence[str] = ()
) -> str:
    """Return the page. ``num_labels`` of each network by its name, to find the paper's line that is comparable."""
    known = [row for row in rows if row.has_truth]
    pooled = rows_by_kind(known)
    parts = [f"<p>{escape(lead)}</p>", *(f"<p>{escape(note)}</p>" for note in notes)]
    if known:
        parts += _main_tables(pooled, num_labels)
        parts += _gains(known, num_labels)
        parts += _curves(known)
        parts += _condition_tables(pooled)
        parts += _scene_table(rows_by_scene(known))
    parts += _failures(rows)
    return page(title, parts)


def _main_tables(pooled: Sequence[TableRow], num_labels: Mapping[str, int]) -> list[str]:
    parts = []
    for condition, words in ((CHANGED, "Conditions other than the map's"), (ALL, "All conditions")):
        chosen = [row for row in pooled if row.condition == condition]
        if chosen:
            parts += [f"<h2>{words}</h2>", "" if parts else _EXPLAIN, _kinds_table(chosen, num_labels)]
    return parts


def _kinds_table(rows: Sequence[TableRow], num_labels: Mapping[str, int]) -> str:
    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = dict.fromkeys(row.line for row in rows)
    by_place = {(row.line, row.kind): row for row in rows}
    body = []
    for line in lines:
        of_line = [by_place.get((line, kind)) for kind in kinds]
        first = next(row for row in of_line if row is not None)
        body.append([escape(first.method), escape(first.labels), *(_cell(row, num_labels) for row in of_line)])
    header = ["method", "labels", *(f"{kind or 'scene'} ({_count(rows, kind)})" for kind in kinds)]
    return table(header, body, first_number=2)


def _count(rows: Sequence[TableRow], kind: str) -> str:
    return f"{max(row.num_queries for row in rows if row.kind == kind)} queries"


def _cell(row: TableRow | None, num_labels: Mapping[str, int]) -> str:
    if row is None:
        return "–"
    low, high = row.intervals[1]
    small = f"<small>{low:.0f} to {high:.0f}</small>"
    paper = paper_recall(row.method, num_labels.get(row.labels, 0), row.kind)
    beside = f"<small>[{_three(paper)}]</small>" if paper else ""
    return f"{_three(row.recall)}{small}{beside}"


def _three(numbers: Sequence[float]) -> str:
    return " / ".join(f"{number:.1f}" for number in numbers)


def _gains(rows: Sequence[QueryRow], num_labels: Mapping[str, int]) -> list[str]:
    """Against plain P3P on the same queries, where that is among the methods."""
    body = []
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind and row.changed] or [row for row in rows if row.kind == kind]
        for line in dict.fromkeys(row.line for row in own):
            second = [row for row in own if row.line == line]
            found = paired(own, "p3p", line)
            if line != "p3p" and found is not None:
                body.append([escape(kind), escape(line), *_gain_cells(found, _paper_gain(second[0], num_labels))])
    if not body:
        return []
    header = ["kind", "method", "queries", "gain, points", "95 % interval", "lost", "won", "p", "paper's gain"]
    words = (
        f"Change of the share within {_LIMITS[1]}, on the same queries (changed conditions where there are any). The interval "
        "resamples whole scenes where there are several; p is McNemar's exact test. Lost: only P3P finds the query."
    )
    return ["<h2>Against plain P3P RANSAC</h2>", f"<p>{words}</p>", table(header, body, first_number=2)]


def _gain_cells(found: PairedComparison, paper: float | None) -> list[str]:
    interval = f"{found.low:+.1f} to {found.high:+.1f}"
    numbers = [str(found.num_queries), f"{found.gain:+.1f}", interval, str(found.only_first), str(found.only_second)]
    return [*numbers, f"{found.p_value:.2g}", "" if paper is None else f"{paper:+.1f}"]


def _paper_gain(row: QueryRow, num_labels: Mapping[str, int]) -> float | None:
    base, better = (paper_recall(*line, row.kind) for line in (("p3p", 0), (row.method, num_labels.get(row.labels, 0))))
    return None if base is None or better is None else better[1] - base[1]


def _curves(rows: Sequence[QueryRow]) -> list[str]:
    parts = ["<h2>Recall curves</h2>", "<p>Share of the queries whose error is at most x; dotted: the limits of the table.</p>"]
    numbers = {line: number for number, line in enumerate(dict.fromkeys(row.line for row in rows))}
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind and row.changed] or [row for row in rows if row.kind == kind]
        words = f"{kind or 'scene'}, {'changed' if own[0].changed else 'all'} conditions"
        position = _lines(own, numbers, position_errors, _POSITION_TICKS)
        rotation = _lines(own, numbers, rotation_errors, _ROTATION_TICKS)
        metres, degrees = zip(*THRESHOLDS)
        parts += [
            f"<h3>{escape(words)}</h3>",
            legend(position),
            chart(position, "position error, m", _POSITION_TICKS, metres, f"Position, {words}"),
            chart(rotation, "rotation error, °", _ROTATION_TICKS, degrees, f"Rotation, {words}"),
        ]
    return parts


def _lines(rows: Sequence[QueryRow], numbers: Mapping[str, int], errors, ticks: Sequence[float]) -> list[Curve]:
    x = np.geomspace(ticks[0], ticks[-1], _CURVE_STEPS).tolist()
    return [
        Curve(line, number, x, share_curve(errors([row for row in rows if row.line == line]), x))
        for line, number in numbers.items()
        if any(row.line == line for row in rows)
    ]


def _condition_tables(pooled: Sequence[TableRow]) -> list[str]:
    parts = [
        "<h2>By condition</h2>",
        "<p>Inliers: share of the matches that are right under the true pose, all and chosen.</p>",
    ]
    for kind in dict.fromkeys(row.kind for row in pooled):
        own = [row for row in pooled if row.kind == kind and row.condition not in (ALL, CHANGED)]
        places = list(dict.fromkeys(row.condition for row in own))
        own.sort(key=lambda row: places.index(row.condition))
        header = ["condition", "method", "queries", "no pose", *_LIMITS, "median, m", "median, °", "inliers, %", "s a query"]
        parts += [f"<h3>{escape(kind or 'scene')}</h3>", table(header, [_condition_cells(row) for row in own], 2)]
    return parts


def _condition_cells(row: TableRow) -> list[str]:
    shares = [f"{share:.1f}<small>{low:.0f} to {high:.0f}</small>" for share, (low, high) in zip(row.recall, row.intervals)]
    medians = ["–" if v is None else f"{v:.2f}" for v in (row.median_position_error_m, row.median_rotation_error_deg)]
    ratios = ["?" if ratio is None else f"{100 * ratio:.0f}" for ratio in (row.inlier_ratio_before, row.inlier_ratio_after)]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in row.seconds.items())
    time = f"{row.seconds_per_query:.2f}<small>{escape(stages)}</small>"
    counts = [str(row.num_queries), str(row.num_failed)]
    return [escape(row.condition), escape(row.line), *counts, *shares, *medians, " → ".join(ratios), time]


def _scene_table(rows: Sequence[TableRow]) -> list[str]:
    if len({row.scene for row in rows}) < 2:
        return []
    header = ["scene", "condition", "method", "queries", *_LIMITS]
    body = [
        [escape(row.scene), escape(row.condition), escape(row.line), str(row.num_queries), *(f"{s:.1f}" for s in row.recall)]
        for row in rows
    ]
    return ["<details><summary>By scene</summary>", table(header, body, 3), "</details>"]


def _failures(rows: Sequence[QueryRow]) -> list[str]:
    """Why queries have no pose, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.failure is not None:
            key = row.line, row.failure.split(":")[0] if not row.refused else row.failure
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return []
    body = [[escape(line), escape(why), str(n)] for (line, why), n in sorted(counts.items(), key=lambda item: -item[1])]
    return ["<h2>Why queries have no pose</h2>", table(["method", "reason", "queries"], body, 2)]
