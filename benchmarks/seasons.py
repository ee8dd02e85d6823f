"""The seasons benchmark: which methods and labels localize what plain P3P loses, on worlds that nothing was trained on.

    python3 dev.py bench-seasons --work DIR --out docs/seasons.md

Stages: render worlds for tuning and for the test, tune plain P3P and SSMC, fit the soft labels on the tuning worlds'
matches, evaluate all methods, study what gravity and height must be worth, compare with other libraries on the same matches,
localize photographs. Every stage goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import seasons_tuning as tuning
from benchmarks.seasons_districts import write_districts
from benchmarks.seasons_fit import Fitted, best_tempering, fits_of, tempering_variants
from benchmarks.seasons_lines import (
    checked,
    claimed,
    few_matches,
    fine,
    followed,
    lax_variants,
    method_variants,
    outside_variants,
    sensitivity_variants,
)
from benchmarks.seasons_real import write_real_scenes
from benchmarks.seasons_scenes import AIMS, DIFFICULTIES, FRAME_SPACING_M, TEST_SEED, TUNING_SEED, SceneSet, write_scenes
from benchmarks.seasons_table import (
    DRAWN_ALONE,
    MATCHES_ALONE,
    WEIGHTED,
    Study,
    checks_text,
    seasons_text,
    sequences_text,
)
from core.evaluation.job import Job, Labelling, Variant
from core.evaluation.results import write_text
from core.evaluation.rows import QueryRow
from core.evaluation.runner import Evaluation, Workers, evaluate
from core.evaluation.summary import CHANGED, rows_by_kind, table_text
from core.localizer.gsmc import GsmcConfig
from core.localizer.matching import MatchConfig
from core.localizer.pipeline import LocalizerConfig
from core.records import Progress
from core.steps import finish
from core.world.conditions import CONDITIONS
from core.world.export import REFERENCE_CONDITION
from core.world.geometry import KINDS
from fgsn_viewer.cli_values import add_cameras, non_negative_float, parse_size, positive_float, positive_int, seed_number
from fgsn_viewer.commands_evaluation import labelling_of, write_evaluation

LINES = ("claim", "stages", "all", "checks", "sequences")
HARDNESS = (0.6, 0.8, 1.0, 1.2)
"""Times the difficulty of each kind: what --study-difficulty tries on the tuning worlds, to choose how hard it shall be."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    plan = plan_of(options)
    show = _Watch()
    if options.study_difficulty:
        print(finish(study_difficulty(plan), show))
        return 0
    labellings = tuple(labelling_of(weights) for weights in options.weights)
    alone = {"checks": (check, checks_text), "sequences": (follow, sequences_text)}
    do, text = alone.get(plan.lines, (run, seasons_text))
    study = finish(do(plan, labellings), show)
    command = " ".join(["python3 dev.py bench-seasons", *(sys.argv[1:] if arguments is None else arguments)])
    write_text(options.out, text(study, command, machine()))
    print(f"\n{options.out} and {options.work / 'test' / 'report.html'}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="dev.py bench-seasons", description=__doc__.splitlines()[0])
    made.add_argument("--work", type=Path, required=True, metavar="DIR", help="scenes and finished results; resumable")
    made.add_argument("--out", type=Path, default=Path("docs/seasons.md"), metavar="FILE")
    made.add_argument(
        "--weights",
        nargs="+",
        default=["world-19", "world-200", "world-100"],
        help="networks: a coarse vocabulary first, then the one that the claim is about",
    )
    made.add_argument("--scenes", type=positive_int, default=3, help="test worlds a kind; the n-th of all kinds share a map")
    made.add_argument(
        "--test-seed",
        type=positive_int,
        default=TEST_SEED,
        metavar="N",
        help=f"the first urban test world's (default: {TEST_SEED}); others repeat the test where no choice has looked",
    )
    made.add_argument("--tuning-scenes", type=positive_int, default=1, help="worlds a kind to tune plain P3P on")
    made.add_argument("--queries", type=positive_int, default=12, help="frames of each condition's drive")
    made.add_argument("--tuning-queries", type=positive_int, default=4, help="the same for the worlds to tune on")
    made.add_argument(
        "--lines",
        default=LINES[0],
        choices=LINES,
        help="the claim's methods alone, what each stage of soft labels adds too, every study beside it; or only "
        "the checks: other libraries on the same matches, and how well GSMC must know gravity and height; or only what follows "
        "drives, with the other methods beside it, all at the program's defaults",
    )
    made.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    made.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=CONDITIONS)
    made.add_argument("--size", type=parse_size, default=(640, 480), metavar="WxH")
    made.add_argument("--num-reference", type=positive_int, help="of all kinds, as the next three (default: each its own)")
    made.add_argument("--spacing", type=positive_float, metavar="M")
    made.add_argument("--lateral", type=non_negative_float, metavar="M")
    made.add_argument("--yaw", type=non_negative_float, metavar="DEG")
    add_cameras(made)
    made.add_argument("--photographs", type=Path, metavar="DIR", help="folder of the photograph sets, each optional")
    made.add_argument("--workers", type=positive_int, default=1)
    made.add_argument("--scheduler", default="", metavar="ADDRESS", help="Dask scheduler")
    made.add_argument("--seed", type=seed_number, default=0)
    made.add_argument("--quick", action="store_true", help="one small world a kind, two queries, two conditions: does it run?")
    made.add_argument("--study-difficulty", action="store_true", help="only print how hard several settings are for plain P3P")
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the options ask for."""

    work: Path
    tuning: SceneSet
    test: SceneSet
    photographs: Path | None
    workers: Workers
    seed: int
    quick: bool
    lines: str


def plan_of(options: argparse.Namespace) -> Plan:
    asked = {"num_reference": options.num_reference, "spacing_m": options.spacing}
    asked |= {"lateral_m": options.lateral, "yaw_deg": options.yaw}
    asked = {name: value for name, value in asked.items() if value is not None}
    difficulties = {kind: replace(DIFFICULTIES[kind], **asked) for kind in options.kinds}
    queries, conditions, size = options.queries, tuple(options.conditions), options.size
    scenes, tuning_scenes = options.scenes, options.tuning_scenes
    if options.quick:
        queries, conditions, size, scenes, tuning_scenes = 2, conditions[:1] + conditions[-1:], (320, 240), 1, 1
        difficulties = {kind: replace(hard, num_reference=min(6, hard.num_reference)) for kind, hard in difficulties.items()}
    test = SceneSet(
        first_seed=options.test_seed,
        count=scenes,
        num_queries=queries,
        difficulties=difficulties,
        kinds=tuple(options.kinds),
        conditions=conditions,
        size=size,
        camera_yaws_deg=tuple(options.cameras),
    )
    workers = Workers(options.workers, options.scheduler)
    fewer = queries if options.quick else options.tuning_queries
    # Single images are tuned on: fewer of them see as much of a street as the test's drives do.
    apart_m = FRAME_SPACING_M * queries / fewer
    tuned = replace(test, first_seed=TUNING_SEED, count=tuning_scenes, num_queries=fewer, frame_spacing_m=apart_m)
    return Plan(options.work.resolve(), tuned, test, options.photographs, workers, options.seed, options.quick, options.lines)


def run(plan: Plan, labellings: tuple[Labelling, ...]) -> Generator[Progress, None, Study]:
    """Do all stages; return everything that the text needs."""
    started = time.perf_counter()
    tuning_paths = yield from _districts(plan, plan.tuning)
    tried, rankings = yield from _tune(plan, tuning_paths, labellings)
    plain, *best = (ranking[0].setting.config() for ranking in rankings.values())
    names = [labelling.name for labelling in labellings]
    semantic = dict(zip(names, best))
    fitted = yield from fit(plan, tuning_paths, semantic, labellings)
    drawn = yield from tune_drawn(plan, tuning_paths, fitted, labellings)
    rankings |= {f"ssmc-soft {name}" if name else WEIGHTED: ranking for name, ranking in drawn.items()}
    soft = {n: tuning.drawn_config(r[0].setting, fitted.fits[n].config, n) for n, r in drawn.items()}
    stages = {} if plan.lines == "claim" else soft_stages(drawn, fitted, fine(labellings).name)
    strict = {name: tuning.ranked(tried.rows, plan.quick, name, tuning.PAPER)[0].setting.config("ssmc") for name in names}
    methods = method_variants(plain, semantic, soft, stages, labellings, fitted, strict)
    beside = lax_variants(methods) + outside_variants(plain) if plan.lines == "all" else ()
    methods = methods if plan.lines == "all" else claimed(methods, labellings, plan.lines == "stages")
    test_paths, found = yield from _test(plan, methods + beside, labellings)
    studied = () if plan.lines != "all" else (yield from _sensitivity(plan, test_paths, methods, labellings))
    real, notes = yield from _photographs(plan, methods, labellings)
    return _study(plan, labellings, started, rankings, found, studied, fitted, real, notes)


def check(plan: Plan, labellings: tuple[Labelling, ...]) -> Generator[Progress, None, Study]:
    """Only what stands beside the claim: other libraries on plain P3P's matches, and what GSMC must know, beside SSMC."""
    started = time.perf_counter()
    labellings = (fine(labellings),)
    tuning_paths = yield from _districts(plan, plan.tuning)
    _, rankings = yield from _tune(plan, tuning_paths, labellings)
    plain, semantic = (ranking[0].setting.config() for ranking in rankings.values())
    methods = checked(plain, semantic, labellings[0].name)
    test_paths, found = yield from _test(plan, methods, labellings)
    studied = yield from _sensitivity(plan, test_paths, methods, labellings)
    return _study(plan, labellings, started, rankings, found, studied)


