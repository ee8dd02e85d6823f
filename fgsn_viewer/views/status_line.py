"""The status bar: what runs, how far, cancel; and the network in use."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QProgressBar, QPushButton, QStatusBar, QWidget

from core.records import Progress
from fgsn_viewer.views.common import MARK_DOUBT, outcome_color

CHANNELS = ("open", "start", "query", "all", "mapping", "networks", "training")  # the first that runs is shown


class StatusLine(QStatusBar):
    """Passive: ``show_progress`` and ``end_progress`` by channel, ``show_network``."""

    cancel_requested = Signal()
    network_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._running: dict[str, Progress] = {}
        self._message, self._network = QLabel(), QPushButton(objectName="statusLink")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setFixedSize(160, 8)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop what is running; what is shown stays (Ctrl+.)")
        self._cancel.clicked.connect(self.cancel_requested)
        self._network.clicked.connect(self.network_requested)
        self.setSizeGripEnabled(False)
        for widget in (self._message, self._bar, self._cancel):
            self.addWidget(widget)
        self.addPermanentWidget(self._network)
        self.show_network("none")
        self._refresh()

    def show_progress(self, channel: str, progress: Progress) -> None:
        """Show what a channel does now."""
        self._running[channel] = progress
        self._refresh()

    def end_progress(self, channel: str) -> None:
        """A channel has nothing to do any more."""
        self._running.pop(channel, None)
        self._refresh()

    def show_network(self, text: str, doubt: str = "") -> None:
        """Name the network in use; ``doubt``: a sentence on why its labels do not go with the map's, or ""."""
        self._network.setText(f"network: {text}" + (f"   {MARK_DOUBT} the map is not labelled with it" if doubt else ""))
        told = "The network that labels the images, the device it runs on, and its precision"
        self._network.setToolTip(f"{doubt}\n{told}" if doubt else told)
        self._network.setStyleSheet(f"color: {outcome_color('poor').name()};" if doubt else "")

    @property
    def message(self) -> str:
        return self._message.text()

    def _refresh(self) -> None:
        progress = next((self._running[name] for name in CHANNELS if name in self._running), None)
        for widget in (self._bar, self._cancel):
            widget.setVisible(progress is not None)
        if progress is None:
            self._message.setText("Ready")
            return
        self._message.setText(progress.message[:1].upper() + progress.message[1:])
        self._bar.setRange(0, 0 if progress.fraction is None else 100)
        self._bar.setValue(0 if progress.fraction is None else round(100 * progress.fraction))
