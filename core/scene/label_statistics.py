"""Label statistics on disk: `<weights stem>.labels.safetensors` beside the weights, and the official stationary_inds.npy."""

from __future__ import annotations

import json
import tokenize
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
_ASSUMED_COUNTS = 1e6  # a label: so many that the methods' priors do not count
_MAX_NPY_BYTES = 1 << 20
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


def load_stationary_indices(path: str | Path, vocabulary: str, num_labels: int) -> LabelStatistics:
    """Read the published stationary_inds.npy, ids of the labels (S,) or (S, 1), for a vocabulary of ``num_labels``.

    Which labels turn into which is not published: as ``stationary_only`` says. The share of pixels on correspondences comes
    from cluster_histogram_for_corr.npy and cluster_histogram_non_corr.npy beside it, where they are. Nothing is unpickled.
    Raises FileNotFoundError or WeightsError.
    """
    path = Path(path)
    indices = _read_npy(path)
    if indices.dtype.kind not in "iu" or indices.ndim not in (1, 2) or indices.size != len(indices) or not indices.size:
        raise WeightsError(f"{path}: is {indices.dtype} {indices.shape}, expected the ids of stationary labels (S, 1)")
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= num_labels:
        raise WeightsError(f"{path}: names labels {low} to {high}, expected 0 to {num_labels - 1} as {vocabulary} has")
    stationary = np.zeros(num_labels, bool)
    stationary[indices.ravel()] = True
    return stationary_only(vocabulary, stationary, _published_shares(path.parent, num_labels))


def stationary_only(vocabulary: str, stationary: Array, share: Array | None = None) -> LabelStatistics:
    """Statistics where only the stationary labels (K,) bool are known; the joint is the methods' own assumption without
    statistics: half of all pixels keep their label, the others have any.
    """
    count = len(stationary)
    joint = np.full((count, count), 0.5 * _ASSUMED_COUNTS / max(1, count - 1))
    np.fill_diagonal(joint, 0.5 * _ASSUMED_COUNTS)
    return LabelStatistics(vocabulary, count, stationary, np.zeros(count) if share is None else share, joint)


def _published_shares(folder: Path, num_labels: int) -> Array | None:
    """Share (K,) of each label's pixels on correspondences; None where the histograms are not there."""
    on, off = (folder / f"cluster_histogram_{kind}_corr.npy" for kind in ("for", "non"))
    if not (on.is_file() and off.is_file()):
        return None
    counts = []
    for path in (on, off):
        found = _read_npy(path)
        if found.dtype.kind not in "iuf" or found.size != num_labels or not (np.isfinite(found).all() and (found >= 0).all()):
            raise WeightsError(f"{path}: is {found.dtype} {found.shape}, expected the pixels of {num_labels} labels")
        counts.append(found.ravel().astype(np.float64))
    total = counts[0] + counts[1]
    return np.divide(counts[0], total, out=np.zeros(num_labels), where=total > 0)


def _read_npy(path: Path) -> Array:
    """Read an array of at most 65,535 numbers, with its size checked before it is read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size > _MAX_NPY_BYTES:
        raise WeightsError(f"{path}: has {path.stat().st_size} bytes, expected one number a label")
    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError) as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise WeightsError(f"{path}: not an array of plain numbers ({words[0]})") from error


def save_stationary_indices(path: str | Path, statistics: LabelStatistics) -> None:
    """Write the stationary labels as the published code does: an (S, 1) i64 array of their ids (PAPER 1.4)."""
    indices = np.argwhere(statistics.stationary).astype(np.int64)

    def write(temporary: str) -> None:
        with open(temporary, "wb") as file:
            np.save(file, indices)

    write_atomic(Path(path), write)
