"""Make the network of a study's row: resumable, with clusters shared by the rows that start alike."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.study_measure import TimeSpent
from benchmarks.study_rows import CLASSES, RowSpec
from core.engine.dataset import PairData
from core.engine.fgsn_config import FGSNConfig
from core.engine.models import ShippedConfig
from core.engine.network import PSPNet
from core.engine.optimization import StepRecord, optimise
from core.engine.pretraining import finished
from core.engine.settings import changed
from core.engine.targets import make_targets
from core.engine.training import PairTraining, frozen_copy, train_clusters
from core.engine.weights import NetworkInfo, Preprocessing, load_network, save_network
from core.errors import InputError
from core.images import write_atomic
from core.records import Progress

NETWORK = "network.safetensors"
SETTINGS = "settings.json"
LOG = "log.json"


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A network to begin with, and the SHA-256 of its file."""

    network: PSPNet
    info: NetworkInfo
    sha256: str


def load_start(path: Path) -> Start:
    network, info = load_network(path)
    return Start(network, info, info.sha256)


def study_base() -> FGSNConfig:
    """The shipped networks' recipe without the options that have rows of their own, so that each row adds just its one."""
    shipped = ShippedConfig().fgsn
    random_heads = {"learning_rate": 6e-4, "head_factor": 10.0, "head_iterations": 300, "frozen_norm": False}
    schedule = replace(shipped.optimization, **random_heads)
    return replace(
        shipped,
        optimization=schedule,
        clusters=replace(shipped.clusters, projection="pca", max_dims=64, bit_cost=0.0),
        max_reference_images=288,
        pool_conditions=False,
        photometric="both",
        soft_targets="none",
        head="fresh",
        recluster_every=0,
    )


