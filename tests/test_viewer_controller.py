"""The controller with toy pipelines: what a person wants becomes state, and a failure changes nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from viewer_fakes import NUM_LABELS, Calls, toy_pipelines, toy_scene, without_descriptors, without_points, write_images

from core.errors import InputError, SceneError
from core.images import write_image
from core.scene.map_file import save_labels, save_map
from fgsn_viewer.controller import Controller
from fgsn_viewer.opening import open_paths
from fgsn_viewer.state import ViewerState
from fgsn_viewer.tasks import TaskRunner
from fgsn_viewer.work import first_reference
from fgsn_viewer.work_steps import Cache


class Bench:
    """A controller without a window."""

    def __init__(self, root: Path, qtbot, scene=None, networks=("toy",), network=None):
        self.calls, self.root, self._qtbot = Calls(), root, qtbot
        self.calls.gate.set()
        self.scene = scene or toy_scene(root)
        self.opening_error: Exception | None = None
        self.state, self.tasks = ViewerState(), TaskRunner()
        pipelines = toy_pipelines(self._open, self.calls, networks)
        self.controller = Controller(self.state, self.tasks, lambda: pipelines, network)
        self.notes, self.failures = [], []
        self.controller.noted.connect(self.notes.append)
        self.controller.failed.connect(lambda what, failure: self.failures.append((what, failure)))

    def _open(self, _path):
        if self.opening_error is not None:
            raise self.opening_error
        return self.scene

    def wait(self):
        self._qtbot.waitUntil(lambda: self.tasks.is_idle, timeout=30_000)

    def open(self, **options):
        self.controller.start()
        self.wait()
        self.controller.open([self.root], **options)
        self.wait()
        return self


@pytest.fixture
def bench(qtbot, tmp_path):
    made = []

    def make(**options) -> Bench:
        made.append(Bench(tmp_path / "scène one", qtbot, **options))
        return made[-1]

    yield make
    for one in made:
        one.tasks.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgsn-task")]


def test_opening_a_scene_shows_its_first_query_localized_labelled_and_explained(bench):
    state = bench().open().state
    assert state.query.name == "snow/0000.png"
    assert state.localization.query is state.query
    assert state.query_labels.vocabulary == state.reference_labels.vocabulary == "toy"
    assert state.autopsy.cause
    assert state.outcomes["snow/0000.png"].word == "good"
    assert state.consistency.num_points > 0
    assert state.point_labels is state.scene.map.labels
    assert state.network.name == "toy"


def test_the_reference_becomes_the_one_that_sees_most_inliers(bench):
    bench = bench().open()
    assert bench.state.reference.name == "overcast/0002.png"
    assert bench.state.reference_image is not None
    ranked = [(image.name, inliers) for image, inliers in bench.controller.ranked_references()]
    assert ranked == [("overcast/0002.png", 9), ("overcast/0001.png", 7), ("overcast/0000.png", 3)]


def test_before_a_localization_the_nearest_reference_that_looks_the_same_way_is_shown(tmp_path):
    scene = toy_scene(tmp_path)
    assert first_reference(scene, scene.queries[1]).name == "overcast/0001.png"
    unposed = replace(scene.queries[1], cam_from_world=None)
    assert first_reference(scene, unposed).name == "overcast/0000.png"
    assert first_reference(replace(scene, reference=()), unposed) is None


def test_a_chosen_reference_stays_and_its_matches_follow(bench):
    bench = bench().open()
    best = bench.controller.match_rows().shown()
    bench.controller.select_reference("overcast/0000.png")
    bench.wait()
    assert bench.state.reference.name == "overcast/0000.png"
    assert bench.state.localization is not None
    assert not np.array_equal(bench.controller.match_rows().shown(), best)
    assert bench.calls.localized == ["snow/0000.png"]


def test_a_second_look_at_a_query_computes_nothing_again(bench):
    bench = bench().open()
    for step in (1, -1):
        bench.controller.step_query(step)
        bench.wait()
    assert bench.calls.localized == ["snow/0000.png", "snow/0001.png"]
    assert bench.state.localization.query.name == "snow/0000.png"
    assert bench.calls.networks == ["toy"]


def test_run_localizes_the_query_anew(bench):
    bench = bench().open()
    first = bench.state.localization
    bench.controller.localize()
    bench.wait()
    assert bench.state.localization is not first
    assert bench.calls.localized == ["snow/0000.png"] * 2


def test_all_queries_are_localized_on_demand_and_marks_come_one_by_one(bench):
    bench = bench().open()
    seen = []
    bench.state.outcomes_changed.connect(lambda outcomes: seen.append(len(outcomes)))
    bench.controller.localize_all()
    bench.wait()
    assert seen == [2, 3, 4]
    words = {name: outcome.word for name, outcome in bench.state.outcomes.items()}
    assert words["night/0001.png"] == "failed"
    assert words["night/0000.png"] == "good"
    assert bench.controller.waiting_queries() == ()


def test_one_bad_query_does_not_stop_the_others(bench):
    bench = bench().open()
    (bench.root / "snow/0001.png").unlink()
    bench.calls.localize_error = InputError("snow/0001.png: broken")
    bench.controller.localize_all()
    bench.wait()
    assert bench.calls.prepared.count("night/0001.png") == 1
    assert bench.failures == []


def test_two_photographs_are_matched_to_each_other(bench, tmp_path):
    write_images(tmp_path, ["summer day.png", "winter.png"])
    bench = bench()
    bench.controller.start()
    bench.wait()
    bench.controller.open([tmp_path / "summer day.png", tmp_path / "winter.png"])
    bench.wait()
    state = bench.state
    assert state.scene.map is None
    assert (state.reference.path.name, state.query.path.name) == ("summer day.png", "winter.png")
    assert state.pair_matches.inlier_mask.sum() == 3
    assert state.consistency.num_points == 3
    assert state.localization is None
    assert not bench.controller.can_localize_query()


def test_a_map_without_descriptors_falls_back_to_matching_the_pair(bench, tmp_path):
    scene = without_descriptors(toy_scene(tmp_path / "model"))
    state = bench(scene=scene).open().state
    assert state.localization is None
    assert state.pair_matches is not None


def test_a_query_that_the_map_refuses_is_still_labelled_and_matched(bench):
    bench = bench()
    bench.calls.localize_error = InputError("no intrinsics are known")
    bench.open()
    assert bench.state.localization is None
    assert bench.state.pair_matches is not None
    assert bench.state.query_labels is not None
    assert any("no intrinsics" in note for note in bench.notes)


def test_a_folder_that_cannot_be_opened_leaves_everything_as_it_was(bench):
    bench = bench().open()
    before = {name: getattr(bench.state, name) for name in ("scene", "query", "localization", "query_labels")}
    bench.opening_error = SceneError("/x/y: nothing to open")
    bench.controller.open([Path("/x/y")])
    bench.wait()
    assert all(getattr(bench.state, name) is value for name, value in before.items())
    assert [(what, failure.sentence) for what, failure in bench.failures] == [("opening", "/x/y: nothing to open")]


def test_a_missing_query_image_is_noted_and_the_rest_still_shows(bench):
    bench = bench()
    (bench.root / "snow/0000.png").unlink()
    bench.open(query="snow/0000.png")
    assert bench.state.query.name == "snow/0000.png"
    assert bench.state.query_image is None
    assert bench.state.reference_image is not None
    assert bench.state.localization is None
    assert any("0000.png" in note and "no such image" in note for note in bench.notes)


def test_a_scene_opens_on_the_first_query_whose_image_is_there(bench):
    bench = bench()
    (bench.root / "snow/0000.png").unlink()
    bench.open()
    assert bench.state.query.name == "snow/0001.png"


def test_a_query_that_does_not_exist_is_said_and_the_first_is_shown(bench):
    bench = bench().open(query="snow/9999.png")
    assert "snow/9999.png" in bench.failures[0][1].sentence
    assert bench.state.query is not None


def test_a_query_may_be_asked_for_by_the_last_part_of_its_name(bench, tmp_path):
    scene = toy_scene(tmp_path / "s")
    renamed = replace(scene.queries[3], name="night/last.png")
    bench = bench(scene=replace(scene, queries=(*scene.queries[:3], renamed))).open(query="last.png")
    assert bench.state.query.name == "night/last.png"


def test_quick_steps_end_on_the_last_query_without_stale_results(bench):
    bench = bench().open()
    bench.calls.gate.clear()
    for _ in range(3):
        bench.controller.step_query(1)
    bench.calls.gate.set()
    bench.wait()
    assert bench.state.query.name == "night/0001.png"
    assert bench.state.localization.query is bench.state.query


def test_cancel_keeps_what_is_shown_and_frees_the_threads(bench):
    bench = bench().open()
    bench.calls.gate.clear()
    bench.controller.step_query(1)
    bench._qtbot.waitUntil(lambda: bench.state.query_image is not None)
    bench.controller.cancel()
    bench.wait()
    assert bench.state.query_image is not None
    assert bench.state.localization is None


def test_the_condition_steps_to_the_same_place_in_another_season(bench):
    bench = bench().open()
    bench.controller.step_query(1)
    bench.controller.step_condition(1)
    assert bench.state.query.name == "night/0001.png"
    bench.controller.step_condition(1)
    assert bench.state.query.name == "snow/0001.png"


def test_without_a_network_everything_but_labels_works_and_the_reason_is_said(bench):
    bench = bench(networks=()).open()
    assert bench.state.query_labels is None
    assert bench.state.localization is not None
    bench.controller.label_pair()
    assert "no network is installed" in bench.failures[0][1].sentence


def test_choosing_no_network_takes_the_labels_away(bench):
    bench = bench().open()
    bench.controller.select_network("")
    bench.wait()
    assert bench.state.query_labels is None
    assert bench.controller.network is None
    bench.controller.select_network("toy")
    bench.wait()
    assert bench.state.query_labels is not None


def test_labels_of_the_map_show_only_in_their_own_vocabulary(bench, tmp_path):
    scene = toy_scene(tmp_path / "s")
    foreign = replace(scene.map.labels, vocabulary="other")
    bench = bench(scene=replace(scene, map=replace(scene.map, labels=foreign))).open()
    assert bench.state.point_labels is None


def test_labels_that_the_map_stores_in_the_networks_vocabulary_are_fetched(bench, tmp_path):
    scene = toy_scene(tmp_path / "s")
    foreign = replace(scene.map, labels=replace(scene.map.labels, vocabulary="other"))
    save_map(tmp_path / "map", foreign)
    save_labels(tmp_path / "map", scene.map.labels)
    bench = bench(scene=replace(scene, map=foreign, map_path=tmp_path / "map"), network="").open()
    assert bench.state.point_labels.vocabulary == "other"
    bench.controller.select_network("toy")
    bench.wait()
    assert bench.state.point_labels.vocabulary == "toy"
    assert np.array_equal(bench.state.point_labels.labels, scene.map.labels.labels)


def test_labels_of_a_map_that_was_built_anew_meanwhile_are_not_taken(bench, tmp_path):
    scene = toy_scene(tmp_path / "s")
    save_map(tmp_path / "map", without_points(scene.map))
    unlabelled = replace(scene.map, labels=None)
    bench = bench(scene=replace(scene, map=unlabelled, map_path=tmp_path / "map")).open()
    assert bench.state.point_labels is None
    assert bench.failures == []


def test_a_network_that_is_chosen_again_is_known_again(bench):
    bench = bench(networks=("toy", "other")).open()
    for name in ("other", "toy"):
        bench.controller.select_network(name)
        bench.wait()
        assert bench.state.network.name == name
    assert bench.state.point_labels is not None
    assert bench.calls.networks == ["toy", "other"]


def test_selecting_a_match_selects_its_point_and_back(bench):
    bench = bench().open()
    rows = bench.controller.match_rows()
    bench.controller.select_match(2)
    assert bench.state.selected_point == rows.point_ids[2]
    bench.controller.select_point(int(rows.point_ids[4]))
    assert bench.state.selected_match == 4
    bench.controller.select_match(10**6)
    assert bench.state.selected_match is None
    assert bench.state.selected_point is None


def test_a_point_without_a_match_is_selected_alone(bench):
    bench = bench().open()
    missing = next(i for i in range(30) if i not in bench.controller.match_rows().point_ids)
    bench.controller.select_point(missing)
    assert bench.state.selected_point == missing
    assert bench.state.selected_match is None


def test_isolating_the_same_label_again_shows_all(bench):
    bench = bench().open()
    bench.controller.isolate(3)
    assert bench.state.isolated == 3
    bench.controller.isolate(3)
    assert bench.state.isolated is None


@pytest.mark.parametrize(("asked", "got"), [(-1.0, 0.0), (0.3, 0.3), (7.0, 1.0)])
def test_opacity_stays_between_nothing_and_all(bench, asked, got):
    bench = bench()
    bench.controller.set_overlay(opacity=asked)
    assert bench.state.overlay.opacity == got
    assert bench.state.overlay.mode == "fill"


def test_thumbnails_come_small_and_a_missing_one_as_none(bench):
    bench = bench().open()
    (bench.root / "night/0000.png").unlink()
    found = {}
    bench.controller.thumbnail_found.connect(lambda name, rgb: found.update({name: rgb}))
    bench.controller.request_thumbnails(["snow/0000.png", "night/0000.png", "no such image"])
    bench.wait()
    assert found["night/0000.png"] is None
    assert max(found["snow/0000.png"].shape) <= 96
    assert len(found) == 2


def test_closing_the_scene_stops_its_work_and_clears_everything(bench):
    bench = bench().open()
    bench.calls.gate.clear()
    bench.controller.step_query(1)
    bench.controller.close_scene()
    bench.wait()
    assert bench.state.scene is None
    assert bench.state.query is None
    assert bench.state.outcomes == {}


def test_the_errors_of_pair_matches_are_distances_to_epipolar_lines(bench, tmp_path):
    write_images(tmp_path, ["a.png", "b.png"])
    bench = bench()
    bench.controller.open([tmp_path / "a.png", tmp_path / "b.png"])
    bench.wait()
    rows = bench.controller.match_rows()
    assert np.allclose(rows.errors_px, 0)  # the toy's geometry is a sideways move: rows must agree
    assert (rows.point_ids == -1).all()


def test_photographs_of_one_pixel_are_opened_too(bench, tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png", np.zeros((1, 1, 3), np.uint8))
    bench = bench()
    bench.controller.open([tmp_path / "a.png", tmp_path / "b.png"])
    bench.wait()
    assert bench.failures == []
    assert bench.state.query_image.shape == (1, 1, 3)


def test_three_paths_are_refused_in_a_sentence(tmp_path):
    work = open_paths(toy_pipelines(lambda path: None, Calls()), (tmp_path, tmp_path, tmp_path))
    with pytest.raises(InputError, match="3 paths given"):
        list(work)


def test_the_files_of_a_colmap_model_dropped_together_open_their_folder(tmp_path):
    scene, asked = toy_scene(tmp_path), []
    pipelines = toy_pipelines(lambda path: asked.append(path) or scene, Calls())
    for names in (("cameras.bin", "images.bin", "points3D.bin"), ("images.txt", "cameras.txt"), ("points3D.bin",)):
        list(open_paths(pipelines, tuple(tmp_path / name for name in names)))
    assert asked == [tmp_path] * 3
    with pytest.raises(InputError, match="3 paths given"):
        list(open_paths(pipelines, (tmp_path / "cameras.bin", tmp_path / "images.bin", tmp_path / "points3D.png")))


def test_the_cache_forgets_what_was_used_longest_ago():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_labels_under_matches_are_read_in_both_images(bench):
    bench = bench().open()
    rows = bench.controller.match_rows()
    left, right = rows.labels(bench.state.reference_labels, bench.state.query_labels)
    shown = rows.shown()
    assert ((left >= 0) == np.isin(np.arange(len(rows)), shown)).all()
    assert (right >= 0).all()
    assert right.max() < NUM_LABELS
