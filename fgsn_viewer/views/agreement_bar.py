"""How far the labels of the two images agree, in two numbers, and how that is known."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from fgsn_viewer.agreement import PairAgreement
from fgsn_viewer.views.common import quiet_label, tabular_font

TIPS = {
    "kappa": "Kappa: how often both images give a point the same label, beyond chance.\n"
    "1 is always, 0 is what two unrelated images give.",
    "bits": "Mutual information in bits: how much a label in one image tells of the label in the other.\n"
    "It rewards fine and stable labels alike, so read kappa with it.",
}


class AgreementBar(QWidget):
    """Passive: ``set_agreement``."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._kappa, self._bits = _Number("kappa", TIPS["kappa"]), _Number("bits", TIPS["bits"])
        self._source = quiet_label()
        numbers = QHBoxLayout()
        numbers.setSpacing(16)
        for each in (self._kappa, self._bits):
            numbers.addWidget(each)
        numbers.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(0)
        layout.addLayout(numbers)
        layout.addWidget(self._source)
        self.set_agreement(None)

    def set_agreement(self, agreement: PairAgreement | None) -> None:
        """Show the numbers of a pair; without them the bar is not there."""
        self.setVisible(agreement is not None)
        if agreement is None:
            return
        self._kappa.setText(f"{agreement.stats.kappa:.2f}")
        self._bits.setText(f"{agreement.stats.mutual_information_bits:.2f}")
        self._source.setText(f"at {agreement.num_points:,} points {agreement.source}")

    def text(self) -> str:
        """What the bar says now, or "" while it is hidden."""
        shown = f"kappa {self._kappa.text()} · {self._bits.text()} bits · {self._source.text()}"
        return "" if self.isHidden() else shown


class _Number(QWidget):
    """A number in bold with its word behind it."""

    def __init__(self, word: str, tip: str):
        super().__init__(toolTip=tip)
        self._number = QLabel()
        self._number.setFont(tabular_font(self.font(), scale=1.2, bold=True))
        self._number.setIndent(0)
        name = quiet_label(word)
        name.setWordWrap(False)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._number)
        layout.addWidget(name)

    def setText(self, text: str) -> None:
        self._number.setText(text)

    def text(self) -> str:
        return self._number.text()
