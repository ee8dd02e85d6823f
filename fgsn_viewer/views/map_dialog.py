"""Build a map from photographs: which, with which poses, where to, how; and the map as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from fgsn_viewer.map_building import MapState, suggested_out
from fgsn_viewer.settings_spec import setting_specs
from fgsn_viewer.views.common import quiet_label, tabular_font
from fgsn_viewer.views.settings_form import SettingsForm, form_label, form_layout

LEAD = (
    "Finds the same points in many photographs, and from them where each was taken and where the points are. "
    "With known poses the map is in their frame and scale."
)
IMPORTANT = ("max_keypoints", "max_image_side")
_COUNTS = (("num_photos", "photographs"), ("num_placed", "placed"), ("num_points", "points"))
_LEFT, _SCROLL_ROOM = 480, 16


class MapDialog(QDialog):
    """Passive: ``set_photos``, ``set_networks``, ``set_config``, ``show_state``; it does not block."""

    start_requested = Signal(str, str, str, object, object)  # photos, out, poses, network or None, values by name
    cancel_requested = Signal()
    open_requested = Signal(object)  # Path of the map
    photos_wanted = Signal()
    poses_wanted = Signal()
    out_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle("Build a map from photographs")
        self.resize(820, 520)
        self._state, self._config = MapState(), None
        self._suggested = ""
        self.photos, self.poses, self.out = QLineEdit(), QLineEdit(), QLineEdit()
        self.poses.setPlaceholderText("estimate them")
        self.network, self.form = QComboBox(), SettingsForm()
        self.network.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._numbers = {field: QLabel("–", objectName="title") for field, _ in _COUNTS}
        self._message, self._problem = quiet_label(), quiet_label("", "bad")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setFixedHeight(8)
        self._make_buttons()
        self.photos.textChanged.connect(self._on_photos)
        for editor in (self.photos, self.poses, self.out):
            editor.textChanged.connect(lambda _text: self._show_problem(""))
        self.form.changed.connect(lambda: self._show_problem(""))
        row = QHBoxLayout()
        row.setSpacing(24)
        row.addWidget(self._make_left())
        row.addLayout(self._make_right(), 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(16)
        column.addWidget(quiet_label(LEAD))
        column.addLayout(row, 1)
        column.addLayout(self._button_row())
        self.show_state(self._state)

    def _make_buttons(self) -> None:
        self.start = QPushButton("Build map", objectName="primary", default=True)
        self.stop = QPushButton("Stop", toolTip="Stop now; nothing is written")
        self.open = QPushButton("Open map", objectName="primary")
        self.leave = QPushButton("Close", toolTip="Building goes on in the background")
        self.start.clicked.connect(self._on_start)
        self.stop.clicked.connect(self.cancel_requested)
        self.open.clicked.connect(lambda: self.open_requested.emit(self._state.out))
        self.leave.clicked.connect(self.close)
        for button in (self.start, self.stop, self.open, self.leave):
            button.setMinimumSize(max(96, button.sizeHint().width() + 24), 28)
            button.setAutoDefault(button is self.start)

    def _button_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        for button in (self.leave, self.stop, self.start, self.open):
            row.addWidget(button)
        return row

    def _make_left(self) -> QWidget:
        form = form_layout()
        form.setContentsMargins(0, 0, _SCROLL_ROOM, 0)
        rows = (
            ("Photographs", self.photos, self.photos_wanted, "A folder; the folders in it are conditions"),
            (
                "Known poses",
                self.poses,
                self.poses_wanted,
                "A COLMAP model, or lines of `name qw qx qy qz tx ty tz`",
            ),
            ("Map folder", self.out, self.out_wanted, "A new or empty folder"),
        )
        self._places = [self.photos, self.poses, self.out, self.network]
        for title, editor, wanted, tip in rows:
            form.addRow(form_label(title), self._with_button(editor, wanted, title, tip))
        self.network.setToolTip("The network that labels the map's points, so that methods can compare labels")
        form.addRow(form_label("Labels of"), self.network)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(16)
        self.form.setContentsMargins(0, 0, _SCROLL_ROOM, 0)
        column.addLayout(form)
        column.addWidget(self.form, 1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFixedWidth(_LEFT)
        scroll.setWidget(content)
        return scroll

    def _with_button(self, editor: QLineEdit, wanted: Signal, title: str, tip: str) -> QWidget:
        editor.setToolTip(tip)
        editor.setAccessibleName(title)
        button = QToolButton(text="…", toolTip=f"Choose: {title.lower()}")
        button.setFixedWidth(28)
        button.clicked.connect(wanted)
        self._places.append(button)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(editor, 1)
        row.addWidget(button)
        holder = QWidget()
        holder.setLayout(row)
        return holder

    def _make_right(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(4)
        for field, noun in _COUNTS:
            number = self._numbers[field]
            number.setIndent(0)
            number.setFont(tabular_font(self.font(), scale=2.2, bold=True))
            number.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            column.addWidget(number)
            column.addWidget(quiet_label(noun))
            column.addSpacing(12)
        column.addStretch(1)
        for widget in (self._problem, self._message, self._bar):
            column.addWidget(widget)
        return column

    def set_photos(self, folder: Path) -> None:
        """Propose a folder of photographs, and a place for their map."""
        self.photos.setText(str(folder))

    def set_networks(self, networks: Sequence[tuple[str, Any]], chosen: Any) -> None:
        """List the networks (title, name or file) that can label the map."""
        self.network.clear()
        for title, network in networks:
            self.network.addItem(title, network)
        self.network.addItem("None: no labels", None)
        asked = [network for _, network in networks]
        self.network.setCurrentIndex(asked.index(chosen) if chosen in asked else len(asked))

    def set_config(self, config: Any) -> None:
        """Make the form of the settings."""
        if self._config is None:
            self._config = config
            self.form.set_specs(setting_specs(config), IMPORTANT)
            self.show_state(self._state)

    def show_state(self, state: MapState) -> None:
        """Show how far the map is, and offer what can be done now."""
        self._state = state
        running, done = state.phase == "running", state.phase == "done"
        for field, label in self._numbers.items():
            value = getattr(state, field)
            label.setText("–" if value is None else f"{value:,}")
        self._message.setText(state.message)
        self._show_problem(state.problem)
        self._bar.setVisible(running)
        self._bar.setRange(0, 0 if state.fraction is None else 1000)
        self._bar.setValue(0 if state.fraction is None else round(1000 * state.fraction))
        for widget in self._places:
            widget.setEnabled(not running)
        self.form.set_enabled(not running)
        self.stop.setVisible(running)
        self.start.setVisible(not running)
        self.start.setText("Build another" if done else "Build map")
        self.start.setEnabled(self._config is not None)
        self.open.setVisible(done)

    @property
    def problem(self) -> str:
        """What is wrong, or ""."""
        return self._problem.text()

    def counts(self) -> tuple[str, ...]:
        """The numbers as they are shown: photographs, placed, points."""
        return tuple(self._numbers[field].text() for field, _ in _COUNTS)

    def _show_problem(self, text: str) -> None:
        self._problem.setText(text)
        self._problem.setVisible(bool(text))

    def _on_photos(self, text: str) -> None:
        """The place for the map follows the photographs, until a person chooses one."""
        if text and self.out.text() in ("", self._suggested):
            self._suggested = str(suggested_out(Path(text)))
            self.out.setText(self._suggested)

    def _on_start(self) -> None:
        try:
            values = self.form.values()
        except ValueError as error:
            self._show_problem(str(error))
            return
        before = {spec.path: spec.value for spec in setting_specs(self._config)}
        changed = {path: value for path, value in values.items() if value != before[path]}
        typed = self.photos.text(), self.out.text(), self.poses.text()
        self.start_requested.emit(*typed, self.network.currentData(), changed)
