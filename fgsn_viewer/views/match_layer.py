"""Matches across a pair: inliers are solid lines with dots, outliers thin dashed lines with crosses."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from core.geometry import Array
from fgsn_viewer import display, palette
from fgsn_viewer.views.view_transform import PaneFrame

_HIT_RADIUS = 6.0
_HALO = QColor(0, 0, 0, 120)


class MatchLayer:
    """The matches of a pair and what is shown of them. Points (M, 2) px; ``kinds`` (M,) display.OUTLIER or INLIER."""

    def __init__(self) -> None:
        self.visible = True
        self.show_outliers = True
        self.limit: int | None = 100
        self.selected: int | None = None
        self.set_matches(None, None, None, None)

    def set_matches(
        self, points_ref: Array | None, points_query: Array | None, kinds: Array | None, scores: Array | None
    ) -> None:
        """Replace the matches; None or empty arrays for none. ValueError when the lengths differ."""
        self.points_ref = np.zeros((0, 2)) if points_ref is None else np.asarray(points_ref, np.float64).reshape(-1, 2)
        self.points_query = np.zeros((0, 2)) if points_query is None else np.asarray(points_query, np.float64).reshape(-1, 2)
        count = len(self.points_ref)
        self.kinds = np.full(count, display.INLIER) if kinds is None else np.asarray(kinds).astype(int)
        self.scores = None if scores is None else np.asarray(scores, np.float64)
        lengths = {count, len(self.points_query), len(self.kinds), count if self.scores is None else len(self.scores)}
        if len(lengths) > 1:
            raise ValueError(f"matches differ in length: {sorted(lengths)}")
        extent = float(np.ptp(self.points_query, axis=0).max()) if count else 1.0
        self._order = display.spread_order(self.points_query, self.scores, extent / 12)
        self.selected = None

    def __len__(self) -> int:
        return len(self.kinds)

    def shown(self) -> Array:
        """Indices (S,) of the matches that are drawn now; a selected one is always among them."""
        if not self.visible:
            return np.zeros(0, np.int64)
        shown = display.shown_matches(self.kinds, self._order, self.limit, self.show_outliers)
        if self.selected is not None and self.selected not in shown:
            shown = np.append(shown, self.selected)
        return shown

    def describe(self) -> str:
        """One phrase for the status strip, or '' without matches."""
        if not len(self):
            return ""
        if not self.visible:
            return f"{len(self):,} matches hidden"
        shown = self.shown()
        inliers = int((self.kinds == display.INLIER).sum())
        drawn = "all drawn" if len(shown) == len(self) else f"{len(shown):,} drawn"
        return f"{len(self):,} matches · {inliers:,} inliers · {drawn}"

    def segments(self, ref_frame: PaneFrame, query_frame: PaneFrame) -> tuple[Array, Array, Array]:
        """Indices (S,), starts and ends (S, 2) on the screen, of shown matches with both ends inside of the panes."""
        shown = self.shown()
        starts = ref_frame.to_screen(self.points_ref[shown])
        ends = query_frame.to_screen(self.points_query[shown])
        inside = ref_frame.contains(starts) & query_frame.contains(ends)
        return shown[inside], starts[inside], ends[inside]

    def hit(self, position: Array, ref_frame: PaneFrame, query_frame: PaneFrame) -> int | None:
        """The match whose line or end is under the screen position (2,), or None."""
        indices, starts, ends = self.segments(ref_frame, query_frame)
        nearest = display.nearest_segment(starts, ends, position, _HIT_RADIUS)
        return None if nearest is None else int(indices[nearest])

    def paint(self, painter: QPainter, ref_frame: PaneFrame, query_frame: PaneFrame) -> None:
        """Draw lines under end marks: outliers first, then inliers, the selected match on top."""
        indices, starts, ends = self.segments(ref_frame, query_frame)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = indices == self.selected
        faint = bool(chosen.any())
        for kind in (display.OUTLIER, display.INLIER):
            mine = (self.kinds[indices] == kind) & ~chosen
            _paint_kind(painter, starts[mine], ends[mine], kind, faint)
        if faint:
            _paint_selected(painter, starts[chosen][0], ends[chosen][0], int(self.kinds[self.selected]))
        painter.restore()


def _paint_kind(painter: QPainter, starts: Array, ends: Array, kind: int, faint: bool) -> None:
    inlier = kind == display.INLIER
    color = QColor(palette.GOOD if inlier else palette.BAD)
    lines = [QLineF(*start, *end) for start, end in zip(starts.tolist(), ends.tolist())]
    crowd = min(1.0, (60 / max(len(lines), 1)) ** 0.5)  # many lines are each fainter, so that the photograph stays visible
    color.setAlphaF((0.9 if inlier else 0.75) * max(crowd, 0.25) * (0.3 if faint else 1.0))
    pen = QPen(color, 1.2 if inlier else 1.0)
    if not inlier:
        pen.setDashPattern([5, 5])
    painter.setPen(pen)
    painter.drawLines(lines)
    color.setAlphaF(0.4 if faint else 1.0)
    _paint_ends(painter, np.concatenate([starts, ends]), color, inlier, 3.0)


def _paint_ends(painter: QPainter, positions: Array, color: QColor, inlier: bool, radius: float) -> None:
    """Filled dots for inliers, crosses for outliers, both with a dark halo."""
    if inlier:
        painter.setPen(QPen(_HALO, 1.2))
        painter.setBrush(color)
        for x, y in positions.tolist():
            painter.drawEllipse(QPointF(x, y), radius, radius)
        return
    arms = [
        QLineF(x - radius * sign, y - radius, x + radius * sign, y + radius) for x, y in positions.tolist() for sign in (1, -1)
    ]
    for pen in (QPen(_HALO, 3.0), QPen(color, 1.4)):
        painter.setPen(pen)
        painter.drawLines(arms)


def _paint_selected(painter: QPainter, start: Array, end: Array, kind: int) -> None:
    accent = QColor(palette.ACCENT)
    line = QLineF(*start.tolist(), *end.tolist())
    for pen in (QPen(QColor(0, 0, 0, 170), 5.0), QPen(accent, 2.4)):
        if kind != display.INLIER:
            pen.setDashPattern([5, 3])
        painter.setPen(pen)
        painter.drawLine(line)
    paint_marks(painter, np.stack([start, end]))
    _paint_ends(painter, np.stack([start, end]), accent, kind == display.INLIER, 3.5)


def paint_marks(painter: QPainter, positions: Array) -> None:
    """Rings in the accent colour around screen positions (N, 2): what is selected is here."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for x, y in positions.tolist():
        for pen in (QPen(QColor(0, 0, 0, 170), 4.5), QPen(QColor(palette.ACCENT), 2.0)):
            painter.setPen(pen)
            painter.drawEllipse(QPointF(x, y), 9, 9)
    painter.restore()
