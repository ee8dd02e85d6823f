"""The network box: what is listed from where, what fits the map, and what a person can do about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QSettings
from viewer_fakes import Calls, ToyFound, toy_pipelines, toy_scene

from fgsn_viewer.app import build_shell
from fgsn_viewer.settings import Settings
from fgsn_viewer.views.network_dialog import NetworkDialog
from resources import MODELS

pytestmark = pytest.mark.gl
MAP, LABELS, VOCABULARY = 8, 4, 5


@pytest.fixture
def view(qtbot, tmp_path):
    """A window with a toy scene, whose map is labelled with the vocabulary "toy", and networks of three places."""
    calls, folder = Calls(), tmp_path / "mine"
    calls.gate.set()
    folder.mkdir()
    scene = toy_scene(tmp_path / "scene")
    calls.weights = {
        MODELS: (ToyFound(Path("toy").resolve()),),
        scene.root: (ToyFound(scene.root / "run", "run", 40, vocabulary="own 40"),),
        folder: (
            ToyFound(folder / "a.pth", num_labels=100, vocabulary="cmu-100"),
            ToyFound(folder / "broken.pth", "unreadable", None, vocabulary="", problem="no network file: it would run code"),
        ),
    }
    settings = Settings(QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    pipelines = toy_pipelines(lambda path: scene, calls)
    shell = build_shell(settings, lambda: pipelines, demo=None, runs=tmp_path / "runs")
    shell.window.show()
    qtbot.waitExposed(shell.window)
    shell.controller.start()

    def wait():
        qtbot.waitUntil(lambda: shell.is_idle, timeout=30_000)

    shell.window.open([tmp_path / "scene"])
    wait()
    yield SimpleNamespace(shell=shell, window=shell.window, state=shell.state, calls=calls, folder=folder, wait=wait)
    shell.close()


def box(view) -> NetworkDialog:
    view.window.dialogs.show_networks()
    view.wait()
    return view.window.dialogs.networks


def column(dialog: NetworkDialog, index: int) -> list[str]:
    return [dialog.table.item(row, index).text() for row in range(dialog.table.rowCount())]


def choose(dialog: NetworkDialog, title: str) -> None:
    dialog.table.selectRow(column(dialog, 1).index(title))


def test_shipped_networks_and_those_of_the_scene_are_listed_with_labels_and_vocabulary(view):
    dialog = box(view)
    assert column(dialog, 1) == ["toy", "run"]
    assert column(dialog, 2) == ["shipped", "this scene"]
    assert column(dialog, LABELS) == ["12", "40"]
    assert column(dialog, VOCABULARY) == ["toy", "own 40"]
    assert column(dialog, 0) == ["✓", ""]
    assert dialog.chosen.title == "toy"


def test_what_does_not_fit_the_map_is_said_and_the_map_can_be_labelled_with_it(view):
    dialog = box(view)
    assert column(dialog, MAP) == ["● fits", "▲ differs"]
    assert dialog.advice == ""
    assert not dialog.label_map.isVisible()
    choose(dialog, "run")
    assert dialog.advice.startswith("The map is labelled with toy, not with own 40")
    dialog.label_map.click()
    view.wait()
    assert str(view.calls.networks[-1]).endswith("run")
    assert column(dialog, 0) == ["", "✓"]


def test_labelling_the_map_makes_the_network_fit(view):
    dialog = box(view)
    view.state.point_labels = replace(view.state.point_labels, vocabulary="own 40")
    assert column(dialog, MAP) == ["● fits", "● fits"]


def test_a_network_is_used_by_its_button(view):
    dialog = box(view)
    assert not dialog.use.isEnabled()  # it is in use
    choose(dialog, "run")
    dialog.use.click()
    view.wait()
    assert view.shell.controller.network == view.calls.weights[view.state.scene.root][0].path
    assert column(dialog, 0) == ["", "✓"]


def test_an_added_folder_is_looked_in_now_and_the_next_time(view):
    dialog = box(view)
    view.shell.controller.network_box.add_folder(view.folder)
    view.wait()
    assert column(dialog, 1) == ["toy", "run", "a", "broken"]
    assert view.window.settings.network_folders == (view.folder,)
    choose(dialog, "a")
    dialog.remove.click()
    view.wait()
    assert column(dialog, 1) == ["toy", "run"]
    assert view.window.settings.network_folders == ()


def test_what_cannot_be_used_says_why_and_is_not_offered(view):
    dialog = box(view)
    view.shell.controller.network_box.add_folder(view.folder)
    view.wait()
    choose(dialog, "broken")
    assert dialog.advice == "no network file: it would run code"
    assert not dialog.use.isEnabled()
    assert not dialog.label_map.isVisible()
    assert column(dialog, MAP)[-1] == "✕ unusable"


def test_a_folder_that_is_gone_is_said_and_the_others_are_listed(view):
    dialog = box(view)
    view.shell.controller.network_box.add_folder(view.folder / "gone")
    view.wait()
    assert "gone: no such folder" in dialog._problem.text()
    assert column(dialog, 1) == ["toy", "run"]


def test_the_status_line_says_when_labels_are_not_those_of_the_map(view):
    assert "the map is not labelled with it" not in view.window.status._network.text()
    view.state.point_labels = None
    view.window.presenter.refresh()
    assert view.window.status._network.text().endswith("▲ the map is not labelled with it")
    assert view.window.status._network.toolTip().startswith("The map is labelled with toy")
    view.window.status._network.click()
    view.wait()
    assert view.window.dialogs.networks.isVisible()


def test_the_cache_is_cleared_after_a_question_that_says_what_it_holds(view):
    from PySide6.QtWidgets import QMessageBox

    from fgsn_viewer.cache_place import disk_cache

    view.wait()  # the tree's thumbnails are being kept too
    disk_cache().put("labels", "0" * 32, b"kept")
    view.window.dialogs.clear_cache()
    question = view.window.findChildren(QMessageBox)[-1]
    assert "1 labels" in question.text()
    assert disk_cache().use().files["labels"] == 1
    next(button for button in question.buttons() if button.text() == "Clear").click()
    assert disk_cache().use().total_files == 0
