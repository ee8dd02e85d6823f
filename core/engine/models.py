"""Make the shipped networks: render worlds, learn their classes, to tell points apart, then cluster labels; evaluate.

Every stage leaves a file in the work folder and is skipped when that is there, so the same call goes on where it stopped.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig
from core.engine.dataset import TrainingSet
from core.engine.model_card import model_card
from core.engine.network import PSPNet, small_config
from core.engine.optimization import OptimizationConfig, StepRecord
from core.engine.pretraining import PretrainingConfig, finished, pretrain
from core.engine.segmenter import load_segmenter
from core.engine.training import FGSNConfig, clusters_of_round, frozen_copy, train_clusters, with_new_heads
from core.engine.validation import evaluate_on_photographs, evaluate_on_worlds
from core.engine.weights import NetworkInfo, Preprocessing, load_network, save_network, small_preprocessing
from core.engine.world_data import RenderConfig, render_set
from core.errors import InputError
from core.images import write_atomic
from core.records import Progress, setting
from core.world.classes import CLASS_NAMES

Step = Progress | StepRecord


def _pretraining() -> PretrainingConfig:
    schedule = OptimizationConfig(iterations=2500, learning_rate=2e-3, warmup=60, precision="bf16")
    crops = AugmentationConfig(crop=225, min_scale=0.6, max_scale=1.8)
    return PretrainingConfig(optimization=schedule, augmentation=crops, surface_weight=0.4)


def _refinement() -> PretrainingConfig:
    schedule = OptimizationConfig(iterations=1200, learning_rate=8e-4, warmup=60, precision="bf16", frozen_norm=True)
    lasting = ("material", "height")
    return replace(_pretraining(), optimization=schedule, surface_names=lasting, contrast_weight=0.5)


def _fgsn() -> FGSNConfig:
    schedule = OptimizationConfig(
        iterations=300, learning_rate=3e-4, warmup=30, head_factor=3.0, head_iterations=100, precision="bf16", frozen_norm=True
    )
    crops = AugmentationConfig(crop=225, min_scale=0.7, max_scale=1.8, flip=False)
    return FGSNConfig(
        optimization=schedule,
        augmentation=crops,
        clusters=ClusterConfig(init="k-means++", max_dims=32, projection="discriminant"),
        max_reference_images=200,
        pool_conditions=True,
        recluster_every=0,
        labels="image",
        label_scale=1.25,
        crops="random",
        photometric="both",
        average="matches",
        head="centroids",
    )


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the networks of one number of clusters are made by; few labels that hold, or many that tell more."""

    num_clusters: int = setting(100, minimum=1, help="number of clusters K")
    max_dims: int = setting(32, minimum=1, help="dimensions kept by the whitening")
    bit_cost: float = setting(0.0, minimum=0, help="what labels pay for their bits, see ClusterConfig")
    kept_start: float = setting(
        0.5,
        minimum=0,
        maximum=1,
        help="share of the weights as cluster training found them that the result keeps (weights averaged after fine-tuning, "
        "Wortsman et al., CVPR 2022); 1: no cluster training",
    )


