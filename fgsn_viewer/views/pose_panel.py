"""The pose in numbers: keypoints to matches, to those that labels keep, to inliers, to errors; each defined in its tooltip."""

from __future__ import annotations

from math import ceil

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from core.evaluation.recall import OUTCOME_MARKS
from core.records import Localization, PairMatches
from fgsn_viewer.agreement import PairAgreement
from fgsn_viewer.methods import by_labels_alone, is_sequence
from fgsn_viewer.views.common import NUMBER, OUTCOME_WORDS, Emptiable, outcome_color, quiet_label, tabular_font
from fgsn_viewer.views.error_histogram import ErrorHistogram

TIPS = {
    "keypoints": "Keypoints: places in the query image that were described (RootSIFT)",
    "matches": "Matches: keypoints whose nearest descriptor is clearly nearer than the nearest of any other point (ratio test)",
    "kept": "Kept: matches that the labels let RANSAC try poses with; all matches say whether a pose is found",
    "inliers": "Inliers: matches that agree with the returned pose within the error limit, counted again from that very pose",
    "pair inliers": "Inliers: matches that agree with the epipolar geometry of the two photographs",
    "inlier ratio": "Inliers divided by matches",
    "position error": "Distance between the estimated and the true camera centre",
    "rotation error": "Angle between the estimated and the true orientation",
    "reprojection error": "Median distance between the inliers' keypoints and their projected map points",
    "iterations": "Samples that RANSAC tried, and local refinements of the best ones",
    "method": "How matches were chosen for RANSAC; the seed repeats the same answer",
    "evidence": "Log-likelihood ratio of the pose to chance, by how likely its matches are right and by the labels of all it "
    "sees; enough of it stands in for inliers",
    "label fit": "Mean log-likelihood ratio of the labels of all map points that the pose sees; 0 is what chance gives",
    "guided matches": "Points found again near where the pose puts them, inliers among them; the pose is fitted to these",
    "guided evidence": "Log-likelihood ratio of the pose to chance by its guided matches; enough of it stands in for inliers",
    "camera centre": "Position of the estimated camera in the world",
    "agreement": "Share of the points known in both images whose label is the same there",
    "kappa": "Agreement beyond chance: 1 is perfect, 0 is what two unrelated images give",
    "information": "Mutual information: how much a label in one image tells of the label in the other",
    "effective labels": "How many labels are really in use, 2 to the power of their entropy; few labels agree easily",
}
ROWS_IN_BLOCK = 7


class PosePanel(QWidget):
    """Passive: one setter a record."""

    evidence_requested = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._funnel = [_Step() for _ in range(4)]
        self._verdict = QLabel()
        self._verdict.setObjectName("title")
        self._verdict.setIndent(0)
        self._verdict.setWordWrap(True)
        self._verdict.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._verdict.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._evidence = QPushButton("Show the evidence", objectName="link")
        self._evidence.setToolTip("The Autopsy tab: the numbers behind this result, and what would help")
        self._evidence.clicked.connect(self.evidence_requested)
        self.histogram = ErrorHistogram()
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(4)
        content = QScrollArea(widgetResizable=True)
        content.setFrameShape(QFrame.Shape.NoFrame)
        content.setWidget(self._make_body())
        self._body = Emptiable(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._body)
        self.set_empty("No pose yet.")

    def _make_body(self) -> QWidget:
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(12, 8, 12, 8)
        row.setSpacing(32)
        left = QVBoxLayout()
        left.setSpacing(4)
        steps = self._steps = QWidget()
        steps.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        funnel = QHBoxLayout(steps)
        funnel.setContentsMargins(0, 0, 0, 0)
        funnel.setSpacing(8)
        for index, step in enumerate(self._funnel):
            step.arrow.setVisible(index > 0)
            funnel.addWidget(step)
        funnel.addStretch(1)
        left.addWidget(steps)
        left.addSpacing(4)
        left.addWidget(self._verdict)
        left.addWidget(self._evidence)
        left.addStretch(1)
        right = QVBoxLayout()
        right.addLayout(self._grid)
        right.addStretch(1)
        row.addLayout(left, 1)
        row.addWidget(self.histogram, 1)
        row.addLayout(right, 0)
        return body

    def set_empty(self, hint: str) -> None:
        """Say why there are no numbers."""
        self._body.set_hint(hint)

    @property
    def hint(self) -> str:
        return self._body.hint

    def set_localization(self, done: Localization, word: str, agreement: PairAgreement | None, cause: str = "") -> None:
        """Show the numbers of one query; ``word`` is its outcome, ``cause`` the sentence that explains it."""
        result, stats = done.result, done.result.stats
        steps = [("keypoints", f"{len(done.features):,}"), ("matches", f"{len(done.matches):,}")]
        if done.consistency is not None and not done.consistency.keep.all():
            steps.append(("kept", f"{int(done.consistency.keep.sum()):,}"))
        self._show_funnel([*steps, ("inliers", f"{stats.num_inliers:,}")])
        by_labels = by_labels_alone(result.method)  # no matches to count
        self._steps.setVisible(not by_labels)
        if result.failure:
            verdict = f"No pose: {result.failure}"
        else:
            verdict = f"Pose {OUTCOME_WORDS[word]}" if done.error else "Pose found; its truth is not known"
        self._evidence.setVisible(bool(cause))
        shown = "" if cause in verdict else f"\n{cause[:1].upper()}{cause[1:]}"
        self._show_verdict("failed" if result.failure else word, verdict + shown)
        self.histogram.set_errors(
            None if result.failure or by_labels else result.reproj_errors_px, result.config.get("max_error_px", 0.0)
        )
        rows = _error_rows(done) + _pose_rows(done) + _agreement_rows(agreement)
        self._fill(rows)

    def set_pair(self, pair: PairMatches, agreement: PairAgreement | None, why_no_pose: str) -> None:
        """Show the numbers of two images that were matched to each other; ``why_no_pose`` says why there is no pose."""
        inliers = int(pair.inlier_mask.sum())
        self._steps.show()
        keypoints = " + ".join(f"{count:,}" for count in pair.num_keypoints)
        steps = [("keypoints", keypoints), ("matches", f"{len(pair.scores):,}"), ("inliers", f"{inliers:,}")]
        self._show_funnel(steps, inliers="pair inliers")
        self._evidence.hide()
        self.histogram.set_errors(None)
        found = f"No epipolar geometry: {pair.failure}" if pair.failure else "Epipolar geometry found."
        self._show_verdict("failed" if pair.failure else "", f"{found}\n{why_no_pose}")
        self._fill([_ratio(inliers, len(pair.scores))] + _agreement_rows(agreement))

    def _show_funnel(self, counts: list[tuple[str, str]], inliers: str = "inliers") -> None:
        for step, (name, count) in zip(self._funnel, counts):
            step.show_count(name, count, TIPS[inliers if name == "inliers" else name])
        for index, step in enumerate(self._funnel):
            step.setVisible(index < len(counts))
        self._body.set_hint("")

    def _show_verdict(self, word: str, text: str) -> None:
        mark = f"{OUTCOME_MARKS[word]}  " if word else ""
        color = outcome_color(word).name() if word else ""
        self._verdict.setText(f"{mark}{text}")
        self._verdict.setStyleSheet(f"color: {color};" if color else "")

    def _fill(self, rows: list[tuple[str, str, str, str]]) -> None:
        """Rows of (name, value, unit, key of the tooltip)."""
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        in_block = ceil(len(rows) / max(1, ceil(len(rows) / ROWS_IN_BLOCK)))  # blocks of about one height
        for row, (name, value, unit, tip) in enumerate(rows):
            cells = quiet_label(name), QLabel(value), quiet_label(unit)
            cells[1].setFont(tabular_font(self.font()))
            cells[1].setAlignment(NUMBER)
            cells[1].setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            block = row // in_block
            for column, cell in enumerate(cells):
                cell.setWordWrap(False)
                cell.setToolTip(TIPS[tip])
                self._grid.addWidget(cell, row % in_block, 4 * block + column)
            self._grid.setColumnMinimumWidth(4 * block + 3, 16)


