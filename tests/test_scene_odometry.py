"""Measured odometry on disk: motion frame by frame, trajectories by time, and how a sequence takes them."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_toys import drive, query_of

from core.errors import InputError, SceneError
from core.evaluation.motion import motion_of
from core.geometry import Rigid3d, rotation_angle_deg
from core.records import ImageData, Scene
from core.scene.odometry import (
    FrameOdometry,
    OdometryLine,
    OdometryStep,
    Trajectory,
    read_odometry,
    write_odometry,
)
from core.scene.scene import open_scene
from core.sequences import OdometryNoise

POSES = drive(5, 1.0, 20.0)
QUERIES = [query_of(k, pose) for k, pose in enumerate(POSES)]
STATED = OdometryNoise(0.0, 0.04, 0.0, 0.3)


def true_motion(before, now):
    return POSES[now] @ POSES[before].inverse()


def lines():
    steps = [OdometryStep(true_motion(k - 1, k), STATED) if k else None for k in range(len(POSES))]
    return [OdometryLine(query.name, 0.5 * k, step) for k, (query, step) in enumerate(zip(QUERIES, steps))]


def same(a, b):
    return np.linalg.norm(a.tvec - b.tvec) < 1e-9 and rotation_angle_deg(a, b) < 1e-6


def scene_of(queries, path=None):
    return Scene("street", path, (), tuple(queries), odometry_path=path)


@pytest.fixture
def file(tmp_path):
    write_odometry(tmp_path / "odometry.txt", lines(), about="a remark")
    return tmp_path / "odometry.txt"


def test_what_was_written_is_read_again(file):
    found = read_odometry(file)
    assert isinstance(found, FrameOdometry)
    for written, line in zip(lines(), found.lines, strict=True):
        assert (line.name, line.timestamp_s) == (written.name, written.timestamp_s)
        assert (line.step is None) == (written.step is None)
        if line.step is not None:
            assert same(line.step.cam_now_from_cam_before, written.step.cam_now_from_cam_before)
            assert (line.step.noise.translation_floor_m, line.step.noise.rotation_floor_deg) == (0.04, 0.3)


def test_a_motion_over_frames_that_are_no_queries_is_put_together_with_its_errors(file):
    step = read_odometry(file).between(QUERIES[1], QUERIES[3])
    assert same(step.cam_now_from_cam_before, true_motion(1, 3))
    assert step.noise.rotation_floor_deg == pytest.approx(0.3 * np.sqrt(2))
    swept = np.radians(0.3) * np.linalg.norm(true_motion(2, 3).tvec)
    assert step.noise.translation_floor_m == pytest.approx(np.hypot(0.04 * np.sqrt(2), swept))


def test_there_is_no_motion_into_another_drive_backwards_or_to_an_unknown_frame(file):
    text = file.read_text().splitlines()
    text[4] = f"{QUERIES[2].name} - start"
    file.write_text("\n".join(text))
    odometry = read_odometry(file)
    assert odometry.between(QUERIES[1], QUERIES[2]) is None
    assert odometry.between(QUERIES[1], QUERIES[3]) is None
    assert odometry.between(QUERIES[1], QUERIES[0]) is None
    assert odometry.between(QUERIES[0], ImageData("other.png", file)) is None
    assert same(odometry.between(QUERIES[2], QUERIES[3]).cam_now_from_cam_before, true_motion(2, 3))


def test_names_with_spaces_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "o.txt").write_bytes(b"# c\r\nmy night/a 1.png - start\r\nmy night/b 2.png 3.5 1 0 0 0 0 0 -1 0.1 0.2\r\n\r\n")
    odometry = read_odometry(tmp_path / "o.txt")
    assert [line.name for line in odometry.lines] == ["my night/a 1.png", "my night/b 2.png"]
    assert [line.timestamp_s for line in odometry.lines] == [None, 3.5]


def tum(path, times, poses):
    rows = []
    for time, pose in zip(times, poses):
        out = pose.inverse()
        rows.append(" ".join(repr(float(v)) for v in (time, *out.tvec, *out.qvec[1:], out.qvec[0])))
    path.write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(rows))
    return path


def timed(queries):
    return [
        ImageData(query.name, query.path, query.condition, query.camera, query.cam_from_world, 10.0 + k)
        for k, query in enumerate(queries)
    ]


def test_a_trajectory_by_time_gives_the_motion_between_queries_wherever_its_own_origin_is(tmp_path):
    elsewhere = Rigid3d([0.5, 0.1, -0.7, 0.3], [100.0, -3.0, 8.0])
    path = tum(tmp_path / "tum.txt", 10.0 + np.arange(5), [pose @ elsewhere for pose in POSES])
    odometry, queries = read_odometry(path), timed(QUERIES)
    assert isinstance(odometry, Trajectory)
    assert all(
        same(odometry.between(queries[k - 1], queries[k]).cam_now_from_cam_before, true_motion(k - 1, k)) for k in (1, 4)
    )
    assert odometry.between(QUERIES[0], queries[1]) is None, "a query without a time is nowhere on it"


def test_between_two_moments_of_a_trajectory_the_camera_moves_and_turns_evenly(tmp_path):
    half = Rigid3d([np.cos(0.1), 0, np.sin(0.1), 0], [0, 0, 0])
    turned = (half @ half).inverse() @ Rigid3d([1, 0, 0, 0], [-2.0, 0, 0])
    path = tum(tmp_path / "tum.txt", [10, 12], [Rigid3d.identity(), turned])
    start, middle = (ImageData(name, path, timestamp_s=time) for name, time in (("a", 10.0), ("b", 11.0)))
    step = read_odometry(path).between(start, middle).cam_now_from_cam_before
    assert rotation_angle_deg(step, Rigid3d.identity()) == pytest.approx(np.degrees(0.2))
    np.testing.assert_allclose(step.center(), turned.center() / 2, atol=1e-12)


def test_a_gap_in_a_trajectory_is_not_bridged(tmp_path):
    odometry = read_odometry(tum(tmp_path / "tum.txt", [10, 11, 20], POSES[:3]))
    early, late, end = (ImageData(str(t), tmp_path, timestamp_s=t) for t in (10.5, 15.0, 20.0))
    assert odometry.between(early, late) is None
    assert odometry.between(early, end) is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "o.txt: holds no frame, expected name timestamp qw"),
        ("a 0 1 0 0 0 0 0 0 0.1 0.1", "o.txt:1: a motion without a line above to move from"),
        ("a 0 start\nb 1 1 0 0 0 0 0 1 0.1", "o.txt:2: expected name timestamp qw"),
        ("a 0 start\nb 1 1 0 0 0 0 0 nan 0.1 0.1", "o.txt:2: expected finite numbers"),
        ("a 0 start\nb x 1 0 0 0 0 0 0 0.1 0.1", "o.txt:2: expected numbers, found 'x'"),
        ("a 0 start\nb 1 0 0 0 0 0 0 0 0.1 0.1", "o.txt:2: pose is not finite or has no rotation"),
        ("a 0 start\nb 1 1 0 0 0 0 0 0 -0.1 0.1", "o.txt:2: the errors are -0.1 m and 0.1 deg"),
        ("a 0 start\nb 1 1 0 0 0 0 0 1e300 0.1 0.1", "o.txt:2: the translation"),
        ("a 0 start\na 1 start", "o.txt:2: 'a' is listed a second time"),
        ("1 0 0 0 0 0 0 1", "o.txt: holds one pose"),
        ("1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1", "o.txt:2: the time 1 does not come after"),
        ("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 1", "o.txt:2: expected timestamp tx ty tz qx qy qz qw"),
        ("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 0 0", "o.txt:2: pose is not finite or has no rotation"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, sentence):
    (tmp_path / "o.txt").write_text(text)
    with pytest.raises(SceneError) as caught:
        read_odometry(tmp_path / "o.txt")
    assert sentence in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(SceneError, match=r"none\.txt: cannot be read"):
        read_odometry(tmp_path / "none.txt")


def test_a_sequence_takes_the_scenes_own_odometry_with_its_stated_errors_in_the_order_of_its_lines(file):
    motion = motion_of(scene_of(QUERIES, file), QUERIES[::-1], "auto", 0)
    assert [query.name for query in motion.queries] == [query.name for query in QUERIES]
    assert motion.steps[0] is None
    assert all(same(step, true_motion(k, k + 1)) for k, step in enumerate(motion.steps[1:]))
    assert [noise.translation_floor_m for noise in motion.noises[1:]] == [0.04] * 4
    assert motion.source == "4 steps read from odometry.txt"


def test_without_a_file_odometry_is_simulated_and_says_so(file):
    motion = motion_of(scene_of(QUERIES), QUERIES, "auto", 0)
    assert motion.source == "4 steps simulated from the true poses, with noise"
    assert not same(motion.steps[1], true_motion(0, 1))
    assert motion_of(scene_of(QUERIES, file), QUERIES, "simulated", 0).source == motion.source
    assert motion_of(scene_of(QUERIES, file), QUERIES, "none", 0).steps == (None,) * 5


def test_odometry_of_other_images_is_refused(file):
    others = [ImageData(f"sun/{k}.png", file, timestamp_s=float(k)) for k in range(3)]
    with pytest.raises(ValueError, match=r"odometry\.txt: holds no motion between any two of 3 queries"):
        motion_of(scene_of(others, file), others, "auto", 0)


def test_a_scene_file_names_its_odometry(tmp_path):
    (tmp_path / "images").mkdir()
    text = 'format = "fgsn-scene"\nversion = 1\nreference_condition = "sun"\nodometry = "drive/odometry.txt"\n'
    (tmp_path / "scene.toml").write_text(text)
    assert open_scene(tmp_path).odometry_path == tmp_path / "drive/odometry.txt"


def test_a_trajectory_of_one_camera_is_refused_for_queries_of_two(tmp_path):
    path = tum(tmp_path / "tum.txt", 10.0 + np.arange(5), POSES)
    queries = timed(QUERIES)
    queries[2] = replace(queries[2], timestamp_s=queries[1].timestamp_s + 0.0002)
    with pytest.raises(InputError, match=r"tum\.txt: tells how one camera moved, but .*001.png. and .*002.png. were taken at"):
        motion_of(scene_of(queries, path), queries, "auto", 0)
