"""Stationary labels as the published tool exports them reach the localizer; foreign files are refused and never unpickled."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from engine_networks import RunsCode, official_state

from core.engine.segmenter import load_segmenter
from core.engine.weight_folders import statistics_beside, statistics_of
from core.errors import WeightsError
from core.localizer.affinity import affinity_ratios
from core.scene.label_statistics import load_stationary_indices


def export(folder, stationary=((0,), (3,), (10,))):
    """What the published tool exports: weights.pth, and which labels are of what stays."""
    folder.mkdir(parents=True)
    torch.save(official_state(), folder / "weights.pth")
    np.save(folder / "stationary_inds.npy", np.array(stationary))
    return folder


def test_an_exported_folder_has_its_name_as_vocabulary_and_its_stationary_labels_reach_the_localizer(tmp_path):
    folder = export(tmp_path / "cluster-cmu-cn11")
    np.save(folder / "cluster_histogram_for_corr.npy", np.arange(11))
    np.save(folder / "cluster_histogram_non_corr.npy", np.array([0, *range(10, 0, -1)]))
    segmenter = load_segmenter(folder, "cpu", "exact")
    assert segmenter.vocabulary == "cluster-cmu-cn11"
    for statistics in (statistics_of(segmenter.info), statistics_beside(folder)):
        assert (statistics.vocabulary, statistics.num_labels) == ("cluster-cmu-cn11", 11)
        assert np.flatnonzero(statistics.stationary).tolist() == [0, 3, 10]
        np.testing.assert_allclose(statistics.correspondence_share, np.array([0, *(k / 11 for k in range(1, 11))]))
    given, assumed = affinity_ratios(statistics, 11), affinity_ratios(None, 11)
    stays = statistics.stationary
    np.testing.assert_allclose(given[stays], assumed[stays], rtol=1e-3)
    np.testing.assert_allclose(given[~stays], 1.0)  # labels of what moves say nothing


def test_stationary_labels_beside_a_single_checkpoint_are_its_own_and_beside_two_nobody_s(tmp_path):
    folder = export(tmp_path / "networks")
    (folder / "weights.pth").rename(folder / "cmu-11clusters.pth")
    torch.save({}, folder / "opt_cmu-11clusters.pth")
    assert statistics_beside(folder / "cmu-11clusters.pth").stationary.sum() == 3
    (folder / "rc-11clusters.pth").write_bytes((folder / "cmu-11clusters.pth").read_bytes())
    assert statistics_beside(folder / "cmu-11clusters.pth") is None


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


LYING = npy(np.arange(3)).replace(b"(3,), }" + 9 * b" ", b"(9999999999,), }")
BAD_INDICES = {
    "too large": (npy(np.array([0, 11])), "names labels 0 to 11, expected 0 to 10"),
    "negative": (npy(np.array([-1, 3])), "names labels -1 to 3"),
    "fractions": (npy(np.array([0.5])), "is float64"),
    "a table": (npy(np.zeros((2, 2), np.int64)), r"is int64 \(2, 2\)"),
    "none": (npy(np.array([], np.int64)), r"is int64 \(0,\)"),
    "objects": (npy(np.array([RunsCode("/nonexistent/x")], dtype=object)), "not an array of plain numbers"),
    "a length that lies": (
        npy(np.arange(3)).replace(b"(3,), }" + 9 * b" ", b"(9999999999,), }"),
        "not an array of plain numbers",
    ),
    "a pickle": (b"cos\nmkdir\n(S'x'\ntR.", "not an array of plain numbers"),
    "nothing": (b"", "not an array of plain numbers"),
    "too long": (npy(np.zeros(200_000)), "bytes, expected one number a label"),
}


@pytest.mark.parametrize("name", BAD_INDICES)
def test_stationary_labels_that_cannot_be_used_say_so_and_nothing_is_unpickled(tmp_path, name):
    content, sentence = BAD_INDICES[name]
    (tmp_path / "stationary_inds.npy").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"stationary_inds\.npy: .*{sentence}"):
        load_stationary_indices(tmp_path / "stationary_inds.npy", "v", 11)


def test_a_missing_file_of_stationary_labels_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"stationary_inds\.npy: no such file"):
        load_stationary_indices(tmp_path / "stationary_inds.npy", "v", 11)
