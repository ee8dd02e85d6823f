"""The training loop that both stages share: schedule, steps, records, snapshots that a run resumes from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.engine.distributed import SINGLE, Group
from core.engine.snapshots import (
    network_tensors,
    optimizer_tensors,
    read_snapshot,
    restore_network,
    restore_optimizer,
    write_snapshot,
)
from core.errors import InputError
from core.records import setting

HEADS = ("conv6.", "conv6_1.")
OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("poly", "steps")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SPEED_WINDOW = 20


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Defaults are for weights that start at random; ``paper_optimization`` has the paper's."""

    iterations: int = setting(1500, minimum=1, help="optimization steps")
    batch_size: int = setting(16, minimum=1, help="images of one pass, of each process")
    accumulate: int = setting(1, minimum=1, help="passes whose gradients are averaged to a step, where memory is short")
    optimizer: str = setting("adamw", help="adamw, or sgd as in the paper (Nesterov 0.9, biases at twice the rate)")
    learning_rate: float = setting(1e-3, minimum=0, help="rate of the body at the start")
    weight_decay: float = setting(1e-2, minimum=0, help="decay of weights; never of biases and normalization")
    schedule: str = setting("poly", help="poly: the rate falls at every step; steps: only when clusters are made anew")
    power: float = setting(0.9, minimum=0, help="poly schedule: (1 - step / iterations) ** power")
    warmup: int = setting(50, minimum=0, help="steps over which the rate rises linearly")
    head_factor: float = setting(1.0, minimum=0, help="rate of conv6 and conv6_1 over the body's at the start")
    head_iterations: int = setting(
        0, minimum=0, help="steps of each clustering over which the head's factor falls to 1; 0 keeps it"
    )
    max_gradient: float = setting(5.0, minimum=0, help="norm to which gradients are clipped; 0: never")
    precision: str = setting("fp32", help="fp32; bf16 or fp16 autocast, the latter with scaled losses")
    frozen_norm: bool = setting(False, help="BatchNorm keeps its running statistics, as in the paper; its scales still train")
    norm_momentum: float = setting(0.05, minimum=0, maximum=1, help="weight of a new batch in the running statistics")
    snapshot_every: int = setting(250, minimum=1, help="steps between snapshots")

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", tuple(PRECISIONS))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")


def paper_optimization(**changes: Any) -> OptimizationConfig:
    """The settings of PAPER 2.4: SGD with Nesterov's momentum, batch 1, 60,000 steps, frozen BatchNorm statistics."""
    paper = {
        "iterations": 60_000,
        "batch_size": 1,
        "optimizer": "sgd",
        "learning_rate": 2.5e-5,
        "weight_decay": 1e-4,
        "power": 1.0,
        "warmup": 0,
        "max_gradient": 0.0,
        "frozen_norm": True,
    }
    return OptimizationConfig(**(paper | changes))


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


class TrainingError(InputError):
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
    return torch.optim.AdamW(listed, lr=config.learning_rate)


def scheduled_rate(config: OptimizationConfig, step: int, round_start: int = 0) -> float:
    """Rate of the body: linear warm-up, then lr (1 - step / iterations) ** power.

    The schedule "steps" holds the rate that the round's first step has, as the published code does (PAPER 2.4).
    """
    rising = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    scheduled = round_start if config.schedule == "steps" else step
    return config.learning_rate * rising * (1 - scheduled / config.iterations) ** config.power


def head_factor(config: OptimizationConfig, head_step: int) -> float:
    """Factor of a head ``head_step`` steps after it was made anew: from ``head_factor`` geometrically down to 1.

    It gets there after ``head_iterations`` steps; a round of fewer steps ends before.
    """
    if not config.head_iterations:
        return config.head_factor
    return config.head_factor ** max(0.0, 1 - head_step / config.head_iterations)


LossOfDraw = Callable[[int], tuple[Tensor, dict[str, float]]]


