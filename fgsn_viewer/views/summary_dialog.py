"""What a scene holds, before it is opened or while it is open: conditions with counts, cameras, points, what is missing."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from core.scene.summary import ConditionCount, SceneSummary
from fgsn_viewer import palette
from fgsn_viewer.views.common import MARK_DOUBT, NUMBER, outcome_color, quiet_label, tabular_font

WIDTH, ROW_HEIGHT, MAX_ROWS, DOT = 640, 24, 9, 12
_MARGINS, _BETWEEN = 64, 96  # px beside, and over, under and between the parts
_HEADINGS = ("Condition", "Reference", "Queries")


class SummaryDialog(QDialog):
    """Passive: ``set_summary``. With ``asks`` a person opens the scene or not; else there is only Close."""

    open_requested = Signal()
    refused = Signal()
    map_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._summary: SceneSummary | None = None
        self._asks = False
        self._title = QLabel(objectName="title", wordWrap=True)
        self._title.setIndent(0)
        self._title.setFont(tabular_font(self.font(), scale=1.4, bold=True))
        self._layout_name = quiet_label()
        self.conditions = self._make_table()
        self._facts, self._missing = QGridLayout(), QGridLayout()
        self.open_button = QPushButton("Open", objectName="primary", default=True)
        self.map_button = QPushButton("Build map…", toolTip="Open it and make a map of its photographs", autoDefault=False)
        self.leave = QPushButton("Cancel", autoDefault=False)
        self.open_button.clicked.connect(self._on_open)
        self.map_button.clicked.connect(self.map_requested)
        self.leave.clicked.connect(self.reject)
        self._lay_out()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 3, objectName="plain")
        table.setHorizontalHeaderLabels(list(_HEADINGS))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.setShowGrid(False)
        table.setIconSize(QSize(DOT, DOT))
        table.setFrameShape(QFrame.Shape.NoFrame)
        table.setAccessibleName("Images by condition")
        header = table.horizontalHeader()
        header.setSectionsClickable(False)
        header.setHighlightSections(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, 112)
            table.horizontalHeaderItem(column).setTextAlignment(NUMBER)
        table.horizontalHeaderItem(0).setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return table

    def _lay_out(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(0)
        for grid in (self._facts, self._missing):
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setHorizontalSpacing(12)
            grid.setVerticalSpacing(6)
            grid.setColumnStretch(1, 1)
        for part, space in ((self._facts, 16), (self.conditions, 16), (self._missing, 0)):
            column.addWidget(part) if isinstance(part, QWidget) else column.addLayout(part)
            column.addSpacing(space)
        column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        self._content = content
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.map_button)
        buttons.addStretch(1)
        for button in (self.leave, self.open_button):
            buttons.addWidget(button)
        for button in (self.map_button, self.leave, self.open_button):
            button.setMinimumSize(max(96, button.sizeHint().width() + 24), 28)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(24, 20, 24, 16)
        outer.setSpacing(0)
        outer.addWidget(self._title)
        outer.addSpacing(4)
        outer.addWidget(self._layout_name)
        outer.addSpacing(16)
        outer.addWidget(scroll, 1)
        outer.addSpacing(16)
        outer.addLayout(buttons)

    def set_summary(self, summary: SceneSummary, asks: bool) -> None:
        """Show a summary; ``asks``: it is not open yet, and may be opened."""
        self._summary, self._asks = summary, asks
        self.setWindowTitle("Open a scene" if asks else "Summary of the scene")
        self._title.setText(summary.name)
        self._layout_name.setText(summary.layout or "Two photographs")
        self._fill_conditions(summary.conditions)
        _refill(self._facts, [self._fact(*row) for row in summary.rows() if row[0] != "layout"])
        marked = [(MARK_DOUBT, text, "poor") for text in summary.missing]
        marked += [("·", text, "") for text in summary.notes]
        _refill(self._missing, [self._sentence(*row) for row in marked])
        self.open_button.setVisible(asks)
        self.map_button.setVisible(summary.num_points is None)
        self.leave.setText("Cancel" if asks else "Close")
        self._fit()

    @property
    def asks(self) -> bool:
        """Whether a person is asked to open what is shown."""
        return self._asks

    def sentences(self) -> list[str]:
        """What is said to be missing, then the notes."""
        return [self._missing.itemAtPosition(row, 1).widget().text() for row in range(self._missing.count() // 2)]

    def _fill_conditions(self, conditions: tuple[ConditionCount, ...]) -> None:
        table = self.conditions
        table.setRowCount(len(conditions))
        for row, condition in enumerate(conditions):
            name = QTableWidgetItem(condition.name or "no condition given")
            if condition.name:
                name.setIcon(_dot(palette.condition_color(condition.name)))
            table.setItem(row, 0, name)
            for column, count in ((1, condition.num_reference), (2, condition.num_queries)):
                item = QTableWidgetItem(f"{count:,}" if count else "–")
                item.setTextAlignment(NUMBER)
                item.setFont(tabular_font(self.font()))
                table.setItem(row, column, item)
        header, whole = table.horizontalHeader().sizeHint().height(), len(conditions) <= MAX_ROWS
        table.setFixedHeight(header + ROW_HEIGHT * min(MAX_ROWS, max(1, len(conditions))) + 8)
        policy = Qt.ScrollBarPolicy
        table.setVerticalScrollBarPolicy(policy.ScrollBarAlwaysOff if whole else policy.ScrollBarAlwaysOn)

    def _fact(self, name: str, text: str) -> tuple[QLabel, QLabel]:
        value = QLabel(text, wordWrap=True, objectName="title")
        value.setIndent(0)
        value.setFont(tabular_font(self.font()))
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        title = quiet_label(name.capitalize())
        title.setWordWrap(False)
        title.setFixedWidth(72)
        return title, value

    def _sentence(self, mark: str, text: str, word: str) -> tuple[QLabel, QLabel]:
        sign = QLabel(mark, objectName="title")
        sentence = QLabel(text, wordWrap=True, objectName="title") if word else quiet_label(text)
        if word:
            sign.setStyleSheet(f"color: {outcome_color(word).name()};")
            sign.setAccessibleName("missing")
        sign.setFixedWidth(16)
        return sign, sentence

    def _fit(self) -> None:
        """As high as what is shown, where the screen has room."""
        self._content.layout().activate()
        height = self._content.layout().totalHeightForWidth(WIDTH - _MARGINS)
        screen = self.screen().availableGeometry().height()
        self.resize(WIDTH, min(height + self._frame_height(), int(screen * 0.9)))

    def _frame_height(self) -> int:
        """What stands over and under the part that scrolls."""
        parts = self._title, self._layout_name, self.open_button
        return sum(part.sizeHint().height() for part in parts) + _BETWEEN

    def _on_open(self) -> None:
        self._asks = False
        self.accept()
        self.open_requested.emit()

    def reject(self) -> None:
        """Close; what was asked for is not opened."""
        asked, self._asks = self._asks, False
        super().reject()
        if asked:
            self.refused.emit()


def _refill(grid: QGridLayout, rows: list[tuple[QLabel, QLabel]]) -> None:
    """Put these rows of two in place of the old ones."""
    while grid.count():
        widget = grid.takeAt(0).widget()
        widget.hide()
        widget.deleteLater()
    top = Qt.AlignmentFlag.AlignTop
    for number, (left, right) in enumerate(rows):
        grid.addWidget(left, number, 0, top)
        grid.addWidget(right, number, 1)


def _dot(color: str) -> QIcon:
    """A spot of the condition's colour."""
    pixmap = QPixmap(DOT, DOT)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(128, 128, 128))  # so that pale ones are seen on a light ground
    painter.setBrush(QColor(color))
    painter.drawEllipse(1, 1, DOT - 2, DOT - 2)
    painter.end()
    return QIcon(pixmap)
