"""How matches look: inliers, guided ones, outliers and those dropped by labels differ in colour, line and mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from fgsn_viewer import display, palette

HALO = QColor(0, 0, 0, 120)


@dataclass(frozen=True, slots=True)
class KindStyle:
    """Colour, line and words of one kind of match. ``dashes`` in line widths, () for a solid line."""

    noun: str
    color: str
    dashes: tuple[float, ...]
    width: float
    alpha: float
    help: str

    def pen(self, color: QColor) -> QPen:
        pen = QPen(color, self.width)
        if self.dashes:
            pen.setDashPattern(list(self.dashes))
        return pen


KIND_STYLES = {
    display.INLIER: KindStyle("inlier", palette.GOOD, (), 1.2, 0.9, "Agrees with the pose: solid line, dots"),
    display.GUIDED: KindStyle(
        "guided",
        palette.GUIDED,
        (9, 3),
        1.2,
        0.9,
        "Found again near where the pose puts its point, which matching had missed: long dashes, triangles",
    ),
    display.OUTLIER: KindStyle("outlier", palette.BAD, (5, 5), 1.0, 0.75, "Does not agree with the pose: dashed line, crosses"),
    display.DROPPED: KindStyle(
        "dropped", palette.DROPPED, (1.5, 3.5), 1.0, 0.75, "Kept from RANSAC by the labels: dotted line, diamonds"
    ),
}


def paint_end_marks(painter: QPainter, positions: Sequence[Sequence[float]], color: QColor, kind: int, radius: float) -> None:
    """Dots for inliers, triangles for guided matches, crosses for outliers, hollow diamonds for dropped ones; dark halos."""
    paint = {display.INLIER: _dots, display.GUIDED: _triangles, display.OUTLIER: _crosses, display.DROPPED: _diamonds}[kind]
    paint(painter, positions, color, radius)


def _dots(painter: QPainter, positions: Sequence[Sequence[float]], color: QColor, radius: float) -> None:
    painter.setPen(QPen(HALO, 1.2))
    painter.setBrush(color)
    for x, y in positions:
        painter.drawEllipse(QPointF(x, y), radius, radius)


def _triangles(painter: QPainter, positions: Sequence[Sequence[float]], color: QColor, radius: float) -> None:
    painter.setPen(QPen(HALO, 1.2))
    painter.setBrush(color)
    r = radius * 1.25
    for x, y in positions:
        painter.drawPolygon(QPolygonF([QPointF(x, y - r), QPointF(x + r, y + 0.8 * r), QPointF(x - r, y + 0.8 * r)]))


def _crosses(painter: QPainter, positions: Sequence[Sequence[float]], color: QColor, radius: float) -> None:
    arms = [QLineF(x - radius * sign, y - radius, x + radius * sign, y + radius) for x, y in positions for sign in (1, -1)]
    for pen in (QPen(HALO, 3.0), QPen(color, 1.4)):
        painter.setPen(pen)
        painter.drawLines(arms)


def _diamonds(painter: QPainter, positions: Sequence[Sequence[float]], color: QColor, radius: float) -> None:
    painter.setBrush(Qt.BrushStyle.NoBrush)
    r = radius * 1.2
    for pen in (QPen(HALO, 3.0), QPen(color, 1.4)):
        painter.setPen(pen)
        for x, y in positions:
            painter.drawPolygon(QPolygonF([QPointF(x, y - r), QPointF(x + r, y), QPointF(x, y + r), QPointF(x - r, y)]))
