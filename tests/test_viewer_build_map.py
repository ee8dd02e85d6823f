"""Building a map from the window: what is asked for, counts that grow, stopping, and the map that opens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PySide6.QtCore import QSettings
from viewer_fakes import Calls, ToyMapConfig, toy_pipelines, toy_scene, write_images

from core.errors import InputError
from core.steps import finish
from fgsn_viewer.app import build_shell
from fgsn_viewer.map_building import MapState, photo_folder, read_request, suggested_out
from fgsn_viewer.settings import Settings
from fgsn_viewer.views.map_dialog import MapDialog

pytestmark = pytest.mark.gl


@pytest.fixture
def view(qtbot, tmp_path):
    """A window over toy pipelines with the dialog open, and five photographs on disk."""
    calls, asked = Calls(), []
    calls.gate.set()
    write_images(tmp_path / "photos", [f"{k}.png" for k in range(5)])
    scene = toy_scene(tmp_path / "scene")
    settings = Settings(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    pipelines = toy_pipelines(lambda path: asked.append(path) or scene, calls)
    shell = build_shell(settings, lambda: pipelines, demo=None, runs=tmp_path / "runs")
    shell.window.show()
    qtbot.waitExposed(shell.window)
    shell.controller.start()

    def wait():
        qtbot.waitUntil(lambda: shell.is_idle, timeout=30_000)

    wait()
    shell.window.dialogs.show_map()
    wait()
    dialog = shell.window.dialogs.map
    dialog.set_photos(tmp_path / "photos")
    yield SimpleNamespace(
        shell=shell, window=shell.window, dialog=dialog, calls=calls, asked=asked, folder=tmp_path, wait=wait, scene=scene
    )
    shell.close()


def test_the_counts_grow_while_the_map_is_built_and_the_map_opens_at_the_end(view, qtbot):
    view.dialog.start.click()
    qtbot.waitUntil(lambda: view.dialog.counts() == ("5", "2", "30"), timeout=10_000)
    assert view.dialog.stop.isVisible()
    assert not view.dialog.start.isVisible()
    assert not view.dialog.photos.isEnabled()
    view.calls.map_gate.set()
    view.wait()
    assert view.dialog.counts() == ("5", "5", "75")
    assert view.asked == [view.folder / "photos-map"]
    assert view.shell.state.scene is view.scene
    assert not view.dialog.isVisible()


def test_stopping_leaves_what_is_open_and_says_so(view, qtbot):
    view.dialog.start.click()
    qtbot.waitUntil(lambda: view.dialog.counts()[1] == "2", timeout=10_000)
    view.dialog.stop.click()
    view.wait()
    assert view.shell.controller.mapping.state.phase == "stopped"
    assert view.asked == []
    assert view.dialog.start.isVisible()
    assert not (view.folder / "photos-map").exists()


def test_a_map_that_is_done_while_the_dialog_is_closed_waits_to_be_opened(view, qtbot):
    view.dialog.start.click()
    qtbot.waitUntil(lambda: view.dialog.counts()[1] == "2", timeout=10_000)
    view.dialog.close()
    view.calls.map_gate.set()
    view.wait()
    assert view.asked == []
    assert "built the map" in view.window.log.text.toPlainText()
    view.dialog.open.click()
    view.wait()
    assert view.asked == [view.folder / "photos-map"]


def test_settings_poses_and_network_go_into_the_map(view):
    (view.folder / "poses.txt").write_text("0.png 1 0 0 0 0 0 0\n")
    view.calls.map_gate.set()
    view.dialog.poses.setText(str(view.folder / "poses.txt"))
    view.dialog.form.editor("max_keypoints").setText("500")
    view.dialog.start.click()
    view.wait()
    photos, out, poses, config, segmenter = view.calls.mapped[0]
    assert (photos, out, poses) == (view.folder / "photos", view.folder / "photos-map", view.folder / "poses.txt")
    assert config == ToyMapConfig(max_keypoints=500)
    assert segmenter.vocabulary == "toy"


def test_no_labels_can_be_asked_for(view):
    view.calls.map_gate.set()
    view.dialog.network.setCurrentIndex(view.dialog.network.count() - 1)
    view.dialog.start.click()
    view.wait()
    assert view.calls.mapped[0][4] is None


def test_what_cannot_be_built_is_said_in_the_dialog_and_nothing_typed_is_lost(view):
    view.calls.map_error = InputError("no two of the 5 images match; expected photographs that overlap")
    view.dialog.form.editor("ratio").setText("0.7")
    view.dialog.start.click()
    view.wait()
    assert view.dialog.problem.startswith("No two of the 5 images match")
    assert view.dialog.form.editor("ratio").text() == "0.7"
    assert view.dialog.start.isEnabled()
    view.dialog.form.editor("ratio").setText("7")
    view.dialog.start.click()
    assert "expected a number from 0.1 to 1" in view.dialog.problem


def test_without_photographs_nothing_starts(view):
    view.dialog.photos.setText("")
    view.dialog.start.click()
    assert view.dialog.problem == "No folder of photographs is chosen."
    assert view.calls.mapped == []


@pytest.mark.parametrize(
    ("photos", "out", "poses", "said"),
    [
        ("nowhere", "new", "", "nowhere: no such folder, expected a folder of photographs"),
        ("photos", "photos", "", "photos: is the folder of the photographs"),
        ("photos", "full", "", "full: the folder is not empty"),
        ("photos", "new", "gone.txt", "gone.txt: no such file or folder, expected poses"),
    ],
)
def test_places_that_cannot_be_are_refused_in_a_sentence(tmp_path, photos, out, poses, said):
    (tmp_path / "photos").mkdir()
    write_images(tmp_path / "full", ["a.png"])
    with pytest.raises(InputError, match=said):
        read_request(str(tmp_path / photos), str(tmp_path / out), poses and str(tmp_path / poses), None, {})


def test_a_file_of_a_model_stands_for_its_folder_as_poses(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "images.bin").touch()
    found = read_request(str(tmp_path / "photos"), str(tmp_path / "new"), str(tmp_path / "images.bin"), None, {})
    assert found.poses == tmp_path


def test_the_suggested_place_is_not_taken(tmp_path):
    (tmp_path / "photos-map").mkdir()
    assert suggested_out(tmp_path / "photos") == tmp_path / "photos-map-2"


def test_the_photographs_of_a_scene_are_found_by_their_names(tmp_path):
    assert photo_folder(toy_scene(tmp_path / "deep" / "images")) == tmp_path / "deep" / "images"


def test_the_dialog_shows_dashes_for_what_is_not_known(qtbot):
    dialog = MapDialog()
    qtbot.addWidget(dialog)
    dialog.show_state(MapState("running", "Placing images", 0.5, 12, None, None))
    assert dialog.counts() == ("12", "–", "–")


def test_real_photographs_count_images_and_points_as_the_map_grows(shared_data, tmp_path):
    from core.mapping.build import MapConfig, build_map
    from core.scene.scene import list_images

    photos = list_images(shared_data("gtsfm_lund_door"))[:4]
    steps = []
    config = MapConfig(max_keypoints=600, max_image_side=500)
    made = finish(build_map(photos, tmp_path / "map", config=config), steps.append)
    counted = [step for step in steps if getattr(step, "num_points", None)]
    placed = [step.num_placed for step in counted]
    assert placed == sorted(placed)
    assert (counted[-1].num_placed, counted[-1].num_points) == (len(made.images), len(made.points3D))
