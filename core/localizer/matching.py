"""Nearest-neighbour matching of descriptors: image to image, and image to map."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.localizer.features import dequantize_descriptors
from core.records import Features, Matches2D3D, Progress, SceneMap, setting
from core.steps import finish

if TYPE_CHECKING:
    import torch

MATCHES = ("given", "nearest")
_QUERY_CHUNK = 1024
_MAP_CHUNK = 16_384  # one block of similarities is 64 MB, whatever the size of the map


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    ratio: float = setting(
        0.9, minimum=0.1, maximum=1.0, help="nearest distance over that to the nearest of another point; lower is stricter"
    )
    one_to_one: bool = setting(True, help="match each map point or reference keypoint at most once")
    source: str = setting("given", help="matches that came with a query (of hloc), where it has any, or always the nearest")


def match_features(a: Features, b: Features, config: MatchConfig = MatchConfig()) -> tuple[Array, Array, Array]:
    """Match two images: indices (M,) i64 into ``a`` and ``b``, and scores (M,) f32 = 1 - ratio; ordered by index into ``a``.

    With ``one_to_one`` both have to be each other's nearest neighbour. Raises InputError for different extractors.
    """
    require_same_extractor(a.extractor, b.extractor)
    _require_finite(a)
    _require_finite(b)
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    points = np.arange(len(b))
    best, first, second = finish(_nearest_two(a.descriptors, b.descriptors, points))
    scores = _ratio_scores(first, second)
    keep = scores > 1 - config.ratio
    if config.one_to_one:
        back = finish(_nearest_two(b.descriptors, a.descriptors, np.arange(len(a))))[0]
        keep &= back[best] == np.arange(len(a))
    index = np.flatnonzero(keep)
    return index, best[index], scores[index]


def match_to_map(
    features: Features, scene_map: SceneMap, config: MatchConfig = MatchConfig(), candidates: Array | None = None
) -> Matches2D3D:
    """Match an image to all descriptors of the map; the two nearest compared belong to different 3D points (PAPER 3.2).

    Each keypoint gives at most one match; memory does not grow with the map. ``candidates`` (P,) bool limits the search
    to some of the points, as retrieval or a prior gives them. A map with a single point is compared with an unrelated
    descriptor. Raises InputError when the map has no descriptors, other ones, or values are not finite.
    """
    return finish(match_to_map_steps(features, scene_map, config, candidates))


def match_to_map_steps(
    features: Features,
    scene_map: SceneMap,
    config: MatchConfig = MatchConfig(),
    candidates: Array | None = None,
    device: str = "cpu",
) -> Generator[Progress, None, Matches2D3D]:
    """``match_to_map`` as a long task, on a device: yields Progress, returns the matches."""
    require_matchable(features.extractor, scene_map)
    _require_finite(features)
    rows = _rows(scene_map, candidates)
    points = scene_map.observations.point[rows]
    if not len(features) or not len(points):
        return matches_at(features, scene_map, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    descriptors = _Rows(scene_map.observations.descriptors, rows)
    best, first, second = yield from _nearest_two(features.descriptors, descriptors, points, device)
    scores = _ratio_scores(first, second)
    keypoint = np.flatnonzero(scores > 1 - config.ratio)
    if config.one_to_one:
        keypoint = best_of_each(points[best[keypoint]], scores[keypoint], keypoint)
    chosen = best[keypoint]
    observation = chosen if isinstance(rows, slice) else rows[chosen]
    return matches_at(features, scene_map, keypoint, observation, scores[keypoint])


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Some rows of a large array in some order, copied only block by block."""

    values: Array
    rows: Array | slice

    def __getitem__(self, part: slice) -> Array:
        return self.values[part] if isinstance(self.rows, slice) else self.values[self.rows[part]]


def _rows(scene_map: SceneMap, candidates: Array | None) -> Array | slice:
    """The observations to search, ordered by point: all as they are where that is already so."""
    point = scene_map.observations.point
    if candidates is not None and candidates.shape != (len(scene_map.points3D),):
        raise ValueError(f"candidates have shape {candidates.shape}, expected ({len(scene_map.points3D)},)")
    in_order = not np.any(np.diff(point) < 0)
    if candidates is None and in_order:
        return slice(None)
    rows = np.arange(len(point)) if candidates is None else np.flatnonzero(candidates[point])
    return rows if in_order else rows[np.argsort(point[rows], kind="stable")]


def require_matchable(extractor: str, scene_map: SceneMap) -> None:
    """Raise InputError unless the map has descriptors that were made by ``extractor``."""
    if scene_map.observations.descriptors is None:
        raise InputError("the map has no descriptors, so nothing can be matched to it; build it again from its images")
    require_same_extractor(extractor, scene_map.extractor)


