"""Pure functions from records to what is painted: overlay pixels, outlines, match segments.

Painted pixels are u32 0xAARRGGBB, premultiplied (QImage.Format_ARGB32_Premultiplied). Image positions are OpenCV
pixels: the centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from core.geometry import Array

OUTLIER, INLIER, DROPPED, GUIDED = 0, 1, 2, 3  # kinds of matches
"""RANSAC never drew the dropped ones; guided ones were found again from the pose, where matching had not found them."""
ALL_KINDS = frozenset({OUTLIER, INLIER, DROPPED, GUIDED})
OVERLAY_MODES = ("fill", "outline", "off")
_HALO = np.uint32(0x8C000000)
_DIM = 0.35
_ISOLATED_TINT = 0.15
_BEHIND_MARKS = 0.5  # how dark the photograph becomes where no label is marked
_HATCH_PERIOD = 8
_HATCH_LIGHT = np.uint32(0xE0E0E0E0)
_SHADE = 0.72  # how dark the photograph becomes where an isolated label is not


def premultiplied(colors: Array, alpha: Array) -> Array:
    """Pack (K, 3) u8 colours and (K,) alpha in [0, 1] as (K,) u32."""
    a = np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint32)
    rgb = (np.asarray(colors, np.uint32) * a[:, None] + 127) // 255
    return (a << 24) | (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]


def fill_lut(
    colors: Array,
    mode: str,
    opacity: float,
    highlight: int | None = None,
    isolated: int | None = None,
    marked: Sequence[int] = (),
) -> Array:
    """What each label paints over the photograph: (K + 1,) u32; the last entry is for pixels outside of the image.

    ``colors`` (K, 3) u8. A highlighted label stands out and the others step back, as they do behind ``marked`` ones; an
    isolated one leaves its photograph clear and shades the rest.
    """
    ids = np.arange(len(colors))
    colors = np.array(colors, np.uint8)
    alpha = np.full(len(colors), opacity if mode == "fill" else 0.0)
    if len(marked) and highlight is None and isolated is None:
        others = ~np.isin(ids, marked)
        colors[others] = 0
        alpha = np.where(others, _BEHIND_MARKS, max(opacity, 0.6))
    if mode != "off" and highlight is not None:
        alpha = np.where(ids == highlight, max(opacity, 0.6) if mode == "fill" else 0.3, alpha * _DIM)
    if mode != "off" and isolated is not None:
        others = (ids != isolated) & (ids != (isolated if highlight is None else highlight))
        colors[others] = 0
        alpha[others] = _SHADE
        alpha[isolated] = min(alpha[isolated], _ISOLATED_TINT) if highlight is None else alpha[isolated]
    return np.append(premultiplied(colors, alpha), np.uint32(0))


def outline_lut(colors: Array, mode: str, highlight: int | None = None, isolated: int | None = None) -> Array:
    """The colour of each label's outline, (K + 1,) u32; all zero where no outlines are drawn."""
    num_labels = len(colors)
    alpha = np.full(num_labels, 1.0 if mode == "outline" else 0.0)
    chosen = [label for label in (highlight, isolated) if label is not None and label < num_labels]
    if mode == "outline" and chosen:
        alpha *= 0.0 if isolated is not None else _DIM
        alpha[chosen] = 1.0
    return np.append(premultiplied(colors, alpha), np.uint32(0))


def sample_labels(labels: Array, columns: Array, rows: Array, outside: int) -> Array:
    """Nearest labels (h, w) u16 at image ``columns`` (w,) and ``rows`` (h,) px (f64); ``outside`` where there is no image."""
    height, width = labels.shape
    x = np.floor(columns + 0.5).astype(np.int64)
    y = np.floor(rows + 0.5).astype(np.int64)
    in_x, in_y = (x >= 0) & (x < width), (y >= 0) & (y < height)
    sampled = labels[np.clip(y, 0, height - 1)][:, np.clip(x, 0, width - 1)]
    sampled[~in_y] = outside
    sampled[:, ~in_x] = outside
    return sampled


def paint_labels(labels: Array, lut: Array) -> Array:
    """Look every label up: (H, W) u32. Values past the table's end take its last entry."""
    return np.take(lut, labels, mode="clip")


def label_edges(labels: Array) -> tuple[Array, Array]:
    """Where labels change: ``before`` (H, W) bool on the left or upper pixel of a change, ``after`` on the other."""
    before = np.zeros(labels.shape, bool)
    after = np.zeros(labels.shape, bool)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    before[:, :-1] |= across
    before[:-1] |= down
    after[:, 1:] |= across
    after[1:] |= down
    return before, after & ~before


