"""What is painted over the 3D points: the poses in question, the selection, axes and scale."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPen

from core.geometry import Array, rotation_angle_deg
from fgsn_viewer import display3d, palette
from fgsn_viewer.methods import PFSL, STYLES
from fgsn_viewer.views.orbit_camera import OrbitCamera
from fgsn_viewer.views.scene3d_content import PosedCamera, Scene3DContent

BACKGROUND = QColor("#14191E")
GRID_COLOR = QColor(255, 255, 255, 20)
_TEXT = QColor("#DCE3E8")
_QUIET = QColor("#A3AEB8")
_CHIP = QColor(20, 25, 30, 200)
_SMALLEST_FRUSTUM = 26.0  # px: the poses in question are found at any distance
_AXES = ((QColor("#E57373"), "x"), (QColor("#81C784"), "y"), (QColor("#64B5F6"), "z"))
_ERROR_STEPS = ((0.25, palette.GOOD), (0.5, palette.FAIR), (5.0, palette.POOR))


def error_color(position_m: float) -> QColor:
    """Colour of a position error on an absolute scale: 0.25, 0.5 and 5 m."""
    return QColor(next((color for limit, color in _ERROR_STEPS if position_m <= limit), palette.BAD))


def paint_overlay(painter: QPainter, content: Scene3DContent, camera: OrbitCamera, width: float, height: float) -> None:
    """Paint over finished points: selection, estimate, truth and the error between them, axes and the grid's cell."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if content.is_empty:
        _paint_empty(painter, width, height)
        return
    view = WorldPainter(painter, camera, width, height)
    view.lines(content.rays(), QColor(79, 195, 247, 150), 1.0)
    view.lines(content.selected_camera_lines(), QColor(palette.ACCENT), 2.0)
    if content.selected_point is not None:
        view.ring(content.positions[content.selected_point], QColor(palette.ACCENT))
    paint_moment(view, content)
    paint_circle(view, content)
    _paint_error(view, content)
    view.lines(view.frustum(content, content.truth), QColor(palette.TRUTH), 2.0)
    for pose in content.poses:
        view.lines(view.frustum(content, pose.posed), QColor(pose.color), 1.8, pose.dashes)
    _, color, dashes = content.estimate_style
    view.lines(view.frustum(content, content.estimate), QColor(color), 2.4, dashes)
    _paint_axes(painter, content, camera, height)
    _paint_legend(painter, content, width, height)


def paint_circle(view: WorldPainter, content: Scene3DContent) -> None:
    """The circle of camera places of a match, coloured by score, a ring at the best one."""
    circle = content.circle
    if circle is None:
        return
    ends = np.stack([circle.positions, np.roll(circle.positions, -1, axis=0)], axis=1)
    view.lines(ends, QColor(0, 0, 0, 130), 6.0, halo=False)
    for segment, score, color in zip(ends, circle.scores, display3d.score_colors(circle.scores).tolist()):
        view.lines(
            segment[None], QColor(*color) if score > 0 else QColor(palette.REFERENCE), 4.0 if score > 0 else 1.5, halo=False
        )
    best = int(np.argmax(circle.scores))
    view.ring(circle.positions[best], QColor(*display3d.score_colors(circle.scores)[best].tolist()))
    if content.selected_point is not None:
        ray = np.stack([content.positions[content.selected_point], circle.positions[best]])
        view.lines(ray[None].astype(np.float64), QColor(palette.BEST_SCORE), 1.2, (4, 3))


