"""Pairs a second of cluster training beside a plain loop of the published kind: same network, pairs and crops, one run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

import torch

from benchmarks.plain_training import plain_training
from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig, ClusterModel
from core.engine.device import cpu_has_bf16
from core.engine.fgsn_config import FGSNConfig
from core.engine.network import PSPNet
from core.engine.optimization import Stepper, paper_optimization
from core.engine.runs import start_network
from core.engine.season_data import Subset, open_pair_data
from core.engine.targets import make_targets
from core.engine.training import PairTraining, clusters_of_round, frozen_copy, with_new_heads
from core.engine.weights import Preprocessing
from core.steps import finish
from resources import DEMO

CROP, BATCH, NUM_CLUSTERS = 225, 16, 100
NUM_PLACES, PLAIN_STEPS, ENGINE_STEPS = 8, 20, 5


def run() -> list[dict]:
    """Train the small network on the demo scene's places, by the plain loop and by the engine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or threads)
    try:
        return _rows()
    finally:
        torch.set_num_threads(threads)


def _rows() -> list[dict]:
    network, info = start_network("world-19")
    preprocessing = info.preprocessing
    data = Subset(open_pair_data([DEMO], short_side=preprocessing.short_side), range(NUM_PLACES))
    config = _config()
    frozen = frozen_copy(network, preprocessing, config)
    clusters = finish(clusters_of_round(frozen, data, config, 0))
    started = perf_counter()
    targets = finish(make_targets(frozen, clusters, data, config))
    labelling = perf_counter() - started
    fresh = with_new_heads(network, clusters, config, 0)
    plain = plain_training(fresh, clusters.assign_map, _files(data), CROP, preprocessing.short_side, PLAIN_STEPS)
    plain_rate = _plain_rate(plain)
    rows = [{"training": f"plain loop, batch 1, f32, {CROP} px", "pairs a second": plain_rate, "times faster": 1.0}]
    for precision in ("fp32", "bf16") if cpu_has_bf16() else ("fp32",):
        rate = _engine_rate(network, clusters, data, targets, preprocessing, config, precision)
        name = f"engine, batch {BATCH}, {precision}"
        rows.append({"training": name, "pairs a second": rate, "times faster": rate / plain_rate})
    name = "engine: labels of whole reference images, once a clustering"
    return [*rows, {"training": name, "seconds an image": labelling / len(data)}]


def _config() -> FGSNConfig:
    return FGSNConfig(
        optimization=paper_optimization(batch_size=BATCH),
        augmentation=AugmentationConfig(crop=CROP, flip=False),
        clusters=ClusterConfig(num_clusters=NUM_CLUSTERS, num_iterations=2),
        labels="image",
    )


def _files(data) -> list[tuple]:
    """The same pairs as image files with points in their px."""
    pairs = []
    for index in range(len(data)):
        view = data.view(index)
        for number, matches in enumerate(view.correspondences, start=1):
            paths = [view.images.paths[0], view.images.paths[number]]
            pairs.append((*paths, *_in_files(view, number, matches)))
    return pairs


def _in_files(view, number, matches):
    import cv2

    for path, points in zip((view.images.paths[0], view.images.paths[number]), (matches.points_ref, matches.points_other)):
        scale = min(cv2.imread(str(path)).shape[:2]) / 1024
        yield (points + 0.5) * scale - 0.5


def _plain_rate(steps: Iterator[float]) -> float:
    """Pairs a second over one chunk of samples, reading them included."""
    started = perf_counter()
    for _ in range(PLAIN_STEPS):
        next(steps)
    return PLAIN_STEPS / (perf_counter() - started)


def _engine_rate(
    network: PSPNet, clusters: ClusterModel, data, targets, preprocessing: Preprocessing, config: FGSNConfig, precision: str
) -> float:
    fresh = with_new_heads(network, clusters, config, 0)
    config = replace(config, optimization=replace(config.optimization, precision=precision))
    losses = PairTraining(fresh, data, targets, preprocessing, config, 0)
    stepper = Stepper(fresh, losses, config.optimization, 0)
    stepper.step(0, 10)
    started = perf_counter()
    for step in range(1, ENGINE_STEPS + 1):
        stepper.step(step, 10)
    return ENGINE_STEPS * BATCH / (perf_counter() - started)
