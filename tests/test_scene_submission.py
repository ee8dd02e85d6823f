"""A list of poses for a benchmark is checked before it is sent: names, numbers, and what the numbers mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from core.errors import InputError, SceneError
from core.geometry import Camera, Rigid3d
from core.records import ImageData, Scene
from core.scene.submission import names_of_layout, read_submission, self_test, write_submission
from core.scene.submission_check import check_submission

CAMERA = Camera.pinhole(64, 48, 50)
# Names as the benchmarks' own read-me files and public code write them (PAPER 4.6), and what they send.
BENCHMARKS = {
    "Extended CMU Seasons": ("slice2/query/img_0{:04}_c0_1303398475046031us.jpg", "img_00000_c0_1303398475046031us.jpg"),
    "CMU Seasons": ("slice2/query/img_0{:04}_c1_1283347879534213us_rect.jpg", "img_00000_c1_1283347879534213us_rect.jpg"),
    "RobotCar Seasons": ("night-rain/rear/141717885338{:04}.jpg", "rear/1417178853380000.jpg"),
    "Aachen Day-Night": ("query/night/nexus5x/IMG_2016{:04}.jpg", "IMG_20160000.jpg"),
    "COLMAP model": ("night/my photo {}.jpg", "night/my photo 0.jpg"),
}


def drive(count, side):
    """Poses along a street, 2 m apart, that look about, far from the origin."""
    rng = np.random.default_rng(count)
    turns = [pycolmap.Rotation3d(np.array([0.2, 1, 0.1]) * angle).quat[[3, 0, 1, 2]] for angle in rng.uniform(0, 3, count)]
    centers = [np.array([200.0 + 2 * k, 340.0 + side, 12.0]) for k in range(count)]
    return [Rigid3d(q, -Rigid3d(q, np.zeros(3)).R @ c) for q, c in zip(turns, centers)]


def scene_of(layout="RobotCar Seasons", known=False, count=12):
    pattern, poses = BENCHMARKS[layout][0], drive(count, 0.5)
    reference = [
        ImageData(f"reference/rear/{k}.jpg", Path("r"), "reference", CAMERA, pose) for k, pose in enumerate(drive(40, 0))
    ]
    queries = [ImageData(pattern.format(k), Path("q"), "q", CAMERA, poses[k] if known else None) for k in range(count)]
    return Scene("Street", Path("street"), tuple(reference), tuple(queries), layout=layout)


def truth(scene):
    return dict(zip((query.name for query in scene.queries), drive(len(scene.queries), 0.5)))


@pytest.mark.parametrize("layout", BENCHMARKS)
def test_names_are_written_as_the_benchmark_of_a_scene_wants_them(layout, tmp_path):
    scene = scene_of(layout)
    write_submission(tmp_path / "poses.txt", truth(scene), names_of_layout(layout))
    assert read_submission(tmp_path / "poses.txt")[0].name == BENCHMARKS[layout][1]
    found = check_submission(tmp_path / "poses.txt", scene)
    assert (found.problems, found.remarks, found.passed, found.num_poses) == ((), (), True, 12)
    assert found.names == names_of_layout(layout)


def test_poses_come_back_as_pycolmap_understands_them(tmp_path):
    scene = scene_of()
    write_submission(tmp_path / "poses.txt", truth(scene))
    for line, pose in zip(read_submission(tmp_path / "poses.txt"), drive(12, 0.5), strict=True):
        qw, qx, qy, qz, *t = line.values
        theirs = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([qx, qy, qz, qw])), np.array(t))
        np.testing.assert_allclose(theirs.inverse().translation, pose.center(), atol=1e-8)


def test_the_self_test_writes_the_reference_poses_and_reads_them_back(tmp_path):
    count, moved = self_test(scene_of(), tmp_path / "poses.txt", "camera")
    assert count == 40
    assert moved < 1e-6
    assert check_submission(tmp_path / "poses.txt", scene_of()).self_test == (40, moved)


def test_poses_of_reference_images_are_compared_with_the_known_ones(tmp_path):
    scene = scene_of()
    self_test(scene, tmp_path / "poses.txt", "camera")
    found = check_submission(tmp_path / "poses.txt", scene)
    assert (found.known.of, found.known.count, found.problems) == ("reference images", 40, ())
    assert found.known.position_m < 1e-6
    assert found.known.rotation_deg < 1e-5


def inverted(pose):
    inverse = pose.inverse()
    return (*inverse.qvec, *inverse.tvec)


MISTAKES = {
    "as camera to world": inverted,
    "with the camera's centre in the place of the translation": lambda pose: (*pose.qvec, *pose.center()),
    "with the quaternion as qx qy qz qw": lambda pose: (*pose.qvec[[1, 2, 3, 0]], *pose.tvec),
    "as camera to world with the quaternion as qx qy qz qw": lambda pose: tuple(
        np.array(inverted(pose))[[1, 2, 3, 0, 4, 5, 6]].tolist()
    ),
    "with the rotation turned round": lambda pose: (*(pose.qvec * [1, -1, -1, -1]), *pose.tvec),
}


def write_lines(path, rows):
    path.write_text("".join(f"{name} {' '.join(f'{value:.9g}' for value in row)}\n" for name, row in rows.items()))
    return path


@pytest.mark.parametrize("reading", MISTAKES)
@pytest.mark.parametrize("known", [True, False])
def test_a_mistaken_convention_is_recognised_and_named(tmp_path, reading, known):
    scene = scene_of(known=known)
    rows = {name.split("/", 1)[1]: MISTAKES[reading](pose) for name, pose in truth(scene).items()}
    found = check_submission(write_lines(tmp_path / "poses.txt", rows), scene)
    if not known and "rotation" in reading:
        assert found.passed, "camera centres alone do not show it"
        return
    (problem,) = found.problems
    assert reading in problem
    assert "expected world to camera" in problem
    if known:
        assert found.known.position_m > 1


def test_poses_that_are_only_wrong_are_no_mistaken_convention(tmp_path):
    scene, rng = scene_of(known=True), np.random.default_rng(0)
    rows = {}
    for name, pose in truth(scene).items():
        center = pose.center() + rng.normal(0, 30, 3)
        rows[name.split("/", 1)[1]] = (*pose.qvec, *(-pose.R @ center))
    found = check_submission(write_lines(tmp_path / "poses.txt", rows), scene)
    assert found.passed
    assert found.known.position_m > 10


def good_lines(scene):
    return {name.split("/", 1)[1]: (*pose.qvec, *pose.tvec) for name, pose in truth(scene).items()}


def test_wrong_numbers_and_names_are_each_a_sentence(tmp_path):
    scene = scene_of(known=True)
    rows = good_lines(scene)
    names = list(rows)
    rows[names[0]] = (*np.array(rows[names[0]][:4]) * 1.1, *rows[names[0]][4:])
    rows[names[1]] = (np.nan, *rows[names[1]][1:])
    rows["rear/unknown.jpg"] = rows.pop(names[2])
    path = write_lines(tmp_path / "poses.txt", rows)
    path.write_text(path.read_text() + path.read_text().splitlines()[5] + "\n")
    found = check_submission(path, scene)
    assert found.problems == (
        f"1 pose is not finite, line 2 ({names[1]})",
        f"1 pose is no unit quaternion, the worst of length 1.1, line 1 ({names[0]})",
        f"1 name occurs more than once: {names[6]}",
        f"1 name is not known: rear/unknown.jpg; expected names as {names[0]!r}",
    )
    assert found.remarks == (f"1 of 12 queries have no pose: {names[2]}; the benchmarks count them as failed",)
    assert not found.passed


def test_names_of_another_benchmark_are_recognised(tmp_path):
    scene = scene_of()
    write_submission(tmp_path / "poses.txt", truth(scene), "full")
    (problem,) = check_submission(tmp_path / "poses.txt", scene).problems
    assert "written as another benchmark wants them" in problem
    assert "expected names as 'rear/1417178853380000.jpg'" in problem
    assert check_submission(tmp_path / "poses.txt", scene, names="full").passed


def test_missing_queries_are_a_problem_only_when_all_are_asked_for(tmp_path):
    scene = scene_of()
    path = write_lines(tmp_path / "poses.txt", dict(list(good_lines(scene).items())[:-2]))
    assert check_submission(path, scene).passed
    assert check_submission(path, scene, complete=True).problems[0].startswith("2 of 12 queries have no pose: rear/")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no pose"),
        ("# only a remark\n\n", "holds no pose"),
        ("a.jpg 1 0 0 0 1 2\n", "found 7 values"),
        ("a.jpg 1 0 0 0 1 2 x\n", "expected name qw qx qy qz tx ty tz"),
        ("\ufeffa.jpg\n", "found 1 values"),
    ],
)
def test_what_is_no_list_of_poses_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "poses.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SceneError, match=says) as caught:
        check_submission(path, scene_of())
    assert str(caught.value).startswith(str(path))
    with pytest.raises(InputError, match="names 'short' are not known"):
        check_submission(path, scene_of(), names="short")


def test_changed_submissions_are_checked_or_refused_in_a_sentence(tmp_path):
    scene, path, rng = scene_of(known=True), tmp_path / "poses.txt", np.random.default_rng(7)
    original = write_lines(path, good_lines(scene)).read_bytes()
    words = (b"nan", b"1e999", b"\xff", b"\0", b"\r\n", b" ", b"-", b"../", b"0 0 0 0", b"1e-320")
    refused = []
    for _ in range(150):
        changed = bytearray(original)
        for place in rng.integers(0, len(original), 3):
            changed[place : place + int(rng.integers(0, 9))] = words[rng.integers(len(words))]
        path.write_bytes(changed)
        try:
            check_submission(path, scene)
        except SceneError as error:
            refused.append(str(error))
    assert 10 < len(refused) < 150
    assert all(sentence.startswith(str(path)) for sentence in refused)
