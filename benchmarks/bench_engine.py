"""Seconds an image of the engine beside a plain one-crop-at-a-time f32 loop, on all cores (or the graphics card)."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import nn

from benchmarks.plain_segmentation import plain_segmentation
from core.engine.device import choose_device
from core.engine.network import PSPNet, PSPNetConfig, official_config, small_config
from core.engine.segmenter import Segmenter
from core.engine.weights import NetworkInfo, Preprocessing, small_preprocessing

NUM_LABELS = 100


def run() -> list[dict]:
    """Measure PSPNet-101 on 1024 x 768 (plain, exact, fast) and the small network on 640 x 480 (exact, fast)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or threads)
    try:
        return [*_rows("PSPNet-101", official_config(NUM_LABELS), Preprocessing(), (768, 1024), plain=True), *_small_rows()]
    finally:
        torch.set_num_threads(threads)


def _small_rows() -> list[dict]:
    return _rows("small network, 640 x 480", small_config(NUM_LABELS), small_preprocessing(), (480, 640), plain=False)


def _rows(title: str, config: PSPNetConfig, preprocessing: Preprocessing, size: tuple[int, int], plain: bool) -> list[dict]:
    network = random_network(config)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    info = NetworkInfo(vocabulary="random", num_labels=NUM_LABELS, preprocessing=preprocessing, config=config)
    timed = {"plain loop, f32": lambda: plain_segmentation(network, image)} if plain else {}
    for precision in ("exact", "fast"):
        compute = choose_device("auto", precision)
        segmenter = Segmenter(network, info, compute)
        number_format = str(compute.dtype).removeprefix("torch.")
        timed[f"{precision}, {compute.device} {number_format}"] = lambda segmenter=segmenter: segmenter.segment(image)
    seconds = {name: _seconds(work) for name, work in timed.items()}
    first = next(iter(seconds.values()))
    return [
        {"engine": f"{title}: {name}", "seconds an image": value, "times faster": first / value}
        for name, value in seconds.items()
    ]


def _seconds(work: Callable[[], object]) -> float:
    """Time one run, or the best of three of what takes less than ten seconds (the first one warms up)."""
    times = []
    while len(times) < 3 and sum(times) < 10:
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def random_network(config: PSPNetConfig) -> PSPNet:
    """A network in eval mode whose activations stay in range: BatchNorm starts without statistics."""
    torch.manual_seed(0)
    network = PSPNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.3)
    return network.eval()