def require_same_extractor(query: str, reference: str) -> None:
    """Raise InputError when descriptors are not comparable: implementations of SIFT do not match each other."""
    if query != reference:
        raise InputError(f"descriptors of {query!r} cannot be matched to those of {reference!r}; use one extractor for both")


def _require_finite(features: Features) -> None:
    bad = int((~np.isfinite(features.descriptors).all(axis=1)).sum())
    if bad:
        raise InputError(f"{bad} of {len(features)} descriptors are not finite; extract the features again")


def _nearest_two(
    queries: Array, references: Array | _Rows, points: Array, device: str = "cpu"
) -> Generator[Progress, None, tuple[Array, Array, Array]]:
    """Find the nearest reference row of each query, and how near the nearest of any other point is.

    ``references`` (T, D) unit f32, f16 or u8 (dequantised block by block), ``points`` (T,) non-decreasing ids.
    Returns the row (Q,) i64, its similarity and the other point's (Q,) f32; 0 where there is no other point.
    """
    best = np.zeros(len(queries), np.int64)
    first = np.full(len(queries), -np.inf, np.float32)
    second = np.zeros(len(queries), np.float32)
    for begin, end in _blocks(points):
        yield Progress("Matching to the map", begin / len(points))
        block = references[begin:end]
        block = dequantize_descriptors(block) if block.dtype != np.float32 else block
        for start in range(0, len(queries), _QUERY_CHUNK):
            part = slice(start, start + _QUERY_CHUNK)
            row, one, two = _compared(queries[part], block, points[begin:end], device)
            # Blocks do not share points, so the loser of the two bests is a best of another point.
            second[part] = np.maximum(np.maximum(second[part], two), np.minimum(first[part], one))
            better = one > first[part]
            best[part][better] = begin + row[better]
            first[part] = np.maximum(first[part], one)
    return best, first, second


def _compared(queries: Array, block: Array, points: Array, device: str) -> tuple[Array, Array, Array]:
    """Compare queries (Q, 128) with one block (B, 128) of references, by numpy or on another device by torch."""
    if device == "cpu":
        return _block_two(queries @ block.T, points)
    import torch

    tensors = (torch.as_tensor(np.array(values), device=device) for values in (queries, block, points))
    row, one, two = _block_two_torch(*tensors)
    return row.cpu().numpy(), one.cpu().numpy(), two.cpu().numpy()


def _block_two_torch(
    queries: torch.Tensor, block: torch.Tensor, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As ``_block_two``, from (Q, 128) and (B, 128) tensors on one device."""
    similarity = queries @ block.T
    one, row = similarity.max(dim=1)
    similarity.masked_fill_(points[None] == points[row][:, None], -float("inf"))
    return row, one, similarity.amax(dim=1)


def _blocks(points: Array) -> Iterator[tuple[int, int]]:
    """Cut the rows into blocks of about ``_MAP_CHUNK`` that never divide a point."""
    begin = 0
    while begin < len(points):
        last = points[min(begin + _MAP_CHUNK, len(points)) - 1]
        end = int(np.searchsorted(points, last, side="right"))
        yield begin, end
        begin = end


def _block_two(similarity: Array, points: Array) -> tuple[Array, Array, Array]:
    """Nearest row, its similarity, and that of the nearest other point (-inf if none); overwrites ``similarity`` (Q, B)."""
    row = similarity.argmax(axis=1)
    rows = np.arange(len(similarity))
    one = similarity[rows, row]
    begin = np.searchsorted(points, points[row], side="left")
    length = np.searchsorted(points, points[row], side="right") - begin
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    similarity[np.repeat(rows, length), np.repeat(begin, length) + step] = -np.inf
    return row, one, similarity.max(axis=1)


def _ratio_scores(first: Array, second: Array) -> Array:
    """1 - d1 / d2 of unit descriptors with similarities ``first`` >= ``second``; 0 where both are exact copies."""
    near, far = (np.sqrt(np.maximum(2 - 2 * similarity.astype(np.float64), 0)) for similarity in (first, second))
    return (1 - np.divide(near, far, out=np.ones_like(near), where=far > 0)).astype(np.float32)


def best_of_each(points: Array, scores: Array, keypoint: Array) -> Array:
    """Keep for each point the keypoint with the highest score (the first of equals), in order of keypoint."""
    order = np.lexsort((keypoint, -scores, points))
    _, first = np.unique(points[order], return_index=True)
    return np.sort(keypoint[order[first]])


def matches_at(features: Features, scene_map: SceneMap, keypoint: Array, observation: Array, scores: Array) -> Matches2D3D:
    """The matches of keypoints (M,) to observations (M,) of the map, with scores (M,)."""
    observations = scene_map.observations
    return Matches2D3D(
        points2D=features.keypoints[keypoint],
        point_ids=observations.point[observation],
        scores=scores,
        reference_image=observations.image[observation],
        points2D_ref=observations.points2D[observation],
        keypoint=keypoint,
    )
