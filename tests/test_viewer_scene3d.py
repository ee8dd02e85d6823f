"""The 3D view: what is set, what is picked, and that pixels stay lit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

from core.geometry import Camera, Rigid3d
from core.records import ImageData, Observations, PointLabels, SceneMap
from fgsn_viewer import palette
from fgsn_viewer.views.scene3d_gl import opengl_available
from fgsn_viewer.views.scene3d_overlay import BACKGROUND, error_color
from fgsn_viewer.views.scene3d_view import Scene3DView

QApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
CAMERA = Camera.pinhole(640, 480, 500)


def looking_along_y(x, y, z=1.6):
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return Rigid3d.from_rotation(R, -R @ np.array([x, y, z], float))


def street(num_points=4000, seed=0, offset=(0.0, 0, 0)):
    """Two walls beside a drive along y, a few wild outliers; labels 0 left, 1 right."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-0.1, -10, 0), (0.1, 40, 8), (num_points, 3))
    labels = np.arange(num_points) % 2
    points[:, 0] += np.where(labels == 0, -6, 6)
    points[:5] *= 1000
    images = tuple(
        ImageData(
            f"overcast/{i:04d}.jpg", Path("none"), "overcast", CAMERA, looking_along_y(*(np.add((0, 2 * i, 1.6), offset)))
        )
        for i in range(10)
    )
    point = np.repeat(np.arange(num_points), 2)
    seen = Observations(point, rng.integers(0, 5, len(point)) + 5 * (np.arange(len(point)) % 2), np.zeros((len(point), 2)))
    rgb = rng.integers(90, 255, (num_points, 3))
    votes = PointLabels(labels, np.ones(num_points), 2, "two")
    down = np.array([0.0, 0, -1])
    return SceneMap(points + offset, rgb, images, seen, labels=votes, gravity_in_world=down)


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.gl), False], ids=["gl", "plan"])
def view(qtbot, request):
    if request.param and not opengl_available():
        pytest.skip("no OpenGL here")
    view = Scene3DView(use_opengl=request.param)
    view.animated = False
    qtbot.addWidget(view)
    view.resize(640, 440)
    view.show()
    qtbot.waitExposed(view)
    return view


def pixels(view):
    image = view.grab_image().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[..., 2::-1].astype(int)


def num_lit(view, threshold=60):
    """Pixels clearly off the background, without the corner texts and the banner."""
    inner = pixels(view)[40:-60]
    return int((np.abs(inner - [BACKGROUND.red(), BACKGROUND.green(), BACKGROUND.blue()]).max(axis=2) > threshold).sum())


def close_to(view, color, tolerance=40):
    red, green, blue = bytes.fromhex(color[1:])
    return int((np.abs(pixels(view)[40:-60] - [red, green, blue]).max(axis=2) < tolerance).sum())


