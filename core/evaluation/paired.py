"""Two lines of a table on the queries that both have."""

from __future__ import annotations

from collections.abc import Sequence

from core.evaluation.compare import is_found
from core.evaluation.intervals import PairedComparison, compare_pairs
from core.evaluation.rows import QueryRow


def paired(rows: Sequence[QueryRow], first: str, second: str) -> PairedComparison | None:
    """Compare two lines of the table on the queries that both have; None where there are none."""
    a = {(row.scene, row.query): row for row in rows if row.line == first}
    b = {(row.scene, row.query): row for row in rows if row.line == second}
    shared = [key for key in a if key in b]
    if not shared:
        return None
    groups = [scene for scene, _ in shared] if len({scene for scene, _ in shared}) > 1 else None
    return compare_pairs([is_found(a[key]) for key in shared], [is_found(b[key]) for key in shared], groups)