def follow(plan: Plan, labellings: tuple[Labelling, ...]) -> Generator[Progress, None, Study]:
    """Only what follows drives, PFSL with and without a known start, beside the methods of single images; nothing is tuned."""
    started = time.perf_counter()
    _, found = yield from _test(plan, followed(labellings), labellings)
    return _study(plan, labellings, started, {}, found, ())


def _test(
    plan: Plan, variants: tuple[Variant, ...], labellings: tuple[Labelling, ...]
) -> Generator[Progress, None, tuple[tuple[Path, ...], Evaluation]]:
    """Evaluate on the test worlds and write the report; the scenes, and what was found."""
    scenes = yield from _districts(plan, plan.test)
    test_job = job(plan, scenes, variants, labellings)
    found = yield from evaluate(test_job, plan.work / "test", plan.workers)
    yield from write_evaluation(plan.work / "test", found, test_job)
    return scenes, found


def _study(
    plan: Plan,
    labellings: Sequence[Labelling],
    started: float,
    rankings: Mapping[str, Sequence[tuning.Tried]],
    found: Evaluation,
    studied: Sequence[QueryRow],
    fitted: Fitted | None = None,
    real_rows: Sequence[QueryRow] = (),
    real_notes: Sequence[str] = (),
) -> Study:
    return Study(
        rankings=rankings,
        rows=found.rows,
        studied=studied,
        real_rows=real_rows,
        real_notes=real_notes,
        num_labels={labelling.name: labelling.num_labels for labelling in labellings},
        fitted=fitted,
        difficulty=plan.test.difficulty_text,
        seeds={"tuning": plan.tuning.seeds_text if rankings else "none", "test": plan.test.seeds_text},
        conditions=plan.test.conditions,
        seed=plan.seed,
        notes=(*found.notes, *_without_statistics(labellings)),
        seconds=time.perf_counter() - started,
    )


