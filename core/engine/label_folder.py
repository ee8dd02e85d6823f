"""A folder of label images made elsewhere, in the place of a network: 16 or 8 bit PNG, or palette PNG of Cityscapes train ids.

The files are named like the images, in the same folders or without them. A file ``labels.json`` beside them may say what the
images cannot: ``{"vocabulary": "cmu-100", "num_labels": 100, "names": [...], "void": 65535}``, all but num_labels optional.
Without it the folder's name is the vocabulary and the largest label counts; 8 bit images whose values are 0 to 18, or 255
where nothing is known, are train ids of Cityscapes. Void pixels get a label of their own, the last one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from core.engine.tiling import nearest_positions
from core.engine.weight_folders import BEST, EXPORTED_WEIGHTS, OWN_WEIGHTS
from core.errors import InputError, WeightsError
from core.geometry import Array
from core.images import IMAGE_SUFFIXES, read_labels, write_atomic
from core.records import LabelMap, Progress
from core.steps import finish
from core.world.classes import CLASS_NAMES

DESCRIPTION = "labels.json"
CITYSCAPES = "cityscapes-19-void"
VOID_NAME = "void"
MAX_LABELS = 65535
_ENDINGS = re.compile(r"(_leftImg8bit)?(_gt(Fine|Coarse))?(_labelTrainIds|_labelIds)?$")
_IDS = ("_labelTrainIds", "_labelIds")
_LOOKED_AT = 16
_MAX_SKEW = 0.05  # of the sides' ratio: a grid of 14 px patches on 480 px differs by 3 %


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFolderInfo:
    """What is known of a folder of label images. ``void``: the value in the files that becomes the last label, or None.

    ``sha256`` is of the files' names, sizes and times: their contents may be gigabytes.
    """

    path: Path
    vocabulary: str
    num_labels: int
    names: tuple[str, ...] | None
    void: int | None
    sha256: str


class LabelFolder:
    """Answers as a segmenter does, from files. Two images that would take the same file are refused."""

    device, precision = "cpu", "exact"

    def __init__(self, info: LabelFolderInfo, files: dict[str, Path]) -> None:
        self.info = info
        self._files = files
        self._used: dict[Path, Path] = {}

    @property
    def vocabulary(self) -> str:
        return self.info.vocabulary

    @property
    def num_labels(self) -> int:
        return self.info.num_labels

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.info.names

    def segment(self, image: Array, source: Path | None = None) -> LabelMap:
        """Read the labels of the image file ``source``, resized to ``image`` (H, W[, 3]) by the nearest pixel.

        Raises InputError without ``source``, where the image has no label file, and for labels of another shape.
        """
        return finish(self.segment_steps(image, source))

    def segment_steps(self, image: Array, source: Path | None = None) -> Generator[Progress, None, LabelMap]:
        """As ``segment``, in one step."""
        file = self._file_of(source)
        yield Progress(f"labels from {file.name}", 0.0)
        labels = self._renumbered(file, read_labels(file))
        return LabelMap(_resized(file, labels, image.shape[:2]), self.num_labels, self.vocabulary, None, self.names)

    def _file_of(self, source: Path | None) -> Path:
        """The file of the longest end of the image's path that is there: condition/name before name alone."""
        if source is None:
            raise InputError(f"{self.info.path}: label images are found by the names of image files; pixels alone have none")
        parts = Path(os.path.abspath(source)).parts[1:]
        parts = (*parts[:-1], _key_of_name(parts[-1]))
        found = next((key for key in ("/".join(parts[k:]) for k in range(len(parts))) if key in self._files), None)
        if found is None:
            wanted = "/".join(parts[-2:])
            raise InputError(f"{self.info.path}: no label image for {source}; expected {wanted}.png or {parts[-1]}.png there")
        file = self._files[found]
        other = self._used.setdefault(file, Path(source))
        if other != Path(source):
            raise InputError(
                f"{file}: would be the labels of {other} and of {source}; put them in folders named as the images'"
            )
        return file

    def _renumbered(self, file: Path, labels: Array) -> Array:
        """Give void pixels the last label; raise WeightsError for labels that the vocabulary does not have."""
        if self.info.void is not None:
            labels = np.where(labels == self.info.void, self.num_labels - 1, labels)
        largest = int(labels.max(initial=0))
        if largest >= self.num_labels:
            raise WeightsError(f"{file}: has label {largest}, expected less than {self.num_labels} as {self._said_by}")
        return labels

    @property
    def _said_by(self) -> str:
        return f"{DESCRIPTION} says" if (self.info.path / DESCRIPTION).is_file() else "in the rest of the folder"


def _resized(file: Path, labels: Array, shape: tuple[int, int]) -> Array:
    if labels.shape == shape:
        return labels
    skew = labels.shape[1] * shape[0] / (labels.shape[0] * shape[1])
    if not 1 - _MAX_SKEW <= skew <= 1 + _MAX_SKEW:
        sizes = [f"{width} x {height}" for height, width in (labels.shape, shape)]
        raise InputError(f"{file}: is {sizes[0]} px for an image of {sizes[1]} px; expected labels of the whole image")
    (rows, row_use), (columns, column_use) = (nearest_positions(*sides) for sides in zip(labels.shape, shape, strict=True))
    return labels[np.ix_(rows[row_use], columns[column_use])]


