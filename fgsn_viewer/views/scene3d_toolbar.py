"""The tools of the 3D view."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QSlider, QToolButton, QWidget

_ROOM_FOR_ALL, _ROOM_FOR_PRESETS, _ROOM_AT_LEAST = 640, 580, 400  # px


class Scene3DToolbar(QWidget):
    """Buttons and a slider; it tells what was chosen and shows what it is told, without telling it back."""

    colors_chosen = Signal(str)
    size_chosen = Signal(float)
    cameras_toggled = Signal(bool)
    preset_chosen = Signal(str)
    query_requested = Signal()
    through_requested = Signal()
    fit_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(8, 4, 8, 4)
        self._layout.setSpacing(2)
        self._caption = QLabel("Points", self)
        self._layout.addWidget(self._caption)
        self._layout.addSpacing(4)
        self._photo = self._button("Photo", "Colour points as the photographs show them", True)
        self._label = self._button("Labels", "Colour points by the majority label of their observations", True)
        self._group = QButtonGroup(self)
        for button in (self._photo, self._label):
            self._group.addButton(button)
        self._size = QSlider(Qt.Orientation.Horizontal, self)
        self._size.setRange(2, 20)
        self._size.setFixedWidth(80)
        self._size.setToolTip("Size of the points")
        self._layout.addWidget(self._size)
        self._layout.addSpacing(8)
        self._cameras = self._button("Cameras", "Show the cameras that made the map", True)
        self._layout.addStretch(1)
        self._presets = {
            name: self._button(name.capitalize(), f"Look from the {name}", False) for name in ("top", "front", "side")
        }
        self._query = self._button("Query", "Go behind the query's camera: the estimate, or the truth without one", False)
        self._through = self._button("Through", "Look through the query's camera", False)
        self._fit = self._button("Fit", "Show the whole scene (F)", False)
        self.setMinimumWidth(_ROOM_AT_LEAST)
        self._connect()
        self.show_colors("photo")
        self.show_size(3.0)
        self.show_cameras(True)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give up what can be missed where there is little room."""
        width = event.size().width()
        self._caption.setVisible(width >= _ROOM_FOR_ALL)
        for button in self._presets.values():
            button.setVisible(width >= _ROOM_FOR_PRESETS)
        self._size.setVisible(width >= _ROOM_FOR_PRESETS)

    def show_colors(self, kind: str) -> None:
        """Press the button of a colouring."""
        (self._label if kind == "label" else self._photo).setChecked(True)

    def show_size(self, size: float) -> None:
        """Move the slider."""
        self._size.blockSignals(True)
        self._size.setValue(round(size * 2))
        self._size.blockSignals(False)

    def show_cameras(self, visible: bool) -> None:
        """Press or release the cameras button."""
        self._cameras.setChecked(visible)

    def show_available(self, points: bool, labels: bool, cameras: bool, query: bool) -> None:
        """Enable what there is something to show for."""
        self._photo.setEnabled(points)
        self._size.setEnabled(points)
        self._label.setEnabled(points and labels)
        self._label.setToolTip(
            "Colour points by the majority label of their observations" if labels else "The map has no labels yet"
        )
        self._cameras.setEnabled(cameras)
        self._query.setEnabled(query)
        self._through.setEnabled(query)
        for button in (*self._presets.values(), self._fit):
            button.setEnabled(points or cameras)

    def _button(self, text: str, tip: str, checkable: bool) -> QToolButton:
        button = QToolButton(self)
        button.setText(text)
        button.setToolTip(tip)
        button.setCheckable(checkable)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._layout.addWidget(button)
        return button

    def _connect(self) -> None:
        self._photo.clicked.connect(lambda: self.colors_chosen.emit("photo"))
        self._label.clicked.connect(lambda: self.colors_chosen.emit("label"))
        self._size.valueChanged.connect(lambda value: self.size_chosen.emit(value / 2))
        self._cameras.clicked.connect(self.cameras_toggled)
        for name, button in self._presets.items():
            button.clicked.connect(lambda _checked=False, name=name: self.preset_chosen.emit(name))
        self._query.clicked.connect(self.query_requested)
        self._through.clicked.connect(self.through_requested)
        self._fit.clicked.connect(self.fit_requested)
