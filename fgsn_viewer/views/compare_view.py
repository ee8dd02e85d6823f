"""Reference and query beside each other: labels, matches, and what is under the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.geometry import Array
from core.records import LabelMap
from fgsn_viewer import display, palette
from fgsn_viewer.views.compare_canvas import CompareCanvas
from fgsn_viewer.views.compare_strip import CompareStrip
from fgsn_viewer.views.compare_toolbar import CompareToolbar
from fgsn_viewer.views.view_transform import ViewTransform


class CompareView(QWidget):
    """A passive view: setters show records, signals tell intents.

    Hovering highlights and clicking isolates at once, here; the signals let the other views follow. Labels are ids, and
    -1 stands for none. Setters emit nothing.
    """

    label_hovered = Signal(int)
    label_clicked = Signal(int)
    isolated_changed = Signal(int)
    match_clicked = Signal(int)
    pixel_hovered = Signal(str, float, float)  # "reference" or "query" ("" when the mouse left), px
    overlay_changed = Signal(str, float)  # mode, opacity, chosen in the toolbar
    mode_changed = Signal(str)
    kinds_changed = Signal(object)  # frozenset of kinds, chosen in the toolbar
    labels_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = CompareCanvas(self)
        self.toolbar = CompareToolbar(self)
        self.strip = CompareStrip(self)
        self._labels: tuple[LabelMap | None, LabelMap | None] = (None, None)
        self._shares: tuple[Array | None, Array | None] = (None, None)
        self._colors: Array = palette.label_colors(0)
        self._colorblind_safe = False
        self._before_click: int | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for widget, stretch in ((self.toolbar, 0), (self.canvas, 1), (self.strip, 0)):
            layout.addWidget(widget, stretch)
        self._connect()
        self._refresh()

    def _connect(self) -> None:
        self.canvas.hovered.connect(self._on_hover)
        self.canvas.clicked.connect(self._on_click)
        self.canvas.match_clicked.connect(self._on_match)
        self.canvas.double_clicked.connect(self._on_double_click)
        self.canvas.shown_changed.connect(self._refresh)
        self.toolbar.mode_chosen.connect(self._on_mode)
        self.toolbar.overlay_chosen.connect(self._on_overlay)
        self.toolbar.matches_chosen.connect(self._on_matches)
        self.toolbar.fit_requested.connect(self.fit)
        self.strip.labels_requested.connect(self.labels_requested)

    def set_conditions(self, reference: str, query: str) -> None:
        """Give each header the spot of its image's condition; "": none is known."""
        self.canvas.panes["reference"].condition, self.canvas.panes["query"].condition = reference, query
        self.canvas.update()

    def set_images(
        self,
        reference: Array | None,
        query: Array | None,
        ref_title: str = "",
        query_title: str = "",
        ref_note: str = "",
        query_note: str = "",
    ) -> None:
        """Show two photographs (H, W, 3) u8 RGB; None shows a grey card with the title and the note (why it is missing).

        Labels and matches belong to the images and go with the old ones; the framing stays.
        """
        self.set_conditions("", "")
        self.canvas.panes["reference"].set_image(reference, ref_title, ref_note)
        self.canvas.panes["query"].set_image(query, query_title, query_note)
        self.canvas.matches.set_matches(None, None, None, None)
        self.set_marks(None, None)
        self.set_labels(None, None)

    def set_labels(self, reference: LabelMap | None, query: LabelMap | None) -> None:
        """Lay label maps over the photographs; None for one that is not there (yet)."""
        self._labels = (reference, query)
        self._shares = tuple(None if labels is None else labels.shares() for labels in self._labels)
        known = [labels for labels in self._labels if labels is not None]
        vocabulary = known[0].vocabulary if known else ""
        count = max((labels.num_labels for labels in known), default=0)
        self._colors = palette.label_colors(count, vocabulary, self._colorblind_safe)
        for pane, labels in zip(self.canvas.panes.values(), self._labels):
            pane.set_labels(labels, self._colors)
        self._refresh()

    def set_label_hint(self, text: str, can_make: bool = True) -> None:
        """Say why there are no labels, and whether the view offers to make them (``labels_requested``)."""
        self.strip.set_missing(text, can_make)
        self._refresh()

    def set_colorblind_safe(self, enabled: bool) -> None:
        """Choose the palette that protanopes and deuteranopes tell apart."""
        self._colorblind_safe = enabled
        self.set_labels(*self._labels)

    def set_matches(
        self, points_ref: Array | None, points_query: Array | None, kinds: Array | None = None, scores: Array | None = None
    ) -> None:
        """Draw matches: points (M, 2) px in each image, ``kinds`` (M,) of display, ``scores`` (M,) best high."""
        self.canvas.matches.set_matches(points_ref, points_query, kinds, scores)
        self._refresh()

    def set_match_options(self, visible: bool, show_outliers: bool, limit: int | None) -> None:
        """Show or hide matches and outliers; draw at most ``limit`` (None: all), best scores first."""
        layer = self.canvas.matches
        layer.visible, layer.limit = visible, limit
        kinds = layer.shown_kinds | {display.OUTLIER} if show_outliers else layer.shown_kinds - {display.OUTLIER}
        self.set_kinds(kinds)

    def set_kinds(self, kinds: frozenset[int]) -> None:
        """Draw matches of these kinds only."""
        layer = self.canvas.matches
        layer.shown_kinds = frozenset(kinds)
        self.toolbar.show_matches(layer.visible, display.OUTLIER in kinds, layer.limit)
        self._refresh()

    def set_highlight(self, label: int | None) -> None:
        """Make one label stand out in both images; None or -1 for none."""
        self.canvas.set_style(replace(self.canvas.style_now, highlight=_label(label)))
        self._show_label()

    def set_isolated(self, label: int | None) -> None:
        """Show one label only, the rest shaded; None or -1 for all."""
        self.canvas.set_style(replace(self.canvas.style_now, isolated=_label(label)))
        self._show_label()

    def set_selected_match(self, index: int | None) -> None:
        """Emphasise one match; None or -1 for none."""
        layer = self.canvas.matches
        layer.selected = index if index is not None and 0 <= index < len(layer) else None
        self._refresh()

    def set_marks(self, points_ref: Array | None, points_query: Array | None) -> None:
        """Ring places (N, 2) px of each image: where the selected map point was seen, or should be. None for none."""
        for side, points in zip(self.canvas.marks, (points_ref, points_query)):
            marks = np.zeros((0, 2)) if points is None else np.asarray(points, np.float64).reshape(-1, 2)
            self.canvas.marks[side] = marks[np.isfinite(marks).all(axis=1)]
        self.canvas.update()

    def set_marked(self, labels: Sequence[int], hint: str = "") -> None:
        """Hatch these labels in both images and dim the others; ``hint`` says below what that means."""
        self.canvas.set_style(replace(self.canvas.style_now, marked=tuple(labels)))
        self.strip.set_marked(hint)
        self._show_label()

    def set_overlay(self, mode: str, opacity: float) -> None:
        """Paint labels as "fill", "outline" or "off", with ``opacity`` in [0, 1]."""
        if mode not in display.OVERLAY_MODES:
            raise ValueError(f"overlay mode {mode!r} is not known; expected one of {', '.join(display.OVERLAY_MODES)}")
        opacity = min(1.0, max(0.0, float(opacity)))
        self.canvas.set_style(replace(self.canvas.style_now, mode=mode, opacity=opacity))
        self.toolbar.show_overlay(mode, opacity)

    def set_mode(self, mode: str) -> None:
        """Compare "side" by side, by "swipe", "overlay", "blink" or "lens"."""
        self.canvas.set_mode(mode)
        self.toolbar.show_mode(mode)

    def set_view(self, view: ViewTransform) -> None:
        """Set the framing of both images."""
        self.canvas.set_view(view)

    def fit(self) -> None:
        """Show the images whole."""
        self.canvas.set_view(ViewTransform())

    @property
    def overlay(self) -> tuple[str, float]:
        return self.canvas.style_now.mode, self.canvas.style_now.opacity

    @property
    def highlight(self) -> int | None:
        return self.canvas.style_now.highlight

    @property
    def isolated(self) -> int | None:
        return self.canvas.style_now.isolated

    @property
    def view(self) -> ViewTransform:
        return self.canvas.view

    def grab_image(self) -> QImage:
        """The view as a picture, toolbar and strip included."""
        return self.grab().toImage()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.isolated is not None:
            self._isolate(None)
        elif event.key() == Qt.Key.Key_Space and self.canvas.mode == "blink":
            self.canvas.blink()
        elif event.key() == Qt.Key.Key_F:
            self.fit()
        else:
            super().keyPressEvent(event)

    def _isolate(self, label: int | None) -> None:
        self.set_isolated(label)
        self.isolated_changed.emit(-1 if label is None else label)

    def _on_hover(self, side: str | None, x: float, y: float) -> None:
        label = None if side is None else self.canvas.panes[side].label_at((x, y))
        self.strip.show_pixel(None if side is None else (x, y))
        if label != self.highlight:
            self.set_highlight(label)
            self.label_hovered.emit(-1 if label is None else label)
        self.pixel_hovered.emit(side or "", x, y)

    def _on_click(self, side: str | None, x: float, y: float) -> None:
        self._before_click = self.isolated
        label = None if side is None else self.canvas.panes[side].label_at((x, y))
        if label is None:
            return
        self._isolate(None if label == self.isolated else label)
        self.label_clicked.emit(label)

    def _on_double_click(self) -> None:
        if self.isolated != self._before_click:
            self._isolate(self._before_click)  # the first of the two clicks was not meant to isolate
        self.fit()

    def _on_match(self, index: int) -> None:
        self._before_click = self.isolated
        self.set_selected_match(index)
        self.match_clicked.emit(index)

    def _on_matches(self, visible: bool, show_outliers: bool, limit: int | None) -> None:
        before = self.canvas.matches.shown_kinds
        self.set_match_options(visible, show_outliers, limit)
        if self.canvas.matches.shown_kinds != before:
            self.kinds_changed.emit(self.canvas.matches.shown_kinds)

    def _on_mode(self, mode: str) -> None:
        self.canvas.set_mode(mode)
        self.mode_changed.emit(mode)

    def _on_overlay(self, mode: str, opacity: float) -> None:
        self.canvas.set_style(replace(self.canvas.style_now, mode=mode, opacity=opacity))
        self.overlay_changed.emit(mode, opacity)

    def _refresh(self) -> None:
        self.toolbar.show_available(
            labels=any(labels is not None for labels in self._labels), matches=len(self.canvas.matches) > 0
        )
        self._show_label()
        self.canvas.update()

    def _show_label(self) -> None:
        """Bring the strip up to date: the label under the mouse or the isolated one, else what is missing."""
        label = self.highlight if self.highlight is not None else self.isolated
        known = next((labels for labels in self._labels if labels is not None), None)
        has_image = any(pane.has_image for pane in self.canvas.panes.values())
        self.strip.show_state(has_image=has_image, has_labels=known is not None, matches=self.canvas.matches.describe())
        if label is None or known is None or label >= known.num_labels:
            self.strip.show_label(None)
            return
        shares = [None if each is None or label >= len(each) else float(each[label]) for each in self._shares]
        color = tuple(int(value) for value in self._colors[label])
        self.strip.show_label((label, known.names[label] if known.names else "", color, shares, label == self.isolated))


def _label(label: int | None) -> int | None:
    return None if label is None or label < 0 else int(label)
