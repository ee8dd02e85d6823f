"""Where the docks stand: at first, in the layouts of the menu, on small screens, and without a map."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QByteArray, Qt, QTimer
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QWidget

LOW, NARROW = 860, 1400  # below this height the 3D view shares its place with the tables
_LEFT, _RIGHT = ("Scene",), ("Labels", "Selected")
_TABLES = ("Matches", "Pose", "Autopsy", "Methods", "Evaluation", "Log")
_COMPARE = frozenset({"Scene", "Labels", "Selected"})


class DockArrangement:
    """Makes one dock a view, by its title, and moves them."""

    def __init__(self, window: QMainWindow, views: Mapping[str, QWidget]):
        self._window = window
        self._hid_3d = False
        self.docks: dict[str, QDockWidget] = {}
        for title, view in views.items():
            dock = QDockWidget(title, window)
            dock.setObjectName(title)
            dock.setWidget(view)
            window.addDockWidget(_area(title), dock)
            self.docks[title] = dock
        area = Qt.DockWidgetArea
        window.setCorner(Qt.Corner.BottomLeftCorner, area.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, area.RightDockWidgetArea)
        window.setTabPosition(area.AllDockWidgetAreas, QTabWidget.TabPosition.North)

    def apply(self, name: str) -> None:
        """Arrange the docks for a purpose: Compare, Localize, Evaluate, 3D or Present."""
        shown = {
            "Compare": _COMPARE,
            "Localize": frozenset(self.docks),
            "Evaluate": frozenset({"Scene", "Evaluation"}),
            "3D": frozenset({"Scene", "Selected", "3D"}),
            "Present": frozenset({"3D"}),
        }[name]
        for title, dock in self.docks.items():
            dock.setFloating(False)
            dock.setVisible(title in shown)
        QTimer.singleShot(0, lambda: self._size(0.6 if name == "3D" else 0.28))
        if name == "Evaluate":
            docks, height = [self.docks["Evaluation"]], int(self._window.height() * 0.55)
            QTimer.singleShot(0, lambda: self._window.resizeDocks(docks, [height], Qt.Orientation.Vertical))

    def reset(self) -> None:
        """Put every dock where it was at first; small windows get tabs in place of stacked docks."""
        docks = self.docks
        for title, dock in docks.items():
            dock.setFloating(False)
            dock.hide()  # side by side they would widen the window before they become tabs
            self._window.addDockWidget(_area(title), dock)
        low = self._window.height() < LOW
        self._window.splitDockWidget(docks["Labels"], docks["Selected"], Qt.Orientation.Vertical)
        if not low:
            self._window.splitDockWidget(docks["3D"], docks["Matches"], Qt.Orientation.Vertical)
        previous = docks["3D"] if low else docks["Matches"]
        for title in _TABLES[0 if low else 1 :]:
            self._window.tabifyDockWidget(previous, docks[title])
            previous = docks[title]
        for dock in docks.values():
            dock.show()
        (docks["3D"] if low else docks["Pose"]).raise_()
        QTimer.singleShot(0, lambda: self._size(0.28))

    def offer_3d(self, has_map: bool) -> None:
        """Leave the room to the images where there is no map to show; give it back where there is one."""
        dock = self.docks["3D"]
        if has_map and self._hid_3d:
            dock.show()
        self._hid_3d = not has_map and (self._hid_3d or not dock.isHidden())
        if self._hid_3d:
            dock.hide()

    def wanted_state(self) -> QByteArray:
        """The docks as the user wants them: with the 3D view where only a missing map hid it."""
        if self._hid_3d:
            self.docks["3D"].show()
            self._hid_3d = False
        return self._window.saveState()

    def _size(self, share_3d: float) -> None:
        docks, height = self.docks, self._window.height()
        horizontal, vertical = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        widths = [264, 264] if self._window.width() < NARROW else [288, 276]
        self._window.resizeDocks([docks["Scene"], docks["Labels"]], widths, horizontal)
        if height < LOW:
            self._window.resizeDocks([docks["3D"]], [int(height * 0.36)], vertical)
        else:
            shares = [int(height * share_3d), int(height * 0.22)]
            self._window.resizeDocks([docks["3D"], docks["Matches"]], shares, vertical)
        self._window.resizeDocks([docks["Labels"], docks["Selected"]], [int(height * 0.68), int(height * 0.32)], vertical)


def _area(title: str) -> Qt.DockWidgetArea:
    area = Qt.DockWidgetArea
    if title in _LEFT:
        return area.LeftDockWidgetArea
    return area.RightDockWidgetArea if title in _RIGHT else area.BottomDockWidgetArea