class Stepper:
    """A network in training with its optimizer: takes steps, and gives and takes back all that they change.

    ``loss_of_draw(number)`` must depend on nothing but the number and the network. A step is the mean of
    ``accumulate`` draws in each process of the group. A round has a stepper of its own, so momentum and AdamW's moments
    start anew with its head; the paper does not say whether its own do.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of_draw: LossOfDraw,
        config: OptimizationConfig,
        seed: int,
        round_start: int = 0,
        group: Group = SINGLE,
    ) -> None:
        self.network, self.config, self.seed = network, config, seed
        self.round_start, self.group = round_start, group
        self._loss_of_draw = loss_of_draw
        self.optimizer = build_optimizer(network, config)
        self._device = next(network.parameters()).device.type
        self._scaler = torch.amp.GradScaler(self._device, enabled=config.precision == "fp16")
        self._clock = [time.monotonic()]
        set_training_mode(network, config)

    def step(self, step: int, last: int) -> StepRecord:
        """Take step ``step`` of a span that ends before ``last``; TrainingError when the loss is not a number."""
        self._set_rates(step)
        self.optimizer.zero_grad(set_to_none=True)
        count = self.config.accumulate
        draws = [(step * count + part) * self.group.size + self.group.rank for part in range(count)]
        values = self.group.mean(_mean([self._backward(draw) for draw in draws]))
        if not all(map(isfinite, values.values())):
            value = values["loss"]
            raise TrainingError(f"the loss is {value} at step {step}, expected a finite number; lower the learning rate")
        self._update()
        return self._record(step, last, values)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        scaling = {f"scaler.{name}": torch.tensor(float(value)) for name, value in self._scaler.state_dict().items()}
        return network_tensors(self.network) | optimizer_tensors(self.optimizer) | scaling

    def restore(self, path: Path, tensors: dict[str, Tensor]) -> None:
        """Take back ``tensors`` that were read from ``path``."""
        restore_network(path, self.network, tensors)
        restore_optimizer(self.optimizer, tensors)
        if self._scaler.is_enabled():
            state = self._scaler.state_dict()
            self._scaler.load_state_dict({name: type(old)(tensors[f"scaler.{name}"]) for name, old in state.items()})

    def rate(self, step: int) -> float:
        """The body's learning rate at a step."""
        return scheduled_rate(self.config, step, self.round_start)

    def _set_rates(self, step: int) -> None:
        rate, head = self.rate(step), head_factor(self.config, step - self.round_start)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"] * (head if group["head"] else 1.0)

    def _backward(self, draw: int) -> dict[str, float]:
        with seeded(step_seed(self.seed, draw), self._device):
            with torch.autocast(self._device, PRECISIONS[self.config.precision], enabled=self.config.precision != "fp32"):
                loss, parts = self._loss_of_draw(draw)
            self._scaler.scale(loss / self.config.accumulate).backward()
        return {"loss": float(loss.detach())} | parts

    def _update(self) -> None:
        self.group.average_gradients(self.network)  # before unscaling: all processes must see the same overflow
        self._scaler.unscale_(self.optimizer)
        if self.config.max_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_gradient)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if not self.config.frozen_norm:
            self.group.average_statistics(self.network)

    def _record(self, step: int, last: int, values: dict[str, float]) -> StepRecord:
        self._clock = [*self._clock[-_SPEED_WINDOW:], time.monotonic()]
        seconds = (self._clock[-1] - self._clock[0]) / (len(self._clock) - 1)
        images = self.config.batch_size * self.config.accumulate * self.group.size
        loss, left = values["loss"], seconds * (last - step - 1)
        return StepRecord(
            message=f"step {step + 1} of {self.config.iterations}: loss {loss:.3f}, {_words(left)} left",
            fraction=(step + 1) / self.config.iterations,
            step=step,
            loss=loss,
            learning_rate=self.rate(step),
            images_per_second=images / max(seconds, 1e-9),
            seconds_left=left,
            parts={name: value for name, value in values.items() if name != "loss"},
        )


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Draw from generators of this seed inside, from the old ones afterwards."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _words(seconds: float) -> str:
    """A length of time for people: 2 h 5 min, 3 min, 40 s."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes >= 2 else f"{seconds:.0f} s"


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def optimise(
    network: nn.Module,
    loss_of_draw: LossOfDraw,
    config: OptimizationConfig,
    seed: int,
    snapshot: Path | None = None,
    span: tuple[int, int] | None = None,
) -> Generator[StepRecord, None, None]:
    """Train ``network`` in place over the steps of ``span`` (all by default); it is left in eval mode.

    ``loss_of_draw(number)`` must depend on nothing but the number and the network; without accumulation the number is
    the step. With ``snapshot`` the state is written there, whole or not at all, also when the generator is closed, and a
    later call with the same settings goes on from it. Raises TrainingError when the loss is not finite, InputError when
    the snapshot is of other settings.
    """
    first, last = span or (0, config.iterations)
    stepper = Stepper(network, loss_of_draw, config, seed, first)
    run = json.dumps({"config": asdict(config), "seed": seed, "span": [first, last]}, sort_keys=True)
    if snapshot is not None and snapshot.is_file():
        first = _restore(snapshot, stepper, run)
    for step in range(first, last):
        record = stepper.step(step, last)
        saved = snapshot is None
        if not saved and ((step + 1) % config.snapshot_every == 0 or step + 1 == last):
            write_snapshot(snapshot, stepper.tensors(), {"run": run, "step": step + 1})
            saved = True
        try:
            yield record
        except GeneratorExit:
            if not saved:
                write_snapshot(snapshot, stepper.tensors(), {"run": run, "step": step + 1})
            raise
    network.eval()


def set_training_mode(network: nn.Module, config: OptimizationConfig) -> None:
    """Switch to training mode; BatchNorm gets the configured momentum, or stays in eval mode when frozen."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = config.norm_momentum
            module.train(not config.frozen_norm)


def _restore(path: Path, stepper: Stepper, run: str) -> int:
    tensors, facts = read_snapshot(path)
    if facts.get("run") != run:
        raise InputError(f"{path}: the snapshot is of a run with other settings; expected {run}, found {facts.get('run')}")
    stepper.restore(path, tensors)
    return int(facts["step"])
