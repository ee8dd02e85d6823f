"""The menus: every action once, with its shortcut; the list of keys is made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu

from fgsn_viewer.labelling import network_title
from fgsn_viewer.methods import STYLES
from fgsn_viewer.theme import THEMES
from fgsn_viewer.views.start_page import recent_title

if TYPE_CHECKING:
    from fgsn_viewer.main_window import MainWindow

MODES = {"side": "Side by side", "swipe": "Swipe", "overlay": "Both at half", "blink": "Blink", "lens": "Lens"}
OPACITY_STEP = 0.1


class Actions(QObject):
    """Makes the menus of the window and keeps the actions that change."""

    def __init__(self, window: MainWindow):
        super().__init__(window)
        self._window = window
        self.all: list[QAction] = []
        self._menu_of: dict[QAction, str] = {}
        bar = window.menuBar()
        self._file_menu(bar.addMenu("&File"))
        self._scene_menu(bar.addMenu("&Scene"))
        self._view_menu(bar.addMenu("&View"))
        self._labels_menu(bar.addMenu("&Labels"))
        self._localize_menu(bar.addMenu("L&ocalize"))
        self._help_menu(bar.addMenu("&Help"))

    def _add(
        self, menu: QMenu, text: str, run: Callable[[], object], *keys: str, tip: str = "", centre: bool = False
    ) -> QAction:
        """Add an action; ``centre`` limits its keys to the images, so that lists keep their arrows."""
        action = menu.addAction(text)
        action.triggered.connect(lambda _checked=False: run())
        action.setShortcuts([QKeySequence(key) for key in keys])
        if tip:
            action.setToolTip(tip)
            action.setStatusTip(tip)
        if centre:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            self._window.centre.addAction(action)
        self.all.append(action)
        self._menu_of[action] = menu.title().replace("&", "")
        return action

    def _choice(self, menu: QMenu, group: QActionGroup, text: str, run: Callable[[], object], *keys: str) -> QAction:
        action = self._add(menu, text, run, *keys)
        action.setCheckable(True)
        group.addAction(action)
        return action

    def _file_menu(self, menu: QMenu) -> None:
        window = self._window
        self._add(
            menu, "Open &scene…", window.asking.scene, "Ctrl+O", tip="A folder of any layout: a benchmark, a model, photographs"
        )
        self._add(menu, "Open scene &file…", window.asking.scene_file, tip="scene.toml, an NVM, Bundler or COLMAP model")
        self._add(menu, "Open two &photographs…", window.asking.pair, "Ctrl+Shift+O")
        self.recent = menu.addMenu("&Recent")
        self.demo = self._add(menu, "Open &demo", window.open_demo)
        self.demo.setEnabled(window.has_demo)
        menu.addSeparator()
        self.export = self._add(
            menu, "&Export view…", window.asking.export, "Ctrl+E", tip="Save a picture of the window or a view"
        )
        self._add(menu, "Clear &cache…", window.dialogs.clear_cache, tip="Labels and thumbnails that are kept on disk")
        menu.addSeparator()
        self._add(menu, "&Quit", window.close, "Ctrl+Q")

    def _scene_menu(self, menu: QMenu) -> None:
        window, control = self._window, self._window.controller
        self.scene_actions = [
            self._add(menu, "&Next query", lambda: control.step_query(1), "Right", centre=True),
            self._add(menu, "&Previous query", lambda: control.step_query(-1), "Left", centre=True),
            self._add(menu, "Next &condition", lambda: control.step_condition(1), "Down", centre=True),
            self._add(menu, "Previous c&ondition", lambda: control.step_condition(-1), "Up", centre=True),
        ]
        menu.addSeparator()
        self._add(
            menu, "&Build map from photos…", window.dialogs.show_map, "Ctrl+B", tip="Poses and points from photographs alone"
        )
        self.summary = self._add(
            menu, "&Summary…", window.dialogs.show_summary, "Ctrl+I", tip="What the scene holds, and what is missing"
        )
        self.scene_actions.append(self.summary)
        self.scene_actions.append(self._add(menu, "&Close scene", control.close_scene, "Ctrl+W"))

    def _view_menu(self, menu: QMenu) -> None:
        window = self._window
        modes = menu.addMenu("&Compare")
        self.modes = {}
        group = QActionGroup(self)
        for number, (mode, text) in enumerate(MODES.items(), start=1):
            run = lambda mode=mode: window.compare.set_mode(mode)  # noqa: E731
            self.modes[mode] = self._choice(modes, group, text, run, str(number))
        self.modes["side"].setChecked(True)
        self._add(modes, "&Blink once", window.blink, "Space", centre=True)
        self._add(menu, "&Fit images", window.compare.fit, "F", centre=True)
        self.show_matches = self._add(menu, "Draw &matches", window.toggle_matches, "M")
        self.truth = self._add(menu, "Show &true pose", window.toggle_truth, "T")
        self.truth.setCheckable(True)
        self.truth.setChecked(True)
        menu.addSeparator()
        self.docks = menu.addMenu("&Panels")
        for dock in window.docks.values():
            self.docks.addAction(dock.toggleViewAction())
        layouts = menu.addMenu("&Layouts")
        for name in ("Compare", "Localize", "Evaluate", "3D", "Present"):
            self._add(layouts, name, lambda name=name: window.arrangement.apply(name))
        layouts.addSeparator()
        self._add(layouts, "&Reset", window.arrangement.reset)
        self._theme_menu(menu.addMenu("&Theme"))

    def _theme_menu(self, menu: QMenu) -> None:
        group = QActionGroup(self)
        self.themes = {
            name: self._choice(menu, group, name.capitalize(), lambda name=name: self._window.set_theme(name))
            for name in THEMES
        }
        self.themes[self._window.settings.theme].setChecked(True)

    def _labels_menu(self, menu: QMenu) -> None:
        window, control = self._window, self._window.controller
        self.network = menu.addMenu("&Network")
        self._network_group = QActionGroup(self)
        self.set_networks(())
        self._add(
            menu, "Find &networks…", window.dialogs.show_networks, "Ctrl+N", tip="What is at hand, and whether it fits the map"
        )
        self.label_pair = self._add(menu, "Label this &pair", control.label_pair, tip="Label both images with the network")
        self.label_map = self._add(
            menu, "Label the ma&p", control.label_map, tip="Label the map's points with the network, for this session"
        )
        self.train = self._add(
            menu, "&Train on this scene…", window.dialogs.show_training, tip="Learn labels that hold between its conditions"
        )
        menu.addSeparator()
        for mode, text, key in (
            ("fill", "&Fill labels", "L"),
            ("outline", "&Outline labels", "O"),
            ("off", "&Hide labels", "H"),
        ):
            self._add(menu, text, lambda mode=mode: control.set_overlay(mode=mode), key)
        self._add(menu, "&More opaque", lambda: self._change_opacity(OPACITY_STEP), "]")
        self._add(menu, "&Less opaque", lambda: self._change_opacity(-OPACITY_STEP), "[")
        menu.addSeparator()
        self._add(
            menu, "Mark the &worst labels", control.mark_unstable, "U", tip="Hatch the labels that agree least in both images"
        )
        self._add(menu, "&Isolate label", self._window.isolate, "I", tip="Show the label under the cursor alone, or all again")

    def _change_opacity(self, step: float) -> None:
        overlay = self._window.controller.state.overlay
        self._window.controller.set_overlay(opacity=overlay.opacity + step)

    def _localize_menu(self, menu: QMenu) -> None:
        control = self._window.controller
        self.run = self._add(menu, "&Run this query", control.localize, "R", tip="Estimate the pose of the query anew")
        self.run_all = self._add(
            menu, "Run &all queries", control.localize_all, "Ctrl+R", tip="In the background; marks appear as results come"
        )
        self.run_condition = self._add(
            menu, "Run this &condition", lambda: control.localizing.run("condition"), "Shift+R", tip="In the background"
        )
        self.run_methods = self._add(
            menu, "Run all &methods on this query", lambda: control.localizing.run("methods"), "Alt+R", tip="In the background"
        )
        menu.addSeparator()
        self._method_menu(menu.addMenu("M&ethod"))
        self.open_evaluation = self._add(
            menu, "Open &evaluation…", self._window.asking.evaluation, tip="Show the result folder of an evaluation"
        )
        menu.addSeparator()
        self.cancel = self._add(menu, "&Cancel", control.cancel, "Ctrl+.", tip="Stop what is running; what is shown stays")

    def _method_menu(self, menu: QMenu) -> None:
        group, control = QActionGroup(self), self._window.controller
        self.methods = {
            name: self._choice(menu, group, name, lambda name=name: control.localizing.select_method(name)) for name in STYLES
        }

    def _help_menu(self, menu: QMenu) -> None:
        self._add(menu, "&Find an action…", self._window.dialogs.show_palette, "Ctrl+K")
        self._add(menu, "&Keys", self._window.dialogs.show_keys, "?")
        self._add(menu, "&About", self._window.dialogs.show_about)

    def set_networks(self, names: Sequence[str | Path]) -> None:
        """List the networks that are at hand, by name or file, "none", and a question for a file."""
        self.network.clear()
        for action in self._network_group.actions():
            self._network_group.removeAction(action)
        control = self._window.controller
        for name in names:
            self._network_choice(network_title(name), lambda name=name: control.select_network(name))
        if not names:
            self.network.addAction("No network is installed").setEnabled(False)
        self._network_choice("None: no labels", lambda: control.select_network(""))
        self.network.addSeparator()
        self.network.addAction("Open network file…").triggered.connect(lambda _checked=False: self._window.asking.network())
        self.show_network()

    def _network_choice(self, text: str, run: Callable[[], object]) -> None:
        action = self.network.addAction(text)
        action.setCheckable(True)
        action.triggered.connect(lambda _checked=False: run())
        self._network_group.addAction(action)

    def show_network(self) -> None:
        """Tick the network that labels are asked from."""
        asked = self._window.controller.network
        wanted = "None: no labels" if asked is None else network_title(asked)
        for action in self._network_group.actions():
            action.setChecked(action.text() == wanted)

    def set_recent(self, entries: Sequence[tuple[Path, ...]]) -> None:
        """List what was opened before."""
        self.recent.clear()
        for paths in entries:
            self.recent.addAction(recent_title(paths)).triggered.connect(lambda _c=False, p=paths: self._window.open(p))
        self.recent.addSeparator()
        self.recent.addAction("Clear list").triggered.connect(lambda _checked=False: self._window.clear_recent())
        self.recent.setEnabled(bool(entries))

    def set_available(self, scene: bool, has_map: bool, localizable: bool, waiting: bool, busy: bool) -> None:
        """Enable what can be done now."""
        for action in (*self.scene_actions, self.label_pair, self.train, self.open_evaluation):
            action.setEnabled(scene)
        self.label_map.setEnabled(has_map)
        for action in (self.run, self.run_condition, self.run_methods):
            action.setEnabled(localizable)
        self.run_all.setEnabled(waiting)
        self.cancel.setEnabled(busy)

    def titled(self) -> list[tuple[str, QAction]]:
        """Every action with its menu before its name."""
        return [(f"{self._menu_of[action]}: {action.text().replace('&', '')}", action) for action in self.all]

    def key_list(self) -> list[tuple[str, str]]:
        """Every action that has a key: (keys, what it does)."""
        named = [(action.shortcuts(), action.text().replace("&", "").rstrip("…")) for action in self.all]
        native = QKeySequence.SequenceFormat.NativeText
        return [(", ".join(key.toString(native) for key in keys), text) for keys, text in named if keys]
