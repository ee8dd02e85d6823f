"""The folders that the published training code writes (PAPER 1.4): snapshots, centroids, the best one's numbers.

`cluster-training/<name>/` holds ``iter_*.pth`` (a bare state dict) with ``opt_iter_*.pth``, ``centroids_{iter}.h5`` and
``bestval.txt``. Snapshots are named by their validation, so a run without one has centroids alone. ``iter_*.json`` is ours:
it describes networks other than PSPNet-101, and the published code ignores it. Its text logs are left out. Such a folder's
best network reads back as any weight file (core.engine.weight_folders).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import torch

from core.engine.clustering import ClusterModel
from core.engine.fgsn_config import FGSNConfig
from core.engine.network import PSPNet
from core.engine.weight_folders import BEST, BEST_KEYS
from core.engine.weights import NetworkInfo, described
from core.images import write_atomic

FOLDER = "cluster-training"
_KEYS = {"centroids": "cluster_centroids", "A": "pca_transform_Amat", "b": "pca_transform_bvec"}


def run_name(config: FGSNConfig, validate_every: int) -> str:
    """The folder's name: cluster-other-other-cn{K}-ci{interval}-vi{interval}-wc{}-ws{}[-wf{}]-features{}-valm-L2-{lr}lr.

    The published names of the data (cmu, rc) and of the start network (map0, map1) are of theirs alone.
    """
    optimization = config.optimization
    interval = config.recluster_every or optimization.iterations
    hinge = f"-wf{config.hinge_weight:.5f}" if config.hinge_weight > 0 else ""
    return (
        f"cluster-other-other-cn{config.clusters.num_clusters}-ci{interval}-vi{validate_every}"
        f"-wc{config.correspondence_weight:.5f}-ws{config.class_weight:.5f}{hinge}"
        f"-features{config.max_features_per_image}-valm-L2-{optimization.learning_rate:.10f}lr"
    )


def snapshot_name(iteration: int, losses: Mapping[str, float], learning_rate: float) -> str:
    """The name of a snapshot without its suffix."""
    feat, out = losses["val_loss_feat"], losses["val_loss_out"]
    return f"iter_{iteration}_lossfeat_{feat:.5f}_lossout_{out:.5f}_lr_{learning_rate:.10f}"


def write_official_snapshot(
    folder: Path, name: str, network: PSPNet, optimizer: torch.optim.Optimizer, info: NetworkInfo
) -> None:
    """Write the network's and the optimizer's state under the published names; each file appears whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_atomic(folder / f"{name}.json", lambda temporary: Path(temporary).write_text(described(info), encoding="utf-8"))
    _write_pth(folder / f"opt_{name}.pth", optimizer.state_dict())
    _write_pth(folder / f"{name}.pth", state)


def _write_pth(path: Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()  # torch.save to a file hides a full disk
    torch.save(state, content)
    write_atomic(path, lambda temporary: Path(temporary).write_bytes(content.getbuffer()))


def write_best(folder: Path, iteration: int, losses: Mapping[str, float], snapshot: str) -> None:
    """Write bestval.txt as the published code does: a dict's repr and two newlines."""
    row = {"iter": iteration, **{key: losses[key] for key in BEST_KEYS[1:4]}, "snapshot": snapshot}
    write_atomic(folder / BEST, lambda temporary: Path(temporary).write_text(f"{row!r}\n\n", encoding="utf-8"))


def write_centroids(path: Path, clusters: ClusterModel) -> None:
    """Write the clustering as HDF5 under the published keys, the PCA matrix (D_in, D_out) for y = x @ A + b."""

    def write(temporary: str) -> None:
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            for name, key in _KEYS.items():
                file.create_dataset(key, data=getattr(clusters, name))
        Path(temporary).write_bytes(content.getbuffer())

    write_atomic(path, write)
