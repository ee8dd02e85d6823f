"""When and where the native libraries are imported, and which Qt is refused.

Their order is a crash source: on Windows torch has to come before Qt, on Linux torch before open3d, on macOS open3d
before torch. Everywhere but on Windows they are imported after the window shows, off the GUI thread.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import Progress
from fgsn_viewer.methods import STYLES

_lock = threading.Lock()


class UnsuitableQt(InputError):
    """The installed Qt cannot run this program; the message says which one can."""


@dataclass(frozen=True, kw_only=True)
class Pipelines:
    """What the window asks of core, as plain functions, so that a test can bring its own.

    ``open_scene``, ``list_weights``, ``retriever``, ``prepare``, ``follow``, ``match_pair``, ``train`` and ``build_map`` are
    generators; the others return at once.
    """

    open_scene: Callable[[Path], Any]
    open_pair: Callable[[Path, Path], Any]
    load_labels: Callable[[Path, str], Any]
    available_weights: Callable[[], Mapping[str, Path]]
    list_weights: Callable[[Path], Generator]
    load_segmenter: Callable[[Any], Any]
    label_points: Callable[..., Generator]
    label_statistics: Callable[[Path], Any]
    method_names: Callable[[], Sequence[str]]
    retriever: Callable[..., Generator]
    prepare: Callable[..., Generator]
    solve: Callable[..., Any]
    refuse: Callable[..., Any]
    query_row: Callable[..., Any]
    circle: Callable[..., Any]
    motion: Callable[..., Any]
    follow: Callable[..., Generator]
    read_evaluation: Callable[[Path], list[Any]]
    match_pair: Callable[..., Generator]
    explain: Callable[..., Any]
    consistency: Callable[..., Any]
    label_kappas: Callable[[Any], Any]
    pair_data: Callable[[Sequence[Path]], Any]
    training_presets: Callable[[], tuple[Mapping[str, Any], Mapping[str, Sequence[str]]]]
    train: Callable[..., Generator]
    training_log: Callable[[Path], list[dict[str, Any]]]
    map_config: Callable[[], Any]
    build_map: Callable[..., Generator]


def check_qt(qt_version: str, python: tuple[int, int] = sys.version_info[:2]) -> None:
    """Refuse PySide6 6.12 on Python before 3.12: it loses references to None there, and the process dies after a while."""
    if qt_version.split(".")[:2] >= ["6", "12"] and python < (3, 12):
        raise UnsuitableQt(
            f"PySide6 {qt_version} cannot run on Python {python[0]}.{python[1]}; "
            "install PySide6-Essentials<6.12, or use Python 3.12 or newer"
        )


def before_qt() -> None:
    """Import what has to come before Qt on this system."""
    if sys.platform == "win32":
        importlib.import_module("torch")


def native_order(platform: str = sys.platform) -> tuple[str, ...]:
    """The libraries that the window needs, in the order in which this system bears them."""
    return ("open3d", "torch", "poselib", "pycolmap") if platform == "darwin" else ("torch", "poselib", "pycolmap")


def load_natives() -> Generator[Progress, None, None]:
    """Import the native libraries in order, once; call it off the GUI thread."""
    names = native_order()
    for index, name in enumerate(names):
        yield Progress(f"loading {name}", index / len(names))
        with _lock:
            importlib.import_module(name)


def core_pipelines() -> Pipelines:
    """Bind the pipelines of core; each imports what it needs at its first call."""
    return Pipelines(
        open_scene=_late("core.scene.scene", "open_scene_steps", heavy=False),
        open_pair=_late("core.scene.pair", "open_pair", heavy=False),
        load_labels=_late("core.scene.map_file", "load_labels", heavy=False),
        available_weights=_late("core.engine.segmenter", "available_weights"),
        list_weights=_late("core.engine.weight_listing", "list_weights_steps"),
        load_segmenter=_late("core.engine.segmenter", "load_segmenter"),
        label_points=_late("core.mapping.labels", "segment_points"),
        label_statistics=_late("core.engine.weight_folders", "statistics_beside", heavy=False),
        method_names=lambda: tuple(STYLES),
        retriever=_late("fgsn_viewer.localizer_calls", "retriever"),
        prepare=_late("fgsn_viewer.localizer_calls", "prepare"),
        solve=_late("fgsn_viewer.localizer_calls", "solve"),
        refuse=_late("fgsn_viewer.localizer_calls", "refuse"),
        query_row=_late("fgsn_viewer.localizer_calls", "query_row"),
        circle=_late("fgsn_viewer.localizer_calls", "circle"),
        motion=_late("fgsn_viewer.localizer_calls", "motion"),
        follow=_late("fgsn_viewer.localizer_calls", "follow"),
        read_evaluation=_late("fgsn_viewer.localizer_calls", "read_evaluation"),
        match_pair=_late("core.localizer.pair", "match_pair_steps"),
        explain=_late("core.localizer.autopsy", "explain"),
        consistency=_late("core.engine.consistency", "consistency_at_points"),
        label_kappas=_late("core.engine.consistency", "label_kappas"),
        pair_data=_late("core.engine.season_data", "open_pair_data"),
        training_presets=_late("fgsn_viewer.training_presets", "presets"),
        train=_late("fgsn_viewer.training_presets", "train"),
        training_log=_late("core.engine.run_folder", "read_log"),
        map_config=_late("core.mapping.build", "MapConfig"),
        build_map=_late("core.mapping.build", "build_map"),
    )


def _late(module: str, name: str, heavy: bool = True) -> Callable[..., Any]:
    """A function that imports itself at its first call, after the natives in their order where it needs them."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if heavy:
            for _ in load_natives():
                pass
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call
