"""The moments of a sequence that was followed: a slider over its queries."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QToolButton, QWidget

from fgsn_viewer.views.common import quiet_label, tabular_font

DEBOUNCE_MS = 100


class TrackSlider(QWidget):
    """Passive: ``set_moments``, ``set_moment``; dragging tells at once what to show, and soon after what to select."""

    moment_shown = Signal(int)  # while dragging
    moment_chosen = Signal(int)  # once the slider rests

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._captions: tuple[str, ...] = ()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Moment of the sequence")
        self.slider.setToolTip("Moment of the sequence: particles, estimate and the way so far")
        self.slider.valueChanged.connect(self._on_value)
        self._timer = QTimer(self, singleShot=True, interval=DEBOUNCE_MS)
        self._timer.timeout.connect(lambda: self.moment_chosen.emit(self.slider.value()))
        self._caption = quiet_label()
        self._caption.setWordWrap(False)
        self._caption.setFont(tabular_font(self._caption.font()))
        self._caption.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(8)
        layout.addWidget(QLabel("Moment"))
        layout.addWidget(self._button("‹", "The moment before", -1))
        layout.addWidget(self.slider, 1)
        layout.addWidget(self._button("›", "The moment after", 1))
        layout.addWidget(self._caption)
        self.set_moments(())

    def _button(self, text: str, tip: str, step: int) -> QToolButton:
        button = QToolButton(text=text, toolTip=tip)
        button.setAccessibleName(tip)
        button.clicked.connect(lambda: self.slider.setValue(self.slider.value() + step))
        return button

    def set_moments(self, captions: Sequence[str]) -> None:
        """Say what each moment is; without any the slider is not there."""
        self._captions = tuple(captions)
        self.setVisible(len(captions) > 0)
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(captions) - 1))
        self.slider.blockSignals(False)
        self._show_caption()

    def set_moment(self, index: int) -> None:
        """Move the slider without saying so."""
        if self._timer.isActive():
            return  # a person drags it: what they want comes in a moment
        self.slider.blockSignals(True)
        self.slider.setValue(index)
        self.slider.blockSignals(False)
        self._show_caption()

    @property
    def caption(self) -> str:
        return self._caption.text()

    def _on_value(self, value: int) -> None:
        self._show_caption()
        self._timer.start()
        self.moment_shown.emit(value)

    def _show_caption(self) -> None:
        index, count = self.slider.value(), len(self._captions)
        self._caption.setText(f"{index + 1} of {count} · {self._captions[index]}" if index < count else "")