def paint_moment(view: WorldPainter, content: Scene3DContent) -> None:
    """Particles, brighter where they weigh more, and the estimated and the true way so far."""
    moment = content.moment
    if moment is None:
        return
    view.lines(display3d.way_lines(moment.true), QColor(255, 255, 255, 150), 1.2, (3, 3))
    color = QColor(STYLES[PFSL].color)
    view.lines(display3d.way_lines(moment.estimated), color, 2.0)
    pixels, _ = view.camera.project(moment.centers, *view.size)
    share = moment.weights / max(float(moment.weights.max(initial=0)), 1e-300)
    for (x, y), weight in zip(pixels.tolist(), share.tolist()):
        if np.isfinite(x) and np.isfinite(y):
            color.setAlphaF(0.25 + 0.75 * weight)
            view.painter.setPen(QPen(color, 2.0 + 1.5 * weight))
            view.painter.drawPoint(QPointF(x, y))


class WorldPainter:
    """Projects and paints lines of the world."""

    def __init__(self, painter: QPainter, camera: OrbitCamera, width: float, height: float) -> None:
        self.painter, self.camera, self.size = painter, camera, (width, height)

    def to_screen(self, segments: Array) -> Array:
        """Segments (N, 2, 3) to the screen (S, 2, 2); what is behind the eye is cut off."""
        depths = (segments - self.camera.position) @ self.camera.world_rotation[2]
        near = self.camera.near_far()[0] * 1.01
        clipped, seen = display3d.clip_to_front(segments, depths, near)
        pixels, _ = self.camera.project(clipped[seen].reshape(-1, 3), *self.size)
        return pixels.reshape(-1, 2, 2).astype(np.float64)

    def lines(self, segments: Array, color: QColor, width: float, dashes: tuple[float, ...] = (), halo: bool = True) -> None:
        """Draw segments (N, 2, 3); ``dashes`` in line widths, () for solid lines."""
        if not len(segments):
            return
        lines = [QLineF(*start, *end) for start, end in self.to_screen(segments).tolist() if np.isfinite([*start, *end]).all()]
        for pen in [QPen(QColor(0, 0, 0, 130), width + 2)] * halo + [QPen(color, width)]:
            if dashes:
                pen.setDashPattern([length * width / pen.widthF() for length in dashes])
                pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            self.painter.setPen(pen)
            self.painter.drawLines(lines)

    def frustum(self, content: Scene3DContent, posed: PosedCamera | None) -> Array:
        """The frustum (N, 2, 3) of the estimate or the truth, a little larger than the mapping cameras."""
        if posed is None:
            return content.no_lines
        depth = max(float((posed.center - self.camera.position) @ self.camera.world_rotation[2]), 0.0)
        smallest = _SMALLEST_FRUSTUM * 2 * depth * np.tan(self.camera.fov / 2) / max(self.size[1], 1.0)
        size = max(1.35 * content.frustum_size, smallest)
        return display3d.frustum_lines(posed.camera, posed.cam_from_local, size)

    def ring(self, point: Array, color: QColor) -> None:
        pixels, _ = self.camera.project(np.asarray(point)[None], *self.size)
        if np.isfinite(pixels).all():
            self.painter.setBrush(Qt.BrushStyle.NoBrush)
            for pen in (QPen(QColor(0, 0, 0, 170), 4.5), QPen(color, 2.0)):
                self.painter.setPen(pen)
                self.painter.drawEllipse(QPointF(*pixels[0].tolist()), 9, 9)


def _paint_error(view: WorldPainter, content: Scene3DContent) -> None:
    """The line from the true to the estimated centre, coloured and labelled by its length."""
    if content.estimate is None or content.truth is None:
        return
    ends = np.stack([content.truth.center, content.estimate.center])
    error = float(np.linalg.norm(ends[1] - ends[0]))
    color = error_color(error)
    view.lines(ends[None], color, 2.4, (4, 3))
    drawn = view.to_screen(np.concatenate([view.frustum(content, content.truth), view.frustum(content, content.estimate)]))
    if len(drawn) and np.isfinite(drawn).all():
        angle = rotation_angle_deg(content.estimate.cam_from_local, content.truth.cam_from_local)
        left, top, right = drawn[..., 0].min(), drawn[..., 1].min(), drawn[..., 0].max()
        _tag(view.painter, (left + right) / 2, top - 8, f"{error:.2f} m · {angle:.2f}°", color, view.size)


