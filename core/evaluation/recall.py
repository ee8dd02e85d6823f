"""Share of queries localized within given errors: the table of the long-term localization benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.records import PoseError

THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))  # m and deg: high, medium, coarse precision (PAPER 4.1)
_NAMES = ("good", "fair", "poor")
OUTCOME_MARKS = {  # never told by colour alone; "" is what was not run yet
    "good": "●",
    "fair": "◐",
    "poor": "▲",
    "bad": "✕",
    "failed": "⊘",
    "unknown": "◇",
    "": "○",
}


@dataclass(frozen=True, slots=True)
class RecallRow:
    """One line of the table: ``percent`` within each of ``THRESHOLDS``, of ``num_queries``, ``num_failed`` without a pose."""

    condition: str
    num_queries: int
    num_failed: int
    percent: tuple[float, float, float]


def within(error: PoseError, threshold: tuple[float, float]) -> bool:
    """Both errors at most the threshold (m, deg); NaN is never within."""
    return error.position_m <= threshold[0] and error.rotation_deg <= threshold[1]


def recall(errors: Sequence[PoseError | None]) -> tuple[float, float, float]:
    """Percent of all queries within each of ``THRESHOLDS``; None (no pose) counts as a failure. No queries give 0."""
    count = max(1, len(errors))
    high, medium, coarse = (
        100.0 * sum(error is not None and within(error, threshold) for error in errors) / count for threshold in THRESHOLDS
    )
    return high, medium, coarse


def recall_table(items: Iterable[tuple[str, PoseError | None]]) -> tuple[RecallRow, ...]:
    """One row for each condition, in order of first occurrence, and a last row "all", from (condition, error) of each query.

    Give only queries whose true pose is known; a query that was not localized has the error None.
    """
    items = list(items)
    conditions = dict.fromkeys(condition for condition, _ in items)
    rows = [_row(name, [error for condition, error in items if condition == name]) for name in conditions]
    return (*rows, _row("all", [error for _, error in items]))


def outcome(error: PoseError | None, failed: bool) -> str:
    """Name the result of one query: "good", "fair" or "poor" by the first threshold it meets, else "bad".

    "failed" without a pose; "unknown" when there is a pose but no true pose to compare with.
    """
    if failed:
        return "failed"
    if error is None:
        return "unknown"
    for name, threshold in zip(_NAMES, THRESHOLDS, strict=True):
        if within(error, threshold):
            return name
    return "bad"


def _row(condition: str, errors: list[PoseError | None]) -> RecallRow:
    return RecallRow(condition, len(errors), sum(error is None for error in errors), recall(errors))
