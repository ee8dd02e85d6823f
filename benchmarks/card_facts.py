"""Print what a model card says besides consistency: weakest labels, stationary labels, headings, semantics.

`python -m benchmarks.card_facts WEIGHTS HELD_OUT [MEASURED]`: HELD_OUT a rendered set that was not trained on; MEASURED the
measured.json of the network's row in a study (benchmarks.study), for headings and semantics.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aligned_photographs import MICHIGAN, STROMOVKA
from benchmarks.study_measure import CAMVID, FAR
from core.engine.dataset import TrainingSet
from core.engine.label_weaknesses import effective_stationary, label_weaknesses
from core.engine.model_card import CardFacts, card_sections
from core.engine.segmenter import load_segmenter
from core.scene.label_statistics import find_label_statistics
from core.steps import finish


def card_facts(weights: Path, held_out: Path, measured: Mapping[str, Mapping[str, Any]]) -> CardFacts:
    """Measure the labels on unseen worlds; take the rest from the label statistics beside the weights and from ``measured``."""
    segmenter = load_segmenter(weights)
    statistics = find_label_statistics(segmenter.info.path)
    far = {name: measured[name + FAR] for name in (MICHIGAN, STROMOVKA) if name + FAR in measured}
    return CardFacts(
        weakest=finish(label_weaknesses(segmenter.segment, TrainingSet(held_out))),
        names=segmenter.info.names,
        num_stationary=None if statistics is None else int(statistics.stationary.sum()),
        effective_stationary=None
        if statistics is None
        else effective_stationary(statistics.stationary, np.asarray(statistics.joint).sum(1)),
        headings={n: (measured[n]["accuracy"], measured[n]["num_pairs"]) for n in (MICHIGAN, STROMOVKA) if n in measured},
        far={name: (row["kappa"], row["mutual_information_bits"]) for name, row in far.items()},
        semantics=measured.get(CAMVID),
    )


def main(arguments: list[str]) -> None:
    weights, held_out, *more = (Path(argument) for argument in arguments)
    measured = json.loads(more[0].read_text()) if more else {}
    print("\n".join(card_sections(card_facts(weights, held_out, measured))))


if __name__ == "__main__":
    main(sys.argv[1:])