def _tag(painter: QPainter, middle: float, bottom: float, text: str, color: QColor, size: tuple[float, float]) -> None:
    """A small label above a place, kept on the screen."""
    font = QFont(painter.font())
    font.setBold(True)
    painter.setFont(font)
    width = painter.fontMetrics().horizontalAdvance(text) + 16
    x = float(np.clip(middle - width / 2, 4, max(4.0, size[0] - width - 4)))
    y = float(np.clip(bottom - 22, 4, max(4.0, size[1] - 60)))
    rect = QRectF(x, y, width, 22)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(10, 14, 18, 215))
    painter.drawRoundedRect(rect, 4, 4)
    painter.setPen(color)
    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
    font.setBold(False)
    painter.setFont(font)


def _paint_axes(painter: QPainter, content: Scene3DContent, camera: OrbitCamera, height: float) -> None:
    """A small hint in the corner of where the world's axes point."""
    corner = QPointF(38, height - 38)
    for index in np.argsort(-camera.world_rotation[2]):  # the axis that points away first
        color, name = _AXES[index]
        x, y = camera.world_rotation[0, index] * 22, camera.world_rotation[1, index] * 22
        painter.setPen(QPen(color, 2.0))
        painter.drawLine(corner, corner + QPointF(x, y))
        painter.drawText(QRectF(corner.x() + x * 1.4 - 8, corner.y() + y * 1.4 - 8, 16, 16), Qt.AlignmentFlag.AlignCenter, name)


def _paint_legend(painter: QPainter, content: Scene3DContent, width: float, height: float) -> None:
    """What the lines mean, at the lower right; the size of the map and the grid's cell at the lower left."""
    entries = [(palette.REFERENCE, (), "mapping cameras")] if len(content.camera_lines) and content.show_cameras else []
    entries += [(pose.color, pose.dashes, pose.method) for pose in content.poses]
    name, color, dashes = content.estimate_style
    entries += [(color, dashes, name)] if content.estimate is not None else []
    entries += [(palette.TRUTH, (), "truth")] if content.truth is not None else []
    if content.circle is not None:
        entries += [(palette.BEST_SCORE, (), f"best of the circle: {content.circle.scores.max():.1f}")]
    metrics = painter.fontMetrics()
    x = width - 8.0
    for color, dashes, text in reversed(entries):
        chip = metrics.horizontalAdvance(text) + 44
        x -= chip
        _chip(painter, QRectF(x, height - 28, chip, 20), text, 34)
        pen = QPen(QColor(color), 2.4)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        if dashes:
            pen.setDashPattern(list(dashes))
        painter.setPen(pen)
        painter.drawLine(QPointF(x + 7, height - 18), QPointF(x + 28, height - 18))
        x -= 4
    points = f"{len(content.positions):,} points · " if len(content.positions) else ""
    text = f"{points}grid {content.grid_cell:g} m"
    _chip(painter, QRectF(72, height - 28, metrics.horizontalAdvance(text) + 16, 20), text, 8)


def _chip(painter: QPainter, rect: QRectF, text: str, indent: float) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_CHIP)
    painter.drawRoundedRect(rect, 4, 4)
    painter.setPen(_QUIET)
    painter.drawText(rect.adjusted(indent, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, text)


def _paint_empty(painter: QPainter, width: float, height: float) -> None:
    font = QFont(painter.font())
    font.setBold(True)
    painter.setFont(font)
    painter.setPen(_TEXT)
    painter.drawText(
        QRectF(0, 0, width, height / 2 - 4), Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, "No 3D map"
    )
    font.setBold(False)
    painter.setFont(font)
    painter.setPen(_QUIET)
    said = "Open a scene with a map, or a COLMAP model, to see its points and cameras here."
    rect = QRectF(24, height / 2 + 4, max(0.0, width - 48), height / 2)
    painter.drawText(rect, Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap, said)
