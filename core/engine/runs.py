"""Training runs that survive: a folder with settings, snapshots, validation, the best network (PAPER 2.4, 2.5, 1.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from core.engine.clustering import ClusterModel
from core.engine.dataset import PairData
from core.engine.device import choose_device
from core.engine.distributed import SINGLE, Group, with_shared_statistics
from core.engine.fgsn_config import FGSNConfig, check_config
from core.engine.network import PSPNet
from core.engine.official_runs import FOLDER, run_name, snapshot_name, write_best, write_centroids, write_official_snapshot
from core.engine.optimization import Stepper, StepRecord
from core.engine.run_folder import RunFolder, RunState
from core.engine.season_data import check_pair_data, split
from core.engine.segmenter import available_weights
from core.engine.settings import check_ranges
from core.engine.targets import make_targets
from core.engine.tensorboard_log import TensorBoardLog, require_tensorboard
from core.engine.training import PairTraining, Round, clusters_of_round, frozen_copy, rounds, with_new_heads
from core.engine.validation_losses import ValidationLosses, ValidationRecord, as_row, validation_config, validation_losses
from core.engine.weights import NetworkInfo, load_network, save_network
from core.errors import InputError
from core.records import Progress, setting


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is watched and kept; none of it changes what is learned, but for the share of the data."""

    validate_every: int = setting(2500, minimum=1, help="steps between validations and snapshots in the published layout")
    validation_share: float = setting(
        0.3, minimum=0, maximum=0.9, help="share of the places that only validate; 0: none, and the last network is the result"
    )
    validation_pairs: int = setting(
        500, minimum=0, help="drawn pairs a validation: all of the paper's take hours; 0: as many as views"
    )
    official_layout: bool = setting(
        True, help="also write centroids and, at each validation, snapshots and bestval.txt as the published code does"
    )
    tensorboard: bool = setting(False, help="also write TensorBoard events")


Step = Progress | StepRecord | ValidationRecord


@dataclass(frozen=True, slots=True, eq=False)
class Note(Progress):
    """What the data says to its user after it was checked: a sentence that must not be missed."""


def train_run(
    weights: str | Path,
    data: PairData,
    config: FGSNConfig,
    out: Path,
    seed: int = 0,
    run: RunConfig | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    group: Group = SINGLE,
    origin: dict[str, Any] | None = None,
) -> Generator[Step, None, Path]:
    """Train from a shipped network or a weight file, in the folder ``out``; return the best network's file.

    Its last layers are replaced, so the file may have any number of labels. Every yield can cancel; closing keeps
    what was done. With ``resume`` a run goes on with the same losses as if it had never stopped, on processors of one
    machine with one number of threads (GPUs add in any order); RunSettingsError when ``out`` holds a run and ``resume`` is
    not set, or one with other settings. ``origin``: where the data comes from, kept in run.json. In a ``group`` every
    process makes the same call. Each clustering's steps begin with a new optimizer, as they begin with a new head.
    """
    run = run or RunConfig()
    _check(config, run, group)
    target = group.device or choose_device(device).device
    network, info = start_network(weights)
    folder = RunFolder(Path(out))
    if group.leads:
        start = {"sha256": info.sha256, "vocabulary": info.vocabulary, "path": str(weights)}
        facts = {"num_views": len(data)} | (origin or {})
        folder.begin(_settings(config, run, seed, start, facts, group), resume)
    group.wait()
    if not folder.snapshot.is_file():
        for note in (yield from check_pair_data(data)):
            yield Note(note)
    parts = split(data, run.validation_share, seed) if run.validation_share else (data, None)
    job = _Job(folder, config, run, seed, info, parts[0], parts[1], target, group)
    try:
        yield from job.train(network)
    except GeneratorExit:
        job.save()
        raise
    finally:
        job.board.close()
    return folder.weights


