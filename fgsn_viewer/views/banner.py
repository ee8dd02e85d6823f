"""A failure, in the window: the sentence, what to try next, and the details to copy."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget


class Banner(QFrame):
    """Hidden until ``show_failure``; goes when dismissed or when something is opened."""

    retry_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("banner")
        self._details = ""
        self._sentence = QLabel(wordWrap=True)
        self._sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._copy = QPushButton("Copy details")
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._details))
        self._close = QToolButton(text="✕", toolTip="Dismiss")
        self._close.setAccessibleName("Dismiss")
        self._close.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(8)
        mark = QLabel("✕")
        mark.setObjectName("bad")
        for widget, stretch in ((mark, 0), (self._sentence, 1), (self._copy, 0), (self._close, 0)):
            layout.addWidget(widget, stretch, Qt.AlignmentFlag.AlignVCenter)
        self.hide()

    def show_failure(self, sentence: str, hint: str = "", details: str = "") -> None:
        """Say what failed; ``hint`` is the next thing to try."""
        self._details = details or sentence
        self._sentence.setText(f"{sentence}\n{hint}" if hint else sentence)
        self.show()

    @property
    def sentence(self) -> str:
        return self._sentence.text()
