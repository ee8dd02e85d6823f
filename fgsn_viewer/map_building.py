"""Building a map for the window: what a person asks for, how far it is, and the work, without Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import Progress, Scene
from core.scene.folders import require_empty
from fgsn_viewer.labelling import Labelling
from fgsn_viewer.settings_spec import with_values
from fgsn_viewer.work_steps import Steps

SEED = 0


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What a map is to be made of: ``photos``, a folder; ``poses`` that are known, a file or model, or None.

    ``out`` is the folder that will hold the map, ``network`` labels it (None: it stays without), ``values`` are the
    settings that differ, by name.
    """

    photos: Path
    out: Path
    poses: Path | None = None
    network: str | Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MapState:
    """What the dialog shows. ``phase``: ready, running, stopped, done or failed; ``problem``: why not.

    ``num_placed`` images with a pose and ``num_points`` so far; None: not known yet. ``out``: the map that is done.
    """

    phase: str = "ready"
    message: str = ""
    fraction: float | None = None
    num_photos: int | None = None
    num_placed: int | None = None
    num_points: int | None = None
    problem: str = ""
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many photographs there are, before any is read."""

    num_photos: int


def read_request(photos: str, out: str, poses: str, network: str | Path | None, values: Mapping[str, Any]) -> MapRequest:
    """What was typed, checked as far as names go. Raises InputError: a sentence on the first thing that cannot be."""
    if not photos.strip():
        raise InputError("No folder of photographs is chosen.")
    if not out.strip():
        raise InputError("No folder for the map is chosen.")
    folder, target = Path(photos.strip()).expanduser(), Path(out.strip()).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected a folder of photographs")
    if target.resolve() == folder.resolve():
        raise InputError(f"{target}: is the folder of the photographs; the map needs one of its own")
    require_empty(target)
    known = Path(poses.strip()).expanduser() if poses.strip() else None
    if known is not None and known.suffix == ".bin":
        known = known.parent  # a file of a COLMAP model stands for its folder
    if known is not None and not known.exists():
        raise InputError(f"{known}: no such file or folder, expected poses: a COLMAP model, or lines of a name and a pose")
    return MapRequest(folder, target, known, network, dict(values))


def photo_folder(scene: Scene) -> Path:
    """The folder under which a scene's images have their names."""
    first = scene.images[0]
    path = first.path.as_posix()
    return Path(path[: -len(first.name)]) if path.endswith(f"/{first.name}") else scene.root


def suggested_out(photos: Path) -> Path:
    """A folder for the map beside the photographs, which is not there yet."""
    names = [f"{photos.name or 'photos'}-map", *(f"{photos.name or 'photos'}-map-{number}" for number in range(2, 100))]
    return next((photos.parent / name for name in names if not (photos.parent / name).exists()), photos.parent / names[0])


def build(labelling: Labelling, request: MapRequest) -> Steps:
    """Build the map and save it; yields Counted and progress, returns (folder, images placed, points). Raises InputError."""
    from core.scene.scene import list_images

    pipelines = labelling.pipelines
    yield Progress("looking for photographs")
    yield Counted(len(list_images(request.photos)))
    yield Progress("loading the libraries")
    config = with_values(pipelines.map_config(), request.values)
    segmenter = None
    if request.network is not None:
        segmenter = yield from labelling.segmenter(request.network)
    made = yield from pipelines.build_map(request.photos, request.out, request.poses, config, SEED, segmenter)
    return request.out, len(made.images), len(made.points3D)
