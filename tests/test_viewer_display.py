"""What is painted, as arrays: overlays, outlines, matches, frustums, picking, framing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.geometry import Camera, Rigid3d
from core.records import ImageData, Observations, SceneMap
from fgsn_viewer import display, display3d, palette
from fgsn_viewer.views.orbit_camera import OrbitCamera
from fgsn_viewer.views.view_transform import PaneFrame, ViewTransform

COLORS = palette.label_colors(1000)


def unpack(pixels):
    return np.stack([(pixels >> shift) & 255 for shift in (16, 8, 0, 24)], axis=-1).astype(int)


def random_pose(rng):
    return Rigid3d(rng.normal(size=4), rng.normal(size=3))


def test_every_label_is_painted_in_its_own_color_to_the_bit():
    labels = np.random.default_rng(0).integers(0, 1000, (37, 53)).astype(np.uint16)
    painted = unpack(display.paint_labels(labels, display.fill_lut(COLORS, "fill", 1.0)))
    np.testing.assert_array_equal(painted[..., :3], COLORS[labels])
    assert (painted[..., 3] == 255).all()


def test_opacity_premultiplies_the_colors():
    lut = unpack(display.fill_lut(COLORS, "fill", 0.45))
    assert (lut[:-1, 3] == round(0.45 * 255)).all()
    assert np.abs(lut[:-1, :3] - COLORS * lut[:-1, 3:] / 255).max() <= 0.5
    assert (lut[:-1, :3] <= lut[:-1, 3:]).all()


def test_pixels_outside_of_the_image_stay_clear():
    outside = np.full((2, 2), np.iinfo(np.uint16).max, np.uint16)
    for mode in ("fill", "outline"):
        assert not display.paint_labels(outside, display.fill_lut(COLORS, mode, 0.9, 3, 4)).any()


def test_overlay_off_paints_nothing_even_with_a_highlight():
    assert not display.fill_lut(COLORS, "off", 0.9, highlight=3, isolated=5).any()
    assert not display.outline_lut(COLORS, "off", highlight=3).any()


def test_a_highlighted_label_stands_out_and_an_isolated_one_shades_the_rest():
    plain = unpack(display.fill_lut(COLORS[:5], "fill", 0.4))
    highlighted = unpack(display.fill_lut(COLORS[:5], "fill", 0.4, highlight=2))
    assert highlighted[2, 3] > plain[2, 3]
    assert (highlighted[[0, 1, 3, 4], 3] < plain[[0, 1, 3, 4], 3]).all()
    isolated = unpack(display.fill_lut(COLORS[:5], "fill", 0.4, isolated=2))
    assert (isolated[[0, 1, 3, 4], :3] == 0).all()
    assert (isolated[[0, 1, 3, 4], 3] > 150).all()
    assert isolated[2, 3] < plain[2, 3]


def test_labels_are_sampled_at_the_nearest_pixel_and_marked_outside():
    labels = np.arange(6, dtype=np.uint16).reshape(2, 3)
    sampled = display.sample_labels(labels, np.array([-0.51, -0.49, 0.49, 0.51, 2.4, 2.6]), np.array([0.4, 1.4, 1.6]), 99)
    np.testing.assert_array_equal(sampled[0], [99, 0, 0, 1, 2, 99])
    np.testing.assert_array_equal(sampled[1], [99, 3, 3, 4, 5, 99])
    assert (sampled[2] == 99).all()


def test_outlines_run_along_label_changes_with_a_dark_halo_and_nowhere_else():
    labels = np.zeros((20, 30), np.uint16)
    labels[:, 15:] = 1
    painted = unpack(display.paint_outlines(labels, display.outline_lut(COLORS[:2], "outline")))
    np.testing.assert_array_equal(painted[10, 14], [*COLORS[0], 255])
    assert 100 < painted[10, 15, 3] < 255
    for halo in (13, 16):
        assert (painted[10, halo, :3] == 0).all()
        assert painted[10, halo, 3] > 0
    assert not painted[:, :13].any()
    assert not painted[:, 17:].any()
    assert (painted[..., :3] <= painted[..., 3:]).all(), "not premultiplied"


def test_outlines_are_as_thick_on_a_screen_of_twice_the_pixels():
    labels = np.zeros((20, 40), np.uint16)
    labels[:, 20:] = 1
    lut = display.outline_lut(COLORS[:2], "outline")
    thin, thick = ((unpack(display.paint_outlines(labels, lut, t))[10, :, :3] > 0).any(axis=1).sum() for t in (1, 2))
    assert thick == 2 * thin
    contour = unpack(display.paint_contour(labels == 1, 2))[10]
    np.testing.assert_array_equal(np.flatnonzero(contour[:, 0] == 255), [20, 21])


def test_shown_matches_keep_the_share_of_inliers_and_the_first_of_the_order():
    rng = np.random.default_rng(1)
    kinds = (rng.random(1000) < 0.3).astype(int)
    order = rng.permutation(1000)
    shown = display.shown_matches(kinds, order, 100)
    assert len(shown) == 100
    assert kinds[shown].sum() == round(100 * kinds.mean())
    for kind in (0, 1):
        mine = shown[kinds[shown] == kind]
        np.testing.assert_array_equal(mine, order[kinds[order] == kind][: len(mine)])
    only = display.shown_matches(kinds, order, None, frozenset({display.INLIER}))
    np.testing.assert_array_equal(np.sort(only), np.flatnonzero(kinds == 1))
    assert len(display.shown_matches(np.zeros(0), np.zeros(0), 10)) == 0


def test_the_first_matches_of_the_order_are_the_best_of_every_part_of_the_image():
    rng = np.random.default_rng(2)
    points = np.concatenate([rng.uniform(0, 10, (500, 2)), rng.uniform(0, 100, (500, 2))])  # half of them in one corner
    scores = rng.random(1000)
    order = display.spread_order(points, scores, 10.0)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    squares = [tuple(square) for square in (points // 10).astype(int)]
    occupied = set(squares)
    first = order[: len(occupied)]
    assert {squares[i] for i in first} == occupied
    for i in first:
        assert scores[i] == max(scores[j] for j in range(1000) if squares[j] == squares[i])
    assert len(display.spread_order(np.zeros((0, 2)), None, 10.0)) == 0


def test_a_click_finds_the_nearest_line_and_prefers_end_points():
    starts, ends = np.array([[0.0, 0], [0, 20]]), np.array([[100.0, 0], [100, 20]])
    assert display.nearest_segment(starts, ends, np.array([50.0, 4]), 6) == 0
    assert display.nearest_segment(starts, ends, np.array([50.0, 17]), 6) == 1
    assert display.nearest_segment(starts, ends, np.array([50.0, 10]), 6) is None
    assert display.nearest_segment(starts, ends, np.array([-9.0, 20]), 6) == 1
    assert display.nearest_segment(starts[:0], ends[:0], np.array([0.0, 0]), 6) is None


@pytest.mark.parametrize("pixel_ratio", [1.0, 2.0])
def test_a_pane_maps_pixels_to_the_screen_and_back(pixel_ratio):
    frame = PaneFrame(40, 30, 300, 200, 640, 480, ViewTransform(0.3, 0.6, 2.5))
    points = np.random.default_rng(0).uniform(0, 480, (20, 2))
    np.testing.assert_allclose(frame.to_image(frame.to_screen(points)), points, atol=1e-9)
    columns, rows = frame.grid(pixel_ratio)
    corner = frame.to_image(np.array([40 + 0.5 / pixel_ratio, 30 + 0.5 / pixel_ratio]))
    np.testing.assert_allclose([columns[0], rows[0]], corner)
    assert (len(columns), len(rows)) == (300 * pixel_ratio, 200 * pixel_ratio)


def test_a_fitted_image_fills_its_pane_and_is_in_the_middle():
    frame = PaneFrame(10, 20, 400, 400, 800, 200, ViewTransform())
    corners = frame.to_screen(np.array([(-0.5, -0.5), (799.5, 199.5)]))
    np.testing.assert_allclose(corners, [(10, 170), (410, 270)])


def test_zooming_holds_the_pixel_under_the_cursor():
    view = ViewTransform()
    cursor = np.array([123.0, 77.0])
    for factor in (1.25, 1.25, 3.0, 0.5):
        frame = PaneFrame(5, 6, 300, 200, 640, 480, view)
        held = frame.to_image(cursor)
        view = frame.zoomed_at(cursor, factor)
        after = PaneFrame(5, 6, 300, 200, 640, 480, view)
        np.testing.assert_allclose(after.to_image(cursor), held, atol=1e-9)
        assert after.scale == pytest.approx(frame.scale * factor)


def test_a_frustum_starts_at_the_camera_and_ends_on_its_image():
    rng = np.random.default_rng(3)
    camera, pose = Camera.pinhole(640, 480, 500), random_pose(rng)
    lines = display3d.frustum_lines(camera, pose, 2.0)
    assert lines.shape == (10, 2, 3)
    np.testing.assert_allclose(lines[:4, 0], np.tile(pose.center(), (4, 1)), atol=1e-12)
    corners = pose.apply(lines[:4, 1])
    np.testing.assert_allclose(corners[:, 2], 2.0)
    expected = [[-0.5, -0.5], [639.5, -0.5], [639.5, 479.5], [-0.5, 479.5]]
    np.testing.assert_allclose(camera.project(corners), expected, atol=1e-9)
    np.testing.assert_allclose(lines[4:8, 1], lines[[5, 6, 7, 4], 0])
    up_mark = pose.apply(lines[8, 1][None])
    assert camera.project(up_mark)[0, 1] < -0.5


def test_cameras_without_a_pose_are_not_drawn_and_keep_their_index():
    images = [ImageData("a", Path("a")), ImageData("b", Path("b"), cam_from_world=Rigid3d.identity())]
    lines, index = display3d.cameras_lines(images, 1.0)
    assert len(lines) == 10
    assert set(index) == {1}
    assert np.isnan(display3d.camera_centers(images)[0]).all()
    assert display3d.cameras_lines([], 1.0)[0].shape == (0, 2, 3)


def test_picking_agrees_with_brute_force():
    rng = np.random.default_rng(5)
    pixels = rng.uniform(0, 200, (3000, 2)).astype(np.float32)
    pixels[::50] = np.nan
    depth = rng.uniform(1, 50, 3000).astype(np.float32)
    misses = 0
    for position in rng.uniform(-10, 210, (200, 2)):
        distance = np.linalg.norm(pixels.astype(np.float64) - position, axis=1)
        distance[np.isnan(distance)] = np.inf
        picked = display3d.nearest_point(pixels, depth, position, radius=4.0)
        if distance.min() > 4.0:
            assert picked is None
            misses += 1
            continue
        near = [i for i in range(3000) if distance[i] <= min(distance.min() + 2.0, 4.0)]
        assert picked == min(near, key=lambda i: depth[i])
    assert 0 < misses < 200


def test_the_eye_projects_as_a_pinhole_camera_would():
    eye = OrbitCamera(np.array([1.0, 2, 3]), 12.0, 0.7, 0.4, level_from_world=random_pose(np.random.default_rng(0)).R)
    points = np.random.default_rng(1).normal(size=(50, 3)) + [1, 2, 3]
    focal = 300 / np.tan(eye.fov / 2)
    camera = Camera("PINHOLE", 800, 600, np.array([focal, focal, 400, 300]))
    in_eye = eye.eye_from_world.apply(points)
    pixels, depth = eye.project(points, 800, 600)
    np.testing.assert_allclose(pixels, camera.project(in_eye), atol=2e-3)
    np.testing.assert_allclose(depth, in_eye[:, 2], atol=1e-4)
    clip = np.hstack([points, np.ones((50, 1))]) @ eye.clip_from_world(800, 600).T
    on_screen = (clip[:, :2] / clip[:, 3:] * [1, -1] + 1) / 2 * [800, 600]
    np.testing.assert_allclose(on_screen, pixels, atol=2e-3)


def test_framing_puts_every_point_on_the_screen_and_wastes_little_of_it():
    points = np.random.default_rng(2).uniform((-50, -2, 0), (50, 2, 8), (500, 3))
    eye = OrbitCamera().looking(-70, 25).framing(points, 900, 500)
    pixels, _ = eye.project(points, 900, 500)
    assert (pixels >= 0).all()
    assert (pixels <= (900, 500)).all()
    assert np.ptp(pixels[:, 0]) > 0.8 * 900 or np.ptp(pixels[:, 1]) > 0.8 * 500


def test_going_through_a_level_camera_sees_what_it_saw():
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    pose = Rigid3d.from_rotation(R, -R @ np.array([3.0, 4, 1.6]))
    eye = OrbitCamera().through(pose, 10.0, 1.0)
    np.testing.assert_allclose(eye.position, [3, 4, 1.6], atol=1e-9)
    np.testing.assert_allclose(eye.world_rotation, R, atol=1e-9)


def test_far_outliers_do_not_stretch_the_frame():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(2000, 3))
    outliers = np.concatenate([points, rng.normal(size=(40, 3)) * 1e5])
    none = np.zeros((0, 3))
    assert display3d.robust_ball(outliers, none)[1] < 1.3 * display3d.robust_ball(points, none)[1]
    assert np.abs(display3d.robust_sample(outliers, none)).max() < 10
    assert display3d.robust_ball(none, none)[1] > 0


@pytest.mark.parametrize("up", [(0.0, 0, 1), (0.0, 0, -1), (0.6, -0.8, 0), (0.0, -1, 0)])
def test_leveling_turns_up_to_z(up):
    level = display3d.level_rotation(np.array(up))
    np.testing.assert_allclose(level @ up, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(level @ level.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(level) == pytest.approx(1)


def test_up_is_against_gravity_and_else_as_the_cameras_stood():
    image = ImageData("a", Path("a"), cam_from_world=Rigid3d.identity())
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    scene_map = SceneMap(np.zeros((1, 3)), np.zeros((1, 3)), (image,), nothing, gravity_in_world=np.array([0.0, 0, -1]))
    np.testing.assert_allclose(display3d.up_direction(scene_map, scene_map.images), [0, 0, 1])
    np.testing.assert_allclose(display3d.up_direction(None, [image]), [0, -1, 0])


def test_points_wear_their_labels_colors_and_a_highlight_dims_the_others():
    rgb = np.full((3, 3), 200, np.uint8)
    labels = np.array([0, 1, 7], np.uint16)
    plain = display3d.point_colors(rgb, labels, COLORS[:5], by_label=True)
    np.testing.assert_array_equal(plain[:2, :3], COLORS[:2])
    assert (plain[2, :3] == 128).all(), "a label outside of the vocabulary is grey"
    photo = display3d.point_colors(rgb, labels, COLORS[:5], by_label=False, highlight=1)
    np.testing.assert_array_equal(photo[1, :3], COLORS[1])
    assert (photo[[0, 2], :3] < 100).all()
    assert (display3d.point_colors(rgb, None, COLORS[:0], by_label=True, highlight=1)[:, :3] == 200).all()


def test_a_map_point_is_found_in_the_photographs_where_it_was_seen_or_should_be():
    camera = Camera.pinhole(640, 480, 500)
    images = tuple(ImageData(name, Path(name), "", camera, Rigid3d.identity()) for name in ("a", "b"))
    seen = Observations(np.array([0, 1]), np.array([1, 0]), np.array([[33.0, 44], [1, 2]]))
    scene_map = SceneMap(np.array([[0.2, 0.1, 2], [0, 0, -5], [9, 0, 1]]), np.zeros((3, 3)), images, seen)
    np.testing.assert_allclose(display3d.seen_in_reference(scene_map, 0, images[1]), [[33, 44]])
    expected = [[319.5 + 50, 239.5 + 25]]
    np.testing.assert_allclose(display3d.seen_in_reference(scene_map, 0, images[0]), expected)
    np.testing.assert_allclose(display3d.projected(scene_map, 0, Rigid3d.identity(), camera), expected)
    for point in (1, 2):
        assert display3d.projected(scene_map, point, Rigid3d.identity(), camera).shape == (0, 2), "behind, or beside"
    assert display3d.projected(scene_map, 0, None, camera).shape == (0, 2)
    assert display3d.seen_in_reference(scene_map, 0, None).shape == (0, 2)


def test_segments_are_cut_at_the_near_plane():
    segments = np.array([[[0.0, 0, -1], [0, 0, 3]], [[0, 0, -2], [0, 0, -1]], [[0, 0, 2], [1, 0, 4]]])
    clipped, seen = display3d.clip_to_front(segments, segments[..., 2], 1.0)
    np.testing.assert_array_equal(seen, [True, False, True])
    np.testing.assert_allclose(clipped[0], [[0, 0, 1], [0, 0, 3]])
    np.testing.assert_array_equal(clipped[2], segments[2])


@pytest.mark.parametrize(("size", "step"), [(0.9, 0.5), (1.0, 1.0), (3.7, 2.0), (70.0, 50.0), (0.012, 0.01)])
def test_grid_cells_have_round_sizes(size, step):
    assert display3d.nice_step(size) == pytest.approx(step)


def test_a_drive_is_seen_from_its_side_and_a_single_place_along_its_cameras():
    drive = [ImageData(f"{i}", Path(f"{i}"), "", None, Rigid3d.from_rotation(np.eye(3), [0, 0, -4.0 * i])) for i in range(20)]
    level = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # the camera's z is level, its y points down
    along, _ = display3d.view_direction(drive[:1], level)
    aside, _ = display3d.view_direction(drive, level)
    behind = -90.0  # the cameras look along the level y
    assert abs(along - behind) < 30
    assert 45 < abs(aside - behind) < 90
