"""Self-supervised training of cluster labels (PAPER 2): cluster, label the reference images, train, again if wanted.

The label of a match is always that of the reference image, given by a frozen copy of the network until the next clustering.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.engine.clustering import ClusterModel, fit_clusters
from core.engine.dataset import PairData
from core.engine.fgsn_config import FGSNConfig
from core.engine.losses import MatchCells, hinge_losses, pair_mean, target_losses, with_auxiliary
from core.engine.network import NetworkOutput, PSPNet
from core.engine.optimization import StepRecord, optimise, step_seed
from core.engine.pair_batches import PairBatch, draw_pairs, pair_batch
from core.engine.pretraining import finished, normalised
from core.engine.targets import FrozenNetwork, Targets, make_targets, reference_features
from core.engine.weights import Preprocessing
from core.records import Progress


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClusters:
    """The network with K labels and the clustering that its last labels came from."""

    network: PSPNet
    clusters: ClusterModel


@dataclass(frozen=True, slots=True)
class Round:
    """The steps from one clustering to the next: ``start`` to before ``stop``."""

    number: int
    start: int
    stop: int


def rounds(config: FGSNConfig) -> list[Round]:
    """The rounds of a run, in order."""
    total = config.optimization.iterations
    interval = config.recluster_every or total
    return [Round(number, start, min(total, start + interval)) for number, start in enumerate(range(0, total, interval))]


@dataclass(frozen=True, slots=True, eq=False)
class PairTraining:
    """What the losses of a round are made of; a callable for ``optimise``: draw number -> loss and its parts."""

    network: PSPNet
    data: PairData
    targets: Targets
    preprocessing: Preprocessing
    config: FGSNConfig
    seed: int

    def __call__(self, draw: int) -> tuple[Tensor, dict[str, float]]:
        batch, output = self.run(draw)
        return fgsn_loss(output, batch, self.config)

    def run(self, draw: int) -> tuple[PairBatch, NetworkOutput]:
        """Draw one pass's pairs and show them to the network."""
        pairs = draw_pairs(self.data, self.config, self.preprocessing, self.seed, draw)
        generator = torch.Generator().manual_seed(step_seed(self.seed, draw))
        batch = pair_batch(pairs, self.targets.place(pairs), self.config, self.preprocessing, generator)
        batch = batch.to(next(self.network.parameters()).device)
        return batch, self.network.forward_train(normalised(batch.images, self.preprocessing))


def train_clusters(
    network: PSPNet,
    data: PairData,
    preprocessing: Preprocessing,
    config: FGSNConfig,
    seed: int,
    work: Path | None = None,
) -> Generator[Progress | StepRecord, None, TrainedClusters]:
    """Train a copy of ``network`` to predict cluster labels that hold across conditions (PAPER 2.2, 2.3).

    With ``work`` the clusterings and snapshots are kept there, and the same call goes on where it stopped. A run with
    validation, a folder of its own and several processes is ``runs.train_run``.
    """
    for part in rounds(config):
        frozen = frozen_copy(network, preprocessing, config)
        path = None if work is None else Path(work) / f"clusters_{part.number}.safetensors"
        clusters = yield from clusters_of_round(frozen, data, config, seed + part.number, path)
        targets = yield from make_targets(frozen, clusters, data, config)
        network = with_new_heads(frozen.network, clusters, config, seed + part.number)
        losses = PairTraining(network, data, targets, preprocessing, config, seed)
        snapshot = None if work is None else Path(work) / f"snapshot_{part.number}.safetensors"
        yield from optimise(network, losses, config.optimization, seed, snapshot, (part.start, part.stop))
    return TrainedClusters(finished(network), clusters)


def frozen_copy(network: PSPNet, preprocessing: Preprocessing, config: FGSNConfig) -> FrozenNetwork:
    """A copy that later training leaves alone."""
    copied = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)
    return FrozenNetwork(copied, preprocessing, config.optimization.precision)


