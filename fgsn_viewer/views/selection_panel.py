"""What is selected, in words: the label, the match, the map point."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from core.geometry import Array
from fgsn_viewer import display
from fgsn_viewer.tables import MatchRows
from fgsn_viewer.views.common import Emptiable, quiet_label, tabular_font
from fgsn_viewer.views.match_marks import KIND_STYLES

NOTHING = "Nothing is selected.\nHover a label, click a match or a point in 3D."


class SelectionPanel(QWidget):
    """Passive: ``set_rows`` lists pairs of (name, value); an empty list says how to select something."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        content = QWidget()
        self._form = QFormLayout(content)
        self._form.setContentsMargins(12, 8, 12, 8)
        self._form.setHorizontalSpacing(12)
        self._form.setVerticalSpacing(4)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._body = Emptiable(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._body)
        self.set_rows([])

    def set_rows(self, rows: list[tuple[str, str]]) -> None:
        """Show the rows in order."""
        while self._form.rowCount():
            self._form.removeRow(0)
        for name, value in rows:
            label = QLabel(value, wordWrap=True)
            label.setFont(tabular_font(self.font()))
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            title = quiet_label(name)
            title.setWordWrap(False)
            self._form.addRow(title, label)
        self._body.set_hint("" if rows else NOTHING)

    def texts(self) -> list[str]:
        """The values that are listed now."""
        role = QFormLayout.ItemRole.FieldRole
        return [self._form.itemAt(row, role).widget().text() for row in range(self._form.rowCount())]


def label_lines(label: int | None, shares: tuple[Array | None, Array | None], names, isolated: bool) -> list[tuple[str, str]]:
    """Describe a label; ``shares`` are the (K,) shares of the left and right image, or None."""
    if label is None or all(side is None for side in shares):
        return []
    name = f" {names[label]}" if names else ""
    left, right = (_percent(side, label) for side in shares)
    return [("label", f"{label}{name}{'  (isolated)' if isolated else ''}"), ("left, right", f"{left}, {right}")]


def match_lines(rows: MatchRows | None, match: int | None, labels: tuple[Array, Array] | None) -> list[tuple[str, str]]:
    """Describe a match."""
    if rows is None or match is None or match >= len(rows):
        return []
    lines = [("match", f"{match}, {KIND_STYLES[int(rows.kinds[match])].noun}")]
    if np.isfinite(rows.errors_px[match]):
        lines.append(("error", f"{rows.errors_px[match]:.2f} px"))
    if rows.kinds[match] != display.GUIDED:  # its score is how likely it is right
        lines.append(("score", f"{rows.scores[match]:.2f}"))
    if rows.likely is not None and np.isfinite(rows.likely[match]):
        lines.append(("likely right", f"{100 * rows.likely[match]:.1f} %"))
    for name, points in (("left", rows.points_ref), ("right", rows.points_query)):
        x, y = points[match]
        lines.append((name, f"({x:.1f}, {y:.1f}) px" if np.isfinite(x) else "not seen there"))
    if labels is not None:
        found = [str(side[match]) if side[match] >= 0 else "–" for side in labels]
        lines.append(("labels", ", ".join(found)))
    return lines


def circle_lines(circle) -> list[tuple[str, str]]:
    """Describe the circle of the selected match: its best place."""
    if circle is None or not len(circle.scores):
        return []
    best = int(np.argmax(circle.scores))
    angle = float(np.degrees(circle.angles_rad[best]))
    return [
        ("best on circle", f"score {circle.scores[best]:.1f} at {angle:.0f}°, {int(circle.num_visible[best])} points visible")
    ]


def point_lines(point: int | None, scene_map, labels) -> list[tuple[str, str]]:
    """Describe a map point."""
    if point is None or scene_map is None or point >= len(scene_map.points3D):
        return []
    x, y, z = scene_map.points3D[point]
    count = int((scene_map.observations.point == point).sum())
    lines = [("map point", str(point)), ("position", f"({x:.2f}, {y:.2f}, {z:.2f}) m"), ("seen in", f"{count} images")]
    if labels is not None:
        lines.append(("map label", f"{labels.labels[point]}, {100 * labels.vote_share[point]:.0f} % of its votes"))
        if labels.views is not None and labels.vote_share[point] < 1:
            lines.append(("seen as", "\n".join(_seen_as(point, scene_map, labels.views))))
    return lines


def _seen_as(point: int, scene_map, views: Array) -> list[str]:
    """Which label the map's images give a point, from the nearest to the farthest."""
    first, end = np.searchsorted(scene_map.observations.point, [point, point + 1])
    cameras = [scene_map.images[i].cam_from_world for i in scene_map.observations.image[first:end]]
    away = np.array([np.linalg.norm(pose.center() - scene_map.points3D[point]) for pose in cameras])
    order = np.argsort(away)
    found = views[first:end, 0][order]
    ends = np.flatnonzero(np.append(found[1:] != found[:-1], True))
    starts = np.append(0, ends[:-1] + 1)
    return [f"{found[a]} {_metres(away[order[a]], away[order[b]])}" for a, b in zip(starts, ends)]


def _metres(near: float, far: float) -> str:
    low, high = f"{near:.0f}", f"{far:.0f}"
    return f"from {low} m" if low == high else f"from {low} to {high} m"


def _percent(shares: Array | None, label: int) -> str:
    return "–" if shares is None or label >= len(shares) else f"{100 * shares[label]:.1f} %"
