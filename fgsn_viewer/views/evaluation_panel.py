"""An evaluation: recall curves, the table by condition and method, and error against inliers with a query behind each point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSplitter, QVBoxLayout, QWidget

from fgsn_viewer.evaluation_rows import ALL, conditions_of, recall_curves, recall_lines, scatter_rows
from fgsn_viewer.views.common import Emptiable, quiet_label
from fgsn_viewer.views.evaluation_plots import CurvePlot, ScatterPlot
from fgsn_viewer.views.recall_table import RecallTable

EVERYTHING = "All conditions"
NOTHING = "No results yet.\nLocalize > Run all queries collects them here, or open the folder that `evaluate` wrote."


class EvaluationPanel(QWidget):
    """Passive: ``set_rows`` shows lines of results; opening a query or another evaluation are signals."""

    query_chosen = Signal(str, str)  # query, method
    open_requested = Signal()
    close_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._rows: tuple[Any, ...] = ()
        self._hint = NOTHING
        self.condition = QComboBox(toolTip="The queries that the curves and the points show")
        self.condition.setAccessibleName("Condition")
        self.condition.activated.connect(lambda _index: self._show_plots())
        self._source = quiet_label()
        self._source.setWordWrap(False)
        self.open = QPushButton("Open results…", toolTip="Show the result folder of an evaluation")
        self.close_ = QPushButton("This session", toolTip="Show what was localized in this window again")
        self.open.clicked.connect(self.open_requested)
        self.close_.clicked.connect(self.close_requested)
        self.curves, self.table, self.scatter = CurvePlot(), RecallTable(), ScatterPlot()
        self.scatter.row_clicked.connect(lambda row: self.query_chosen.emit(row.query, row.method))
        self.table.condition_chosen.connect(self._on_condition)
        parts = QSplitter(Qt.Orientation.Horizontal, handleWidth=4)
        for part in (self.curves, self.table, self.scatter):
            parts.addWidget(part)
        parts.setSizes([240, 720, 240])
        for index, stretch in enumerate((1, 2, 1)):
            parts.setStretchFactor(index, stretch)
        self._body = Emptiable(parts)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(self._make_top())
        layout.addWidget(self._body, 1)
        self.set_rows((), "")

    def _make_top(self) -> QHBoxLayout:
        top = QHBoxLayout()
        top.setContentsMargins(4, 0, 4, 0)
        top.setSpacing(8)
        top.addWidget(self.condition)
        top.addWidget(self._source, 1)
        top.addWidget(self.close_)
        top.addWidget(self.open)
        return top

    def set_rows(self, rows: Sequence[Any], source: str) -> None:
        """Show lines (QueryRow); ``source`` names the folder that they come from, "" for this session."""
        self._rows = tuple(rows)
        conditions = conditions_of(self._rows)
        chosen = self.condition.currentText()
        self.condition.clear()
        self.condition.addItems([EVERYTHING, *conditions])
        self.condition.setCurrentText(chosen if chosen in conditions else EVERYTHING)
        self.condition.setVisible(bool(conditions))
        self.close_.setVisible(bool(source))
        queries = len({(row.scene, row.query) for row in self._rows})
        self._source.setText(f"{queries:,} queries · {source or 'this session'}" if self._rows else "")
        self._source.setToolTip(source)
        self.table.set_lines(recall_lines(self._rows))
        self._body.set_hint("" if conditions else self._why_empty())
        self._show_plots()

    @property
    def hint(self) -> str:
        return self._body.hint

    def _why_empty(self) -> str:
        if self._rows:
            return "No true pose is known for these queries, so there is nothing to compare with."
        return NOTHING

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what came while nobody looked."""
        super().showEvent(event)
        self._show_plots()

    def _show_plots(self) -> None:
        if not self.isVisible():
            return
        condition = self.condition.currentText()
        condition = ALL if condition in ("", EVERYTHING) else condition
        self.curves.set_curves(recall_curves(self._rows, condition))
        self.scatter.set_rows(scatter_rows(self._rows, condition))

    def _on_condition(self, condition: str) -> None:
        self.condition.setCurrentText(EVERYTHING if condition == ALL else condition)
        self._show_plots()
