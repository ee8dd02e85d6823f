"""Every method's answer for the query in one table: how it ended, its errors, what it kept of the matches, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QIcon, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from core.evaluation.recall import OUTCOME_MARKS
from fgsn_viewer.methods import STYLES, by_labels_alone
from fgsn_viewer.views.common import NUMBER, OUTCOME_WORDS, Emptiable, outcome_color, tabular_font

COLUMNS = ("Method", "Outcome", "Error, m", "Error, °", "Matches", "Kept", "Dropped", "Inliers", "Time, s")
TIPS = (
    "How matches are chosen for RANSAC; its colour and line are those of its pose in 3D",
    "How the localization ended",
    "Distance between the estimated and the true camera centre",
    "Angle between the estimated and the true orientation",
    "Keypoints of the query that were matched to a map point",
    "Matches that the labels let RANSAC draw",
    "Matches that the labels kept from RANSAC",
    "Matches that agree with the returned pose",
    "Seconds for keypoints, matches, labels and pose",
)
WIDTHS = (132, 220, 68, 64, 72, 56, 72, 64, 64)


class MethodTable(QWidget):
    """Passive: ``set_results`` lists answers by method, ``set_method`` selects one; choosing a row is a signal."""

    method_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.table = self._make_table()
        self._body = Emptiable(self.table)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self._body)
        self.set_results({})

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, len(COLUMNS), showGrid=False)
        table.setHorizontalHeaderLabels(list(COLUMNS))
        for column, (tip, width) in enumerate(zip(TIPS, WIDTHS, strict=True)):
            header = table.horizontalHeaderItem(column)
            header.setToolTip(tip)
            header.setTextAlignment(NUMBER if column >= 2 else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            table.setColumnWidth(column, width)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(24)
        table.setIconSize(QSize(28, 12))
        table.setFont(tabular_font(table.font()))
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setAccessibleName("Methods")
        table.cellClicked.connect(lambda row, _column: self._choose(row))
        table.cellActivated.connect(lambda row, _column: self._choose(row))
        return table

    def set_results(self, results: Mapping[str, Any], hint: str = "") -> None:
        """List what each method Answered, in the order of the methods; ``hint`` is said where there is nothing."""
        methods = [method for method in STYLES if method in results]
        self.table.setRowCount(len(methods))
        for row, method in enumerate(methods):
            self._fill(row, method, results[method])
        self._body.set_hint("" if methods else hint or "No method has run on this query yet.")

    def set_method(self, method: str) -> None:
        """Select the row of the method that is shown everywhere, without saying so."""
        self.table.clearSelection()
        if method in self.methods():
            self.table.selectRow(self.methods().index(method))

    def methods(self) -> list[str]:
        """The methods that are listed, in order."""
        return [self.table.item(row, 0).text() for row in range(self.table.rowCount())]

    def texts(self, method: str) -> list[str]:
        """The cells of a method's row."""
        row = self.methods().index(method)
        return [self.table.item(row, column).text() for column in range(len(COLUMNS))]

    @property
    def hint(self) -> str:
        return self._body.hint

    def _fill(self, row: int, method: str, answered: Any) -> None:
        line, word = answered.row, answered.outcome.word
        failed = line.failure[:1].upper() + line.failure[1:] if line.failure else ""
        said = f"{OUTCOME_MARKS[word]}  {failed or OUTCOME_WORDS[word]}"
        numbers = (
            _number(line.position_error_m, "{:.2f}"),
            _number(line.rotation_error_deg, "{:.2f}"),
            *_counts(method, line),
            f"{line.total_seconds:.2f}",
        )
        for column, text in enumerate((method, said, *numbers)):
            item = QTableWidgetItem(text)
            if column >= 2:
                item.setTextAlignment(NUMBER)
            self.table.setItem(row, column, item)
        self.table.item(row, 0).setIcon(line_icon(STYLES[method].color, STYLES[method].dashes))
        self.table.item(row, 0).setToolTip(STYLES[method].help)
        self.table.item(row, 1).setForeground(QBrush(outcome_color(word)))
        self.table.item(row, 1).setToolTip(said)

    def _choose(self, row: int) -> None:
        self.method_chosen.emit(self.table.item(row, 0).text())


def line_icon(color: str, dashes: tuple[float, ...]) -> QIcon:
    """A piece of a method's line, 28 x 12."""
    pixmap = QPixmap(56, 24)
    pixmap.setDevicePixelRatio(2.0)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    pen = QPen(QColor(color), 2.4)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if dashes:
        pen.setDashPattern(list(dashes))
    painter.setPen(pen)
    painter.drawLine(QPointF(1, 6), QPointF(27, 6))
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _counts(method: str, line: Any) -> tuple[str, ...]:
    """Matches, kept, dropped, inliers; a method that follows by labels alone has none."""
    if by_labels_alone(method):
        return ("–",) * 4
    dropped = line.num_matches - line.num_kept
    return tuple(f"{count:,}" for count in (line.num_matches, line.num_kept, dropped, line.num_inliers))


def _number(value: float | None, pattern: str) -> str:
    return "–" if value is None else pattern.format(value)