def _tune(
    plan: Plan, scenes: tuple[Path, ...], labellings: Sequence[Labelling]
) -> Generator[Progress, None, tuple[Evaluation, dict[str, list[tuning.Tried]]]]:
    """Try all settings of plain P3P and of SSMC with each network; what was found, and the rankings, plain P3P's first."""
    names = [labelling.name for labelling in labellings]
    tuning_job = job(plan, scenes, tuning.variants(plan.quick, names), tuple(labellings))
    tried = yield from evaluate(tuning_job, plan.work / "tuning", plan.workers)
    ranked = {f"ssmc {name}".strip() if name else "p3p": tuning.ranked(tried.rows, plan.quick, name) for name in ("", *names)}
    return tried, ranked


def _districts(plan: Plan, scenes: SceneSet) -> Generator[Progress, None, tuple[Path, ...]]:
    streets = yield from write_scenes(scenes, plan.work / "scenes")
    return (yield from write_districts(streets, plan.work / "districts"))


def fit(
    plan: Plan, scenes: tuple[Path, ...], semantic: Mapping[str, LocalizerConfig], labellings: tuple[Labelling, ...]
) -> Generator[Progress, None, Fitted]:
    """Fit what soft labels need on the tuning worlds alone, to every keypoint's match."""
    every = LocalizerConfig(matching=MatchConfig(ratio=1.0))
    fits = yield from fits_of(job(plan, scenes, (), labellings), every, plan.work / "fit")
    if plan.lines != "all":
        return Fitted(fits, GsmcConfig().tempering, {})
    labels = fine(labellings).name
    variants = tempering_variants(few_matches(semantic[labels]), labels, fits[labels].config, plan.quick)
    found = yield from evaluate(job(plan, scenes, variants, labellings), plan.work / "tempering", plan.workers)
    return Fitted(fits, *best_tempering(found.rows))


