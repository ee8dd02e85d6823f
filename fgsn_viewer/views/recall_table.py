"""Recall by condition and method, as the tables of the long-term localization benchmarks have it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from core.evaluation.recall import THRESHOLDS
from fgsn_viewer.evaluation_rows import RecallLine
from fgsn_viewer.methods import STYLES
from fgsn_viewer.views.common import NUMBER, tabular_font
from fgsn_viewer.views.method_table import line_icon

_HEADERS = ("Condition", "Method", "Queries", *(f"{m:g} m, {deg:g}°" for m, deg in THRESHOLDS), "Median, m", "Median, °", "s")
_WIDTHS = (84, 168, 64, 78, 74, 70, 76, 72, 52)
_TIPS = (
    "Condition of the queries; a click shows it in the plots",
    "Method, and the network whose labels it used",
    "Queries with a known true pose",
    *(f"Percent of the queries within {m:g} m and {deg:g}°; no pose is a failure" for m, deg in THRESHOLDS),
    "Median position error of all queries; – where most have no pose",
    "Median rotation error of all queries",
    "Mean seconds a query",
)


class _Cell(QTableWidgetItem):
    """Sorts by its value, missing ones last."""

    def __init__(self, text: str, value: float | str):
        super().__init__(text)
        self.value = value

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self.value < other.value if isinstance(other, _Cell) else super().__lt__(other)


class RecallTable(QTableWidget):
    """Passive: ``set_lines``; a click on a row tells its condition."""

    condition_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, len(_HEADERS), showGrid=False)
        self.setHorizontalHeaderLabels(list(_HEADERS))
        for column, tip in enumerate(_TIPS):
            item = self.horizontalHeaderItem(column)
            item.setToolTip(tip)
            item.setTextAlignment(NUMBER if column >= 2 else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.setIconSize(QSize(28, 12))
        self.setFont(tabular_font(self.font()))
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)
        self.horizontalHeader().setMinimumSectionSize(48)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAccessibleName("Recall")
        self.setMinimumWidth(160)
        self.cellClicked.connect(lambda row, _column: self.condition_chosen.emit(self.item(row, 0).text()))

    def set_lines(self, lines: Sequence[RecallLine]) -> None:
        """Show the lines in their order; a click on a header sorts."""
        self.setSortingEnabled(False)
        self.setRowCount(len(lines))
        for row, line in enumerate(lines):
            self._fill(row, line)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)

    def texts(self, row: int) -> list[str]:
        """The cells of a row."""
        return [self.item(row, column).text() for column in range(self.columnCount())]

    def _fill(self, row: int, line: RecallLine) -> None:
        numbers = [
            (f"{line.num_queries:,}", line.num_queries),
            *((f"{value:.1f}", value) for value in line.recall),
            (_text(line.median_position_m), _value(line.median_position_m)),
            (_text(line.median_rotation_deg), _value(line.median_rotation_deg)),
            (f"{line.seconds:.2f}", line.seconds),
        ]
        for column, (text, value) in enumerate([(line.condition, line.condition), (line.line, line.line), *numbers]):
            cell = _Cell(text, value)
            if column >= 2:
                cell.setTextAlignment(NUMBER)
            self.setItem(row, column, cell)
        style = STYLES.get(line.method)
        if style is not None:
            self.item(row, 1).setIcon(line_icon(style.color, style.dashes))


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _value(value: float | None) -> float:
    return float("inf") if value is None else value
