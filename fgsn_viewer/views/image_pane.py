"""One photograph with its labels, painted into a rectangle at screen resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter

from core.geometry import Array
from core.records import LabelMap
from fgsn_viewer import display, palette
from fgsn_viewer.views.view_transform import PaneFrame

PANE_COLOR = QColor("#0D1216")
CARD_COLOR = QColor("#2A323A")
TEXT_COLOR = QColor("#DCE3E8")
QUIET_TEXT_COLOR = QColor("#8C99A5")
_SMALLEST_LEVEL = 256


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """How labels are painted: ``mode`` of display.OVERLAY_MODES, ``opacity`` in [0, 1], label ids or None.

    ``marked`` labels are hatched, whatever the mode.
    """

    mode: str = "fill"
    opacity: float = 0.45
    highlight: int | None = None
    isolated: int | None = None
    marked: tuple[int, ...] = ()


class ImagePane:
    """A photograph, its label map, its name; paints itself at any framing. No widget, no events."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.title = ""
        self.condition = ""
        self.note = ""
        self.labels: LabelMap | None = None
        self._levels: list[tuple[Array, QImage]] = []
        self._colors: Array = np.zeros((0, 3), np.uint8)
        self._sampled: tuple[object, Array] | None = None
        self._painted: tuple[object, list[QImage]] | None = None

    @property
    def has_image(self) -> bool:
        return bool(self._levels)

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height px; 4 x 3 without a photograph, which gives the empty card its shape."""
        return (self._levels[0][1].width(), self._levels[0][1].height()) if self._levels else (4, 3)

    def set_image(self, rgb: Array | None, title: str, note: str = "") -> None:
        """Show an image (H, W, 3) u8 RGB, or with None the grey card with ``title`` and ``note``."""
        self.title, self.note = title, note
        self._levels = [] if rgb is None else [_level(rgb)]
        self._forget()

    def set_labels(self, labels: LabelMap | None, colors: Array) -> None:
        """Lay a label map over the photograph; ``colors`` (K, 3) u8 by label id."""
        self.labels, self._colors = labels, colors
        self._forget()

    def label_at(self, point: Array) -> int | None:
        """The label under an image position (2,) px, or None off the image or without labels."""
        if self.labels is None or not self.has_image:
            return None
        width, height = self.image_size
        rows, columns = self.labels.labels.shape
        x, y = int(np.floor((point[0] + 0.5) * columns / width)), int(np.floor((point[1] + 0.5) * rows / height))
        return int(self.labels.labels[y, x]) if 0 <= x < columns and 0 <= y < rows else None

    def paint(self, painter: QPainter, frame: PaneFrame, style: OverlayStyle) -> None:
        """Paint photograph and overlay into the frame's rectangle, or the empty card."""
        rect = QRectF(frame.x, frame.y, frame.width, frame.height)
        painter.fillRect(rect, PANE_COLOR)
        if not self.has_image:
            self._paint_card(painter, rect)
            return
        painter.save()
        painter.setClipRect(rect, Qt.ClipOperation.IntersectClip)
        self._paint_photo(painter, frame)
        if self.labels is not None and (style.mode != "off" or style.marked):
            for image in self._overlays(frame, style, painter.device().devicePixelRatioF()):
                painter.drawImage(QPointF(frame.x, frame.y), image)
        painter.restore()

    def _forget(self) -> None:
        self._sampled = self._painted = None

    def _paint_photo(self, painter: QPainter, frame: PaneFrame) -> None:
        scale = frame.scale * painter.device().devicePixelRatioF()
        level = self._level_for(scale)
        columns, rows = self._levels[level][1].width(), self._levels[level][1].height()
        width, height = self.image_size
        left, top = frame.to_image(np.array([frame.x, frame.y])) + 0.5
        right, bottom = frame.to_image(np.array([frame.x + frame.width, frame.y + frame.height])) + 0.5
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1, y1 = min(width, int(right) + 2), min(height, int(bottom) + 2)
        if x1 <= x0 or y1 <= y0:
            return
        corner = frame.to_screen(np.array([x0 - 0.5, y0 - 0.5]))
        target = QRectF(corner[0], corner[1], (x1 - x0) * frame.scale, (y1 - y0) * frame.scale)
        fx, fy = columns / width, rows / height
        source = QRectF(x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 3)
        painter.drawImage(target, self._levels[level][1], source)

    def _level_for(self, scale: float) -> int:
        """The smallest level that still has a pixel for each screen pixel; levels are made when first needed."""
        wanted = max(0, int(np.floor(np.log2(1 / scale)))) if scale < 1 else 0
        while len(self._levels) <= wanted and min(self._levels[-1][0].shape[:2]) > _SMALLEST_LEVEL:
            rows, columns = self._levels[-1][0].shape[:2]
            self._levels.append(
                _level(cv2.resize(self._levels[-1][0], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA))
            )
        return min(wanted, len(self._levels) - 1)

    def _overlays(self, frame: PaneFrame, style: OverlayStyle, pixel_ratio: float) -> list[QImage]:
        key = (frame, style, pixel_ratio)
        if self._painted is None or self._painted[0] != key:
            labels = self._labels_on_screen(frame, pixel_ratio)
            layers = [display.paint_labels(labels, display.fill_lut(self._colors, *_arguments(style), style.marked))]
            thickness = max(1, round(pixel_ratio))
            if style.mode == "outline":
                lut = display.outline_lut(self._colors, style.mode, style.highlight, style.isolated)
                layers.append(display.paint_outlines(labels, lut, thickness))
            if style.marked:
                layers.append(display.paint_hatch(np.isin(labels, style.marked), thickness))
            chosen = style.highlight if style.highlight is not None else style.isolated
            if chosen is not None:
                layers.append(display.paint_contour(labels == chosen, thickness))
            self._painted = (key, [_overlay_image(layer, pixel_ratio) for layer in layers])
        return self._painted[1]

    def _labels_on_screen(self, frame: PaneFrame, pixel_ratio: float) -> Array:
        key = (frame, pixel_ratio)
        if self._sampled is None or self._sampled[0] != key:
            labels = self.labels.labels
            (width, height), (rows, columns) = self.image_size, labels.shape
            x, y = frame.grid(pixel_ratio)
            x, y = (x + 0.5) * (columns / width) - 0.5, (y + 0.5) * (rows / height) - 0.5
            self._sampled = (key, display.sample_labels(labels, x, y, outside=np.iinfo(np.uint16).max))
        return self._sampled[1]

    def _paint_card(self, painter: QPainter, rect: QRectF) -> None:
        side = min(rect.width() * 0.8, rect.height() * 0.8 * 4 / 3, 420.0)
        card = QRectF(0, 0, side, side * 0.5)
        card.moveCenter(rect.center())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(CARD_COLOR)
        painter.drawRoundedRect(card, 6, 6)
        half = card.height() / 2
        _text(
            painter, card.adjusted(12, 8, -12, -half - 2), self.title or f"No {self.role} image", TEXT_COLOR, True, bottom=True
        )
        note = self.note or ("There is no image to show." if self.title else f"Choose a {self.role} image in the scene list.")
        _text(painter, card.adjusted(12, half + 4, -12, -8), note, QUIET_TEXT_COLOR, False, bottom=False)


