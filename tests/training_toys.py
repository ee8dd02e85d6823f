"""Small runs for the training tests: a start network on disk, settings that finish in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine_toys import toy_network, toy_preprocessing

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig
from core.engine.fgsn_config import FGSNConfig
from core.engine.network import PSPNet
from core.engine.optimization import paper_optimization
from core.engine.runs import RunConfig
from core.engine.weights import NetworkInfo, save_network

RUN = RunConfig(validate_every=3, validation_share=0.3, validation_pairs=2, official_layout=False)


def start_weights(folder: Path, network: PSPNet | None = None) -> Path:
    """Write a toy network with four labels that sees images as they are."""
    network = network or toy_network()
    preprocessing = replace(toy_preprocessing(), short_side=65)
    info = NetworkInfo(
        vocabulary="toy-4", num_labels=network.config.num_labels, preprocessing=preprocessing, config=network.config
    )
    save_network(folder / "start.safetensors", network, info)
    return folder / "start.safetensors"


def run_config(iterations: int = 8, recluster_every: int = 4, snapshot_every: int = 2, **changes) -> FGSNConfig:
    """The paper's settings on toys: the crops are 41 px, the rate fits a random start."""
    optimization = paper_optimization(iterations=iterations, learning_rate=1e-2, snapshot_every=snapshot_every)
    fixed = {
        "augmentation": AugmentationConfig(crop=41, flip=False),
        "clusters": ClusterConfig(num_clusters=6, num_iterations=3),
    }
    sizes = {"max_features_per_image": 40, "recluster_every": recluster_every, "optimization": optimization}
    return FGSNConfig(**(fixed | sizes | changes))
