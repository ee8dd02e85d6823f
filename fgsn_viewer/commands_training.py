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
