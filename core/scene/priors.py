"""What is known of queries before their pixels speak, as text: gravity, height, position, a previous pose.

One line a query: its name, and any of these groups, in any order:

    gravity gx gy gz SIGMA_DEG          where down is in the camera (x right, y down, z forward), any length
    accelerometer ax ay az SIGMA_DEG    what an accelerometer at rest in the camera's axes reads: it points up
    height h SIGMA_M                    of the camera centre against the map's gravity (world z where that is down)
    position x y z SIGMA_M              of the camera centre in the world, as from GPS
    pose qw qx qy qz tx ty tz           cam_from_world of a moment before

Names may hold spaces. Blank lines and lines that start with # are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.images import write_atomic
from core.records import QueryPrior
from core.scene.colmap_text import parse_pose, text_lines

_GROUPS = {"gravity": 4, "accelerometer": 4, "height": 2, "position": 4, "pose": 7}


def read_priors(path: str | Path) -> dict[str, QueryPrior]:
    """Read priors by image name, in the order of the file; SceneError names file and line."""
    priors: dict[str, QueryPrior] = {}
    for where, line in text_lines(Path(path)):
        if not line:
            continue
        name, groups = _split(line, where)
        if name in priors:
            raise SceneError(f"{where}: {name!r} is listed a second time")
        priors[name] = _prior(groups, where, Path(path).name)
    return priors


def write_priors(path: str | Path, priors: Mapping[str, QueryPrior]) -> None:
    """Write the list that ``read_priors`` reads."""
    lines = ["# name [gravity x y z SIGMA_DEG] [height h SIGMA_M] [position x y z SIGMA_M] [pose qw qx qy qz tx ty tz]"]
    lines += [" ".join([name, *_words(prior)]) for name, prior in priors.items()]
    text = "\n".join(lines) + "\n"
    write_atomic(Path(path), lambda file: Path(file).write_text(text, encoding="utf-8", newline="\n"))


def _words(prior: QueryPrior) -> list[str]:
    groups: dict[str, list[float]] = {}
    if prior.gravity_in_camera is not None:
        groups["gravity"] = [*prior.gravity_in_camera, prior.gravity_error_deg]
    if prior.height_m is not None:
        groups["height"] = [prior.height_m, prior.height_error_m]
    if prior.position is not None:
        groups["position"] = [*prior.position, prior.position_error_m]
    if prior.cam_from_world is not None:
        groups["pose"] = [*prior.cam_from_world.qvec, *prior.cam_from_world.tvec]
    return [word for key, values in groups.items() for word in (key, *(repr(float(value)) for value in values))]


def _split(line: str, where: str) -> tuple[str, dict[str, list[str]]]:
    tokens = line.split()
    start = next((k for k, token in enumerate(tokens) if k and token in _GROUPS), None)
    if start is None:
        raise SceneError(f"{where}: expected a name and some of {', '.join(_GROUPS)}, found {line[:80]!r}")
    name, rest = line.rsplit(None, len(tokens) - start)[0], tokens[start:]
    groups: dict[str, list[str]] = {}
    while rest:
        key = rest[0]
        values = rest[1 : 1 + _GROUPS.get(key, 0)]
        if key not in _GROUPS or key in groups or len(values) != _GROUPS[key]:
            expected = f"{_GROUPS[key]} numbers after {key}, once" if key in _GROUPS else f"one of {', '.join(_GROUPS)}"
            raise SceneError(f"{where}: expected {expected}, found {' '.join(rest[:8])!r}")
        groups[key] = values
        rest = rest[1 + len(values) :]
    return name, groups


def _prior(groups: dict[str, list[str]], where: str, source: str) -> QueryPrior:
    known: dict[str, Any] = {"source": source}
    if "gravity" in groups and "accelerometer" in groups:
        raise SceneError(f"{where}: gives gravity and accelerometer, expected one of them")
    for key, sign in (("gravity", 1.0), ("accelerometer", -1.0)):
        if key in groups:
            *direction, known["gravity_error_deg"] = _numbers(groups[key], key, where)
            known["gravity_in_camera"] = sign * np.array(direction)
            if not np.linalg.norm(direction) > 1e-9:
                raise SceneError(f"{where}: {key} has length 0, expected a direction")
    if "height" in groups:
        known["height_m"], known["height_error_m"] = _numbers(groups["height"], "height", where)
    if "position" in groups:
        *place, known["position_error_m"] = _numbers(groups["position"], "position", where)
        known["position"] = np.array(place)
    if "pose" in groups:
        known["cam_from_world"] = parse_pose(groups["pose"], where)
    return QueryPrior(**known)


def _numbers(words: list[str], key: str, where: str) -> list[float]:
    """The values of a group, its error last."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [np.nan]
    if not np.isfinite(values).all():
        raise SceneError(f"{where}: {key} is {' '.join(words)!r}, expected numbers")
    if values[-1] < 0:
        raise SceneError(f"{where}: the error of {key} is {values[-1]:g}, expected 0 or more")
    return values
