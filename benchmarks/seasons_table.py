"""The text of the seasons benchmark: docs/seasons.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.seasons_fit import Fitted
from benchmarks.seasons_tuning import Tried
from core.evaluation.intervals import PairedComparison
from core.evaluation.paired import paired
from core.evaluation.paper import paper_recall
from core.evaluation.recall import THRESHOLDS, within
from core.evaluation.rows import QueryRow
from core.evaluation.summary import CHANGED, TableRow, rows_by_kind, rows_by_scene
from core.sequences import OdometryNoise

OUTSIDE = ("PoseLib", "pycolmap")
WEIGHTED = "p3p, drawn by descriptors"
STRICT = "ssmc, as strict as the paper"
MAJORITY = "ssmc-soft, majority's labels"
DRAWN_ALONE, MATCHES_ALONE = "ssmc-soft, drawn alone", "ssmc-soft, matches alone"
UNGUIDED = ", no guided matches"
ON_THE_ROAD = ", on the road"
GPS_ERROR_M = 4.0
START_KNOWN = f"pfsl, start known to {GPS_ERROR_M:g} m"
LAX = ", no ratio test"
_NUM_RIGHT = (0, 5, 10, 20, 40)
_SENSITIVITY = "gsmc, oracle"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Study:
    """Everything that the benchmark found. ``num_labels`` of the networks by name, coarse first; ``fitted``: None where no soft
    labels were used.
    """

    rankings: Mapping[str, Sequence[Tried]]
    rows: Sequence[QueryRow]
    studied: Sequence[QueryRow]
    real_rows: Sequence[QueryRow]
    real_notes: Sequence[str]
    num_labels: Mapping[str, int]
    fitted: Fitted | None
    difficulty: str
    seeds: Mapping[str, str]
    conditions: Sequence[str]
    seed: int
    notes: Sequence[str]
    seconds: float


def seasons_text(study: Study, command: str, machine: str) -> str:
    """The whole text in Markdown."""
    rows = [row for row in study.rows if row.has_truth]
    pooled = rows_by_kind(rows)
    changed = [row for row in pooled if row.condition == CHANGED]
    sections = {
        "Tuned first": _tuning(study),
        "Fitted on the tuning worlds": _fitted(study),
        "Changed conditions, all methods": f"{_main(changed, study.num_labels)}\n\n{_about_lines()}",
        "Who wins, on the same queries": _claims(rows, study.num_labels),
        "Where descriptors tell little": _lax(changed),
        "What labels keep of right and wrong matches": _kept(rows),
        "By how many matches are right": _by_right(rows),
        "By condition, at (0.5 m, 5°)": _by_condition(pooled, study),
        "What gravity and height must be worth": _sensitivity([row for row in study.studied if row.has_truth]),
        "Other libraries on the same matches": _outside(rows, changed),
        "Photographs": _photographs(study),
    }
    return _text("Localization across seasons: what labels add", study, command, machine, sections)


def checks_text(study: Study, command: str, machine: str) -> str:
    """The text of the checks alone, in Markdown."""
    rows = [row for row in study.rows if row.has_truth]
    changed = [row for row in rows_by_kind(rows) if row.condition == CHANGED]
    sections = {
        "Tuned first": _tuning(study),
        "Other libraries on the same matches": _outside(rows, changed),
        "What gravity and height must be worth": _sensitivity([row for row in study.studied if row.has_truth]),
        "The lines they are compared with": f"{_main(changed, study.num_labels)}\n\n{_claims(rows, study.num_labels)}",
    }
    return _text("Localization across seasons: checks beside the claim", study, command, machine, sections)


def sequences_text(study: Study, command: str, machine: str) -> str:
    """The text of drives at the program's defaults, in Markdown."""
    rows = [row for row in study.rows if row.has_truth]
    pooled = rows_by_kind(rows)
    changed = [row for row in pooled if row.condition == CHANGED]
    sections = {
        "Changed conditions": f"{_main(changed, study.num_labels)}\n\n{_about_lines()}",
        "Who wins, on the same queries": _claims(rows, study.num_labels),
        "By condition, at (0.5 m, 5°)": _by_condition(pooled, study),
    }
    return _text("Localization across seasons: drives at the program's defaults", study, command, machine, sections)


