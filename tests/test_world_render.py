import numpy as np
import pytest

from core.geometry import Camera
from core.world.classes import BUILDING, CLASS_NAMES, ROAD, SKY, TERRAIN, VEGETATION
from core.world.conditions import CONDITIONS, atmosphere
from core.world.film import develop
from core.world.geometry import KINDS, build_world
from core.world.render import Renderer
from core.world.traversal import correspondences, plan_traversal, transfer

CAMERA = Camera.pinhole(160, 120, 128)


@pytest.fixture(scope="module")
def renderer():
    return Renderer(build_world("suburban", 5))


@pytest.fixture(scope="module")
def poses(renderer):
    return plan_traversal(renderer.world, 16, 3)


@pytest.fixture(scope="module")
def views(renderer, poses):
    return {condition: renderer.render(poses[4], CAMERA, condition, 1) for condition in CONDITIONS}


def test_the_same_arguments_render_the_same_pixels(renderer, poses, views):
    for condition in ("sun", "night"):
        again = Renderer(renderer.world).render(poses[4], CAMERA, condition, 1)
        assert np.array_equal(again.rgb, views[condition].rgb)
        assert np.array_equal(again.depth, views[condition].depth)
        assert np.array_equal(again.classes, views[condition].classes)


def test_another_world_looks_different(poses, views):
    other = Renderer(build_world("suburban", 6)).render(poses[4], CAMERA, "overcast", 1)
    assert np.abs(other.rgb.astype(int) - views["overcast"].rgb).mean() > 8


@pytest.mark.parametrize("condition", CONDITIONS)
def test_renderings_hold_together(views, condition):
    view = views[condition]
    shape = (CAMERA.height, CAMERA.width)
    assert view.rgb.shape == (*shape, 3)
    assert view.depth.shape == view.classes.shape == view.static.shape == shape
    assert (view.depth > 0).all()
    assert not view.static[np.isinf(view.depth)].any()
    assert np.isinf(view.depth[view.classes == SKY]).all()
    assert set(np.unique(view.classes)) <= {*range(len(CLASS_NAMES)), 255}
    assert 15 < view.rgb.mean() < 235
    assert view.rgb.reshape(-1, 3).std(0).min() > 12  # nothing is a flat colour
    assert not view.rgb.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_what_its_street_is_made_of(kind):
    world = build_world(kind, 21)
    renderer = Renderer(world)
    seen = np.concatenate([renderer.render(p, CAMERA, "overcast", 2).classes.ravel() for p in plan_traversal(world, 4, 1)])
    shares = np.bincount(seen, minlength=256) / len(seen)
    assert shares[ROAD] > 0.08
    assert shares[SKY] > 0.03
    assert shares[VEGETATION] > 0.01
    assert shares[BUILDING] > (0.08 if kind == "urban" else 0.0)
    assert kind == "urban" or shares[TERRAIN] > 0.01


def test_depth_back_projects_onto_the_road_plane(views, poses):
    view = views["overcast"]
    y, x = np.nonzero((view.classes == ROAD) & view.static)
    bearings = CAMERA.bearings(np.stack([x, y], -1))
    points = poses[4].inverse().apply(bearings / bearings[:, 2:] * view.depth[y, x, None])
    near = view.depth[y, x] < 30
    assert near.sum() > 500
    assert np.abs(points[near, 2]).max() < 0.06


def test_crowns_lose_their_leaves_but_keep_their_class(views):
    summer, winter = views["sun"], views["no-foliage"]
    leaves = (summer.classes == VEGETATION) & ~summer.static
    farther = winter.depth > summer.depth * 1.02
    assert leaves.sum() > 100
    assert farther[leaves].mean() > 0.25
    assert (winter.classes == VEGETATION).sum() > 0.25 * (summer.classes == VEGETATION).sum()


