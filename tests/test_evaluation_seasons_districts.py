"""Districts of the seasons benchmark: streets side by side in one map, each with its own queries."""

import numpy as np
from evaluation_toys import write_toy_scene

from benchmarks.seasons_districts import APART_M, write_districts
from core.localizer.ransac import reprojection_errors
from core.scene.scene import open_scene
from core.steps import finish


def test_a_district_holds_every_street_once_and_the_queries_of_one(tmp_path):
    streets = [write_toy_scene(tmp_path / kind, name=f"{kind} 1", kind=kind) for kind in ("urban", "park")]
    alone = [open_scene(path) for path in streets]
    scenes = [open_scene(path) for path in finish(write_districts(streets, tmp_path / "districts"))]
    assert [(scene.name, scene.kind) for scene in scenes] == [("urban 1", "urban"), ("park 1", "park")]
    for number, (scene, own) in enumerate(zip(scenes, alone)):
        assert len(scene.map.points3D) == sum(len(one.map.points3D) for one in alone)
        assert len(scene.map.images) == 4
        assert [query.path.read_bytes() for query in scene.queries] == [query.path.read_bytes() for query in own.queries]
        moved = scene.queries[0].cam_from_world.center() - own.queries[0].cam_from_world.center()
        np.testing.assert_allclose(moved, [APART_M * number, 0, 0], atol=1e-9)


def test_points_still_project_where_they_were_seen(tmp_path):
    streets = [write_toy_scene(tmp_path / kind, name=f"{kind} 1", kind=kind) for kind in ("urban", "park")]
    scene_map = open_scene(finish(write_districts(streets, tmp_path / "districts"))[0]).map
    seen = scene_map.observations
    for k, image in enumerate(scene_map.images):
        rows = seen.image == k
        points3D = scene_map.points3D[seen.point[rows]]
        errors = reprojection_errors(image.cam_from_world, seen.points2D[rows], points3D, image.camera)
        assert errors.max() < 1e-3
    assert scene_map.visibility is not None


def test_a_street_alone_is_a_district_that_knows_from_where_its_points_were_seen(tmp_path):
    street = write_toy_scene(tmp_path / "urban", name="urban 1")
    (path,) = finish(write_districts([street], tmp_path / "districts"))
    own, alone = open_scene(path).map, open_scene(street).map
    np.testing.assert_allclose(own.points3D, alone.points3D)
    np.testing.assert_allclose(own.visibility.max_distance, alone.visibility.max_distance)


def test_what_is_there_is_kept(tmp_path):
    streets = [write_toy_scene(tmp_path / "urban", name="urban 1")]
    (path,) = finish(write_districts(streets, tmp_path / "districts"))
    before = (path / "scene.toml").stat().st_mtime_ns
    assert finish(write_districts(streets, tmp_path / "districts")) == (path,)
    assert (path / "scene.toml").stat().st_mtime_ns == before
