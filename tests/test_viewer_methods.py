"""All methods in the window: running them, their answers side by side, kinds of matches, circles, tracks."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtWidgets import QCheckBox
from viewer_fakes import Calls, toy_localization, toy_pipelines, toy_row, toy_scene

from core.records import Consistency
from fgsn_viewer import display, display3d
from fgsn_viewer.controller import Controller
from fgsn_viewer.localizing import Outcome, Track, Way
from fgsn_viewer.methods import PFSL, STYLES, is_sequence
from fgsn_viewer.state import ViewerState
from fgsn_viewer.tables import localization_rows, match_kinds
from fgsn_viewer.tasks import TaskRunner
from fgsn_viewer.views.kind_filter import KindFilter
from fgsn_viewer.views.match_table import MatchTable
from fgsn_viewer.views.method_table import MethodTable
from fgsn_viewer.views.pair_header import PairHeader
from fgsn_viewer.views.scene3d_view import Scene3DView
from fgsn_viewer.views.selection_panel import match_lines
from fgsn_viewer.views.track_slider import TrackSlider

DROPPED, GUIDED, INLIER, OUTLIER = display.DROPPED, display.GUIDED, display.INLIER, display.OUTLIER


def test_the_window_lists_the_methods_of_the_localizer():
    from core.evaluation.job import SEQUENCE_METHODS, needs_labels
    from core.localizer.pipeline import METHODS

    assert list(STYLES) == [*METHODS, *SEQUENCE_METHODS]
    assert {name for name, style in STYLES.items() if style.needs_labels} == {name for name in STYLES if needs_labels(name)}
    assert {name for name in STYLES if is_sequence(name)} == set(SEQUENCE_METHODS)


def test_no_two_methods_look_alike():
    assert len({style.color for style in STYLES.values()}) == len({style.dashes for style in STYLES.values()}) == len(STYLES)


class Bench:
    """A controller over toy pipelines."""

    def __init__(self, root, qtbot):
        self.calls, self.qtbot = Calls(), qtbot
        self.calls.gate.set()
        self.scene = toy_scene(root)
        self.state, self.tasks = ViewerState(), TaskRunner()
        pipelines = toy_pipelines(lambda path: self.scene, self.calls, ("toy", "other"))
        self.controller = Controller(self.state, self.tasks, lambda: pipelines, None, root / "runs")
        self.failures = []
        self.controller.failed.connect(lambda what, failure: self.failures.append(failure.sentence))
        self.controller.start()
        self.wait()
        self.controller.open([root])
        self.wait()

    @property
    def localizing(self):
        return self.controller.localizing

    def wait(self):
        self.qtbot.waitUntil(lambda: self.tasks.is_idle, timeout=30_000)

    def select(self, method):
        self.localizing.select_method(method)
        self.wait()

    def run(self, scope):
        self.localizing.run(scope)
        self.wait()


@pytest.fixture
def bench(qtbot, tmp_path):
    bench = Bench(tmp_path / "scene", qtbot)
    yield bench
    bench.tasks.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgsn-task")]


def test_choosing_a_method_localizes_with_it_and_keeps_the_other_answer_beside(bench):
    bench.select("ssmc")
    assert bench.state.localization.result.method == "ssmc"
    assert set(bench.state.results) == {"p3p", "ssmc"}
    assert bench.calls.prepared.count("snow/0000.png") == 1  # keypoints and matches are shared
    assert bench.state.results["ssmc"].row.labels == "toy"
    assert bench.state.results["p3p"].row.labels == ""


def test_going_back_to_a_method_shows_its_answer_without_computing(bench):
    bench.select("ssmc")
    first = bench.state.results["p3p"].localization
    bench.select("p3p")
    assert bench.state.localization is first
    assert bench.calls.localized == ["snow/0000.png", "snow/0000.png ssmc"]


def test_all_methods_of_a_query_run_in_the_background(bench):
    bench.run("methods")
    assert set(bench.state.results) == {name for name in STYLES if not is_sequence(name)}
    assert bench.state.method == "p3p"
    assert len(bench.state.rows) == 5


def test_marks_in_the_tree_are_those_of_the_chosen_method(bench):
    bench.run("all")
    assert bench.state.outcomes["night/0001.png"].word == "failed"
    bench.select("ssmc")
    assert set(bench.state.outcomes) == {"snow/0000.png"}
    bench.run("condition")
    assert set(bench.state.outcomes) == {"snow/0000.png", "snow/0001.png"}
    bench.select("p3p")
    assert bench.state.outcomes["night/0001.png"].word == "failed"


def test_another_network_takes_away_what_was_made_with_the_first_and_brings_it_back(bench):
    bench.select("ssmc")
    with_toy = bench.state.localization
    bench.controller.select_network("other")
    bench.wait()
    assert bench.state.localization is not with_toy
    assert {row.labels for row in bench.state.rows} == {"", "toy", "other"}
    bench.controller.select_network("toy")
    bench.wait()
    assert bench.state.localization is with_toy


def test_a_method_that_needs_labels_says_so_without_a_network(bench):
    bench.controller.select_network("")
    bench.wait()
    bench.select("ssmc")
    assert "needs labels" in bench.state.localization.result.failure
    assert bench.failures == []


def test_a_map_without_labels_is_a_failure_of_the_method_and_not_of_the_others(bench, tmp_path):
    scene = replace(bench.scene, map=replace(bench.scene.map, labels=None), root=tmp_path / "other")
    bench.scene = scene
    bench.controller.open([tmp_path / "other"])
    bench.wait()
    bench.select("ssmc")
    assert "needs a labelled map" in bench.state.localization.result.failure
    bench.select("p3p")
    assert bench.state.localization.result.failure is None


def test_labelling_the_map_lets_methods_run_that_were_refused(bench, tmp_path):
    bench.scene = replace(bench.scene, map=replace(bench.scene.map, labels=None), root=tmp_path / "other")
    bench.controller.open([tmp_path / "other"])
    bench.wait()
    bench.select("ssmc")
    assert bench.state.localization.result.failure
    bench.controller.label_map()
    bench.wait()
    assert bench.state.point_labels.vocabulary == "toy"
    assert bench.state.localization.result.failure is None
    assert [row.failure for row in bench.state.rows if row.method == "ssmc"] == [None]
    bench.select("p3p")
    bench.select("ssmc")
    assert bench.state.localization.result.failure is None


def test_cancelling_other_work_leaves_a_training_alone(bench):
    bench.controller.training.prepare(bench.scene)
    bench.wait()
    bench.controller.training.start("toy", "Toy", {})
    bench.calls.gate.clear()
    bench.controller.select_query("night/0000.png")
    bench.controller.cancel()
    assert bench.tasks.channels == ("training",)
    bench.controller.cancel()
    bench.wait()
    assert bench.controller.training.state.phase == "stopped"


def test_gsmc_scores_the_circle_of_the_match_that_is_selected(bench):
    bench.select("gsmc")
    bench.controller.select_match(2)
    bench.wait()
    assert len(bench.state.circle.scores) == 24
    bench.controller.select_match(3)
    assert bench.state.circle is None  # never that of another match
    bench.wait()
    assert bench.state.circle is not None
    bench.select("p3p")
    bench.controller.select_match(2)
    bench.wait()
    assert bench.state.circle is None


def test_pfsl_follows_the_condition_of_the_query_and_gives_every_query_its_answer(bench):
    bench.select(PFSL)
    assert bench.state.localization is None  # one query alone is not a sequence
    bench.run("query")
    track = bench.state.track
    assert [step.localization.query.name for step in track.steps] == ["snow/0000.png", "snow/0001.png"]
    assert bench.state.localization.result.method == PFSL
    assert bench.state.outcomes["snow/0001.png"].word == "failed"
    assert bench.state.autopsy is not None
    bench.controller.show_moment(1)
    bench.wait()
    assert bench.state.query.name == "snow/0001.png"
    assert bench.state.track is track
    bench.controller.select_query("night/0000.png")
    bench.wait()
    assert bench.state.track is None
    bench.run("all")
    assert bench.state.track.condition == "night"


def test_a_drive_gives_every_query_an_answer_with_matches_and_a_better_one_at_its_end(bench):
    bench.select("ssmc-drive")
    bench.run("query")
    assert bench.state.outcomes["snow/0001.png"].word != "failed"
    assert [step.localization.result.failure for step in bench.state.track.steps] == [None, None]
    assert not any(step.lost for step in bench.state.track.steps)
    assert len(bench.state.localization.matches)
    bench.controller.select_query("snow/0001.png")
    bench.wait()
    assert bench.state.localization.result.failure is None
    bench.select(PFSL)
    assert bench.state.track is None  # another method's
    bench.select("ssmc-drive")
    assert bench.state.track.way.method == "ssmc-drive"


def test_what_a_drive_says_at_its_end_replaces_what_is_shown(bench):
    bench.select("ssmc-drive")
    bench.controller.select_query("snow/0001.png")
    bench.wait()
    taken = []
    bench.state.outcomes_changed.connect(lambda found: taken.append({name: each.word for name, each in found.items()}))
    bench.localizing.run("query")
    bench.qtbot.waitUntil(lambda: any(words.get("snow/0001.png") == "failed" for words in taken))
    bench.wait()
    assert bench.state.localization.result.failure is None
    assert bench.state.localization is bench.state.results["ssmc-drive"].localization


def test_a_drive_without_labels_needs_no_network(bench):
    bench.select("p3p-drive")
    bench.run("query")
    assert bench.state.localization.result.method == "p3p-drive"
    row = next(row for row in bench.state.rows if row.method == "p3p-drive")
    assert row.labels == ""


def test_following_can_be_stopped_and_what_was_found_stays(bench):
    bench.select(PFSL)
    bench.localizing.run("query")
    bench.qtbot.waitUntil(lambda: bench.state.track is not None)
    bench.controller.cancel()
    bench.wait()
    assert bench.state.track is not None


def test_a_line_of_the_evaluation_opens_its_query_by_its_method(bench):
    bench.controller.open_row("night/0000.png", "ssmc")
    bench.wait()
    assert (bench.state.query.name, bench.state.method) == ("night/0000.png", "ssmc")
    assert bench.state.localization.result.method == "ssmc"
    bench.controller.open_row("elsewhere/1.png", "ssmc")
    assert "not in the scene that is open" in bench.failures[0]


def test_results_of_an_evaluation_are_shown_until_they_are_closed(bench, tmp_path):
    bench.calls.evaluation = [bench.state.rows[0]]
    bench.localizing.open_evaluation(tmp_path)
    bench.wait()
    assert bench.state.evaluation.rows == (bench.state.rows[0],)
    assert bench.state.evaluation.source == str(tmp_path)
    bench.localizing.close_evaluation()
    assert bench.state.evaluation is None


# kinds of matches


def test_dropped_outlying_and_agreeing_matches_are_three_kinds(tmp_path):
    scene = toy_scene(tmp_path)
    done = toy_localization(scene.queries[0], scene.map, method="ssmc")
    kinds = match_kinds(done)
    keep = done.consistency.keep
    assert (kinds[~keep] == DROPPED).all()
    assert (kinds[done.result.inlier_mask] == INLIER).all()
    assert set(kinds[keep]) == {INLIER, OUTLIER}


def test_a_match_of_weight_zero_that_agrees_is_an_inlier_and_not_dropped(tmp_path):
    scene = toy_scene(tmp_path)
    done = toy_localization(scene.queries[0], scene.map)
    done = replace(done, consistency=Consistency(np.ones(len(done.matches), bool), np.zeros(len(done.matches))))
    kinds = match_kinds(done)
    assert set(kinds) == {INLIER, DROPPED}


def with_guided(done):
    """An inlier, and an outlier whose point the pose found at another keypoint."""
    matches, inliers = done.matches, done.result.inlier_mask
    chosen = [int(np.flatnonzero(inliers)[0]), int(np.flatnonzero(~inliers)[0])]
    found = replace(matches.part(chosen), scores=np.array([0.9, 0.75]), keypoint=matches.keypoint[chosen] + [0, 1000])
    return replace(done, result=replace(done.result, guided=found))


def test_what_the_pose_found_beside_its_inliers_stands_below_the_matches(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    done = toy_localization(scene.queries[0], scene.map)
    before, rows = (localization_rows(one, scene.map, 0) for one in (done, with_guided(done)))
    assert len(rows) == len(before) + 1
    assert (rows.kinds[:-1] == before.kinds).all()
    assert rows.kinds[-1] == GUIDED
    outlier = int(np.flatnonzero(~done.result.inlier_mask)[0])
    assert rows.point_ids[-1] == done.matches.point_ids[outlier]
    projected = done.query.camera.project(done.result.cam_from_world.apply(scene.map.points3D[rows.point_ids[-1:]]))
    assert rows.errors_px[-1] == pytest.approx(np.linalg.norm(projected[0] - rows.points_query[-1]))
    assert np.isnan(rows.likely[:-1]).all()
    assert rows.likely[-1] == pytest.approx(0.75)
    nothing = np.zeros(len(rows), int)
    said = dict(match_lines(rows, len(rows) - 1, (nothing, nothing)))
    assert said["match"].endswith(", guided")
    assert said["likely right"] == "75.0 %"
    assert "score" not in said
    assert "likely right" not in dict(match_lines(rows, 0, (nothing, nothing)))
    table = MatchTable()
    qtbot.addWidget(table)
    table.set_matches(rows, (nothing, nothing))
    assert table.filter.boxes[GUIDED].text() == "1 guided"
    assert table._summary.text().startswith(f"{len(before)} matches and 1 guided, ")
    kinds = rows.kinds[table.model.order]
    assert (np.diff([[1, 3, 0, 2][kind] for kind in kinds]) <= 0).all()  # inliers first, then guided, outliers, dropped


@pytest.fixture
def rows(tmp_path):
    scene = toy_scene(tmp_path)
    return localization_rows(toy_localization(scene.queries[0], scene.map, method="ssmc"), scene.map, 0)


def test_the_match_table_lists_only_the_kinds_that_are_checked(qtbot, rows):
    table = MatchTable()
    qtbot.addWidget(table)
    table.set_matches(rows, (np.zeros(len(rows), int), np.zeros(len(rows), int)))
    counts = rows.counts()
    assert table.model.rowCount() == len(rows) == sum(counts.values())
    assert table.filter.boxes[DROPPED].text() == f"{counts[DROPPED]} dropped"
    table.set_kinds(frozenset({DROPPED}))
    assert table.model.rowCount() == counts[DROPPED]
    assert set(rows.kinds[table.model.order]) == {DROPPED}
    inlier = int(np.flatnonzero(rows.kinds == INLIER)[0])
    table.set_selected(inlier)
    assert not table.table.selectionModel().hasSelection()
    table.set_kinds(display.ALL_KINDS)
    table.set_selected(inlier)
    assert table.model.order[table.table.currentIndex().row()] == inlier


def test_the_boxes_tell_what_is_checked_and_setting_them_says_nothing(qtbot):
    kinds = KindFilter()
    qtbot.addWidget(kinds)
    kinds.set_counts({INLIER: 1, OUTLIER: 3, DROPPED: 0})
    told = []
    kinds.kinds_chosen.connect(told.append)
    kinds.set_kinds(frozenset({INLIER, OUTLIER}))
    assert told == []
    assert [box.text() for box in kinds.findChildren(QCheckBox)] == ["1 inlier", "0 guided", "3 outliers", "0 dropped"]
    assert not kinds.boxes[DROPPED].isEnabled()
    kinds.boxes[OUTLIER].click()
    assert told == [frozenset({INLIER})]


def test_drawn_matches_are_of_the_shown_kinds_with_inliers_on_top():
    kinds = np.array([INLIER, OUTLIER, DROPPED, INLIER, DROPPED])
    order = np.arange(5)
    assert display.shown_matches(kinds, order, None).tolist() == [2, 4, 1, 0, 3]
    assert display.shown_matches(kinds, order, None, frozenset({DROPPED})).tolist() == [2, 4]
    assert display.shown_matches(kinds, order, 2).tolist() == [1, 0]  # the first of the others, the first inlier
    guided = np.array([OUTLIER, GUIDED, OUTLIER, INLIER])
    assert display.shown_matches(guided, np.arange(4), None).tolist() == [0, 2, 1, 3]
    assert display.shown_matches(guided, np.arange(4), 2).tolist() == [0, 1]  # they agree with the pose, as inliers do


# views


def answered(method, scene, failure=None):
    done = toy_localization(scene.queries[0], scene.map, failure, method)
    word = "failed" if failure else "good"
    row = toy_row(scene, done, "", {"pose": 0.5}, False)
    return SimpleNamespace(localization=done, row=row, outcome=Outcome(done.query.name, word))


@pytest.fixture
def method_table(qtbot, tmp_path):
    scene = toy_scene(tmp_path)
    table = MethodTable()
    qtbot.addWidget(table)
    found = {"ssmc": answered("ssmc", scene), "p3p": answered("p3p", scene, "too few matches")}
    table.set_results(found)
    return table


def test_the_method_table_has_a_row_for_each_answer_in_the_order_of_the_methods(method_table):
    assert method_table.methods() == ["p3p", "ssmc"]
    assert method_table.texts("p3p")[1:4] == ["⊘  Too few matches", "–", "–"]
    texts = method_table.texts("ssmc")
    assert texts[2] == "0.05"
    matches, kept, dropped = (int(text) for text in texts[4:7])
    assert matches == kept + dropped
    assert dropped > 0
    assert texts[8] == "0.50"


def test_choosing_a_row_tells_the_method_and_showing_one_says_nothing(method_table):
    told = []
    method_table.method_chosen.connect(told.append)
    method_table.set_method("ssmc")
    assert method_table.table.currentRow() == 1
    assert told == []
    method_table.table.cellClicked.emit(0, 1)
    assert told == ["p3p"]


def test_an_empty_method_table_says_what_would_fill_it(method_table):
    method_table.set_results({}, "Localizing…")
    assert method_table.hint == "Localizing…"


def test_the_header_tells_the_method_and_what_to_run(qtbot):
    header = PairHeader()
    qtbot.addWidget(header)
    told = []
    header.method_chosen.connect(told.append)
    header.run_requested.connect(told.append)
    header.set_method("gsmc")
    assert header.method.currentText() == "gsmc"
    assert told == []
    header.method.activated.emit(1)
    header.more.menu().actions()[0].trigger()
    assert told == ["ssmc", "methods"]


def test_the_slider_shows_at_once_and_chooses_when_it_rests(qtbot):
    slider = TrackSlider()
    qtbot.addWidget(slider)
    slider.set_moments(["0000.png", "0001.png · lost"])
    shown, chosen = [], []
    slider.moment_shown.connect(shown.append)
    slider.moment_chosen.connect(chosen.append)
    slider.set_moment(0)
    assert (shown, chosen) == ([], [])
    with qtbot.waitSignal(slider.moment_chosen):
        slider.slider.setValue(1)
    assert (shown, chosen) == ([1], [1])
    assert slider.caption == "2 of 2 · 0001.png · lost"
    slider.set_moments(())
    assert slider.isHidden()


def track_of(scene):
    from viewer_fakes import FakeSegmenter, toy_follow, toy_motion

    labels = next_labels(FakeSegmenter())
    steps = tuple(toy_follow(PFSL, toy_motion(scene, scene.queries[:2]), scene.map, lambda query: labels, None))
    return Track("snow", Way(PFSL, "toy"), steps)


def next_labels(segmenter):
    from core.steps import finish

    return finish(segmenter.segment_steps(np.zeros((48, 64, 3), np.uint8)))


def test_a_moment_of_a_track_has_particles_and_the_ways_so_far(tmp_path):
    scene = toy_scene(tmp_path)
    track = track_of(scene)
    centers, weights, estimated, true = track.moment(1)
    assert centers.shape == (20, 3)
    assert weights.sum() == pytest.approx(1)
    assert np.isfinite(estimated[0]).all()
    assert np.isnan(estimated[1]).all()  # the track is lost there
    assert true[:, 0].tolist() == [pytest.approx(0.4), pytest.approx(1.4)]
    assert track.captions() == ("0000.png", "0001.png · lost")
    assert len(display3d.way_lines(estimated)) == 0
    assert len(display3d.way_lines(true)) == 1


def picture(view):
    image = view.canvas.grab().toImage().convertToFormat(view.canvas.grab().toImage().Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


@pytest.fixture
def view3d(qtbot, tmp_path):
    view = Scene3DView(use_opengl=False)
    qtbot.addWidget(view)
    view.resize(500, 400)
    view.scene = toy_scene(tmp_path)
    view.set_map(view.scene.map)
    return view


def has_color(pixels, color, tolerance=40):
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(pixels.astype(int) - wanted).max(axis=2) < tolerance).sum()


def test_every_methods_pose_is_drawn_in_its_own_colour(view3d):
    query = view3d.scene.queries[0]
    before = has_color(picture(view3d), STYLES["ssmc"].color, 12)
    view3d.set_method("p3p")
    view3d.set_estimate(query.cam_from_world, query.camera)
    view3d.set_method_poses({"ssmc": view3d.scene.queries[1].cam_from_world}, query.camera)
    pixels = picture(view3d)
    assert has_color(pixels, STYLES["ssmc"].color, 12) > before
    assert view3d.content.estimate_style[0] == "p3p"
    view3d.set_method_poses({})
    assert view3d.content.poses == ()


def test_the_circle_of_a_match_is_drawn_by_score_and_goes_with_the_map(view3d):
    before = picture(view3d)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    around = view3d.scene.map.points3D.mean(axis=0) + np.c_[np.cos(angles), np.zeros(24), np.sin(angles)]
    view3d.set_circle(around, np.arange(24.0))
    assert (picture(view3d) != before).any(axis=2).sum() > 50
    view3d.set_circle(np.full((24, 3), np.nan), np.zeros(24))  # a match that leaves the camera no place
    assert view3d.content.circle is None
    view3d.set_circle(around, np.arange(24.0))
    view3d.set_map(None)
    assert view3d.content.circle is None


def test_scores_go_from_blue_to_yellow_and_even_ones_have_one_colour():
    colors = display3d.score_colors(np.array([0.0, 1.0, 3.0])).astype(int)
    assert colors[0, 2] > colors[0, 0]
    assert colors[2, 0] > 200 > colors[2, 2]
    assert len(np.unique(display3d.score_colors(np.ones(4)), axis=0)) == 1


def test_dragging_through_a_track_shows_its_particles_at_once(view3d, qtbot):
    track = track_of(view3d.scene)
    view3d.set_track(track, 0)
    assert not view3d.moments.isHidden()
    first = view3d.content.moment
    with qtbot.waitSignal(view3d.moment_chosen) as told:
        view3d.moments.slider.setValue(1)
        assert view3d.content.moment is not first
    assert told.args == [1]
    view3d.set_track(None, None)
    assert view3d.content.moment is None
    assert view3d.moments.isHidden()


def test_a_pose_without_inliers_is_shown_beside_the_nearest_mapping_image(tmp_path):
    from fgsn_viewer.work import best_reference

    scene = toy_scene(tmp_path)
    near = scene.reference[-1]
    done = toy_localization(scene.queries[0], scene.map, None, "ssmc-drive")
    nothing = np.zeros(len(done.matches), bool)
    held = replace(done, result=replace(done.result, cam_from_world=near.cam_from_world, inlier_mask=nothing))
    assert best_reference(scene, held) is near
