"""The dialogs of a window: what can be done, keys, about, training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLineEdit, QMessageBox

from core.scene.summary import SceneSummary, summarize
from fgsn_viewer.cache_place import disk_cache
from fgsn_viewer.controllers.networks import CHANNEL as NETWORKS
from fgsn_viewer.labelling import network_title
from fgsn_viewer.map_building import photo_folder
from fgsn_viewer.views.command_palette import CommandPalette
from fgsn_viewer.views.map_dialog import MapDialog
from fgsn_viewer.views.network_dialog import NetworkDialog
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
        self.networks: NetworkDialog | None = None
        self.map: MapDialog | None = None

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
            self.summary.map_requested.connect(self._build_map_of_summary)
        self.summary.set_summary(summary, asks)
        self.summary.open()

    def _build_map_of_summary(self) -> None:
        """Open what was summarized, if it is not open yet, and ask for a map of its photographs."""
        if self.summary.asks:
            self.summary.open_button.click()
        else:
            self.summary.reject()
        self.show_map()

    def show_map(self) -> None:
        """Open the dialog that builds a map, for the photographs that are open if they have none."""
        control = self._window.controller
        if self.map is None:
            self.map = self._make_map()
        scene = control.state.scene
        if scene is not None and scene.map is None and not self.map.photos.text():
            self.map.set_photos(photo_folder(scene))
        self.map.set_networks([(network_title(each), each) for each in control.networks()], control.network)
        control.mapping.prepare()
        self.map.show()
        self.map.raise_()

    def _make_map(self) -> MapDialog:
        window, dialog, mapping = self._window, MapDialog(self._window), self._window.controller.mapping
        mapping.changed.connect(dialog.show_state)
        mapping.config_known.connect(dialog.set_config)
        mapping.made.connect(self._on_map)
        dialog.start_requested.connect(mapping.start)
        dialog.cancel_requested.connect(mapping.cancel)
        dialog.open_requested.connect(self._open_map)
        dialog.photos_wanted.connect(lambda: _fill(dialog.photos, window.asking.folder("Photographs for a map")))
        dialog.poses_wanted.connect(lambda: _fill(dialog.poses, window.asking.poses()))
        dialog.out_wanted.connect(lambda: _fill(dialog.out, window.asking.folder("An empty folder for the map")))
        return dialog

    def _on_map(self, folder: Path) -> None:
        """Open a map that is done, unless the person has gone on to something else."""
        if self.map is not None and self.map.isVisible():
            self._open_map(folder)

    def _open_map(self, folder: Path) -> None:
        self.map.close()
        self._window.open((folder,))

    def show_networks(self) -> None:
        """Open the network box, and look for networks anew."""
        if self.networks is None:
            self.networks = self._make_networks()
        self.networks.show()
        self.networks.raise_()
        self._window.controller.network_box.look()

    def _make_networks(self) -> NetworkDialog:
        window, dialog = self._window, NetworkDialog(self._window)
        control, box = window.controller, window.controller.network_box
        box.set_folders(window.settings.network_folders)
        box.changed.connect(dialog.show_state)
        box.folders_changed.connect(lambda folders: setattr(window.settings, "network_folders", folders))
        dialog.use_requested.connect(control.select_network)
        dialog.label_map_requested.connect(control.label_map_with)
        dialog.folder_requested.connect(window.asking.network_folder)
        dialog.folder_dropped.connect(box.remove_folder)
        dialog.cancel_requested.connect(lambda: control.tasks.cancel(NETWORKS))
        return dialog

    def clear_cache(self) -> None:
        """Ask, with what it holds, whether to remove what was kept on disk to be quick; nothing of the user's is in it."""
        cache = disk_cache()
        use = cache.use()
        if not use.total_files:
            self._show_text("Cache", f"Nothing is kept in {cache.folder}.")
            return
        held = ", ".join(f"{count:,} {kind}" for kind, count in use.files.items())
        text = f"Remove {held} ({use.total_bytes / 1e6:,.1f} MB) from {cache.folder}? They are made again when needed."
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Clear the cache", text, QMessageBox.StandardButton.Cancel, self._window)
        remove = box.addButton("Clear", QMessageBox.ButtonRole.AcceptRole)
        remove.clicked.connect(lambda: self._window.log.add(f"cleared the cache: {cache.clear().total_files:,} files"))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _show_text(self, title: str, text: str) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


def _fill(editor: QLineEdit, path: Path | None) -> None:
    """Write what was chosen into a field; nothing where nothing was."""
    if path is not None:
        editor.setText(str(path))
