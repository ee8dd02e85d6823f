"""Why the query was localized, or why not: the cause, the numbers behind it, and what would help."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from core.evaluation.recall import OUTCOME_MARKS
from fgsn_viewer.views.common import Emptiable, outcome_color, quiet_label, tabular_font

COLUMNS = 2


class AutopsyPanel(QWidget):
    """Passive: ``set_autopsy`` shows a record with ``verdict``, ``cause``, ``evidence`` and ``remedy``."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._cause, self._remedy = QLabel(wordWrap=True), QLabel(wordWrap=True)
        self._cause.setFont(tabular_font(self.font(), scale=1.2, bold=True))
        for label in (self._cause, self._remedy):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._evidence = QGridLayout()
        self._evidence.setHorizontalSpacing(12)
        self._evidence.setVerticalSpacing(4)
        for column in range(COLUMNS):
            self._evidence.setColumnStretch(column, 1)
        body = QWidget()
        inside = QVBoxLayout(body)
        inside.setContentsMargins(12, 8, 12, 8)
        inside.setSpacing(8)
        inside.addWidget(self._cause)
        inside.addWidget(self._remedy)
        inside.addLayout(self._evidence)
        inside.addStretch(1)
        content = QScrollArea(widgetResizable=True)
        content.setFrameShape(QFrame.Shape.NoFrame)
        content.setWidget(body)
        self._body = Emptiable(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._body)
        self.set_autopsy(None, "")

    def set_autopsy(self, autopsy, word: str, hint: str = "") -> None:
        """Show why; ``word`` is the outcome that colours it, ``hint`` is said while there is none."""
        if autopsy is None:
            self._body.set_hint(hint or "No result to explain yet.")
            return
        mark, color = OUTCOME_MARKS[word], outcome_color(word).name()
        cause = autopsy.cause[:1].upper() + autopsy.cause[1:]
        self._cause.setText(f'<span style="color:{color}">{mark}</span>&nbsp; {_escape(cause)}')
        self._remedy.setText(f"<b>What would help:</b> {_escape(autopsy.remedy)}" if autopsy.remedy else "")
        self._remedy.setVisible(bool(autopsy.remedy))
        self._fill(autopsy.evidence)
        self._body.set_hint("")

    def _fill(self, evidence) -> None:
        while self._evidence.count():
            widget = self._evidence.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        for number, item in enumerate(evidence):
            sentence = quiet_label(f"·  {item.sentence[:1].upper()}{item.sentence[1:]}")
            sentence.setToolTip(f"{item.name}: {_number(item.value)}")
            self._evidence.addWidget(sentence, number // COLUMNS, number % COLUMNS)

    @property
    def hint(self) -> str:
        return self._body.hint

    @property
    def cause(self) -> str:
        return self._cause.text()


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.2f}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
