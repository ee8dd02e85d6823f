"""Pure functions: from the lines of an evaluation (QueryRow) to curves, tables and points. No pipelines here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.evaluation.recall import recall
from core.geometry import Array

ALL = "all"
LARGEST_M, SMALLEST_M = 50.0, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Lines that were read from ``source``; ``rows`` have the fields of core.evaluation.rows.QueryRow."""

    source: str
    rows: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class RecallLine:
    """One line of the table: recall in percent within each threshold, medians over all queries (None: most have no pose)."""

    condition: str
    method: str
    labels: str
    num_queries: int
    recall: tuple[float, float, float]
    median_position_m: float | None
    median_rotation_deg: float | None
    seconds: float

    @property
    def line(self) -> str:
        """Method and labels."""
        return f"{self.method} {self.labels}".strip()


def known_rows(rows: Iterable[Any]) -> list[Any]:
    """The rows whose truth is known: only they count."""
    return [row for row in rows if row.has_truth]


def recall_lines(rows: Iterable[Any]) -> list[RecallLine]:
    """A line for each condition, method and labels, conditions in their order, and "all" of each method last."""
    rows = known_rows(rows)
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.condition, row.method, row.labels), []).append(row)
    if len({condition for condition, _, _ in groups}) > 1:
        for row in rows:
            groups.setdefault((ALL, row.method, row.labels), []).append(row)
    order = list(dict.fromkeys([*(row.condition for row in rows), ALL]))
    ranked = sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    return [_line(condition, method, labels, own) for (condition, method, labels), own in ranked]


def _line(condition: str, method: str, labels: str, rows: Sequence[Any]) -> RecallLine:
    positions = [np.inf if row.position_error_m is None else row.position_error_m for row in rows]
    rotations = [np.inf if row.rotation_error_deg is None else row.rotation_error_deg for row in rows]
    return RecallLine(
        condition=condition,
        method=method,
        labels=labels,
        num_queries=len(rows),
        recall=recall([row.error for row in rows]),
        median_position_m=_median(positions),
        median_rotation_deg=_median(rotations),
        seconds=float(np.mean([row.total_seconds for row in rows])),
    )


def _median(values: Sequence[float]) -> float | None:
    middle = float(np.median(values))
    return middle if np.isfinite(middle) else None


def recall_curves(rows: Iterable[Any], condition: str = ALL) -> dict[tuple[str, str], tuple[Array, Array]]:
    """Percent of the queries within a position error, by (method, labels): errors (N,) m, rising, and shares (N,).

    A missing pose is an infinite error; the curves start at 0.01 m and end at 50 m.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for row in known_rows(rows):
        if condition in (ALL, row.condition):
            error = np.inf if row.position_error_m is None else row.position_error_m
            groups.setdefault((row.method, row.labels), []).append(error)
    return {key: _curve(np.sort(np.array(errors))) for key, errors in groups.items()}


def _curve(errors: Array) -> tuple[Array, Array]:
    inside = np.clip(errors[errors <= LARGEST_M], SMALLEST_M, None)
    at = np.concatenate([[SMALLEST_M], np.repeat(inside, 2), [LARGEST_M]])
    counts = np.concatenate([[0], np.repeat(np.arange(len(inside) + 1), 2)[1:-1], [len(inside)]])
    return at, 100.0 * counts / max(1, len(errors))


def scatter_rows(rows: Iterable[Any], condition: str = ALL) -> list[Any]:
    """The rows that have a place in the scatter: of the condition, with a pose and a known truth."""
    return [row for row in known_rows(rows) if row.error is not None and condition in (ALL, row.condition)]


def conditions_of(rows: Iterable[Any]) -> list[str]:
    """The conditions of the rows, in their order."""
    return list(dict.fromkeys(row.condition for row in known_rows(rows)))
