"""Opening in the window: what is found is said first, then taken; a refusal or a failure leaves what was open."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PySide6.QtCore import QSettings
from viewer_fakes import Calls, toy_pipelines, toy_scene, write_images

from core.errors import SceneError
from core.records import Progress
from core.scene.summary import summarize
from fgsn_viewer.app import build_shell
from fgsn_viewer.settings import Settings
from fgsn_viewer.views.summary_dialog import SummaryDialog

pytestmark = pytest.mark.gl


@pytest.fixture
def view(qtbot, tmp_path):
    """A window over toy pipelines; ``scenes`` maps a folder to what opens there, an error or steps."""
    calls, scenes = Calls(), {tmp_path / "scene": toy_scene(tmp_path / "scene")}
    calls.gate.set()

    def open_scene(path):
        found = scenes[path]
        if isinstance(found, Exception):
            raise found
        yield Progress(f"reading {path.name}", 0.5)
        while not calls.gate.wait(0.01):
            yield Progress(f"reading {path.name}", 0.5)
        return found

    settings = Settings(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    pipelines = toy_pipelines(open_scene, calls)
    shell = build_shell(settings, lambda: pipelines, demo=None, runs=tmp_path / "runs")
    shell.window.show()
    qtbot.waitExposed(shell.window)
    shell.controller.start()

    def wait():
        qtbot.waitUntil(lambda: shell.is_idle, timeout=30_000)

    wait()
    yield SimpleNamespace(
        shell=shell, window=shell.window, state=shell.state, calls=calls, scenes=scenes, folder=tmp_path, wait=wait
    )
    shell.close()


def test_a_new_scene_is_summarized_before_anything_of_it_is_loaded(view):
    view.window.look_at([view.folder / "scene"])
    view.wait()
    dialog = view.window.dialogs.summary
    assert dialog.isVisible()
    assert view.state.scene is None
    assert view.calls.networks == view.calls.localized == []
    assert [dialog.conditions.item(row, 0).text() for row in range(3)] == ["overcast", "snow", "night"]
    dialog.open_button.click()
    view.wait()
    assert not dialog.isVisible()
    assert view.state.scene is view.scenes[view.folder / "scene"]
    assert view.calls.localized


def test_a_summary_that_is_closed_leaves_what_was_open(view):
    view.window.open([view.folder / "scene"])
    view.wait()
    view.scenes[view.folder / "other"] = toy_scene(view.folder / "other")
    view.window.look_at([view.folder / "other"])
    view.wait()
    view.window.dialogs.summary.reject()
    view.shell.controller.opening.accept()  # nothing waits any more
    view.wait()
    assert view.state.scene is view.scenes[view.folder / "scene"]


def test_a_scene_that_was_open_before_opens_at_once(view):
    for _ in range(2):
        view.window.open([view.folder / "scene"])
        view.wait()
        view.shell.controller.close_scene()
    view.window.look_at([view.folder / "scene"])
    view.wait()
    assert view.window.dialogs.summary is None
    assert view.state.scene is not None


def test_two_photographs_open_at_once(view):
    write_images(view.folder, ["a.png", "b.png"])
    view.window.look_at([view.folder / "a.png", view.folder / "b.png"])
    view.wait()
    assert view.window.dialogs.summary is None
    assert len(view.state.scene.images) == 2


def test_what_cannot_be_read_is_said_and_the_last_scene_stays(view):
    view.window.open([view.folder / "scene"])
    view.wait()
    view.scenes[view.folder / "broken"] = SceneError(f"{view.folder / 'broken'}: cut off at byte 12")
    view.window.look_at([view.folder / "broken"])
    view.wait()
    assert "cut off at byte 12" in view.window.banner.sentence
    assert view.window.dialogs.summary is None
    assert view.state.scene is view.scenes[view.folder / "scene"]


def test_reading_shows_how_far_it_is_and_can_be_stopped(view, qtbot):
    view.calls.gate.clear()
    view.window.look_at([view.folder / "scene"])
    qtbot.waitUntil(lambda: view.window.status.message == "Reading scene", timeout=10_000)
    view.shell.controller.cancel()
    view.wait()
    view.calls.gate.set()
    assert view.window.status.message == "Ready"
    assert view.window.dialogs.summary is None
    assert view.state.scene is None


def test_the_summary_of_what_is_open_can_be_read_again(view):
    assert not view.window.actions_.summary.isEnabled()
    view.window.open([view.folder / "scene"])
    view.wait()
    view.window.actions_.summary.trigger()
    dialog = view.window.dialogs.summary
    assert dialog.isVisible()
    assert not dialog.open_button.isVisible()
    dialog.leave.click()
    assert view.state.scene is not None


def test_the_dialog_lists_what_is_missing_and_offers_a_map_where_there_is_none(qtbot, tmp_path):
    dialog = SummaryDialog()
    qtbot.addWidget(dialog)
    scene = toy_scene(tmp_path, with_map=False)
    (tmp_path / "snow/0001.png").unlink()
    dialog.set_summary(summarize(scene), asks=True)
    dialog.show()
    assert dialog.sentences() == [
        "1 of 7 image files not on disk (the first: snow/0001.png).",
        "No map: queries cannot be localized until one is built from the photographs.",
        "one note",
    ]
    with qtbot.waitSignal(dialog.map_requested):
        dialog.map_button.click()
    with qtbot.waitSignal(dialog.refused):
        dialog.reject()
