"""The tools of the comparison: mode, overlay, matches, fit. Icons are drawn, so that they follow the theme."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QComboBox, QHBoxLayout, QLabel, QSlider, QToolButton, QWidget

_MODES = {
    "side": "Side by side (1)",
    "swipe": "Swipe: drag the divider (2)",
    "overlay": "Overlay: both at half (3)",
    "blink": "Blink between the two (4)",
    "lens": "Lens: the query around the mouse (5)",
}
_OVERLAYS = {
    "fill": ("Fill", "Colour every label (L)"),
    "outline": ("Outline", "Outline every label (O)"),
    "off": ("Off", "Hide labels (H)"),
}
_LIMITS = {"draw 30": 30, "draw 100": 100, "draw 300": 300, "draw all": None}

_ROOM_FOR_ALL, _ROOM_FOR_LIMIT, _ROOM_AT_LEAST = 760, 660, 560  # px


class CompareToolbar(QWidget):
    """Buttons and a slider; it tells what was chosen and shows what it is told, without telling it back."""

    mode_chosen = Signal(str)
    overlay_chosen = Signal(str, float)
    matches_chosen = Signal(bool, bool, object)
    fit_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(8, 4, 8, 4)
        self._layout.setSpacing(2)
        self._modes = self._segmented({name: ("", tip) for name, tip in _MODES.items()})
        for button in self._modes.values():
            button.setIconSize(QSize(20, 16))
        self._draw_icons()
        self._layout.addSpacing(12)
        self._caption = QLabel("Labels", self)
        self._layout.addWidget(self._caption)
        self._layout.addSpacing(4)
        self._overlays = self._segmented(_OVERLAYS)
        self._opacity = self._slider()
        self._percent = QLabel("45 %", self)
        self._percent.setFixedWidth(self._percent.fontMetrics().horizontalAdvance("100 % "))
        self._percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._layout.addWidget(self._percent)
        self._layout.addStretch(1)
        self._matches = self._button("Matches", "Draw matches across the pair (M)", checkable=True)
        self._outliers = self._button("Outliers", "Draw outliers too: thin dashed lines with crosses", checkable=True)
        self._limit = QComboBox(self)
        self._limit.addItems(list(_LIMITS))
        self._limit.setCurrentText("draw 100")
        self._limit.setToolTip(
            "How many matches are drawn: the best of each part of the image, inliers and outliers in their true proportion"
        )
        self._layout.addWidget(self._limit)
        self._fit = self._button("Fit", "Show the images whole (F, or double click)", checkable=False)
        self.setMinimumWidth(_ROOM_AT_LEAST)
        self._connect()
        self.show_mode("side")
        self.show_overlay("fill", 0.45)

    def changeEvent(self, event: QEvent) -> None:
        """Draw the icons again in the ink of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._draw_icons()

    def _draw_icons(self) -> None:
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        for name, button in self._modes.items():
            button.setIcon(mode_icon(name, ink))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give up what can be missed where there is little room."""
        for widget in (self._caption, self._percent):
            widget.setVisible(event.size().width() >= _ROOM_FOR_ALL)
        self._limit.setVisible(event.size().width() >= _ROOM_FOR_LIMIT)

    def show_mode(self, mode: str) -> None:
        """Press the button of a compare mode."""
        self._modes[mode].setChecked(True)

    def show_overlay(self, mode: str, opacity: float) -> None:
        """Press the button of an overlay mode and move the slider."""
        self._overlays[mode].setChecked(True)
        self._opacity.blockSignals(True)
        self._opacity.setValue(round(opacity * 100))
        self._opacity.blockSignals(False)
        self._percent.setText(f"{round(opacity * 100)} %")

    def show_matches(self, visible: bool, show_outliers: bool, limit: int | None) -> None:
        """Press the buttons of what is drawn, and choose the limit if it is among the choices."""
        self._matches.setChecked(visible)
        self._outliers.setChecked(show_outliers)
        text = next((text for text, value in _LIMITS.items() if value == limit), "")
        if text:
            self._limit.setCurrentText(text)

    def show_available(self, labels: bool, matches: bool) -> None:
        """Enable what there is something to show for."""
        for widget in (*self._overlays.values(), self._opacity, self._percent):
            widget.setEnabled(labels)
        for widget in (self._matches, self._outliers, self._limit):
            widget.setEnabled(matches)

    def _segmented(self, choices: dict[str, tuple[str, str]]) -> dict[str, QToolButton]:
        group = QButtonGroup(self)
        group.setExclusive(True)
        buttons = {name: self._button(text, tip, checkable=True) for name, (text, tip) in choices.items()}
        for button in buttons.values():
            group.addButton(button)
        return buttons

    def _button(self, text: str, tip: str, checkable: bool) -> QToolButton:
        button = QToolButton(self)
        button.setText(text)
        button.setToolTip(tip)
        button.setCheckable(checkable)
        button.setChecked(checkable and text in ("Matches", "Outliers"))
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._layout.addWidget(button)
        return button

    def _slider(self) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal, self)
        slider.setRange(0, 100)
        slider.setFixedWidth(96)
        slider.setToolTip("Opacity of the labels ([ and ])")
        self._layout.addWidget(slider)
        return slider

    def _connect(self) -> None:
        for name, button in self._modes.items():
            button.clicked.connect(lambda _checked=False, name=name: self.mode_chosen.emit(name))
        for button in self._overlays.values():
            button.clicked.connect(self._emit_overlay)
        self._opacity.valueChanged.connect(self._emit_overlay)
        self._matches.clicked.connect(self._emit_matches)
        self._outliers.clicked.connect(self._emit_matches)
        self._limit.activated.connect(self._emit_matches)
        self._fit.clicked.connect(self.fit_requested)

    def _emit_overlay(self) -> None:
        mode = next(name for name, button in self._overlays.items() if button.isChecked())
        self._percent.setText(f"{self._opacity.value()} %")
        self.overlay_chosen.emit(mode, self._opacity.value() / 100)

    def _emit_matches(self) -> None:
        self.matches_chosen.emit(self._matches.isChecked(), self._outliers.isChecked(), _LIMITS[self._limit.currentText()])


def mode_icon(mode: str, ink: QColor) -> QIcon:
    """A 20 x 16 picture of a compare mode."""
    pixmap = QPixmap(40, 32)
    pixmap.setDevicePixelRatio(2.0)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(ink, 1.4))
    _draw_mode(painter, mode, ink)
    painter.end()
    return QIcon(pixmap)


def _draw_mode(painter: QPainter, mode: str, ink: QColor) -> None:
    frame = QRectF(2, 2, 16, 12)
    if mode == "side":
        painter.drawRect(QRectF(1, 3, 8, 10))
        painter.drawRect(QRectF(11, 3, 8, 10))
        return
    if mode in ("overlay", "blink"):
        painter.drawRect(QRectF(1.5, 1.5, 11, 9))
        rear = QRectF(7, 5.5, 11, 9)
        if mode == "blink":
            painter.fillRect(rear, ink)
        painter.drawRect(rear)
        return
    painter.drawRect(frame)
    if mode == "swipe":
        painter.fillRect(QRectF(2, 2, 8, 12), ink)
        painter.drawLine(QPointF(10, 0), QPointF(10, 16))
    else:
        painter.setBrush(ink)
        painter.drawEllipse(QPointF(10, 8), 3.6, 3.6)
