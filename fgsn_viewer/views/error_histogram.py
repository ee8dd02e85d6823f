"""How the matches' reprojection errors spread: a clean pose has one peak near zero and the rest far away."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.geometry import Array
from fgsn_viewer import palette
from fgsn_viewer.views.plots import still_plot

NUM_BINS = 40
BIN_PX = 1.0


def count_errors(errors_px: Array) -> Array:
    """Count (M,) errors in (NUM_BINS + 1,) bins of BIN_PX; the last counts larger ones and points behind the camera (NaN)."""
    bins = np.nan_to_num(errors_px / BIN_PX, nan=np.inf)
    return np.bincount(np.minimum(bins, NUM_BINS).astype(np.int64), minlength=NUM_BINS + 1)


class ErrorHistogram(QWidget):
    """Passive: one setter. The plotting library loads with the first histogram, after the window shows."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._plot = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setToolTip(
            "Reprojection errors of all matches under the returned pose, in bins of 1 px.\n"
            "Inliers are filled, outliers hatched. A second peak just beyond the limit speaks for wrong intrinsics."
        )
        self.hide()

    def sizeHint(self) -> QSize:
        return QSize(360, 140)

    def set_errors(self, errors_px: Array | None, limit_px: float = 0.0) -> None:
        """Show (M,) errors, inliers up to ``limit_px``; None hides the plot."""
        self.setVisible(errors_px is not None)
        if errors_px is None:
            return
        if self._plot is None:
            self._plot = self._make_plot()
        counts = count_errors(errors_px)
        self._draw(counts[:-1], limit_px)
        self._note_the_rest(int(counts[-1]), int(counts[:-1].max()))

    def _make_plot(self):
        plot = still_plot("error, px", "matches")
        self.layout().addWidget(plot)
        return plot

    def _draw(self, counts: Array, limit_px: float) -> None:
        import pyqtgraph

        left = np.arange(NUM_BINS) * BIN_PX
        self._plot.clear()
        for chosen, color, style in (
            (left < limit_px, palette.GOOD, Qt.BrushStyle.SolidPattern),
            (left >= limit_px, palette.BAD, Qt.BrushStyle.BDiagPattern),
        ):
            brush = QBrush(QColor(color), style)
            bars = pyqtgraph.BarGraphItem(
                x0=left[chosen], width=BIN_PX * 0.9, height=counts[chosen], brush=brush, pen=pyqtgraph.mkPen(color)
            )
            self._plot.addItem(bars)
        line = pyqtgraph.InfiniteLine(
            limit_px, label=f"limit {limit_px:g} px", labelOpts={"position": 0.75, "anchors": [(0, 0), (0, 0)]}
        )
        line.setPen(pyqtgraph.mkPen(palette.ACCENT))
        self._plot.addItem(line)
        self._plot.setXRange(0, NUM_BINS * BIN_PX, padding=0.01)
        self._plot.setYRange(0, max(1, int(counts.max())), padding=0.02)

    def _note_the_rest(self, count: int, top: int) -> None:
        import pyqtgraph

        note = pyqtgraph.TextItem(f"{count} beyond", color=palette.BAD, anchor=(1, 0))
        note.setPos(NUM_BINS * BIN_PX, max(1, top))
        self._plot.addItem(note)
