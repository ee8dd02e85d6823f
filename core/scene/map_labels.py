"""Point labels of maps that came from elsewhere: one file a vocabulary, in the folder of the model or named as its NVM file."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.errors import SceneError
from core.images import write_atomic
from core.records import PointLabels

FORMAT = "fgsn-point-labels-1"
_MODEL_FILES = ("cameras", "images", "points3D")


def added_labels_path(folder: Path, vocabulary: str) -> Path:
    """Where the labels of one vocabulary lie."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", vocabulary)[:60]
    return Path(folder) / f"points-{plain}-{zlib.crc32(vocabulary.encode()):08x}.safetensors"


def save_added_labels(folder: str | Path, labels: PointLabels) -> None:
    """Write the labels of a map's points, or replace them; the file changes whole or not at all. Raises InputError."""
    facts = {"vocabulary": labels.vocabulary, "num_labels": labels.num_labels, "model": _model_sizes(Path(folder))}
    arrays = {"labels": labels.labels, "vote_share": labels.vote_share}
    if labels.views is not None:
        arrays["views"] = labels.views
    content = save(arrays, {FORMAT: json.dumps(facts)})
    write_atomic(added_labels_path(Path(folder), labels.vocabulary), lambda temporary: Path(temporary).write_bytes(content))


def load_added_labels(folder: str | Path, vocabulary: str) -> PointLabels | None:
    """Read the labels of one vocabulary; None where there are none or the model changed since. Raises SceneError."""
    path = added_labels_path(Path(folder), vocabulary)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[FORMAT])
            labels, share = file.get_tensor("labels"), file.get_tensor("vote_share")
            views = file.get_tensor("views") if "views" in file.keys() else None  # noqa: SIM118
        found = PointLabels(labels, share, int(facts["num_labels"]), str(facts["vocabulary"]), views)
        highest = max(int(part.max(initial=0)) for part in (labels, views) if part is not None)
        if highest >= found.num_labels:
            raise ValueError(f"label {highest} of {found.num_labels}")
        fits = found.vocabulary == vocabulary and facts["model"] == _model_sizes(Path(folder))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise SceneError(f"{path}: not a file of point labels ({error}), expected one that `label` wrote") from error
    return found if fits else None


def _model_sizes(folder: Path) -> dict[str, int]:
    """What tells whether the model is still the one that was labelled: its files' sizes in bytes."""
    files = [folder / f"{part}{suffix}" for part in _MODEL_FILES for suffix in (".bin", ".txt")]
    files.append(folder.with_name(f"{folder.name}.nvm"))
    return {file.name: file.stat().st_size for file in files if file.is_file()}
