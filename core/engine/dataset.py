"""Training sets on disk: places seen in several conditions, with exact correspondences.

A set is a folder of shards; a shard is one world: ``images.npy`` (V, C, H, W, 3) u8 for V viewpoints in C conditions,
``classes.npy`` (V, C, H, W) u8 (19 Cityscapes train ids, 255 void), perhaps ``surfaces.npy`` (V, C, H/2, W/2, 4) u8
(core.engine.surfaces), ``points.npz`` and ``shard.json``. Condition 0 of a
viewpoint is its reference; the correspondences lead from it to each other condition (paper 2.1). The arrays are mapped,
not read: a crop costs only its own pages.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.records import Correspondences


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One world of a set; ``conditions`` (V, C) names, ``points`` by (viewpoint, condition index >= 1); ``surfaces`` codes
    (core.engine.surfaces) of worlds.
    """

    name: str
    kind: str
    seed: int
    conditions: Array
    images: Array
    classes: Array
    points: dict[tuple[int, int], Correspondences]
    surfaces: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One place in C conditions: ``images`` C times (H, W, 3) u8, the reference first; ``conditions`` their names;
    ``correspondences`` C - 1, from the reference to each other image.

    Worlds have one array (C, H, W, 3), ``classes`` (C, H, W) u8 and ``surfaces`` (C, H/2, W/2, 4) u8 codes. The images of
    photographs may differ in size and have neither; they and their correspondences are read when they are asked for.
    ``positions`` (N, 2) f64 px: where features of the reference are taken (PAPER 2.1); None: at its correspondences.
    """

    name: str
    conditions: tuple[str, ...]
    images: Array | Sequence[Array]
    classes: Array | None
    correspondences: Sequence[Correspondences]
    surfaces: Array | None = None
    positions: Array | None = None


class PairData(Protocol):
    """What training across conditions learns from: views by number; the same number always gives the same view."""

    def __len__(self) -> int: ...

    def view(self, index: int) -> View: ...


class TrainingSet:
    """All viewpoints of a folder of shards, in the order of their names; SceneError when there are none."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.shards = tuple(read_shard(path.parent) for path in sorted(self.root.glob("*/shard.json")))
        if not self.shards:
            raise SceneError(f"{root}: no training shards here, expected folders with shard.json")
        self._places = [(shard, view) for shard in self.shards for view in range(len(shard.images))]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def num_images(self) -> int:
        return sum(shard.images.shape[0] * shard.images.shape[1] for shard in self.shards)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the first image; all shards of a set have one size."""
        height, width = self.shards[0].images.shape[2:4]
        return height, width

    def view(self, index: int) -> View:
        shard, view = self._places[index]
        names = tuple(str(name) for name in shard.conditions[view])
        points = tuple(shard.points[view, other] for other in range(1, len(names)))
        surfaces = None if shard.surfaces is None else shard.surfaces[view]
        return View(f"{shard.name}/{view:03d}", names, shard.images[view], shard.classes[view], points, surfaces)


def write_shard(folder: Path, shard: Shard) -> None:
    """Write a shard; the folder appears whole or not at all."""
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    np.save(temporary / "images.npy", shard.images)
    np.save(temporary / "classes.npy", shard.classes)
    if shard.surfaces is not None:
        np.save(temporary / "surfaces.npy", shard.surfaces)
    arrays = {f"{v}_{c}": np.hstack([p.points_ref, p.points_other, p.weights[:, None]]) for (v, c), p in shard.points.items()}
    np.savez(temporary / "points.npz", **arrays)
    facts = {"version": 1, "name": shard.name, "kind": shard.kind, "seed": shard.seed, "conditions": shard.conditions.tolist()}
    (temporary / "shard.json").write_text(json.dumps(facts))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def read_shard(folder: Path) -> Shard:
    """Map a shard's arrays; SceneError when a file is missing or does not fit."""
    try:
        facts = json.loads((folder / "shard.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        classes = np.load(folder / "classes.npy", mmap_mode="r", allow_pickle=False)
        with np.load(folder / "points.npz", allow_pickle=False) as stored:
            points = {_viewpoint_key(key): _as_correspondences(stored[key]) for key in stored.files}
        conditions = np.array(facts["conditions"])
        stored = folder / "surfaces.npy"
        surfaces = np.load(stored, mmap_mode="r", allow_pickle=False) if stored.is_file() else None
        if images.shape[:4] != classes.shape or conditions.shape != images.shape[:2]:
            raise ValueError(f"images {images.shape}, classes {classes.shape}, conditions {conditions.shape} do not fit")
        return Shard(facts["name"], facts["kind"], int(facts["seed"]), conditions, images, classes, points, surfaces)
    except (OSError, ValueError, KeyError) as error:
        raise SceneError(f"{folder}: not a training shard ({error})") from error


def _viewpoint_key(key: str) -> tuple[int, int]:
    view, condition = key.split("_")
    return int(view), int(condition)


def _as_correspondences(columns: Array) -> Correspondences:
    return Correspondences(columns[:, :2], columns[:, 2:4], columns[:, 4])
