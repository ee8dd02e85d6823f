"""Files changed at random, the same way in every run, and what a reader must still hold to.

Set FUZZ_EXAMPLES to try more of them than the suite does.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from core.errors import InputError

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
MAX_SECONDS = 10.0
_MEMORY_BYTES = 2 << 30
fuzz = settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
_TOKENS = (b"nan", b"inf", b"-inf", b"1e999", b"1e300", b"-1", b"0", b"9" * 20, b"4294967295", b"x", b'"', b"\xff\xfe", b"..")
_NUMBERS = (0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_PATHS = (b"../../../etc/passwd", b"/etc/passwd", b"C:\\Windows\\win.ini", b"..\\..\\up.png", b"a\0b", b"CON")


@contextlib.contextmanager
def address_space(extra_bytes: int = _MEMORY_BYTES):
    """Let the process have so much more memory than now; where the system has no such limit, as much as there is."""
    try:
        import resource
    except ImportError:
        yield
        return
    status = Path("/proc/self/statm")
    if not status.is_file():
        yield
        return
    used = int(status.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# What can happen to a file: each takes its bytes, a place in [0, 1) and a number, and returns its bytes or None.


def _at(data, place):
    return int(place * len(data))


def _lines(data):
    return data.split(b"\n")


def cut_off(data, place, number):
    return data[: _at(data, place)]


def flip(data, place, number):
    changed = bytearray(data)
    for k in range(1 + number % 4):
        if changed:
            changed[(_at(data, place) + 7 * k) % len(changed)] ^= 1 + number % 255
    return bytes(changed)


def count_of_many(data, place, number):
    """Write a huge number where one of 4 or 8 bytes may be."""
    at = 4 * (_at(data, place) // 4)
    packed = struct.pack("<Q", _NUMBERS[number % len(_NUMBERS)])[: 4 + 4 * (number % 2)]
    return data[:at] + packed + data[at + len(packed) :]


def first_count_of_many(data, place, number):
    return count_of_many(data, 0.0, number)


def other_token(data, place, number):
    """Put NaN, a huge number or no number in the place of a word."""
    words = data.split(b" ")
    words[_at(words, place)] = _TOKENS[number % len(_TOKENS)]
    return b" ".join(words)


def other_name(data, place, number):
    """Put a path that leads elsewhere in the place of a line's first word."""
    lines = _lines(data)
    k = _at(lines, place)
    lines[k] = b" ".join([_PATHS[number % len(_PATHS)], *lines[k].split(b" ")[1:]])
    return b"\n".join(lines)


def drop_token(data, place, number):
    words = data.split(b" ")
    del words[_at(words, place)]
    return b" ".join(words)


def swap_lines(data, place, number):
    lines = _lines(data)
    a, b = _at(lines, place), number % len(lines)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def repeat_line(data, place, number):
    lines = _lines(data)
    k = _at(lines, place)
    return b"\n".join([*lines[: k + 1], lines[k], *lines[k + 1 :]])


def drop_line(data, place, number):
    lines = _lines(data)
    del lines[_at(lines, place)]
    return b"\n".join(lines)


def windows_lines(data, place, number):
    return data.replace(b"\n", b"\r\n")


def insert(data, place, number):
    at = _at(data, place)
    return data[:at] + bytes([number % 256]) * (1 + number % 9) + data[at:]


def double(data, place, number):
    return data + data


def empty(data, place, number):
    return b""


def delete(data, place, number):
    return None


TEXT = (other_token, other_token, other_name, drop_token, swap_lines, repeat_line, drop_line, windows_lines)
BINARY = (flip, flip, count_of_many, count_of_many, first_count_of_many)
ANY = (cut_off, flip, insert, double, empty, delete)
_TEXT_SUFFIXES = {".txt", ".toml", ".csv", ".nvm", ".out", ".json"}


@st.composite
def changes(draw, names):
    """One to three (file, what happens, where, number)."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names))
        kinds = ANY + (TEXT if Path(name).suffix in _TEXT_SUFFIXES else BINARY)
        place = draw(st.floats(0, 1, exclude_max=True, allow_subnormal=False))
        made.append((name, draw(st.sampled_from(kinds)), place, draw(st.integers(0, 1000))))
    return made


class Specimen:
    """A good folder on disk, of which ``files`` are changed and put back; ``read`` is what a user would do with it."""

    def __init__(self, folder, read, files=None):
        self.folder, self._read = Path(folder), read
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.content = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}
        self.files = [name for name in self.content if files is None or files(name)]
        assert self.files
        read(self.folder)  # the good one is good

    def survives(self, made):
        """Change files, read the folder and hold the reader to its word; put the files back."""
        changed = dict(self.content)
        for name, what, place, number in made:
            if changed[name] is not None:
                changed[name] = what(changed[name], place, number) if changed[name] else None
        touched = {name: data for name, data in changed.items() if data != self.content[name]}
        try:
            for name, data in touched.items():
                path = self.folder / name
                path.unlink() if data is None else path.write_bytes(data)
            self._hold_to_its_word()
        finally:
            for name in touched:
                (self.folder / name).write_bytes(self.content[name])

    def _hold_to_its_word(self):
        begin = time.process_time()
        sentence = self._refusal()
        assert sentence.startswith(str(self.folder)), f"does not begin with the file: {sentence[:300]}"
        assert "\n" not in sentence.strip(), sentence[:300]
        assert time.process_time() - begin < MAX_SECONDS

    def _refusal(self):
        """What the reader says of the folder; the folder where it takes it."""
        try:
            self._read(self.folder)
        except (InputError, FileNotFoundError) as error:
            return str(error)
        return str(self.folder)


def check_scene(scene):
    """What whoever takes a scene may rely on."""
    names = [image.name for image in scene.images]
    assert len(set(names)) == len(names)
    for image in scene.images:
        assert ".." not in image.name.split("/"), image.name
        assert not image.name.startswith("/"), image.name
        assert image.timestamp_s is None or np.isfinite(image.timestamp_s)
        if image.cam_from_world is not None:
            assert np.isfinite(image.cam_from_world.center()).all()
            if scene.map is not None:
                assert np.isfinite(image.cam_from_world.apply(scene.map.points3D)).all()
        if image.camera is not None:
            assert np.isfinite(image.camera.K).all()
            assert image.camera.K[0, 0] > 0
    if scene.map is not None:
        check_map(scene.map)


def check_map(scene_map):
    seen, num_points = scene_map.observations, len(scene_map.points3D)
    assert np.isfinite(scene_map.points3D).all()
    assert np.isfinite(seen.points2D).all()
    if len(seen.point):
        assert seen.point.min() >= 0
        assert seen.point.max() < num_points
        assert seen.image.min() >= 0
        assert seen.image.max() < len(scene_map.images)
        assert (np.diff(seen.point) >= 0).all()
    for part in (scene_map.visibility, scene_map.labels):
        if part is not None:
            array = part.labels if part is scene_map.labels else part.direction
            assert len(array) == num_points
    if scene_map.labels is not None and num_points:
        assert scene_map.labels.labels.max() < scene_map.labels.num_labels
    if scene_map.visibility is not None:
        parts = scene_map.visibility
        assert all(np.isfinite(v).all() for v in (parts.direction, parts.angle_rad, parts.min_distance, parts.max_distance))
