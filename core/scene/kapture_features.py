"""Features in kapture's folders: raw arrays, an image a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.scene.colmap import points2D_from_colmap
from core.scene.image_names import inside
from core.scene.kapture import extractor_of, rows_of

_TYPES = {"float": "<f8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "int": "<i8", "uint8": "u1"}


class KaptureFeatures:
    """Features of a folder ``reconstruction/descriptors/TYPE`` and of the keypoints that it names; px come in as COLMAP's.

    Raises SceneError for a description that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _, self._dtype, self._width, *more = _description(path / "descriptors.txt", "descriptors")
        kind = more[0] if more else path.name
        flat = path.name == "descriptors"  # format 1.0 has one type, without a folder
        self.extractor = extractor_of(path)
        self.keypoints_path = path.parent / "keypoints" if flat else path.parent.parent / "keypoints" / inside(kind)
        self._keypoints = KaptureKeypoints(self.keypoints_path)

    def __contains__(self, name: str) -> bool:
        return self._file(name).is_file()

    def keypoints(self, name: str) -> Array:
        return self._keypoints.read(name)

    def descriptors(self, name: str) -> Array:
        return raw_array(self._file(name), self._dtype, self._width)

    def _file(self, name: str) -> Path:
        return self.path / inside(f"{name}.desc")


class KaptureKeypoints:
    """Keypoints of a folder ``reconstruction/keypoints/TYPE``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        about = path / "keypoints.txt"
        _, self._dtype, self._width, *_ = _description(about, "keypoints")
        if self._width < 2:
            raise SceneError(f"{about}: {self._width} numbers a keypoint, expected x, y and maybe more")

    def read(self, name: str) -> Array:
        """Keypoints (N, 2 or more) f64 of an image, the first two columns ours px. Raises SceneError."""
        table = raw_array(self.path / inside(f"{name}.kpt"), self._dtype, self._width).astype(np.float64)
        if not np.isfinite(table).all():
            raise SceneError(f"{self.path / name}.kpt: keypoints are not finite")
        return np.hstack([points2D_from_colmap(table[:, :2]), table[:, 2:]])


def raw_array(path: Path, dtype: str, width: int) -> Array:
    """Rows of ``width`` numbers of a raw file. Raises SceneError where its size is no whole number of rows."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
    row = np.dtype(dtype).itemsize * width
    if len(data) % row:
        raise SceneError(f"{path}: cut off or corrupt, {len(data)} bytes are no whole number of rows of {row} bytes")
    return np.frombuffer(data, dtype).reshape(-1, width)


def _description(path: Path, what: str) -> tuple[str, str, int, *tuple[str, ...]]:
    """Name, type and width of a row, and what else stands in the one line of a description."""
    rows = list(rows_of(path))
    if len(rows) != 1 or len(rows[0][1]) < 3:
        raise SceneError(f"{path}: expected one line name, dtype, dsize that describes the {what}, found {len(rows)} lines")
    name, dtype, width, *more = rows[0][1]
    dtype = dtype.removeprefix("<class '").removesuffix("'>").removeprefix("numpy.").removeprefix("np.")
    if dtype not in _TYPES:
        raise SceneError(f"{path}: the type {dtype!r} is not known, expected one of {', '.join(_TYPES)}")
    if not width.isdecimal() or not 0 < int(width) <= 65536:
        raise SceneError(f"{path}: {width!r} numbers a row, expected a whole number from 1 to 65536")
    return name, _TYPES[dtype], int(width), *more