@dataclass(frozen=True, kw_only=True)
class ShippedConfig:
    """The shipped networks' recipe; the held-out worlds have seeds of their own and all eight conditions.

    The refining worlds are others than those that the classes were learnt on, seen from cameras that moved farther: what
    tells points apart must not be how they looked from one place. Cluster labels are cut from the refined features.
    """

    training_worlds: RenderConfig = field(default_factory=lambda: RenderConfig(num_worlds=96, views_per_world=6))
    held_out_worlds: RenderConfig = field(
        default_factory=lambda: RenderConfig(
            num_worlds=6, views_per_world=3, conditions_per_view=8, first_seed=900_000, width=640, height=480
        )
    )
    refining_worlds: RenderConfig = field(
        default_factory=lambda: RenderConfig(
            num_worlds=64, views_per_world=6, first_seed=1096, moved_share=0.6, max_shift=1.2, max_turn_deg=12.0
        )
    )
    pretraining: PretrainingConfig = field(default_factory=_pretraining)
    refinement: PretrainingConfig = field(default_factory=_refinement)
    fgsn: FGSNConfig = field(default_factory=_fgsn)
    vocabularies: tuple[Vocabulary, ...] = (
        Vocabulary(num_clusters=100, max_dims=40, bit_cost=0.078, kept_start=1.0),  # holds better on photographs untrained
        Vocabulary(num_clusters=200, max_dims=32, bit_cost=0.05, kept_start=0.5),
    )
    preprocessing: Preprocessing = field(default_factory=small_preprocessing)
    num_workers: int = setting(2, minimum=0, help="rendering processes")
    max_photographs: int = setting(16, minimum=2, help="photographs of a fixed camera that are compared")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Where a run works and ships, and what it is made with."""

    out: Path
    work: Path
    seed: int
    config: ShippedConfig
    photographs: Path | None

    def info(self, vocabulary: str, network: PSPNet, names: tuple[str, ...] | None) -> NetworkInfo:
        return NetworkInfo(
            vocabulary=vocabulary,
            num_labels=network.config.num_labels,
            preprocessing=self.config.preprocessing,
            config=network.config,
            names=names,
        )


def train_shipped_models(
    out: Path,
    work: Path,
    seed: int = 0,
    config: ShippedConfig | None = None,
    photographs: Path | None = None,
    command: str = "",
) -> Generator[Step, None, tuple[Path, ...]]:
    """Make ``out``/world-19.safetensors and one network a number of clusters, with their cards; return the weight files.

    ``photographs``: folders of fixed-camera photographs to evaluate on, never to train on. ``command`` goes into the
    cards. Stages that ``work`` already holds are skipped; InputError when it holds a run with other settings.
    """
    run = Run(Path(out), Path(work), seed, config or ShippedConfig(), photographs)
    check_same_run(run)
    data = yield from render_set(run.work / "train", run.config.training_worlds, run.config.num_workers)
    held_out = yield from render_set(run.work / "held-out", run.config.held_out_worlds, run.config.num_workers)
    classes = yield from _class_network(run, data)
    pairs = yield from render_set(run.work / "refine", run.config.refining_worlds, run.config.num_workers)
    refined = yield from _refined_network(run, pairs, classes)
    made = [("world-19", classes, "cityscapes-19", CLASS_NAMES)]
    for vocabulary in run.config.vocabularies:
        name = f"world-{vocabulary.num_clusters}"
        made.append((name, (yield from _cluster_network(run, pairs, refined, vocabulary)), name, None))
    shipped = []
    for name, network, vocabulary, names in made:
        path = run.out / f"{name}.safetensors"
        save_network(path, network, run.info(vocabulary, network, names), torch.float16)
        report = yield from _evaluation(run, path, held_out)
        made_from = (data,) if names else (data, pairs)
        card = model_card(vocabulary, network.config.num_labels, run.config, seed, command, made_from, report)
        write_atomic(run.out / f"{name}.md", lambda temporary, text=card: Path(temporary).write_text(text, encoding="utf-8"))
        shipped.append(path)
    return tuple(shipped)


def check_same_run(run: Run) -> None:
    """Write the run's settings into its work folder, or compare them with those that are there."""
    path = run.work / "run.json"
    settings = json.loads(json.dumps({"seed": run.seed, "config": asdict(run.config)}))
    if not path.is_file():
        write_atomic(path, lambda temporary: Path(temporary).write_text(json.dumps(settings, indent=1)))
        return
    stored = json.loads(path.read_text())
    if stored != settings:
        raise InputError(f"{path}: the work folder holds a run with other settings; expected the same, or an empty folder")


def _class_network(run: Run, data: TrainingSet) -> Generator[Step, None, PSPNet]:
    def make() -> Generator[Step, None, PSPNet]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            network = PSPNet(small_config(len(CLASS_NAMES)))
        snapshot = run.work / "pretraining.safetensors"
        return (yield from pretrain(network, data, run.config.preprocessing, run.config.pretraining, run.seed, snapshot))

    return (yield from _stage(run, "world-19", "cityscapes-19", make, CLASS_NAMES))


