"""What happened in this session, line by line, to read and to copy."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from fgsn_viewer.views.common import quiet_label

MAX_LINES = 5000


class LogView(QWidget):
    """Passive: ``add`` appends a line with the time."""

    def __init__(self, log_file: str = "", parent: QWidget | None = None):
        super().__init__(parent)
        self.text = QPlainTextEdit(readOnly=True, maximumBlockCount=MAX_LINES)
        self.text.setAccessibleName("Log")
        self.text.setPlaceholderText("What is opened, computed and refused is listed here.")
        copy, clear = QPushButton("Copy all"), QPushButton("Clear")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text.toPlainText()))
        clear.clicked.connect(self.text.clear)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(quiet_label(f"Also in {log_file}" if log_file else ""), 1)
        row.addWidget(clear)
        row.addWidget(copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self.text, 1)
        layout.addLayout(row)

    def add(self, sentence: str) -> None:
        """Append one line."""
        self.text.appendPlainText(f"{datetime.now():%H:%M:%S}  {sentence}")
