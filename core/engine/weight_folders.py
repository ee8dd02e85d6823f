"""Folders that hold weights: our runs, and what the published training code writes and exports (PAPER 1.4)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import WeightsError
from core.records import LabelStatistics
from core.scene.label_statistics import find_label_statistics, load_stationary_indices, stationary_only

BEST = "bestval.txt"
BEST_KEYS = ("iter", "val_loss_feat", "val_loss_out", "val_loss_cluster", "snapshot")
OWN_WEIGHTS, EXPORTED_WEIGHTS = "weights.safetensors", "weights.pth"
SNAPSHOT_PREFIX, OPTIMIZER_PREFIX = "iter_", "opt_"
STATIONARY = "stationary_inds.npy"

# What moves, by the names of the Cityscapes and Mapillary Vistas classes: 8 of 19 (PAPER 2.6), 17 of 66; and what is unknown.
_MOVING = (
    "person, rider, car, truck, bus, train, motorcycle, bicycle, bird, ground animal, bicyclist, motorcyclist, other rider, "
    "boat, caravan, on rails, other vehicle, trailer, wheeled slow, void"
)
MOVING_NAMES = frozenset(_MOVING.split(", "))


def weight_file(path: Path) -> Path:
    """The weight file itself, or the best one of a folder of a run; WeightsError when the folder has none."""
    if not path.is_dir():
        return path
    names = [OWN_WEIGHTS, EXPORTED_WEIGHTS]
    if (path / BEST).is_file():
        names.append(f"{read_best(path / BEST)['snapshot']}.pth")
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        raise WeightsError(f"{path}: a folder without weights, expected {', '.join(names)}, {BEST} or label images")
    return found


def statistics_beside(weights: Path) -> LabelStatistics | None:
    """The label statistics of a weight file, a run's folder or a folder of label images; None where there are none.

    Published networks and label images must be opened for it: where they are open already, ask ``statistics_of``.
    WeightsError as of both.
    """
    weights = Path(weights)
    file = weights if weights.is_dir() and not _is_run(weights) else weight_file(weights)
    found = find_label_statistics(file)
    if found is not None or not file.exists() or file.suffix == ".safetensors":
        return found
    from core.engine.segmenter import info_of  # loads torch, which most statistics do without

    return statistics_of(info_of(weights))


def statistics_of(info: Any) -> LabelStatistics | None:
    """The label statistics of an opened network or label folder, by its ``info``: those beside it, else the published
    stationary_inds.npy, else, of official networks and label images with names of classes, what cannot move (PAPER 2.6).
    """
    found = find_label_statistics(info.path)
    indices = _stationary_indices(info.path)
    if found is None and indices is not None:
        return load_stationary_indices(indices, info.vocabulary, info.num_labels)
    if found is None and info.names is not None and info.path.suffix != ".safetensors":
        return stationary_only(info.vocabulary, np.array([name.lower() not in MOVING_NAMES for name in info.names]))
    return found


def _stationary_indices(path: Path) -> Path | None:
    """stationary_inds.npy in a label folder, or beside a weight file that is the only one there."""
    folder = path if path.is_dir() else path.parent
    if not (folder / STATIONARY).is_file():
        return None
    rivals = [file for file in folder.glob("*.pth") if not file.name.startswith(OPTIMIZER_PREFIX)]
    alone = path.is_dir() or path.name == EXPORTED_WEIGHTS or rivals == [path]
    return folder / STATIONARY if alone else None


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (OWN_WEIGHTS, EXPORTED_WEIGHTS, BEST))


def read_best(path: Path) -> dict[str, Any]:
    """Read bestval.txt (the last entry, where there are several); WeightsError when it is something else.

    The predecessor's folders hold other numbers (iter, mean_iu, ...), so that only the snapshot must be named.
    """
    try:
        entries = [text for text in Path(path).read_text(encoding="utf-8").split("\n\n") if text.strip()]
        row = ast.literal_eval(entries[-1].strip())
        if "snapshot" not in row:
            raise ValueError("no snapshot")
        if Path(row["snapshot"]).name != row["snapshot"]:
            raise ValueError(f"{row['snapshot']!r} is no name of a snapshot")
        return dict(row)
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, MemoryError, RecursionError) as error:
        raise WeightsError(f"{path}: not the best snapshot's numbers ({error}); expected {', '.join(BEST_KEYS)}") from error
