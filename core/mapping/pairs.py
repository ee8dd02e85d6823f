"""Which images to match, and matching them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.geometry import Array, Camera, Rigid3d

_PREVIEW_DESCRIPTORS = 256
_SAME_WAY_COSINE = 0.5
_MIN_COSINE = 0.765  # as COLMAP: descriptors at most 0.7 rad apart


def near_pairs(poses: Sequence[Rigid3d], neighbors: int) -> list[tuple[int, int]]:
    """Pair each image with its nearest by position that look the same way (within 60 degrees)."""
    centers = np.array([pose.center() for pose in poses])
    axes = np.array([pose.R[2] for pose in poses])
    pairs = set()
    for i, (center, axis) in enumerate(zip(centers, axes)):
        distance = np.linalg.norm(centers - center, axis=1)
        distance[(axes @ axis < _SAME_WAY_COSINE) | (np.arange(len(poses)) == i)] = np.inf
        nearest = np.argsort(distance, kind="stable")[:neighbors]
        pairs.update((min(i, int(j)), max(i, int(j))) for j in nearest if np.isfinite(distance[j]))
    return sorted(pairs)


def all_pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def similar_pairs(descriptors: Sequence[Array], neighbors: int, window: int = 3) -> list[tuple[int, int]]:
    """Pair each image with those that a glance at its strongest descriptors likes best, and with its next in the list."""
    count = len(descriptors)
    previews = [d[:_PREVIEW_DESCRIPTORS] for d in descriptors]
    scores = np.zeros((count, count))
    for i, j in all_pairs(count):
        scores[i, j] = scores[j, i] = len(mutual_matches(previews[i], previews[j], ratio=0.9))
    pairs = {(i, j) for i in range(count) for j in range(i + 1, min(count, i + 1 + window))}
    for i in range(count):
        best = np.argsort(-scores[i], kind="stable")[:neighbors]
        pairs.update((min(i, int(j)), max(i, int(j))) for j in best if scores[i, j] > 0)
    return sorted(pairs)


def mutual_matches(a: Array, b: Array, ratio: float, allowed: Array | None = None) -> Array:
    """Match unit descriptors (N, D), (M, D) f32: rows (K, 2) i64 that are each other's nearest and pass the ratio test.

    The ratio is of distances, nearest over second nearest in the other image, both ways. Only the pairs where
    ``allowed`` (N, M) bool are looked at, if it is given.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a @ b.T
    if allowed is not None:
        np.copyto(similarity, -1, where=~allowed)
    forward, backward = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(backward[forward] == np.arange(len(a)))
    rows = rows[similarity[rows, forward[rows]] > _MIN_COSINE]
    columns = forward[rows]
    best = similarity[rows, columns]
    along_rows = similarity[rows]
    along_rows[np.arange(len(rows)), columns] = -1
    along_columns = similarity[:, columns]
    along_columns[rows, np.arange(len(rows))] = -1
    second = np.maximum(along_rows.max(axis=1), along_columns.max(axis=0))
    keep = (1 - best) < ratio**2 * (1 - second)  # squared distances of unit vectors are 2 - 2 cos
    return np.stack([rows[keep], columns[keep]], axis=1)


def near_epipolar_lines(
    bearings_a: Array, bearings_b: Array, b_from_a: Rigid3d, camera_a: Camera, camera_b: Camera, limit_px: float
) -> Array:
    """Tell which pairs of unit rays (N, 3), (M, 3) lie within ``limit_px`` of one epipolar plane: (N, M) bool.

    Pixels are at the focal length, and the larger distance of the two images counts. Without a baseline the distance
    is that of the rays.
    """
    limit = np.float32(2 * limit_px / (camera_a.K[0, 0] + camera_b.K[0, 0]))
    in_b = bearings_a @ b_from_a.R.T
    baseline = np.linalg.norm(b_from_a.tvec)
    if baseline < 1e-9:
        return (in_b @ bearings_b.T) > 1 - limit**2 / 2
    t = b_from_a.tvec / baseline
    normals_a, normals_b = (np.cross(t, rays).astype(np.float32) for rays in (in_b, bearings_b))
    volume = normals_a @ bearings_b.astype(np.float32).T
    np.abs(volume, out=volume)
    length_a, length_b = (np.linalg.norm(normals, axis=1) for normals in (normals_a, normals_b))
    return (volume < limit * length_a[:, None]) & (volume < limit * length_b[None])
