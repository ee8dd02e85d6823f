"""The plots of an evaluation. Methods keep their colour and line; the plotting library loads with the first data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.evaluation.recall import THRESHOLDS
from core.geometry import Array
from fgsn_viewer import palette
from fgsn_viewer.evaluation_rows import LARGEST_M, SMALLEST_M
from fgsn_viewer.methods import STYLES, MethodStyle
from fgsn_viewer.views.plots import still_plot

_OTHER = MethodStyle("#9E9E9E", (1, 2), "")
_SYMBOLS = ("o", "t", "s", "d", "star", "p")
_TICKS = (0.01, 0.1, 0.5, 5, 50)


class _Plot(QWidget):
    """A plot over a logarithmic error axis."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._plot = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setMinimumSize(140, 100)

    def sizeHint(self) -> QSize:
        return QSize(320, 220)

    def _made(self):
        if self._plot is None:
            plot = still_plot()
            axis = plot.getPlotItem().getAxis("bottom")
            axis.setTicks([[(float(np.log10(tick)), f"{tick:g}") for tick in _TICKS]])
            plot.getPlotItem().setLabel("bottom", "position error, m")
            plot.setXRange(np.log10(SMALLEST_M), np.log10(LARGEST_M), padding=0.02)
            self.layout().addWidget(plot)
            self._plot = plot
            self._label(plot)
        return self._plot

    def _label(self, plot: Any) -> None:
        """Name the other axis."""

    def _lines(self, plot: Any) -> None:
        """The limits of the table, thin and dotted."""
        import pyqtgraph

        pen = pyqtgraph.mkPen(QColor(palette.PRIOR), width=1, style=Qt.PenStyle.DotLine)
        for limit, _ in THRESHOLDS:
            plot.addItem(pyqtgraph.InfiniteLine(float(np.log10(limit)), pen=pen))


class CurvePlot(_Plot):
    """Passive: ``set_curves``."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.names: tuple[str, ...] = ()
        self.setToolTip(
            "Share of the queries within a position error; a query without a pose never is.\n"
            "Colours and lines: see the table. Dotted: its limits"
        )

    def set_curves(self, curves: Mapping[tuple[str, str], tuple[Array, Array]]) -> None:
        """Show curves by (method, labels): errors (N,) m and percent (N,)."""
        self.names = tuple(f"{method} {labels}".strip() for method, labels in curves)
        if not curves and self._plot is None:
            return
        plot = self._made()
        plot.clear()
        self._lines(plot)
        for (method, _), (errors, percent) in curves.items():
            plot.plot(np.log10(errors), percent, pen=_pen(STYLES.get(method, _OTHER)))

    def _label(self, plot: Any) -> None:
        plot.getPlotItem().setLabel("left", "queries, %")
        plot.setYRange(0, 100, padding=0.03)


class ScatterPlot(_Plot):
    """Passive: ``set_rows``; a click on a point is a signal."""

    row_clicked = Signal(object)  # QueryRow

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.rows: tuple[Any, ...] = ()
        self.points: Any = None
        self.setToolTip("Each point is a query with a pose: click to open it")

    def set_rows(self, rows: Sequence[Any]) -> None:
        """Show a point for each row: position error m and inliers."""
        self.rows = tuple(rows)
        if not rows and self._plot is None:
            return
        import pyqtgraph

        plot = self._made()
        plot.clear()
        self._lines(plot)
        order = list(STYLES)
        spots = [
            {
                "pos": (float(np.log10(np.clip(row.position_error_m, SMALLEST_M, LARGEST_M))), row.num_inliers),
                "data": row,
                "brush": QColor(STYLES.get(row.method, _OTHER).color),
                "symbol": _SYMBOLS[order.index(row.method) % len(_SYMBOLS)] if row.method in order else "x",
            }
            for row in self.rows
        ]
        self.points = pyqtgraph.ScatterPlotItem(
            spots=spots, size=8, pen=pyqtgraph.mkPen(0, 0, 0, 120), hoverable=True, hoverSize=12, tip=_tip
        )
        self.points.sigClicked.connect(
            lambda _plot, found, _event: self.row_clicked.emit(found[0].data()) if len(found) else None
        )
        plot.addItem(self.points)
        plot.setYRange(0, max((row.num_inliers for row in self.rows), default=1), padding=0.06)

    def _label(self, plot: Any) -> None:
        plot.getPlotItem().setLabel("left", "inliers")


def _pen(style: MethodStyle) -> Any:
    import pyqtgraph

    return pyqtgraph.mkPen(style.color, width=2, dash=list(style.dashes) or None)


def _tip(x: float, y: float, data: Any) -> str:
    return f"{data.query}\n{data.method} {data.labels}\n{data.position_error_m:.2f} m, {data.num_inliers} inliers"
