"""Measure finished networks as the study measures its rows, whatever they were trained with.

`python -m benchmarks.measure WEIGHTS... --held-out DIR [--photographs DIR] --work DIR --out FILE [--control NAME]`: the tables
of the study, one row a network; with ``--control`` the differences from that one. What ``--work`` holds is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.study import machine
from benchmarks.study_measure import MeasureConfig, measure_row, quick_measures
from benchmarks.study_rows import RowSpec
from benchmarks.study_text import StudyResult, study_text
from core.engine.dataset import TrainingSet
from core.engine.segmenter import find_weights
from core.images import write_atomic
from core.records import settings_of
from core.steps import finish


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS", help="shipped names or files; each has its stem as its name")
    parser.add_argument("--held-out", type=Path, required=True, metavar="DIR", help="rendered set that was not trained on")
    parser.add_argument("--photographs", type=Path, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--control", default="", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer views and photographs")
    options = parser.parse_args(arguments)
    config, held_out = quick_measures() if options.quick else MeasureConfig(), TrainingSet(options.held_out)
    rows = []
    for name in options.weights:
        weights = find_weights(name)
        path = options.work / weights.stem / "measured.json"
        measured = finish(measure_row(weights, path, held_out, options.photographs, config, seed=0))
        control = options.control if weights.stem != options.control else ""
        rows.append((RowSpec(name=weights.stem, title=weights.stem, control=control), measured))
    measures = ", ".join(f"{key} {value}" for key, value in settings_of(config).items())
    text = study_text(StudyResult(rows=rows, facts=[f"Measured with: {measures}.", f"Machine: {machine('cpu')}."]))
    write_atomic(options.out, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
