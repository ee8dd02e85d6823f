"""Losses as they fall: one curve each, smoothed over a few steps, and validation as points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.geometry import Array
from fgsn_viewer.views.common import quiet_label
from fgsn_viewer.views.plots import still_plot

STYLES = {
    "L_class": ("#4FC3F7", Qt.PenStyle.SolidLine),
    "L_corr": ("#FFA726", Qt.PenStyle.DashLine),
    "validation": ("#E1BEE7", Qt.PenStyle.DotLine),
    "other": ("#9E9E9E", Qt.PenStyle.DashDotLine),
}
_SMOOTHED = 12  # steps
_HEADROOM = 1.25  # for the legend


class LossPlot(QWidget):
    """Passive: one setter. The plotting library loads with the first curve."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._plot = None
        self._curves: dict[str, object] = {}
        self._hint = quiet_label("The losses appear here while the network learns.")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._hint, 1)

    def sizeHint(self) -> QSize:
        return QSize(520, 300)

    def set_curves(self, curves: Mapping[str, tuple[Array, Array]]) -> None:
        """Show named curves: steps (N,) and losses (N,), the same length each; an empty mapping says what will come."""
        self._hint.setVisible(not curves)
        if self._plot is None and curves:
            self._plot = self._make_plot()
        if self._plot is not None:
            self._plot.setVisible(bool(curves))
            for name in [name for name in self._curves if name not in curves]:
                self._plot.removeItem(self._curves.pop(name))
            for name, (steps, losses) in curves.items():
                self._draw(name, np.asarray(steps, np.float64), np.asarray(losses, np.float64))
            highest = max((float(np.max(losses)) for _, losses in curves.values() if len(losses)), default=1.0)
            self._plot.setYRange(0, _HEADROOM * max(highest, 1e-6), padding=0)

    @property
    def names(self) -> tuple[str, ...]:
        """The curves that are drawn."""
        return tuple(self._curves)

    def _make_plot(self):
        plot = still_plot("step", "loss")
        item = plot.getPlotItem()
        item.showGrid(y=True, alpha=0.15)
        item.addLegend(offset=(-8, 4), colCount=4, labelTextColor=self.palette().windowText().color())
        self.layout().addWidget(plot, 1)
        return plot

    def _draw(self, name: str, steps: Array, losses: Array) -> None:
        import pyqtgraph

        if name not in self._curves:
            color, style = STYLES.get(name, STYLES["other"])
            options = {"pen": pyqtgraph.mkPen(color, width=2, style=style)}
            if name == "validation":
                options |= {"symbol": "d", "symbolSize": 9, "symbolBrush": color, "symbolPen": None}
            self._curves[name] = self._plot.plot([], [], name=name, **options)
        shown = losses if name == "validation" else smoothed(losses)
        self._curves[name].setData(steps, shown)


def smoothed(values: Array, window: int = _SMOOTHED) -> Array:
    """The mean of each value (N,) and up to ``window`` - 1 before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / np.maximum(1, ends - starts)
