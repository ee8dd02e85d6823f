"""Features made elsewhere: HDF5 files of hloc, databases of COLMAP, folders of kapture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.records import FeatureFile, Features
from core.scene.colmap_database import ColmapDatabase, open_database
from core.scene.hdf5 import open_h5

H5_SUFFIXES = (".h5", ".hdf5")


class FeatureReader(Protocol):
    """An open file of features of many images; keypoints (N, 2 or more) are ours px."""

    path: Path
    extractor: str

    def __contains__(self, name: str) -> bool: ...

    def keypoints(self, name: str) -> Array: ...

    def descriptors(self, name: str) -> Array: ...


_MOST = np.float32(1e15)  # of a descriptor; its square is a number of 32 bits yet


@contextlib.contextmanager
def open_features(path: str | Path) -> Iterator[FeatureReader]:
    """Open a file or folder of features; SceneError, led by the path, for what cannot be read."""
    from core.scene.kapture_features import KaptureFeatures

    path = Path(path)
    if path.is_dir():
        yield KaptureFeatures(path)
    elif path.suffix.lower() in H5_SUFFIXES:
        with open_h5(path) as file:
            yield H5Features(path, file)
    else:
        with open_database(path) as database:
            yield DatabaseFeatures(database)


def read_features(source: FeatureFile) -> Features:
    """Read one image's features, descriptors of unit length; scales and angles are 1 px and 0 where the file has none.

    Raises SceneError, led by the path.
    """
    with open_features(source.path) as reader:
        if source.key not in reader:
            raise SceneError(f"{source.path}: has no features of {source.key!r}")
        keypoints, descriptors = reader.keypoints(source.key), reader.descriptors(source.key)
    if len(keypoints) != len(descriptors):
        raise SceneError(f"{source.path}: {source.key!r} has {len(keypoints)} keypoints and {len(descriptors)} descriptors")
    scales, angles = _shape(keypoints)
    return Features(keypoints[:, :2], scales, angles, unit_descriptors(descriptors), source.extractor)


def unit_descriptors(descriptors: Array) -> Array:
    """Descriptors (N, D) as f32 of unit length; rows of zeros stay."""
    descriptors = descriptors.astype(np.float32)
    return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-12)


def _shape(keypoints: Array) -> tuple[Array, Array]:
    """Scale in px and angle in radians (N,) of keypoints (N, 2 or more), as COLMAP stores them."""
    if keypoints.shape[1] >= 6:
        a11, a12, a21, a22 = keypoints[:, 2:6].T
        return np.sqrt(np.abs(a11 * a22 - a12 * a21)), np.arctan2(a21, a11)
    if keypoints.shape[1] >= 4:
        return keypoints[:, 2], keypoints[:, 3]
    return np.ones(len(keypoints)), np.zeros(len(keypoints))


class DatabaseFeatures:
    """Features of a COLMAP database."""

    def __init__(self, database: ColmapDatabase) -> None:
        self.path, self.extractor = database.path, database.extractor
        self.keypoints, self.descriptors = database.keypoints, database.descriptors
        self._names = database.described

    def __contains__(self, name: str) -> bool:
        return name in self._names


class H5Features:
    """Features of an HDF5 file of hloc: a group an image with keypoints (N, 2) and descriptors (D, N).

    hloc's pixels are ours: the centre of the top-left pixel is (0, 0). The extractor is the name of the file, as hloc makes
    it of its configuration.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.extractor = path, path.stem
        self._file = file

    def __contains__(self, name: str) -> bool:
        group = self._file.get(name) if name else None
        return isinstance(group, h5py.Group) and "keypoints" in group

    def keypoints(self, name: str) -> Array:
        keypoints = self._dataset(name, "keypoints")
        if keypoints.shape[1] < 2 or not np.isfinite(keypoints).all():
            raise SceneError(f"{self.path}: keypoints of {name!r} are no finite (N, 2) but of shape {keypoints.shape}")
        return keypoints

    def descriptors(self, name: str) -> Array:
        descriptors = self._dataset(name, "descriptors").T
        if not (np.abs(descriptors) < _MOST).all():
            raise SceneError(f"{self.path}: descriptors of {name!r} are not finite or huge")
        return descriptors

    def _dataset(self, name: str, part: str) -> Array:
        """Two-dimensional numbers of an image; what a count says must be in the file before it is read."""
        found = self._file[name].get(part)
        if not isinstance(found, h5py.Dataset) or found.ndim != 2 or found.dtype.kind not in "fiu":
            raise SceneError(f"{self.path}: {name!r} has no {part} of two dimensions")
        if found.external or found.file.id != self._file.id:
            raise SceneError(f"{self.path}: {part} of {name!r} lie in another file, expected them in this one")
        stored = found.id.get_storage_size()
        if found.size and (not stored or found.is_virtual or (found.compression is None and stored < found.nbytes)):
            raise SceneError(f"{self.path}: {part} of {name!r} are {found.shape} by count, but hold {stored} bytes")
        if found.nbytes > 1000 * max(1, self.path.stat().st_size):
            raise SceneError(f"{self.path}: {part} of {name!r} are {found.shape} by count, more than such a file can hold")
        return found[()].astype(np.float16 if found.dtype == np.float16 else np.float32)
