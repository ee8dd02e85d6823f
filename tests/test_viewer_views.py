"""The passive views and the pure functions behind them: setters in, signals out, what is missing is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QGuiApplication
from viewer_fakes import NAMES, toy_localization, toy_scene

from core.evaluation.recall import OUTCOME_MARKS
from core.records import Consistency, LabelMap, PairMatches, Progress
from fgsn_viewer import palette
from fgsn_viewer.localizing import Outcome, outcome_of
from fgsn_viewer.settings import MAX_RECENT, Settings
from fgsn_viewer.tables import MatchRows, epipolar_distance, label_rows, localization_rows, pair_rows
from fgsn_viewer.theme import THEMES, style_sheet
from fgsn_viewer.views.autopsy_panel import AutopsyPanel
from fgsn_viewer.views.banner import Banner
from fgsn_viewer.views.common import pixmap_of
from fgsn_viewer.views.label_table import LabelTable
from fgsn_viewer.views.log_view import LogView
from fgsn_viewer.views.match_table import COLUMNS, MatchTable
from fgsn_viewer.views.pair_header import PairHeader
from fgsn_viewer.views.pose_panel import TIPS, PosePanel
from fgsn_viewer.views.scene_tree import SceneTree, short_names
from fgsn_viewer.views.selection_panel import NOTHING, SelectionPanel, label_lines, match_lines, point_lines
from fgsn_viewer.views.start_page import MAX_SHOWN, StartPage
from fgsn_viewer.views.status_line import StatusLine

ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


def label_map(values, num_labels=12) -> LabelMap:
    return LabelMap(np.array(values, np.uint16), num_labels, "toy", names=NAMES[:num_labels])


def match_rows(count=5) -> MatchRows:
    points = np.arange(2 * count, dtype=float).reshape(count, 2)
    points_ref = points.copy()
    points_ref[1:2] = np.nan
    return MatchRows(
        scores=np.linspace(0.1, 0.9, count),
        errors_px=np.array([10.0, 2.0, 9.0, np.nan, 100.0])[:count],
        kinds=np.array([0, 1, 1, 0, 0])[:count],
        point_ids=np.array([7, 10, 9, 100, 8])[:count],
        images=np.zeros(count),
        points_ref=points_ref,
        points_query=points,
        image_names=("overcast/0.jpg",),
    )


def column(table, index: int) -> list[str]:
    model = table.model()
    return [model.index(row, index).data() for row in range(model.rowCount())]


# labels


def test_label_rows_hold_the_labels_present_on_either_side_largest_first():
    rows = label_rows(label_map([[1, 1, 1, 5]]), label_map([[5, 5, 2, 2]]))
    assert rows.ids.tolist() == [1, 5, 2]
    assert rows.share_ref.tolist() == [0.75, 0.25, 0.0]
    assert rows.share_query.tolist() == [0.0, 0.5, 0.5]


def test_label_rows_of_one_side_leave_the_other_open():
    rows = label_rows(None, label_map([[3, 3]]))
    assert rows.ids.tolist() == [3]
    assert np.isnan(rows.share_ref).all()
    assert len(label_rows(None, None)) == 0


@pytest.fixture
def label_table(qtbot):
    table = LabelTable()
    qtbot.addWidget(table)
    rows = label_rows(label_map([[2, 2, 2, 10], [9, 9, 10, 1]]), label_map([[2, 9, 9, 9], [9, 9, 9, 9]]))
    table.set_labels(rows, palette.label_colors(12), NAMES)
    return table


@pytest.mark.parametrize(("by", "order", "expected"), [(0, ASCENDING, [1, 2, 9, 10]), (3, DESCENDING, [9, 2])])
def test_labels_sort_by_number_not_by_text(label_table, by, order, expected):
    label_table.table.sortByColumn(by, order)
    assert label_table.ids()[: len(expected)] == expected


@pytest.mark.parametrize(("text", "expected"), [("thing 9", {9}), ("1", {1, 10}), ("", {1, 2, 9, 10}), ("nowhere", set())])
def test_search_finds_ids_and_names(label_table, text, expected):
    label_table.search.setText(text)
    assert set(label_table.ids()) == expected


def test_the_isolated_label_is_selected_without_saying_so(qtbot, label_table):
    seen = []
    label_table.label_clicked.connect(seen.append)
    label_table.set_isolated(9)
    row = label_table.table.selectionModel().selectedRows()[0].row()
    assert label_table.ids()[row] == 9
    label_table.set_isolated(None)
    assert not label_table.table.selectionModel().selectedRows()
    assert seen == []


def test_a_label_in_the_table_has_the_colour_it_has_in_the_images(label_table):
    model = label_table.table.model()
    row = label_table.ids().index(10)
    icon = model.index(row, 0).data(Qt.ItemDataRole.DecorationRole)
    assert icon.pixmap(16, 16).toImage().pixelColor(8, 8).getRgb()[:3] == tuple(palette.label_colors(12)[10])


def test_no_labels_are_said_where_they_would_be(label_table):
    label_table.set_labels(None, palette.label_colors(0), None, "Labels > Network makes them")
    assert label_table.hint == "Labels > Network makes them"
    assert not label_table.search.isEnabled()


# matches


@pytest.fixture
def match_table(qtbot):
    table = MatchTable()
    qtbot.addWidget(table)
    rows = match_rows()
    table.set_matches(rows, (np.array([1, -1, 3, 4, 5]), np.array([5, 4, 3, 2, 1])))
    return table


@pytest.mark.parametrize(
    ("name", "order", "expected"),
    [
        ("Error, px", ASCENDING, [1, 2, 0, 4, 3]),
        ("Error, px", DESCENDING, [4, 0, 2, 1, 3]),
        ("Map point", ASCENDING, [0, 4, 2, 1, 3]),
        ("Kind", DESCENDING, [2, 1, 4, 3, 0]),
        ("Label left", DESCENDING, [4, 3, 2, 0, 1]),
    ],
)
def test_matches_sort_by_number_and_missing_values_come_last(match_table, name, order, expected):
    match_table.table.sortByColumn(COLUMNS.index(name), order)
    assert match_table.model.order.tolist() == expected


def test_a_selection_follows_its_match_when_the_table_is_sorted(match_table):
    match_table.set_selected(4)
    match_table.table.sortByColumn(COLUMNS.index("Score"), DESCENDING)
    assert match_table.table.currentIndex().row() == 0
    match_table.table.sortByColumn(COLUMNS.index("Score"), ASCENDING)
    assert match_table.table.currentIndex().row() == 4


def test_choosing_a_row_tells_the_match_and_being_told_does_not(qtbot, match_table):
    seen = []
    match_table.match_chosen.connect(seen.append)
    match_table.set_selected(3)
    assert seen == []
    match_table.table.selectRow(0)
    assert seen == [int(match_table.model.order[0])]


def test_an_absent_error_is_a_dash_and_inliers_have_a_word(match_table):
    match_table.table.sortByColumn(0, ASCENDING)
    assert column(match_table.table, COLUMNS.index("Error, px")) == ["10.00", "2.00", "9.00", "–", "100.00"]
    assert column(match_table.table, 1)[1] == "● inlier"
    assert column(match_table.table, 1)[0] == "✕ outlier"
    assert column(match_table.table, COLUMNS.index("Label left"))[1] == "–"


@pytest.mark.parametrize("count", [0, 1])
def test_tables_take_no_match_and_one_match(qtbot, count):
    table = MatchTable()
    qtbot.addWidget(table)
    rows = match_rows(count)
    table.set_matches(rows, (np.zeros(len(rows), int), np.zeros(len(rows), int)), "nothing was found")
    assert table.model.rowCount() == len(rows)
    assert table.hint == ("nothing was found" if count == 0 else "")


def test_match_rows_draw_only_what_the_shown_reference_sees(tmp_path):
    scene = toy_scene(tmp_path)
    localization = toy_localization(scene.queries[0], scene.map)
    for image in range(3):
        rows = localization_rows(localization, scene.map, image)
        seen = set(scene.map.observations.point[scene.map.observations.image == image].tolist())
        assert rows.point_ids[rows.shown()].tolist() == [p for p in rows.point_ids.tolist() if p in seen]
    assert len(localization_rows(localization, scene.map, None).shown()) == 0


def test_the_distance_to_an_epipolar_line_is_measured_in_the_query():
    fundamental = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # a sideways move: rows stay rows
    points = np.array([[10.0, 20], [30, 40]])
    pair = PairMatches(points, points + [5, 3], np.ones(2), np.ones(2, bool), fundamental, (2, 2))
    assert np.allclose(epipolar_distance(pair), 3.0)
    assert np.isnan(epipolar_distance(PairMatches(points, points, np.ones(2), np.zeros(2, bool), None, (2, 2), "none"))).all()
    assert pair_rows(pair, "a.jpg").image_names == ("a.jpg",)


# tree


@pytest.fixture
def tree(qtbot, tmp_path):
    view = SceneTree()
    qtbot.addWidget(view)
    view.resize(260, 500)
    view.set_scene(toy_scene(tmp_path))
    view.show()
    return view


def test_the_tree_lists_queries_by_condition_and_the_reference_last(tree):
    groups = [tree._model.item(row).text() for row in range(tree._model.rowCount())]
    assert groups == ["snow", "night", "reference"]
    assert [tree._model.item(row, 1).text() for row in range(3)] == ["2", "2", "3"]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a/1.jpg", "a/2.jpg"], ["1.jpg", "2.jpg"]),
        (["a/1.jpg", "b/1.jpg"], ["a/1", "b/1"]),
        (
            ["q/img_00040_c0_1283353202666680us.jpg", "q/img_00041_c1_1283353202733347us.jpg"],
            ["00040_c0_…2666680us", "00041_c1_…2733347us"],
        ),
        (["sun/left/1417176463999821.jpg", "sun/rear/1417176463999821.jpg"], ["left/…3999821", "rear/…3999821"]),
        (["sun/rear/1417176463999821.jpg"], ["…3999821"]),
    ],
)
def test_short_names_tell_the_images_of_a_group_apart(names, short):
    assert short_names(names) == short


def test_the_filter_finds_what_a_short_name_leaves_out(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    view = SceneTree()
    qtbot.addWidget(view)
    long = [replace(image, name=f"query/img_0004{k}_c0_1283353202666680us.jpg") for k, image in enumerate(scene.queries)]
    view.set_scene(replace(scene, queries=tuple(long), map=None))
    view.filter.setText("img_00041_c0_128")
    assert view._proxy.rowCount() == 1
    assert view._proxy.rowCount(view._proxy.index(0, 0)) == 1


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome("snow/0000.png", "good", 90, 0.1, 0.5), f"{OUTCOME_MARKS['good']} 0.10 m"),
        (Outcome("snow/0000.png", "poor", 20, 3.25, 5.0), f"{OUTCOME_MARKS['poor']} 3.25 m"),
        (Outcome("snow/0000.png", "bad", 9, 1234.5, 99.0), f"{OUTCOME_MARKS['bad']} > 100 m"),
        (Outcome("snow/0000.png", "failed"), f"{OUTCOME_MARKS['failed']} no pose"),
        (Outcome("snow/0000.png", "unknown", 50), OUTCOME_MARKS["unknown"]),
    ],
)
def test_a_mark_says_how_a_localization_ended_in_shape_and_number(tree, outcome, text):
    tree.set_outcomes({outcome.name: outcome})
    assert tree._status[outcome.name].text() == text
    assert tree._status["snow/0001.png"].text() == OUTCOME_MARKS[""]
    assert tree._status[outcome.name].toolTip()


def test_a_condition_counts_its_good_queries(tree):
    tree.set_outcomes(
        {f"snow/000{i}.png": Outcome(f"snow/000{i}.png", word, 1, 0.1, 0.1) for i, word in enumerate(["good", "bad"])}
    )
    assert tree._model.item(0, 1).text() == "1 of 2"
    tree.set_outcomes({"snow/0000.png": Outcome("snow/0000.png", "good", 1, 0.1, 0.1)})
    assert tree._model.item(0, 1).text() == "2"  # not all have been tried: no verdict on the condition
    assert "1 localized, 1 of them" in tree._model.item(0, 1).toolTip()


def test_the_filter_keeps_matching_images_and_whole_conditions(tree):
    tree.filter.setText("NIGHT")
    assert tree._proxy.rowCount() == 1
    assert tree._proxy.rowCount(tree._proxy.index(0, 0)) == 2
    tree.filter.setText("0002")
    assert tree._proxy.index(0, 0).data() == "reference"


def test_being_told_the_query_emits_nothing_and_a_click_does(qtbot, tree):
    seen = []
    tree.query_chosen.connect(seen.append)
    tree.set_query("night/0001.png")
    assert tree.tree.currentIndex().data() == "0001.png"
    assert seen == []
    tree.tree.setCurrentIndex(tree._proxy.mapFromSource(tree._items["snow/0001.png"].index()))
    assert seen == ["snow/0001.png"]


def test_thumbnails_are_asked_for_once_and_only_in_sight(qtbot, tree):
    with qtbot.waitSignal(tree.thumbnails_wanted) as asked:
        tree._lazy.start()
    assert "snow/0000.png" in asked.args[0]
    assert "overcast/0000.png" not in asked.args[0]  # the reference is folded
    with qtbot.assertNotEmitted(tree.thumbnails_wanted, wait=150):
        tree._lazy.start()


def test_a_scene_without_a_map_has_no_marks(tree, tmp_path):
    tree.set_scene(toy_scene(tmp_path / "b", with_map=False))
    assert {item.text() for item in tree._status.values()} == {""}


# panels


def test_the_pose_panel_shows_the_funnel_and_defines_every_number(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    panel = PosePanel()
    qtbot.addWidget(panel)
    done = toy_localization(scene.queries[0], scene.map)
    panel.set_localization(done, outcome_of(done).word, None, "a pose that many matches agree with")
    counts = [step._count.text() for step in panel._funnel]
    assert counts == ["30", str(len(done.matches)), str(done.result.stats.num_inliers), ""]
    assert [step.toolTip() for step in panel._funnel[:3]] == [TIPS["keypoints"], TIPS["matches"], TIPS["inliers"]]
    keep = np.arange(len(done.matches)) < 5
    by_labels = replace(done, consistency=Consistency(keep))
    panel.set_localization(by_labels, outcome_of(done).word, None)
    assert [step._count.text() for step in panel._funnel][1:] == [counts[1], "5", counts[2]]
    assert [step.isHidden() for step in panel._funnel] == [False] * 4
    panel.set_localization(done, outcome_of(done).word, None, "a pose that many matches agree with")
    assert [step.isHidden() for step in panel._funnel] == [False, False, False, True]
    cells = [panel._grid.itemAt(i).widget() for i in range(panel._grid.count())]
    assert all(cell.toolTip() for cell in cells)
    assert {"position error", "0.10", "m"} <= {cell.text() for cell in cells}
    assert "evidence" not in {cell.text() for cell in cells}
    stats = replace(done.result.stats, evidence=123.4, label_fit=1.97, guided_evidence=88.6, guided_matches=37)
    panel.set_localization(replace(done, result=replace(done.result, stats=stats)), outcome_of(done).word, None)
    cells = [panel._grid.itemAt(i).widget().text() for i in range(panel._grid.count())]
    assert {"evidence", "123", "labels in view fit", "1.97", "nats"} <= set(cells)
    assert {"guided matches", "37", "evidence of these", "89"} <= set(cells)
    assert "within 0.25 m and 2°" in panel._verdict.text()


def test_a_failed_query_shows_its_failure_and_never_a_pose(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    panel = PosePanel()
    qtbot.addWidget(panel)
    panel.set_localization(toy_localization(scene.queries[0], scene.map, "no consensus"), "failed", None)
    texts = {panel._grid.itemAt(i).widget().text() for i in range(panel._grid.count())}
    assert panel._verdict.text().endswith("No pose: no consensus")
    assert "camera centre x, y, z" not in texts
    assert "position error" not in texts


def test_the_autopsy_names_cause_evidence_and_remedy_as_text_not_markup(qtbot):
    class Item:
        name, value, sentence = "matches", 3.0, "3 <matches> only"

    class Autopsy:
        cause, evidence, remedy = "few matches < needed", (Item(),), "a map in snow"

    panel = AutopsyPanel()
    qtbot.addWidget(panel)
    assert panel.hint
    panel.set_autopsy(Autopsy(), "failed")
    assert panel.hint == ""
    assert "Few matches &lt; needed" in panel.cause
    assert "a map in snow" in panel._remedy.text()
    assert panel._evidence.count() == 1
    panel.set_autopsy(None, "", "Localizing…")
    assert panel.hint == "Localizing…"


def test_the_banner_copies_details_that_it_does_not_show(qtbot):
    banner = Banner()
    qtbot.addWidget(banner)
    banner.show_failure("x.png: cut off", "Try another file.", "Traceback ...")
    assert banner.sentence == "x.png: cut off\nTry another file."
    banner._copy.click()
    assert QGuiApplication.clipboard().text() == "Traceback ..."
    banner._close.click()
    assert banner.isHidden()


def test_the_log_keeps_lines_with_their_time(qtbot):
    view = LogView("/somewhere/log.txt")
    qtbot.addWidget(view)
    view.add("opened a scene")
    line = view.text.toPlainText()
    assert line.endswith("  opened a scene")
    assert line[2] == line[5] == ":"


def test_the_header_lists_references_with_their_inliers(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    header = PairHeader()
    qtbot.addWidget(header)
    ranked = [(scene.reference[2], 9), (scene.reference[0], 1), (scene.reference[1], None)]
    header.set_references(ranked, scene.reference[0])
    texts = [header.references.itemText(i) for i in range(3)]
    assert texts == ["overcast/0002.png   (9 inliers)", "overcast/0000.png   (1 inlier)", "overcast/0001.png"]
    assert header.references.currentData() == "overcast/0000.png"
    with qtbot.waitSignal(header.reference_chosen) as chosen:
        header.references.activated.emit(0)
    assert chosen.args == ["overcast/0002.png"]


def test_the_status_line_shows_what_is_most_pressing(qtbot):
    line = StatusLine()
    qtbot.addWidget(line)
    line.show_progress("all", Progress("query 3 of 8", 0.3))
    line.show_progress("open", Progress("opening x"))
    assert line.message == "Opening x"
    line.end_progress("open")
    assert line.message == "Query 3 of 8"
    line.end_progress("all")
    assert line.message == "Ready"


def test_the_selection_says_how_to_select_while_nothing_is(qtbot, tmp_path):
    panel = SelectionPanel()
    qtbot.addWidget(panel)
    assert panel._body.hint == NOTHING
    scene = toy_scene(tmp_path)
    shares = (np.array([0.25, 0.75]), None)
    panel.set_rows(label_lines(1, shares, NAMES, True) + point_lines(3, scene.map, scene.map.labels))
    assert panel.texts()[:2] == ["1 thing 1  (isolated)", "75.0 %, –"]
    assert any("80 % of its votes" in text for text in panel.texts())
    seen = np.flatnonzero(scene.map.observations.point == 3)
    views = np.full((len(scene.map.observations.point), 9), 2)
    views[seen[0]] = 1
    told = dict(point_lines(3, scene.map, replace(scene.map.labels, views=views)))["seen as"]
    assert sorted(part.split()[0] for part in told.splitlines()) in (["1", "2"], ["1", "2", "2"])
    assert told.endswith(" m")
    assert point_lines(None, scene.map, None) == label_lines(1, (None, None), None, False) == []


def test_a_match_says_how_likely_it_is_right_where_the_method_knows():
    plain = match_rows(3)
    weighed = replace(plain, likely=np.array([0.421, 0.0012, 1.0]))
    assert "likely right" not in dict(match_lines(plain, 0, None))
    assert [dict(match_lines(weighed, k, None))["likely right"] for k in range(3)] == ["42.1 %", "0.1 %", "100.0 %"]


def test_the_start_page_lists_recent_scenes_and_opens_them(qtbot):
    page = StartPage()
    qtbot.addWidget(page)
    entries = [(Path(f"/data/scene{i}"),) for i in range(9)]
    page.set_recent(entries)
    assert page._recent.count() == MAX_SHOWN
    with qtbot.waitSignal(page.recent_chosen) as chosen:
        page._recent.itemAt(1).widget().click()
    assert chosen.args[0] == entries[1]
    page.set_recent(())
    assert page._recent.count() == 0


def test_a_pixmap_has_the_colours_of_its_array(qtbot):
    rgb = np.zeros((3, 5, 3), np.uint8)
    rgb[1, 4] = (10, 200, 30)
    image = pixmap_of(rgb[:, ::1]).toImage()
    assert image.pixelColor(4, 1).getRgb()[:3] == (10, 200, 30)


# settings and theme


@pytest.fixture
def settings(tmp_path):
    return Settings(QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat))


def test_recent_scenes_are_kept_newest_first_without_doubles_or_lost_ones(settings, tmp_path):
    folders = [tmp_path / f"ä {i}" for i in range(MAX_RECENT + 3)]
    for folder in folders:
        folder.mkdir()
        settings.add_recent([folder])
    settings.add_recent([folders[5]])
    assert settings.recent()[0] == (folders[5],)
    assert len(settings.recent()) == MAX_RECENT
    assert len(set(settings.recent())) == MAX_RECENT
    folders[5].rmdir()
    assert (folders[5],) not in settings.recent()


def test_a_pair_is_remembered_as_two_paths(settings, tmp_path):
    paths = (tmp_path / "a.jpg", tmp_path / "b.jpg")
    for path in paths:
        path.touch()
    settings.add_recent(paths)
    assert settings.recent() == [paths]
    settings.clear_recent()
    assert settings.recent() == []


def test_damaged_settings_count_as_absent(tmp_path):
    file = tmp_path / "s.ini"
    file.write_text("theme=purple\n[window]\ngeometry=17\nlayout=x\nversion=1\n[recent]\nsize=nonsense\n")
    settings = Settings(QSettings(str(file), QSettings.Format.IniFormat))
    assert settings.theme == "dark"
    assert settings.window() is None
    assert settings.recent() == []


@pytest.mark.parametrize("name", THEMES)
def test_every_theme_shows_where_the_focus_is(name):
    sheet = style_sheet(name)
    assert ":focus" in sheet
    assert "{" in sheet
    assert "{{" not in sheet
