"""A toy world for the training tests: coloured regions on a canvas, seen in two lights, with exact correspondences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.engine.dataset import Shard, TrainingSet, write_shard
from core.engine.network import PSPNet, PSPNetConfig, small_config
from core.engine.weights import Preprocessing, small_preprocessing
from core.records import Correspondences

COLORS = np.array([[200, 40, 40], [40, 180, 60], [50, 70, 210], [220, 210, 60]], np.uint8)
SIZE = (65, 89)  # not square


def toy_network(num_labels: int = 4) -> PSPNet:
    """A network of a few thousand weights with the shipped structure."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape: PSPNetConfig = replace(
            small_config(num_labels),
            stem=(16, 16),
            blocks=(1, 1, 1, 1),
            widths=(8, 8, 8, 8),
            pyramids=(2, 1),
            pyramid_width=8,
            feature_width=16,
            aux_width=8,
            dropout=0.0,
        )
        return PSPNet(shape)


def toy_preprocessing() -> Preprocessing:
    return small_preprocessing()


def toy_view(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (2, H, W, 3) of one canvas by day and in the dusk, and classes (2, H, W): blocks of four colours."""
    height, width = SIZE
    blocks = random.integers(0, 4, (5, 6)).repeat(16, 0).repeat(16, 1)[:height, :width]
    day = COLORS[blocks] + random.integers(-12, 12, (height, width, 1)).clip(-12, 12)
    dusk = day * np.array([0.5, 0.45, 0.7]) + 10
    return np.stack([day, dusk]).clip(0, 255).astype(np.uint8), np.stack([blocks, blocks]).astype(np.uint8)


def toy_set(root: Path, num_views: int = 6, seed: int = 0) -> TrainingSet:
    """Write one shard of ``num_views`` viewpoints and open it."""
    random = np.random.default_rng(seed)
    views = [toy_view(random) for _ in range(num_views)]
    points = np.stack([random.uniform(0, SIZE[1] - 1, 200), random.uniform(0, SIZE[0] - 1, 200)], 1)
    matches = Correspondences(points, points, np.ones(200))
    shard = Shard(
        name="toy-0",
        kind="toy",
        seed=seed,
        conditions=np.array([["overcast", "dusk"]] * num_views),
        images=np.stack([images for images, _ in views]),
        classes=np.stack([classes for _, classes in views]),
        points={(view, 1): matches for view in range(num_views)},
    )
    write_shard(root / "toy-0", shard)
    return TrainingSet(root)


def drain(generator):
    """Run a generator to its end; return what it yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as stop:
            return yielded, stop.value


def on_one_thread():
    """Toy networks are too small to share among threads: run them on one, then restore the number. A fixture's body."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
