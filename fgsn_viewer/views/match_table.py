"""Every match as a row: sortable, and one selection with all other views."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QObject, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QGuiApplication
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from core.geometry import Array
from fgsn_viewer import display
from fgsn_viewer.tables import MatchRows
from fgsn_viewer.views.common import NUMBER, Emptiable, tabular_font
from fgsn_viewer.views.kind_filter import KindFilter
from fgsn_viewer.views.match_marks import KIND_STYLES

ROOT = QModelIndex()
COLUMNS = ("Match", "Kind", "Error, px", "Score", "Label left", "Label right", "Map point", "Reference image")
TIPS = (
    "Number of the match",
    "Whether the match agrees with what was found, was found from the pose, does not agree, or labels kept it from RANSAC",
    "Distance between the keypoint and the projected map point; for two photographs, from the epipolar line",
    "1 minus the ratio of the nearest to the second nearest descriptor distance: higher is more distinct; of a guided match "
    "how likely it is right",
    "Label under the match in the reference image on the left, where that image sees it",
    "Label under the match in the query",
    "Index of the point in the map",
    "The map image whose descriptor was matched",
)
_INLIER, _IMAGE = 1, 7
_KIND_TEXTS = {
    display.INLIER: "● inlier",
    display.GUIDED: "▲ guided",
    display.OUTLIER: "✕ outlier",
    display.DROPPED: "◇ dropped",
}
_RANK = np.array([1, 3, 0, 2])  # dropped, outlier, guided, inlier


class MatchModel(QAbstractTableModel):
    """Rows of MatchRows, sorted by numpy; ``order`` maps rows of the table to matches."""

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._sort = (_INLIER, Qt.SortOrder.DescendingOrder)
        self._rows: MatchRows | None = None
        self._columns: list[Array] = []
        self.order = np.zeros(0, np.int64)
        self._kinds = display.ALL_KINDS

    def set_rows(self, rows: MatchRows | None, labels: tuple[Array, Array] | None) -> None:
        self.beginResetModel()
        self._rows, self._columns, self.order = rows, [], np.zeros(0, np.int64)
        if rows is not None and labels is not None:
            r = rows
            self._columns = [np.arange(len(r)), _RANK[r.kinds], r.errors_px, r.scores, *labels, r.point_ids, r.images]
            self.order = self._sorted()
        self.endResetModel()

    def set_kinds(self, kinds: frozenset[int]) -> None:
        """List matches of these kinds only."""
        if kinds != self._kinds:
            self.beginResetModel()
            self._kinds = kinds
            self.order = self._sorted() if self._columns else self.order
            self.endResetModel()

    def _sorted(self) -> Array:
        column, direction = self._sort
        values = self._columns[column].astype(np.float64)
        missing = ~np.isfinite(values) | (values < 0)
        signed = values if direction == Qt.SortOrder.AscendingOrder else -values
        order = np.lexsort((-self._columns[3], np.where(missing, 0, signed), missing))
        return order[np.isin(self._rows.kinds[order], list(self._kinds))]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; missing values come last, equal ones by score."""
        self._sort = (column, order)
        if self._columns:
            self.layoutAboutToBeChanged.emit()
            before = self.persistentIndexList()
            matches = [int(self.order[index.row()]) for index in before]
            self.order = self._sorted()
            rows = self.row_of()
            after = [self.index(int(rows[match]), index.column()) for match, index in zip(matches, before, strict=True)]
            self.changePersistentIndexList(before, after)
            self.layoutChanged.emit()

    def row_of(self) -> Array:
        """Row of the table for each match, -1 where it is not listed."""
        rows = np.full(len(self._rows) if self._rows is not None else 0, -1)
        rows[self.order] = np.arange(len(self.order))
        return rows

    def rowCount(self, parent: QModelIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return {Qt.ItemDataRole.DisplayRole: COLUMNS, Qt.ItemDataRole.ToolTipRole: TIPS}.get(role, (None,) * len(COLUMNS))[
            section
        ]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column, match = index.column(), int(self.order[index.row()])
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(match, column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == Qt.ItemDataRole.ForegroundRole and column == _INLIER:
            return QBrush(_kind_color(int(self._rows.kinds[match])))
        return None

    def _text(self, match: int, column: int) -> str:
        value = self._columns[column][match]
        if column == _INLIER:
            return _KIND_TEXTS[int(self._rows.kinds[match])]
        if not np.isfinite(value) or value < 0:
            return "–"
        if column == _IMAGE:
            return self._rows.image_names[int(value)]
        return f"{value:.2f}" if column in (2, 3) else str(int(value))


def _kind_color(kind: int) -> QColor:
    """The kind's colour, dark enough to read in a light theme."""
    color = QColor(KIND_STYLES[kind].color)
    return color.darker(165) if QGuiApplication.palette().window().color().lightness() > 128 else color


def _alignment(column: int) -> Qt.AlignmentFlag:
    left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
    return left if column in (_INLIER, _IMAGE) else NUMBER


class MatchTable(QWidget):
    """Passive: ``set_matches``, ``set_selected``; choosing a row is a signal."""

    match_chosen = Signal(int)  # index of the match, not of the row
    kinds_chosen = Signal(object)  # frozenset of kinds

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.model = MatchModel(self)
        self.table = self._make_table()
        self._summary = QLabel()
        self._summary.setObjectName("quiet")
        self.filter = KindFilter()
        self.filter.kinds_chosen.connect(self.kinds_chosen)
        content = QWidget()
        inside = QVBoxLayout(content)
        inside.setContentsMargins(4, 4, 4, 4)
        inside.setSpacing(4)
        top = QHBoxLayout()
        top.setContentsMargins(4, 0, 4, 0)
        top.setSpacing(16)
        top.addWidget(self.filter)
        top.addStretch(1)
        top.addWidget(self._summary)
        inside.addLayout(top)
        inside.addWidget(self.table, 1)
        self._body = Emptiable(content)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._body)
        self.set_matches(None, None)

    def _make_table(self) -> QTableView:
        table = QTableView(sortingEnabled=True, showGrid=False)
        table.sortByColumn(_INLIER, Qt.SortOrder.DescendingOrder)
        table.setModel(self.model)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(22)
        table.setFont(tabular_font(table.font()))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setAccessibleName("Matches")
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setStretchLastSection(True)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate((64, 92, 84, 72, 88, 92, 92)):
            table.setColumnWidth(column, width)
        table.selectionModel().currentRowChanged.connect(self._on_row)
        return table

    def set_matches(self, rows: MatchRows | None, labels: tuple[Array, Array] | None, hint: str = "") -> None:
        """Fill the table; ``hint`` is said in its place while there is nothing."""
        self.model.set_rows(rows, labels)
        has_points = rows is not None and bool((rows.point_ids >= 0).any())
        self.table.setColumnHidden(6, not has_points)
        self._body.set_hint("" if rows is not None and len(rows) else hint or "No matches yet.")
        if rows is not None:
            shown = len(rows.shown())
            drawn = f", {shown:,} of them in the reference on the left" if has_points else ""
            counts = rows.counts()
            guided = counts[display.GUIDED]
            more = f" and {guided:,} guided" if guided else ""
            self._summary.setText(f"{len(rows) - guided:,} matches{more}{drawn}")
            self.filter.set_counts(counts)

    def set_kinds(self, kinds: frozenset[int]) -> None:
        """List matches of these kinds only, and check their boxes, without saying so."""
        blocked = self.table.selectionModel().blockSignals(True)
        self.model.set_kinds(frozenset(kinds))
        self.filter.set_kinds(frozenset(kinds))
        self.table.selectionModel().blockSignals(blocked)

    def set_selected(self, match: int | None) -> None:
        """Select the row of a match without saying so; None clears."""
        selection = self.table.selectionModel()
        rows = self.model.row_of()
        if match is None or match >= len(rows) or rows[match] < 0:
            selection.clear()
            return
        index = self.model.index(int(rows[match]), 0)
        if index.row() != self.table.currentIndex().row():
            blocked = selection.blockSignals(True)
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            selection.blockSignals(blocked)
            self.table.viewport().update()
        self.table.scrollTo(index)

    @property
    def hint(self) -> str:
        return self._body.hint

    def _on_row(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid():
            self.match_chosen.emit(int(self.model.order[current.row()]))
