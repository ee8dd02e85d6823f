"""The plot that all panels share: for looking, not for dragging; pyqtgraph loads with the first one."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QFrame


def still_plot(bottom: str = "", left: str = "") -> Any:
    """A pyqtgraph PlotWidget without menu, buttons, mouse and frame, its axes labelled."""
    import pyqtgraph

    plot = pyqtgraph.PlotWidget(background=None)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(False, False)
    plot.hideButtons()
    plot.setFrameShape(QFrame.Shape.NoFrame)
    plot.setStyleSheet("border: none")  # the theme draws one
    for side, text in (("bottom", bottom), ("left", left)):
        if text:
            plot.getPlotItem().setLabel(side, text)
    return plot
