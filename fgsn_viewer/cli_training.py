"""Sub-commands about training and label consistency."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_values import non_negative_int, positive_float, positive_int, seed_number

MODULE = "commands_training"


def add_training_commands(command) -> None:
    train = command("train-world", "train the small networks that ship, on rendered worlds only", MODULE)
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the networks and model cards go")
    train.add_argument("--work", type=Path, required=True, metavar="DIR", help="rendered images and stages; resumable")
    train.add_argument(
        "--photographs", type=Path, metavar="DIR", help="fixed-camera photographs to evaluate on, never to train on"
    )
    train.add_argument("--seed", type=seed_number, default=0)
    _add_train(command)
    _add_train_classes(command)


def _add_train(command) -> None:
    train = command("train", "train labels that hold across seasons, on correspondences between conditions (FGSN)", MODULE)
    train.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="correspondence files with images, scenes with a map, or rendered sets",
    )
    train.add_argument(
        "--data-weights", type=positive_float, nargs="+", action="extend", metavar="W", help="how often each DIR is drawn"
    )
    train.add_argument("--init", metavar="WEIGHTS", help="the network to begin with: a shipped name or a file")
    train.add_argument("--out", type=Path, metavar="RUN", help="the run's folder: a new or an empty one")
    train.add_argument("--resume", action="store_true", help="go on with the run that is there; needs nothing but --out")
    train.add_argument(
        "--recipe",
        choices=("paper", "small"),
        help="settings to begin with: the paper's, for PSPNet-101, or those of the small shipped networks (default: paper)",
    )
    train.add_argument("--clusters", type=positive_int, metavar="K", help="number of labels (default: 100)")
    train.add_argument("--iterations", type=positive_int, metavar="N", help="steps")
    train.add_argument("--batch-size", type=positive_int, metavar="N", help="images of a pass, of each process")
    train.add_argument("--accumulate", type=positive_int, metavar="N", help="passes a step")
    train.add_argument("--rate", type=positive_float, metavar="RATE", help="learning rate")
    train.add_argument(
        "--recluster-every", type=non_negative_int, metavar="N", help="steps between clusterings; 0: never again"
    )
    train.add_argument("--crop", type=positive_int, metavar="PX", help="side of a training crop")
    train.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
    train.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="any other setting; see --settings"
    )
    train.add_argument("--settings", action="store_true", help="list all settings with their values and reasons, and stop")
    train.add_argument("--validate-every", type=positive_int, metavar="N", help="steps between validations (default: 2500)")
    train.add_argument("--validation-share", type=float, metavar="SHARE", help="share of the data; 0: none (default: 0.3)")
    train.add_argument(
        "--validation-pairs", type=non_negative_int, metavar="N", help="pairs a validation (default: 500; 0: all)"
    )
    train.add_argument(
        "--no-official",
        action="store_true",
        help="leave out the published code's layout, which takes space; without validation it has the centroids alone",
    )
    train.add_argument("--tensorboard", action="store_true", help="also write TensorBoard events")
    train.add_argument("--short-side", type=positive_int, metavar="PX", help="resize photographs when they are read")
    train.add_argument(
        "--rule",
        choices=("official", "relative"),
        default="relative",
        help="which labels are of what stays, counted at the end, as of `stationary` (default: %(default)s)",
    )
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    train.add_argument("--seed", type=seed_number, help="default: 0")


def _add_train_classes(command) -> None:
    train = command("train-classes", "train a network on annotated images, the start of a training of clusters", MODULE)
    train.add_argument(
        "--data", type=Path, nargs="+", action="extend", required=True, metavar="DIR", help="folders of annotated images"
    )
    layouts = ("auto", "world", "camvid", "cityscapes", "vistas")
    train.add_argument("--layout", choices=layouts, default="auto", help="how the folders are laid out (default: %(default)s)")
    train.add_argument("--out", type=Path, required=True, metavar="WEIGHTS", help="the weight file to write (.safetensors)")
    train.add_argument(
        "--init", metavar="WEIGHTS", help="network to begin with: a shipped name or a file (default: a new small one)"
    )
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
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    train.add_argument("--seed", type=seed_number, default=0)
