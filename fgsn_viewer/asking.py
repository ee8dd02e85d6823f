"""Questions for files and folders; what is answered goes to the window, and the folder is where the next question starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog

from core.images import IMAGE_SUFFIXES
from core.scene.colmap import MODEL_PARTS
from core.scene.scene_table import SCENE_FILE
from fgsn_viewer.tasks import Failure

if TYPE_CHECKING:
    from fgsn_viewer.main_window import MainWindow


SCENE_FILES = (SCENE_FILE, "*.nvm", "*.out", *(f"{part}{suffix}" for part in MODEL_PARTS for suffix in (".bin", ".txt")))


class Asking:
    """The file dialogs of one window."""

    def __init__(self, window: MainWindow):
        self._window = window

    def scene(self) -> None:
        """Ask for a folder of any layout."""
        folder = self.folder("Open a scene: a folder of any layout")
        if folder is not None:
            self._window.look_at((folder,))

    def scene_file(self) -> None:
        """Ask for a file that stands for a scene."""
        file = self._file("Open a scene file or a model", "Scenes and models", SCENE_FILES)
        if file is not None:
            self._window.look_at((file,))

    def pair(self) -> None:
        """Ask for the reference, then for the query."""
        chosen = []
        for title in ("Reference photograph (left)", "Query photograph (right)"):
            file = self._file(title, "Images", [f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES)])
            if file is None:
                return
            chosen.append(file)
        self._window.open(chosen)

    def network(self) -> None:
        file = self._file("Open a network", "Networks", ["*.safetensors", "*.pth"])
        if file is not None:
            self._window.controller.select_network(file)

    def network_folder(self) -> None:
        """Ask for a folder to look for networks in."""
        folder = self.folder("Look for networks in a folder")
        if folder is not None:
            self._window.controller.network_box.add_folder(folder)

    def poses(self) -> Path | None:
        """Ask for a list of poses; the folder of a model has to be typed."""
        return self._file("Known poses", "Lists of poses, models", ["*.txt", "*.bin"])

    def evaluation(self) -> None:
        """Ask for the folder that an evaluation wrote."""
        folder = self.folder("Open the results of an evaluation (a folder with result.json)")
        if folder is not None:
            self._window.controller.localizing.open_evaluation(folder)

    def export(self) -> None:
        """Ask where to, and write a picture of the window there."""
        window = self._window
        file, _ = QFileDialog.getSaveFileName(window, "Export the window as a picture", window.settings.folder, "PNG (*.png)")
        if not file:
            return
        path = Path(file).with_suffix(".png")
        window.settings.folder = str(path.parent)
        saved = window.grab_picture().save(str(path))
        if not saved:
            window.show_failure("exporting", Failure(f"{path}: cannot be written", ""))
        window.log.add(f"wrote {path}" if saved else f"{path}: cannot be written")

    def folder(self, title: str) -> Path | None:
        """Ask for a folder that is there."""
        folder = QFileDialog.getExistingDirectory(self._window, title, self._window.settings.folder)
        if not folder:
            return None
        self._window.settings.folder = str(Path(folder).parent)
        return Path(folder)

    def _file(self, title: str, kind: str, patterns: Sequence[str]) -> Path | None:
        settings = self._window.settings
        file, _ = QFileDialog.getOpenFileName(self._window, title, settings.folder, f"{kind} ({' '.join(patterns)})")
        if not file:
            return None
        settings.folder = str(Path(file).parent)
        return Path(file)