def clusters_of_round(
    frozen: FrozenNetwork, data: PairData, config: FGSNConfig, seed: int, path: Path | None = None
) -> Generator[Progress, None, ClusterModel]:
    """Cluster the reference images' features, or read the clusters that ``path`` holds already."""
    if path is not None and path.is_file():
        return ClusterModel.load(path)
    features = yield from reference_features(frozen, data, config, seed)
    clusters = yield from fit_clusters(features.rows, config.clusters, seed, features.noise)
    if path is not None:
        clusters.save(path)
    return clusters


def with_new_heads(network: PSPNet, clusters: ClusterModel, config: FGSNConfig, seed: int) -> PSPNet:
    """A copy of the network whose classifiers are new: weights N(0, 0.01), biases 0 (PAPER 2.2 step 6), or the clusters' rule.

    The auxiliary classifier is random in both cases: the clusters are not of its features.
    """
    at_centroids = config.head == "centroids"
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.reset_heads(clusters.num_clusters, clusters.A.shape[1] if at_centroids else 0)
    if at_centroids:
        rule = (torch.tensor(array) for array in (clusters.A, clusters.b, clusters.centroids))
        fresh.conv6.start_at(*rule, config.sharpness)
    return fresh.to(memory_format=torch.channels_last)


def fgsn_loss(output: NetworkOutput, batch: PairBatch, config: FGSNConfig) -> tuple[Tensor, dict[str, float]]:
    """L = L_corr + L_class (+ hinge), each main + 0.4 auxiliary, as means over the pairs of the batch (PAPER 2.3).

    A pair's reference part counts where its reference has the turn, its other part where the other image has.
    """
    heads = [head for head in (output.logits, output.aux_logits) if head is not None]
    parts = {"class": config.class_weight * with_auxiliary(*_both([_class_part(head, batch, config) for head in heads]))}
    for name, side in (("corr_ref", batch.is_reference), ("corr_other", ~batch.is_reference)):
        chosen = side & batch.turn
        terms = [_match_part(head, batch, chosen, config) for head in heads]
        parts[name] = config.correspondence_weight * with_auxiliary(*_both(terms))
    if config.hinge_weight:
        features = [head for head in (output.features, output.aux_features) if head is not None]
        terms = [_hinge_part(head, batch, config) for head in features]
        parts["hinge"] = config.hinge_weight * with_auxiliary(*_both(terms))
    return sum(parts.values()), {name: float(part.detach()) for name, part in parts.items()}


def _both(terms: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    return terms[0], terms[1] if len(terms) > 1 else None


def _class_part(logits: Tensor, batch: PairBatch, config: FGSNConfig) -> Tensor:
    """L_class: every labelled cell of the references that have the turn."""
    chosen = (batch.is_reference & batch.turn).nonzero()[:, 0]
    labelled = batch.shares[chosen].sum(1) > 0
    cells = [maps[chosen].permute(0, 2, 3, 1)[labelled] for maps in (logits, batch.labels, batch.shares)]
    image = chosen[labelled.nonzero()[:, 0]]
    return pair_mean(target_losses(*cells), image, len(chosen), batch.num_pairs, config.average == "matches")


def _match_part(logits: Tensor, batch: PairBatch, chosen: Tensor, config: FGSNConfig) -> Tensor:
    """One side of L_corr = CE(logits_ref[x_r], l) + CE(logits_other[x_o], l) over the ``chosen`` images (N,) bool."""
    cells: MatchCells = batch.cells.chosen(chosen[batch.cells.image])
    values = target_losses(cells.of(logits), cells.label, cells.share)
    return pair_mean(values, cells.image, int(chosen.sum()), batch.num_pairs, config.average == "matches")


def _hinge_part(features: Tensor, batch: PairBatch, config: FGSNConfig) -> Tensor:
    """The feature hinge over all matches; the gradient flows through the end that has the turn."""
    ends = [batch.cells.chosen(rows) for rows in batch.links.unbind(1)]
    at_ends = [end.of(features) for end in ends]
    at_ends = [torch.where(batch.turn[end.image, None], at, at.detach()) for end, at in zip(ends, at_ends, strict=True)]
    values = hinge_losses(*at_ends)
    return pair_mean(values, ends[0].image, batch.num_pairs, batch.num_pairs, config.average == "matches")
