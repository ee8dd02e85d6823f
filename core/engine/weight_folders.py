"""Folders that hold weights: our runs, and what the published training code writes and exports (PAPER 1.4)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from core.errors import WeightsError
from core.records import LabelStatistics
from core.scene.label_statistics import find_label_statistics

BEST = "bestval.txt"
BEST_KEYS = ("iter", "val_loss_feat", "val_loss_out", "val_loss_cluster", "snapshot")
OWN_WEIGHTS, EXPORTED_WEIGHTS = "weights.safetensors", "weights.pth"


def weight_file(path: Path) -> Path:
    """The weight file itself, or the best one of a folder of a run; WeightsError when the folder has none."""
    if not path.is_dir():
        return path
    names = [OWN_WEIGHTS, EXPORTED_WEIGHTS]
    if (path / BEST).is_file():
        names.append(f"{read_best(path / BEST)['snapshot']}.pth")
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        raise WeightsError(f"{path}: a folder without weights, expected {', '.join(names)} or {BEST}")
    return found


def statistics_beside(weights: Path) -> LabelStatistics | None:
    """The label statistics of a weight file or a run's folder; None where there are none. WeightsError as of both."""
    return find_label_statistics(weight_file(Path(weights)))


def read_best(path: Path) -> dict[str, Any]:
    """Read bestval.txt (the last entry, where there are several); WeightsError when it is something else."""
    try:
        entries = [text for text in Path(path).read_text(encoding="utf-8").split("\n\n") if text.strip()]
        row = ast.literal_eval(entries[-1].strip())
        missing = [key for key in BEST_KEYS if key not in row]
        if missing or Path(row["snapshot"]).name != row["snapshot"]:
            raise ValueError(f"no {', '.join(missing)}" if missing else f"{row['snapshot']!r} is no name of a snapshot")
        return dict(row)
    except (OSError, ValueError, SyntaxError, TypeError, IndexError) as error:
        raise WeightsError(f"{path}: not the best snapshot's numbers ({error}); expected {', '.join(BEST_KEYS)}") from error
