"""What is seen when nothing is open: what this is, and the ways in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from fgsn_viewer.views.common import quiet_label, tabular_font

LEAD = "See why long-term visual localization fails: labels, matches and camera poses of one place in two seasons."
WIDTH = 680
MAX_SHOWN = 6


class StartPage(QWidget):
    """Passive: ``set_recent``, ``set_demo``, ``set_busy``; the buttons are intents."""

    demo_requested = Signal()
    scene_requested = Signal()
    pair_requested = Signal()
    recent_chosen = Signal(object)  # tuple of paths

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.demo = self._button("Open demo", "A street in six conditions, with a map and true poses", primary=True)
        self.scene = self._button("Open scene…", "A scene, a COLMAP model or a folder of images")
        self.pair = self._button("Open two photographs…", "Labels and matches of one place, twice")
        self.demo.clicked.connect(self.demo_requested)
        self.scene.clicked.connect(self.scene_requested)
        self.pair.clicked.connect(self.pair_requested)
        self._recent_title = QLabel("Recent")
        self._recent_title.setObjectName("heading")
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        self._busy = quiet_label()
        self._lay_out()
        self.set_recent(())
        self.set_busy("")

    def _button(self, text: str, tip: str, primary: bool = False) -> QPushButton:
        button = QPushButton(text, toolTip=tip)
        button.setObjectName("primary" if primary else "choice")
        button.setMinimumHeight(40)
        button.setIconSize(QSize(20, 20))
        return button

    def _lay_out(self) -> None:
        column = QWidget()
        column.setMaximumWidth(WIDTH)
        inside = QVBoxLayout(column)
        inside.setSpacing(0)
        title = QLabel("FGSN viewer")
        title.setObjectName("title")
        for label in (title, self._recent_title, self._busy):
            label.setIndent(0)
        title.setFont(tabular_font(self.font(), scale=2.0, bold=True))
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.demo, self.scene, self.pair):
            buttons.addWidget(button, 1)
        inside.addWidget(title)
        inside.addSpacing(8)
        inside.addWidget(quiet_label(LEAD))
        inside.addSpacing(24)
        inside.addLayout(buttons)
        inside.addSpacing(16)
        inside.addWidget(self._drop_target())
        inside.addSpacing(8)
        inside.addWidget(self._busy)
        inside.addSpacing(16)
        inside.addWidget(self._recent_title)
        inside.addSpacing(4)
        inside.addLayout(self._recent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.addStretch(2)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(column, 100)
        row.addStretch(1)
        layout.addLayout(row)
        layout.addStretch(3)

    def _drop_target(self) -> QFrame:
        target = QFrame()
        target.setObjectName("dropTarget")
        text = quiet_label("or drop a scene folder, a COLMAP model or two photographs here")
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        inside = QVBoxLayout(target)
        inside.setContentsMargins(16, 24, 16, 24)
        inside.addWidget(text)
        return target

    def set_demo(self, present: bool) -> None:
        """Offer the demo, or say that it is not part of this copy."""
        self.demo.setEnabled(present)
        if not present:
            self.demo.setToolTip("This copy has no demo scene in resources/demo; make one with `fgsn-viewer world`")

    def set_busy(self, text: str) -> None:
        """Say what is being loaded; the buttons stay usable."""
        self._busy.setText(text)

    def set_recent(self, entries: Sequence[tuple[Path, ...]]) -> None:
        """List what was opened before."""
        while self._recent.count():
            widget = self._recent.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        for paths in list(entries)[:MAX_SHOWN]:
            button = QPushButton(recent_title(paths))
            button.setObjectName("link")
            button.setToolTip("\n".join(map(str, paths)))
            button.clicked.connect(lambda _=False, paths=paths: self.recent_chosen.emit(paths))
            self._recent.addWidget(button)
        self._recent_title.setVisible(bool(entries))


def recent_title(paths: Sequence[Path]) -> str:
    """How an entry is listed: the name, then where it is."""
    if len(paths) == 2:
        return f"{paths[0].name}  +  {paths[1].name}"
    return f"{paths[0].name}   {_shortened(paths[0].parent)}"


def _shortened(folder: Path, length: int = 48) -> str:
    text = str(folder).replace(str(Path.home()), "~", 1)
    return text if len(text) <= length else f"…{text[1 - length :]}"
