"""What the evaluation sub-commands do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import Progress
from core.steps import finish
from fgsn_viewer.cli_settings import localizer_config
from fgsn_viewer.commands import progress, say, write

BROKEN = 3
"""Exit code of `evaluate --compare` where a query was found before and is not any more."""

_DEVICE_PRECISION = "fast"


@dataclass(frozen=True, slots=True)
class NetworkLabels:
    """Loads a network and what is known of its labels; can be sent to another process."""

    weights: str
    device: str = "auto"

    def __call__(self) -> Any:
        from core.engine.segmenter import load_segmenter
        from core.engine.weight_folders import statistics_of
        from core.evaluation.job import LabelSource
        from core.images import read_image

        segmenter = load_segmenter(self.weights, device=self.device, precision=_DEVICE_PRECISION)
        return LabelSource(lambda image: segmenter.segment(read_image(image.path), image.path), statistics_of(segmenter.info))


def labelling_of(weights: str, device: str = "auto") -> Any:
    """The Labelling of a network; its name is the shipped name or the file's stem. Raises WeightsError."""
    from core.engine.segmenter import load_segmenter
    from core.engine.weight_folders import statistics_of
    from core.evaluation.job import Labelling, digest

    segmenter = load_segmenter(weights, device=device, precision=_DEVICE_PRECISION)
    info, statistics = segmenter.info, statistics_of(segmenter.info)
    known = [] if statistics is None else [statistics.joint.tobytes(), statistics.stationary.tobytes()]
    identity = digest(info.sha256, segmenter.precision, segmenter.device, *known)
    return Labelling(Path(weights).stem, info.vocabulary, info.num_labels, identity, NetworkLabels(str(weights), device))


def evaluate(options: argparse.Namespace) -> int:
    from core.evaluation.job import Job, make_variants
    from core.evaluation.results import read_queries_of_result
    from core.evaluation.runner import Workers
    from core.evaluation.runner import evaluate as evaluate_steps

    before = None if options.compare is None else read_queries_of_result(options.compare)
    variants = make_variants(options.methods, [Path(weights).stem for weights in options.weights], localizer_config(options))
    variants = tuple(replace(one, odometry=_odometry(options.odometry), start_error_m=options.start_error) for one in variants)
    labellings = [labelling_of(weights, options.device) for weights in options.weights]
    _require_different(labellings)
    scenes = tuple(path.resolve() for path in options.scenes)
    out = options.out.resolve()
    job = Job(scenes, variants, tuple(labellings), out / "labels", options.seed, tuple(options.conditions))
    steps = evaluate_steps(job, out, Workers(options.workers, options.scheduler))
    found = finish(steps, changes_only(lambda step: progress(options, step)))
    if not options.quiet and sys.stderr.isatty():
        sys.stderr.write("\n")
    finish(write_evaluation(out, found, job, options.pose_names))
    _tell(options, out, found)
    return 0 if before is None else _compare(options, before, found.rows)


def _odometry(kind: str) -> str:
    """What `--odometry` names: a word, or a file by its full path, as other processes need it. Raises SceneError."""
    from core.evaluation.motion import KINDS
    from core.scene.odometry import read_odometry

    if kind in KINDS:
        return kind
    read_odometry(kind)  # a file that cannot be read is told before hours of work
    return str(Path(kind).resolve())


def _require_different(labellings: Sequence[Any]) -> None:
    names = [labelling.name for labelling in labellings]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two networks are called {twice[0]!r}; give their files different names")


def changes_only(show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Show a step on a terminal always, elsewhere only where the work went on: not every line of it in a log."""
    shown: list[float | None] = []

    def watch(step: Progress) -> None:
        if sys.stderr.isatty() or step.fraction not in shown[-1:]:
            shown[:] = [step.fraction]
            show(step)

    return watch


def write_evaluation(out: Path, found: Any, job: Any, pose_names: str = "full") -> Generator[Progress, None, None]:
    """Write all results of an evaluation and its report into ``out``."""
    from core.evaluation.evaluation_report import evaluation_report
    from core.evaluation.results import write_results, write_text

    yield Progress("Writing the results")
    labels = {labelling.name: labelling.num_labels for labelling in job.labellings}
    settings = {variant.id: variant.settings() for variant in job.variants}
    about = {"seed": job.seed, "num_labels": labels, "settings": settings, "notes": list(found.notes)}
    write_results(out, found.rows, about, pose_names)
    scenes = list(dict.fromkeys(row.scene for row in found.rows))
    queries = len({(row.scene, row.query) for row in found.rows})
    lead = f"{', '.join(scenes[:6])}{' …' if len(scenes) > 6 else ''}: {queries} queries, seed {job.seed}."
    yield Progress("Writing the report")
    write_text(out / "report.html", evaluation_report("Localization methods compared", lead, found.rows, labels, found.notes))


def _tell(options: argparse.Namespace, out: Path, found: Any) -> None:
    from dataclasses import asdict

    from core.evaluation.summary import ALL, CHANGED, rows_by_kind, table_text

    for note in found.notes:
        sys.stderr.write(f"{note}\n")
    rows = rows_by_kind(found.rows)
    if options.json:
        for row in rows:
            say(options, asdict(row), "")
        return
    write(table_text([row for row in rows if row.condition in (ALL, CHANGED)]))
    write(f"{out}: result.json, table.csv, queries.csv, poses/ and report.html ({found.num_reused} results of before)")


def _compare(options: argparse.Namespace, before: Sequence[Any], after: Sequence[Any]) -> int:
    """List what broke and what was fixed since ``before``; 3 where something broke."""
    from core.evaluation.compare import compare

    found = compare(before, after)
    for word, changes in (("broken", found.broken), ("fixed", found.fixed)):
        for change in changes:
            row = {word: change.after.query, "scene": change.after.scene, "method": change.after.line}
            say(options, row, f"{word}: {change.text}")
    counts = {"compared": found.num_compared, "broken": len(found.broken), "fixed": len(found.fixed)}
    line = f"{found.num_compared} results compared with {options.compare}: {len(found.broken)} broken, {len(found.fixed)} fixed"
    missing = f"; {len(found.missing)} of its results are not among these" if found.missing else ""
    say(options, counts | {"missing": len(found.missing)}, line + missing)
    return BROKEN if found.broken else 0
