"""The training study: what correspondences, re-clustering, the number of labels and our own options change.

    python3 dev.py study --work DIR --photographs DIR --out docs/study.md

Renders worlds to train on and others to measure on, trains one network a row from the same start, measures each. Whatever
`--work` holds already is kept, so that the same call goes on where it was stopped; the tables are written after each row.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.aligned_photographs import MICHIGAN, STROMOVKA, with_photographs
from benchmarks.sift_heading import sift_heading_accuracy
from benchmarks.study_measure import (
    TOLERANCE_PX,
    MeasureConfig,
    TimeSpent,
    heading_row,
    measure_row,
    quick_measures,
)
from benchmarks.study_rows import ANNOTATED, PLAIN, REFINED, ROWS, SURFACES, RowSpec
from benchmarks.study_text import Measured, StudyResult, study_text
from benchmarks.study_training import check_settings, config_of, load_start, study_base, train_row
from core.engine.dataset import PairData, TrainingSet
from core.engine.device import available_devices
from core.engine.models import ShippedConfig
from core.engine.season_data import Subset, open_pair_data
from core.engine.settings import changed
from core.engine.validation import spread
from core.engine.world_data import RenderConfig, render_set
from core.errors import InputError
from core.images import write_atomic
from core.records import Progress, settings_of
from core.steps import finish
from fgsn_viewer.cli_values import positive_int, seed_number
from resources import MODELS

HELD_OUT_SEED = 900_000
_MEASURED = "measured.json"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """A study to make: ``starts`` by kind of pre-training, ``changes`` of every row's settings."""

    work: Path
    out: Path
    rows: tuple[RowSpec, ...]
    starts: dict[str, Path]
    data: tuple[Path, ...]
    held_out: Path | None
    photographs: Path | None
    steps: int
    worlds: int
    seed: int
    views: int | None
    measures: MeasureConfig
    device: str = "cpu"
    changes: tuple[tuple[str, str], ...] = ()
    command: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        plan = plan_of(parser().parse_args(arguments), " ".join(["python3 dev.py study", *arguments]))
        finish(run(plan), _Watch())
    except InputError as error:
        sys.stderr.write(f"study: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("study: stopped; the same command goes on from here\n")
        return 130
    print(f"\n{plan.out}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="dev.py study", description=__doc__.splitlines()[0])
    made.add_argument("--work", type=Path, required=True, metavar="DIR", help="worlds, rows and numbers; resumable")
    made.add_argument("--out", type=Path, default=Path("docs/study.md"), metavar="FILE")
    made.add_argument(
        "--photographs", type=Path, metavar="DIR", help="tilde_webcam, camvid, grief_michigan, grief_stromovka in it"
    )
    made.add_argument("--rows", nargs="+", metavar="ROW", help=f"only these: {', '.join(row.name for row in ROWS)}")
    made.add_argument(
        "--quick", action="store_true", help="ten rows, few steps, few photographs: about 40 minutes on two cores"
    )
    made.add_argument("--steps", type=positive_int, metavar="N", help="training steps of a row (default: 600; quick: 150)")
    made.add_argument("--worlds", type=positive_int, metavar="N", help="worlds to train on (default: 48; quick: 16)")
    made.add_argument("--data", type=Path, nargs="+", default=[], metavar="DIR", help="train on these instead of new worlds")
    made.add_argument("--views", type=positive_int, metavar="N", help="train on N viewpoints only, evenly spread")
    made.add_argument("--held-out", type=Path, metavar="DIR", help="rendered set to measure on instead of a new one")
    made.add_argument(
        "--init", type=Path, metavar="WEIGHTS", help="network of 19 classes to begin with (default: the shipped one)"
    )
    made.add_argument("--init-plain", type=Path, metavar="WEIGHTS", help="the same, pre-trained without surfaces: for one row")
    made.add_argument("--init-refined", type=Path, metavar="WEIGHTS", help="the same, refined as train-world does: for one row")
    made.add_argument("--init-annotated", type=Path, metavar="WEIGHTS", help="the same, from worlds and CamVid: for one row")
    made.add_argument(
        "--short-side", type=positive_int, metavar="PX", help="seen by networks when measured (default: their own)"
    )
    made.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the training, for all rows")
    made.add_argument("--device", default="cpu", choices=available_devices())
    made.add_argument("--seed", type=seed_number, default=0)
    return made


def plan_of(options: argparse.Namespace, command: str) -> Plan:
    measures = quick_measures() if options.quick else MeasureConfig()
    if options.short_side:
        measures = replace(measures, short_side=options.short_side)
    _require(options)
    starts = {SURFACES: options.init or MODELS / "world-19.safetensors", PLAIN: options.init_plain}
    starts |= {REFINED: options.init_refined, ANNOTATED: options.init_annotated}
    return Plan(
        work=options.work,
        out=options.out,
        rows=chosen_rows(options.rows, options.quick),
        starts={name: path for name, path in starts.items() if path is not None},
        data=tuple(options.data),
        held_out=options.held_out,
        photographs=options.photographs,
        steps=options.steps or (150 if options.quick else 600),
        worlds=options.worlds or (16 if options.quick else 48),
        seed=options.seed,
        views=options.views,
        measures=measures,
        device=options.device,
        changes=tuple((name, value) for name, _, value in (text.partition("=") for text in options.set)),
        command=command,
    )


def _require(options: argparse.Namespace) -> None:
    """Raise InputError unless the inputs that were named are there."""
    for path in (options.init, options.init_plain, options.init_refined, options.init_annotated):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file, expected a network's weights")
    for path in (*options.data, options.held_out, options.photographs):
        if path is not None and not path.is_dir():
            raise InputError(f"{path}: no such folder")


def chosen_rows(names: Sequence[str] | None, quick: bool) -> tuple[RowSpec, ...]:
    """The rows of the names in the study's order, or all, or the quick ones. Raises InputError for unknown names."""
    known = {row.name for row in ROWS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"no rows called {', '.join(unknown)}; expected some of {', '.join(row.name for row in ROWS)}")
    return tuple(row for row in ROWS if (row.name in names if names else row.quick or not quick))


def run(plan: Plan) -> Generator[Progress, None, StudyResult]:
    """Make what is missing of the study and write its text after every row; return the result."""
    lacks = {row.name: _lack(plan, row) for row in plan.rows}
    skipped = [f"Left out: {row.title}, because {lacks[row.name]}." for row in plan.rows if lacks[row.name]]
    rows = [row for row in plan.rows if not lacks[row.name]]
    if not rows:
        raise InputError(f"no rows left to train: {'; '.join(sorted(set(lacks.values())))}")
    starts = {name: load_start(path) for name, path in plan.starts.items()}
    data, held_out = yield from _worlds(plan)
    began = time.monotonic()
    sift = _sift(plan)
    yield TimeSpent(f"plain SIFT: {time.monotonic() - began:.0f} s", 0.0)
    numbers: dict[str, Measured] = {}
    base = study_base()
    for name, text in plan.changes:
        base = changed(base, name, text)
    for row in rows:
        learnt = with_photographs(data, plan.photographs, row.photographs) if row.photographs else data
        folder = plan.work / "rows" / row.name
        config, start = config_of(row, base, plan.steps), starts[row.start]
        clusters = plan.work / "clusters"
        weights = yield from train_row(row, config, start, learnt, plan.seed, folder, plan.device, clusters)
        check_settings(folder / "measures.json", settings_of(plan.measures))
        measured = measure_row(weights, folder / _MEASURED, held_out, plan.photographs, plan.measures, plan.seed)
        numbers[row.name] = yield from measured
        result = StudyResult(
            rows=[(row, numbers.get(row.name)) for row in rows], facts=_facts(plan, data), skipped=skipped, sift=sift
        )
        text = study_text(result)
        write_atomic(plan.out, lambda temporary, text=text: Path(temporary).write_text(text, encoding="utf-8"))
        yield Progress(f"{row.title}: done", len(numbers) / len(rows))
    return result


def _lack(plan: Plan, row: RowSpec) -> str:
    """What was not given that a row needs, or nothing."""
    if row.start not in plan.starts:
        return f"no such start network was given (--init-{row.start})"
    absent = [name for name in row.photographs if plan.photographs is None or not (plan.photographs / name).is_dir()]
    return f"--photographs has no {' and no '.join(absent)}" if absent else ""


def _worlds(plan: Plan) -> Generator[Progress, None, tuple[PairData, TrainingSet]]:
    workers = min(2, os.cpu_count() or 1)
    if plan.data:
        data = open_pair_data(plan.data)
    else:
        data = yield from render_set(plan.work / "train", RenderConfig(num_worlds=plan.worlds), workers)
    if plan.views is not None and plan.views < len(data):
        data = Subset(data, spread(len(data), plan.views))
    if plan.held_out is not None:
        return data, TrainingSet(plan.held_out)
    config = replace(ShippedConfig().held_out_worlds, first_seed=HELD_OUT_SEED)
    return data, (yield from render_set(plan.work / "held-out", config, workers))


def _sift(plan: Plan) -> dict[str, dict[str, Any]]:
    """Plain SIFT's headings on the pairs that labels are asked for; kept in the work folder."""
    kept = plan.work / f"sift_{plan.measures.heading_every}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    found = {}
    for name in (MICHIGAN, STROMOVKA):
        folder = None if plan.photographs is None else plan.photographs / name
        if folder is not None and folder.is_dir():
            accuracy = sift_heading_accuracy(folder, TOLERANCE_PX[name], plan.measures.heading_every)
            found[name] = heading_row(accuracy, plan.seed)
    if found:
        write_atomic(kept, lambda temporary: Path(temporary).write_text(json.dumps(found)))
    return found


def _facts(plan: Plan, data: PairData) -> list[str]:
    measures = ", ".join(f"{name} {'own' if value is None else value}" for name, value in settings_of(plan.measures).items())
    return [
        f"Command: `{plan.command}`." if plan.command else "Command: none.",
        f"Seed {plan.seed}; {plan.steps} steps a row; {len(data)} viewpoints to train on.",
        "Unseen worlds: as given." if plan.held_out else f"Unseen worlds: from seed {HELD_OUT_SEED}.",
        f"Measured with: {measures}.",
        f"Machine: {machine(plan.device)}.",
    ]


def machine(device: str) -> str:
    """Processor, cores and torch, without the machine's name."""
    model = platform.processor() or platform.machine()
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    graphics = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__}{graphics}"


class _Watch:
    """Show progress on stderr: in place on a terminal, a line every twenty steps elsewhere."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, step: Any) -> None:
        self._count += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{step.message}" + "\n" * isinstance(step, TimeSpent))
        elif isinstance(step, TimeSpent) or self._count % 20 == 0:
            sys.stderr.write(f"{step.message}\n")


if __name__ == "__main__":
    sys.exit(main())
