"""Matches of one image to others in an HDF5 file of hloc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.scene.hdf5 import open_h5


def read_matches(path: str | Path, name: str, others: Iterable[str]) -> Iterator[tuple[str, Array, Array]]:
    """Yield for each of ``others`` that is there: its name, keypoint indices (K, 2) i64 into ``name`` and it, and scores
    (K,) f32, 1 where the file has none.

    A pair may stand in either order, as new or old versions join the names. Raises SceneError, led by the path.
    """
    path = Path(path)
    with open_h5(path) as file:
        for other in others:
            for first, second, flip in ((name, other, False), (other, name, True)):
                group = _group(file, first, second)
                if group is not None:
                    index, scores = _pairs(group, path)
                    yield other, index[:, ::-1] if flip else index, scores
                    break


def _group(file: h5py.File, first: str, second: str) -> h5py.Group | None:
    for joint in "/_":
        group = file.get(joint.join(part.replace("/", "-") for part in (first, second)))
        if isinstance(group, h5py.Group) and "matches0" in group:
            return group
    return None


def _pairs(group: h5py.Group, path: Path) -> tuple[Array, Array]:
    stored = group["matches0"]
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 1 or stored.dtype.kind not in "iu":
        raise SceneError(f"{path}: {group.name} has no matches0 of whole numbers in one dimension")
    if stored.size and stored.nbytes > 1000 * path.stat().st_size:
        raise SceneError(f"{path}: {group.name} has {stored.size} matches by count, more than such a file can hold")
    matches = stored[()].astype(np.int64)
    matched = np.flatnonzero(matches >= 0)
    scores = np.ones(len(matches), np.float32)
    given = group.get("matching_scores0")
    if given is not None and given.shape == matches.shape:
        scores = given[()].astype(np.float32)
    return np.stack([matched, matches[matched]], axis=1), scores[matched]
