"""The 3D view without OpenGL: up to 50,000 points, projected and painted on the processor, first from above."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from fgsn_viewer import palette
from fgsn_viewer.views.orbit_camera import OrbitCamera
from fgsn_viewer.views.scene3d_content import Scene3DContent
from fgsn_viewer.views.scene3d_overlay import BACKGROUND, GRID_COLOR, WorldPainter, paint_overlay

MAX_POINTS = 50_000
_BANNER = QColor("#5D4A12")


class Scene3DPlanCanvas(QWidget):
    """Stands in for the OpenGL canvas, with the same content and camera."""

    def __init__(self, content: Scene3DContent, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self.camera = OrbitCamera()
        self.point_size = 3.0
        self.moving = False
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def mark(self, *parts: str) -> None:
        """Say that the content changed; everything is projected anew at each painting."""
        self.update()

    def grabFramebuffer(self) -> QImage:
        """The picture, as the OpenGL canvas gives it."""
        return self.grab().toImage()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), BACKGROUND)
        view = WorldPainter(painter, self.camera, self.width(), self.height())
        if not self.content.is_empty:
            view.lines(self.content.grid, GRID_COLOR, 1.0, halo=False)
        painter.drawImage(0, 0, self._points_image())
        if self.content.show_cameras:
            view.lines(self.content.camera_lines, QColor(palette.REFERENCE), 1.0, halo=False)
        paint_overlay(painter, self.content, self.camera, self.width(), self.height())
        self._paint_banner(painter)
        painter.end()

    def _points_image(self) -> QImage:
        """Splat the points as squares, far ones first."""
        width, height = self.width(), self.height()
        pixels = np.zeros((height, width), np.uint32)
        step = max(1, -(-len(self.content.positions) // MAX_POINTS))
        at, depth = self.camera.project(self.content.positions[::step], width, height)
        colors = self.content.colors()[::step].astype(np.uint32)
        packed = 0xFF000000 | colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]
        seen = np.isfinite(at).all(axis=1) & (np.abs(at) < 1e6).all(axis=1)
        order = np.flatnonzero(seen)[np.argsort(-depth[seen])]
        corner = np.rint(at[order] - self.point_size / 2).astype(int)
        for dy in range(round(self.point_size)):
            for dx in range(round(self.point_size)):
                x, y = corner[:, 0] + dx, corner[:, 1] + dy
                inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                pixels[y[inside], x[inside]] = packed[order[inside]]
        return QImage(pixels.data, width, height, width * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()

    def _paint_banner(self, painter: QPainter) -> None:
        count = len(self.content.positions)
        shown = f" of {min(count, MAX_POINTS):,} of {count:,} points" if count > MAX_POINTS else ""
        rect = QRectF(0, 0, self.width(), 26)
        painter.fillRect(rect, _BANNER)
        painter.setPen(QColor("#FFE9A8"))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, f"OpenGL is not available: plan view{shown}")
