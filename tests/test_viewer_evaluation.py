"""The evaluation tab: curves, table and points from lines of results, and the query behind each point."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_fakes import ToyRow

from core.evaluation.intervals import share_curve
from core.evaluation.rows import QueryRow
from fgsn_viewer.evaluation_rows import ALL, conditions_of, recall_curves, recall_lines, scatter_rows
from fgsn_viewer.views.evaluation_panel import EVERYTHING, EvaluationPanel


def row(query, method="p3p", error=0.1, condition="snow", has_truth=True, labels="", inliers=20, rotation=1.0):
    return ToyRow(
        scene="Toy street",
        query=query,
        condition=condition,
        method=method,
        labels=labels,
        has_truth=has_truth,
        position_error_m=error,
        rotation_error_deg=None if error is None else rotation,
        num_matches=40,
        num_kept=30,
        num_inliers=inliers,
        total_seconds=0.5,
        failure="lost" if error is None else None,
    )


ROWS = (
    row("snow/0.png", error=0.1),
    row("snow/1.png", error=0.4),
    row("snow/2.png", error=None, inliers=0),
    row("snow/3.png", error=3.0),
    row("night/0.png", error=None, condition="night", inliers=0),
    row("snow/0.png", "ssmc", error=0.2, labels="world-100", inliers=15),
    row("snow/1.png", "ssmc", error=0.2, labels="world-100", rotation=30.0),
)


def test_the_lines_that_the_window_reads_are_those_of_an_evaluation():
    wanted = set(ToyRow.__dataclass_fields__) - {"total_seconds"}
    assert wanted <= set(QueryRow.__dataclass_fields__)
    assert all(hasattr(QueryRow, name) for name in ("error", "identity", "total_seconds"))


def test_recall_counts_a_missing_pose_as_a_failure_and_all_conditions_come_last():
    lines = recall_lines(ROWS)
    assert [(line.condition, line.line, line.num_queries) for line in lines] == [
        ("snow", "p3p", 4),
        ("snow", "ssmc world-100", 2),
        ("night", "p3p", 1),
        (ALL, "p3p", 5),
        (ALL, "ssmc world-100", 2),
    ]
    assert lines[0].recall == (25.0, 50.0, 75.0)
    assert lines[1].recall == (50.0, 50.0, 50.0)  # 30 degrees off is never within
    assert lines[0].median_position_m == pytest.approx(1.7)
    assert lines[2].median_position_m is None


def test_queries_without_a_known_truth_do_not_count():
    assert recall_lines([row("a", has_truth=False)]) == []
    assert conditions_of([row("a", has_truth=False)]) == []


def test_a_recall_curve_is_that_of_the_report():
    errors, percent = recall_curves(ROWS)["p3p", ""]
    assert (np.diff(errors) >= 0).all()
    assert (np.diff(percent) >= 0).all()
    at = [0.05, 0.1, 0.2, 0.4, 1.0, 3.0, 50.0]
    expected = share_curve([0.1, 0.4, np.inf, 3.0, np.inf], at)
    assert [percent[np.flatnonzero(errors <= x)[-1]] for x in at] == pytest.approx(expected)


def test_a_condition_has_its_own_curves_and_points():
    assert recall_curves(ROWS, "night")["p3p", ""][1].max() == 0
    assert len(scatter_rows(ROWS)) == 5
    assert scatter_rows(ROWS, "night") == []


@pytest.fixture
def panel(qtbot):
    panel = EvaluationPanel()
    qtbot.addWidget(panel)
    panel.resize(900, 300)
    panel.show()
    return panel


def test_an_empty_evaluation_says_how_to_get_one(panel):
    assert "Run all queries" in panel.hint
    panel.set_rows([row("a", has_truth=False)], "")
    assert "No true pose" in panel.hint


def test_the_panel_shows_curves_table_and_points(panel):
    panel.set_rows(ROWS, "")
    assert panel.hint == ""
    assert panel.curves.names == ("p3p", "ssmc world-100")
    assert panel.table.texts(0) == ["snow", "p3p", "4", "25.0", "50.0", "75.0", "1.70", "1.00", "0.50"]
    assert panel.table.texts(2)[6] == "–"
    assert len(panel.scatter.rows) == 5
    assert panel.close_.isHidden()


def test_plots_are_drawn_when_somebody_looks(qtbot):
    panel = EvaluationPanel()
    qtbot.addWidget(panel)
    panel.set_rows(ROWS, "")
    assert panel.scatter.rows == ()
    assert panel.table.rowCount() == 5
    panel.show()
    assert len(panel.scatter.rows) == 5


def test_a_condition_that_is_chosen_stays_chosen_while_results_come(panel):
    panel.set_rows(ROWS, "")
    panel.condition.setCurrentText("snow")
    panel.condition.activated.emit(1)
    assert len(panel.scatter.rows) == 5
    panel.set_rows((*ROWS, row("night/1.png", condition="night")), "")
    assert panel.condition.currentText() == "snow"
    assert len(panel.scatter.rows) == 5


def test_a_click_on_a_line_shows_its_condition_in_the_plots(panel):
    panel.set_rows(ROWS, "")
    panel.table.cellClicked.emit(2, 0)
    assert panel.condition.currentText() == "night"
    assert panel.scatter.rows == ()
    panel.table.cellClicked.emit(3, 0)
    assert panel.condition.currentText() == EVERYTHING


def test_a_click_on_a_point_tells_its_query_and_method(panel):
    panel.set_rows(ROWS, "/results")
    told = []
    panel.query_chosen.connect(lambda *args: told.append(args))
    spots = panel.scatter.points
    assert [spot.data() for spot in spots.points()] == list(scatter_rows(ROWS))
    spots.sigClicked.emit(spots, spots.points()[-2:], None)
    assert told == [("snow/0.png", "ssmc")]


def test_opening_and_leaving_results_are_told(panel, qtbot):
    panel.set_rows(ROWS, "/results")
    assert not panel.close_.isHidden()
    for button, signal in ((panel.open, panel.open_requested), (panel.close_, panel.close_requested)):
        with qtbot.waitSignal(signal):
            button.click()


def test_the_table_sorts_by_number_and_missing_medians_come_last(panel):
    panel.set_rows(ROWS, "")
    panel.table.sortItems(6)
    medians = [panel.table.texts(line)[6] for line in range(panel.table.rowCount())]
    assert medians[:3] == ["0.20", "0.20", "1.70"]
    assert medians[-1] == "–"
