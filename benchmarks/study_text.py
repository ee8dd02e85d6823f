"""The text of the training study: docs/study.md, from the measured numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.aligned_photographs import MICHIGAN, STROMOVKA, TILDE
from benchmarks.study_measure import CAMVID, FAR, HELD_OUT
from benchmarks.study_rows import RowSpec

Measured = Mapping[str, Mapping[str, Any]]
MISSING = "-"
KINDS = ("urban", "suburban", "park")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StudyResult:
    """``rows`` with their numbers (None: not run yet); ``facts``: what the study was made with, one sentence each;
    ``skipped``: rows that were left out, with the reason; ``sift``: plain SIFT's headings by folder.
    """

    rows: Sequence[tuple[RowSpec, Measured | None]]
    facts: Sequence[str]
    skipped: Sequence[str] = ()
    sift: Mapping[str, Mapping[str, Any]] | None = None


def study_text(study: StudyResult) -> str:
    """The whole text in Markdown."""
    done = [(row, unseen(row, measured)) for row, measured in study.rows if measured is not None]
    waiting = [row.title for row, measured in study.rows if measured is None]
    sections = [
        "# Training study",
        "Labels across conditions, with and without what the paper proposes (PAPER 4.2) and beyond. Brackets: 95 % bootstrap "
        "intervals over image pairs (fixed cameras: over photographs; headings: over pairs, which share photographs). Each row "
        "is one training with one seed: intervals say nothing about another seed. Cluster labels are rewarded for being fine "
        "by bits, for being stable by kappa: read both with the effective labels and the heading.",
        "\n".join(f"- {fact}" for fact in study.facts),
    ]
    if waiting or study.skipped:
        sections.append("\n".join(f"- {line}" for line in [*(f"Not run yet: {title}." for title in waiting), *study.skipped]))
    sections += [
        "## Unseen worlds\n\nLabels at exact correspondences of the reference condition with every other one, pooled.",
        _table(_WORLD_COLUMNS, done),
        "## Night and snow on unseen worlds\n\nThe two conditions that change most; and kappa by kind of world.",
        _table(_HARD_COLUMNS, done),
        "## Photographs\n\nNot trained on, unless the command says so. Fixed cameras: every fourth pixel against itself in "
        "another photograph, what moves included. Classes: labels against annotations; mIoU when each label stands for the "
        "class most common in it in the other half of the images. Heading: share of pairs whose best shift by label agreement "
        "alone is right.",
        _table(_PHOTOGRAPH_COLUMNS, done) + _sift_lines(study.sift),
        "## Photographs: where the shift is known\n\nLabels at every eighth pixel above the horizon (the upper six tenths), "
        "moved by the true shift. It holds for what is far: near trees and posts are among the points, so that perfect labels "
        "do not reach 1.",
        _table(_FAR_COLUMNS, done),
        "## Photographs that no row trains on\n\nRows with photographs learn from the first two of the three cameras, places 1 "
        "to 3 of michigan and the first half of stromovka's frames, as their titles say; here every row is measured on the "
        "others alone (the last camera; places 4, indoors, and 5; the last 18 frames). Their other cells of trained sets are "
        "left empty.",
        _table(_HELD_OUT_COLUMNS, done),
        _controls(done),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def unseen(row: RowSpec, measured: Measured) -> Measured:
    """The numbers without those of data sets that the row trains on; what is held out of them stays."""
    return {
        name: numbers
        for name, numbers in measured.items()
        if name.endswith(HELD_OUT) or name.removesuffix(FAR) not in row.photographs
    }


def value(measured: Measured, *keys: str) -> float | None:
    """A number inside nested dicts, or None where it was not measured."""
    found: Any = measured
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _cell(measured: Measured, path: tuple[str, ...], digits: int = 3, scale: float = 1) -> str:
    """A number with its interval, where it has one."""
    found = value(measured, *path)
    if found is None or found != found:
        return MISSING
    text = f"{scale * found:.{digits}f}"
    bounds = value(measured, *path[:-1], "intervals", path[-1])
    if bounds is None or bounds[0] != bounds[0]:
        return text
    return f"{text} [{scale * bounds[0]:.{digits}f}, {scale * bounds[1]:.{digits}f}]"


def _four(where: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], int, float]]:
    return [
        ("kappa", (*where, "kappa"), 3, 1),
        ("bits", (*where, "mutual_information_bits"), 2, 1),
        ("NMI", (*where, "nmi"), 3, 1),
        ("effective labels", (*where, "effective_labels"), 1, 1),
    ]


_WORLD_COLUMNS = _four(("worlds", "all"))
_HARD_COLUMNS = [
    ("night kappa", ("worlds", "night", "kappa"), 3, 1),
    ("night bits", ("worlds", "night", "mutual_information_bits"), 2, 1),
    ("snow kappa", ("worlds", "snow", "kappa"), 3, 1),
    ("snow bits", ("worlds", "snow", "mutual_information_bits"), 2, 1),
    *((f"{kind} kappa", ("worlds", kind, "kappa"), 3, 1) for kind in KINDS),
]
_PHOTOGRAPH_COLUMNS = [
    *_four((TILDE,)),
    ("class NMI", (CAMVID, "nmi"), 3, 1),
    ("purity", (CAMVID, "purity"), 3, 1),
    ("mIoU", (CAMVID, "held_out_miou"), 3, 1),
    ("heading michigan, %", (MICHIGAN, "accuracy"), 1, 100),
    ("heading stromovka, %", (STROMOVKA, "accuracy"), 1, 100),
]
_FAR_COLUMNS = [
    (f"{name.split('_')[1]} {column}", *rest) for name in (MICHIGAN, STROMOVKA) for column, *rest in _four((name + FAR,))
]
_HELD_OUT_COLUMNS = [
    *((f"camera {column}", *rest) for column, *rest in _four((TILDE + HELD_OUT,))[:2]),
    *(
        column
        for name in (MICHIGAN, STROMOVKA)
        for column in (
            (f"{name.split('_')[1]} heading, %", (name + HELD_OUT, "accuracy"), 1, 100),
            (f"{name.split('_')[1]} far kappa", (name + FAR + HELD_OUT, "kappa"), 3, 1),
            (f"{name.split('_')[1]} far bits", (name + FAR + HELD_OUT, "mutual_information_bits"), 2, 1),
        )
    ),
]
_CONTROL_COLUMNS = [
    ("worlds kappa", ("worlds", "all", "kappa"), 3, 1),
    ("worlds bits", ("worlds", "all", "mutual_information_bits"), 2, 1),
    ("night bits", ("worlds", "night", "mutual_information_bits"), 2, 1),
    ("snow bits", ("worlds", "snow", "mutual_information_bits"), 2, 1),
    ("cameras kappa", (TILDE, "kappa"), 3, 1),
    ("cameras bits", (TILDE, "mutual_information_bits"), 2, 1),
    ("michigan, points", (MICHIGAN, "accuracy"), 1, 100),
    ("stromovka, points", (STROMOVKA, "accuracy"), 1, 100),
    ("michigan far kappa", (MICHIGAN + FAR, "kappa"), 3, 1),
    ("stromovka far kappa", (STROMOVKA + FAR, "kappa"), 3, 1),
]


def _table(columns: Sequence[tuple[str, tuple[str, ...], int, float]], rows: Sequence[tuple[RowSpec, Measured]]) -> str:
    cells = [[row.title, *(_cell(measured, path, d, s) for _, path, d, s in columns)] for row, measured in rows]
    return _markdown(["network", *(name for name, *_ in columns)], cells)


def _controls(rows: Sequence[tuple[RowSpec, Measured]]) -> str:
    """What each option changed; nothing where no row stands beside its control."""
    by_name = {row.name: (row, measured) for row, measured in rows}
    cells = []
    for row, measured in rows:
        if row.control in by_name:
            control, other = by_name[row.control]
            differences = [_difference(measured, other, path, d, s) for _, path, d, s in _CONTROL_COLUMNS]
            cells.append([row.title, control.title, *differences])
    if not cells:
        return ""
    about = (
        "Each row less its control: same start, images, steps and seed, and the same clusters unless the option is about them."
    )
    table = _markdown(["network", "control", *(name for name, *_ in _CONTROL_COLUMNS)], cells)
    return f"## What one option changes\n\n{about}\n\n{table}"


def _difference(measured: Measured, control: Measured, path: tuple[str, ...], digits: int, scale: float) -> str:
    pair = (value(measured, *path), value(control, *path))
    return MISSING if None in pair else f"{scale * (pair[0] - pair[1]):+.{digits}f}"


def _sift_lines(sift: Mapping[str, Mapping[str, Any]] | None) -> str:
    if not sift:
        return ""
    found = ", ".join(f"{name} {100 * row['accuracy']:.1f} % of {row['num_pairs']} pairs" for name, row in sift.items())
    return f"\n\nPlain SIFT (CLAHE, ratio 0.8, vote of shifts) on the same pairs: {found}."


def _markdown(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
