"""Small things that several views share."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QGuiApplication, QImage, QPixmap
from PySide6.QtWidgets import QLabel, QStackedLayout, QVBoxLayout, QWidget

from core.geometry import Array
from fgsn_viewer import palette

NUMBER = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
MARK_DOUBT = "▲"
OUTCOME_WORDS = {
    "good": "within 0.25 m and 2°",
    "fair": "within 0.5 m and 5°",
    "poor": "within 5 m and 10°",
    "bad": "farther than 5 m or 10°",
    "failed": "no pose found",
    "unknown": "pose found, no truth to compare with",
    "": "not yet run",
}


def tabular_font(font: QFont, scale: float = 1.0, bold: bool = False) -> QFont:
    """The same font with figures of one width, where it has them."""
    font = QFont(font)
    font.setFeature(QFont.Tag("tnum"), 1)
    if scale != 1.0 and font.pointSizeF() > 0:
        font.setPointSizeF(font.pointSizeF() * scale)
    elif scale != 1.0:
        font.setPixelSize(round(font.pixelSize() * scale))
    font.setBold(bold)
    return font


def outcome_color(word: str) -> QColor:
    """The colour of an outcome's mark and number, dark enough to read in a light theme."""
    color = QColor(palette.OUTCOME_COLORS[word])
    return color.darker(165) if QGuiApplication.palette().window().color().lightness() > 128 else color


def pixmap_of(rgb: Array) -> QPixmap:
    """RGB (H, W, 3) u8 as a pixmap."""
    rgb = np.ascontiguousarray(rgb)
    height, width = rgb.shape[:2]
    return QPixmap.fromImage(QImage(rgb.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy())


def quiet_label(text: str = "", name: str = "quiet") -> QLabel:
    """A wrapped line of secondary text."""
    label = QLabel(text)
    label.setObjectName(name)
    label.setWordWrap(True)
    return label


class Emptiable(QWidget):
    """A view that says what is missing, where it would be, while there is nothing to show."""

    def __init__(self, content: QWidget, parent: QWidget | None = None):
        super().__init__(parent)
        self._hint = quiet_label()
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._page = QWidget()
        page = QVBoxLayout(self._page)
        page.setContentsMargins(16, 16, 16, 16)
        page.addWidget(self._hint)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._page)
        self._stack.addWidget(content)

    def set_hint(self, text: str) -> None:
        """Show ``text`` in place of the content; an empty text shows the content."""
        self._hint.setText(text)
        self._stack.setCurrentIndex(0 if text else 1)

    @property
    def hint(self) -> str:
        """What is said in place of the content, or ""."""
        return self._hint.text()
