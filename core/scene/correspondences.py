"""The cross-season correspondence datasets (PAPER 2.1): one MATLAB v7.3 file an image pair, and reference positions.

MATLAB is column-major, so h5py sees its arrays transposed: ``pt_i`` and ``pt_j`` (N, 2) with x, y in a row,
``dist_from_center`` (1, N), ``im_i_path`` and ``im_j_path`` (L, 1) u16 characters. Pixels count from 0, as the published code
takes them. i is the reference image, j the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.images import write_atomic
from core.records import Correspondences

FOLDER = "correspondences"
POSITIONS_FOLDER = f"{FOLDER}_reference_feature_positions"
_USER_BLOCK = 512
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
    """Read one pair: the reference's path, the other's path, the correspondences. Raises SceneError."""
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            names = [_text(file[key][()]) for key in ("im_i_path", "im_j_path")]
            points = [np.asarray(file[key][()]).reshape(-1, 2) for key in ("pt_i", "pt_j")]
            distance = np.asarray(file["dist_from_center"][()]).reshape(-1)
        return names[0], names[1], Correspondences(points[0], points[1], np.exp(-distance))
    except FileNotFoundError as error:
        raise SceneError(f"{path}: no such correspondence file") from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise SceneError(f"{path}: not a correspondence file of the expected layout ({error})") from error


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
            return np.asarray(file["corr_pts"][()], dtype=np.float64).reshape(-1, 2)
    except (OSError, KeyError, ValueError) as error:
        raise SceneError(f"{path}: not a file of reference feature positions ({error})") from error


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
