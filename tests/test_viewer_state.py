"""The state: what a change clears, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from fgsn_viewer.labelling import NetworkInfo
from fgsn_viewer.state import DOWNSTREAM, OverlaySettings, ViewerState, downstream_of

VALUES = {name: object() for name in DOWNSTREAM} | {"overlay": OverlaySettings("off", 0.1), "selected_match": 3}
QUERY_RESULTS = {
    "query_image", "query_labels", "results", "localization", "autopsy", "selected_match", "circle", "selected_point",
}  # fmt: skip
PAIR_RESULTS = {"reference_image", "reference_labels", "pair_matches", "consistency"}
CLEARS = {
    "scene": {"query", "reference", "outcomes", "rows", "track", "point_labels", "highlight", "isolated"}
    | QUERY_RESULTS
    | PAIR_RESULTS,
    "method": {"outcomes", "track", "localization", "autopsy", "selected_match", "consistency", "circle"},
    "labels_from": {"network", "query_labels", "reference_labels", "point_labels", "outcomes", "track", "results"}
    | {"localization", "autopsy", "selected_match", "consistency", "circle", "highlight", "isolated"},
    "query": {"reference", "highlight", "isolated"} | QUERY_RESULTS | PAIR_RESULTS,
    "reference": PAIR_RESULTS | {"autopsy", "selected_match", "circle", "highlight", "isolated"},
    "network": {"query_labels", "reference_labels", "point_labels", "consistency", "highlight", "isolated"},
    "results": set(),
    "localization": {"autopsy", "selected_match", "consistency", "circle"},
    "pair_matches": {"autopsy", "selected_match", "consistency", "circle"},
    "query_labels": {"consistency", "highlight", "isolated"},
    "reference_labels": {"consistency", "highlight", "isolated"},
    "overlay": set(),
    "highlight": set(),
    "selected_match": {"circle"},
    "outcomes": set(),
}


def full_state() -> ViewerState:
    state = ViewerState()
    for name in DOWNSTREAM:
        state._values[name] = VALUES[name]
    return state


@pytest.mark.parametrize("name", CLEARS)
def test_a_changed_record_clears_exactly_what_was_made_from_it(name):
    state = full_state()
    setattr(state, name, None if name != "overlay" else OverlaySettings())
    cleared = {other for other in DOWNSTREAM if other != name and getattr(state, other) is not VALUES[other]}
    assert cleared == CLEARS[name]


def test_nothing_is_downstream_of_itself():
    assert all(name not in downstream_of(name) for name in DOWNSTREAM)


def test_a_signal_comes_for_the_record_and_for_everything_cleared_and_for_nothing_else():
    state = full_state()
    seen = []
    for name in DOWNSTREAM:
        getattr(state, f"{name}_changed").connect(lambda _value, name=name: seen.append(name))
    state.reference = None
    assert seen[0] == "reference"
    assert set(seen) == {"reference", *CLEARS["reference"]}
    assert len(seen) == len(set(seen))


def test_no_view_sees_a_stale_record_while_the_first_signal_is_sent():
    state = full_state()
    stale = []
    state.query_changed.connect(lambda _query: stale.append(state.localization))
    state.query = object()
    assert stale == [None]


@pytest.mark.parametrize("value", [OverlaySettings("fill", 0.45)])
def test_an_equal_setting_is_no_change(value):
    state = ViewerState()
    seen = []
    state.overlay_changed.connect(seen.append)
    state.overlay = value
    assert seen == []


def test_the_same_network_loaded_again_keeps_the_labels():
    state = ViewerState()
    state.network = NetworkInfo("toy", "toy", 3)
    labels = state.query_labels = object()
    state.network = NetworkInfo("toy", "toy", 3)
    assert state.query_labels is labels


def test_images_are_compared_by_identity_never_by_pixels():
    state = ViewerState()
    seen = []
    state.query_image_changed.connect(seen.append)
    state.query_image = np.zeros((2, 3, 3), np.uint8)
    state.query_image = np.zeros((2, 3, 3), np.uint8)
    assert len(seen) == 2
