"""Training on the open scene: what it learns from, the settings, the losses as they fall, and what came out."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from fgsn_viewer.settings_spec import setting_specs, with_values
from fgsn_viewer.training_run import TrainingState
from fgsn_viewer.views.common import quiet_label, tabular_font
from fgsn_viewer.views.loss_plot import LossPlot
from fgsn_viewer.views.settings_form import SettingsForm, form_label, form_layout

IMPORTANT = (
    "clusters.num_clusters",
    "optimization.iterations",
    "optimization.batch_size",
    "optimization.learning_rate",
    "augmentation.crop",
    "correspondence_weight",
)


SCROLL_ROOM = 16  # px


class TrainingDialog(QDialog):
    """Passive: ``set_networks``, ``set_presets``, ``show_state``; what a person wants are signals. It does not block."""

    start_requested = Signal(str, str, object)  # network, preset, values by path
    resume_requested = Signal()
    cancel_requested = Signal()
    use_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle("Train on this scene")
        self.resize(940, 600)
        self._presets: object | None = None
        self._state = TrainingState()
        self._title, self._facts = QLabel(objectName="title"), quiet_label()
        self._title.setIndent(0)
        self._title.setFont(tabular_font(self.font(), scale=1.3, bold=True))
        self.network, self.preset, self.form = QComboBox(), QComboBox(), SettingsForm()
        self.preset.currentTextChanged.connect(self._on_preset)
        self.form.changed.connect(lambda: self._show_problem(""))
        self.plot = LossPlot()
        self._message, self._problem = QLabel(), quiet_label("", "bad")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setFixedHeight(8)
        self._make_buttons()
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 16, 16, 16)
        row.setSpacing(24)
        row.addWidget(self._make_left(), 0)
        row.addLayout(self._make_right(), 1)
        self.show_state(self._state)

    def _make_buttons(self) -> None:
        self.start = QPushButton("Start", objectName="primary")
        self.resume = QPushButton("Resume", toolTip="Go on where the last run of this scene stopped, with its settings")
        self.stop = QPushButton("Stop", toolTip="Stop now; what was learnt is kept and can go on later")
        self.use = QPushButton("Use this network", toolTip="Label with the network that came out")
        self.leave = QPushButton("Close", toolTip="The training goes on in the background")
        self.start.clicked.connect(self._on_start)
        self.resume.clicked.connect(self.resume_requested)
        self.stop.clicked.connect(self.cancel_requested)
        self.use.clicked.connect(self.use_requested)
        self.leave.clicked.connect(self.close)
        for button in (self.start, self.resume, self.stop, self.use, self.leave):
            button.setMinimumSize(max(88, button.sizeHint().width() + 24), 28)

    def _make_left(self) -> QWidget:
        left = QWidget()
        left.setFixedWidth(360)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        choices = form_layout()
        choices.setContentsMargins(0, 0, SCROLL_ROOM, 0)
        choices.addRow(form_label("Start from"), self.network)
        choices.addRow(form_label("Settings"), self.preset)
        self.form.setContentsMargins(0, 0, SCROLL_ROOM, 0)
        for box, tip in (
            (self.network, "The network whose features are clustered; its labels are made anew"),
            (self.preset, "What the settings below begin with"),
        ):
            box.setToolTip(tip)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.form)
        for widget in (self._title, self._facts):
            column.addWidget(widget)
        column.addSpacing(8)
        column.addLayout(choices)
        column.addWidget(scroll, 1)
        return left

    def _make_right(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.plot, 1)
        column.addWidget(self._problem)
        column.addWidget(self._message)
        column.addWidget(self._bar)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.use)
        buttons.addStretch(1)
        for button in (self.stop, self.resume, self.start, self.leave):
            buttons.addWidget(button)
        column.addSpacing(4)
        column.addLayout(buttons)
        return column

    def set_networks(self, networks: Sequence[tuple[str, str]], chosen: str) -> None:
        """List the networks (title, name or file) that training can start from."""
        self.network.clear()
        for title, network in networks:
            self.network.addItem(title, network)
        self.network.setCurrentIndex(max(0, self.network.findData(chosen)))

    def set_presets(self, presets: object) -> None:
        """Offer configs by name, ``presets.configs``, with ``presets.choices`` for some of their settings."""
        self._presets = presets
        self.preset.blockSignals(True)
        self.preset.clear()
        self.preset.addItems(list(presets.configs))
        self.preset.blockSignals(False)
        self._on_preset(self.preset.currentText())

    def show_state(self, state: TrainingState) -> None:
        """Show how far the training is, and offer what can be done now."""
        self._state = state
        running = state.phase == "running"
        self._title.setText(state.scene)
        self._facts.setText(state.facts or ("" if state.problem else state.message))
        self._show_problem(state.problem)
        self._message.setText(_progress_line(state))
        self._bar.setVisible(state.phase in ("running", "preparing"))
        self._bar.setRange(0, 0 if state.fraction is None else 1000)
        self._bar.setValue(0 if state.fraction is None else round(1000 * state.fraction))
        self.plot.set_curves(state.curves)
        for widget in (self.network, self.preset):
            widget.setEnabled(state.can_start)
        self.form.set_enabled(state.can_start)
        self.stop.setVisible(running)
        self.start.setVisible(not running)
        self.start.setEnabled(state.can_start and self._presets is not None)
        self.start.setText("Start anew" if state.can_resume or state.result is not None else "Start")
        self.resume.setVisible(state.can_resume)
        self.use.setVisible(state.result is not None)

    @property
    def problem(self) -> str:
        """What is wrong, or ""."""
        return self._problem.text()

    def _show_problem(self, text: str) -> None:
        self._problem.setText(text)
        self._problem.setVisible(bool(text))

    def _on_preset(self, name: str) -> None:
        if self._presets is not None and name in self._presets.configs:
            config = self._presets.configs[name]
            self.form.set_specs(setting_specs(config, self._presets.choices), IMPORTANT)
            self.form.set_enabled(self._state.can_start)

    def _on_start(self) -> None:
        config = self._presets.configs[self.preset.currentText()]
        try:
            values = self.form.values()
            with_values(config, values)
        except ValueError as error:
            self._show_problem(str(error))
            return
        before = {spec.path: spec.value for spec in setting_specs(config, self._presets.choices)}
        changed = {path: value for path, value in values.items() if value != before[path]}
        self.start_requested.emit(self.network.currentData(), self.preset.currentText(), changed)


def _progress_line(state: TrainingState) -> str:
    """What runs, how fast, and how long it will take."""
    parts = [state.message[:1].upper() + state.message[1:]] if state.phase != "preparing" else []
    if state.phase == "running" and state.images_per_second:
        parts.append(f"{state.images_per_second:.1f} images/s")
    if state.phase == "running" and state.seconds_left is not None and "left" not in state.message:
        parts.append(f"{duration(state.seconds_left)} left")
    return " · ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Seconds in the words of a clock: "40 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
