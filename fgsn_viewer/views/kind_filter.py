"""Which kinds of matches are shown: inliers, guided ones, outliers, and those dropped by labels, with mark and number."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from fgsn_viewer.views.match_marks import KIND_STYLES, paint_end_marks


class KindFilter(QWidget):
    """Passive: ``set_counts``, ``set_kinds``; what a person checks is a signal."""

    kinds_chosen = Signal(object)  # frozenset of kinds

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.boxes = {kind: QCheckBox(checked=True) for kind in KIND_STYLES}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        for kind, box in self.boxes.items():
            box.setIcon(kind_icon(kind))
            box.setIconSize(QSize(28, 12))
            box.setToolTip(KIND_STYLES[kind].help)
            box.clicked.connect(self._on_click)
            layout.addWidget(box)
        layout.addStretch(1)
        self.set_counts({})

    def set_counts(self, counts: Mapping[int, int]) -> None:
        """Say how many there are of each kind."""
        for kind, box in self.boxes.items():
            count = counts.get(kind, 0)
            noun = KIND_STYLES[kind].noun
            box.setText(f"{count:,} {noun if count == 1 or noun in ('dropped', 'guided') else noun + 's'}")
            box.setEnabled(count > 0)

    def set_kinds(self, kinds: frozenset[int]) -> None:
        """Check the boxes of the kinds that are shown, without saying so."""
        for kind, box in self.boxes.items():
            box.setChecked(kind in kinds)

    def _on_click(self) -> None:
        self.kinds_chosen.emit(frozenset(kind for kind, box in self.boxes.items() if box.isChecked()))


def kind_icon(kind: int) -> QIcon:
    """A piece of a match's line with its marks, 28 x 12."""
    pixmap = QPixmap(56, 24)
    pixmap.setDevicePixelRatio(2.0)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(KIND_STYLES[kind].pen(QColor(KIND_STYLES[kind].color)))
    painter.drawLine(QPointF(4, 6), QPointF(24, 6))
    paint_end_marks(painter, [(4.5, 6.0), (23.5, 6.0)], QColor(KIND_STYLES[kind].color), kind, 3.0)
    painter.end()
    return QIcon(pixmap)
