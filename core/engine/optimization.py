"""The training loop that both stages share: schedule, steps, records, snapshots that a run resumes from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import InputError, WeightsError
from core.images import write_atomic
from core.records import setting

HEADS = ("conv6.", "conv6_1.")
_SPEED_WINDOW = 20


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    iterations: int = setting(1500, minimum=1, help="optimization steps")
    batch_size: int = setting(16, minimum=1, help="images a step")
    optimizer: str = setting("adamw", help="adamw, or sgd as in the paper (Nesterov 0.9, biases at twice the rate)")
    learning_rate: float = setting(1e-3, minimum=0, help="rate of the body at the start")
    weight_decay: float = setting(1e-2, minimum=0, help="decay of weights; never of biases and normalization")
    power: float = setting(0.9, minimum=0, help="poly schedule: (1 - step / iterations) ** power")
    warmup: int = setting(50, minimum=0, help="steps over which the rate rises linearly")
    head_factor: float = setting(1.0, minimum=0, help="rate of conv6 and conv6_1 over the body's at the start")
    head_iterations: int = setting(0, minimum=0, help="steps over which the head's factor falls to 1; 0 keeps it")
    max_gradient: float = setting(5.0, minimum=0, help="norm to which gradients are clipped")
    precision: str = setting("fp32", help="fp32, or bf16 autocast")
    frozen_norm: bool = setting(False, help="BatchNorm keeps its running statistics, as in the paper; its scales still train")
    norm_momentum: float = setting(0.05, minimum=0, maximum=1, help="weight of a new batch in the running statistics")
    snapshot_every: int = setting(250, minimum=1, help="steps between snapshots")


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """One step: total ``loss``, its weighted ``parts``, body rate, speed over the last steps, seconds left."""

    message: str
    fraction: float
    step: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    parts: dict[str, float] = field(default_factory=dict)


class TrainingError(RuntimeError):
    """Training went wrong by itself, for instance the loss is no longer a number."""


def step_seed(seed: int, step: int) -> int:
    """A seed of its own for every step, so that a resumed run draws what an unbroken one would."""
    return (seed * 1_000_003 + step * 7919 + 17) % (2**63)


def build_optimizer(network: nn.Module, config: OptimizationConfig) -> torch.optim.Optimizer:
    """Group parameters by rate and decay; every group keeps its factor of the scheduled rate in ``factor``, ``head``."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        flat = name.endswith("bias") if config.optimizer == "sgd" else parameter.ndim < 2
        groups.setdefault((name.startswith(HEADS), flat), []).append(parameter)
    listed = [
        {
            "params": parameters,
            "head": head,
            "factor": 2.0 if flat and config.optimizer == "sgd" else 1.0,
            "weight_decay": 0.0 if flat else config.weight_decay,
        }
        for (head, flat), parameters in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(listed, lr=config.learning_rate, momentum=0.9, nesterov=True)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(listed, lr=config.learning_rate)
    raise ValueError(f"optimizer is {config.optimizer!r}, expected 'adamw' or 'sgd'")


def scheduled_rate(config: OptimizationConfig, step: int) -> float:
    """Rate of the body: linear warm-up, then lr (1 - step / iterations) ** power."""
    rising = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return config.learning_rate * rising * (1 - step / config.iterations) ** config.power


def head_factor(config: OptimizationConfig, step: int) -> float:
    """Factor of a fresh head: from ``head_factor`` geometrically down to 1 over ``head_iterations`` steps."""
    if not config.head_iterations:
        return config.head_factor
    return config.head_factor ** max(0.0, 1 - step / config.head_iterations)


def optimise(
    network: nn.Module,
    loss_of_step: Callable[[int], tuple[Tensor, dict[str, float]]],
    config: OptimizationConfig,
    seed: int,
    snapshot: Path | None = None,
    span: tuple[int, int] | None = None,
) -> Generator[StepRecord, None, None]:
    """Train ``network`` in place over the steps of ``span`` (all by default); it is left in eval mode.

    ``loss_of_step(step)`` must depend on nothing but the step and the network. With ``snapshot`` the state is written
    there, whole or not at all, and a later call with the same settings goes on from it. Raises TrainingError when the
    loss is not finite, InputError when the snapshot is of other settings.
    """
    first, last = span or (0, config.iterations)
    optimizer = build_optimizer(network, config)
    run = json.dumps({"config": asdict(config), "seed": seed, "span": [first, last]}, sort_keys=True)
    if snapshot is not None and snapshot.is_file():
        first = _restore(snapshot, network, optimizer, run)
    set_training_mode(network, config)
    clock = [time.monotonic()]
    for step in range(first, last):
        loss, parts = _step(network, optimizer, loss_of_step, config, seed, step)
        clock = [*clock[-_SPEED_WINDOW:], time.monotonic()]
        if snapshot is not None and ((step + 1) % config.snapshot_every == 0 or step + 1 == last):
            _save(snapshot, network, optimizer, run, step + 1)
        seconds = (clock[-1] - clock[0]) / (len(clock) - 1)
        yield StepRecord(
            message=f"step {step + 1} of {config.iterations}: loss {loss:.3f}",
            fraction=(step + 1) / config.iterations,
            step=step,
            loss=loss,
            learning_rate=scheduled_rate(config, step),
            images_per_second=config.batch_size / max(seconds, 1e-9),
            seconds_left=seconds * (last - step - 1),
            parts=parts,
        )
    network.eval()


def set_training_mode(network: nn.Module, config: OptimizationConfig) -> None:
    """Switch to training mode; BatchNorm gets the configured momentum, or stays in eval mode when frozen."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = config.norm_momentum
            module.train(not config.frozen_norm)


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of_step: Callable[[int], tuple[Tensor, dict[str, float]]],
    config: OptimizationConfig,
    seed: int,
    step: int,
) -> tuple[float, dict[str, float]]:
    rate, head = scheduled_rate(config, step), head_factor(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"] * (head if group["head"] else 1.0)
    device = next(network.parameters()).device.type
    with torch.random.fork_rng(devices=[]), torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
        torch.manual_seed(step_seed(seed, step))
        loss, parts = loss_of_step(step)
    value = float(loss.detach())
    if not torch.isfinite(loss):
        raise TrainingError(f"the loss is {value} at step {step}, expected a finite number; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.max_gradient:
        nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
    optimizer.step()
    return value, parts


def _save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, run: str, step: int) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "run": run, "step": step}
    write_atomic(path, lambda name: torch.save(state, name))


def _restore(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, run: str) -> int:
    try:
        state = torch.load(path, weights_only=True)
        stored = state["run"]
    except (RuntimeError, OSError, KeyError, ValueError, EOFError) as error:
        raise WeightsError(f"{path}: not a training snapshot ({error})") from error
    if stored != run:
        raise InputError(f"{path}: the snapshot is of a run with other settings; expected {run}, found {stored}")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
