"""What the window shows now: records and selection, with one signal a record.

Setting a record clears everything that was made from it, in this file alone: a stale pose never stands beside new labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject, Signal

from fgsn_viewer.display import ALL_KINDS
from fgsn_viewer.labelling import NetworkInfo
from fgsn_viewer.methods import P3P


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """How labels lie over the photographs: ``mode`` fill, outline or off; ``opacity`` in [0, 1]; ``unstable`` marks the
    least consistent labels.
    """

    mode: str = "fill"
    opacity: float = 0.45
    unstable: bool = False


_PAIR = ("pair_matches", "consistency", "autopsy", "selected_match")
_LABELS = ("consistency", "highlight", "isolated")
DOWNSTREAM: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "scene": ("query", "outcomes", "rows", "track", "point_labels", "selected_point"),
        "method": ("outcomes", "track", "localization"),
        "labels_from": ("network", "outcomes", "track", "results", "localization"),
        "network": ("query_labels", "reference_labels", "point_labels"),
        "query": ("reference", "query_image", "query_labels", "results", "localization", "selected_point"),
        "reference": ("reference_image", "reference_labels", *_PAIR),
        "query_image": (),
        "reference_image": (),
        "query_labels": _LABELS,
        "reference_labels": _LABELS,
        "point_labels": (),
        "results": (),
        "localization": ("autopsy", "selected_match", "consistency", "circle"),
        "circle": (),
        "track": (),
        "rows": (),
        "evaluation": (),
        "kinds": (),
        "pair_matches": ("consistency", "autopsy", "selected_match"),
        "consistency": (),
        "autopsy": (),
        "outcomes": (),
        "overlay": (),
        "highlight": (),
        "isolated": (),
        "selected_match": ("circle",),
        "selected_point": (),
    }
)
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "outcomes": MappingProxyType({}),
        "results": MappingProxyType({}),
        "rows": (),
        "overlay": OverlaySettings(),
        "kinds": ALL_KINDS,
        "method": P3P,
    }
)


def downstream_of(name: str) -> tuple[str, ...]:
    """Every record that a change of ``name`` clears, each once, nearest first."""
    found: dict[str, None] = {}
    waiting = list(DOWNSTREAM[name])
    while waiting:
        item = waiting.pop(0)
        if item not in found:
            found[item] = None
            waiting.extend(DOWNSTREAM[item])
    return tuple(found)


def _record(name: str, doc: str) -> property:
    return property(lambda self: self._values[name], lambda self, value: self._set(name, value), doc=doc)


class ViewerState(QObject):
    """The current records; assign to one and its ``<name>_changed`` signal, then those of what it cleared, are sent."""

    scene_changed = Signal(object)
    network_changed = Signal(object)
    query_changed = Signal(object)
    reference_changed = Signal(object)
    query_image_changed = Signal(object)
    reference_image_changed = Signal(object)
    query_labels_changed = Signal(object)
    reference_labels_changed = Signal(object)
    point_labels_changed = Signal(object)
    method_changed = Signal(object)
    labels_from_changed = Signal(object)
    results_changed = Signal(object)
    localization_changed = Signal(object)
    circle_changed = Signal(object)
    track_changed = Signal(object)
    rows_changed = Signal(object)
    evaluation_changed = Signal(object)
    kinds_changed = Signal(object)
    pair_matches_changed = Signal(object)
    consistency_changed = Signal(object)
    autopsy_changed = Signal(object)
    outcomes_changed = Signal(object)
    overlay_changed = Signal(object)
    highlight_changed = Signal(object)
    isolated_changed = Signal(object)
    selected_match_changed = Signal(object)
    selected_point_changed = Signal(object)

    scene = _record("scene", "Scene or None.")
    network = _record("network", "NetworkInfo or None.")
    query = _record("query", "ImageData on the right, or None.")
    reference = _record("reference", "ImageData on the left, or None.")
    query_image = _record("query_image", "(H, W, 3) u8 or None.")
    reference_image = _record("reference_image", "(H, W, 3) u8 or None.")
    query_labels = _record("query_labels", "LabelMap or None.")
    reference_labels = _record("reference_labels", "LabelMap or None.")
    point_labels = _record("point_labels", "PointLabels in the network's vocabulary, or None.")
    method = _record("method", "Name of the method that localizes.")
    labels_from = _record("labels_from", "The network that labels are asked from, by name or file, or None.")
    results = _record("results", "Read-only mapping: method to what it Answered for the query.")
    localization = _record("localization", "Localization of the query by the chosen method, or None.")
    circle = _record("circle", "CircleScores of the selected match, or None.")
    track = _record("track", "Track of the query's condition by PFSL, or None.")
    rows = _record("rows", "Lines of the tables (QueryRow) of this session and scene.")
    evaluation = _record("evaluation", "Evaluation that was opened from a folder, or None.")
    kinds = _record("kinds", "Kinds of matches that are shown.")
    pair_matches = _record("pair_matches", "PairMatches of reference and query, or None.")
    consistency = _record("consistency", "PairAgreement of the two label maps, or None.")
    autopsy = _record("autopsy", "Autopsy of the query, or None.")
    outcomes = _record("outcomes", "Read-only mapping: query name to its Outcome.")
    overlay = _record("overlay", "OverlaySettings.")
    highlight = _record("highlight", "Label under the cursor, or None.")
    isolated = _record("isolated", "Label shown alone, or None.")
    selected_match = _record("selected_match", "Index into the matches, or None.")
    selected_point = _record("selected_point", "Index into the map's points, or None.")

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._values = {name: _DEFAULTS.get(name) for name in DOWNSTREAM}

    def _set(self, name: str, value: Any) -> None:
        if self._is_same(name, value):
            return
        self._values[name] = value
        cleared = [item for item in downstream_of(name) if not self._is_same(item, _DEFAULTS.get(item))]
        for item in cleared:
            self._values[item] = _DEFAULTS.get(item)
        for item in (name, *cleared):
            getattr(self, f"{item}_changed").emit(self._values[item])

    def _is_same(self, name: str, value: Any) -> bool:
        old = self._values[name]
        return old is value or (
            isinstance(value, int | str | Path | frozenset | OverlaySettings | NetworkInfo) and old == value
        )
