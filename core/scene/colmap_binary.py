"""COLMAP's binary files, read without pycolmap: it hangs on a cut-off points3D.bin and accepts a cut-off cameras.bin."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Array, Camera
from core.scene.colmap import ColmapImage, ColmapModel, camera_from_colmap, points2D_from_colmap, pose_from_colmap

MODEL_NAMES = {
    0: "SIMPLE_PINHOLE",
    1: "PINHOLE",
    2: "SIMPLE_RADIAL",
    3: "RADIAL",
    4: "OPENCV",
    5: "OPENCV_FISHEYE",
    6: "FULL_OPENCV",
    7: "FOV",
    8: "SIMPLE_RADIAL_FISHEYE",
    9: "RADIAL_FISHEYE",
    10: "THIN_PRISM_FISHEYE",
    11: "RAD_TAN_THIN_PRISM_FISHEYE",
    12: "SIMPLE_DIVISION",
    13: "DIVISION",
    14: "SIMPLE_FISHEYE",
    15: "FISHEYE",
    16: "EUCM",
    17: "EQUIRECTANGULAR",
}
_NO_POINT = np.uint64(2**64 - 1)
_POINT2D = np.dtype([("xy", "<f8", 2), ("point3D", "<u8")])
_POINT3D = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track_length", "<u8")])
_TRACK_ELEMENT_BYTES = 8
_POINTS_AT_ONCE = 100_000


class _Bytes:
    """A file's bytes and a place in them; running out is a SceneError that names the file and the record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise SceneError(f"{path}: cannot be read ({error.strerror or error})") from error
        self.at = 0
        self.record = "the header"

    def take(self, num_bytes: int) -> int:
        """Move on; return where the bytes start."""
        start = self.at
        if start + num_bytes > len(self.data):
            raise SceneError(f"{self.path}: cut off or corrupt, it ends after {len(self.data)} bytes inside {self.record}")
        self.at = start + num_bytes
        return start

    def unpack(self, layout: str) -> tuple[Any, ...]:
        layout = "<" + layout
        return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout)))

    def array(self, dtype: np.dtype, count: int) -> Array:
        return np.frombuffer(self.data, dtype, count, self.take(count * dtype.itemsize))

    def name(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            self.take(len(self.data) + 1)
        text = self.data[self.at : end]
        self.at = end + 1
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SceneError(f"{self.path}: corrupt, the name in {self.record} is not UTF-8") from error

    def finish(self, count: int, what: str) -> None:
        extra = len(self.data) - self.at
        if extra:
            raise SceneError(f"{self.path}: corrupt, {extra} bytes follow the {count} {what} that the header counts")


def read_binary_images(path: Path) -> dict[int, ColmapImage]:
    """Read images.bin alone."""
    return _read_images(_Bytes(path / "images.bin"))


def read_binary_model(path: Path) -> ColmapModel:
    """Read cameras.bin, images.bin and points3D.bin; every length is checked against the file's size."""
    cameras = _read_cameras(_Bytes(path / "cameras.bin"))
    images = read_binary_images(path)
    return ColmapModel(cameras, images, *_read_points(_Bytes(path / "points3D.bin")))


def _read_cameras(file: _Bytes) -> dict[int, Camera]:
    cameras = {}
    (count,) = file.unpack("Q")
    for k in range(count):
        file.record = f"camera {k + 1} of {count}"
        camera_id, model_id, width, height = file.unpack("IiQQ")
        model = MODEL_NAMES.get(model_id)
        if model is None:
            known = ", ".join(f"{i} {name}" for i, name in MODEL_NAMES.items())
            raise SceneError(f"{file.path}: {file.record} has the model id {model_id}, expected one of {known}")
        params = np.array(file.unpack(f"{NUM_CAMERA_PARAMS[model]}d"))
        cameras[camera_id] = camera_from_colmap(model, width, height, params, f"{file.path}: {file.record}")
    file.finish(count, "cameras")
    return cameras


def _read_images(file: _Bytes) -> dict[int, ColmapImage]:
    images = {}
    (count,) = file.unpack("Q")
    for k in range(count):
        file.record = f"image {k + 1} of {count}"
        image_id, *pose, camera_id = file.unpack("I7dI")
        name = file.name()
        (num_points,) = file.unpack("Q")
        points = file.array(_POINT2D, num_points)
        ids = np.where(points["point3D"] == _NO_POINT, np.uint64(0), points["point3D"]).astype(np.int64)
        ids[points["point3D"] == _NO_POINT] = -1
        cam_from_world = pose_from_colmap(pose, f"{file.path}: {file.record}")
        images[image_id] = ColmapImage(name, camera_id, cam_from_world, points2D_from_colmap(points["xy"]), ids)
    file.finish(count, "images")
    return images


def _read_points(file: _Bytes) -> tuple[Array, Array, Array]:
    """Return ids (P,) rising, xyz (P, 3) and rgb (P, 3)."""
    (count,) = file.unpack("Q")
    starts = []
    for k in range(count):
        file.record = f"point {k + 1} of {count}"
        start = file.take(_POINT3D.itemsize)
        starts.append(start)
        (track_length,) = struct.unpack_from("<Q", file.data, start + _POINT3D.fields["track_length"][1])
        file.take(track_length * _TRACK_ELEMENT_BYTES)
    file.finish(count, "points")
    points = _gathered(file.data, starts)
    if not np.isfinite(points["xyz"]).all():
        raise SceneError(f"{file.path}: corrupt, point {points['id'][~np.isfinite(points['xyz']).all(1)][0]} is not finite")
    ids = points["id"].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    if (np.diff(ids[order]) == 0).any():
        raise SceneError(f"{file.path}: corrupt, a point id occurs more than once")
    return ids[order], points["xyz"][order], points["rgb"][order]


def _gathered(data: bytes, starts: list[int]) -> Array:
    """The heads of the points, which lie apart, a part at a time: all their bytes at once would need much memory."""
    points, content = np.zeros(len(starts), _POINT3D), np.frombuffer(data, np.uint8)
    for begin in range(0, len(starts), _POINTS_AT_ONCE):
        part = np.asarray(starts[begin : begin + _POINTS_AT_ONCE], np.int64)
        window = part[:, None] + np.arange(_POINT3D.itemsize)
        points[begin : begin + len(part)] = content[window].view(_POINT3D).reshape(-1)
    return points
