"""What the training sub-commands do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse

from fgsn_viewer.commands import drain, say


def train_world(options: argparse.Namespace) -> int:
    from core.engine.models import train_shipped_models

    command = f"python main.py train-world --out {options.out} --work {options.work} --seed {options.seed}"
    steps = train_shipped_models(options.out, options.work, options.seed, photographs=options.photographs, command=command)
    drain(steps, options)
    say(options, {"models": str(options.out)}, str(options.out))
    return 0


def train_classes(options: argparse.Namespace) -> int:
    from core.engine.augmentation import AugmentationConfig
    from core.engine.class_training import ClassRun, train_classes
    from core.engine.optimization import OptimizationConfig
    from core.engine.pretraining import PretrainingConfig

    rate = options.rate or (5e-4 if options.init else 2e-3)
    schedule = OptimizationConfig(
        iterations=options.iterations,
        batch_size=options.batch_size,
        learning_rate=rate,
        warmup=min(60, options.iterations),
        precision="bf16",
    )
    config = PretrainingConfig(optimization=schedule, augmentation=AugmentationConfig(crop=options.crop))
    layout = None if options.layout == "auto" else options.layout
    run = ClassRun(tuple(options.data), layout, options.init, options.short_side)
    scores = drain(train_classes(run, options.out, config, options.seed, options.max_validation), options)
    row = {"weights": str(options.out)} | scores.as_row()
    lines = [f"{name:20} {value:.3f}" for name, value in row["iou"].items() if value is not None]
    lines += [f"{options.out}  mIoU {scores.miou:.3f}  pixel accuracy {scores.pixel_accuracy:.3f}  {scores.num_images} images"]
    say(options, row, "\n".join(lines))
    return 0
