"""The cross-season correspondence datasets (PAPER 2.1): one MATLAB v7.3 file an image pair, and reference positions.

MATLAB is column-major, so h5py sees its arrays transposed: ``pt_i`` and ``pt_j`` (N, 2) with x, y in a row,
``dist_from_center`` (1, N), ``im_i_path`` and ``im_j_path`` (L, 1) u16 characters. Pixels count from 0, as the published code
takes them. i is the reference image, j the other one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.images import write_atomic
from core.records import Correspondences
from core.scene.hdf5 import CORRUPT, whole_array
from core.scene.image_names import inside

FOLDER = "correspondences"
POSITIONS_FOLDER = f"{FOLDER}_reference_feature_positions"
_NAMES, _POINTS, _DISTANCE = ("im_i_path", "im_j_path"), ("pt_i", "pt_j"), "dist_from_center"
_USER_BLOCK = 512
_MOST, _TINY = 1e9, 1e-6
_HEADER = b"MATLAB 7.3 MAT-file, written by fgsn-viewer".ljust(116) + bytes(8) + b"\x00\x02IM"


def write_correspondences(path: str | Path, reference: str, other: str, correspondences: Correspondences) -> None:
    """Write one pair; ``reference`` and ``other`` are image paths relative to the dataset's images folder.

    The distance from the patch centre is stored as -log(weight); a weight must be in (0, 1].
    """
    weights = correspondences.weights
    if weights.size and not ((weights > 0) & (weights <= 1)).all():
        raise ValueError(f"weights lie in [{weights.min()}, {weights.max()}], expected (0, 1]")
    arrays = {
        "im_i_path": _characters(reference),
        "im_j_path": _characters(other),
        "pt_i": correspondences.points_ref.astype(np.float64),
        "pt_j": correspondences.points_other.astype(np.float64),
        "dist_from_center": -np.log(weights.astype(np.float64))[None, :] + 0.0,
    }
    write_atomic(Path(path), lambda temporary: _write_mat(Path(temporary), arrays))


def read_correspondences(path: str | Path) -> tuple[str, str, Correspondences]:
    """Read one pair: the reference's path, the other's path, the correspondences.

    Raises SceneError, also where keys are missing, lengths differ or a number is not finite.
    """
    path = Path(path)
    with _opened(path) as file:
        reference, other = (_image_path(file[key]) for key in _NAMES)
        points = [_numbers(file[key]) for key in _POINTS]
        distance = _numbers(file[_DISTANCE]).reshape(-1)
    for key, array in zip(_POINTS, points, strict=True):
        if array.shape != (len(distance), 2):
            raise SceneError(f"{path}: {key} is {array.shape}, expected ({len(distance)}, 2) as {_DISTANCE} has it")
    for key, array in zip((*_POINTS, _DISTANCE), (*points, distance[:, None]), strict=True):
        bad = int((~(np.abs(array) < _MOST).all(axis=1)).sum())
        if bad:
            raise SceneError(f"{path}: {bad} of the {len(array)} rows of {key} are not finite or huge, expected numbers")
    if len(distance) and distance.min() < -_TINY:
        raise SceneError(f"{path}: {_DISTANCE} is {distance.min():g} somewhere, expected 0 or more")
    return reference, other, Correspondences(points[0], points[1], np.exp(-distance))


def read_pair_names(path: str | Path) -> tuple[str, str]:
    """Read only which images a file pairs: the reference's path and the other's. Raises SceneError, also for missing keys."""
    with _opened(Path(path)) as file:
        reference, other = (_image_path(file[key]) for key in _NAMES)
        return reference, other


def positions_name(image: str) -> str:
    """The file of a reference image's positions: a/b/c.ext has a_c.h5."""
    path = PurePosixPath(image)
    return f"{path.parts[0]}_{path.stem}.h5"


def reference_positions(pairs: Sequence[str | Path]) -> dict[str, Array]:
    """For every reference image the different positions (N, 2) f64, sorted, that any of its correspondence files names.

    The published code kept those of the first file only; that is a slip, not followed here.
    """
    points: dict[str, list[Array]] = {}
    for pair in pairs:
        reference, _other, correspondences = read_correspondences(pair)
        points.setdefault(reference, []).append(correspondences.points_ref.astype(np.float64))
    return {name: np.unique(np.concatenate(arrays), axis=0) for name, arrays in points.items()}


def write_reference_positions(folder: str | Path, positions: dict[str, Array]) -> None:
    """Write one file a reference image with the dataset ``corr_pts`` (N, 2): x, y in px."""
    names = [positions_name(image) for image in positions]
    if len(set(names)) < len(names):
        raise ValueError(f"two of the images {sorted(positions)} share one file name of the form a_c.h5")
    for name, points in zip(names, positions.values(), strict=True):
        write_atomic(Path(folder) / name, lambda temporary, points=points: _write_plain(temporary, points))


def read_reference_positions(path: str | Path) -> Array:
    """Read (N, 2) f64 px. Raises SceneError."""
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(whole_array(file["corr_pts"]), dtype=np.float64).reshape(-1, 2)
    except CORRUPT as error:
        raise SceneError(f"{path}: not a file of reference feature positions ({error})") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a correspondence file that has all keys; whatever is wrong in it is a SceneError that names it."""
    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in (*_NAMES, *_POINTS, _DISTANCE) if not isinstance(file.get(key), h5py.Dataset)]
            if missing:
                found = ", ".join(map(repr, sorted(file))) or "nothing"
                raise SceneError(f"{path}: {', '.join(missing)} missing in the correspondence file, found {found}")
            yield file
    except FileNotFoundError as error:
        raise SceneError(f"{path}: no such correspondence file") from error
    except SceneError:
        raise
    except CORRUPT as error:
        raise SceneError(f"{path}: not a correspondence file of the expected layout ({error})") from error


def _numbers(dataset: h5py.Dataset) -> Array:
    """A MATLAB array of doubles; of an empty one MATLAB stores the shape in place of the numbers."""
    if dataset.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(side) for side in whole_array(dataset))[::-1]
        if 0 not in shape or len(shape) > 8 or min(shape) < 0:
            raise ValueError(f"{dataset.name.lstrip('/')} is said to be empty and of the shape {shape}")
        return np.zeros(shape)
    return np.asarray(whole_array(dataset), dtype=np.float64)


def _image_path(dataset: h5py.Dataset) -> str:
    """A path inside the images folder, '/' between its parts."""
    return inside(_text(whole_array(dataset)).replace("\0", ""))


def _characters(text: str) -> Array:
    """MATLAB characters are UTF-16 units."""
    return np.frombuffer(text.encode("utf-16-le"), "<u2").reshape(-1, 1)


def _text(characters: Array) -> str:
    return np.asarray(characters).astype("<u2").tobytes().decode("utf-16-le")


def _write_mat(path: Path, arrays: dict[str, Array]) -> None:
    with h5py.File(path, "w", userblock_size=_USER_BLOCK) as file:
        for name, array in arrays.items():
            is_text = array.dtype == np.uint16
            dataset = file.create_dataset(name, data=array, **({"compression": "gzip"} if array.size > 1000 else {}))
            dataset.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
            if is_text:
                dataset.attrs["MATLAB_int_decode"] = np.int32(2)
    with path.open("r+b") as raw:
        raw.write(_HEADER)


def _write_plain(path: str, points: Array) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("corr_pts", data=points)
