"""Sub-commands about weights that lie on the disk: what there is, and labels from a backbone of others."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_values import positive_int, seed_number

MODULE = "commands_weights"


def add_weights_commands(command) -> None:
    weights = command("weights", "list the networks and label images in a folder: labels, base, stationary, SHA-256", MODULE)
    weights.add_argument("folder", type=Path, metavar="DIR")

    make = command("vocabulary", "make labels of a frozen DINOv2 backbone: its features, clustered as in training", MODULE)
    make.add_argument("--backbone", type=Path, required=True, metavar="FILE", help="as published: dinov2_vits14_pretrain.pth")
    make.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="DIR",
        help="what `train` takes: correspondence files with images, scenes with a map, or rendered sets",
    )
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help="the weight file to write (.safetensors)")
    make.add_argument("--clusters", type=positive_int, default=100, metavar="K", help="number of labels (default: %(default)s)")
    make.add_argument("--dims", type=positive_int, default=256, metavar="N", help="of whitened features (default: %(default)s)")
    make.add_argument(
        "--projection",
        choices=("pca", "discriminant"),
        default="pca",
        help="discriminant: keep what differs between places and not between seasons (default: %(default)s, as the paper)",
    )
    make.add_argument(
        "--features", type=positive_int, default=500, metavar="N", help="of each reference image (default: %(default)s)"
    )
    make.add_argument(
        "--short-side", type=positive_int, default=518, metavar="PX", help="images are seen at this size (default: %(default)s)"
    )
    make.add_argument(
        "--rule",
        choices=("official", "relative"),
        default="relative",
        help="which labels are of what stays, counted at the end, as of `stationary` (default: %(default)s)",
    )
    make.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    make.add_argument("--seed", type=seed_number, default=0)
