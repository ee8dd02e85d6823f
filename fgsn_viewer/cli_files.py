"""Sub-commands about files: scene files, submissions, exports for other programs, the cache on disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from fgsn_viewer.cli_values import parse_bytes, seed_number

MODULE = "commands_files"
_METHODS = ("p3p", "ssmc", "ssmc-soft", "gsmc", "gsmc-soft")


def add_file_commands(command) -> None:
    _add_scene(command)
    _add_submission(command)
    _add_export(command)
    _add_cache(command)


def _actions(parser: argparse.ArgumentParser):
    """A function that adds an action to a command; the options of every command may stand before or after its name."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for option, help in (("--json", "JSON lines on stdout"), ("--quiet", "no progress on stderr")):
        common.add_argument(option, action="store_true", help=help)
    common.add_argument("--debug", action="store_true", help="show the traceback of an internal error")
    return lambda name, help: actions.add_parser(name, help=help, description=help, parents=[common])


def _add_scene(command) -> None:
    action = _actions(command("scene", "write a scene file for a folder, or say what a scene holds", MODULE))
    init = action("init", "write scene.toml from what a folder holds: map, images, lists, networks, or a benchmark's layout")
    init.add_argument("folder", type=Path, metavar="DIR")
    init.add_argument("--force", action="store_true", help="replace a scene.toml that is there")
    show = action("show", "say what a scene holds and what is missing")
    show.add_argument("scene", type=Path, metavar="SCENE")


def _add_submission(command) -> None:
    action = _actions(command("submission", "check poses before they are sent to a benchmark", MODULE))
    check = action("check", "check names, numbers and the meaning of a list of poses (name qw qx qy qz tx ty tz)")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("scene", type=Path, metavar="SCENE")
    names = ("auto", "full", "basename", "camera")
    check.add_argument("--names", default="auto", choices=names, help="default: as the scene's benchmark wants them")
    check.add_argument("--complete", action="store_true", help="a query without a pose is a mistake")


def _add_export(command) -> None:
    action = _actions(command("export", "write a scene's map, labels, matches, poses or pairs for other programs", MODULE))
    model = _export(action, "model", "a COLMAP model whose points have the colours of their labels", "DIR")
    model.add_argument("--text", action="store_true", help="as text, not binary")
    _add_vocabulary(model)
    ply = _export(action, "ply", "the map as a PLY cloud with fields label and vote_share", "FILE")
    ply.add_argument("--colors", default="labels", choices=("labels", "photo"), help="default: %(default)s")
    _add_vocabulary(ply)
    labels = _export(action, "labels", "16-bit label PNGs of the scene's images, which can stand in for a network", "DIR")
    labels.add_argument("--weights", help="network: a shipped name or a file (default: what the scene asks for)")
    labels.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    labels.add_argument("--conditions", nargs="+", default=[], metavar="C", help="only images of these conditions")
    matches = _export(action, "matches", "the matches of a query as CSV: pixels, points, labels, inliers", "FILE")
    matches.add_argument("--query", required=True, help="by its name or the last part of it")
    matches.add_argument("--method", default="p3p", choices=_METHODS)
    matches.add_argument("--weights", help="network that labels the query")
    matches.add_argument("--seed", type=seed_number, default=0)
    poses = _export(action, "poses", "known poses, or those of a list, for other programs", "PATH")
    formats = ("list", "submission", "colmap", "tum", "kapture")
    what = "list: name qw qx qy qz tx ty tz (default); submission: this with names as the scene's benchmark wants them"
    poses.add_argument("--format", default="list", choices=formats, help=what)
    poses.add_argument(
        "--poses", type=Path, metavar="FILE", help="these (name qw qx qy qz tx ty tz) in place of the known ones"
    )
    poses.add_argument("--images", default="all", choices=("all", "reference", "queries"))
    _export(action, "correspondences", "image pairs with what corresponds by the map, as the paper's .mat files", "DIR")


def _export(action, name: str, help: str, out: str) -> argparse.ArgumentParser:
    made = action(name, help)
    made.add_argument("scene", type=Path, metavar="SCENE")
    made.add_argument("--out", type=Path, required=True, metavar=out)
    return made


def _add_vocabulary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vocabulary", default="", metavar="NAME", help="of the map's labels (default: the scene's)")


def _add_cache(command) -> None:
    action = _actions(command("cache", "labels and thumbnails that are kept on disk", MODULE))
    folder = {"type": Path, "metavar": "DIR", "help": "another folder than this system's"}
    action("show", "say where it is, how large, and its limit").add_argument("--folder", **folder)
    action("clear", "remove what is kept").add_argument("--folder", **folder)
    limit = action("limit", "set how large it may grow; what was used least recently goes first")
    limit.add_argument("size", type=parse_bytes, metavar="SIZE", help="as 500MB or 4GB")
    limit.add_argument("--folder", **folder)
