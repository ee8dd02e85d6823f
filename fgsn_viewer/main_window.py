"""The window: views in docks, menus, drag and drop, progress. It shows and asks; the controller decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QImage, QPainter
from PySide6.QtWidgets import (
    QApplication,
    QMainWindow,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from fgsn_viewer import display
from fgsn_viewer.actions import Actions
from fgsn_viewer.arrangement import DockArrangement
from fgsn_viewer.asking import Asking
from fgsn_viewer.controller import Controller
from fgsn_viewer.dialogs import Dialogs
from fgsn_viewer.labelling import network_title
from fgsn_viewer.presenter import Presenter
from fgsn_viewer.settings import Settings
from fgsn_viewer.tasks import Failure
from fgsn_viewer.theme import apply_theme
from fgsn_viewer.views.autopsy_panel import AutopsyPanel
from fgsn_viewer.views.banner import Banner
from fgsn_viewer.views.compare_view import CompareView
from fgsn_viewer.views.evaluation_panel import EvaluationPanel
from fgsn_viewer.views.label_table import LabelTable
from fgsn_viewer.views.log_view import LogView
from fgsn_viewer.views.match_table import MatchTable
from fgsn_viewer.views.method_table import MethodTable
from fgsn_viewer.views.pair_header import PairHeader
from fgsn_viewer.views.pose_panel import PosePanel
from fgsn_viewer.views.scene3d_view import Scene3DView
from fgsn_viewer.views.scene_tree import SceneTree
from fgsn_viewer.views.selection_panel import SelectionPanel
from fgsn_viewer.views.start_page import StartPage
from fgsn_viewer.views.status_line import StatusLine

TITLE = "FGSN viewer"
DEFAULT_SIZE = (1600, 1000)
HINTS = {
    "opening": "Try a folder with scene.toml, a COLMAP model, a folder of images, or two photographs.",
    "loading": "The window works without labels; see the log.",
}


class MainWindow(QMainWindow):
    """Holds the passive views and connects their intents to the controller."""

    def __init__(self, controller: Controller, settings: Settings, demo: Path | None = None, log_file: str = ""):
        super().__init__()
        self.controller, self.settings, self._demo = controller, settings, demo
        self.shows_truth = True
        self._layout: QByteArray | None = None  # of the docks while the start page hides them
        self._starts = False
        self.setWindowTitle(TITLE)
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self._make_views(log_file)
        self.arrangement = DockArrangement(self, self._docked_views())
        self.docks = self.arrangement.docks
        self.asking, self.dialogs = Asking(self), Dialogs(self)
        self.actions_ = Actions(self)
        self.presenter = Presenter(controller, self)
        self._connect()
        self._show_recent()
        self.show_scene(None)
        self._restore()

    @property
    def has_demo(self) -> bool:
        return self._demo is not None and (self._demo / "scene.toml").is_file()

    def _make_views(self, log_file: str) -> None:
        self.start, self.banner, self.header = StartPage(), Banner(), PairHeader()
        self.compare, self.view3d, self.tree = CompareView(), Scene3DView(), SceneTree()
        self.labels, self.selection = LabelTable(), SelectionPanel()
        self.matches, self.pose, self.autopsy, self.log = MatchTable(), PosePanel(), AutopsyPanel(), LogView(log_file)
        self.methods, self.evaluation = MethodTable(), EvaluationPanel()
        self.status = StatusLine(self)
        self.setStatusBar(self.status)
        pair = QWidget()
        inside = QVBoxLayout(pair)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(0)
        inside.addWidget(self.header)
        inside.addWidget(self.compare, 1)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.start)
        self.pages.addWidget(pair)
        self.centre = QWidget()
        column = QVBoxLayout(self.centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.pages, 1)
        self.setCentralWidget(self.centre)
        self.start.set_demo(self.has_demo)

    def _docked_views(self) -> dict[str, QWidget]:
        """Every view in a dock, by its title, in the order of the menu."""
        return {
            "Scene": self.tree,
            "Labels": self.labels,
            "Selected": self.selection,
            "3D": self.view3d,
            "Matches": self.matches,
            "Pose": self.pose,
            "Autopsy": self.autopsy,
            "Methods": self.methods,
            "Evaluation": self.evaluation,
            "Log": self.log,
        }

    def _connect(self) -> None:
        control = self.controller
        self._connect_start()
        self._connect_selection()
        self._connect_localizing()
        control.opening.summarized.connect(self.dialogs.show_found)
        self.tree.query_chosen.connect(control.select_query)
        self.tree.reference_chosen.connect(control.select_reference)
        self.tree.thumbnails_wanted.connect(control.request_thumbnails)
        self.header.reference_chosen.connect(control.select_reference)
        self.header.step_requested.connect(control.step_query)
        self.pose.evidence_requested.connect(self.docks["Autopsy"].raise_)
        self.compare.labels_requested.connect(control.label_pair)
        self.compare.overlay_changed.connect(control.set_overlay)
        self.compare.mode_changed.connect(lambda mode: self.actions_.modes[mode].setChecked(True))
        control.thumbnail_found.connect(self.tree.set_thumbnail)
        control.noted.connect(self.log.add)
        control.failed.connect(self.show_failure)
        control.opened.connect(self._on_opened)
        control.networks_changed.connect(self.actions_.set_networks)
        control.tasks.progressed.connect(self._on_progress)
        control.tasks.finished.connect(self._on_finished)
        self.status.cancel_requested.connect(control.cancel)
        self.status.network_requested.connect(self.dialogs.show_networks)
        for signal in (control.state.query_changed, control.state.outcomes_changed, control.state.network_changed):
            signal.connect(lambda _value: self._update_actions())

    def _connect_start(self) -> None:
        self.start.demo_requested.connect(self.open_demo)
        self.start.scene_requested.connect(self.asking.scene)
        self.start.pair_requested.connect(self.asking.pair)
        self.start.recent_chosen.connect(self.open)

    def _connect_selection(self) -> None:
        control = self.controller
        self.compare.label_hovered.connect(control.highlight)
        self.compare.isolated_changed.connect(control.set_isolated)
        self.compare.match_clicked.connect(lambda index: control.select_match(self.presenter.match_of_drawn(index)))
        self.labels.label_hovered.connect(control.highlight)
        self.labels.label_clicked.connect(control.isolate)
        self.labels.marking_chosen.connect(control.mark_unstable)
        self.matches.match_chosen.connect(control.select_match)
        self.view3d.point_picked.connect(lambda point: control.select_point(None if point < 0 else point))
        self.view3d.camera_picked.connect(self._on_camera)

    def _connect_localizing(self) -> None:
        control = self.controller
        self.header.localize_requested.connect(control.localize)
        self.header.method_chosen.connect(control.localizing.select_method)
        self.header.run_requested.connect(control.localizing.run)
        self.methods.method_chosen.connect(control.localizing.select_method)
        self.matches.kinds_chosen.connect(control.show_kinds)
        self.compare.kinds_changed.connect(control.show_kinds)
        self.view3d.moment_chosen.connect(self._on_moment)
        self.evaluation.query_chosen.connect(control.open_row)
        self.evaluation.open_requested.connect(self.asking.evaluation)
        control.state.evaluation_changed.connect(self._on_evaluation)
        self.evaluation.close_requested.connect(control.localizing.close_evaluation)

    def _on_evaluation(self, found: object | None) -> None:
        """Give an evaluation that was opened room, also over the start page."""
        if found is not None and self.controller.state.scene is not None:
            self.arrangement.apply("Evaluate")

    def _on_moment(self, index: int) -> None:
        self.controller.show_moment(index)
        self.presenter.mark("pose", "truth")  # dragging had taken both away

    def _on_camera(self, index: int) -> None:
        name = self.presenter.image_of_camera(index)
        if name is not None:
            self.controller.select_reference(name)

    # opening

    def open(self, paths: Sequence[Path]) -> None:
        """Open a scene, or two photographs."""
        self.banner.hide()
        self.controller.open(tuple(paths))

    def look_at(self, paths: Sequence[Path]) -> None:
        """Read a scene and ask with its summary whether to open it; what is known or a pair of photographs just opens."""
        paths = tuple(Path(path) for path in paths)
        if len(paths) != 1 or tuple(path.absolute() for path in paths) in self.settings.recent():
            self.open(paths)
            return
        self.banner.hide()
        self.controller.opening.look_at(paths)

    def open_demo(self) -> None:
        if self.has_demo:
            self.open((self._demo,))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = _dropped_paths(event)
        event.acceptProposedAction()
        self.look_at(paths)

    def _on_opened(self, paths: Sequence[Path]) -> None:
        self.banner.hide()
        self.settings.add_recent(paths)
        self._show_recent()

    def _show_recent(self) -> None:
        recent = self.settings.recent()
        self.start.set_recent(recent)
        self.actions_.set_recent(recent)

    def clear_recent(self) -> None:
        self.settings.clear_recent()
        self._show_recent()

    # showing

    def show_scene(self, scene) -> None:
        """Show the start page alone, or the pair with the docks around it."""
        self.setWindowTitle(TITLE if scene is None else f"{scene.name} – {TITLE}")
        self.pages.setCurrentIndex(0 if scene is None else 1)
        if scene is None and not self._starts:
            self._layout = self.arrangement.wanted_state() if self._layout is None and self.isVisible() else self._layout
            for dock in self.docks.values():
                dock.hide()
        elif scene is not None and self._starts:
            if self._layout is None or not self.restoreState(self._layout):
                self.arrangement.reset()
            self._layout = None
        self._starts = scene is None
        self._update_actions()

    def show_network(self, text: str, doubt: str = "") -> None:
        asked = self.controller.network
        self.status.show_network(text or ("none" if asked is None else network_title(asked)), doubt)
        self.actions_.show_network()

    def show_failure(self, what: str, failure: Failure) -> None:
        self.banner.show_failure(failure.sentence, HINTS.get(what, ""), failure.details)
        self.start.set_busy("")

    def _on_progress(self, channel: str, progress) -> None:
        self.status.show_progress(channel, progress)
        if channel == "open":
            self.start.set_busy(progress.message[:1].upper() + progress.message[1:] + " …")
        self._update_actions()

    def _on_finished(self, channel: str) -> None:
        self.status.end_progress(channel)
        if channel == "open":
            self.start.set_busy("")
        self._update_actions()

    def _update_actions(self) -> None:
        state, control = self.controller.state, self.controller
        self.actions_.set_available(
            scene=state.scene is not None,
            has_map=state.scene is not None and state.scene.map is not None,
            localizable=control.can_localize_query(),
            waiting=bool(control.waiting_queries()),
            busy=not control.tasks.is_idle,
        )

    # acting

    def toggle_matches(self) -> None:
        layer = self.compare.canvas.matches
        self.compare.set_match_options(not layer.visible, display.OUTLIER in layer.shown_kinds, layer.limit)

    def toggle_truth(self) -> None:
        self.shows_truth = self.actions_.truth.isChecked()
        self.presenter.mark("truth")

    def blink(self) -> None:
        """Switch to blinking, or blink once."""
        self.compare.set_mode("blink")
        self.compare.canvas.blink()

    def isolate(self) -> None:
        state = self.controller.state
        self.controller.isolate(state.isolated if state.isolated is not None else state.highlight)

    def set_theme(self, name: str) -> None:
        self.settings.theme = name
        self.actions_.themes[name].setChecked(True)
        apply_theme(QApplication.instance(), name)

    def grab_picture(self) -> QImage:
        """The window as a person sees it, the 3D picture included."""
        picture = self.grab().toImage()
        canvas = self.view3d.canvas
        if canvas.isVisible() and canvas.window() is self and self.view3d.has_opengl:
            place = canvas.mapTo(self, canvas.rect().topLeft())
            painter = QPainter(picture)
            painter.drawImage(place, self.view3d.grab_image())
            painter.end()
        return picture

    def _restore(self) -> None:
        saved = self.settings.window()
        if saved is not None and self.restoreGeometry(saved[0]):
            self._layout = saved[1]
            return
        screen = QApplication.primaryScreen().availableGeometry().size()
        self.resize(min(DEFAULT_SIZE[0], screen.width()), min(DEFAULT_SIZE[1], screen.height()))

    def closeEvent(self, event: QCloseEvent) -> None:
        layout = self._layout if self._starts else self.arrangement.wanted_state()
        if layout is not None:
            self.settings.save_window(self.saveGeometry(), layout)
        self.settings.sync()
        self.controller.tasks.cancel()
        super().closeEvent(event)


def _dropped_paths(event: QDropEvent) -> list[Path]:
    """Local paths in a drop, in order."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