def mouse(view, kind, position, button=Qt.MouseButton.NoButton, buttons=Qt.MouseButton.NoButton):
    position = QPointF(*position)
    event = QMouseEvent(kind, position, view.canvas.mapToGlobal(position), button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(view.canvas, event)


def click(view, position):
    left = Qt.MouseButton.LeftButton
    mouse(view, QEvent.Type.MouseButtonPress, position, left, left)
    mouse(view, QEvent.Type.MouseButtonRelease, position, left)


def on_screen(view, points):
    size = view.canvas.width(), view.canvas.height()
    return view.camera.project(np.atleast_2d(points) - view.content.origin, *size)


def test_an_empty_view_says_so_and_a_map_lights_it_up(view):
    assert view.content.is_empty
    empty = num_lit(view)
    view.set_map(street())
    assert num_lit(view) > empty + 2000
    view.set_map(None)
    assert view.content.is_empty
    assert num_lit(view) == empty


def test_far_outliers_do_not_ruin_the_first_look(view):
    scene_map = street()
    view.set_map(scene_map)
    screen, _ = on_screen(view, scene_map.points3D[5:])
    inside = (screen > 0).all(axis=1) & (screen < (view.canvas.width(), view.canvas.height())).all(axis=1)
    assert inside.mean() > 0.9
    assert np.ptp(screen[inside], axis=0).max() > 200


def test_the_first_look_is_from_above_with_gravity_down(view):
    view.set_map(street())
    low, high = on_screen(view, [[0, 5, 0], [0, 5, 4]])[0] if view.has_opengl else (np.array([0, 1]), np.array([0, 0]))
    assert high[1] < low[1]
    assert view.camera.position[2] > 0


def test_points_at_map_coordinates_of_a_million_metres_are_as_sharp(view):
    near, far = street(), street(offset=(4.5e5, 5.6e6, 200.0))
    view.set_map(near)
    expected, _ = on_screen(view, near.points3D[5:200])
    view.set_map(far)
    found, _ = on_screen(view, far.points3D[5:200])
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_points_wear_their_labels_colors_on_demand(view):
    view.set_map(street())
    first = "#" + bytes(palette.label_colors(2)[0].tolist()).hex()
    before = close_to(view, first, 6)
    view.set_point_colors("label")
    assert view.content.by_label
    assert close_to(view, first, 6) > before + 300
    view.set_highlight(1)
    assert close_to(view, first, 6) < 30
    view.set_highlight(None)
    view.set_point_colors("photo")
    assert close_to(view, first, 6) == before


def test_estimate_and_truth_are_drawn_in_their_colors_and_go_when_unset(view):
    view.set_map(street(200))
    view.set_estimate(looking_along_y(0.6, 8), CAMERA)
    view.set_truth(looking_along_y(0, 8), CAMERA)
    view.look_at_query()
    accent, white = close_to(view, palette.ACCENT), close_to(view, palette.TRUTH)
    assert accent > 150
    assert white > 150
    view.set_estimate(None)
    view.set_truth(None)
    assert close_to(view, palette.ACCENT) < accent / 4
    assert close_to(view, palette.TRUTH) < white / 2


def test_the_poses_in_question_are_seen_from_far_away_and_in_a_plain_grab_too(view):
    view.set_map(street(200))
    view.set_estimate(looking_along_y(0.6, 8), CAMERA)
    view.set_camera(view.camera.zoomed(0.05))
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    colors = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[80:-60, :, 2::-1].astype(int)
    assert (np.abs(colors - [*bytes.fromhex(palette.ACCENT[1:])]).max(axis=2) < 40).sum() > 60


def test_looking_through_the_query_stands_at_its_camera(view):
    view.set_map(street())
    pose = looking_along_y(1.0, 8)
    view.set_estimate(pose, CAMERA)
    view.look_through_query()
    np.testing.assert_allclose(view.camera.position + view.content.origin, pose.center(), atol=1e-6)
    height = view.canvas.height()
    ahead = on_screen(view, [1.0, 20, 1.6])[0][0]
    np.testing.assert_allclose(ahead, [view.canvas.width() / 2, height / 2], atol=0.1)


def test_a_click_picks_the_point_under_it(view):
    scene_map = street(60)
    view.set_map(scene_map)
    view.set_cameras_visible(False)
    picked = []
    view.point_picked.connect(picked.append)
    screen, _ = on_screen(view, scene_map.points3D)
    alone = [i for i in range(5, 60) if np.sort(np.linalg.norm(screen - screen[i], axis=1))[1] > 12 and 0 < screen[i, 0] < 600]
    assert len(alone) > 5
    for index in alone[:6]:
        click(view, screen[index].tolist())
    assert picked == alone[:6]
    click(view, (3, 3))
    assert picked[-1] == -1


def test_a_click_picks_a_camera_by_its_index(view):
    scene_map = street(50)
    view.set_map(scene_map)
    picked = []
    view.camera_picked.connect(picked.append)
    view.look_from("top")
    screen, _ = on_screen(view, np.array([image.cam_from_world.center() for image in scene_map.images]))
    click(view, screen[7].tolist())
    assert picked == [7]


def test_a_selected_point_shows_rays_to_the_cameras_that_saw_it(view):
    scene_map = street()
    view.set_map(scene_map)
    view.set_selected_point(100)
    observations = scene_map.observations
    seen_by = np.unique(observations.image[observations.point == 100])
    rays = view.content.rays()
    assert len(rays) == len(seen_by)
    np.testing.assert_allclose(rays[:, 0] + view.content.origin, np.tile(scene_map.points3D[100], (len(rays), 1)), atol=1e-4)
    expected = [scene_map.images[i].cam_from_world.center() for i in seen_by]
    np.testing.assert_allclose(rays[:, 1] + view.content.origin, expected, atol=1e-9)
    view.set_selected_point(None)
    assert len(view.content.rays()) == 0


def test_dragging_orbits_and_the_wheel_zooms_where_the_mouse_is(view):
    view.set_map(street())
    before = view.camera
    left = Qt.MouseButton.LeftButton
    mouse(view, QEvent.Type.MouseButtonPress, (300, 200), left, left)
    mouse(view, QEvent.Type.MouseMove, (360, 200), buttons=left)
    mouse(view, QEvent.Type.MouseButtonRelease, (360, 200), left)
    assert view.camera.azimuth < before.azimuth
    assert view.camera.elevation == before.elevation
    np.testing.assert_array_equal(view.camera.target, before.target)
    height, width = view.canvas.height(), view.canvas.width()
    held = view.camera.panned(width / 2 - 100, height / 2 - 150, height).target
    position = QPointF(100, 150)
    at = view.canvas.mapToGlobal(position)
    buttons, modifiers = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    phase = Qt.ScrollPhase.NoScrollPhase
    wheel = QWheelEvent(position, at, QPoint(), QPoint(0, 240), buttons, modifiers, phase, False)
    distance = view.camera.distance
    QApplication.sendEvent(view.canvas, wheel)
    assert view.camera.distance == pytest.approx(distance / 1.2**2)
    np.testing.assert_allclose(view.camera.project(held[None], width, height)[0][0], [100, 150], atol=0.05)


def test_resizing_keeps_the_first_look_framed_and_leaves_a_chosen_one_alone(view):
    view.set_map(street())
    first = view.camera
    view.resize(640, 900)
    QApplication.processEvents()
    assert view.camera is not first
    screen, _ = view.camera.project(view.content.framed, view.canvas.width(), view.canvas.height())
    assert ((screen >= 0) & (screen <= (view.canvas.width(), view.canvas.height()))).all()
    view.look_from("side")
    chosen = view.camera
    view.resize(640, 440)
    QApplication.processEvents()
    assert view.camera is chosen


def test_the_tools_fit_into_a_narrow_dock(view):
    view.resize(440, 300)
    QApplication.processEvents()
    assert view.width() == 440
    right = max(child.geometry().right() for child in view.toolbar.findChildren(QWidget) if child.isVisible())
    assert right < 440


def test_flights_arrive_where_a_jump_would(view, qtbot):
    view.set_map(street())
    start = view.camera
    view.look_from("front")
    goal = view.camera
    view.set_camera(start)
    view.animated = True
    view.look_from("front")
    assert view.camera.distance != pytest.approx(goal.distance)
    qtbot.waitUntil(lambda: not view.canvas.moving, timeout=5000)
    np.testing.assert_allclose(view.camera.position, goal.position, atol=1e-6)
    view.look_from("top")
    view.grab_image()
    assert view.camera.elevation == pytest.approx(np.radians(89.9))


def test_labels_of_another_map_are_refused(view):
    view.set_map(street(100))
    with pytest.raises(ValueError, match="7 point labels for a map of 100 points"):
        view.set_labels(PointLabels(np.zeros(7), np.zeros(7), 2, "two"))
    with pytest.raises(ValueError, match="photo or label"):
        view.set_point_colors("depth")


def test_cameras_alone_are_a_scene_too(view):
    view.set_cameras(street(10).images)
    assert not view.content.is_empty
    assert num_lit(view) > 100


def test_without_opengl_a_banner_says_so(qtbot):
    view = Scene3DView(use_opengl=False)
    qtbot.addWidget(view)
    view.resize(640, 440)
    view.set_map(street(60_000))
    picture = pixels(view)
    assert picture[3, 3, 0] > picture[3, 3, 2] + 40, "an amber banner"


@pytest.mark.parametrize(
    ("error", "color"), [(0.2, palette.GOOD), (0.4, palette.FAIR), (3.0, palette.POOR), (5.1, palette.BAD), (1e6, palette.BAD)]
)
def test_error_colors_have_an_absolute_scale(error, color):
    assert error_color(error).name().upper() == color.upper()


@pytest.mark.gl
def test_the_view_stays_lit_when_its_dock_floats_and_returns(qtbot):
    if not opengl_available():
        pytest.skip("no OpenGL here")
    window = QMainWindow()
    qtbot.addWidget(window)
    dock = QDockWidget("3D", window)
    view = Scene3DView(use_opengl=True)
    view.animated = False
    dock.setWidget(view)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.resize(800, 500)
    window.show()
    qtbot.waitExposed(window)
    view.set_map(street())
    docked = num_lit(view)
    assert docked > 1000
    for floating in (True, False, True, False):
        dock.setFloating(floating)
        qtbot.waitExposed(view.window())
        QApplication.processEvents()
        assert num_lit(view) > docked / 3, f"dark after floating = {floating}"
