"""Pickles are walked through, never unpickled: plain things come out, whatever would run code is refused."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - the reference, and what an attacker writes
import pickletools
import random
from collections import OrderedDict, defaultdict
from pathlib import Path, PosixPath

import numpy as np
import pycolmap
import pytest

from core.errors import SceneError
from core.scene.plain_pickle import read_plain_pickle
from core.steps import finish

PLAIN = {
    "texts": ["a", "zwölf", ""],
    "numbers": (1, -5, 2**70, 1.5, True, False, None),
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "nested": [[(1, (2, [3, {"x": (4,)}]))]],
}


def stored(tmp_path, value, protocol=None):
    path = tmp_path / "x.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def read(path):
    return finish(read_plain_pickle(path))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_things_come_out_as_pickle_gives_them(tmp_path, protocol):
    shared = [1, 2]
    value = {**PLAIN, "one": shared, "same": shared}
    found = read(stored(tmp_path, value, protocol))
    assert found == value
    assert found["one"] is found["same"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_out_bit_for_bit(tmp_path, protocol):
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(3, 4)),
        rng.normal(size=(3, 4)).astype(np.float16).T,
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array([True, False]),
        np.zeros((0, 2), np.float32),
        np.array(3.0),
    ]
    found = read(stored(tmp_path, {"arrays": arrays, "scalar": np.float32(2.5), "count": np.int64(7)}, protocol))
    assert (found["scalar"], found["count"]) == (2.5, 7)
    for ours, theirs in zip(found["arrays"], arrays, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)


def test_paths_defaultdicts_and_objects_of_pycolmap_become_plain(tmp_path):
    pose = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([0.0, 0.6, 0, 0.8])), np.array([1.0, 2, 3]))
    camera = pycolmap.Camera(model="SIMPLE_RADIAL", width=640, height=480, params=[500, 320, 240, 0.1])
    lists = defaultdict(list, {"a": [1]})
    found = read(
        stored(tmp_path, {"pose": pose, "camera": camera, "path": PosixPath("/a/b.h5"), "d": lists, "o": OrderedDict(x=1)})
    )
    np.testing.assert_allclose(found["pose"]["rotation"]["quat"], [0, 0.6, 0, 0.8])
    np.testing.assert_allclose(found["pose"]["translation"], [1, 2, 3])
    assert (found["camera"]["model"], found["camera"]["width"]) == (2, 640)
    assert (found["path"], found["d"], found["o"]) == ("/a/b.h5", {"a": [1]}, {"x": 1})


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker, call=os.system):
        self.marker, self.call = marker, call

    def __reduce__(self):
        return self.call, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("call", [os.system, eval, exec, __import__, os.popen])
def test_a_pickle_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path, protocol, call):
    marker = tmp_path / "it ran"
    path = stored(tmp_path, {"loc": {"a.jpg": [1, Evil(str(marker).replace(" ", "\\ "), call)]}}, protocol)
    with pytest.raises(SceneError, match=r"x\.pkl: holds .*expected only lists") as error:
        read(path)
    assert call.__name__ in str(error.value) or "opcode" in str(error.value)
    assert not marker.exists()


def test_that_pickle_does_run_its_command_when_it_is_unpickled(tmp_path):
    marker = tmp_path / "it_ran"
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"(S'touch x'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch x'\no.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"Pid\n.",
        b"\x80\x02\x82\x01.",
        b"cnumpy\nndarray\n(I99999999999\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"c__builtin__\nlist\n(I1\ntR.",
        b"\x80\x04cnumpy\ndtype\n(S'O8'\ntR.",
    ],
)
def test_calls_in_every_form_are_refused(tmp_path, content):
    with pytest.raises(SceneError, match=r"x\.pkl: "):
        read(stored(tmp_path, content))


def test_an_array_that_never_gets_its_numbers_takes_no_memory(tmp_path):
    huge = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntS'b'\ntR."
    assert read(stored(tmp_path, huge)) is None


def test_arrays_whose_shape_lies_are_refused_before_anything_is_allocated(tmp_path):
    honest = pickle.dumps(np.zeros(3), 2)
    assert honest.count(b"K\x03\x85") == 1
    path = stored(tmp_path, honest.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"))
    with pytest.raises(SceneError, match=r"holds an array .2147483647,. of float64 that holds 24 bytes"):
        read(path)


def test_a_text_that_claims_to_be_huge_is_cut_off(tmp_path):
    with pytest.raises(SceneError, match="cut off"):
        read(stored(tmp_path, b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"abc."))
    with pytest.raises(SceneError, match="cut off"):
        read(stored(tmp_path, b"\x80\x04B\xff\xff\xff\x7fabc."))


def test_what_is_nested_without_end_is_refused(tmp_path):
    with pytest.raises(SceneError, match="nested too deeply"):
        read(stored(tmp_path, b"]" * 100_000 + b"a" * 99_999 + b"."))
    itself = []
    itself.append(itself)
    found = read(stored(tmp_path, itself))
    assert found[0] is found


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(SceneError, match="cannot be read"):
        read(tmp_path / "none.pkl")


@pytest.mark.parametrize("how", ["cut", "flip", "insert"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_mutated_pickles_give_a_value_or_the_documented_error(tmp_path, protocol, how):
    value = {"loc": {"a": {"k": np.arange(6.0).reshape(3, 2), "ids": [1, 2, 3], "t": (1, "x")}}, "p": Path("/a")}
    honest, refused = pickle.dumps(value, protocol), 0
    for seed in range(60):
        try:
            read(stored(tmp_path, mutated(honest, how, random.Random(seed))))
        except SceneError as error:
            refused += str(error).startswith(str(tmp_path))
    assert refused > 10


def mutated(honest, how, rng):
    data = bytearray(honest)
    at = rng.randrange(len(data))
    if how == "cut":
        del data[at:]
    elif how == "insert":
        data[at:at] = bytes(ord(rng.choice(pickletools.opcodes).code) for _ in range(3))
    else:
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)