def test_static_surfaces_stand_still_while_conditions_change(views):
    summer = views["overcast"]
    for condition in ("sun", "rain", "dusk", "night"):
        other = views[condition]
        both = summer.static & other.static
        gap = np.abs(summer.depth[both] - other.depth[both]) / summer.depth[both]
        assert both.mean() > 0.2
        assert np.quantile(gap, 0.95) < 1e-4


def test_mobile_things_are_not_static(renderer, poses):
    first, second = (renderer.render(poses[4], CAMERA, "overcast", t) for t in (1, 2))
    moved = (first.classes == 13) != (second.classes == 13)
    assert moved.any()
    assert not first.static[first.classes == 13].any()


def test_night_is_darker_and_noisier_than_day_and_snow_is_brighter(views):
    assert views["night"].rgb.mean() < 0.7 * views["overcast"].rgb.mean()
    road = views["overcast"].classes == ROAD
    assert views["snow"].rgb[road].mean() > views["overcast"].rgb[road].mean() + 15


def test_correspondences_are_exact_static_and_seen_from_both_sides(renderer, poses, views):
    a = views["overcast"]
    b = renderer.render(poses[5], CAMERA, "snow", 3)
    pairs = correspondences(a, b, 0, num=300)
    assert len(pairs.points_ref) > 80
    pixels = pairs.points_ref.astype(np.float64)
    assert np.array_equal(pixels, np.rint(pixels))
    x, y = pixels[:, 0].astype(int), pixels[:, 1].astype(int)
    assert a.static[y, x].all()
    rays = CAMERA.bearings(pixels)
    world = a.cam_from_world.inverse().apply(rays / rays[:, 2:] * a.depth[y, x, None])
    in_b = b.cam_from_world.apply(world)
    assert np.abs(CAMERA.project(in_b) - pairs.points_other).max() < 1e-3
    other = np.rint(pairs.points_other).astype(int)
    assert b.static[other[:, 1], other[:, 0]].all()


def test_correspondences_are_never_more_than_asked_for_and_repeat(renderer, poses, views):
    b = renderer.render(poses[5], CAMERA, "sun", 3)
    one, two = (correspondences(views["overcast"], b, 7, num=25) for _ in range(2))
    assert len(one.points_ref) == 25
    assert np.array_equal(one.points_other, two.points_other)


def test_views_without_common_ground_have_no_correspondences(renderer, views):
    backwards = plan_traversal(renderer.world, 1, 3, start_m=5.0, yaw_offset_deg=180.0)[0]
    other = renderer.render(backwards, CAMERA, "overcast", 1)
    assert len(correspondences(views["overcast"], other, 0).points_ref) == 0


def test_transferring_a_pixel_to_its_own_view_changes_nothing(views):
    view = views["overcast"]
    y, x = np.nonzero(view.static)
    pixels = np.stack([x, y], -1)[::50].astype(float)
    moved, depth = transfer(view, view, pixels)
    assert np.abs(moved - pixels).max() < 1e-3
    assert np.allclose(depth, view.depth[y, x][::50], rtol=1e-5)


def test_a_pixel_darker_than_black_is_black_and_leaves_the_others_as_they_are(poses):
    air = atmosphere("sun", 1, 0)
    light = np.full((48, 64, 3), 0.4, np.float32)
    light[8, 12] = 0.0
    darker = light.copy()
    darker[8, 12] = -0.5
    np.testing.assert_array_equal(develop(darker, air, poses[0]), develop(light, air, poses[0]))
    assert develop(darker, air, poses[0]).mean() > 50


def test_two_at_a_time_give_the_pixels_of_one_by_one():
    world = build_world("suburban", 4)
    camera = Camera.pinhole(96, 72, 80.0)
    places = plan_traversal(world, 3, seed=0)
    views = [(place, camera, condition, 1) for condition in ("overcast", "snow") for place in places]
    alone = [Renderer(world).render(*view).rgb for view in views[::5]]
    together = [rendering.rgb for rendering in Renderer(world).render_many(views)]
    assert len(together) == len(views)
    for one, other in zip(alone, together[::5]):
        np.testing.assert_array_equal(one, other)
