"""Poses as visuallocalization.net takes them (PAPER 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from core.errors import InputError
from core.geometry import Rigid3d
from core.images import write_atomic

NAMES: dict[str, Callable[[str], str]] = {
    "full": lambda name: name,
    "basename": lambda name: name.rsplit("/", 1)[-1],
    "camera": lambda name: "/".join(name.split("/")[-2:]),
}
"""How an image is named: as in the scene; by its file alone (Extended CMU Seasons); by camera and file (RobotCar)."""


def write_submission(path: str | Path, poses: Mapping[str, Rigid3d], names: str = "full") -> None:
    """Write a line ``name qw qx qy qz tx ty tz`` (cam_from_world; t is no camera centre) for each localized query.

    Raises InputError where two images would have one name.
    """
    if names not in NAMES:
        raise InputError(f"names {names!r} are not known; expected one of {', '.join(NAMES)}")
    lines: dict[str, str] = {}
    for name, pose in poses.items():
        short = NAMES[names](name)
        if short in lines:
            raise InputError(f"{path}: two images would be called {short!r}; write their names with more of their folders")
        lines[short] = f"{short} " + " ".join(f"{value:.12g}" for value in (*pose.qvec, *pose.tvec))
    text = "".join(f"{line}\n" for line in lines.values())
    write_atomic(Path(path), lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))