def paint_outlines(labels: Array, lut: Array, thickness: int = 1) -> Array:
    """Outlines of about 1.5 px in the labels' colours with a dark halo, (H, W) u32, at the size that is shown.

    ``thickness`` device pixels make one of the 1.5 px.
    """
    before, after = label_edges(labels)
    colors = paint_labels(labels, lut)
    visible = colors != 0
    before, after = _grown(before & visible, 2 * thickness - 1), _grown(after & visible, 2 * thickness - 1)
    line = before | after
    painted = np.where(_grown(line, 2 * thickness + 1), _HALO, np.uint32(0))
    painted[after] = (colors[after] >> 1 & np.uint32(0x7F7F7F7F)) + np.uint32(0x46000000)
    painted[before] = colors[before]
    painted[line & ~visible] = 0
    return painted


def paint_contour(mask: Array, thickness: int = 1) -> Array:
    """A white contour of a (H, W) bool mask with a dark halo, (H, W) u32: it marks the highlighted label."""
    inside = mask.astype(np.uint8)
    kernel = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    line = (inside - cv2.erode(inside, kernel, borderValue=1)).view(bool)
    painted = np.where(_grown(mask, 2 * thickness + 1) & ~mask, _HALO, np.uint32(0))
    painted[line] = np.uint32(0xFFFFFFFF)
    return painted


def paint_hatch(mask: Array, thickness: int = 1) -> Array:
    """Diagonal stripes, white beside black, over a (H, W) bool mask: (H, W) u32. They show on any photograph."""
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    phase = (rows + columns) // thickness % _HATCH_PERIOD
    stripes = np.where(phase < 2, _HATCH_LIGHT, np.where(phase < 4, _HALO, np.uint32(0)))
    return np.where(mask, stripes, np.uint32(0)).astype(np.uint32)


def _grown(mask: Array, size: int) -> Array:
    """Dilate a bool mask by a square of ``size`` px."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)).view(bool) if size > 1 else mask


def spread_order(points: Array, scores: Array | None, cell: float) -> Array:
    """Indices (M,) i64 in which any first part is spread over the image and has good scores.

    The best match of every ``cell`` x ``cell`` px square comes first, then every second best, and so on.
    ``points`` (M, 2) px; ``scores`` (M,) high is good, None keeps the given order.
    """
    count = len(points)
    merit = np.zeros(count) if scores is None else -np.asarray(scores, np.float64)
    squares = np.floor(np.asarray(points, np.float64) / max(cell, 1e-9)).astype(np.int64)
    square = squares[:, 0] * 1_000_003 + squares[:, 1]
    by_square = np.lexsort((np.arange(count), merit, square))
    starts = np.flatnonzero(np.diff(square[by_square], prepend=square[by_square[:1]] - 1))
    rank = np.empty(count, np.int64)
    rank[by_square] = np.arange(count) - np.repeat(starts, np.diff(np.append(starts, count)))
    return np.lexsort((np.arange(count), merit, rank))


def shown_matches(kinds: Array, order: Array, limit: int | None, shown_kinds: frozenset[int] = ALL_KINDS) -> Array:
    """Indices (S,) i64 of the matches to draw: the first of ``order``, dropped ones, then outliers, then on top what agrees.

    At most ``limit`` in all (None: no limit), what agrees (inliers, guided ones) and others in the proportion in which they
    occur.
    """
    kinds, order = np.asarray(kinds), np.asarray(order, np.int64)
    order = order[np.isin(kinds[order], list(shown_kinds))]
    agrees = np.isin(kinds[order], (INLIER, GUIDED))
    inliers, others = order[agrees], order[~agrees]
    total = len(inliers) + len(others)
    if limit is not None and total > limit:
        kept = min(len(inliers), max(round(limit * len(inliers) / total), limit - len(others)))
        inliers, others = inliers[:kept], others[: limit - kept]
    return np.concatenate([others[kinds[others] == DROPPED], others[kinds[others] != DROPPED], inliers])


def nearest_segment(starts: Array, ends: Array, position: Array, radius: float) -> int | None:
    """Index of the segment (N, 2) to (N, 2) nearest to ``position`` (2,) within ``radius`` px; end points count double."""
    if not len(starts):
        return None
    along = ends - starts
    squared = np.maximum((along**2).sum(axis=1), 1e-12)
    t = np.clip(((position - starts) * along).sum(axis=1) / squared, 0, 1)
    to_line = np.linalg.norm(starts + t[:, None] * along - position, axis=1)
    to_end = np.minimum(np.linalg.norm(starts - position, axis=1), np.linalg.norm(ends - position, axis=1))
    distance = np.minimum(to_line, to_end / 2 - 0.5)
    distance[~np.isfinite(distance)] = np.inf
    index = int(np.argmin(distance))
    return index if distance[index] <= radius else None
