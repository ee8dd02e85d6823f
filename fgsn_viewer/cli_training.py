"""Sub-commands about training and label consistency."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_values import seed_number

MODULE = "commands_training"


def add_training_commands(command) -> None:
    train = command("train-world", "train the small networks that ship, on rendered worlds only", MODULE)
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the networks and model cards go")
    train.add_argument("--work", type=Path, required=True, metavar="DIR", help="rendered images and stages; resumable")
    train.add_argument(
        "--photographs", type=Path, metavar="DIR", help="fixed-camera photographs to evaluate on, never to train on"
    )
    train.add_argument("--seed", type=seed_number, default=0)
