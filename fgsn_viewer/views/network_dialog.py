"""The network box: what was found where, how many labels it has in which vocabulary, and whether the map speaks them."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fgsn_viewer.network_search import DIFFERS, FITS, NetworkRow, NetworksState
from fgsn_viewer.views.common import MARK_DOUBT, NUMBER, outcome_color, quiet_label, tabular_font

HEADINGS = ("", "Network", "Found in", "Kind", "Labels", "Vocabulary", "Base", "Stationary", "Map")
TIPS = (
    "The network that labels the images now",
    "",
    "Shipped with the program, in the folder of the scene that is open, or in a folder that was added",
    "",
    "How many labels it tells apart",
    "What its labels are called together; labels are comparable within one vocabulary only",
    "The network that it was made from",
    "Whether it is known which labels are of what stays where it is",
    "Whether the map's points are labelled in this vocabulary",
)
_WIDTHS = (28, 150, 120, 130, 64, 170, 120, 80, 96)
_LABELS, _MAP = 4, 8
_MAP_WORDS = {FITS: "● fits", DIFFERS: "▲ differs", "": "–"}


class NetworkDialog(QDialog):
    """Passive: ``show_state``; choosing, adding a folder and labelling the map are intents. It does not block."""

    use_requested = Signal(object)  # name or Path
    label_map_requested = Signal(object)  # name or Path
    folder_requested = Signal()
    folder_dropped = Signal(object)  # Path that is not looked in any more
    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle("Networks")
        self.resize(1000, 440)
        self._state = NetworksState()
        self.table = self._make_table()
        self._bar = QProgressBar(textVisible=False)
        self._bar.setFixedHeight(4)
        self._detail = quiet_label()
        self._detail.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._advice = QLabel(wordWrap=True, objectName="title")
        self._advice.setIndent(0)
        self._problem = quiet_label("", "bad")
        self._make_buttons()
        self._lay_out()
        self.show_state(self._state)

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, len(HEADINGS))
        table.setHorizontalHeaderLabels(list(HEADINGS))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(28)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setFrameShape(QFrame.Shape.NoFrame)
        table.setWordWrap(False)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setAccessibleName("Networks that were found")
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        for column, (tip, width) in enumerate(zip(TIPS, _WIDTHS, strict=True)):
            item = table.horizontalHeaderItem(column)
            item.setToolTip(tip)
            item.setTextAlignment(NUMBER if column == _LABELS else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            header.resizeSection(column, width)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        table.itemSelectionChanged.connect(self._show_selected)
        table.itemDoubleClicked.connect(lambda _item: self._on_use())
        return table

    def _make_buttons(self) -> None:
        self.add = QPushButton("Add folder…", toolTip="Look for networks in another folder, now and the next time")
        self.remove = QPushButton("Remove folder", toolTip="Look in this folder no more; its files stay")
        self.stop = QPushButton("Stop looking")
        self.label_map = QPushButton("Use and label the map")
        self.label_map.setToolTip("Use it, and label the map's points with it, for this session")
        self.use = QPushButton("Use", objectName="primary", default=True)
        self.leave = QPushButton("Close")
        self.add.clicked.connect(self.folder_requested)
        self.remove.clicked.connect(self._on_remove)
        self.stop.clicked.connect(self.cancel_requested)
        self.label_map.clicked.connect(self._on_label_map)
        self.use.clicked.connect(self._on_use)
        self.leave.clicked.connect(self.close)
        for button in (self.add, self.remove, self.stop, self.label_map, self.use, self.leave):
            button.setMinimumSize(max(88, button.sizeHint().width() + 24), 28)
            button.setAutoDefault(button is self.use)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.add, self.remove, self.stop):
            buttons.addWidget(button)
        buttons.addStretch(1)
        for button in (self.label_map, self.use, self.leave):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(8)
        for widget in (self.table, self._bar, self._detail, self._advice, self._problem):
            column.addWidget(widget)
        column.setStretch(0, 1)
        column.addSpacing(4)
        column.addLayout(buttons)

    def show_state(self, state: NetworksState) -> None:
        """List what was found so far; the chosen row stays chosen."""
        chosen = self.chosen
        self._state = state
        self.table.blockSignals(True)
        self.table.setRowCount(len(state.rows))
        for number, row in enumerate(state.rows):
            self._fill(number, row)
        wanted = chosen.network if chosen is not None else state.used
        known = [row.network for row in state.rows]
        self.table.clearSelection()
        if wanted in known:
            self.table.selectRow(known.index(wanted))
        self.table.blockSignals(False)
        self._bar.setRange(0, 0 if state.is_looking else 1)
        self._bar.setVisible(state.is_looking)
        self.stop.setVisible(state.is_looking)
        self._problem.setText(state.problem)
        self._problem.setVisible(bool(state.problem))
        self._show_selected()

    @property
    def chosen(self) -> NetworkRow | None:
        """The row that is selected, or None."""
        rows = self.table.selectionModel().selectedRows()
        number = rows[0].row() if rows else -1
        return self._state.rows[number] if 0 <= number < len(self._state.rows) else None

    @property
    def advice(self) -> str:
        """What is said about the chosen network, or ""."""
        return self._advice.text()[2:]

    def _fill(self, number: int, row: NetworkRow) -> None:
        found = row.found
        labels = "" if found.num_labels is None else f"{found.num_labels:,}"
        stationary = ("known" if found.has_stationary else "unknown") if found.vocabulary else ""
        fit = "✕ unusable" if found.problem else _MAP_WORDS[row.fit]
        mark = "✓" if row.network == self._state.used else ""
        texts = (mark, row.title, row.place.title, found.kind, labels, found.vocabulary, found.base, stationary, fit)
        word = "bad" if found.problem else {FITS: "good", DIFFERS: "poor"}.get(row.fit)
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(text)
            if column == _LABELS:
                item.setTextAlignment(NUMBER)
                item.setFont(tabular_font(self.font()))
            if column == _MAP and word is not None:
                item.setForeground(outcome_color(word))
            self.table.setItem(number, column, item)

    def _show_selected(self) -> None:
        row = self.chosen
        advice = "" if row is None else self._state.advice(row)
        if row is None:
            text = "Looking for networks…" if self._state.is_looking else "Choose a network to see where it is."
        else:
            text = f"{row.found.path}" + (f"\nsha256 {row.found.sha256}" if row.found.sha256 else "")
        self._detail.setText(text)
        self._advice.setText(f"{'✕' if row is not None and row.found.problem else MARK_DOUBT} {advice}" if advice else "")
        self._advice.setVisible(bool(advice))
        is_used = row is not None and row.network == self._state.used
        self.use.setEnabled(row is not None and row.is_usable and not is_used)
        self.label_map.setVisible(row is not None and row.is_usable and row.fit == DIFFERS)
        self.label_map.setText("Label the map" if is_used else "Use and label the map")
        self.remove.setVisible(row is not None and row.place.is_added)

    def _on_use(self) -> None:
        if self.use.isEnabled():
            self.use_requested.emit(self.chosen.network)

    def _on_label_map(self) -> None:
        self.label_map_requested.emit(self.chosen.network)

    def _on_remove(self) -> None:
        if self.chosen is not None:
            self.folder_dropped.emit(self.chosen.place.folder)
