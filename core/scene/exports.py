"""Maps and labels for other programs: COLMAP models and PLY clouds in the colours of the labels, label images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.images import write_atomic, write_image
from core.records import ImageData, LabelMap, PointLabels, Progress, SceneMap
from core.scene.colmap import write_model
from core.scene.folders import require_empty, whole_folder
from core.scene.image_names import inside

_PLY_TYPES = {"f8": "double", "f4": "float", "i4": "int", "u1": "uchar"}


def write_labelled_model(path: str | Path, scene_map: SceneMap, colors: Array, text: bool = False) -> None:
    """Write the map as a COLMAP model whose points have the colours (K, 3) u8 of their labels.

    Point and image ids count from 1 in the map's order. Raises InputError for a map without labels.
    """
    require_empty(path)
    colored = replace(scene_map, rgb=_colors_of(scene_map, colors, Path(path)))
    with whole_folder(Path(path), last="points3D") as folder:
        write_model(folder, colored, text)


def _colors_of(scene_map: SceneMap, colors: Array, path: Path) -> Array:
    labels = scene_map.labels
    if labels is None:
        raise InputError(f"{path}: the map's points have no labels to write; add them with `label`")
    if len(colors) < labels.num_labels:
        raise ValueError(f"got {len(colors)} colours, expected one for each of {labels.num_labels} labels")
    return colors[labels.labels]


def write_ply(path: str | Path, scene_map: SceneMap, colors: Array | None = None) -> None:
    """Write the map's points as a binary PLY cloud: x y z (f64, m), red green blue, and with labels label and vote_share.

    With ``colors`` (K, 3) u8 of the labels in the place of the points' own. Two comments name vocabulary and labels.
    """
    path, labels = Path(path), scene_map.labels
    rgb = scene_map.rgb if colors is None else _colors_of(scene_map, colors, path)
    columns = dict(zip("xyz", scene_map.points3D.T)) | dict(zip(("red", "green", "blue"), rgb.T))
    if labels is not None:
        columns |= {"label": labels.labels.astype(np.int32), "vote_share": labels.vote_share}  # Open3D reads no 16 bit
    layout = np.dtype([(name, values.dtype.newbyteorder("<")) for name, values in columns.items()])
    table = np.empty(len(scene_map.points3D), layout)
    for name, values in columns.items():
        table[name] = values
    content = _ply_header(layout, len(table), labels).encode() + table.tobytes()
    write_atomic(path, lambda file: Path(file).write_bytes(content))


def _ply_header(layout: np.dtype, count: int, labels: PointLabels | None) -> str:
    remarks = [] if labels is None else [f"vocabulary {labels.vocabulary.encode('ascii', 'replace').decode()}"]
    remarks += [] if labels is None else [f"num_labels {labels.num_labels}"]
    properties = [f"property {_PLY_TYPES[layout[name].str[1:]]} {name}" for name in layout.names]
    comments = [f"comment {' '.join(remark.split())}" for remark in remarks]
    lines = ["ply", "format binary_little_endian 1.0", *comments, f"element vertex {count}", *properties, "end_header"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class LabelsWritten:
    """How many label images were written, the names of images that were not there, and the last one's labels."""

    count: int
    left_out: tuple[str, ...]
    last: LabelMap | None


def write_label_images(
    folder: str | Path, images: Sequence[ImageData], segment: Callable[[ImageData], LabelMap]
) -> Generator[Progress, None, LabelsWritten]:
    """Write the labels of images as 16-bit PNG under their names; with a description such a folder stands in for a network.

    Images that are not there are left out. Raises InputError where two would have one file, before anything is written.
    """
    files, last, left_out = label_files(Path(folder), images), None, []
    for number, image in enumerate(images):
        yield Progress(image.name, number / len(images))
        if not image.path.is_file():
            left_out.append(image.name)
            continue
        last = segment(image)
        write_image(files[image.path], last.labels.astype(np.uint16))
    return LabelsWritten(len(images) - len(left_out), tuple(left_out), last)


def label_files(folder: Path, images: Sequence[ImageData]) -> dict[Path, Path]:
    """The file for the labels of each image, by the image's path; it has the image's name below the folder.

    Raises InputError where two images would have one file, or where the file is one of the images itself.
    """
    files = {image.path: folder / Path(inside(image.name)).with_suffix(".png") for image in images}
    taken: dict[Path, Path] = {}
    for path, file in files.items():
        if taken.setdefault(file, path) != path:
            raise InputError(f"{file}: would hold the labels of {taken[file]} and of {path}; write them to different folders")
    inputs = {_identity(path): path for path in files if path.is_file()}
    for path, file in files.items():
        hurt = inputs.get(_identity(file)) if file.exists() else None
        if hurt is not None:
            raise InputError(f"{path}: its labels would replace the image {hurt}; write them to another folder")
    return files


def _identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common."""
    found = path.stat()
    return found.st_dev, found.st_ino
