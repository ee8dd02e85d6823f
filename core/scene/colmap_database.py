"""COLMAP's databases: images, cameras, keypoints and descriptors, read with SQLite alone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Array, Camera
from core.scene.colmap import camera_from_colmap, points2D_from_colmap
from core.scene.colmap_binary import MODEL_NAMES
from core.scene.image_names import inside

COLMAP_SIFT = "colmap-sift-root"  # RootSIFT of VLFeat or SiftGPU, COLMAP's default
_EXTRACTORS = {0: COLMAP_SIFT, 1: "colmap-aliked-n16rot", 2: "colmap-aliked-n32", 3: "colmap-loma-b", 4: "colmap-loma-b128"}
_MAGIC = b"SQLite format 3\0"
_KEYPOINT_COLUMNS = (2, 4, 6)  # x y; x y scale orientation; x y and a 2 x 2 affinity


@contextlib.contextmanager
def open_database(path: str | Path) -> Iterator[ColmapDatabase]:
    """Open a database for reading only; SceneError, led by the path, for whatever is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise SceneError(f"{path}: no such database")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
        if magic != _MAGIC:
            raise SceneError(f"{path}: no SQLite database, expected a database of COLMAP")
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            yield ColmapDatabase(path, connection)
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: cut off, corrupt or no database of COLMAP ({error})") from error
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error


class ColmapDatabase:
    """An open database. Image names are unique, keypoints are ours (not COLMAP's) px."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._ids = {self._name(name): image_id for image_id, name in self._rows("SELECT image_id, name FROM images")}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def described(self) -> frozenset[str]:
        """The images that have descriptors."""
        ids = {image_id for (image_id,) in self._rows("SELECT image_id FROM descriptors WHERE rows > 0")}
        return frozenset(name for name, image_id in self._ids.items() if image_id in ids)

    @property
    def extractor(self) -> str:
        """What made the descriptors. Raises SceneError where they are of several makers or of none that is known."""
        columns = {row[1] for row in self._rows("PRAGMA table_info(descriptors)")}
        if "type" not in columns:  # before COLMAP 4 there was only SIFT
            return COLMAP_SIFT
        kinds = {row[0] for row in self._rows("SELECT DISTINCT type FROM descriptors")}
        if len(kinds) > 1 or not kinds <= set(_EXTRACTORS):
            raise SceneError(f"{self.path}: descriptors of the types {sorted(map(str, kinds))}, expected one that is known")
        return _EXTRACTORS[kinds.pop()] if kinds else COLMAP_SIFT

    def cameras(self) -> dict[str, Camera]:
        """The camera of every image by the image's name."""
        cameras = {
            row[0]: self._camera(*row) for row in self._rows("SELECT camera_id, model, width, height, params FROM cameras")
        }
        used = self._rows("SELECT name, camera_id FROM images")
        unknown = next((name for name, camera_id in used if camera_id not in cameras), None)
        if unknown is not None:
            raise SceneError(f"{self.path}: image {unknown!r} uses a camera that is not in the table of cameras")
        return {self._name(name): cameras[camera_id] for name, camera_id in used}

    def keypoints(self, name: str) -> Array:
        """Keypoints (N, 2, 4 or 6) f32 of an image, the first two columns ours px; no rows where it has none."""
        table = self._table("keypoints", name, _KEYPOINT_COLUMNS)
        if not np.isfinite(table).all():
            raise SceneError(f"{self.path}: keypoints of image {name!r} are not finite")
        return np.hstack([points2D_from_colmap(table[:, :2]), table[:, 2:]])

    def descriptors(self, name: str) -> Array:
        """Descriptors (N, D) of an image: u8 (RootSIFT x 512) of SIFT, f32 of others; no rows where it has none."""
        return self._table("descriptors", name, None, np.uint8 if self.extractor == COLMAP_SIFT else np.float32)

    def _table(self, table: str, name: str, columns: tuple[int, ...] | None, dtype: Any = np.float32) -> Array:
        if name not in self._ids:
            raise SceneError(f"{self.path}: has no image {name!r}")
        rows = self._rows(f"SELECT rows, cols, data FROM {table} WHERE image_id = ?", (self._ids[name],))
        if not rows or not rows[0][0]:
            return np.zeros((0, columns[0] if columns else 128), dtype)
        count, width, data = rows[0]
        size = np.dtype(dtype).itemsize
        if table == "descriptors" and dtype is np.float32:
            width = width // size if isinstance(width, int) else width  # COLMAP counts bytes there
        numbers = isinstance(count, int) and isinstance(width, int) and isinstance(data, bytes)
        if not numbers or width < 1 or (columns and width not in columns) or count * width * size != len(data):
            held = f"{len(data)} bytes" if isinstance(data, bytes) else "no bytes"
            raise SceneError(f"{self.path}: {table} of image {name!r} are {count} x {width} by count, but hold {held}")
        return np.frombuffer(data, dtype).reshape(count, width)

    def _camera(self, camera_id: int, model: int, width: int, height: int, params: bytes) -> Camera:
        where = f"{self.path}: camera {camera_id}"
        if model not in MODEL_NAMES:
            raise SceneError(f"{where} has the model id {model}, expected one of {', '.join(map(str, MODEL_NAMES))}")
        count = NUM_CAMERA_PARAMS[MODEL_NAMES[model]]
        sizes = isinstance(width, int) and isinstance(height, int) and isinstance(params, bytes)
        if not sizes or len(params) != 8 * count:
            raise SceneError(f"{where} has no {count} parameters, as its model {MODEL_NAMES[model]} needs")
        return camera_from_colmap(MODEL_NAMES[model], width, height, np.frombuffer(params, "<f8"), where)

    def _name(self, name: Any) -> str:
        if not isinstance(name, str) or not inside(name):
            raise SceneError(f"{self.path}: an image has the name {name!r}, expected text")
        return inside(name)

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()