def config_of(row: RowSpec, base: FGSNConfig, steps: int) -> FGSNConfig:
    """The settings of a row when an ordinary one takes ``steps`` steps."""
    total = max(1, round(steps * row.length))
    again = -(-total // (row.reclusterings + 1)) if row.reclusterings else 0
    config = replace(base, recluster_every=again, clusters=replace(base.clusters, num_clusters=row.num_labels))
    optimization = replace(config.optimization, iterations=total)
    if row.kind == CLASSES:
        optimization = replace(optimization, head_factor=1.0, head_iterations=0)  # this head is not fresh
    config = replace(config, optimization=optimization)
    for name, text in row.changes:
        config = changed(config, name, text)
    return config


def train_row(
    row: RowSpec, config: FGSNConfig, start: Start, data: PairData, seed: int, work: Path, device: str, clusters: Path
) -> Generator[Progress | StepRecord, None, Path]:
    """Train a row's network in ``work`` and return its file, or return it at once where it is there.

    ``clusters``: folder in which first clusterings are kept for the rows that would make the same ones. Raises InputError
    when ``work`` holds a network of other settings.
    """
    described = {name: value for name, value in asdict(row).items() if name != "photographs" or value}
    settings = {"row": described, "config": asdict(config), "start": start.sha256, "seed": seed, "data": data_facts(data)}
    check_settings(work / SETTINGS, settings)
    out = work / NETWORK
    if not out.is_file():
        facts, began = {"steps": []}, time.monotonic()
        network = yield from _logged(_trained(row, config, start, data, seed, work, device, clusters), facts)
        seconds, ready = time.monotonic() - began, facts.get("preparation_seconds", 0.0)
        facts |= {"seconds": round(seconds, 1)}
        yield TimeSpent(f"{row.name}: prepared in {ready:.0f} s, trained in {seconds - ready:.0f} s", 1.0)
        write_atomic(work / LOG, lambda temporary: Path(temporary).write_text(json.dumps(facts)))
        names = start.info.names if row.kind == CLASSES else None
        vocabulary = start.info.vocabulary if row.kind == CLASSES else row.name
        save_network(out, network, replace_info(start.info, network, vocabulary, names), torch.float16)
        shutil.rmtree(work / "training", ignore_errors=True)
    return out


def data_facts(data: PairData) -> dict[str, Any]:
    """What tells one data set from another, without reading its images."""
    return {"views": len(data), "first": data.view(0).name, "last": data.view(len(data) - 1).name}


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Keep the settings, or compare them with those of an earlier call. Raises InputError."""
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        write_atomic(path, lambda temporary: Path(temporary).write_text(json.dumps(settings, indent=1)))
        return
    stored = json.loads(path.read_text())
    different = sorted(name for name in settings if stored.get(name) != settings[name])
    if different:
        raise InputError(f"{path}: the folder holds a row with another {', '.join(different)}; use another --work folder")


def replace_info(info: NetworkInfo, network: PSPNet, vocabulary: str, names: tuple[str, ...] | None) -> NetworkInfo:
    return NetworkInfo(
        vocabulary=vocabulary,
        num_labels=network.config.num_labels,
        preprocessing=info.preprocessing,
        config=network.config,
        names=names,
    )


def _trained(
    row: RowSpec, config: FGSNConfig, start: Start, data: PairData, seed: int, work: Path, device: str, clusters: Path
) -> Generator[Progress | StepRecord, None, PSPNet]:
    network = copy.deepcopy(start.network)
    if row.length == 0:
        return network
    network.to(device)
    training = work / "training"
    if row.kind == CLASSES:
        return (yield from train_own_labels(network, data, start.info.preprocessing, config, seed, training)).cpu()
    shared, own = clusters / f"{_clusters_key(config, start, data, seed)}.safetensors", training / "clusters_0.safetensors"
    if shared.is_file() and not own.is_file():
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared, own)
    steps = train_clusters(network, data, start.info.preprocessing, config, seed, training)
    try:
        while True:
            step = next(steps)
            if isinstance(step, StepRecord) and not shared.is_file():
                shared.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(own, shared)
            yield step
    except StopIteration as done:
        return done.value.network.cpu()
    finally:
        steps.close()


def _clusters_key(config: FGSNConfig, start: Start, data: PairData, seed: int) -> str:
    """Names what a first clustering depends on."""
    names = ("max_reference_images", "max_features_per_image", "pool_conditions", "label_scale")
    facts = [asdict(config.clusters), {name: getattr(config, name) for name in names}, start.sha256, seed, data_facts(data)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class OwnLabels:
    """Takes the place of a ClusterModel: a feature's label is what the frozen network's classifier says."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, network: PSPNet) -> OwnLabels:
        return cls(network.conv6.weight.detach()[:, :, 0, 0].float(), network.conv6.bias.detach().float())

    @property
    def num_clusters(self) -> int:
        return len(self.bias)

    def assign(self, features: Tensor) -> Tensor:
        """Labels (N,) i64 of features (N, D) before the ReLU."""
        return (F.relu(features.float()) @ self.weight.to(features.device).T + self.bias.to(features.device)).argmax(1)


def train_own_labels(
    network: PSPNet, data: PairData, preprocessing: Preprocessing, config: FGSNConfig, seed: int, work: Path
) -> Generator[Progress | StepRecord, None, PSPNet]:
    """Train a network of classes as FGSN trains clusters, on the labels that it gave reference images before (PAPER 2.3).

    The paper's class networks also see annotated images meanwhile; here both rows, with and without L_corr, do without.
    """
    if config.soft_targets != "none":
        raise InputError(f"soft_targets is {config.soft_targets!r}, expected none: classes have no centroids")
    frozen = frozen_copy(network, preprocessing, config)
    targets = yield from make_targets(frozen, OwnLabels.of(frozen.network), data, config)
    network.to(memory_format=torch.channels_last)
    losses = PairTraining(network, data, targets, preprocessing, config, seed)
    work.mkdir(parents=True, exist_ok=True)
    yield from optimise(network, losses, config.optimization, seed, work / "snapshot.safetensors")
    return finished(network)


def _logged(steps: Generator[Any, None, PSPNet], facts: dict[str, Any]) -> Generator[Any, None, PSPNet]:
    """Pass the steps on; keep every tenth training step's losses, and the time until the first (this call's, when resumed)."""
    began = time.monotonic()
    try:
        while True:
            step = next(steps)
            if isinstance(step, StepRecord):
                facts.setdefault("preparation_seconds", round(time.monotonic() - began, 1))
            if isinstance(step, StepRecord) and step.step % 10 == 0:
                facts["steps"].append({"step": step.step, "loss": float(np.float32(step.loss))} | step.parts)
            yield step
    except StopIteration as done:
        return done.value
    finally:
        steps.close()
