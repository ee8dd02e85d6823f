"""The work of opening, without Qt and without state: a scene of any layout, or two photographs, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.records import Progress, Scene
from core.scene.colmap import folder_of_files
from core.scene.summary import SceneSummary, summarize
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.work_steps import Steps, finished


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A scene as it was read, where from, and what is in it; ``query``: the image to show first, or None."""

    scene: Scene
    paths: tuple[Path, ...]
    summary: SceneSummary
    query: str | None = None

    @property
    def is_pair(self) -> bool:
        """Whether these are two photographs and no more."""
        return not self.scene.layout and len(self.paths) == len(self.scene.images) == 2


def open_paths(pipelines: Pipelines, paths: tuple[Path, ...], query: str | None = None) -> Steps:
    """Open one scene, model (or its files), file or folder, or two photographs; return what was Opened.

    No image is read and no library of the engine is loaded. Raises InputError.
    """
    model = folder_of_files(paths)
    asked = paths if model is None else (model,)
    yield Progress(f"opening {', '.join(path.name or str(path) for path in asked)}")
    if len(asked) == 2:
        scene = yield from finished(pipelines.open_pair(*asked))
    elif len(asked) == 1:
        scene = yield from finished(pipelines.open_scene(asked[0]))
    else:
        raise InputError(f"{len(asked)} paths given; expected one scene, COLMAP model or folder, or two photographs")
    if not scene.images:
        raise InputError(f"{asked[0]}: no images found in it")
    yield Progress("looking which images are there")
    return Opened(scene, paths, summarize(scene), query)
