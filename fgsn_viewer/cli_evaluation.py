"""Sub-commands that evaluate whole scenes."""

from __future__ import annotations

from pathlib import Path

from fgsn_viewer.cli_settings import add_localizer_settings
from fgsn_viewer.cli_values import non_negative_float, positive_int, seed_number
from fgsn_viewer.methods import STYLES

MODULE = "commands_evaluation"
ODOMETRY_HELP = (
    "pfsl and drives: how the camera moved between queries: a file of measured odometry; simulated: the true motion with "
    "noise; none; auto: the scene's own file, else simulated (default: %(default)s)"
)


def add_evaluation_commands(command) -> None:
    evaluate = command(
        "evaluate", "recall of methods and networks over scenes: tables, curves, poses; goes on where it was stopped", MODULE
    )
    evaluate.add_argument("scenes", nargs="+", type=Path, metavar="SCENE", help="scenes with a map and queries")
    evaluate.add_argument("--methods", nargs="+", default=["p3p"], metavar="M", help=f"{' '.join(STYLES)} (default: p3p)")
    evaluate.add_argument("--weights", nargs="+", default=[], metavar="W", help="networks: shipped names or files")
    evaluate.add_argument("--conditions", nargs="+", default=[], metavar="C", help="only queries of these conditions")
    evaluate.add_argument("--odometry", default="auto", metavar="WHAT", help=ODOMETRY_HELP)
    evaluate.add_argument(
        "--start-error",
        type=non_negative_float,
        default=0.0,
        metavar="M",
        help="pfsl and drives: tell the first query's true position with this error, as GPS would; 0: do not tell (default: 0)",
    )
    evaluate.add_argument("--out", type=Path, required=True, metavar="DIR", help="results, and what is needed to go on")
    evaluate.add_argument("--workers", type=positive_int, default=1, metavar="N", help="processes on this machine")
    evaluate.add_argument("--scheduler", default="", metavar="ADDRESS", help="Dask scheduler, as tcp://host:8786")
    evaluate.add_argument("--compare", type=Path, metavar="JSON", help="result.json of before: exit code 3 where queries broke")
    evaluate.add_argument("--pose-names", default="full", choices=("full", "basename", "camera"), help="in the lists of poses")
    evaluate.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    evaluate.add_argument("--seed", type=seed_number, default=0)
    add_localizer_settings(evaluate)