def _text(painter: QPainter, rect: QRectF, text: str, color: QColor, bold: bool, bottom: bool) -> None:
    font = QFont(painter.font())
    font.setBold(bold)
    painter.save()
    painter.setFont(font)
    painter.setPen(color)
    edge = Qt.AlignmentFlag.AlignBottom if bottom else Qt.AlignmentFlag.AlignTop
    painter.drawText(rect, Qt.AlignmentFlag.AlignHCenter | edge | Qt.TextFlag.TextWordWrap, text)
    painter.restore()


def paint_header(painter: QPainter, rect: QRectF, pane: ImagePane) -> None:
    """Paint role, condition dot and name in one line above a pane."""
    painter.save()
    font = QFont(painter.font())
    painter.setPen(QUIET_TEXT_COLOR)
    painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, pane.role)
    left = rect.left() + painter.fontMetrics().horizontalAdvance(pane.role) + 10
    if pane.condition:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.condition_color(pane.condition)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawEllipse(QPointF(left + 4, rect.center().y()), 4, 4)
        left += 14
    font.setBold(True)
    painter.setFont(font)
    painter.setPen(TEXT_COLOR)
    room = QRectF(left, rect.top(), max(0.0, rect.right() - left), rect.height())
    name = painter.fontMetrics().elidedText(pane.title, Qt.TextElideMode.ElideMiddle, int(room.width()))
    painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, name)
    painter.restore()


def _arguments(style: OverlayStyle) -> tuple[str, float, int | None, int | None]:
    return style.mode, style.opacity, style.highlight, style.isolated


def _level(rgb: Array) -> tuple[Array, QImage]:
    """A pyramid level: the pixels, and an image that shares their memory."""
    pixels = np.ascontiguousarray(rgb, np.uint8)
    return pixels, QImage(pixels.data, pixels.shape[1], pixels.shape[0], pixels.strides[0], QImage.Format.Format_RGB888)


def _overlay_image(pixels: Array, pixel_ratio: float) -> QImage:
    pixels = np.ascontiguousarray(pixels, np.uint32)
    shared = QImage(pixels.data, pixels.shape[1], pixels.shape[0], pixels.strides[0], QImage.Format.Format_ARGB32_Premultiplied)
    image = shared.copy()  # the image outlives the array
    image.setDevicePixelRatio(pixel_ratio)
    return image
