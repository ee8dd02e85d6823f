"""Compare two evaluations query by query: what broke, what was fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.evaluation.recall import THRESHOLDS, within
from core.evaluation.rows import QueryRow

FOUND = THRESHOLDS[1]


@dataclass(frozen=True, slots=True)
class Change:
    """One query that changed sides, with both rows."""

    before: QueryRow
    after: QueryRow

    @property
    def text(self) -> str:
        row = self.after
        return f"{row.scene}, {row.query}, {row.line}: {_state(self.before)} -> {_state(self.after)}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``broken``: found before, not now; ``fixed``: the reverse; ``missing``: results of before that are not there now."""

    num_compared: int
    broken: tuple[Change, ...]
    fixed: tuple[Change, ...]
    missing: tuple[QueryRow, ...]


def compare(before: Sequence[QueryRow], after: Sequence[QueryRow], limit: tuple[float, float] = FOUND) -> Comparison:
    """Match rows by scene, query, method and labels; found means within ``limit`` (m, deg).

    Queries without a true pose are found when they have a pose.
    """
    now = {row.identity: row for row in after}
    pairs = [Change(row, now[row.identity]) for row in before if row.identity in now]
    broken = [pair for pair in pairs if is_found(pair.before, limit) and not is_found(pair.after, limit)]
    fixed = [pair for pair in pairs if is_found(pair.after, limit) and not is_found(pair.before, limit)]
    missing = [row for row in before if row.identity not in now]
    return Comparison(len(pairs), tuple(broken), tuple(fixed), tuple(missing))


def is_found(row: QueryRow, limit: tuple[float, float] = FOUND) -> bool:
    if not row.has_truth:
        return row.qvec is not None
    return row.error is not None and within(row.error, limit)


def _state(row: QueryRow) -> str:
    if row.error is not None:
        return f"{row.error.position_m:.2f} m, {row.error.rotation_deg:.2f} deg"
    return "a pose" if row.qvec is not None else "no pose"
