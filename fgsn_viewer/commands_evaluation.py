"""What the evaluation sub-commands do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class NetworkLabels:
    """Loads a network and what is known of its labels; can be sent to another process."""

    weights: str
    device: str = "auto"
    precision: str = "fast"

    def __call__(self) -> Any:
        from core.engine.segmenter import load_segmenter
        from core.evaluation.job import LabelSource
        from core.images import read_image

        segmenter = load_segmenter(self.weights, device=self.device, precision=self.precision)
        return LabelSource(lambda image: segmenter.segment(read_image(image.path)), statistics_of(segmenter.info.path))


def statistics_of(weights: Path | None) -> Any:
    """The label statistics that lie beside a weight file, or None."""
    from core.scene.label_statistics import find_label_statistics

    return None if weights is None else find_label_statistics(weights)
