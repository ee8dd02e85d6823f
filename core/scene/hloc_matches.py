"""Matches between two images in an HDF5 file of hloc."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.scene.feature_files import open_h5


def read_matches(path: str | Path, name: str, other: str) -> tuple[Array, Array]:
    """Read keypoint indices (K, 2) i64 into ``name`` and ``other``, and scores (K,) f32, 1 where the file has none.

    The pair may stand in either order, as new or old versions join the names. Raises SceneError, led by the path.
    """
    path = Path(path)
    with open_h5(path) as file:
        for first, second, flip in ((name, other, False), (other, name, True)):
            for joint in "/_":
                group = file.get(joint.join(part.replace("/", "-") for part in (first, second)))
                if isinstance(group, h5py.Group) and "matches0" in group:
                    index, scores = _pairs(group, path)
                    return index[:, ::-1] if flip else index, scores
    raise SceneError(f"{path}: has no matches of {name!r} and {other!r}")


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
