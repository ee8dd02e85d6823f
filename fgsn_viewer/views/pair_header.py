"""The line above the images: which reference is shown, which query, and the button that localizes it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QToolButton, QWidget

from core.records import ImageData
from fgsn_viewer.methods import STYLES
from fgsn_viewer.views.common import quiet_label
from fgsn_viewer.views.method_table import line_icon

MAX_REFERENCES = 500
SCOPES = {
    "methods": "This query by all methods",
    "condition": "All queries of this condition",
    "all": "All queries",
}


class PairHeader(QWidget):
    """Passive: ``set_references``, ``set_query``; choosing is a signal."""

    reference_chosen = Signal(str)
    step_requested = Signal(int)
    localize_requested = Signal()
    method_chosen = Signal(str)
    run_requested = Signal(str)  # one of SCOPES

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.references = QComboBox()
        self.references.setToolTip("The reference image on the left; the best by inliers comes first")
        self.references.setAccessibleName("Reference image")
        self.references.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.references.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.references.setMinimumContentsLength(12)
        self.references.activated.connect(self._on_activated)
        self._query = QLabel()
        self._query.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._previous = self._arrow("‹", "Previous query (Left)", -1)
        self._next = self._arrow("›", "Next query (Right)", 1)
        self.localize = QPushButton("Localize")
        self.localize.setToolTip("Estimate the pose of this query anew (R)")
        self.localize.clicked.connect(self.localize_requested)
        self.method = self._make_method()
        self.more = self._make_more()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(8)
        layout.addWidget(_caption("Reference"))
        layout.addWidget(self.references, 1)
        layout.addSpacing(8)
        layout.addWidget(_caption("Query"))
        layout.addWidget(self._query, 1)
        for widget in (self._previous, self._next):
            layout.addWidget(widget)
        layout.addSpacing(8)
        for widget in (self.method, self.localize, self.more):
            layout.addWidget(widget)

    def _make_method(self) -> QComboBox:
        box = QComboBox(toolTip="The method that localizes; its colour and line are those of its pose in 3D")
        box.setAccessibleName("Method")
        box.setIconSize(QSize(28, 12))
        for index, (name, style) in enumerate(STYLES.items()):
            box.addItem(line_icon(style.color, style.dashes), name)
            box.setItemData(index, style.help, Qt.ItemDataRole.ToolTipRole)
        box.activated.connect(lambda index: self.method_chosen.emit(box.itemText(index)))
        return box

    def _make_more(self) -> QToolButton:
        button = QToolButton(text="▾", objectName="menu", toolTip="Localize more than this query")
        button.setAccessibleName("Localize more")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for scope, text in SCOPES.items():
            menu.addAction(text).triggered.connect(lambda _checked=False, scope=scope: self.run_requested.emit(scope))
        button.setMenu(menu)
        return button

    def set_method(self, method: str) -> None:
        """Choose the method without saying so."""
        self.method.setCurrentText(method)

    def _arrow(self, text: str, tip: str, step: int) -> QToolButton:
        button = QToolButton(text=text, toolTip=tip)
        button.setAccessibleName(tip)
        button.clicked.connect(lambda: self.step_requested.emit(step))
        return button

    def set_references(self, ranked: Sequence[tuple[ImageData, int | None]], shown: ImageData | None) -> None:
        """List (image, inliers or None), best first, and select the one that is shown."""
        self.references.blockSignals(True)
        self.references.clear()
        for image, inliers in ranked[:MAX_REFERENCES]:
            count = "" if inliers is None else f"   ({inliers} inlier{'' if inliers == 1 else 's'})"
            self.references.addItem(f"{image.name}{count}", image.name)
        if shown is not None and self.references.findData(shown.name) < 0:
            self.references.addItem(shown.name, shown.name)
        self.references.setCurrentIndex(-1 if shown is None else self.references.findData(shown.name))
        self.references.setEnabled(len(ranked) > 1)
        self.references.blockSignals(False)

    def set_query(self, query: ImageData | None, can_localize: bool) -> None:
        """Name the query; the button is there only where a map can localize it."""
        self._query.setText("" if query is None else query.name)
        self._query.setToolTip("" if query is None else str(query.path))
        for widget in (self.method, self.localize, self.more):
            widget.setVisible(can_localize)

    def _on_activated(self, index: int) -> None:
        self.reference_chosen.emit(self.references.itemData(index))


def _caption(text: str) -> QLabel:
    label = quiet_label(text)
    label.setWordWrap(False)
    label.setAlignment(Qt.AlignmentFlag.AlignVCenter)
    return label
