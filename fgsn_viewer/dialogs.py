"""The dialogs of a window: what can be done, keys, about, training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QMessageBox

from core.scene.summary import SceneSummary, summarize
from fgsn_viewer.labelling import network_title
from fgsn_viewer.views.command_palette import CommandPalette
from fgsn_viewer.views.summary_dialog import SummaryDialog
from fgsn_viewer.views.training_dialog import TrainingDialog

if TYPE_CHECKING:
    from fgsn_viewer.main_window import MainWindow

ABOUT = (
    "<h3>FGSN viewer</h3><p>See why long-term visual localization fails: fine-grained segmentation labels, matches and "
    "camera poses across seasons.</p><p>Licence: Apache-2.0. Made with PySide6 (LGPL), PyTorch, COLMAP, PoseLib, OpenCV "
    "and QDarkStyle.</p>"
)


class Dialogs:
    """Opens the dialogs of one window; the training dialog is made once and stays."""

    def __init__(self, window: MainWindow):
        self._window = window
        self.training: TrainingDialog | None = None
        self.summary: SummaryDialog | None = None

    def show_palette(self) -> None:
        """Open the list of all actions over the images."""
        window = self._window
        palette = CommandPalette(window.actions_.titled(), window)
        palette.move(window.mapToGlobal(QPoint((window.width() - palette.width()) // 2, 64)))
        palette.show()

    def show_keys(self) -> None:
        rows = "".join(
            f"<tr><td><b>{key}</b>&nbsp;&nbsp;&nbsp;</td><td>{text}</td></tr>" for key, text in self._window.actions_.key_list()
        )
        self._show_text("Keys", f"<table cellpadding=2>{rows}</table>")

    def show_about(self) -> None:
        self._show_text("About", ABOUT)

    def show_training(self) -> None:
        """Open the training dialog on the scene that is open."""
        control = self._window.controller
        if control.state.scene is None:
            return
        if self.training is None:
            self.training = self._make_training()
        self.training.set_networks([(network_title(each), str(each)) for each in control.networks()], str(control.network))
        control.training.prepare(control.state.scene)
        self.training.show()
        self.training.raise_()

    def _make_training(self) -> TrainingDialog:
        dialog, training = TrainingDialog(self._window), self._window.controller.training
        training.changed.connect(dialog.show_state)
        training.presets_known.connect(dialog.set_presets)
        dialog.start_requested.connect(training.start)
        dialog.resume_requested.connect(training.resume)
        dialog.cancel_requested.connect(training.cancel)
        dialog.use_requested.connect(training.use_result)
        return dialog

    def show_found(self, summary: SceneSummary) -> None:
        """Ask with the summary of what was read whether it is to be opened."""
        self._show_summary(summary, asks=True)

    def show_summary(self) -> None:
        """Open the summary of the scene that is open."""
        scene = self._window.controller.state.scene
        if scene is not None:
            self._show_summary(summarize(scene), asks=False)

    def _show_summary(self, summary: SceneSummary, asks: bool) -> None:
        if self.summary is None:
            opening = self._window.controller.opening
            self.summary = SummaryDialog(self._window)
            self.summary.open_requested.connect(opening.accept)
            self.summary.refused.connect(opening.refuse)
        self.summary.set_summary(summary, asks)
        self.summary.open()

    def _show_text(self, title: str, text: str) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
