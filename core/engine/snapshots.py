"""Snapshots of training: tensors with a few facts in one safetensors file, which appears whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from core.errors import WeightsError
from core.images import write_atomic

FACTS = "fgsn-snapshot-1"
_OPTIMIZER = "optimizer."


def write_snapshot(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and facts (plain JSON values); InputError when the disk is full, and the old file stays."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(whole, {FACTS: json.dumps(facts, sort_keys=True)})  # save_file would hide a full disk
    write_atomic(path, lambda temporary: _write_synced(temporary, content))


def _write_synced(name: str, content: bytes) -> None:
    with open(name, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # a rename must not reach the disk before what it renames


def read_snapshot(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_snapshot`` wrote; WeightsError when the file is something else."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {})[FACTS])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not a training snapshot ({error})") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers of every parameter, by its number and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{_OPTIMIZER}{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer of the same parameters back what ``optimizer_tensors`` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            number, what = name.removeprefix(_OPTIMIZER).split(".")
            state.setdefault(int(number), {})[what] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's weights and statistics, under names that no optimizer has."""
    return {f"network.{name}": tensor for name, tensor in network.state_dict().items()}


def restore_network(path: Path, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load ``network_tensors`` back; WeightsError when they are of another network."""
    state = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: the snapshot is of another network; expected the one that the run began with") from error
