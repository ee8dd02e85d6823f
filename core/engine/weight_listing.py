"""What lies in a folder that `--weights` would take: networks of ours and of others, vocabularies, label images."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.engine.dinov2 import is_dinov2, load_dinov2
from core.engine.label_folder import DESCRIPTION, is_label_image
from core.engine.segmenter import info_of
from core.engine.weight_folders import (
    BEST,
    EXPORTED_WEIGHTS,
    OPTIMIZER_PREFIX,
    OWN_WEIGHTS,
    SNAPSHOT_PREFIX,
    statistics_of,
    weight_file,
)
from core.engine.weights import FORMAT, file_sha256, read_state
from core.errors import InputError, WeightsError
from core.records import Progress
from core.scene.label_statistics import SUFFIX
from core.steps import finish

RUN = "run"
TRAINING, EXPORTED, OFFICIAL, OWN = "training folder", "exported folder", "official network", "network"
VOCABULARY, BACKBONE, LABELS, UNREADABLE = "DINOv2 vocabulary", "DINOv2 backbone", "label images", "unreadable"
_RUN_FILE = "run.json"
_LOOKED_AT = 200  # files of a folder that may hold label images
_BESIDE_LABELS = (".json", ".npy", ".txt", ".md", ".safetensors")


@dataclass(frozen=True, slots=True)
class WeightsFound:
    """One thing that was found. ``num_labels`` None and ``vocabulary`` "": none of its own; ``base``: of the network.

    ``has_stationary``: which labels are of what stays is known; ``problem``: why it cannot be used, or None.
    """

    path: Path
    kind: str
    num_labels: int | None = None
    base: str = ""
    sha256: str = ""
    has_stationary: bool = False
    vocabulary: str = ""
    problem: str | None = None


def list_weights(folder: str | Path) -> tuple[WeightsFound, ...]:
    """List what a folder and those below it hold, in one call, as ``list_weights_steps`` does."""
    return finish(list_weights_steps(folder))


def list_weights_steps(folder: str | Path) -> Generator[Progress, None, tuple[WeightsFound, ...]]:
    """Open everything that could be weights, one step each; return what was found, with the reason where it failed.

    Links to folders are not followed. Raises FileNotFoundError or InputError for a path that is no folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder with weights in it")
    candidates = list(_candidates(folder))
    found = []
    for done, path in enumerate(candidates):
        yield Progress(f"opening {path.name}", done / len(candidates))
        found.append(_described(path))
    return tuple(found)


def _candidates(folder: Path) -> Iterator[Path]:
    """Weight files, and folders that stand for one, from the top down and by name."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders.sort()
        whole = any((here / name).is_file() for name in (BEST, EXPORTED_WEIGHTS, _RUN_FILE))
        if whole:
            yield here
        elif _holds_labels(here):
            yield here
            folders.clear()
        for name in sorted(names):
            if _is_weight_name(name) and not (whole and _is_part(here, name)):
                yield here / name


def _is_weight_name(name: str) -> bool:
    if name.startswith((OPTIMIZER_PREFIX, ".")) or name.endswith(SUFFIX):
        return False
    return name.lower().endswith((".pth", ".safetensors"))


def _is_part(folder: Path, name: str) -> bool:
    """Whether a file belongs to a folder that is listed as one: its best network, its snapshots, a run's state."""
    if name in (OWN_WEIGHTS, EXPORTED_WEIGHTS) or name.startswith(SNAPSHOT_PREFIX):
        return True
    return (folder / _RUN_FILE).is_file() and name.endswith(".safetensors")


def _holds_labels(folder: Path) -> bool:
    """Whether a folder holds label images and, among the files that are looked at, nothing else but notes on them."""
    if (folder / DESCRIPTION).is_file():
        return True
    num_labels = 0
    for number, file in enumerate(_files(folder)):
        if number == _LOOKED_AT:
            break
        if file.suffix.lower() == ".png" and is_label_image(file):
            num_labels += 1
        elif file.suffix.lower() not in _BESIDE_LABELS:
            return False
    return num_labels > 0


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names))


def _described(path: Path) -> WeightsFound:
    try:
        return _opened(path)
    except (InputError, FileNotFoundError, PermissionError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        return WeightsFound(path, UNREADABLE, sha256=_sha256(path), problem=reason)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path) if path.is_file() else ""
    except OSError:
        return ""


def _opened(path: Path) -> WeightsFound:
    try:
        info = info_of(path)
    except WeightsError:
        backbone = _backbone(path)
        if backbone is None:
            raise
        return backbone
    base = getattr(getattr(info, "config", None), "base", "")
    found = WeightsFound(path, _kind(path, base), info.num_labels, base, info.sha256, False, info.vocabulary)
    try:
        return replace(found, has_stationary=statistics_of(info) is not None)
    except InputError as error:
        return replace(found, problem=str(error))


def _kind(path: Path, base: str) -> str:
    if path.is_dir() and not base:
        return LABELS
    if base.startswith("DINOv2"):
        return VOCABULARY
    if path.is_file():
        return OFFICIAL if path.suffix == ".pth" and not path.with_suffix(".json").is_file() else OWN
    if (path / _RUN_FILE).is_file() or (path / OWN_WEIGHTS).is_file():
        return RUN
    return EXPORTED if weight_file(path).name == EXPORTED_WEIGHTS else TRAINING


def _backbone(path: Path) -> WeightsFound | None:
    """A DINOv2 file without a vocabulary; None for everything else."""
    if not path.is_file():
        return None
    state, metadata = read_state(path)
    if FORMAT in metadata or not is_dinov2(state):
        return None
    return WeightsFound(path, BACKBONE, base=load_dinov2(path).config.title, sha256=file_sha256(path))