def _refined_network(run: Run, data: TrainingSet, start: PSPNet) -> Generator[Step, None, PSPNet]:
    def make() -> Generator[Step, None, PSPNet]:
        snapshot = run.work / "refinement.safetensors"
        network = copy.deepcopy(start)
        return (yield from pretrain(network, data, run.config.preprocessing, run.config.refinement, run.seed + 1, snapshot))

    return (yield from _stage(run, "refined", "cityscapes-19", make, CLASS_NAMES))


def _cluster_network(run: Run, data: TrainingSet, start: PSPNet, vocabulary: Vocabulary) -> Generator[Step, None, PSPNet]:
    asked = {"num_clusters": vocabulary.num_clusters, "max_dims": vocabulary.max_dims, "bit_cost": vocabulary.bit_cost}
    clusters = replace(run.config.fgsn.clusters, **asked)
    config, name = replace(run.config.fgsn, clusters=clusters), f"world-{vocabulary.num_clusters}"
    work = run.work / f"fgsn-{vocabulary.num_clusters}"

    def make() -> Generator[Step, None, PSPNet]:
        if vocabulary.kept_start == 1:
            frozen = frozen_copy(start, run.config.preprocessing, config)
            found = yield from clusters_of_round(frozen, data, config, run.seed, work / "clusters_0.safetensors")
            return finished(with_new_heads(start, found, config, run.seed))
        trained = yield from train_clusters(start, data, run.config.preprocessing, config, run.seed, work)
        untrained = with_new_heads(start, trained.clusters, config, run.seed)
        return averaged(finished(untrained), trained.network, vocabulary.kept_start)

    return (yield from _stage(run, name, name, make, None))


def averaged(first: PSPNet, second: PSPNet, share: float) -> PSPNet:
    """A network whose weights and statistics are those of two of one shape, ``share`` of the first."""
    made = copy.deepcopy(second)
    weights = first.state_dict()
    mixed = {name: torch.lerp(own, weights[name], share) for name, own in made.state_dict().items() if own.is_floating_point()}
    made.load_state_dict(made.state_dict() | mixed)
    return made


def _stage(
    run: Run, name: str, vocabulary: str, make: Callable[[], Generator[Step, None, PSPNet]], names: tuple[str, ...] | None
) -> Generator[Step, None, PSPNet]:
    """Read a stage's network from the work folder, or make it and write it there in full precision, with its log."""
    path = run.work / f"{name}.safetensors"
    if not path.is_file():
        log, started = [], time.monotonic()
        network = yield from _logged(make(), log)
        save_network(path, network, run.info(vocabulary, network, names))
        facts = {"seconds": round(time.monotonic() - started), "steps": log}
        write_atomic(run.work / f"{name}.log.json", lambda temporary: Path(temporary).write_text(json.dumps(facts)))
    return load_network(path)[0]


def _logged(steps: Generator[Step, None, PSPNet], log: list[dict[str, float]]) -> Generator[Step, None, PSPNet]:
    """Pass the steps on and keep every tenth training step's loss and rate."""
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            return done.value
        if isinstance(step, StepRecord) and step.step % 10 == 0:
            log.append({"step": step.step, "loss": step.loss, "learning_rate": step.learning_rate} | step.parts)
        yield step


def _evaluation(run: Run, weights: Path, held_out: TrainingSet) -> Generator[Step, None, dict[str, list[dict[str, Any]]]]:
    """Evaluate a weight file once; later calls read the numbers while file and photographs are the same."""
    trained = (run.work / weights.name).read_bytes()  # the shipped copy has the same weights and other bytes each time
    made_with = [hashlib.sha256(trained).hexdigest(), str(run.photographs), run.config.max_photographs]
    path = run.work / f"{weights.stem}.evaluation.json"
    if path.is_file():
        stored = json.loads(path.read_text())
        if stored["made_with"] == made_with:
            return stored["rows"]
    segmenter = load_segmenter(weights)
    rows = {"worlds": (yield from evaluate_on_worlds(segmenter.segment, held_out)), "photographs": []}
    if run.photographs is not None:
        limit = run.config.max_photographs
        rows["photographs"] = yield from evaluate_on_photographs(segmenter.segment, run.photographs, max_images=limit)
    stored = {"made_with": made_with, "rows": rows}
    write_atomic(path, lambda temporary: Path(temporary).write_text(json.dumps(stored, indent=1)))
    return rows
