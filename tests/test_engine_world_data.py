from __future__ import annotations

import numpy as np
import pytest
from engine_toys import drain

from core.engine.world_data import (
    RenderConfig,
    draw_conditions,
    moved_pose,
    render_set,
    render_shard,
    shard_kind_and_seed,
    turned_pose,
)
from core.errors import InputError
from core.geometry import Rigid3d, rotation_angle_deg

CONFIG = RenderConfig(
    num_worlds=1, views_per_world=2, conditions_per_view=2, first_seed=70, width=96, height=64, moved_share=0.0
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    steps, data = drain(render_set(root, CONFIG, num_workers=0))
    return root, steps, data


def test_a_rendered_set_holds_the_views_and_conditions_that_were_asked_for(rendered):
    _, steps, data = rendered
    assert (len(steps), steps[-1].fraction) == (1, 1)
    assert (len(data), data.num_images, data.image_size) == (2, 4, (64, 96))
    view = data.view(0)
    assert view.conditions[0] == "overcast"
    assert view.conditions[1] != "overcast"
    assert view.images.std() > 10
    assert len(np.unique(view.classes)) > 2


def test_without_moved_cameras_a_pixel_corresponds_to_itself(rendered):
    points = rendered[2].view(1).correspondences[0]
    assert len(points.points_ref) > 100
    assert points.points_ref == pytest.approx(points.points_other, abs=1e-3)


def test_worlds_that_are_there_are_not_rendered_again_and_come_out_the_same(rendered, tmp_path):
    root, _, _ = rendered
    steps, _ = drain(render_set(root, CONFIG, num_workers=0))
    assert steps == []
    name = render_shard(tmp_path, CONFIG, 0)
    assert name == "urban-000070"
    for array in ("images.npy", "classes.npy"):
        assert (tmp_path / name / array).read_bytes() == (root / name / array).read_bytes()


def test_kinds_take_turns_and_seeds_count_up():
    assert [shard_kind_and_seed(CONFIG, n) for n in range(4)] == [("urban", 70), ("suburban", 71), ("park", 72), ("urban", 73)]


def test_the_reference_condition_comes_first_and_no_condition_twice():
    for seed in range(20):
        names = draw_conditions(4, np.random.default_rng(seed))
        assert names[0] == "overcast"
        assert len(set(names)) == 4


def test_more_conditions_than_there_are_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="expected at most 8"):
        drain(render_set(tmp_path, RenderConfig(conditions_per_view=9), 0))


def test_a_turned_camera_stays_where_it_was_and_a_moved_one_stays_near():
    random = np.random.default_rng(0)
    pose = Rigid3d.from_rotation(np.eye(3), np.array([3.0, -1, 2]))
    for _ in range(20):
        assert turned_pose(pose, CONFIG, random).center() == pytest.approx(pose.center())
        moved = moved_pose(pose, CONFIG, random)
        assert np.linalg.norm(moved.center() - pose.center()) < 0.75
        assert rotation_angle_deg(moved, pose) < 5
