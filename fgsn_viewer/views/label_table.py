"""The labels of both images: colour, id, name, shares. Sorting is numeric, hovering highlights, a click isolates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QEvent, QModelIndex, QObject, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from core.geometry import Array
from fgsn_viewer.agreement import MIN_POINTS, PairAgreement
from fgsn_viewer.tables import LabelRows
from fgsn_viewer.views.agreement_bar import AgreementBar
from fgsn_viewer.views.common import NUMBER, Emptiable, tabular_font

ROOT = QModelIndex()
KAPPA = 4
MARK_TIP = "Hatch the labels that agree least in both images, and dim the others (U)"
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
ID_ROLE = Qt.ItemDataRole.UserRole + 2
_HEADERS = ("Label", "Name", "Left %", "Right %", "Kappa")
_TIPS = (
    "Id of the label; its colour is the same everywhere",
    "Name of the label, where the network has one",
    "Share of the reference image, on the left, that this label covers",
    "Share of the query image, on the right, that this label covers",
    "How well this label holds between the two images, beyond chance: 1 is always, 0 is chance",
)


@lru_cache(maxsize=2048)
def _swatch(red: int, green: int, blue: int) -> QIcon:
    """A square of a label's colour, the same in selected rows."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(red, green, blue))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


class LabelModel(QAbstractTableModel):
    """Rows of LabelRows with colours (K, 3) u8 and names."""

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._rows: LabelRows | None = None
        self._colors = np.zeros((0, 3), np.uint8)
        self.names: tuple[str, ...] = ()

    def set_rows(self, rows: LabelRows | None, colors: Array, names: tuple[str, ...] | None) -> None:
        self.beginResetModel()
        self._rows, self._colors, self.names = rows, colors, names or ()
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = ROOT) -> int:
        return 0 if parent.isValid() or self._rows is None else len(self._rows)

    def columnCount(self, parent: QModelIndex = ROOT) -> int:
        return 0 if parent.isValid() else len(_HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER if section >= 2 else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return {Qt.ItemDataRole.DisplayRole: _HEADERS, Qt.ItemDataRole.ToolTipRole: _TIPS}.get(role, (None,) * 5)[section]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        label = int(self._rows.ids[row])
        if role == ID_ROLE:
            return label
        if role == SORT_ROLE:
            return self._value(row, column)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.DecorationRole and column == 0:
            return _swatch(*map(int, self._colors[label]))
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= 2:
            return NUMBER
        if role == Qt.ItemDataRole.ForegroundRole and column == KAPPA and self._rows.points[row] < MIN_POINTS:
            return QGuiApplication.palette().placeholderText()  # too few points to say much
        if role == Qt.ItemDataRole.ToolTipRole and column == KAPPA:
            return f"at {int(self._rows.points[row]):,} points, both images together"
        return None

    def _value(self, row: int, column: int) -> Any:
        if column == 1:
            return self._name(row)
        value = (self._rows.ids, None, self._rows.share_ref, self._rows.share_query, self._rows.kappa)[column][row]
        return float("inf" if column == KAPPA else -1) if np.isnan(value) else float(value)  # kappa may be below 0

    def _text(self, row: int, column: int) -> str:
        if column == 0:
            return str(self._rows.ids[row])
        if column == 1:
            return self._name(row)
        if column == KAPPA:
            return "–" if np.isnan(self._rows.kappa[row]) else f"{self._rows.kappa[row]:.2f}"
        share = (self._rows.share_ref, self._rows.share_query)[column - 2][row]
        return "–" if np.isnan(share) else f"{share * 100:.1f}"

    def _name(self, row: int) -> str:
        label = int(self._rows.ids[row])
        return self.names[label] if label < len(self.names) else ""


class _Search(QSortFilterProxyModel):
    """Keeps rows whose id or name contains the text."""

    text = ""

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        model = self.sourceModel()
        return any(self.text in str(model.index(row, column, parent).data()).lower() for column in (0, 1))


class LabelTable(QWidget):
    """Passive: ``set_labels`` fills it, ``set_isolated`` selects; hovering and clicking are signals."""

    label_hovered = Signal(int)  # -1 for none
    label_clicked = Signal(int)
    marking_chosen = Signal(bool)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._model = LabelModel(self)
        self._proxy = _Search(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(SORT_ROLE)
        self.search = QLineEdit(placeholderText="Search labels", clearButtonEnabled=True)
        self.search.textChanged.connect(self._on_search)
        self.table = self._make_table()
        self.agreement = AgreementBar()
        self.mark = QToolButton(text="Worst", toolTip=MARK_TIP, checkable=True)
        self.mark.setAccessibleName("Mark the least consistent labels")
        self.mark.clicked.connect(self.marking_chosen)
        self._body = Emptiable(self.table)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.agreement)
        row = QHBoxLayout()
        row.addWidget(self.search, 1)
        row.addWidget(self.mark)
        layout.addLayout(row)
        layout.addWidget(self._body, 1)
        self.set_labels(None, np.zeros((0, 3), np.uint8), None)

    def _make_table(self) -> QTableView:
        table = QTableView(mouseTracking=True, sortingEnabled=True, showGrid=False)
        table.setModel(self._proxy)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(24)
        table.setFont(tabular_font(table.font()))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setAccessibleName("Labels")
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(48)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        header.resizeSection(0, 68)  # a swatch and four figures
        table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
        table.entered.connect(lambda index: self.label_hovered.emit(index.data(ID_ROLE)))
        table.clicked.connect(lambda index: self.label_clicked.emit(index.data(ID_ROLE)))
        table.activated.connect(lambda index: self.label_clicked.emit(index.data(ID_ROLE)))
        table.viewport().installEventFilter(self)
        return table

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave:
            self.label_hovered.emit(-1)
        return super().eventFilter(watched, event)

    def set_labels(self, rows: LabelRows | None, colors: Array, names: tuple[str, ...] | None, hint: str = "") -> None:
        """Fill the table; ``hint`` is said in its place while there are no labels."""
        self._model.set_rows(rows, colors, names)
        self.table.setColumnHidden(1, not names)
        self.table.setColumnHidden(KAPPA, rows is None or not np.isfinite(rows.kappa).any())
        header = self.table.horizontalHeader()
        for column in (2, 3, KAPPA):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed if names else QHeaderView.ResizeMode.Stretch)
            header.resizeSection(column, 54)
        header.setSectionResizeMode(3, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(3, 60)  # the longest word
        empty = rows is None or not len(rows)
        self.search.setEnabled(not empty)
        self._body.set_hint((hint or "No labels yet.") if empty else "")

    def set_isolated(self, label: int | None) -> None:
        """Select the row of the isolated label without saying so."""
        self.table.clearSelection()
        for row in range(self._proxy.rowCount()) if label is not None else ():
            index = self._proxy.index(row, 0)
            if index.data(ID_ROLE) == label:
                self.table.selectRow(row)
                self.table.scrollTo(index)

    def set_agreement(self, agreement: PairAgreement | None, marking: bool) -> None:
        """Show how far the two images agree, and whether the worst labels are marked."""
        self.agreement.set_agreement(agreement)
        self.mark.setVisible(agreement is not None)
        self.mark.setChecked(marking)

    @property
    def hint(self) -> str:
        return self._body.hint

    def ids(self) -> list[int]:
        """The labels in the order in which they are listed now."""
        return [self._proxy.index(row, 0).data(ID_ROLE) for row in range(self._proxy.rowCount())]

    def _on_search(self, text: str) -> None:
        self._proxy.text = text.lower().strip()
        self._proxy.invalidate()
