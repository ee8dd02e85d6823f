"""The canvas of the comparison: two photographs under one framing, and the matches across them."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QWidget

from core.geometry import Array
from fgsn_viewer.views.image_pane import ImagePane, OverlayStyle, paint_header
from fgsn_viewer.views.match_layer import MatchLayer, paint_marks
from fgsn_viewer.views.view_transform import PaneFrame, ViewTransform

MODES = ("side", "swipe", "overlay", "blink", "lens")
BACKGROUND = QColor("#161C22")
_HEADER, _GAP, _MARGIN = 26, 12, 8
_DRAG_THRESHOLD = 4
_BLINK_MS = 600
_LENS_RADIUS = 110.0
_DIVIDER_REACH = 10
_STACKING_GAIN = 1.25


class CompareCanvas(QWidget):
    """Paints both panes itself, so that lines may cross the gap. It holds what is shown, and tells what the mouse does."""

    hovered = Signal(object, float, float)  # side "reference"/"query" or None, image px
    clicked = Signal(object, float, float)
    match_clicked = Signal(int)
    double_clicked = Signal()
    shown_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.panes = {"reference": ImagePane("reference"), "query": ImagePane("query")}
        self.matches = MatchLayer()
        self.view = ViewTransform()
        self.style_now = OverlayStyle()
        self.marks: dict[str, Array] = {side: np.zeros((0, 2)) for side in self.panes}
        self.mode = "side"
        self.divider = 0.5
        self._blink_on = True
        self._cursor = QPointF(-1, -1)
        self._press: QPoint | None = None
        self._drag: str | None = None
        self._blink = QTimer(self, interval=_BLINK_MS)
        self._blink.timeout.connect(self.blink)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(240, 140)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def sizeHint(self) -> QSize:
        return QSize(960, 420)

    def set_mode(self, mode: str) -> None:
        """Choose one of ``MODES``."""
        if mode not in MODES:
            raise ValueError(f"compare mode {mode!r} is not known; expected one of {', '.join(MODES)}")
        self.mode = mode
        self._blink_on = True
        self._blink.start() if mode == "blink" else self._blink.stop()
        self.update()
        self.shown_changed.emit()

    def set_view(self, view: ViewTransform) -> None:
        """Set the framing of both images."""
        if view != self.view:
            self.view = view
            self.update()
            self.shown_changed.emit()

    def set_style(self, style: OverlayStyle) -> None:
        """Set how labels are painted."""
        if style != self.style_now:
            self.style_now = style
            self.update()

    def blink(self) -> None:
        """Swap the image that the blink mode shows."""
        self._blink_on = not self._blink_on
        self.update()

    def frames(self) -> tuple[PaneFrame, PaneFrame]:
        """Where the reference and the query are painted now; the same rectangle in every mode but side by side.

        Side by side becomes one above the other where that shows wide photographs much larger.
        """
        if self.mode != "side":
            return self._two_frames(0.0, 0.0)
        beside, above = self._two_frames(0.5, 0.0), self._two_frames(0.0, 0.5)
        gain = min(b.scale / a.scale for a, b in zip(beside, above))
        return above if gain > _STACKING_GAIN else beside

    def _two_frames(self, across: float, down: float) -> tuple[PaneFrame, PaneFrame]:
        """Divide the canvas ``across`` or ``down`` by half, or not at all (0, 0)."""
        full_width = self.width() - 2.0 * _MARGIN
        full_height = self.height() - 2.0 * _MARGIN
        width = max(2.0, (full_width - _GAP) / 2 if across else full_width)
        height = max(2.0, ((full_height - _MARGIN) / 2 if down else full_height) - _HEADER)
        dx, dy = (width + _GAP if across else 0.0), (height + _HEADER + _MARGIN if down else 0.0)
        top = float(_MARGIN + _HEADER)
        reference = PaneFrame(_MARGIN, top, width, height, *self.panes["reference"].image_size, self.view)
        query = PaneFrame(_MARGIN + dx, top + dy, width, height, *self.panes["query"].image_size, self.view)
        return reference, query

    def side_at(self, position: QPointF) -> str | None:
        """The image that is seen at a position of the canvas, or None."""
        reference, query = self.frames()
        at = np.array([position.x(), position.y()])
        if self.mode == "side":
            return "reference" if reference.contains(at) else "query" if query.contains(at) else None
        if not query.contains(at):
            return None
        if self.mode == "swipe":
            return "reference" if at[0] < self._divider_x(query) else "query"
        if self.mode == "blink":
            return "query" if self._blink_on else "reference"
        return "reference" if self.mode == "lens" else "query"

    def locate(self, position: QPointF) -> tuple[str, Array] | None:
        """Which image is under a position and at which px of it; None off the photographs."""
        side = self.side_at(position)
        if side is None or not self.panes[side].has_image:
            return None
        frame = self._frame_of(side)
        point = frame.to_image(np.array([position.x(), position.y()]))
        return (side, point) if frame.on_image(point) else None

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), BACKGROUND)
        reference, query = self.frames()
        if self.mode == "side":
            self._paint_pane(painter, "reference", reference)
            self._paint_pane(painter, "query", query)
        else:
            self._paint_stacked(painter, reference, query)
        if all(pane.has_image for pane in self.panes.values()):
            self.matches.paint(painter, reference, query)
        for side, frame in zip(self.panes, (reference, query)):
            if self.panes[side].has_image:
                positions = frame.to_screen(self.marks[side])
                paint_marks(painter, positions[frame.contains(positions)])
        painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:
        side = self.side_at(event.position())
        steps = event.angleDelta().y() / 120
        if side is not None and steps:
            at = np.array([event.position().x(), event.position().y()])
            self.set_view(self._frame_of(side).zoomed_at(at, 1.25**steps))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._press = event.position().toPoint()
            at_divider = abs(event.position().x() - self._divider_x(self.frames()[1])) < _DIVIDER_REACH
            self._drag = "divider" if self.mode == "swipe" and at_divider else None
            self._cursor = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if self._press is not None:
            if self._drag is None and (position.toPoint() - self._press).manhattanLength() >= _DRAG_THRESHOLD:
                self._drag = self.side_at(QPointF(self._press)) or "nothing"
                self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self._drag_to(position)
        self._cursor = position
        self._emit_hover(position)
        if self.mode == "lens":
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._press is not None and self._drag is None and event.button() == Qt.MouseButton.LeftButton:
            self._click(event.position())
        self._press = self._drag = None
        self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.double_clicked.emit()

    def leaveEvent(self, event: QEvent) -> None:
        self._cursor = QPointF(-1, -1)
        self.hovered.emit(None, 0.0, 0.0)
        self.update()

    def _frame_of(self, side: str) -> PaneFrame:
        return self.frames()[0 if side == "reference" else 1]

    def _divider_x(self, frame: PaneFrame) -> float:
        return frame.x + self.divider * frame.width

    def _emit_hover(self, position: QPointF) -> None:
        found = self.locate(position)
        side, point = found if found else (None, (0.0, 0.0))
        self.hovered.emit(side, float(point[0]), float(point[1]))

    def _click(self, position: QPointF) -> None:
        at = np.array([position.x(), position.y()])
        match = self.matches.hit(at, *self.frames())
        if match is not None:
            self.match_clicked.emit(match)
            return
        found = self.locate(position)
        side, point = found if found else (None, (0.0, 0.0))
        self.clicked.emit(side, float(point[0]), float(point[1]))

    def _drag_to(self, position: QPointF) -> None:
        if self._drag == "divider":
            frame = self.frames()[1]
            self.divider = min(1.0, max(0.0, (position.x() - frame.x) / frame.width))
            self.update()
        elif self._drag in self.panes:
            moved = position - self._cursor
            self.set_view(self._frame_of(self._drag).dragged(moved.x(), moved.y()))

    def _paint_pane(self, painter: QPainter, side: str, frame: PaneFrame) -> None:
        self.panes[side].paint(painter, frame, self.style_now)
        paint_header(painter, QRectF(frame.x + 2, frame.y - _HEADER - 2, frame.width - 4, _HEADER), self.panes[side])

    def _paint_stacked(self, painter: QPainter, reference: PaneFrame, query: PaneFrame) -> None:
        """Both images in one rectangle: swipe, translucent overlay, blink or lens."""
        base, over = ("reference", "query") if self.mode == "lens" else ("query", "reference")
        if self.mode == "blink" and not self._blink_on:
            base, over = over, base
        frames = {"reference": reference, "query": query}
        self.panes[base].paint(painter, frames[base], self.style_now)
        painter.save()
        if self.mode == "swipe":
            painter.setClipRect(QRectF(query.x, query.y, self.divider * query.width, query.height))
            self.panes[over].paint(painter, frames[over], self.style_now)
        elif self.mode == "overlay":
            painter.setOpacity(0.5)
            self.panes[over].paint(painter, frames[over], self.style_now)
        elif self.mode == "lens" and self._cursor.x() >= 0:
            lens = QPainterPath()
            lens.addEllipse(self._cursor, _LENS_RADIUS, _LENS_RADIUS)
            painter.setClipPath(lens)
            self.panes[over].paint(painter, frames[over], self.style_now)
            painter.setClipping(False)
            _stroke(painter, lens)
        painter.restore()
        if self.mode == "swipe":
            divider = QPainterPath(QPointF(self._divider_x(query), query.y))
            divider.lineTo(self._divider_x(query), query.y + query.height)
            _stroke(painter, divider)
        self._paint_stacked_headers(painter, query, base)

    def _paint_stacked_headers(self, painter: QPainter, frame: PaneFrame, base: str) -> None:
        rect = QRectF(frame.x + 2, _MARGIN - 2, frame.width - 4, _HEADER)
        if self.mode == "blink":
            paint_header(painter, rect, self.panes[base])
            return
        half = frame.width / 2
        paint_header(painter, rect.adjusted(0, 0, -half, 0), self.panes["reference"])
        paint_header(painter, rect.adjusted(half, 0, 0, 0), self.panes["query"])


def _stroke(painter: QPainter, path: QPainterPath) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(QColor(0, 0, 0, 140), 4.0), QPen(QColor("#FFFFFF"), 1.6)):
        painter.setPen(pen)
        painter.drawPath(path)
