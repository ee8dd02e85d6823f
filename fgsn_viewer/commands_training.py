"""What the training sub-commands do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.steps import finish
from fgsn_viewer.commands import drain, progress, say


def train_world(options: argparse.Namespace) -> int:
    from core.engine.models import train_shipped_models

    command = f"python main.py train-world --out {options.out} --work {options.work} --seed {options.seed}"
    steps = train_shipped_models(options.out, options.work, options.seed, photographs=options.photographs, command=command)
    drain(steps, options)
    say(options, {"models": str(options.out)}, str(options.out))
    return 0


def train(options: argparse.Namespace) -> int:
    """Train or go on with a run; Ctrl-C and the scheduler's SIGTERM keep what was reached."""
    from core.engine.distributed import process_group

    if options.out is None and (options.resume or not options.settings):
        raise InputError("train needs --out with the run's folder; only --settings does without")
    run = _stored_run(options) if options.resume and options.data is None else _new_run(options)
    if options.settings:
        from core.engine.settings import listed

        say(options, {name: value for name, value, _ in listed(run["config"])}, _settings_table(run["config"]))
        return 0
    with process_group(options.device) as group:
        from core.engine.season_data import open_pair_data

        origin = run["origin"]
        data = open_pair_data(origin["paths"], origin["weights"], short_side=origin["short_side"])
        path = _train_until_stopped(run, data, options, group)
        if group.leads:
            statistics = _write_statistics(path, data, run, options)
            row = {"weights": str(path), "run": str(options.out), "stationary": int(statistics.stationary.sum())}
            kinds = f"{row['stationary']} of {statistics.num_labels} labels are of what stays"
            say(options, row, f"{path}: the best network of the run; {kinds}")
    return 0


def _write_statistics(path: Path, data: Any, run: dict[str, Any], options: argparse.Namespace) -> Any:
    """Count the labels on validation pairs by the rule of --rule, for the localizer, beside the weights."""
    from core.engine.label_statistics import StationaryConfig, write_run_statistics

    rule = StationaryConfig() if options.rule == "official" else None
    share = run["run"].validation_share
    statistics = drain(write_run_statistics(path, data, share, run["seed"], options.device, rule), options)
    if not statistics.stationary.any():
        sys.stderr.write(f"{path}: no label is stationary, so none were written; see `stationary --rule relative`\n")
    return statistics


def _train_until_stopped(run: dict[str, Any], data: Any, options: argparse.Namespace, group: Any) -> Path:
    from core.engine.run_folder import RunFolder, RunSettingsError
    from core.engine.runs import train_run
    from core.errors import WeightsError

    steps = train_run(data=data, out=options.out, resume=options.resume, device=options.device, group=group, **run)
    show = _throttled(options) if group.leads else lambda step: None
    stop = threading.Event()
    with _signals(stop):
        try:
            return finish(_until(steps, stop, group), show)
        except KeyboardInterrupt:
            if group.leads:
                sys.stderr.write(f"\n{options.out}: stopped; `train --resume --out {options.out}` goes on\n")
            raise
        except (RunSettingsError, WeightsError):
            raise
        except InputError as error:
            if RunFolder(options.out).snapshot.is_file():
                raise InputError(f"{error}; what {options.out} holds is whole, --resume goes on with it") from error
            raise