def is_label_folder(path: str | Path) -> bool:
    """Whether a path is a folder without weights whose PNG, in it or below, are label images: the first has one channel or a
    palette, or one of the first is named as Cityscapes' ids are.
    """
    path = Path(path)
    if not path.is_dir() or any((path / name).exists() for name in (OWN_WEIGHTS, EXPORTED_WEIGHTS, BEST)):
        return False
    first = list(islice(png_files(path), _LOOKED_AT))
    return bool(first) and (is_label_image(first[0]) or any(file.stem.endswith(_IDS) for file in first))


def is_label_image(path: Path) -> bool:
    """Whether a file begins as a PNG with grey values or palette indices."""
    with path.open("rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[:4] == b"\x89PNG" and head[25] in (0, 3)


def png_files(folder: Path) -> Iterator[Path]:
    """PNG files in a folder and below, in order; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if name.lower().endswith(".png"))


def open_label_folder(path: str | Path) -> LabelFolder:
    """Find a folder's label images and what they are labels of. Raises WeightsError or ImageError."""
    path = Path(path)
    files = _label_files(path)
    if not files:
        raise WeightsError(f"{path}: no label images found, expected PNG files named like the images")
    values = _described(path) if (path / DESCRIPTION).is_file() else _counted(path, list(files.values()))
    info = LabelFolderInfo(path=path, sha256=_identity(path, files), **values)
    return LabelFolder(info, files)


def _label_files(folder: Path) -> dict[str, Path]:
    """Label images by the name of their image, without its ending, relative to the folder.

    Of the several images that Cityscapes has for one, the train ids are taken, else the ids.
    """
    found = list(png_files(folder))
    for ending in _IDS:
        kept = [file for file in found if file.stem.endswith(ending)]
        if kept:
            found = kept
            break
    files: dict[str, Path] = {}
    for file in found:
        key = file.relative_to(folder).with_name(_key_of_name(file.name)).as_posix()
        if key in files:
            raise WeightsError(f"{file}: {files[key].name} is for the same image; expected one label image for each")
        files[key] = file
    return files


def _key_of_name(name: str) -> str:
    """An image's or a label file's name without what tells them apart; a.png and a.jpg.png are both for a.jpg."""
    stem = Path(name).stem
    stem = Path(stem).stem if Path(stem).suffix.lower() in IMAGE_SUFFIXES else stem
    return _ENDINGS.sub("", stem) or stem


@dataclass(slots=True)
class _Seen:
    """Values of label images: the largest, the largest below the void value of its depth, and whether that occurs."""

    largest: int = 0
    bits: set[int] = field(default_factory=set)
    has_void: bool = False


def _counted(folder: Path, files: list[Path]) -> dict[str, object]:
    """What a folder's images say of themselves; each is read once."""
    seen = _Seen()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for bits, largest, has_void in pool.map(_values, files):
            seen.bits.add(bits)
            seen.largest = max(seen.largest, largest)
            seen.has_void |= has_void
    if len(seen.bits) > 1:
        raise WeightsError(f"{folder}: holds label images of 8 and of 16 bit; expected one kind")
    (bits,) = seen.bits
    void = 2**bits - 1
    if bits == 8 and seen.largest < len(CLASS_NAMES):
        names = (*CLASS_NAMES, VOID_NAME)
        return {"vocabulary": CITYSCAPES, "num_labels": len(names), "names": names, "void": void}
    name = folder.resolve().name
    return {"vocabulary": name, "num_labels": seen.largest + 1 + seen.has_void, "names": None, "void": void}


def _values(file: Path) -> tuple[int, int, bool]:
    with file.open("rb") as opened:
        bits = 16 if opened.read(25)[24:] == b"\x10" else 8
    labels = read_labels(file)
    void = labels == 2**bits - 1
    return bits, int(np.where(void, 0, labels).max(initial=0)), bool(void.any())


def _described(folder: Path) -> dict[str, object]:
    """Read labels.json; WeightsError says what is wrong with it."""
    path = folder / DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or set(found) - {"vocabulary", "num_labels", "names", "void"}:
            raise ValueError("expected vocabulary, num_labels, names, void")
        count, void = found["num_labels"], found.get("void")
        if type(count) is not int or not 1 <= count < MAX_LABELS or not (void is None or type(void) is int):
            raise ValueError(f"num_labels {count!r}, void {void!r}; expected 1 to {MAX_LABELS - 1} labels and a number or null")
        names = found.get("names")
        if names is not None and (not isinstance(names, list) or len(names) != count):
            raise ValueError(f"names {names!r}; expected one for each of {count} labels")
        vocabulary = str(found.get("vocabulary") or folder.resolve().name)
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a description of label images ({error})") from error
    has_void = void is not None
    kept = None if names is None else (*map(str, names), *((VOID_NAME,) if has_void else ()))
    return {"vocabulary": vocabulary, "num_labels": count + has_void, "names": kept, "void": void}


def write_description(folder: Path, labels: LabelMap) -> None:
    """Write labels.json for a folder of this vocabulary's label images, so that it can stand in for the network."""
    names = None if labels.names is None else list(labels.names)
    text = json.dumps({"vocabulary": labels.vocabulary, "num_labels": labels.num_labels, "names": names})
    write_atomic(folder / DESCRIPTION, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def _identity(folder: Path, files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for file in [*files.values(), folder / DESCRIPTION]:
        if file.is_file():
            found = file.stat()
            digest.update(f"{file.relative_to(folder)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
