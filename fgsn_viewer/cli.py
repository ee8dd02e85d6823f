"""The command line: sub-commands over core, without a window unless `view` or `demo` asks for one.

Results go to stdout (JSON lines with ``--json``), progress to stderr. Exit codes: 0 done, 2 bad input, 1 internal error,
130 interrupted, 141 nobody reads the results any more.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from fgsn_viewer.cli_consistency import add_consistency_commands
from fgsn_viewer.cli_evaluation import ODOMETRY_HELP, add_evaluation_commands
from fgsn_viewer.cli_files import add_file_commands
from fgsn_viewer.cli_settings import CommandParser, add_localizer_settings
from fgsn_viewer.cli_training import add_training_commands
from fgsn_viewer.cli_values import add_cameras, non_negative_float, parse_size, positive_float, positive_int, seed_number
from fgsn_viewer.cli_weights import add_weights_commands
from fgsn_viewer.methods import P3P, STYLES
from resources import DEFAULT_WEIGHTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that wait for each other by spinning take a busy machine's cores from those that work: GSMC took 30 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser, commands = build_parser()
    if not arguments or (os.path.exists(arguments[0]) and arguments[0] not in commands):
        arguments.insert(0, "view")  # `main.py PATH` opens it
    elif arguments[0] not in commands and not arguments[0].startswith("-"):
        known = ", ".join(sorted(commands))
        sys.stderr.write(f"fgsn-viewer: {arguments[0]}: no such file or folder, and no command; the commands are {known}\n")
        return 2
    try:
        options = parser.parse_args(arguments)
    except SystemExit as exit_request:
        return int(exit_request.code or 0)
    return run_command(options)


def run_command(options: argparse.Namespace) -> int:
    try:
        commands = importlib.import_module(options.module)  # each command imports the heavy libraries it needs
        return getattr(commands, options.command.replace("-", "_"))(options) or 0
    except (InputError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        sys.stderr.write(f"fgsn-viewer {options.command}: {error}\n")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        return 141
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except Exception as error:
        logging.getLogger(__name__).debug("internal error", exc_info=True)
        sys.stderr.write(f"fgsn-viewer {options.command}: internal error: {type(error).__name__}: {error}\n")
        if options.debug:
            raise
        return 1


def build_parser() -> tuple[argparse.ArgumentParser, frozenset[str]]:
    """Return the parser and the names of its commands."""
    parser = CommandParser(prog="fgsn-viewer", description="See why long-term visual localization fails.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="JSON lines on stdout")
    common.add_argument("--quiet", action="store_true", help="no progress on stderr")
    common.add_argument("--debug", action="store_true", help="show the traceback of an internal error")

    def command(name: str, help: str, module: str = "commands") -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=help, description=help, parents=[common])
        made.set_defaults(module=f"fgsn_viewer.{module}")
        return made

    _add_window_commands(command)
    _add_engine_commands(command)
    add_training_commands(command)
    add_consistency_commands(command)
    _add_localizer_commands(command)
    add_evaluation_commands(command)
    add_weights_commands(command)
    add_file_commands(command)
    return parser, frozenset(subparsers.choices)


def _add_window_commands(command) -> None:
    view = command("view", "open the window, with a scene of any layout, a model, a folder of images or two photographs")
    view.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    view.add_argument("--weights", help="network: a shipped name or a file (default: what the scene asks for)")

    demo = command("demo", "open the demo scene; without a display write screenshots and a report instead")
    demo.add_argument("--headless", action="store_true", help="no window: screenshots, result.json and report.html")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR")

    shot = command("shot", "write a screenshot of what a person would see, without a display")
    shot.add_argument("paths", nargs="+", type=Path, metavar="SCENE", help="a scene, or two photographs")
    shot.add_argument("--view", choices=("window", "labels", "matches", "scene3d"), default="window")
    shot.add_argument("--out", type=Path, required=True, metavar="PNG")
    shot.add_argument("--query", help="query image, by its name or the last part of it")
    shot.add_argument("--size", type=parse_size, default=(1600, 1000), metavar="WxH")
    shot.add_argument("--weights", help="network: a shipped name or a file")


def _add_engine_commands(command) -> None:
    world = command("world", "write a scene of the procedural seasons world: images, truth, correspondences and map")
    world.add_argument("--kind", choices=("urban", "suburban", "park"), default="urban")
    world.add_argument("--seed", type=seed_number, default=0)
    world.add_argument("--conditions", nargs="+", metavar="C", help="query conditions (default: all)")
    world.add_argument("--num-reference", type=positive_int, default=40)
    world.add_argument("--num-queries", type=positive_int, default=8, help="queries per condition")
    world.add_argument("--size", type=parse_size, default=(640, 480), metavar="WxH")
    world.add_argument("--name", default="", help="what the scene is called in the window")
    world.add_argument("--spacing", type=positive_float, default=2.0, metavar="M", help="metres between reference images")
    world.add_argument(
        "--lateral", type=non_negative_float, default=0.4, metavar="M", help="how far queries stand beside the lane"
    )
    world.add_argument("--yaw", type=non_negative_float, default=7.0, metavar="DEG", help="how much queries look to the side")
    world.add_argument(
        "--frame-spacing",
        type=positive_float,
        metavar="M",
        help="queries are consecutive frames of a drive, so far apart (default: spread over the street, each by its own)",
    )
    add_cameras(world)
    world.add_argument("--start-query", default="", metavar="NAME", help="the query that the window shows first")
    world.add_argument("--no-truth", action="store_true", help="leave out depth, classes and correspondences")
    world.add_argument("--weights", default=DEFAULT_WEIGHTS, help="network that labels the map (default: %(default)s)")
    world.add_argument("--out", type=Path, required=True, metavar="DIR")

    label = command("label", "label the points of an existing map with a network")
    label.add_argument("scene", type=Path, metavar="SCENE")
    label.add_argument("--weights", default=DEFAULT_WEIGHTS, help="a shipped name or a file (default: %(default)s)")

    segment = command("segment", "write the label image of each image as 16-bit PNG of the same size")
    segment.add_argument("images", nargs="+", type=Path, metavar="PATH", help="an image, a folder, or a scene of any layout")
    segment.add_argument("--out", type=Path, required=True, metavar="DIR", help="the files keep the names that the scene has")
    segment.add_argument("--conditions", nargs="+", default=[], metavar="C", help="only images of these conditions")
    segment.add_argument(
        "--weights", help=f"a shipped name or a file (default: what the scene asks for, else {DEFAULT_WEIGHTS})"
    )
    segment.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    segment.add_argument("--precision", default="fast", choices=("exact", "fast"))


def _add_localizer_commands(command) -> None:
    build = command("map", "build a labelled 3D map from images, by triangulation where poses are known")
    build.add_argument("images", type=Path, metavar="IMAGES", help="folder of images")
    build.add_argument("--out", type=Path, required=True, metavar="MODEL")
    build.add_argument("--poses", type=Path, metavar="FILE", help="known poses: a COLMAP model, or `name qw qx qy qz tx ty tz`")
    build.add_argument("--weights", default=DEFAULT_WEIGHTS, help="network that labels the map (default: %(default)s)")

    localize = command("localize", "estimate the pose of one query or of all, with the reason when it fails")
    localize.add_argument("scene", type=Path, metavar="SCENE")
    which = localize.add_mutually_exclusive_group()
    which.add_argument("--query", help="one query image, by its name or the last part of it")
    which.add_argument("--all", action="store_true", help="every query, with a recall table by condition (the default)")
    localize.add_argument("--method", default=P3P, choices=tuple(STYLES), help="how labels choose among the matches")
    localize.add_argument(
        "--weights", help="network that labels the queries (default: what the scene asks for); says how many keep their label"
    )
    localize.add_argument("--odometry", default="auto", metavar="WHAT", help=ODOMETRY_HELP)
    add_localizer_settings(localize)
    localize.add_argument("--seed", type=seed_number, default=0)