def tune_drawn(
    plan: Plan, scenes: tuple[Path, ...], fitted: Fitted, labellings: tuple[Labelling, ...]
) -> Generator[Progress, None, dict[str, list[tuning.Tried]]]:
    """Rank the settings of matches drawn by soft labels, by network, and of those drawn by descriptors alone, under ""."""
    affinities = {name: one.config for name, one in fitted.fits.items()}
    stages = plan.lines != "claim"
    variants = tuning.drawn_variants(affinities, plan.quick, stages)
    tried = yield from evaluate(job(plan, scenes, variants, labellings), plan.work / "tuning-drawn", plan.workers)
    return {name: tuning.ranked_among(tried.rows, tuning.drawn_settings(plan.quick, name, stages), name) for name in affinities}


def soft_stages(drawn: Mapping[str, list[tuning.Tried]], fitted: Fitted, labels: str) -> dict[str, LocalizerConfig]:
    """Soft labels that go less far, by line, each with its own best settings: what drawing, counting and verifying each add."""
    named = {DRAWN_ALONE: tuning.DRAWN, MATCHES_ALONE: tuning.COUNTED}
    best = {name: next(one for one in drawn[labels] if one.setting.likely == likely) for name, likely in named.items()}
    return {name: tuning.drawn_config(one.setting, fitted.fits[labels].config, labels) for name, one in best.items()}


def _sensitivity(
    plan: Plan, scenes: tuple[Path, ...], methods: tuple[Variant, ...], labellings: tuple[Labelling, ...]
) -> Generator[Progress, None, tuple[QueryRow, ...]]:
    """GSMC with oracles of stated errors, beside GSMC as it is: every third changed condition of the first worlds."""
    estimated = next(one for one in methods if (one.name, one.labels) == ("gsmc", fine(labellings).name))
    studied = sensitivity_variants(estimated)
    first = scenes[:: plan.test.count]
    variants = (estimated, *(studied[3:4] if plan.quick else studied))
    changed = [condition for condition in plan.test.conditions if condition != REFERENCE_CONDITION]
    own = replace(job(plan, first, variants, labellings), conditions=() if plan.quick else tuple(changed[::3]))
    return (yield from evaluate(own, plan.work / "test", plan.workers)).rows


def _without_statistics(labellings: Sequence[Labelling]) -> list[str]:
    return [
        f"{labelling.name} has no label statistics: its soft methods and pfsl assume that every label keeps as often as any "
        "other and is mistaken for all alike, and none of its labels is known to move."
        for labelling in labellings
        if labelling.make().statistics is None
    ]


def _photographs(
    plan: Plan, variants: tuple[Variant, ...], labellings: tuple[Labelling, ...]
) -> Generator[Progress, None, tuple[tuple[QueryRow, ...], list[str]]]:
    paths, notes = yield from write_real_scenes(plan.photographs, plan.work / "photographs")
    if not paths:
        return (), notes
    real_job = job(plan, tuple(paths), variants, labellings)
    found: Evaluation = yield from evaluate(real_job, plan.work / "real", plan.workers)
    yield from write_evaluation(plan.work / "real", found, real_job)
    return found.rows, notes


def job(plan: Plan, scenes: tuple[Path, ...], variants: tuple[Variant, ...], labellings: tuple[Labelling, ...]) -> Job:
    return Job(scenes, variants, labellings, plan.work / "labels", plan.seed)


def study_difficulty(plan: Plan) -> Generator[Progress, None, str]:
    """Plain P3P at its defaults on the tuning worlds, nearer to and farther from what the map has seen."""
    texts = ["Aim, percent within (0.25 m, 2 deg): " + ", ".join(f"{kind} {share:g}" for kind, share in AIMS.items())]
    for factor in HARDNESS:
        scenes = replace(plan.tuning, difficulties={k: hard.times(factor) for k, hard in plan.tuning.difficulties.items()})
        paths = yield from _districts(plan, scenes)
        found = yield from evaluate(job(plan, paths, (Variant("p3p"),), ()), plan.work / "difficulty", plan.workers)
        table = table_text([row for row in rows_by_kind(found.rows) if row.condition == CHANGED])
        texts.append(f"{scenes.difficulty_text}\n{table}")
    return "\n\n".join(texts)


def machine() -> str:
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{system}, Python {platform.python_version()}, torch {torch.__version__}"


class _Watch:
    """Show progress on stderr: one line that changes on a terminal, elsewhere a line at most every half minute."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, step: Any) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{step.message}")
        elif time.monotonic() - self._last > 30:
            self._last = time.monotonic()
            share = "" if step.fraction is None else f"{100 * step.fraction:5.1f} %  "
            sys.stderr.write(f"{share}{step.message}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
