"""Label statistics on disk: `<weights stem>.labels.safetensors` beside the weights, and the official stationary_inds.npy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.errors import WeightsError
from core.geometry import Array
from core.images import write_atomic
from core.records import LabelStatistics

FORMAT = "fgsn-label-statistics-1"
SUFFIX = ".labels.safetensors"
_NAMES = ("stationary", "correspondence_share", "joint")


def label_statistics_path(weights: str | Path) -> Path:
    """Where the statistics of a weight file lie."""
    weights = Path(weights)
    return weights.with_name(weights.stem + SUFFIX)


def save_label_statistics(path: str | Path, statistics: LabelStatistics) -> None:
    """Write the file whole or not at all; counts are kept as f32. Raises InputError where it cannot be written."""
    arrays = {
        "stationary": statistics.stationary.astype(np.uint8),
        "correspondence_share": np.ascontiguousarray(statistics.correspondence_share),
        "joint": statistics.joint.astype(np.float32),
    }
    facts = json.dumps({"vocabulary": statistics.vocabulary, "num_labels": statistics.num_labels})
    content = save(arrays, {FORMAT: facts})
    write_atomic(Path(path), lambda temporary: Path(temporary).write_bytes(content))


def load_label_statistics(path: str | Path) -> LabelStatistics:
    """Read a file of label statistics. Raises FileNotFoundError, or WeightsError for a file of something else."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of label statistics")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[FORMAT])
            arrays = {name: file.get_tensor(name) for name in _NAMES}
        return _checked(facts["vocabulary"], int(facts["num_labels"]), arrays)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a file of label statistics ({error}), expected one that `stationary` wrote") from error


def _checked(vocabulary: str, num_labels: int, arrays: dict[str, Array]) -> LabelStatistics:
    for name in ("correspondence_share", "joint"):
        if not (np.isfinite(arrays[name]).all() and (arrays[name] >= 0).all()):
            raise ValueError(f"{name} holds negative or infinite values")
    return LabelStatistics(vocabulary, num_labels, arrays["stationary"] != 0, arrays["correspondence_share"], arrays["joint"])


def find_label_statistics(weights: str | Path) -> LabelStatistics | None:
    """Read the statistics beside a weight file; None where there are none. Raises WeightsError for a broken file."""
    path = label_statistics_path(weights)
    return load_label_statistics(path) if path.is_file() else None


def save_stationary_indices(path: str | Path, statistics: LabelStatistics) -> None:
    """Write the stationary labels as the published code does: an (S, 1) i64 array of their ids (PAPER 1.4)."""
    indices = np.argwhere(statistics.stationary).astype(np.int64)

    def write(temporary: str) -> None:
        with open(temporary, "wb") as file:
            np.save(file, indices)

    write_atomic(Path(path), write)
