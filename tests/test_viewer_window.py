"""The whole window on a virtual screen: what a person does, and what they see."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from viewer_fakes import Calls, toy_pipelines, toy_scene, write_images

from core.errors import InputError, SceneError
from core.evaluation.recall import OUTCOME_MARKS
from fgsn_viewer import display
from fgsn_viewer.app import ErrorRelay, build_shell
from fgsn_viewer.bootstrap import UnsuitableQt, check_qt, native_order
from fgsn_viewer.settings import Settings
from fgsn_viewer.shot import render_shot
from fgsn_viewer.views.command_palette import CommandPalette

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.gl


class Window:
    """A shell over toy pipelines, and short ways to wait."""

    def __init__(self, root: Path, qtbot, demo: Path | None = None, networks=("toy",)):
        self.root, self.qtbot, self.calls = root, qtbot, Calls()
        self.calls.gate.set()
        self.opening_error: Exception | None = None
        self.scene = toy_scene(root / "scene")
        pipelines = toy_pipelines(self._open, self.calls, networks)
        self.settings = Settings(QSettings(str(root / "settings.ini"), QSettings.Format.IniFormat))
        self.shell = build_shell(self.settings, lambda: pipelines, demo=demo, runs=root / "runs")
        self.window, self.state, self.controller = self.shell.window, self.shell.state, self.shell.controller
        self.window.view3d.animated = False
        self.window.resize(1400, 900)
        self.window.show()
        qtbot.waitExposed(self.window)

    def _open(self, _path):
        if self.opening_error is not None:
            raise self.opening_error
        return self.scene

    def wait(self):
        self.qtbot.waitUntil(lambda: self.shell.is_idle, timeout=30_000)

    def open(self, *paths: Path):
        self.controller.start()
        self.window.open(paths or (self.root / "scene",))
        self.wait()
        return self


@pytest.fixture
def window(qtbot, tmp_path):
    before = set(QApplication.topLevelWidgets())
    made = []

    def make(**options) -> Window:
        made.append(Window(tmp_path, qtbot, **options))
        return made[-1]

    yield make
    for one in made:
        one.shell.close()
    made.clear()
    QApplication.sendPostedEvents(None, 52)  # DeferredDelete
    QApplication.processEvents()
    gc.collect()
    leaked = [widget for widget in set(QApplication.topLevelWidgets()) - before if widget.isVisible()]
    assert not leaked
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgsn-task")]


def test_the_start_page_says_what_this_is_and_offers_the_ways_in(window):
    view = window()
    view.wait()
    page = view.window.start
    assert page.isVisible()
    assert not page.demo.isEnabled()
    assert all(not dock.isVisible() for dock in view.window.docks.values())
    assert view.window.labels.hint.startswith("Labels of both images appear here")


def test_opening_a_scene_fills_every_view(window):
    view = window().open()
    w = view.window
    assert not w.start.isVisible()
    assert w.windowTitle().startswith("Toy street")
    assert "12" not in w.labels.hint
    assert len(w.labels.ids()) > 3
    assert w.matches.model.rowCount() == len(view.state.localization.matches)
    assert w.matches.hint == w.pose.hint == w.autopsy.hint == ""
    assert w.view3d.content.estimate is not None
    assert w.view3d.content.truth is not None
    assert w.header.references.currentText() == "overcast/0002.png   (9 inliers)"
    assert "network: toy" in w.status._network.text()
    assert "one note" in w.log.text.toPlainText()


def test_opening_two_photographs_gives_labels_and_matches_and_says_why_there_is_no_pose(window, tmp_path):
    write_images(tmp_path, ["summer.png", "winter.png"])
    view = window().open(tmp_path / "summer.png", tmp_path / "winter.png")
    assert view.window.matches.model.rowCount() == 4
    assert len(view.window.labels.ids()) > 0
    assert "no pose" in view.window.autopsy.hint
    assert not view.window.docks["3D"].isVisible()
    assert not view.window.header.localize.isVisible()


def test_the_3d_view_comes_back_with_the_next_map(window, tmp_path):
    write_images(tmp_path, ["a.png", "b.png"])
    view = window().open(tmp_path / "a.png", tmp_path / "b.png")
    assert view.window.docks["3D"].isHidden()
    view.open()
    assert not view.window.docks["3D"].isHidden()


def test_choosing_a_query_in_the_tree_shows_it(window):
    view = window().open()
    tree = view.window.tree
    item = tree._items["night/0000.png"]
    tree.tree.setCurrentIndex(tree._proxy.mapFromSource(item.index()))
    view.wait()
    assert view.state.query.name == "night/0000.png"
    assert view.state.localization.query.name == "night/0000.png"


def test_choosing_a_reference_in_the_tree_puts_it_on_the_left(window):
    view = window().open()
    tree = view.window.tree
    tree.tree.expandAll()
    tree.tree.setCurrentIndex(tree._proxy.mapFromSource(tree._items["overcast/0000.png"].index()))
    view.wait()
    assert view.state.reference.name == "overcast/0000.png"
    assert view.state.query.name == "snow/0000.png"


def test_a_match_selected_in_the_table_is_selected_in_the_images_and_in_3d(window):
    view = window().open()
    table = view.window.matches.table
    table.selectRow(2)
    view.wait()
    match = view.state.selected_match
    assert match == int(view.window.matches.model.order[2])
    assert view.window.view3d.content.selected_point == view.state.selected_point
    assert any(text.startswith(f"{match}, ") for text in view.window.selection.texts())
    shown = view.controller.match_rows().shown()
    if match in shown:
        assert view.window.compare.canvas.matches.selected == int(np.flatnonzero(shown == match)[0])


def test_a_point_picked_in_3d_is_selected_in_the_table(window):
    view = window().open()
    rows = view.controller.match_rows()
    view.window.view3d.point_picked.emit(int(rows.point_ids[3]))
    view.wait()
    assert view.state.selected_match == 3
    current = view.window.matches.table.currentIndex().row()
    assert int(view.window.matches.model.order[current]) == 3


def test_hovering_a_label_in_the_table_highlights_it_everywhere_and_a_click_isolates_it(window):
    view = window().open()
    labels = view.window.labels
    index = labels.table.model().index(1, 0)
    labels.table.entered.emit(index)
    view.wait()
    label = labels.ids()[1]
    assert view.window.compare.highlight == label
    assert view.window.view3d.content.highlight == label
    labels.table.clicked.emit(index)
    view.wait()
    assert view.window.compare.isolated == label
    labels.table.clicked.emit(index)
    view.wait()
    assert view.window.compare.isolated is None


def test_a_scene_that_cannot_be_opened_is_said_in_the_window_and_the_last_good_one_stays(window):
    view = window().open()
    view.opening_error = SceneError("/data/broken: the map is cut off after 12 bytes")
    view.window.open([Path("/data/broken")])
    view.wait()
    assert view.window.banner.isVisible()
    assert view.window.banner.sentence.startswith("/data/broken: the map is cut off after 12 bytes")
    assert view.state.scene is view.scene
    assert view.window.matches.model.rowCount() > 0
    view.opening_error = None
    view.open()
    assert not view.window.banner.isVisible()


def test_a_failed_query_says_so_with_its_reason(window):
    view = window().open()
    view.controller.select_query("night/0001.png")
    view.wait()
    assert "too few matches" in view.window.pose._verdict.text()
    assert view.window.tree._status["night/0001.png"].text().endswith("no pose")
    assert view.window.view3d.content.estimate is None
    assert view.window.view3d.content.truth is not None


def test_while_work_goes_on_the_window_says_what_and_can_stop_it(window):
    view = window().open()
    view.calls.gate.clear()
    view.controller.select_query("snow/0001.png")
    view.qtbot.waitUntil(lambda: "toy keypoints" in view.window.status.message.lower())
    assert view.window.status._cancel.isVisible()
    assert view.window.pose.hint == "Localizing…"
    view.qtbot.waitUntil(lambda: view.state.query_image is not None)
    view.window.status.cancel_requested.emit()
    view.wait()
    assert view.window.status.message == "Ready"
    assert view.window.pose.hint.startswith("No pose yet. Localize > Run (R)")


def test_a_missing_photograph_is_said_where_it_would_be(window):
    view = window()
    (view.root / "scene/snow/0000.png").unlink()
    view.open()
    view.window.tree.query_chosen.emit("snow/0000.png")
    view.wait()
    assert "image file of the query is missing" in view.window.pose.hint
    assert view.window.compare.canvas.panes["query"].note == "The image file is missing."
    assert view.window.compare.canvas.panes["reference"].has_image


def test_localize_all_fills_the_marks_of_the_tree(window):
    view = window().open()
    view.window.actions_.run_all.trigger()
    view.wait()
    marks = {name: item.text() for name, item in view.window.tree._status.items() if item.text()}
    assert marks["snow/0001.png"] == f"{OUTCOME_MARKS['good']} 0.10 m"
    assert marks["night/0001.png"] == f"{OUTCOME_MARKS['failed']} no pose"
    assert not view.window.actions_.run_all.isEnabled()


def focus_images(view):
    view.window.activateWindow()
    view.qtbot.waitUntil(view.window.isActiveWindow)
    view.window.compare.setFocus()


def test_letters_are_shortcuts_and_still_go_into_a_search_field(window):
    view = window().open()
    focus_images(view)
    QTest.keyClick(view.window.compare, Qt.Key.Key_H)
    assert view.state.overlay.mode == "off"
    QTest.keyClick(view.window.compare, Qt.Key.Key_L)
    assert view.state.overlay.mode == "fill"
    view.window.labels.search.setFocus()
    QTest.keyClicks(view.window.labels.search, "h")
    assert view.window.labels.search.text() == "h"
    assert view.state.overlay.mode == "fill"


def test_arrows_over_the_images_step_through_the_queries(window):
    view = window().open()
    focus_images(view)
    QTest.keyClick(view.window.compare, Qt.Key.Key_Right)
    view.wait()
    assert view.state.query.name == "snow/0001.png"


def drop(window, paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    actions, buttons, modifiers = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(50, 50), actions, data, buttons, modifiers)
    window.dragEnterEvent(enter)
    if enter.isAccepted():
        window.dropEvent(QDropEvent(QPointF(50, 50), actions, data, buttons, modifiers))
    return enter.isAccepted()


def test_a_dropped_folder_is_summarized_and_opens_as_a_scene(window, tmp_path):
    view = window()
    assert drop(view.window, [tmp_path / "scene"])
    view.wait()
    view.window.dialogs.summary.open_button.click()
    view.wait()
    assert view.state.scene is view.scene


def test_two_dropped_photographs_open_as_a_pair(window, tmp_path):
    write_images(tmp_path, ["a b.png", "ä.png"])
    view = window()
    assert drop(view.window, [tmp_path / "a b.png", tmp_path / "ä.png"])
    view.wait()
    assert view.state.query.path.name == "ä.png"


def test_three_dropped_files_are_refused_in_a_sentence(window, tmp_path):
    view = window()
    drop(view.window, [tmp_path / name for name in "abc"])
    view.wait()
    assert "3 paths given" in view.window.banner.sentence


def test_a_dropped_text_is_not_taken(window):
    view = window()
    data = QMimeData()
    data.setText("hello")
    enter = QDragEnterEvent(
        QPoint(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    enter.ignore()
    view.window.dragEnterEvent(enter)
    assert not enter.isAccepted()


def test_theme_recent_scenes_and_layout_are_there_again_next_time(window, tmp_path):
    first = window().open()
    first.window.set_theme("light")
    first.window.docks["Selected"].hide()
    first.window.close()
    second = window().open()
    assert second.settings.theme == "light"
    assert second.settings.recent() == [(tmp_path / "scene",)]
    assert second.window.docks["Selected"].isHidden()
    assert not second.window.docks["Labels"].isHidden()
    second.window.set_theme("dark")


def test_closing_on_the_start_page_does_not_lose_the_layout(window):
    first = window().open()
    first.window.docks["Log"].hide()
    first.controller.close_scene()
    first.wait()
    first.window.close()
    second = window().open()
    assert second.window.docks["Log"].isHidden()
    assert not second.window.docks["Matches"].isHidden()


def test_the_3d_view_that_only_a_missing_map_hid_is_there_again_next_time(window, tmp_path):
    write_images(tmp_path, ["a.png", "b.png"])
    first = window().open(tmp_path / "a.png", tmp_path / "b.png")
    assert first.window.docks["3D"].isHidden()
    first.window.close()
    assert not window().open().window.docks["3D"].isHidden()


def test_the_shown_reference_is_marked_in_3d_and_a_picked_camera_is_shown(window):
    view = window().open()
    assert view.window.view3d.content.selected_camera == 2
    view.window.view3d.camera_picked.emit(0)
    view.wait()
    assert view.state.reference.name == "overcast/0000.png"
    assert view.window.view3d.content.selected_camera == 0


def test_a_small_screen_gets_tabs_in_place_of_stacked_docks(window):
    view = window()
    view.window.resize(1280, 720)
    view.open()
    assert view.window.docks["Matches"] in view.window.tabifiedDockWidgets(view.window.docks["3D"])
    assert view.window.height() <= 720
    assert view.window.compare.canvas.height() > 180


@pytest.mark.parametrize("layout", ["Compare", "Localize", "3D", "Present"])
def test_layouts_show_their_own_docks_and_reset_brings_all_back(window, layout):
    view = window().open()
    view.window.arrangement.apply(layout)
    assert view.window.docks["Matches"].isHidden() == (layout != "Localize")
    view.window.arrangement.reset()
    assert not any(dock.isHidden() for dock in view.window.docks.values())


def test_the_exported_picture_holds_the_3d_view(window):
    view = window().open()
    view.qtbot.wait(50)
    picture = view.window.grab_picture()
    canvas = view.window.view3d.canvas
    corner = canvas.mapTo(view.window, QPoint(0, 0))
    part = picture.copy(corner.x(), corner.y(), canvas.width(), canvas.height()).convertToFormat(QImage.Format.Format_RGB888)
    pixels = np.frombuffer(part.constBits(), np.uint8).reshape(part.height(), part.bytesPerLine())
    assert len(np.unique(pixels)) > 20


def test_an_error_that_nobody_caught_is_shown_in_the_window_without_a_traceback(window, capsys):
    view = window()
    relay = ErrorRelay()
    relay.caught.connect(lambda failure: view.controller.failed.emit("running", failure))
    restore = relay.install()
    try:
        thread = threading.Thread(target=lambda: [][1])
        thread.start()
        thread.join()
        view.qtbot.waitUntil(lambda: view.window.banner.isVisible())
    finally:
        restore()
    assert view.window.banner.sentence.startswith("Internal error: IndexError")
    assert "Traceback" not in view.window.banner.sentence
    assert "Traceback" not in capsys.readouterr().err


def test_every_key_is_used_once(window):
    keys = [key for keys, _text in window().window.actions_.key_list() for key in keys.split(", ")]
    assert len(keys) == len(set(keys))
    assert {"R", "L", "O", "H", "?"} <= set(keys)


def test_an_action_is_found_by_a_few_letters_and_run(window):
    view = window().open()
    view.window.dialogs.show_palette()
    palette_ = next(w for w in QApplication.topLevelWidgets() if isinstance(w, CommandPalette) and w.isVisible())
    QTest.keyClicks(palette_.field, "hide lab")
    assert palette_.titles() == ["Labels: Hide labels"]
    QTest.keyClick(palette_.field, Qt.Key.Key_Return)
    assert view.state.overlay.mode == "off"


def test_actions_that_cannot_run_are_not_offered(window):
    view = window()
    view.wait()
    view.window.dialogs.show_palette()
    palette_ = next(w for w in QApplication.topLevelWidgets() if isinstance(w, CommandPalette) and w.isVisible())
    assert "Localize: Run this query" not in palette_.titles()
    assert "File: Open scene…" in palette_.titles()
    palette_.close()


def test_missing_networks_are_said_where_labels_would_be(window):
    view = window(networks=()).open()
    assert "no network is installed" in view.window.labels.hint
    assert "Labels > Network" in view.window.labels.hint


@pytest.mark.parametrize("view_name", ["window", "labels", "matches", "scene3d"])
def test_a_shot_has_the_size_that_was_asked_for_and_is_not_empty(qtbot, tmp_path, view_name):
    scene = toy_scene(tmp_path / "scene")
    calls = Calls()
    calls.gate.set()
    pipelines = toy_pipelines(lambda _path: scene, calls)
    size = (1300, 760) if view_name == "window" else (640, 400)
    out = render_shot([tmp_path / "scene"], view_name, tmp_path / "o" / "x.png", size=size, pipelines=lambda: pipelines)
    picture = QImage(str(out))
    assert (picture.width(), picture.height()) == size
    assert len({picture.pixel(x, y) for x in range(0, picture.width(), 9) for y in range(0, picture.height(), 9)}) > 8


def test_a_shot_of_what_cannot_be_opened_says_so(qtbot, tmp_path):
    def refuse(_path):
        raise SceneError(f"{tmp_path}: nothing to open")

    with pytest.raises(InputError, match="nothing to open"):
        render_shot([tmp_path], "window", tmp_path / "x.png", pipelines=lambda: toy_pipelines(refuse, Calls()))
    assert not (tmp_path / "x.png").exists()


def test_the_window_shows_before_the_heavy_libraries_load():
    code = (
        "import sys, tempfile\nfrom PySide6.QtCore import QSettings\nfrom PySide6.QtTest import QTest\n"
        "from fgsn_viewer.app import application, build_shell\nfrom fgsn_viewer.settings import Settings\n"
        "application()\n"
        "shell = build_shell(Settings(QSettings(tempfile.mkdtemp() + '/s.ini', QSettings.Format.IniFormat)))\n"
        "shell.window.show()\nassert QTest.qWaitForWindowExposed(shell.window)\n"
        "loaded = {'torch', 'open3d', 'pycolmap', 'poselib'} & set(sys.modules)\nshell.close()\nassert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("qt", "python", "refused"),
    [("6.12.0", (3, 11), True), ("6.12.0", (3, 12), False), ("6.11.3", (3, 11), False), ("6.13.1", (3, 10), True)],
)
def test_a_qt_that_dies_on_this_python_is_refused(qt, python, refused):
    if refused:
        with pytest.raises(UnsuitableQt, match=r"PySide6-Essentials<6\.12"):
            check_qt(qt, python)
    else:
        check_qt(qt, python)


def test_torch_comes_before_the_others_except_on_macos():
    assert native_order("linux")[0] == "torch"
    assert native_order("darwin")[:2] == ("open3d", "torch")


FLOAT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from PySide6.QtCore import QEventLoop, QSettings, QTimer
from PySide6.QtTest import QTest
from fgsn_viewer.app import application, build_shell
from fgsn_viewer.settings import Settings
from viewer_fakes import Calls, toy_pipelines, toy_scene
application()
root = Path(sys.argv[2])
scene, calls = toy_scene(root), Calls()
calls.gate.set()
pipelines = toy_pipelines(lambda path: scene, calls)
shell = build_shell(Settings(QSettings(str(root / "s.ini"), QSettings.Format.IniFormat)), lambda: pipelines)
shell.window.view3d.animated = False
shell.window.show()
shell.window.open([root])
QTest.qWait(300)
def colors():
    picture = shell.window.view3d.grab_image()
    return len({picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)})
docked = colors()
shell.window.docks["3D"].setFloating(True)
QTest.qWait(300)
floating = colors()
shell.close()
assert docked > 20 and floating > 20, (docked, floating)
"""


