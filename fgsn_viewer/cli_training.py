"""Sub-commands about training and label consistency."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_values import positive_float, positive_int, seed_number

MODULE = "commands_training"


def add_training_commands(command) -> None:
    train = command("train-world", "train the small networks that ship, on rendered worlds only", MODULE)
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the networks and model cards go")
    train.add_argument("--work", type=Path, required=True, metavar="DIR", help="rendered images and stages; resumable")
    train.add_argument(
        "--photographs", type=Path, metavar="DIR", help="fixed-camera photographs to evaluate on, never to train on"
    )
    train.add_argument("--seed", type=seed_number, default=0)
    _add_train_classes(command)


def _add_train_classes(command) -> None:
    train = command("train-classes", "train a network on annotated images, the start of a training of clusters", MODULE)
    train.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders of annotated images")
    layouts = ("auto", "world", "camvid", "cityscapes", "vistas")
    train.add_argument("--layout", choices=layouts, default="auto", help="how the folders are laid out (default: %(default)s)")
    train.add_argument("--out", type=Path, required=True, metavar="WEIGHTS", help="the weight file to write (.safetensors)")
    train.add_argument("--init", type=Path, metavar="WEIGHTS", help="the network to begin with; default: a new small one")
    train.add_argument("--iterations", type=positive_int, default=1500, metavar="N", help="default: %(default)s")
    train.add_argument("--batch-size", type=positive_int, default=16, metavar="N", help="default: %(default)s")
    train.add_argument(
        "--rate", type=positive_float, metavar="RATE", help="learning rate at the start; default: 0.002, 0.0005 with --init"
    )
    train.add_argument(
        "--crop", type=positive_int, default=225, metavar="PX", help="side of a crop, 8 n + 1 (default: %(default)s)"
    )
    train.add_argument(
        "--short-side", type=positive_int, metavar="PX", help="resize photographs; default: 768 for the large ones"
    )
    train.add_argument("--max-validation", type=positive_int, metavar="N", help="validation images; default: all")
    train.add_argument("--seed", type=seed_number, default=0)
