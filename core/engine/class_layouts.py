"""How data sets with annotated classes lie on disk, and what their annotations mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.images import is_image_file, read_image, read_labels
from core.world.classes import CLASS_NAMES, VOID

TRAINING, VALIDATION = "training", "validation"
CITYSCAPES_19, VISTAS_66 = "cityscapes-19", "vistas-66"

# Cityscapes' labelIds by train id, 0 to 18; every other id is void.
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_LAST_CITYSCAPES_ID = 33
_NO_CITYSCAPES_ID = 255  # the licence plate, -1

# Train ids of sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist, unlabelled.
_CAMVID_TRAIN_IDS = (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12, VOID)
# Colours of the original 32 classes with their train ids; what Cityscapes does not tell apart or leaves out is void.
_CAMVID_COLORS = {
    (64, 128, 64): VOID,  # animal
    (192, 0, 128): 2,  # archway
    (0, 128, 192): 12,  # bicyclist
    (0, 128, 64): VOID,  # bridge
    (128, 0, 0): 2,  # building
    (64, 0, 128): 13,  # car
    (64, 0, 192): VOID,  # cart, luggage, pram
    (192, 128, 64): 11,  # child
    (192, 192, 128): 5,  # column, pole
    (64, 64, 128): 4,  # fence
    (128, 0, 192): 0,  # lane marking, for driving
    (192, 0, 64): 0,  # lane marking, not for driving
    (128, 128, 64): VOID,  # text
    (192, 0, 192): 17,  # motorcycle, scooter
    (128, 64, 64): VOID,  # other moving things
    (64, 192, 128): VOID,  # parking block
    (64, 64, 0): 11,  # pedestrian
    (128, 64, 128): 0,  # road
    (128, 128, 192): 0,  # road shoulder
    (0, 0, 192): 1,  # sidewalk
    (192, 128, 128): 7,  # sign, symbol
    (128, 128, 128): 10,  # sky
    (64, 128, 192): 13,  # SUV, pickup
    (0, 0, 64): VOID,  # traffic cone
    (0, 64, 64): 6,  # traffic light
    (192, 64, 128): 16,  # train
    (128, 128, 0): 8,  # tree
    (192, 128, 192): VOID,  # truck or bus
    (64, 0, 64): VOID,  # tunnel
    (192, 192, 0): 8,  # other vegetation
    (0, 0, 0): VOID,
    (64, 192, 0): 3,  # wall
}

_VISTAS = (
    "bird, ground animal, curb, fence, guard rail, barrier, wall, bike lane, crosswalk - plain, curb cut, parking, "
    "pedestrian area, rail track, road, service lane, sidewalk, bridge, building, tunnel, person, bicyclist, motorcyclist, "
    "other rider, lane marking - crosswalk, lane marking - general, mountain, sand, sky, snow, terrain, vegetation, water, "
    "banner, bench, bike rack, billboard, catch basin, CCTV camera, fire hydrant, junction box, mailbox, manhole, "
    "phone booth, pothole, street light, pole, traffic sign frame, utility pole, traffic light, traffic sign (back), "
    "traffic sign (front), trash can, bicycle, boat, bus, car, caravan, motorcycle, on rails, other vehicle, trailer, truck, "
    "wheeled slow, car mount, ego vehicle, unlabelled"
)
VISTAS_NAMES = tuple(_VISTAS.split(", "))
_VISTAS_UNLABELLED = 65


@dataclass(frozen=True, slots=True)
class Annotated:
    """An image and its annotation."""

    name: str
    image: Path
    annotation: Path


@dataclass(frozen=True, slots=True)
class ClassLayout:
    """``find(root, part)`` lists the images of "training" or "validation" with the files of their annotations; ``decode`` reads
    one as (H, W) u8 of ``names``, void 255. ``short_side`` px: to what large photographs are resized, None: not.
    """

    name: str
    vocabulary: str
    names: tuple[str, ...]
    find: Callable[[Path, str], list[Annotated]]
    decode: Callable[[Path], Array]
    short_side: int | None = None


def _paired(images: Path, annotations: Path, root: Path, annotation_name: Callable[[Path], str]) -> list[Annotated]:
    """All images under a folder with the files that ``annotation_name`` gives; SceneError for one without annotation."""
    files = sorted(file for file in images.rglob("*") if is_image_file(file) and not file.name.startswith("."))
    found = []
    for file in files:
        annotation = annotations / file.relative_to(images).parent / annotation_name(file)
        if not annotation.is_file():
            raise SceneError(f"{file}: its annotation is missing, expected {annotation}")
        found.append(Annotated(file.relative_to(root).as_posix(), file, annotation))
    return found


_CAMVID_PARTS = {TRAINING: "train", VALIDATION: "val"}


def _find_camvid(root: Path, part: str) -> list[Annotated]:
    """train with trainannot (ids), or with train_labels (colours, *_L.png); or all in 701_StillsRaw_full for training."""
    folder = _CAMVID_PARTS[part]
    if (root / f"{folder}annot").is_dir():
        return _paired(root / folder, root / f"{folder}annot", root, lambda file: f"{file.stem}.png")
    if (root / f"{folder}_labels").is_dir():
        return _paired(root / folder, root / f"{folder}_labels", root, lambda file: f"{file.stem}_L.png")
    if part == TRAINING and (root / "LabeledApproved_full").is_dir():
        return _paired(root / "701_StillsRaw_full", root / "LabeledApproved_full", root, lambda file: f"{file.stem}_L.png")
    return []


def _decode_camvid(path: Path) -> Array:
    if path.stem.endswith("_L"):
        return _decode_camvid_colors(path)
    return _translated(read_labels(path), path, dict(enumerate(_CAMVID_TRAIN_IDS)), "0 to 11, as in CamVid with 11 classes")


def _decode_camvid_colors(path: Path) -> Array:
    image = read_image(path).astype(np.uint32)
    codes = image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2]
    table = {red << 16 | green << 8 | blue: train_id for (red, green, blue), train_id in _CAMVID_COLORS.items()}
    keys = np.array(sorted(table), np.uint32)
    place = np.clip(np.searchsorted(keys, codes), 0, len(keys) - 1)
    values = np.array([table[int(key)] for key in keys], np.uint8)
    return np.where(keys[place] == codes, values[place], VOID).astype(np.uint8)


_CITYSCAPES_PARTS = {TRAINING: "train", VALIDATION: "val"}


def _find_cityscapes(root: Path, part: str) -> list[Annotated]:
    folder = _CITYSCAPES_PARTS[part]
    stem = "_leftImg8bit"
    images, annotations = root / "leftImg8bit" / folder, root / "gtFine" / folder
    return _paired(images, annotations, root, lambda file: f"{file.stem.removesuffix(stem)}_gtFine_labelIds.png")


def _decode_cityscapes(path: Path) -> Array:
    table = dict.fromkeys((*range(_LAST_CITYSCAPES_ID + 1), _NO_CITYSCAPES_ID), VOID)
    table |= {label_id: train_id for train_id, label_id in enumerate(_CITYSCAPES_IDS)}
    return _translated(read_labels(path), path, table, f"Cityscapes labelIds up to {_LAST_CITYSCAPES_ID}")


def _find_vistas(root: Path, part: str) -> list[Annotated]:
    """Version 1.2: PART/images and PART/labels; in the archives of version 2.0 the latter are in PART/v1.2/labels."""
    newer = root / part / "v1.2" / "labels"
    return _paired(
        root / part / "images", newer if newer.is_dir() else root / part / "labels", root, lambda file: f"{file.stem}.png"
    )


def _decode_vistas(path: Path) -> Array:
    table = {label: label for label in range(_VISTAS_UNLABELLED)} | {_VISTAS_UNLABELLED: VOID}
    return _translated(read_labels(path), path, table, f"0 to {_VISTAS_UNLABELLED}, as in version 1.2 of Mapillary Vistas")


def _translated(labels: Array, path: Path, table: dict[int, int], expected: str) -> Array:
    """Ids (H, W) by the table; SceneError for one that it lacks."""
    lookup = np.full(65536, -1, np.int16)
    lookup[list(table)] = list(table.values())
    translated = lookup[labels]
    if translated.min(initial=0) < 0:
        raise SceneError(f"{path}: found the id {int(labels[translated < 0].max())}, expected {expected}")
    return translated.astype(np.uint8)


LAYOUTS = {
    "camvid": ClassLayout("camvid", CITYSCAPES_19, CLASS_NAMES, _find_camvid, _decode_camvid),
    "cityscapes": ClassLayout("cityscapes", CITYSCAPES_19, CLASS_NAMES, _find_cityscapes, _decode_cityscapes, 768),
    "vistas": ClassLayout("vistas", VISTAS_66, VISTAS_NAMES, _find_vistas, _decode_vistas, 768),
}