def _text(title: str, study: Study, command: str, machine: str, sections: Mapping[str, str]) -> str:
    parts = [f"## {name}\n\n{text}" for name, text in sections.items() if text]
    return "\n\n".join([f"# {title}", _setup(study, command, machine), *parts]) + "\n"


def _setup(study: Study, command: str, machine: str) -> str:
    queries = len({(row.scene, row.query) for row in study.rows})
    lines = [
        f"    {command}",
        "",
        f"Rendered worlds of seeds that nothing was trained on (test: {study.seeds['test']}; tuning: "
        f"{study.seeds['tuning']}); {study.difficulty}. Conditions: {', '.join(study.conditions)}; the map is of overcast. "
        f"{queries} test queries, seed {study.seed}. {machine}; {study.seconds / 60:.0f} minutes in this run, without what was "
        "finished before.",
        "",
        "Recall is the percent of the queries within (0.25 m, 2°) / (0.5 m, 5°) / (5 m, 10°); a missing pose is a failure. "
        "In brackets: the paper's number for a method of this kind on Extended CMU Seasons, other places and photographs.",
        *(f"\n{note}" for note in study.notes),
    ]
    return "\n".join(lines)


def _tuning(study: Study) -> str:
    return "\n\n".join(_tuning_table(name, ranking) for name, ranking in study.rankings.items())


def _tuning_table(name: str, ranking: Sequence[Tried]) -> str:
    """The best five settings and the worst."""
    best = ranking[0].setting.name
    shown = list(ranking[:5]) + [one for one in ranking[-1:] if one not in ranking[:5]]
    body = [[one.setting.name, *(f"{share:.1f}" for share in one.recall)] for one in shown]
    whole = {"p3p": "plain P3P and the other libraries", WEIGHTED: "this line"}
    what = whole.get(name, "soft labels" if name.startswith("ssmc-soft") else "SSMC and GSMC")
    words = (
        f"{name}: {len(ranking)} settings on the tuning worlds, changed conditions, mean over kinds. Taken below for {what}: "
        f"{best}. First five and the worst:"
    )
    return f"{words}\n\n{_table(['setting', '0.25 m, 2°', '0.5 m, 5°', '5 m, 10°'], body)}"


def _fitted(study: Study) -> str:
    """What the soft labels were fitted to, and what came out."""
    if study.fitted is None:
        return ""
    body = []
    for name, fit in study.fitted.fits.items():
        config, counts = fit.config, f"{fit.num_matches} of {fit.num_queries} queries, {100 * fit.share_right:.0f} % right"
        trust = f"{config.trust:.2f}" if name else "no labels"
        losses = f"{fit.loss_before:.3f} → {fit.loss_after:.3f}"
        body.append([name or WEIGHTED, counts, f"{config.bias:.2f}", f"{config.slope:.2f}", trust, losses])
    tried = "; ".join(f"{value:g}: {_three(recall)}" for value, recall in study.fitted.tried.items())
    words = (
        "How likely a match is right is a logistic curve of its descriptors' score and of its labels' log ratio, fitted to the "
        "tuning worlds' matches, of which the truth is known, one fit a network; every query counts the same. The loss is the "
        "mean log loss of a match with the shipped defaults and as fitted. The fitted values are used below."
    )
    header = ["labels", "matches", "bias", "slope", "trust", "loss"]
    text = f"{words}\n\n{_table(header, body)}"
    if not tried:
        return text
    return f"{text}\n\nTempering of gsmc-soft, by recall on the tuning worlds: {study.fitted.tempering:g} of {tried}."


