"""Priors of queries as text: what is written is read, an accelerometer points up, and broken lines are named."""

import numpy as np
import pytest

from core.errors import SceneError
from core.geometry import Rigid3d
from core.records import QueryPrior
from core.scene.priors import read_priors, write_priors
from core.scene.scene import open_scene


def read(tmp_path, text):
    path = tmp_path / "priors.txt"
    path.write_text(text, encoding="utf-8")
    return read_priors(path)


def test_what_is_written_is_read(tmp_path):
    pose = Rigid3d([0.5, 0.5, -0.5, 0.5], [1, 2, 3.0])
    priors = {
        "night/one.jpg": QueryPrior(np.array([0.1, 0.9, 0.2]), 0.5, 1.6, 0.1, np.array([4.0, 5, 6]), 3.0, pose),
        "snow/a name with spaces.jpg": QueryPrior(height_m=-2.5, height_error_m=0.3),
    }
    write_priors(tmp_path / "priors.txt", priors)
    found = read_priors(tmp_path / "priors.txt")
    assert list(found) == list(priors)
    one, two = found.values()
    assert np.allclose(one.gravity_in_camera, priors["night/one.jpg"].gravity_in_camera)
    assert (one.gravity_error_deg, one.height_m, one.position_error_m) == (0.5, 1.6, 3.0)
    assert np.allclose(one.position, [4, 5, 6])
    assert np.allclose(one.cam_from_world.matrix(), pose.matrix())
    assert (two.height_m, two.height_error_m, two.gravity_in_camera, two.position) == (-2.5, 0.3, None, None)
    assert one.source == "priors.txt"


def test_an_accelerometer_reads_up(tmp_path):
    found = read(tmp_path, "# IMU\n\nsun/1.jpg accelerometer 0.1 -9.8 0.4 0.5\n")["sun/1.jpg"]
    assert found.gravity_in_camera[1] > 0.99
    assert found.gravity_error_deg == 0.5


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.jpg", "expected a name and some of gravity"),
        ("a.jpg gravity 0 1 0", "expected 4 numbers after gravity, once"),
        ("a.jpg gravity 0 0 0 1", "gravity has length 0"),
        ("a.jpg gravity 0 x 0 1", "gravity is '0 x 0 1', expected numbers"),
        ("a.jpg height nan 1", "expected numbers"),
        ("a.jpg height 1 -1", "the error of height is -1, expected 0 or more"),
        ("a.jpg height 1 1 height 2 1", "expected 2 numbers after height, once"),
        ("a.jpg height 1 1 compass 3", "expected one of gravity"),
        ("a.jpg gravity 0 1 0 1 accelerometer 0 -1 0 1", "expected one of them"),
        ("a.jpg height 1 1\na.jpg height 1 1", "listed a second time"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, expected):
    with pytest.raises(SceneError, match=r"priors\.txt") as caught:
        read(tmp_path, line)
    assert expected in str(caught.value)


def test_a_scene_names_its_priors(tmp_path):
    scene = (
        'format = "fgsn-scene"\nversion = 1\nimages = "images"\nreference_condition = "sun"\n'
        'queries = "queries.txt"\npriors = "priors.txt"\n'
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "scene.toml").write_text(scene, encoding="utf-8")
    camera = "PINHOLE 64 48 50 50 32 24"
    (tmp_path / "queries.txt").write_text(f"night/1.jpg {camera}\nnight/2.jpg {camera}\n", encoding="utf-8")
    (tmp_path / "priors.txt").write_text("night/2.jpg height 1.5 0.2\n", encoding="utf-8")
    one, two = open_scene(tmp_path).queries
    assert one.prior is None
    assert two.prior.height_m == 1.5
