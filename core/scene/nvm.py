"""NVM files, VisualSFM's text models: read in pieces, so that ten million points need neither minutes nor all memory.

An image is ``name f qw qx qy qz cx cy cz d 0`` with its centre c (t = -R c), a point ``X Y Z R G B n`` and n times
``image feature x y``. Pixels are COLMAP's (the corner of the image is 0, 0), or, as VisualSFM writes them, relative to the
middle of the image. A file may hold several models, each in a frame of its own: the first one is read.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Rigid3d
from core.records import ImageData, Observations, Progress, SceneMap
from core.scene.colmap import points2D_from_colmap
from core.scene.image_names import inside, outside_note
from core.scene.poses import pose_from_center

MAGIC = "NVM_V3"
_PIECE_BYTES = 1 << 21  # parsed in about 50 ms: a cancel waits no longer, and a window beside it stays alive
_NUMBER_BYTES = b"0123456789+-.eE \t\r\n"
_POINT_TOKENS = 7
_OBSERVATION_TOKENS = 4
_MIN_IMAGE_BYTES = 22
_MIN_POINT_BYTES = 14
_MAX_LINE_BYTES = 1 << 16
_MAX_POINT_BYTES = 1 << 25  # a million observations
_MAX_PX = 1e6
_RELATIVE_SHARE = 0.05  # of observations left of or above the image; absolute pixels have none


@dataclass(frozen=True, slots=True, eq=False)
class NvmModel:
    """One model: per image name, focal length in px, distortion d and pose; points (P, 3) with colours; observations.

    ``points2D`` of ``observations`` are our px, or, where ``relative``, px from the image's principal point;
    ``features`` (T,) i32 says for each observation which keypoint of its image it was.
    """

    names: tuple[str, ...]
    focals: Array
    distortions: Array
    poses: tuple[Rigid3d, ...]
    points3D: Array
    rgb: Array
    observations: Observations
    features: Array
    relative: bool
    notes: tuple[str, ...] = ()


def read_nvm(path: str | Path) -> Generator[Progress, None, NvmModel]:
    """Read the first model of an NVM file; SceneError names file and line.

    Counts are checked against the file's size before anything is allocated.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            lines = _Lines(path, file)
            _check_magic(lines)
            images = yield from _read_images(lines)
            model = yield from _read_points(lines, images)
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
    return model


def nvm_map(model: NvmModel, images: Sequence[ImageData]) -> SceneMap:
    """Make a map of a model and its images, in the model's order; relative px need every image's camera (else ValueError)."""
    observations = model.observations
    if model.relative:
        if any(image.camera is None for image in images):
            raise ValueError("observations relative to the image's middle need a camera for every image")
        centers = np.array([image.camera.K[:2, 2] for image in images], np.float32)
        observations = replace(observations, points2D=observations.points2D + centers[observations.image])
    return SceneMap(model.points3D, model.rgb, tuple(images), observations)