def test_the_3d_view_survives_being_floated(tmp_path):
    command = [sys.executable, "-c", FLOAT, str(ROOT / "tests"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_method_box_localizes_and_every_answer_stands_beside_the_others(window):
    view = window().open()
    box = view.window.header.method
    box.setCurrentText("ssmc")
    box.activated.emit(box.currentIndex())
    view.wait()
    assert view.state.localization.result.method == "ssmc"
    assert view.window.methods.methods() == ["p3p", "ssmc"]
    assert [pose.method for pose in view.window.view3d.content.poses] == ["p3p"]
    assert view.window.view3d.content.estimate_style[0] == "ssmc"
    assert view.window.actions_.methods["ssmc"].isChecked()
    view.window.methods.method_chosen.emit("p3p")
    view.wait()
    assert box.currentText() == "p3p"
    assert [pose.method for pose in view.window.view3d.content.poses] == ["ssmc"]


def test_kinds_of_matches_are_shown_alike_in_the_table_and_in_the_images(window):
    view = window().open()
    view.controller.localizing.select_method("ssmc")
    view.wait()
    boxes = view.window.matches.filter.boxes
    dropped = int((view.controller.match_rows().kinds == display.DROPPED).sum())
    assert boxes[display.DROPPED].text() == f"{dropped} dropped"
    boxes[display.DROPPED].click()
    view.wait()
    layer = view.window.compare.canvas.matches
    assert display.DROPPED not in layer.kinds[layer.shown()]
    assert view.window.matches.model.rowCount() == len(view.controller.match_rows()) - dropped
    view.window.compare.toolbar._outliers.click()
    view.wait()
    assert not boxes[display.OUTLIER].isChecked()


def test_a_sequence_is_followed_and_its_moments_are_the_queries(window):
    view = window().open()
    view.controller.localizing.select_method("pfsl")
    view.wait()
    assert "follows the whole condition" in view.window.pose.hint
    view.window.header.localize.click()
    view.wait()
    view3d = view.window.view3d
    assert not view3d.moments.isHidden()
    assert len(view3d.content.moment.centers) == 20
    with view.qtbot.waitSignal(view3d.moment_chosen):
        view3d.moments.slider.setValue(1)
    view.wait()
    assert view.state.query.name == "snow/0001.png"
    assert view3d.content.truth is not None
    view.controller.localizing.select_method("p3p")
    view.wait()
    assert view3d.moments.isHidden()
    assert view3d.content.moment is None


def test_the_circle_of_a_selected_match_is_shown_with_its_best_place_in_words(window):
    view = window().open()
    view.controller.localizing.select_method("gsmc")
    view.wait()
    view.controller.select_match(1)
    view.wait()
    assert view.window.view3d.content.circle is not None
    assert any(text.startswith("score 2.0 at 0°, 12 points") for text in view.window.selection.texts())
    view.controller.select_match(None)
    view.wait()
    assert view.window.view3d.content.circle is None


def test_running_all_queries_fills_the_evaluation_and_a_point_opens_its_query(window):
    view = window().open()
    view.window.actions_.run_all.trigger()
    view.wait()
    panel = view.window.evaluation
    assert panel.hint == ""
    assert panel.table.rowCount() == 3  # snow, night and all
    panel.query_chosen.emit("night/0000.png", "p3p")
    view.wait()
    assert view.state.query.name == "night/0000.png"


def test_results_that_were_opened_get_room_and_can_be_left_again(window, tmp_path):
    view = window().open()
    view.calls.evaluation = list(view.state.rows)
    view.controller.localizing.open_evaluation(tmp_path)
    view.wait()
    assert str(tmp_path) in view.window.evaluation._source.text()
    assert view.window.docks["3D"].isHidden()
    view.window.evaluation.close_.click()
    view.wait()
    assert "this session" in view.window.evaluation._source.text()


def test_the_worst_labels_are_marked_in_both_images_by_one_switch(window):
    view = window().open()
    labels = view.window.labels
    assert labels.agreement.text().startswith("kappa ")
    labels.mark.click()
    view.wait()
    assert view.state.overlay.unstable
    assert view.window.compare.canvas.style_now.marked == view.state.consistency.least_consistent()
    assert view.window.compare.strip.text() == view.state.consistency.mark_hint()
    labels.mark.click()
    view.wait()
    assert view.window.compare.canvas.style_now.marked == ()


def test_training_on_the_scene_ends_in_a_network_that_labels_it(window):
    view = window().open()
    view.calls.training_gate.set()
    view.window.actions_.train.trigger()
    view.wait()
    dialog = view.window.dialogs.training
    assert dialog.isVisible()
    assert dialog.network.currentText() == "toy"
    dialog.start.click()
    view.wait()
    assert set(dialog.plot.names) == {"L_class", "L_corr"}
    dialog.use.click()
    view.wait()
    assert view.state.network.name == "scene, run 1"
    assert "network: scene, run 1" in view.window.status._network.text()
    checked = [action.text() for action in view.window.actions_.network.actions() if action.isChecked()]
    assert checked == ["scene, run 1"]
    dialog.close()
