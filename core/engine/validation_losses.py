"""What training watches on pairs that it does not learn from (PAPER 2.5)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from core.engine.distributed import SINGLE, Group
from core.engine.fgsn_config import FGSNConfig
from core.engine.losses import feature_distances, softmax_divergence, target_losses
from core.engine.network import NetworkOutput
from core.engine.optimization import seeded
from core.engine.pair_batches import PairBatch
from core.engine.training import PairTraining
from core.errors import InputError
from core.records import Progress


@dataclass(frozen=True, slots=True)
class ValidationLosses:
    """``cluster``: L_corr of both sides with the current clustering's labels; ``out``: divergence of the outputs at
    matches; ``feat``: squared distance of their features. Lower is better; the lowest ``cluster`` is the best snapshot.
    """

    cluster: float
    out: float
    feat: float


@dataclass(frozen=True, slots=True, eq=False)
class ValidationRecord:
    """One validation after ``step`` steps; ``best``: no earlier one had a lower ``losses.cluster``."""

    message: str
    fraction: float
    step: int
    losses: ValidationLosses
    best: bool


def validation_config(config: FGSNConfig) -> FGSNConfig:
    """As in training, but both images of one pair at a time, matches in both crops, colours as they are."""
    single = replace(config.optimization, batch_size=2, accumulate=1)
    return replace(config, optimization=single, reference_fraction=None, hinge_weight=1.0, photometric="none")


def validation_losses(
    training: PairTraining, num_pairs: int, group: Group = SINGLE
) -> Generator[Progress, None, ValidationLosses]:
    """Means over the matches of ``num_pairs`` drawn pairs, weighted as the correspondences are; the same pairs every time.

    This departs from PAPER 2.5, which goes through all validation pairs and averages each pair's L_corr without weights: so
    pairs with few matches do not decide which snapshot is the best.

    ``training``: of the validation data, with the ``validation_config``; its network is in eval mode meanwhile.
    InputError when no match lies in both crops of any pair.
    """
    modes = [(module, module.training) for module in training.network.modules()]
    training.network.eval()
    rows = []
    try:
        for pair in range(group.rank, num_pairs, group.size):
            with torch.no_grad(), seeded(pair, next(training.network.parameters()).device.type):
                rows.append(_sums(*training.run(pair)))
            yield Progress(f"validation pair {pair + 1} of {num_pairs}", (pair + 1) / num_pairs)
    finally:
        for module, mode in modes:
            module.training = mode
    sums = group.mean({name: sum(row[name] for row in rows) for name in ("weight", "cluster", "out", "feat")})
    if not sums["weight"]:
        raise InputError(f"no match lies in both crops of any of the {num_pairs} validation pairs, expected some; see `crops`")
    return ValidationLosses(*(sums[name] / sums["weight"] for name in ("cluster", "out", "feat")))


def _sums(batch: PairBatch, output: NetworkOutput) -> dict[str, float]:
    ends = [batch.cells.chosen(rows) for rows in batch.links.unbind(1)]
    weight = ends[0].weight
    scores, features = ([end.of(maps) for end in ends] for maps in (output.logits, output.features))
    values = {
        "cluster": sum(target_losses(at, end.label, end.share) for at, end in zip(scores, ends, strict=True)),
        "out": softmax_divergence(*scores),
        "feat": feature_distances(*features),
    }
    return {"weight": float(weight.sum())} | {name: _weighted(value, weight) for name, value in values.items()}


def _weighted(values: Tensor, weight: Tensor) -> float:
    return float((values * weight).sum())


def as_row(losses: ValidationLosses) -> dict[str, float]:
    """By the names that the published code uses."""
    return {f"val_loss_{name}": value for name, value in asdict(losses).items()}
