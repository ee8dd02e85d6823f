"""Reference and query beside each other: framing, labels under the mouse, matches across the pair."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

from core.records import LabelMap
from fgsn_viewer import palette
from fgsn_viewer.views.compare_view import CompareView
from fgsn_viewer.views.view_transform import ViewTransform

NAMES = ("sky", "trunk", "lawn", "path")


def photograph(width, height, seed=0):
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


def quarters(width, height):
    """Labels 0 and 1 above, 2 and 3 below."""
    labels = np.zeros((height, width), np.uint16)
    labels[:, width // 2 :] += 1
    labels[height // 2 :] += 2
    return LabelMap(labels, 4, "four", names=NAMES)


@pytest.fixture
def view(qtbot):
    view = CompareView()
    qtbot.addWidget(view)
    view.resize(1000, 500)
    view.show()
    qtbot.waitExposed(view)
    view.set_images(photograph(400, 200), photograph(300, 300, 1), "overcast/0001.jpg", "snow/0002.jpg")
    return view


def on_screen(view, side, x, y):
    """Canvas position of an image pixel."""
    frame = view.canvas.frames()[("reference", "query").index(side)]
    return QPointF(*frame.to_screen(np.array([x, y], float)).tolist())


def mouse(view, kind, position, button=Qt.MouseButton.NoButton, buttons=Qt.MouseButton.NoButton):
    event = QMouseEvent(kind, position, view.canvas.mapToGlobal(position), button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(view.canvas, event)


def hover(view, position):
    mouse(view, QEvent.Type.MouseMove, position)


def click(view, position):
    left = Qt.MouseButton.LeftButton
    mouse(view, QEvent.Type.MouseButtonPress, position, left, left)
    mouse(view, QEvent.Type.MouseButtonRelease, position, left)


def drag(view, start, end):
    left = Qt.MouseButton.LeftButton
    mouse(view, QEvent.Type.MouseButtonPress, start, left, left)
    for t in (0.3, 0.7, 1.0):
        mouse(view, QEvent.Type.MouseMove, start + (end - start) * t, buttons=left)
    mouse(view, QEvent.Type.MouseButtonRelease, end, left)


def wheel(view, position, steps):
    event = QWheelEvent(
        position,
        view.canvas.mapToGlobal(position),
        QPoint(),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view.canvas, event)


def color_at(view, position):
    color = view.canvas.grab().toImage().pixelColor(position.toPoint())
    return np.array([color.red(), color.green(), color.blue()])


def recorded(signal):
    calls = []
    signal.connect(lambda *values: calls.append(values if len(values) > 1 else values[0]))
    return calls


def test_photographs_are_painted_as_they_are(view):
    red = np.zeros((200, 400, 3), np.uint8)
    red[..., 0] = 200
    red[..., 2] = 30
    view.set_images(red, photograph(300, 300))
    np.testing.assert_array_equal(color_at(view, on_screen(view, "reference", 200, 100)), (200, 0, 30))


@pytest.mark.parametrize("side", ["reference", "query"])
def test_an_opaque_overlay_paints_each_pixel_in_its_labels_color(view, side):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    view.set_overlay("fill", 1.0)
    width, height = (400, 200) if side == "reference" else (300, 300)
    for label, (u, v) in enumerate([(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]):
        painted = color_at(view, on_screen(view, side, u * width, v * height))
        np.testing.assert_array_equal(painted, palette.label_colors(4)[label])


def test_overlay_off_shows_the_photograph_alone(view):
    position = on_screen(view, "query", 100, 100)
    before = color_at(view, position)
    view.set_labels(quarters(400, 200), quarters(300, 300))
    assert not np.array_equal(color_at(view, position), before)
    view.set_overlay("off", 0.45)
    np.testing.assert_array_equal(color_at(view, position), before)


def test_setters_can_be_read_back_and_emit_nothing(view):
    calls = [recorded(s) for s in (view.label_hovered, view.isolated_changed, view.overlay_changed, view.mode_changed)]
    view.set_labels(quarters(400, 200), quarters(300, 300))
    view.set_overlay("outline", 0.3)
    view.set_highlight(2)
    view.set_isolated(3)
    view.set_mode("swipe")
    assert view.overlay == ("outline", 0.3)
    assert (view.highlight, view.isolated) == (2, 3)
    view.set_highlight(None)
    view.set_isolated(-1)
    assert (view.highlight, view.isolated) == (None, None)
    assert calls == [[], [], [], []]


def test_words_that_mean_nothing_are_refused(view):
    with pytest.raises(ValueError, match="fill, outline, off"):
        view.set_overlay("full", 0.5)
    with pytest.raises(ValueError, match="side, swipe"):
        view.set_mode("sideways")
    with pytest.raises(ValueError, match="differ in length"):
        view.set_matches(np.zeros((3, 2)), np.zeros((4, 2)))


def test_hovering_tells_and_highlights_the_label_and_its_pixel(view):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    labels, pixels = recorded(view.label_hovered), recorded(view.pixel_hovered)
    hover(view, on_screen(view, "reference", 300, 50))
    hover(view, on_screen(view, "query", 20.25, 280))
    assert labels == [1, 2]
    assert view.highlight == 2
    assert pixels[0][0] == "reference"
    assert pixels[0][1:] == pytest.approx((300, 50), abs=0.01)
    assert pixels[1][0] == "query"
    assert pixels[1][1:] == pytest.approx((20.25, 280), abs=0.01)
    assert view.strip.text().startswith("2 lawn · 25.0 % | 25.0 %")
    QApplication.sendEvent(view.canvas, QEvent(QEvent.Type.Leave))
    assert labels[-1] == -1
    assert view.highlight is None
    assert pixels[-1] == ("", 0.0, 0.0)


def test_beside_the_photographs_there_is_no_label(view):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    hover(view, on_screen(view, "reference", 10, 10))
    labels = recorded(view.label_hovered)
    hover(view, on_screen(view, "reference", 10, -20))
    assert labels == [-1]


def test_a_click_isolates_a_label_and_a_second_click_or_escape_releases_it(view, qtbot):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    isolated, clicked = recorded(view.isolated_changed), recorded(view.label_clicked)
    position = on_screen(view, "query", 250, 20)
    click(view, position)
    assert view.isolated == 1
    click(view, position)
    assert view.isolated is None
    click(view, position)
    qtbot.keyClick(view.canvas, Qt.Key.Key_Escape)
    assert view.isolated is None
    assert isolated == [1, -1, 1, -1]
    assert clicked == [1, 1, 1]


def test_an_isolated_label_leaves_the_rest_dark(view):
    white = np.full((200, 400, 3), 255, np.uint8)
    view.set_images(white, white)
    view.set_labels(quarters(400, 200), quarters(400, 200))
    view.set_isolated(0)
    assert color_at(view, on_screen(view, "reference", 300, 150)).max() < 100
    assert color_at(view, on_screen(view, "reference", 100, 50)).max() > 200


def test_the_wheel_zooms_both_images_and_holds_the_pixel_under_the_cursor(view):
    position = QPointF(300, 200)
    cursor = np.array([300.0, 200.0])
    reference, query = view.canvas.frames()
    held, scales = reference.to_image(cursor), (reference.scale, query.scale)
    wheel(view, position, 3)
    reference, query = view.canvas.frames()
    np.testing.assert_allclose(reference.to_image(cursor), held, atol=1e-6)
    assert reference.scale / scales[0] == pytest.approx(1.25**3)
    assert query.scale / scales[1] == pytest.approx(1.25**3)


def test_dragging_moves_the_photograph_with_the_mouse_and_clicks_nothing(view):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    view.set_view(ViewTransform(0.5, 0.5, 3.0))
    clicked = recorded(view.label_clicked)
    start, end = QPointF(200, 250), QPointF(240, 230)
    held = view.canvas.frames()[0].to_image(np.array([200.0, 250.0]))
    drag(view, start, end)
    np.testing.assert_allclose(view.canvas.frames()[0].to_screen(held), [240, 230], atol=1e-6)
    reference, query = view.canvas.frames()
    assert reference.view == query.view
    assert clicked == []


def test_what_the_strip_says_does_not_move_the_photographs(view):
    QApplication.processEvents()
    before = view.canvas.geometry()
    view.set_labels(quarters(400, 200), quarters(300, 300))
    hover(view, on_screen(view, "reference", 300, 50))
    QApplication.processEvents()
    assert view.canvas.geometry() == before


def test_a_storm_of_resizes_leaves_the_framing_alone(view, qtbot):
    view.set_view(ViewTransform(0.37, 0.61, 2.2))
    rng = np.random.default_rng(0)
    for _ in range(30):
        view.resize(int(rng.integers(620, 1500)), int(rng.integers(250, 900)))
        QApplication.processEvents()
    view.resize(1000, 500)
    QApplication.processEvents()
    assert view.view == ViewTransform(0.37, 0.61, 2.2)
    view.fit()
    frame = view.canvas.frames()[0]
    assert frame.image_width * frame.scale == pytest.approx(frame.width)


def test_a_double_click_fits_and_does_not_isolate(view, qtbot):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    view.set_view(ViewTransform(0.4, 0.5, 2.0))
    position = on_screen(view, "reference", 150, 120)
    click(view, position)
    mouse(view, QEvent.Type.MouseButtonDblClick, position, Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton)
    mouse(view, QEvent.Type.MouseButtonRelease, position, Qt.MouseButton.LeftButton)
    assert view.view == ViewTransform()
    assert view.isolated is None


def test_a_click_on_a_match_tells_its_index_and_marks_it(view):
    points_ref = np.array([[50.0, 40], [350, 100], [200, 190]])
    points_query = np.array([[60.0, 20], [200, 150], [100, 290]])
    view.set_matches(points_ref, points_query, [1, 0, 1], [0.9, 0.5, 0.7])
    clicked, labels = recorded(view.match_clicked), recorded(view.label_clicked)
    for index in range(3):
        start = on_screen(view, "reference", *points_ref[index])
        end = on_screen(view, "query", *points_query[index])
        click(view, start + (end - start) * 0.45)
        assert view.canvas.matches.selected == index
    click(view, on_screen(view, "query", *points_query[1]))
    assert clicked == [0, 1, 2, 1]
    assert labels == []


def test_inliers_and_outliers_are_drawn_differently_and_outliers_can_be_hidden(view):
    view.set_images(np.zeros((200, 400, 3), np.uint8), np.zeros((300, 300, 3), np.uint8))

    def picture(kind):
        view.set_matches([[50.0, 100]], [[200.0, 150]], [kind])
        image = view.canvas.grab().toImage()
        return np.frombuffer(image.constBits(), np.uint32).copy()

    inlier, outlier = picture(1), picture(0)
    view.set_match_options(True, False, None)
    hidden, still_there = picture(0), picture(1)
    assert (inlier != hidden).sum() > 1.5 * (outlier != hidden).sum(), "an inlier is solid, an outlier is dashed"
    assert (outlier != hidden).sum() > 50
    np.testing.assert_array_equal(still_there, inlier)


def test_only_some_matches_are_drawn_and_the_strip_says_so(view):
    rng = np.random.default_rng(0)
    view.set_matches(rng.uniform(0, 200, (500, 2)), rng.uniform(0, 200, (500, 2)), np.ones(500), rng.random(500))
    assert len(view.canvas.matches.shown()) == 100
    assert view.canvas.matches.describe() == "500 matches · 500 inliers · 100 drawn"
    view.set_match_options(True, True, None)
    assert view.canvas.matches.describe() == "500 matches · 500 inliers · all drawn"
    view.set_match_options(False, True, None)
    assert view.canvas.matches.describe() == "500 matches hidden"


def test_a_selected_match_is_always_drawn(view):
    view.set_matches(np.full((300, 2), 50.0), np.full((300, 2), 60.0), np.ones(300), np.linspace(1, 0, 300))
    view.set_selected_match(299)
    assert 299 in view.canvas.matches.shown()
    view.set_selected_match(300)
    assert view.canvas.matches.selected is None


def test_marks_ring_their_pixels_and_go_with_the_images(view):
    def num_accent():
        image = view.canvas.grab().toImage()
        colors = np.frombuffer(image.constBits(), np.uint8).reshape(-1, 4)[:, 2::-1].astype(int)
        return int((np.abs(colors - [*bytes.fromhex(palette.ACCENT[1:])]).max(axis=1) < 25).sum())

    before = num_accent()
    view.set_marks([[100.0, 50]], [[150.0, 150], [np.nan, np.nan], [9999, 0]])
    assert num_accent() > before + 60
    ring = on_screen(view, "query", 150, 150) + QPointF(9, 0)
    assert np.abs(color_at(view, ring) - [*bytes.fromhex(palette.ACCENT[1:])]).max() < 90
    view.set_images(photograph(400, 200), photograph(300, 300, 1))
    assert num_accent() == before


@pytest.mark.parametrize("width", [600, 700, 1000])
def test_the_tools_fit_into_narrow_windows(view, width):
    view.resize(width, 400)
    QApplication.processEvents()
    assert view.width() == width
    right = max(child.geometry().right() for child in view.toolbar.findChildren(QWidget) if child.isVisible())
    assert right < width


@pytest.mark.parametrize("mode", ["side", "swipe", "overlay", "blink", "lens"])
def test_every_mode_paints_with_and_without_images_labels_and_matches(view, mode):
    view.set_mode(mode)
    view.set_labels(quarters(400, 200), None)
    view.set_matches([[50.0, 40]], [[60.0, 20]], [1])
    hover(view, QPointF(500, 250))
    assert not view.canvas.grab().isNull()
    view.set_images(None, photograph(30, 20), "a.jpg", "b.jpg", "The image file is missing.")
    assert not view.canvas.grab().isNull()
    view.set_images(None, None)
    assert not view.grab_image().isNull()


def test_the_swipe_divider_can_be_dragged_and_shows_reference_left_of_it(view):
    black, white = np.zeros((200, 400, 3), np.uint8), np.full((200, 400, 3), 255, np.uint8)
    view.set_images(black, white)
    view.set_mode("swipe")
    frame = view.canvas.frames()[1]
    middle, y = frame.x + frame.width / 2, frame.y + frame.height / 2
    drag(view, QPointF(middle, y), QPointF(middle + 150, y))
    assert view.canvas.divider == pytest.approx(0.5 + 150 / frame.width)
    assert color_at(view, QPointF(middle + 100, y)).max() == 0
    assert color_at(view, QPointF(middle + 200, y)).min() == 255
    assert view.view == ViewTransform()


def test_choosing_in_the_toolbar_is_told_once(view, qtbot):
    view.set_labels(quarters(400, 200), quarters(300, 300))
    overlays, modes = recorded(view.overlay_changed), recorded(view.mode_changed)
    qtbot.mouseClick(view.toolbar._overlays["outline"], Qt.MouseButton.LeftButton)
    view.toolbar._opacity.setValue(80)
    qtbot.mouseClick(view.toolbar._modes["overlay"], Qt.MouseButton.LeftButton)
    assert overlays == [("outline", 0.45), ("outline", 0.8)]
    assert modes == ["overlay"]
    assert view.overlay == ("outline", 0.8)
    assert view.canvas.mode == "overlay"


def test_without_labels_the_strip_offers_to_make_them(view, qtbot):
    asked = []
    assert view.strip.text() == "No labels yet"
    view.labels_requested.connect(lambda: asked.append("asked"))
    qtbot.mouseClick(view.strip._make_labels, Qt.MouseButton.LeftButton)
    assert asked == ["asked"]
    view.set_labels(quarters(400, 200), None)
    assert not view.strip._make_labels.isVisible()


def test_the_strip_says_why_there_are_no_labels(view):
    view.set_label_hint("No network is installed.", can_make=False)
    assert view.strip.text() == "No network is installed."
    assert not view.strip._make_labels.isVisible()


def test_wide_photographs_stand_above_each_other_where_that_shows_them_larger(view):
    reference, query = view.canvas.frames()
    assert (query.x > reference.x, query.y == reference.y) == (True, True)
    view.set_images(photograph(1200, 300), photograph(1200, 300))
    reference, query = view.canvas.frames()
    assert (query.x == reference.x, query.y > reference.y + reference.height) == (True, True)
    assert query.y + query.height <= view.canvas.height()
    hover(view, on_screen(view, "query", 600, 150))
    view.set_mode("swipe")
    assert len({(frame.x, frame.y, frame.width) for frame in view.canvas.frames()}) == 1


def test_a_huge_and_a_tiny_image_stand_beside_each_other(view):
    huge = np.full((3000, 9000, 3), 90, np.uint8)
    view.set_images(huge, np.full((1, 1, 3), 120, np.uint8))
    np.testing.assert_array_equal(color_at(view, on_screen(view, "reference", 4000, 1500)), (90, 90, 90))
    np.testing.assert_array_equal(color_at(view, on_screen(view, "query", 0, 0)), (120, 120, 120))


def test_changing_opacity_repaints_fast(view):
    """A thousand labels over 1.4 megapixels: the table is edited, never the image."""
    rng = np.random.default_rng(0)
    labels = LabelMap(rng.integers(0, 1000, (1024, 1366)), 1000, "many")
    view.set_images(photograph(1366, 1024), photograph(1366, 1024))
    view.set_labels(labels, labels)
    view.canvas.grab()
    sampled = view.canvas.panes["query"]._sampled[1]
    view.set_overlay("fill", 0.7)
    view.canvas.grab()
    assert view.canvas.panes["query"]._sampled[1] is sampled
