import numpy as np
import pytest

from core.world.classes import CLASS_NAMES
from core.world.conditions import CONDITIONS, atmosphere
from core.world.geometry import FOLIAGE_STATES, KINDS, build_world
from core.world.materials import Material
from core.world.mesh import Mesh, boxes, concat, ellipsoid, quads, tubes
from core.world.mobile import mobile_mesh
from core.world.shading import TEXTURES


@pytest.fixture(scope="module", params=KINDS)
def world(request):
    return build_world(request.param, 11)


def test_the_same_seed_builds_the_same_world(world):
    again = build_world(world.kind, world.seed)
    assert np.array_equal(world.core.corners, again.core.corners)
    assert np.array_equal(world.deciduous.uv, again.deciduous.uv)
    assert np.array_equal(world.objects.color, again.objects.color)


def test_another_seed_builds_another_world(world):
    other = build_world(world.kind, world.seed + 1)
    assert other.core.corners.shape != world.core.corners.shape or not np.allclose(other.core.corners, world.core.corners)


def test_meshes_are_finite_and_point_into_the_object_table(world):
    for mesh in (world.core, world.deciduous, world.evergreen, world.piles, mobile_mesh(world, 1)):
        assert len(mesh) > 0
        assert np.isfinite(mesh.corners).all()
        assert np.isfinite(mesh.uv).all()
        assert np.allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=1e-3)
        assert 0 <= mesh.obj.min() <= mesh.obj.max() < len(world.objects.seed)
        assert set(np.unique(mesh.klass)) <= {*range(len(CLASS_NAMES)), 255}


def test_every_material_has_a_texture():
    assert set(TEXTURES) == set(Material)


def test_foliage_thins_in_autumn_and_is_gone_in_winter(world):
    leafy, autumn, bare, snow = (len(world.foliage(state)) for state in FOLIAGE_STATES)
    assert bare < autumn < leafy
    assert snow == len(world.evergreen) + len(world.piles)


def test_what_is_mobile_moves_between_traversals_and_repeats_within_one(world):
    one, two = mobile_mesh(world, 1), mobile_mesh(world, 2)
    assert np.array_equal(one.corners, mobile_mesh(world, 1).corners)
    assert one.corners.shape != two.corners.shape or not np.allclose(one.corners, two.corners)


def test_an_unknown_kind_or_condition_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'rural'.*urban, suburban, park"):
        build_world("rural", 1)
    with pytest.raises(ValueError, match=r"'fog'.*overcast, sun"):
        atmosphere("fog", 1, 1)


def test_conditions_repeat_by_seed_and_vary_by_traversal():
    for condition in CONDITIONS:
        one, same, other = (atmosphere(condition, 3, t) for t in (1, 1, 2))
        assert one.exposure == same.exposure
        assert np.array_equal(one.sun_direction, same.sun_direction)
        assert not np.array_equal(one.white_balance, other.white_balance)
        assert np.isclose(np.linalg.norm(one.sun_direction), 1, atol=1e-5)
        assert one.sun_direction[2] > 0


def test_solids_are_closed_enough_and_join():
    box = boxes([[0, 0, 0]], [[1, 2, 3]], Material.TRIM, 2)
    areas = np.linalg.norm(np.cross(box.corners[:, 1] - box.corners[:, 0], box.corners[:, 2] - box.corners[:, 0]), axis=1) / 2
    assert len(box) == 12
    assert np.isclose(areas.sum(), 22)
    ball = ellipsoid([0, 0, 5], [1, 1, 1], Material.SKIN, 11)
    assert np.allclose(np.linalg.norm(ball.corners - [0, 0, 5], axis=-1), 1, atol=1e-5)
    tube = tubes([[0, 0, 0]], [[0, 0, 2]], 0.5, 0.5, 8, Material.METAL, 5)
    assert np.allclose(np.linalg.norm(tube.corners[..., :2], axis=-1), 0.5, atol=1e-6)
    assert len(concat([box, ball, tube])) == len(box) + len(ball) + len(tube)
    assert len(concat([])) == 0


def test_box_faces_point_outward():
    box = boxes([[-1, -1, -1]], [[1, 1, 1]], Material.TRIM, 2)
    assert ((box.normals * box.corners).sum(-1) > 0).all()


def test_placing_a_mesh_turns_scales_and_moves_it():
    square = quads([[[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]], Material.TRIM, 2)
    placed: Mesh = square.placed((5, 0, 1), np.pi / 2, 2.0, obj=7)
    assert np.allclose(placed.corners.reshape(-1, 3).min(0), [3, 0, 1], atol=1e-6)
    assert np.allclose(placed.corners.reshape(-1, 3).max(0), [5, 2, 1], atol=1e-6)
    assert (placed.obj == 7).all()