def _about_lines() -> str:
    noise = OdometryNoise()
    return (
        "pfsl and the lines of drives follow each condition's queries as one drive: they are told more than the others, "
        "odometry. It is simulated: the true motion between two queries with normal errors of "
        f"{100 * noise.translation_share:g} % of the way and {noise.translation_floor_m:g} m along each axis, and of "
        f"{noise.rotation_deg_per_m:g}° a metre and {noise.rotation_floor_deg:g}° around each. pfsl begins without a prior: "
        "half of its first particles beside the mapping images that look most like the first query (VLAD over the map's "
        "descriptors), half beside all mapping cameras. "
        'Lines that say "start known" are told the first query\'s position instead, the truth with normal errors of the '
        "stated deviation along both level axes, as GPS has, and nothing of the queries after it. "
        "p3p-drive begins its tracks at the poses that descriptors alone give, ssmc-drive at those of soft labels, by which it "
        "also judges them; neither is told where it begins. Their poses know of the whole drive, those on the road only of the "
        "images up to their own. "
        f'"{WEIGHTED}" uses the RANSAC of the methods with labels and weights without labels, drawn and counted as tuned: what '
        "these find beyond it is owed to labels. Soft labels draw each match as likely as it is right, count it so where it "
        "agrees with a pose, and verify the best poses by the labels of all that these see of the map: "
        f'With `--lines stages`, "{DRAWN_ALONE}" does the first alone, "{MATCHES_ALONE}" the first two.'
    )


def _main(changed: Sequence[TableRow], num_labels: Mapping[str, int]) -> str:
    kinds = list(dict.fromkeys(row.kind for row in changed))
    body = []
    for line in _lines(changed):
        own = {row.kind: row for row in changed if row.line == line}
        first = next(iter(own.values()))
        cells = [_cell(own[kind], num_labels) if kind in own else "" for kind in kinds]
        cells.append(_three([float(np.mean(shares)) for shares in zip(*(row.recall for row in own.values()))]))
        known = [own[kind].inlier_ratio_after for kind in kinds if kind in own]
        ratios = [f"{100 * ratio:.0f}" for ratio in known if ratio is not None]
        seconds = sum(row.seconds_per_query for row in own.values()) / len(own)
        body.append([first.method, first.labels, *cells, " / ".join(ratios), f"{seconds:.2f}"])
    counts = [f"{kind} ({max(row.num_queries for row in changed if row.kind == kind)})" for kind in kinds]
    header = ["method", "labels", *counts, "mean over kinds", "right matches, %", "s a query"]
    words = "The small interval is Wilson's 95 % of the middle number. Right matches: after the semantic step, as drawn."
    return f"{words}\n\n{_table(header, body)}"


def _lines(rows: Sequence[TableRow]) -> list[str]:
    """The lines of the main table: no study, no other library."""
    shown = [row for row in rows if row.method not in OUTSIDE and not row.method.endswith(LAX)]
    return list(dict.fromkeys(row.line for row in shown))


def _cell(row: TableRow, num_labels: Mapping[str, int]) -> str:
    paper = paper_recall("ssmc" if row.method == STRICT else row.method, num_labels.get(row.labels, 0), row.kind)
    low, high = row.intervals[1]
    beside = f" [{_three(paper)}]" if paper else ""
    return f"{_three(row.recall)} ({low:.0f} to {high:.0f}){beside}"


def _three(numbers: Sequence[float]) -> str:
    return " / ".join(f"{number:.1f}" for number in numbers)


