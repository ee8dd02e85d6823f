"""Supervised pre-training on annotated images from start to finish: data, network, weight file, mIoU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.engine.class_data import ClassData, join_class_data, open_class_data
from core.engine.consistency import class_iou, confusion_matrix
from core.engine.dataset import PairData
from core.engine.device import choose_device
from core.engine.network import PSPNet, small_config
from core.engine.optimization import StepRecord
from core.engine.pretraining import PretrainingConfig, pretrain
from core.engine.segmenter import Segmenter
from core.engine.validation import pixel_accuracy, spread
from core.engine.weights import NetworkInfo, Preprocessing, load_network, save_network, small_preprocessing
from core.errors import InputError, WeightsError
from core.geometry import Array
from core.records import LabelMap, Progress
from core.scene.folders import check_writable

Step = Progress | StepRecord
_MIN_CROP = 33


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """``iou`` (K,) f64 of every class, NaN for those that the validation images lack; their mean; share of right pixels."""

    names: tuple[str, ...]
    iou: Array
    miou: float
    pixel_accuracy: float
    num_images: int

    def as_row(self) -> dict[str, Any]:
        """Plain values, as for JSON; null for absent classes."""
        iou = {name: None if np.isnan(value) else round(float(value), 4) for name, value in zip(self.names, self.iou)}
        return {
            "miou": round(self.miou, 4),
            "pixel_accuracy": round(self.pixel_accuracy, 4),
            "num_images": self.num_images,
            "iou": iou,
        }


@dataclass(frozen=True, slots=True)
class ClassRun:
    """What a run is made from: folders with their layout (None: recognised), the start network or None, size of photographs."""

    data: tuple[Path, ...]
    layout: str | None = None
    init: Path | None = None
    short_side: int | None = None


def train_classes(
    run: ClassRun,
    out: Path,
    config: PretrainingConfig,
    seed: int = 0,
    max_validation: int | None = None,
    device: str = "auto",
) -> Generator[Step, None, ClassScores]:
    """Train a network on annotated images, write it to ``out``, measure it on the validation part.

    Without ``init`` a small network starts from random weights; with it that network goes on, with a new classifier where it
    has other classes. A hidden snapshot lies beside ``out`` until the run ends, also a stopped one: the same call goes on
    from it.
    ``max_validation``: at most that many validation images, evenly spread. Raises InputError before any work, and
    TrainingError when the loss is no longer a number.
    """
    out = Path(out)
    _require_weight_name(out)
    _require_trainable(config)
    compute = choose_device(device)
    check_writable(out.parent)
    yield Progress("Reading the lists of images", 0.0)
    data = join_class_data([open_class_data(path, run.layout, short_side=run.short_side, seed=seed) for path in run.data])
    network, preprocessing = start_network(run.init, data, seed)
    snapshot = out.with_name(f".{out.stem}.{_digest(run, data, config, seed)}.training")
    network = yield from pretrain(network.to(compute.device), data.train, preprocessing, config, seed, snapshot)
    info = NetworkInfo(
        vocabulary=data.vocabulary,
        num_labels=len(data.names),
        preprocessing=preprocessing,
        config=network.config,
        names=data.names,
    )
    save_network(out, network, info)
    for left in out.parent.glob(f".{out.stem}.*.training"):
        left.unlink(missing_ok=True)
    segmenter = Segmenter(network, info, compute)
    return (yield from evaluate_classes(segmenter.segment, data.validation, data.names, max_validation))


def start_network(init: Path | None, data: ClassData, seed: int) -> tuple[PSPNet, Preprocessing]:
    """The network to begin with, and what it wants of its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if init is None:
            return PSPNet(small_config(len(data.names))), small_preprocessing()
        network, info = load_network(init)
        if info.num_labels != len(data.names) or (info.names is not None and info.names != data.names):
            network.reset_heads(len(data.names))
        return network, info.preprocessing


def evaluate_classes(
    segment: Callable[[Array], LabelMap], data: PairData, names: tuple[str, ...], max_images: int | None = None
) -> Generator[Progress, None, ClassScores]:
    """Compare the labels of the views' images with their classes (PAPER 4.5: mIoU over the classes that are there).

    ``max_images``: at most that many views, evenly spread.
    """
    confusion, num_images = np.zeros((len(names), len(names)), np.int64), 0
    chosen = range(len(data)) if max_images is None else spread(len(data), max_images)
    for done, index in enumerate(chosen):
        view = data.view(index)
        for image, classes in zip(view.images, view.classes, strict=True):
            confusion += confusion_matrix(classes, segment(np.array(image)).labels, len(names))
            num_images += 1
        yield Progress(f"validated image {done + 1} of {len(chosen)}", (done + 1) / len(chosen))
    iou = class_iou(confusion)
    miou = float(np.nanmean(iou)) if not np.isnan(iou).all() else 0.0
    return ClassScores(names, iou, miou, pixel_accuracy(confusion), num_images)


def _require_weight_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out}: a weight file is written as .safetensors, expected such a name")
    if out.is_dir():
        raise InputError(f"{out}: is a folder, expected the name of a weight file")


def _require_trainable(config: PretrainingConfig) -> None:
    if config.optimization.batch_size < 2 and not config.optimization.frozen_norm:
        raise InputError("the batch size is 1, expected at least 2: normalization needs several images")
    if config.augmentation.crop < _MIN_CROP:
        raise InputError(f"the crop is {config.augmentation.crop} px, expected at least {_MIN_CROP}")


def _digest(run: ClassRun, data: ClassData, config: PretrainingConfig, seed: int) -> str:
    """Names what a snapshot belongs to, so that another run starts afresh."""
    facts = {"run": asdict(run), "views": len(data.train), "config": asdict(config), "seed": seed}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:8]
