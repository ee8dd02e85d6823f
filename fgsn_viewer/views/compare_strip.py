"""The line under the images: the label under the mouse, its shares, the pixel, and what is drawn."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

from fgsn_viewer.views.common import tabular_font


class CompareStrip(QWidget):
    """One quiet line; numbers stand still while they change."""

    labels_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._swatch, self._label, self._matches, self._pixel = (QLabel(self) for _ in range(4))
        self._swatch.setFixedSize(14, 14)
        self._pixel.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._pixel.setFont(tabular_font(self._pixel.font()))
        self._pixel.setMinimumWidth(self._pixel.fontMetrics().horizontalAdvance("(00000.0, 00000.0) px "))
        self._pixel.setToolTip("Position under the mouse; the centre of the top-left pixel is (0, 0)")
        self._label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._label.setToolTip("Label id and name · share of the reference image | share of the query image")
        self._matches.setToolTip(
            "Inliers agree with the pose or the epipolar geometry; the best of each part of the image are drawn"
        )
        self._make_labels = QToolButton(self)
        self._make_labels.setText("Make labels")
        self._make_labels.clicked.connect(self.labels_requested)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(8)
        for widget in (self._swatch, self._make_labels):
            layout.addWidget(widget)
        layout.addWidget(self._label, 1)
        layout.addWidget(self._matches)
        layout.addWidget(self._pixel)
        self.setFixedHeight(self._make_labels.sizeHint().height() + 8)  # what it says must not move the images
        self._hint, self._missing, self._can_make, self._marked = "", "No labels yet", True, ""
        self.show_pixel(None)

    def text(self) -> str:
        """What the strip says about the label now."""
        return self._label.text()

    def set_missing(self, text: str, can_make: bool) -> None:
        """What to say where labels would be, and whether to offer to make them."""
        self._missing, self._can_make = text, can_make

    def set_marked(self, text: str) -> None:
        """What the marks in the images mean, or "" without any."""
        self._marked = text

    def show_state(self, has_image: bool, has_labels: bool, matches: str) -> None:
        """Say what is missing, and how many matches are drawn."""
        waiting = self._missing if has_image else ""
        told = self._marked or "Hover a region to see its label; click isolates it"
        self._hint = told if has_labels else waiting
        self._make_labels.setVisible(has_image and not has_labels and self._can_make)
        self._matches.setText(matches)

    def show_label(self, shown: tuple[int, str, tuple[int, int, int], list[float | None], bool] | None) -> None:
        """Show (id, name, colour, shares in reference and query, whether it is isolated), or the hint for None."""
        self._swatch.setVisible(shown is not None)
        if shown is None:
            self._label.setText(self._hint)
            return
        label, name, color, shares, isolated = shown
        self._swatch.setStyleSheet(f"background: rgb{color}; border-radius: 3px;")
        percent = " | ".join("–" if share is None else f"{share * 100:.1f} %" for share in shares)
        released = " · isolated, Esc releases" if isolated else ""
        self._label.setText(f"{label}{' ' + name if name else ''} · {percent}{released}")

    def show_pixel(self, position: tuple[float, float] | None) -> None:
        """Show an image position px, or nothing."""
        self._pixel.setText("" if position is None else f"({position[0]:.1f}, {position[1]:.1f}) px")
