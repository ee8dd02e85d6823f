"""A one-page HTML report: recall by condition, every query with its reason, pictures inside the file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.evaluation.page import page
from core.evaluation.recall import OUTCOME_MARKS, THRESHOLDS, RecallRow, outcome
from core.records import Localization, PoseError


@dataclass(frozen=True, slots=True)
class Figure:
    """A PNG with the sentence under it."""

    path: Path
    caption: str


def recall_text(recall: Sequence[RecallRow]) -> str:
    """The recall table as plain text."""
    limits = "".join(f"{f'{metres:g} m, {degrees:g} deg':>16}" for metres, degrees in THRESHOLDS)
    lines = [f"{'condition':16}{'queries':>8}{'no pose':>8}{limits}"]
    for row in recall:
        shares = "".join(f"{share:14.1f} %" for share in row.percent)
        lines.append(f"{row.condition:16}{row.num_queries:8d}{row.num_failed:8d}{shares}")
    return "\n".join(lines)


def html_report(
    title: str, lead: str, recall: Sequence[RecallRow], done: Sequence[Localization], figures: Sequence[Figure]
) -> str:
    """Return the page; it needs no other file."""
    parts = [
        f"<p>{html.escape(lead)}</p>",
        "<h2>Recall by condition</h2>",
        "<p>Percent of the queries whose pose lies within both limits of the truth; a missing pose counts as a failure.</p>",
        _recall_table(recall),
        "<h2>What a person sees</h2>",
        *map(_figure, figures),
        "<h2>Every query</h2>",
        _query_table(done),
    ]
    return page(title, parts)


def _recall_table(recall: Sequence[RecallRow]) -> str:
    limits = [f"{metres:g} m, {degrees:g}°" for metres, degrees in THRESHOLDS]
    rows = [[row.condition, row.num_queries, *(f"{share:.1f}" for share in row.percent)] for row in recall]
    return _table(["condition", "queries", *limits], rows, first_number=1)


def _query_table(done: Sequence[Localization]) -> str:
    rows = [_query_row(localization) for localization in done]
    header = ["query", "result", "keypoints", "matches", "inliers", "error, m", "error, °", "reason"]
    body = "".join(rows)
    return f"<table><tr>{_header(header, 2, 7)}</tr>{body}</table>"


def _query_row(localization: Localization) -> str:
    result, error = localization.result, localization.error
    word = outcome(error, failed=result.failure is not None)
    numbers: list[Any] = [len(localization.features), len(localization.matches), result.stats.num_inliers, *_errors(error)]
    cells = "".join(f"<td class=n>{number}</td>" for number in numbers)
    mark = f"<td class={word}>{OUTCOME_MARKS[word]} {word}</td>"
    name, reason = html.escape(localization.query.name), html.escape(result.failure or "")
    return f"<tr><td>{name}</td>{mark}{cells}<td>{reason}</td></tr>"


def _errors(error: PoseError | None) -> tuple[str, str]:
    return ("", "") if error is None else (f"{error.position_m:.2f}", f"{error.rotation_deg:.2f}")


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]], first_number: int) -> str:
    def cell(index: int, value: Any) -> str:
        return f"<td class=n>{value}</td>" if index >= first_number else f"<td>{html.escape(str(value))}</td>"

    body = "".join("<tr>" + "".join(cell(i, value) for i, value in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><tr>{_header(header, first_number, len(header))}</tr>{body}</table>"


def _header(names: Sequence[str], first_number: int, last_number: int) -> str:
    return "".join(
        f"<th class=n>{html.escape(name)}</th>" if first_number <= i < last_number else f"<th>{html.escape(name)}</th>"
        for i, name in enumerate(names)
    )


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    caption = html.escape(figure.caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