class _Lines:
    """An open file, its size and how far it was read, for messages."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = path.stat().st_size
        self.number = 0

    def next(self, what: str) -> str:
        """The next line that is not blank; SceneError when the file ends first or the line is none of text."""
        while True:
            line = self.file.readline(_MAX_LINE_BYTES)
            if not line:
                raise SceneError(f"{self.path}: cut off after {self.size} bytes, expected {what}")
            self.number += 1
            if line.strip():
                break
        try:
            return line.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise SceneError(f"{self.where}: not UTF-8 text, expected {what}") from error

    def count(self, what: str, min_bytes: int) -> int:
        """The next line as a number of things of which each needs some bytes of what is left."""
        line = self.next(f"the number of {what}")
        if not (line.isascii() and line.isdigit()):
            raise SceneError(f"{self.where}: expected the number of {what}, found {line[:60]!r}")
        count, left = int(line[:20]), self.size - self.file.tell()
        if count * min_bytes > left + min_bytes:
            raise SceneError(f"{self.where}: counts {line[:20]} {what}, more than the {left} bytes that follow can hold")
        return count

    @property
    def where(self) -> str:
        return f"{self.path}:{self.number}"


def _check_magic(lines: _Lines) -> None:
    first = lines.next(MAGIC)
    if first.split()[0] != MAGIC:
        raise SceneError(f"{lines.path}: starts with {first[:20]!r}, expected {MAGIC}")


@dataclass(frozen=True, slots=True)
class _Images:
    names: tuple[str, ...]
    numbers: Array
    poses: tuple[Rigid3d, ...]
    notes: tuple[str, ...]


def _read_images(lines: _Lines) -> Generator[Progress, None, _Images]:
    count = lines.count("images", _MIN_IMAGE_BYTES)
    names, rows, poses = [], [], []
    for k in range(count):
        if k % 1000 == 0:
            yield Progress(f"Reading {lines.path.name}: image {k:,} of {count:,}", lines.file.tell() / lines.size)
        name, numbers = _image(lines, k, count)
        names.append(name)
        rows.append(numbers)
        poses.append(pose_from_center(numbers[1:5], numbers[5:8], lines.where))
    given, names = names, [inside(name) for name in names]
    name, times = Counter(names).most_common(1)[0] if names else ("", 1)
    if times > 1:
        raise SceneError(f"{lines.path}: the image name {name!r} occurs {times} times, expected once")
    numbers = np.array(rows).reshape(-1, 10)
    return _Images(tuple(names), numbers, tuple(poses), outside_note(lines.path, given))


def _image(lines: _Lines, index: int, count: int) -> tuple[str, Array]:
    """Name and the ten numbers after it; VisualSFM writes a quotation mark for a space in a name."""
    expected = "name f qw qx qy qz cx cy cz d 0"
    tokens = lines.next(f"image {index + 1} of {count}").rsplit(None, 10)
    try:
        numbers = np.array(tokens[1:], np.float64)
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != 10:
        raise SceneError(
            f"{lines.where}: expected {expected} for image {index + 1} of {count}, found {' '.join(tokens)[:80]!r}"
        )
    if not np.isfinite(numbers).all():
        raise SceneError(f"{lines.where}: image {tokens[0]!r} has numbers that are not finite, expected {expected}")
    return tokens[0].replace('"', " "), numbers


def _read_points(lines: _Lines, images: _Images) -> Generator[Progress, None, NvmModel]:
    count = lines.count("points", _MIN_POINT_BYTES)
    pieces: list[_Points] = []
    done, rest = 0, b""
    while done < count:
        yield Progress(f"Reading {lines.path.name}: point {done:,} of {count:,}", lines.file.tell() / lines.size)
        data = lines.file.read(_PIECE_BYTES)
        if len(rest) > _MAX_POINT_BYTES:
            raise SceneError(f"{lines.where}: a line of over {_MAX_POINT_BYTES} bytes follows, expected points")
        whole, rest = _whole_lines(rest + data, at_end=not data)
        piece, used = _parse(whole, count - done, len(images.names), lines)
        pieces.append(piece)
        done += len(piece.xyz)
        rest = whole[used:] + rest if done == count else rest
        if not data and done < count:
            raise SceneError(f"{lines.path}: cut off after {done} of {count} points")
    notes = images.notes + _notes_on_rest(lines, rest)
    return (yield from _joined(pieces, images, notes, lines.path.name))


def _whole_lines(data: bytes, at_end: bool) -> tuple[bytes, bytes]:
    """Cut after the last line end; at the end of the file the last line counts as whole."""
    if at_end:
        return (data if data.endswith(b"\n") else data + b"\n"), b""
    cut = data.rfind(b"\n") + 1
    return data[:cut], data[cut:]


@dataclass(frozen=True, slots=True)
class _Points:
    """Points and their observations as they stand in one piece of the file."""

    xyz: Array
    rgb: Array
    num_observations: Array
    image: Array
    feature: Array
    points2D: Array
    num_negative: int


def _parse(data: bytes, wanted: int, num_images: int, lines: _Lines) -> tuple[_Points, int]:
    """At most ``wanted`` points of some whole lines, and how many bytes they took; SceneError names the line.

    Everything is checked on whole arrays; only where a check fails are the lines looked at one by one.
    """
    if not data:
        return _points(np.zeros(0), np.zeros(0, np.int64)), 0
    counts, ends = _token_counts(data)
    filled = np.flatnonzero(counts)
    if not len(filled):
        lines.number += len(counts)
        return _points(np.zeros(0), np.zeros(0, np.int64)), len(data)
    last = filled[: min(wanted, len(filled))][-1]
    used = int(ends[last]) if len(filled) >= wanted else len(data)
    counts = counts[: last + 1]
    values = _numbers(data[: int(ends[last])], int(counts.sum()))
    lengths = counts[counts > 0]
    if values is None or not _is_sound(values, lengths, num_images):
        raise _first_fault(data, num_images, lines)
    lines.number += len(counts)
    return _points(values, lengths), used


def _token_counts(data: bytes) -> tuple[Array, Array]:
    """How many words each line has, and where it ends."""
    raw = np.frombuffer(data, np.uint8)
    blank = raw <= 32
    begins = ~blank
    begins[1:] &= blank[:-1]
    ends = np.flatnonzero(raw == ord("\n")) + 1
    starts = np.concatenate([[0], ends[:-1]])
    return np.add.reduceat(begins.view(np.uint8), starts, dtype=np.int64), ends


def _numbers(data: bytes, count: int) -> Array | None:
    """The words as (count,) f64; None when one of them is no number."""
    if data.translate(None, _NUMBER_BYTES):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            values = np.fromstring(data, dtype=np.float64, sep=" ")
    except (DeprecationWarning, ValueError):  # it stopped at a word that is no number
        return None
    return values if len(values) == count else None


def _is_sound(values: Array, lengths: Array, num_images: int) -> bool:
    """Whether every line has the words that its count asks for, and all numbers can be what they should."""
    if not np.isfinite(values).all() or (lengths < _POINT_TOKENS).any():
        return False
    starts = np.cumsum(lengths) - lengths
    if (values[starts + 6] * _OBSERVATION_TOKENS + _POINT_TOKENS != lengths).any():
        return False
    rgb = values[starts[:, None] + np.arange(3, 6)]
    seen = _observation_rows(values, lengths)
    whole = seen[:, :2]
    return bool(
        ((rgb >= 0) & (rgb <= 255)).all()
        and (whole == np.floor(whole)).all()
        and ((whole >= 0) & (whole < [num_images, 2**31])).all()
        and (np.abs(seen[:, 2:]) < _MAX_PX).all()
        and ((lengths - _POINT_TOKENS) % _OBSERVATION_TOKENS == 0).all()
    )


def _observation_rows(values: Array, lengths: Array) -> Array:
    """(T, 4) f64: what follows the first seven numbers of each line."""
    starts = np.cumsum(lengths) - lengths
    is_head = np.zeros(len(values), bool)
    is_head[(starts[:, None] + np.arange(_POINT_TOKENS)).ravel()] = True
    rest = values[~is_head]
    return rest[: len(rest) // _OBSERVATION_TOKENS * _OBSERVATION_TOKENS].reshape(-1, _OBSERVATION_TOKENS)


def _points(values: Array, lengths: Array) -> _Points:
    starts = np.cumsum(lengths) - lengths
    head = values[starts[:, None] + np.arange(_POINT_TOKENS)]
    seen = _observation_rows(values, lengths)
    return _Points(
        xyz=head[:, :3],
        rgb=head[:, 3:6].astype(np.uint8),
        num_observations=head[:, 6].astype(np.int32),
        image=seen[:, 0].astype(np.int32),
        feature=seen[:, 1].astype(np.int32),
        points2D=seen[:, 2:].astype(np.float32),
        num_negative=int((seen[:, 2:] < 0).any(axis=1).sum()),
    )


def _first_fault(data: bytes, num_images: int, lines: _Lines) -> SceneError:
    """The sentence on the first line of a piece that is no point."""
    expected = f"X Y Z R G B n and n times an image below {num_images}, feature, x, y"
    for number, line in enumerate(data.split(b"\n"), start=lines.number + 1):
        words = line.split()
        if not words:
            continue
        values = _numbers(line + b"\n", len(words))
        if values is None or not _is_sound(values, np.array([len(words)]), num_images):
            shown = line[:60].decode("utf-8", "replace").strip()
            return SceneError(f"{lines.path}:{number}: expected {expected}, found {len(words)} values that begin {shown!r}")
    return SceneError(f"{lines.path}: corrupt, points near line {lines.number + 1} cannot be read")


def _notes_on_rest(lines: _Lines, rest: bytes) -> tuple[str, ...]:
    """Say so when more models follow."""
    following = (rest + lines.file.read(_MAX_LINE_BYTES)).split(b"\n")
    words = next((line.split()[0] for line in following if line.strip()), b"0")
    if not words.isdigit() or int(words[:9]) == 0:
        return ()
    return (f"{lines.path}: more models follow the first, each in a frame of its own; they are left out.",)


def _joined(pieces: list[_Points], images: _Images, notes: tuple[str, ...], name: str) -> Generator[Progress, None, NvmModel]:
    """Put the pieces together, one field after the other so that little is held twice."""
    num_seen = sum(len(piece.image) for piece in pieces)
    relative = sum(piece.num_negative for piece in pieces) > _RELATIVE_SHARE * num_seen
    arrays = {}
    for key, item in _FIELDS.items():
        arrays[key] = yield from _join(pieces, key, item, name)
    firsts = np.cumsum([0, *(len(piece.xyz) for piece in pieces)])
    points = (np.repeat(np.arange(first, first + len(p.xyz)), p.num_observations) for first, p in zip(firsts, pieces))
    point = yield from _fill(np.empty(num_seen, np.int32), points, name)
    places = (piece.points2D if relative else points2D_from_colmap(piece.points2D) for piece in pieces)
    points2D = yield from _fill(np.empty((num_seen, 2), np.float32), places, name)
    return NvmModel(
        names=images.names,
        focals=images.numbers[:, 0],
        distortions=images.numbers[:, 8],
        poses=images.poses,
        points3D=arrays["xyz"],
        rgb=arrays["rgb"],
        observations=Observations(point, arrays["image"], points2D),
        features=arrays["feature"],
        relative=relative,
        notes=notes,
    )


_FIELDS: dict[str, tuple[int, ...]] = {"xyz": (3,), "rgb": (3,), "image": (), "feature": ()}


def _join(pieces: list[_Points], key: str, item: tuple[int, ...], name: str) -> Generator[Progress, None, Array]:
    """One field of all pieces, each item of a shape."""
    parts = [getattr(piece, key) for piece in pieces] or [np.zeros((0, *item))]
    whole = np.empty((sum(map(len, parts)), *item), parts[0].dtype)
    return (yield from _fill(whole, parts, name))


def _fill(whole: Array, parts: Iterable[Array], name: str) -> Generator[Progress, None, Array]:
    """Fill an array with parts, read-only afterwards, so that records keep it without a copy."""
    at = 0
    for number, part in enumerate(parts):
        if number % 32 == 0:
            yield Progress(f"Reading {name}: putting its parts together", 1.0)
        whole[at : at + len(part)] = part
        at += len(part)
    whole.setflags(write=False)
    return whole