def claims(num_labels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of lines (worse, better) that the claim puts in order, as far as the networks are there."""
    names = list(num_labels)
    if not names:
        return []
    coarse, fine = names[0], names[min(1, len(names) - 1)]
    pairs = [("p3p", f"ssmc {coarse}")]
    pairs += [(f"ssmc {coarse}", f"ssmc {name}") for name in names[1:]]
    pairs += [("p3p", f"{STRICT} {coarse}"), ("p3p", f"{STRICT} {fine}"), (f"{STRICT} {coarse}", f"{STRICT} {fine}")]
    pairs += [("p3p", WEIGHTED), (WEIGHTED, f"ssmc {fine}"), (WEIGHTED, f"ssmc-soft {fine}")]
    pairs += [
        ("p3p", f"ssmc {fine}"),
        ("p3p", f"ssmc-soft {fine}"),
        (f"ssmc {fine}", f"ssmc-soft {fine}"),
        (f"ssmc {fine}", f"gsmc {fine}"),
    ]
    pairs += [(f"gsmc {fine}", f"gsmc-soft {fine}"), (f"ssmc-soft {fine}", f"pfsl {fine}")]
    pairs += [(f"ssmc {name}", f"ssmc-soft {name}") for name in names[2:]]
    stages = [f"{name} {fine}" for name in (DRAWN_ALONE, MATCHES_ALONE, "ssmc-soft")]
    pairs += [(WEIGHTED, stages[0]), (WEIGHTED, stages[1]), *pairwise(stages), (f"gsmc {fine}", stages[2])]
    pairs += [(f"{MAJORITY} {fine}", f"ssmc-soft {fine}")]
    pairs += [(f"p3p{UNGUIDED}", "p3p"), (f"ssmc-soft{UNGUIDED} {fine}", f"ssmc-soft {fine}")]
    pairs += [(f"gsmc-soft {fine}", f"ssmc-soft {fine}")]
    drive = f"ssmc-drive {fine}"
    pairs += [("p3p", "p3p-drive"), ("p3p-drive", drive), (f"ssmc-soft {fine}", drive)]
    pairs += [(f"{other} {fine}", f"{START_KNOWN} {fine}") for other in ("gsmc", "ssmc-soft")]
    pairs += [("p3p", f"{START_KNOWN} {fine}"), (f"{START_KNOWN} {fine}", drive)]
    pairs += [(f"ssmc-soft {fine}", f"ssmc-drive{ON_THE_ROAD} {fine}"), (f"ssmc-drive{ON_THE_ROAD} {fine}", drive)]
    pairs += [(f"ssmc-soft {fine}", f"ssmc-soft {name}") for name in (coarse, *names[2:])]
    pairs += [(f"p3p, uniform{LAX}", f"ssmc{LAX} {coarse}"), (f"p3p, uniform{LAX}", f"ssmc{LAX} {fine}")]
    pairs += [(f"p3p{LAX}", f"ssmc{LAX} {fine}"), (f"ssmc{LAX} {coarse}", f"ssmc{LAX} {fine}")]
    pairs += [(f"p3p{LAX}", f"ssmc-soft{LAX} {fine}"), (f"ssmc-soft{LAX} {coarse}", f"ssmc-soft{LAX} {fine}")]
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def _claims(rows: Sequence[QueryRow], num_labels: Mapping[str, int]) -> str:
    body = []
    for first, second in claims(num_labels):
        for kind in [*dict.fromkeys(row.kind for row in rows), "all"]:
            own = [row for row in rows if row.changed and kind in (row.kind, "all")]
            found = paired(own, first, second)
            if found is not None:
                body.append([f"{first} → {second}", kind, *_gain(found)])
    words = (
        "Change of recall at (0.5 m, 5°) on changed conditions, in points, with its 95 % interval (whole worlds resampled); "
        "won and lost: queries that only the second or only the first finds; p: exact McNemar test."
    )
    header = ["from → to", "kind", "queries", "gain", "95 % interval", "won", "lost", "p"]
    return f"{words}\n\n{_table(header, body)}"


def _gain(found: PairedComparison) -> list[str]:
    interval = f"{found.low:+.1f} to {found.high:+.1f}"
    wins = [str(found.only_second), str(found.only_first)]
    return [str(found.num_queries), f"{found.gain:+.1f}", interval, *wins, f"{found.p_value:.2g}"]


def _lax(changed: Sequence[TableRow]) -> str:
    lines = list(dict.fromkeys(row.line for row in changed if row.method.endswith(LAX)))
    if not lines:
        return ""
    kinds = list(dict.fromkeys(row.kind for row in changed))
    body = []
    for line in lines:
        own = [row for row in changed if row.line == line]
        before = [f"{100 * row.inlier_ratio_before:.1f}" for row in own if row.inlier_ratio_before is not None]
        after = [f"{100 * row.inlier_ratio_after:.1f}" for row in own if row.inlier_ratio_after is not None]
        body.append([line, *(_three(row.recall) for row in own), " / ".join(before), " / ".join(after)])
    words = (
        "Every keypoint is matched to its nearest point, however near the second is: what is left to labels where seasons or "
        "repetition spoil descriptors. PROSAC still draws by the ratio, uniform does not know it."
    )
    return f"{words}\n\n{_table(['method', *kinds, 'right before, %', 'right as drawn, %'], body)}"


def _kept(rows: Sequence[QueryRow]) -> str:
    """From the shares of right matches before and after the semantic step, and the numbers of both."""
    chosen = [row for row in rows if row.changed and row.method.removesuffix(LAX) in ("ssmc", STRICT)]
    body = []
    for line in dict.fromkeys(row.line for row in chosen):
        for kind in dict.fromkeys(row.kind for row in chosen):
            own = [row for row in chosen if (row.line, row.kind) == (line, kind) and row.inlier_ratio_before is not None]
            right = sum(row.num_matches * row.inlier_ratio_before for row in own)
            wrong = sum(row.num_matches for row in own) - right
            kept = sum(row.num_kept * (row.inlier_ratio_after or 0.0) for row in own)
            wrong_kept = sum(row.num_kept for row in own) - kept
            if min(right, wrong, wrong_kept) > 0:
                shares = [kept / right, wrong_kept / wrong]
                counts = [f"{count / len(own):.0f}" for count in (right, wrong)]
                times = f"{shares[0] / shares[1]:.1f}"
                body.append([line, kind, *counts, *(f"{100 * share:.0f}" for share in shares), times])
    words = (
        "Matches a query on changed conditions, and the percent of the right and of the wrong ones that keep their label. The "
        "last column is how many times more of the right ones stay: what labels are worth. A few right matches must be left."
    )
    header = ["method", "kind", "right", "wrong", "right kept, %", "wrong kept, %", "times"]
    return f"{words}\n\n{_table(header, body)}"


def _by_right(rows: Sequence[QueryRow]) -> str:
    """Recall at (0.5 m, 5 deg), by how many of the matches that plain P3P has of a query are right."""
    asked = [row for row in rows if row.changed]
    known = [row for row in asked if row.method == "p3p" and row.inlier_ratio_before is not None]
    right = {(row.scene, row.query): row.num_matches * row.inlier_ratio_before for row in known}
    groups = {query: int(np.searchsorted(_NUM_RIGHT, count, side="right")) - 1 for query, count in right.items()}
    body = []
    for line in dict.fromkeys(row.line for row in asked):
        found: dict[int, list[bool]] = {}
        for row in asked:
            if row.line == line and (row.scene, row.query) in groups:
                hit = row.error is not None and within(row.error, THRESHOLDS[1])
                found.setdefault(groups[row.scene, row.query], []).append(hit)
        shares = [f"{100 * sum(found[k]) / len(found[k]):.0f}" if k in found else "" for k in range(len(_NUM_RIGHT))]
        body.append([line, *shares])
    counts = [sum(group == k for group in groups.values()) for k in range(len(_NUM_RIGHT))]
    ends = [f"{low} to {high - 1}" for low, high in pairwise(_NUM_RIGHT)] + [f"{_NUM_RIGHT[-1]} and more"]
    header = ["method", *(f"{end} right ({count})" for end, count in zip(ends, counts))]
    words = (
        "Percent within (0.5 m, 5°) of the queries on changed conditions, by how many of the matches of plain P3P as tuned are "
        "right; in brackets how many queries there are."
    )
    return f"{words}\n\n{_table(header, body)}"


def _by_condition(pooled: Sequence[TableRow], study: Study) -> str:
    lines = _lines(pooled)
    body = []
    for kind in dict.fromkeys(row.kind for row in pooled):
        for line in lines:
            own = {row.condition: row for row in pooled if row.kind == kind and row.line == line}
            body.append([kind, line, *(f"{own[c].recall[1]:.0f}" if c in own else "" for c in study.conditions)])
    return _table(["kind", "method", *study.conditions], body)


def _sensitivity(rows: Sequence[QueryRow]) -> str:
    changed = [row for row in rows_by_kind(rows) if row.condition == CHANGED]
    lines = list(dict.fromkeys(row.line for row in changed if row.method.startswith(_SENSITIVITY)))
    if not lines:
        return ""
    estimated = "gsmc " + next(row.labels for row in changed if row.line == lines[0])
    body = []
    for line in [estimated, *lines]:
        own = [row for row in changed if row.line == line]
        found = None if line == estimated else paired([row for row in rows if row.changed], estimated, line)
        beside = [""] * 5 if found is None else _gain(found)[1:]
        body.append([line, *(_three(row.recall) for row in own), *beside])
    kinds = list(dict.fromkeys(row.kind for row in changed))
    words = (
        f"On {len({(row.scene, row.query) for row in rows})} of the queries. "
        "GSMC takes gravity and height from the mapping cameras (first line). The oracle reads the truth, made wrong by normal "
        "errors of the stated deviations; the gain is over the first line at (0.5 m, 5°), on the same queries."
    )
    header = ["gravity and height", *kinds, "gain", "95 % interval", "won", "lost", "p"]
    return f"{words}\n\n{_table(header, body)}"


def _outside(rows: Sequence[QueryRow], changed: Sequence[TableRow]) -> str:
    ours = f"p3p{UNGUIDED}" if any(row.line == f"p3p{UNGUIDED}" for row in rows) else "p3p"
    body = []
    for name in OUTSIDE:
        found = paired([row for row in rows if row.changed], ours, name)
        own = [row for row in changed if row.method == name]
        if found is not None:
            agree = found.num_queries - found.only_first - found.only_second
            shares = [_three(row.recall) for row in own]
            wins = [f"{agree} of {found.num_queries}", str(found.only_first), str(found.only_second), f"{found.p_value:.2g}"]
            body.append([name, *shares, *wins])
    if not body:
        return ""
    kinds = list(dict.fromkeys(row.kind for row in changed))
    body.insert(0, [ours, *(_three(row.recall) for row in changed if row.line == ours), "", "", "", ""])
    words = (
        "With our threshold and smallest number of inliers, each with its own sampling and stopping rule, and none with guided "
        "matches. To agree is to find a query within (0.5 m, 5°), or not, as ours does."
    )
    return f"{words}\n\n{_table(['solver', *kinds, 'agree', 'only ours finds', 'only it finds', 'p'], body)}"


def _photographs(study: Study) -> str:
    parts = [f"- {note}" for note in study.real_notes]
    known = rows_by_scene(study.real_rows)
    if known:
        body = [[r.scene, r.condition, r.line, str(r.num_queries), _three(r.recall), _ratio(r)] for r in known]
        parts.append("\n" + _table(["scene", "condition", "method", "queries", "recall", "right matches, %"], body))
    unknown = [row for row in study.real_rows if not row.has_truth]
    if unknown:
        body = [
            [
                r.scene,
                r.query,
                r.line,
                (r.failure or "a pose").rsplit("/images/", 1)[-1],
                str(r.num_inliers),
                str(r.num_matches),
            ]
            for r in unknown
        ]
        parts.append("\nWithout a true pose; what is told is whether one was found:\n")
        parts.append(_table(["scene", "query", "method", "result", "inliers", "matches"], body))
    if any("synthetic" in row.condition for row in study.real_rows):
        parts.append("\nSynthetic night and haze are tone curves over the day's photographs; they are no other season.")
    return "\n".join(parts)


def _ratio(row: TableRow) -> str:
    known = [row.inlier_ratio_before, row.inlier_ratio_after]
    return " → ".join("?" if ratio is None else f"{100 * ratio:.0f}" for ratio in known)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)