class _Step(QWidget):
    """One big number with its word below, and an arrow that leads to it."""

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.arrow = quiet_label("→")
        self.arrow.setWordWrap(False)
        layout = QVBoxLayout()
        layout.setSpacing(0)
        row.addWidget(self.arrow)
        row.addLayout(layout)
        self._count, self._name = QLabel(), quiet_label()
        self._count.setObjectName("title")
        self._count.setIndent(0)
        self._count.setFont(tabular_font(self.font(), scale=1.6, bold=True))
        self._name.setWordWrap(False)
        layout.addWidget(self._count)
        layout.addWidget(self._name)

    def show_count(self, name: str, count: str, tip: str) -> None:
        self._count.setText(count)
        self._name.setText(name)
        self.setToolTip(tip)


def _ratio(inliers: int, matches: int) -> tuple[str, str, str, str]:
    return "inlier ratio", f"{100 * inliers / max(1, matches):.1f}", "%", "inlier ratio"


def _error_rows(done: Localization) -> list[tuple[str, str, str, str]]:
    if done.error is None:
        return []
    position, rotation = done.error.position_m, done.error.rotation_deg
    return [
        ("position error", f"{position:.2f}", "m", "position error"),
        ("rotation error", f"{rotation:.2f}", "°", "rotation error"),
    ]


def _pose_rows(done: Localization) -> list[tuple[str, str, str, str]]:
    result, stats = done.result, done.result.stats
    rows = [] if by_labels_alone(result.method) else [_ratio(stats.num_inliers, len(done.matches))]
    if result.inlier_mask.any():
        errors = sorted(result.reproj_errors_px[result.inlier_mask])
        rows.append(("reprojection error, median", f"{errors[len(errors) // 2]:.2f}", "px", "reprojection error"))
    if result.cam_from_world is not None:
        x, y, z = result.cam_from_world.center()
        rows.append(("camera centre x, y, z", f"{x:.2f}, {y:.2f}, {z:.2f}", "m", "camera centre"))
    if not is_sequence(result.method):
        rows.append(("iterations + refinements", f"{stats.num_iterations:,} + {stats.num_refinements:,}", "", "iterations"))
    rows.append(("method, seed", f"{result.method}, {result.seed}", "", "method"))
    if stats.evidence is not None:
        rows.append(("evidence", f"{stats.evidence:.0f}", "nats", "evidence"))
    if stats.label_fit is not None:
        rows.append(("labels in view fit", f"{stats.label_fit:.2f}", "nats", "label fit"))
    if stats.guided_matches is not None:
        rows.append(("guided matches", f"{stats.guided_matches:,}", "", "guided matches"))
        rows.append(("evidence of these", f"{stats.guided_evidence:.0f}", "nats", "guided evidence"))
    return rows


def _agreement_rows(agreement: PairAgreement | None) -> list[tuple[str, str, str, str]]:
    if agreement is None:
        return []
    stats = agreement.stats
    return [
        ("labels equal", f"{100 * stats.agreement:.1f}", "%", "agreement"),
        ("label kappa", f"{stats.kappa:.2f}", "", "kappa"),
        ("label information", f"{stats.mutual_information_bits:.2f}", "bits", "information"),
        ("effective labels", f"{stats.effective_labels:.1f}", "", "effective labels"),
    ]
