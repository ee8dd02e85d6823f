"""What an evaluation leaves on disk: result.json, tables as CSV, poses as visuallocalization.net takes them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.evaluation.rows import QueryRow, row_from_json, row_to_json
from core.evaluation.summary import TableRow, rows_by_kind, rows_by_scene
from core.images import write_atomic
from core.scene.submission import write_submission

RESULT = "result.json"
RESULT_KEYS = (
    "scene",
    "kind",
    "method",
    "labels",
    "condition",
    "num_queries",
    "recall",
    "median_position_error_m",
    "median_rotation_error_deg",
    "seconds_per_query",
)
_INTERVALS = ("low", "high")


def write_results(out: Path, rows: Sequence[QueryRow], about: dict[str, Any], names: str = "full") -> None:
    """Write result.json, table.csv, queries.csv and poses/ into ``out``. ``about``: settings and seed, as plain values.

    result.json: "rows" holds one object a scene, method, labels and condition with exactly ``RESULT_KEYS``; beside it
    "details" (intervals, inlier ratios, stages; same order), "pooled" (over the scenes of a kind) and "queries".
    """
    by_scene, by_kind = rows_by_scene(rows), rows_by_kind(rows)
    result = {
        "rows": [{key: asdict(row)[key] for key in RESULT_KEYS} for row in by_scene],
        "details": [{key: value for key, value in asdict(row).items() if key not in RESULT_KEYS} for row in by_scene],
        "pooled": [asdict(row) for row in by_kind],
        "queries": [row_to_json(row) for row in rows],
        "about": about,
    }
    write_text(out / RESULT, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    write_text(out / "table.csv", _csv([_flat(row) for row in by_scene + by_kind]))
    write_text(out / "queries.csv", _csv([_flat_query(row) for row in rows]))
    for line, own in _by_line(rows).items():
        poses = {row.query: row.pose for row in own if row.pose is not None}
        write_submission(out / "poses" / f"{_file_name(line)}.txt", poses, names)


def read_queries_of_result(path: str | Path) -> list[QueryRow]:
    """Read the query rows of a result.json. Raises InputError that starts with its path."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such result file; expected the result.json of an evaluation")
    try:
        return [row_from_json(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["queries"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the result.json of an evaluation ({type(error).__name__}: {error})") from error


def _by_line(rows: Sequence[QueryRow]) -> dict[str, list[QueryRow]]:
    groups: dict[str, list[QueryRow]] = {}
    for row in rows:
        groups.setdefault("_".join(part for part in (row.scene, row.method, row.labels) if part), []).append(row)
    return groups


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "poses"


def _flat(row: TableRow) -> dict[str, Any]:
    values = asdict(row)
    seconds, limits, found = values.pop("seconds"), values.pop("intervals"), values.pop("recall")
    median = values.pop("median_position_interval_m")
    for name, share, limit in zip(("high", "medium", "coarse"), found, limits, strict=True):
        values |= {f"recall_{name}": share} | {f"recall_{name}_{end}": value for end, value in zip(_INTERVALS, limit)}
    values |= {f"median_position_error_m_{end}": value for end, value in zip(_INTERVALS, median)}
    return values | {f"seconds_{stage}": value for stage, value in seconds.items()}


def _flat_query(row: QueryRow) -> dict[str, Any]:
    values = row_to_json(row)
    seconds = values.pop("seconds")
    for name, length in (("qvec", 4), ("tvec", 3)):
        numbers = values.pop(name) or [None] * length
        values |= dict(zip((f"{name}_{k}" for k in range(length)), numbers))
    return values | {f"seconds_{stage}": value for stage, value in seconds.items()}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_atomic(path, lambda name: Path(name).write_text(text, encoding="utf-8", newline="\n"))