def _check(config: FGSNConfig, run: RunConfig, group: Group) -> None:
    """Raise InputError for what would stop the run later."""
    check_config(config)
    check_ranges(run)
    if run.tensorboard:
        require_tensorboard()
    shared = group.size > 1 and str(group.device).startswith("cuda")
    if config.images_per_pass < 2 and not (config.optimization.frozen_norm or shared):
        raise InputError(
            f"the batch size is {config.optimization.batch_size}, expected at least 2: normalization needs several images, "
            "unless optimization.frozen_norm is true"
        )


def start_network(weights: str | Path) -> tuple[PSPNet, NetworkInfo]:
    """Load a shipped network by name, or a weight file or run's folder; FileNotFoundError, or WeightsError."""
    return load_network(available_weights().get(str(weights), Path(weights)))


def _settings(
    config: FGSNConfig,
    run: RunConfig,
    seed: int,
    start: dict[str, str],
    data: dict[str, Any],
    group: Group,
) -> dict[str, Any]:
    return {
        "version": 1,
        "seed": seed,
        "init": start,
        "data": data,
        "processes": group.size,
        "config": asdict(config),
        "run": asdict(run),
        "versions": {"torch": torch.__version__},
    }


class _Job:
    """A run at work: where it is, and the round that it is in."""

    def __init__(
        self,
        folder: RunFolder,
        config: FGSNConfig,
        run: RunConfig,
        seed: int,
        info: NetworkInfo,
        data: PairData,
        validation: PairData | None,
        device: str,
        group: Group,
    ) -> None:
        self.folder, self.config, self.run, self.seed, self.info = folder, config, run, seed, info
        self.data, self.validation, self.device, self.group = data, validation, device, group
        self.official = folder.path / FOLDER / run_name(config, run.validate_every)
        state = folder.read_state()
        self.state = state
        self.step, self.validated, self.best = (state.step, state.validated, state.best) if state else (0, 0, None)
        self.stepper: Stepper | None = None
        self._rows: list[dict[str, Any]] = []
        if group.leads:
            folder.cut_log(self.step)
        self.board = TensorBoardLog(folder.path / "tensorboard", self.step, run.tensorboard and group.leads)

    @property
    def total(self) -> int:
        return self.config.optimization.iterations

    def train(self, network: PSPNet) -> Generator[Step, None, None]:
        for part in rounds(self.config):
            if part.stop > self.step or (part.stop == self.step and self._validation_is_due()):
                yield from self._round(part, network)
                network = self.stepper.network
        if self.group.leads:
            self._keep_weights(always=self.validation is None)

    def _round(self, part: Round, network: PSPNet) -> Generator[Step, None, None]:
        frozen_file, clusters_file = self.folder.frozen(part.number), self.folder.clusters(part.number)
        if self.group.leads and part.number == 0 and not frozen_file.is_file():
            self._keep_frozen(0, network)
        self.group.wait()
        start = load_network(frozen_file)[0].to(self.device)
        frozen = frozen_copy(start, self.info.preprocessing, self.config)
        if self.group.leads:
            yield from clusters_of_round(frozen, self.data, self.config, self.seed + part.number, clusters_file)
        self.group.wait()
        self.clusters = ClusterModel.load(clusters_file)
        if self.group.leads and self.run.official_layout:
            write_centroids(self.official / f"centroids_{part.start}.h5", self.clusters)
        targets = yield from make_targets(frozen, self.clusters, self.data, self.config)
        fresh = with_new_heads(start, self.clusters, self.config, self.seed + part.number)
        fresh = with_shared_statistics(fresh, self.group)
        losses = PairTraining(fresh, self.data, targets, self.info.preprocessing, self.config, self.seed)
        watched = yield from self._watched(losses, frozen)
        yield from self._steps(part, losses, watched)

    def _watched(self, losses: PairTraining, frozen: Any) -> Generator[Progress, None, PairTraining | None]:
        """The same losses, of the validation data."""
        if self.validation is None:
            return None
        config = validation_config(self.config)
        targets = yield from make_targets(frozen, self.clusters, self.validation, config)
        return replace(losses, data=self.validation, targets=targets, config=config)

    def _steps(self, part: Round, losses: PairTraining, watched: PairTraining | None) -> Generator[Step, None, None]:
        stepper = Stepper(losses.network, losses, self.config.optimization, self.seed, part.start, self.group)
        if self.step > part.start:
            stepper.restore(self.folder.snapshot, self.state.tensors)
        self.stepper, self.state = stepper, None
        yield from self._validate(watched)
        for step in range(self.step, part.stop):
            record = stepper.step(step, self.total)
            self.step = step + 1
            self._note({"step": self.step, "loss": record.loss, "learning_rate": record.learning_rate} | record.parts)
            self._prepare_next_round(part)
            yield from self._validate(watched)
            if self.step % self.config.optimization.snapshot_every == 0 or self.step == part.stop:
                self.save()
            yield record

    def _prepare_next_round(self, part: Round) -> None:
        """Keep the network that the next round's labels come from, before any state that needs it is written."""
        if self.step == part.stop < self.total and self.group.leads:
            self._keep_frozen(part.number + 1, self.stepper.network)
            self.folder.frozen(part.number - 1).unlink(missing_ok=True)

    def _validation_is_due(self) -> bool:
        due = self.step == self.total or (self.step > 0 and self.step % self.run.validate_every == 0)
        return due and self.validated != self.step and self.validation is not None

    def _validate(self, watched: PairTraining | None) -> Generator[Step, None, None]:
        """Validate if it is time and was not done; the best network so far becomes the result."""
        if not self._validation_is_due():
            return
        count = self.run.validation_pairs or len(self.validation)
        losses = yield from validation_losses(watched, count, self.group)
        row = {"step": self.step} | as_row(losses)
        best = self.best is None or losses.cluster < self.best["val_loss_cluster"]
        if self.group.leads:
            self._keep_validated(row, best)
        self.best = row if best else self.best
        self.validated = self.step
        self._note(row)
        self.save()
        yield self._validation_record(losses, best)

    def _validation_record(self, losses: ValidationLosses, best: bool) -> ValidationRecord:
        words = f"validation after step {self.step}: L_corr {losses.cluster:.4f}{', the best so far' if best else ''}"
        return ValidationRecord(words, self.step / self.total, self.step, losses, best)

    def _keep_validated(self, row: dict[str, float], best: bool) -> None:
        if best:
            self._keep_weights()
        if self.run.official_layout:
            rate = self.stepper.rate(self.step - 1)
            name = snapshot_name(self.step, row, rate)
            write_official_snapshot(self.official, name, self.stepper.network, self.stepper.optimizer, self._described())
            if best:
                write_best(self.official, self.step, row, name)

    def _keep_weights(self, always: bool = True) -> None:
        if self.stepper is not None and always:
            save_network(self.folder.weights, self.stepper.network, self._described())

    def _keep_frozen(self, number: int, network: PSPNet) -> None:
        described = replace(self.info, config=network.config, num_labels=network.config.num_labels, names=None)
        save_network(self.folder.frozen(number), network, described)

    def _described(self) -> NetworkInfo:
        """The result's description; its vocabulary is of this clustering, since labels of two mean different things."""
        count = self.clusters.num_clusters
        digest = hashlib.sha256(self.clusters.centroids.tobytes()).hexdigest()[:8]
        config = self.stepper.network.config
        return replace(self.info, vocabulary=f"fgsn-{count}-{digest}", num_labels=count, names=None, config=config)

    def _note(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.board.add(row)

    def save(self) -> None:
        """Write the state that was reached, and the log up to it. Nothing while clusters are made."""
        if not self.group.leads or self.stepper is None:
            return
        self.folder.append_log(self._rows)
        self._rows = []
        self.folder.write_state(RunState(self.step, self.validated, self.best, self.stepper.tensors()))
        if self.validation is None:
            self._keep_weights()