def _until(steps: Generator[Any, None, Any], stop: threading.Event, group: Any = None) -> Generator[Any, None, Any]:
    """The steps, until somebody wants to stop: then close them, which keeps what was reached.

    The processes of a group stop after the same step of the training, whichever of them was asked to.
    """
    from core.engine.optimization import StepRecord

    together = group is not None and group.size > 1
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            return done.value
        yield step
        if (isinstance(step, StepRecord) and group.any(stop.is_set())) if together else stop.is_set():
            steps.close()
            raise KeyboardInterrupt


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; the second Ctrl-C ends at once."""

    def wish(number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    old = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _throttled(options: argparse.Namespace, seconds: float = 5.0) -> Callable[[Any], None]:
    """Show every step on a terminal, elsewhere one in ``seconds``; never leave out a validation."""
    from core.engine.runs import Note

    last = -seconds

    def show(step: Any) -> None:
        nonlocal last
        if isinstance(step, Note):
            sys.stderr.write(f"{step.message}\n")
            return
        if sys.stderr.isatty() or time.monotonic() - last >= seconds or step.message.startswith("validation after"):
            last = time.monotonic()
            progress(options, step)

    return show


_OF_A_NEW_RUN = (
    "init",
    "data_weights",
    "recipe",
    "clusters",
    "iterations",
    "batch_size",
    "accumulate",
    "rate",
    "recluster_every",
    "crop",
    "precision",
    "set",
    "validate_every",
    "validation_share",
    "validation_pairs",
    "no_official",
    "tensorboard",
    "short_side",
    "seed",
)


def _is_given(value: Any) -> bool:
    return not (value is None or value is False or value == [])


def _stored_run(options: argparse.Namespace) -> dict[str, Any]:
    """What a run in a folder was made with."""
    from core.engine.fgsn_config import FGSNConfig
    from core.engine.run_folder import RunFolder
    from core.engine.runs import RunConfig
    from core.engine.settings import restored

    stored = RunFolder(options.out).settings()
    ignored = [f"--{name.replace('_', '-')}" for name in _OF_A_NEW_RUN if _is_given(getattr(options, name))]
    if ignored:
        raise InputError(
            f"{options.out}: --resume goes on with the settings that are there, got {', '.join(ignored)}; leave them out, or "
            "repeat the whole command that began the run"
        )
    return {
        "weights": stored["init"]["path"],
        "origin": {name: value for name, value in stored["data"].items() if name != "num_views"},
        "config": restored(FGSNConfig(), stored["config"]),
        "run": restored(RunConfig(), stored["run"]),
        "seed": stored["seed"],
    }


def _new_run(options: argparse.Namespace) -> dict[str, Any]:
    """What the options ask for."""
    from core.engine.fgsn_config import check_config
    from core.engine.runs import RunConfig
    from core.engine.settings import check_ranges

    if not options.settings and (not options.data or not options.init):
        raise InputError("train needs --data and --init, or --resume with a run's folder")
    watched = {
        "validate_every": options.validate_every,
        "validation_share": options.validation_share,
        "validation_pairs": options.validation_pairs,
        "official_layout": not options.no_official,
        "tensorboard": options.tensorboard,
    }
    run = RunConfig(**{name: value for name, value in watched.items() if value is not None})
    config = _training_config(options)
    check_config(config)
    check_ranges(run)
    if config.crops == "centred" and options.short_side is None and options.init:
        from core.engine.runs import start_network

        options.short_side = start_network(options.init)[1].preprocessing.short_side
    origin = {
        "paths": [str(path.resolve()) for path in options.data or ()],
        "weights": options.data_weights,
        "short_side": options.short_side,
    }
    init = options.init if options.init is None or not Path(options.init).exists() else str(Path(options.init).resolve())
    return {"weights": init, "origin": origin, "config": config, "run": run, "seed": options.seed or 0}


def _training_config(options: argparse.Namespace) -> Any:
    from core.engine.fgsn_config import FGSNConfig
    from core.engine.models import ShippedConfig
    from core.engine.settings import changed

    config = ShippedConfig().fgsn if options.recipe == "small" else FGSNConfig()
    given = {
        "clusters.num_clusters": options.clusters,
        "optimization.iterations": options.iterations,
        "optimization.batch_size": options.batch_size,
        "optimization.accumulate": options.accumulate,
        "optimization.learning_rate": options.rate,
        "optimization.precision": options.precision,
        "augmentation.crop": options.crop,
        "recluster_every": options.recluster_every,
    }
    pairs = [(name, str(value)) for name, value in given.items() if value is not None]
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: expected NAME=VALUE, as labels=image")
        pairs.append((name, value))
    for name, value in pairs:
        config = changed(config, name, value)
    return config


def _settings_table(config: Any) -> str:
    from core.engine.settings import listed

    return "\n".join(f"{name}={value}  {help}" for name, value, help in listed(config))


def train_classes(options: argparse.Namespace) -> int:
    from core.engine.augmentation import AugmentationConfig
    from core.engine.class_training import ClassRun, train_classes
    from core.engine.optimization import OptimizationConfig
    from core.engine.pretraining import PretrainingConfig
    from core.engine.segmenter import find_weights

    init = find_weights(options.init) if options.init else None
    rate = options.rate or (5e-4 if init else 2e-3)
    schedule = OptimizationConfig(
        iterations=options.iterations,
        batch_size=options.batch_size,
        learning_rate=rate,
        warmup=min(60, options.iterations),
        precision="bf16",
    )
    config = PretrainingConfig(optimization=schedule, augmentation=AugmentationConfig(crop=options.crop))
    layout = None if options.layout == "auto" else options.layout
    run = ClassRun(tuple(options.data), layout, init, options.short_side)
    steps = train_classes(run, options.out, config, options.seed, options.max_validation, options.device)
    stop = threading.Event()
    with _signals(stop):
        try:
            scores = finish(_until(steps, stop), _throttled(options))
        except KeyboardInterrupt:
            sys.stderr.write(f"\n{options.out}: stopped; the same command goes on\n")
            raise
    row = {"weights": str(options.out)} | scores.as_row()
    lines = [f"{name:20} {value:.3f}" for name, value in row["iou"].items() if value is not None]
    lines += [f"{options.out}  mIoU {scores.miou:.3f}  pixel accuracy {scores.pixel_accuracy:.3f}  {scores.num_images} images"]
    say(options, row, "\n".join(lines))
    return 0
