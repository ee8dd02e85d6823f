"""Matches across a pair: lines with marks at their ends, drawn as match_marks says for their kind."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from core.geometry import Array
from fgsn_viewer import display, palette
from fgsn_viewer.views.match_marks import KIND_STYLES, paint_end_marks
from fgsn_viewer.views.view_transform import PaneFrame

_HIT_RADIUS = 6.0


class MatchLayer:
    """The matches of a pair and what is shown of them. Points (M, 2) px; ``kinds`` (M,) as display names them."""

    def __init__(self) -> None:
        self.visible = True
        self.shown_kinds = display.ALL_KINDS
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
        shown = display.shown_matches(self.kinds, self._order, self.limit, self.shown_kinds)
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
        kinds = display.INLIER, display.GUIDED, display.DROPPED
        inliers, guided, dropped = (int((self.kinds == kind).sum()) for kind in kinds)
        drawn = "all drawn" if len(shown) == len(self) else f"{len(shown):,} drawn"
        gone = f" · {dropped:,} dropped" if dropped else ""
        more = f" · {guided:,} guided" if guided else ""
        return f"{len(self) - guided:,} matches{gone} · {inliers:,} inliers{more} · {drawn}"

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
        """Draw lines under end marks: dropped ones first, then outliers, guided ones, inliers, the selected match on top."""
        indices, starts, ends = self.segments(ref_frame, query_frame)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = indices == self.selected
        faint = bool(chosen.any())
        for kind in (display.DROPPED, display.OUTLIER, display.GUIDED, display.INLIER):
            mine = (self.kinds[indices] == kind) & ~chosen
            _paint_kind(painter, starts[mine], ends[mine], kind, faint)
        if faint:
            _paint_selected(painter, starts[chosen][0], ends[chosen][0], int(self.kinds[self.selected]))
        painter.restore()


def _paint_kind(painter: QPainter, starts: Array, ends: Array, kind: int, faint: bool) -> None:
    style = KIND_STYLES[kind]
    color = QColor(style.color)
    lines = [QLineF(*start, *end) for start, end in zip(starts.tolist(), ends.tolist())]
    crowd = min(1.0, (60 / max(len(lines), 1)) ** 0.5)  # many lines are each fainter, so that the photograph stays visible
    color.setAlphaF(style.alpha * max(crowd, 0.25) * (0.3 if faint else 1.0))
    painter.setPen(style.pen(color))
    painter.drawLines(lines)
    color.setAlphaF(0.4 if faint else 1.0)
    paint_end_marks(painter, np.concatenate([starts, ends]).tolist(), color, kind, 3.0)


def _paint_selected(painter: QPainter, start: Array, end: Array, kind: int) -> None:
    accent = QColor(palette.ACCENT)
    line = QLineF(*start.tolist(), *end.tolist())
    for pen in (QPen(QColor(0, 0, 0, 170), 5.0), QPen(accent, 2.4)):
        if kind != display.INLIER:
            pen.setDashPattern([5, 3])
        painter.setPen(pen)
        painter.drawLine(line)
    paint_marks(painter, np.stack([start, end]))
    paint_end_marks(painter, np.stack([start, end]).tolist(), accent, kind, 3.5)


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
