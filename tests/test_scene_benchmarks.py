"""Scene files and submissions of the benchmarks, on worlds of known truth in their layouts."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pytest
from benchmark_toys import OPENCV, PINHOLE, RADIAL, TrueScene

from core.scene.scene import open_scene
from core.scene.scene_file import init_scene
from core.scene.submission import names_of_layout, read_submission, write_submission
from core.scene.submission_check import check_submission
from core.steps import finish
from core.world.layouts_aachen import write_aachen
from core.world.layouts_cmu import write_extended_cmu, write_rectified_cmu
from core.world.layouts_robotcar import write_robotcar

WRITERS = {
    "Extended CMU Seasons": (OPENCV, write_extended_cmu, r"img_\d{5}_c[01]_\d+us\.jpg"),
    "CMU Seasons": (PINHOLE, write_rectified_cmu, r"img_\d{5}_c[01]_\d+us_rect\.jpg"),
    "RobotCar Seasons": (PINHOLE, write_robotcar, r"(left|rear|right)/\d+\.jpg"),
    "Aachen": (RADIAL, write_aachen, r"[^/ ]+\.jpg"),
}


@pytest.fixture(params=WRITERS)
def benchmark(request, tmp_path):
    """The layout's name, its folder, and the true poses by the names that it gave the queries."""
    camera, write, _ = WRITERS[request.param]
    true = TrueScene(tmp_path / "photos", camera, pictures=False)
    names = write(true.scene, tmp_path / "written")
    poses = {names[query.name]: query.cam_from_world for query in true.scene.queries}
    return request.param, tmp_path / "written", poses


def test_a_benchmarks_scene_file_names_its_layout_and_opens_as_the_benchmark_does(benchmark):
    layout, root, _ = benchmark
    before = open_scene(root)
    table = tomllib.loads(finish(init_scene(root)).read_text(encoding="utf-8"))
    assert (table["layout"], table["name"]) == (layout, before.name)
    assert not {"map", "images", "queries"} & set(table), "its reader knows them"
    after = open_scene(root)
    assert (after.layout, after.name, after.kind, after.notes) == (before.layout, before.name, before.kind, before.notes)
    assert [(one.name, one.path, one.condition) for one in after.images] == [
        (one.name, one.path, one.condition) for one in before.images
    ]
    np.testing.assert_array_equal(after.map.points3D, before.map.points3D)
    for one, other in zip(after.images, before.images, strict=True):
        assert (one.cam_from_world is None) == (other.cam_from_world is None)
        np.testing.assert_array_equal(one.camera.params, other.camera.params)


def test_a_submission_is_named_as_the_benchmark_wants_it_and_passes_the_check(benchmark, tmp_path):
    layout, root, poses = benchmark
    scene, file = open_scene(root), tmp_path / "poses.txt"
    known = {query.name: pose for name, pose in poses.items() for query in scene.queries if query.name.endswith(name)}
    assert len(known) == len(poses)
    write_submission(file, known, names_of_layout(layout))
    for line in read_submission(file):
        assert re.fullmatch(WRITERS[layout][2], line.name), line.name
    found = check_submission(file, scene, complete=True)
    assert (found.problems, found.num_poses) == ((), len(poses))
    rig = layout == "RobotCar Seasons"  # the true scene has one camera, the layout three
    assert found.remarks == (("no pose of the cameras left, right, of which there are 12 queries",) if rig else ())
    assert found.self_test[0] == len(scene.reference)
    assert found.self_test[1] < 1e-6
    if layout in ("Extended CMU Seasons", "RobotCar Seasons"):  # the others give no truth
        assert found.known.of == "queries with known poses"
        assert found.known.position_m < 1e-4
