"""Sub-commands that measure labels: how well they hold between images, and which are of what stays."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_values import non_negative_float, positive_float, positive_int, seed_number
from resources import DEFAULT_WEIGHTS

MODULE = "commands_consistency"


def add_consistency_commands(command) -> None:
    _add_consistency(command)
    _add_stationary(command)


def _add_consistency(command) -> None:
    measure = command("consistency", "measure how well labels hold between images of one place", MODULE)
    measure.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="two images, or two label images with --labels")
    where = measure.add_mutually_exclusive_group(required=True)
    where.add_argument("--aligned", action="store_true", help="the camera did not move: a pixel corresponds to itself")
    where.add_argument("--correspondences", type=Path, metavar="FILE", help="a correspondence file (.mat) of the two images")
    where.add_argument(
        "--scene", type=Path, metavar="SCENE", help="what a scene knows of the two images; without images, all its pairs"
    )
    measure.add_argument("--labels", action="store_true", help="the images are label images (PNG of 8 or 16 bit)")
    measure.add_argument("--weights", default=DEFAULT_WEIGHTS, help="a shipped name or a file (default: %(default)s)")
    measure.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    measure.add_argument("--max-views", type=positive_int, metavar="N", help="of a scene, this many reference images at most")
    measure.add_argument("--per-label", action="store_true", help="also each label's own kappa")
    measure.add_argument("--per-condition", action="store_true", help="also each condition's numbers (always for a scene)")
    measure.add_argument("--intervals", action="store_true", help="also 95 %% bootstrap intervals over a scene's image pairs")
    measure.add_argument("--seed", type=seed_number, help="of the bootstrap (default: 0)")


def _add_stationary(command) -> None:
    count = command("stationary", "find which labels are of what stays and which turn into which, for the localizer", MODULE)
    count.add_argument("--weights", default=DEFAULT_WEIGHTS, help="a shipped name or a file (default: %(default)s)")
    count.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="DIR",
        help="correspondence files, scenes with a map, or rendered sets",
    )
    count.add_argument(
        "--out", type=Path, metavar="FILE", help="default: WEIGHTS with .labels.safetensors, beside weights of your own"
    )
    count.add_argument("--official", type=Path, metavar="NPY", help="also write the published tool's stationary_inds.npy")
    count.add_argument(
        "--rule",
        choices=("official", "relative"),
        default="official",
        help="a label's pixels lie on correspondences: over 1 %% of them (published), or over a quarter of the average "
        "(for sparse correspondences); default: %(default)s",
    )
    count.add_argument("--threshold", type=non_negative_float, metavar="SHARE", help="instead of the rule's 0.01 or 0.25")
    count.add_argument("--every", type=positive_int, default=5, metavar="N", help="each N-th pair (default: %(default)s)")
    count.add_argument("--max-pairs", type=positive_int, metavar="N", help="at most as many, evenly spread")
    count.add_argument(
        "--validation-share",
        type=positive_float,
        metavar="SHARE",
        help="only of the share of the places that `train` with this share and seed does not learn from (default: all places)",
    )
    count.add_argument("--seed", type=seed_number, help="of the training that kept the share apart (default: 0)")
    count.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
