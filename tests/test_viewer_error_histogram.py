"""The histogram of reprojection errors: every match is counted once, and a failure shows none."""

from __future__ import annotations

import numpy as np
import pyqtgraph

from fgsn_viewer.views.error_histogram import NUM_BINS, ErrorHistogram, count_errors


def test_every_match_is_counted_and_the_last_count_takes_the_large_and_the_unseen():
    counts = count_errors(np.array([0.0, 0.99, 1.0, 7.5, 39.0, 500.0, np.nan, np.inf]))
    assert counts.shape == (NUM_BINS + 1,)
    assert counts.sum() == 8
    assert counts[[0, 1, 7, 39, 40]].tolist() == [2, 1, 1, 1, 3]


def test_inliers_and_outliers_are_drawn_apart_and_a_failure_hides_the_plot(qtbot):
    view = ErrorHistogram()
    qtbot.addWidget(view)
    view.set_errors(np.array([0.5, 0.6, 3.0, 20.5]), 8.0)
    bars = [item for item in view._plot.getPlotItem().items if isinstance(item, pyqtgraph.BarGraphItem)]
    assert [int(np.sum(bar.opts["height"])) for bar in bars] == [3, 1]
    assert len({bar.opts["brush"].style() for bar in bars}) == 2
    assert not view.isHidden()
    view.set_errors(None)
    assert view.isHidden()
