"""Crops and their exact blending."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from benchmarks.plain_segmentation import plain_starts, plain_weights
from core.engine import tiling
from core.engine.tiling import Axis, blend_matrix, classify_tiles, crop_axis, crop_weights, nearest_positions, resized_size
from core.engine.weights import Preprocessing

OFFICIAL = Preprocessing()


def test_a_1024_by_768_photograph_has_the_six_official_crops():
    assert resized_size(768, 1024, OFFICIAL) == (1024, 1365)
    assert crop_axis(1365, OFFICIAL) == Axis(1365, 713, (0, 326, 652), 90)
    assert crop_axis(1024, OFFICIAL) == Axis(1024, 713, (0, 311), 90)


@pytest.mark.parametrize("length", [1, 712, 713, 714, 1024, 1189, 1190, 2000, 4096])
def test_crops_cover_the_axis_and_start_where_the_definition_says(length):
    axis = crop_axis(length, OFFICIAL)
    assert list(axis.starts) == plain_starts(length, 713)
    covered = np.zeros(axis.padded, bool)
    for start in axis.starts:
        covered[start : start + axis.crop] = True
    assert covered.all()
    assert axis.padded == max(length, 713)


@pytest.mark.parametrize(
    ("length", "crop"), [(1, 65), (65, 65), (66, 73), (1024, 1025), (1365, 1369), (1409, 1409), (2000, 1409)]
)
def test_crops_that_may_shrink_are_whole_strides_and_one_pixel(length, crop):
    axis = crop_axis(length, Preprocessing(crop=1409, fit="shrink"))
    assert axis.crop == crop
    assert axis.crop == (axis.cells - 1) * 8 + 1


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1024, 1024), (1024, 1024)),
        ((1, 1), (1024, 1024)),
        ((9000, 12000), (1024, 1365)),
        ((20, 5000), (16, 4096)),
        ((3000, 2), (4096, 2)),
    ],
)
def test_short_side_is_fixed_and_long_side_bounded(size, seen):
    assert resized_size(*size, OFFICIAL) == seen


def test_crop_weights_are_the_products_of_the_official_ramps():
    along = crop_weights(713, 238)
    np.testing.assert_allclose(np.outer(along, along), plain_weights(713), rtol=1e-5)
    assert along[0] == 1 / 238
    assert along[237] == 1
    assert (crop_weights(5, 238) > 0).all()


@pytest.mark.parametrize(("source", "target"), [(1024, 480), (1365, 640), (1024, 9000), (1, 7), (7, 1), (713, 713)])
def test_nearest_positions_hold_the_centre_of_every_target_pixel(source, target):
    positions, use = nearest_positions(source, target)
    centres = (np.arange(target) + 0.5) * source / target
    assert np.abs(positions[use] + 0.5 - centres).max() <= 0.5 + 1e-9
    assert len(use) == target
    assert (np.diff(positions) > 0).all()


def blend_plainly(crops: torch.Tensor, y: Axis, x: Axis, ramp: int) -> torch.Tensor:
    """Upsample, weight and add whole crops (ny, nx, K, cells, cells), as the definition says."""
    total, weight = torch.zeros(crops.shape[2], y.padded, x.padded), torch.zeros(y.padded, x.padded)
    mask = torch.from_numpy(np.outer(crop_weights(y.crop, ramp), crop_weights(x.crop, ramp))).float()
    for iy, top in enumerate(y.starts):
        for ix, left in enumerate(x.starts):
            logits = F.interpolate(crops[iy, ix][None], (y.crop, x.crop), mode="bilinear", align_corners=True)[0]
            total[:, top : top + y.crop, left : left + x.crop] += mask * logits
            weight[top : top + y.crop, left : left + x.crop] += mask
    return (total / weight)[:, : y.length, : x.length]


@pytest.mark.parametrize("tile_bytes", [4 << 20, 2000])
@pytest.mark.parametrize(("height", "width"), [(97, 97), (130, 210), (60, 301), (1, 97)])
def test_blending_in_tiles_equals_blending_whole_crops(monkeypatch, tile_bytes, height, width):
    monkeypatch.setattr(tiling, "TILE_BYTES", tile_bytes)
    preprocessing = Preprocessing(crop=97)
    y, x = crop_axis(height, preprocessing), crop_axis(width, preprocessing)
    crops = torch.randn(len(y.starts), len(x.starts), 6, y.cells, x.cells, generator=torch.Generator().manual_seed(0))
    expected = blend_plainly(crops, y, x, preprocessing.ramp)
    side_by_side = crops.permute(0, 3, 2, 1, 4).reshape(len(y.starts) * y.cells, 6, -1)
    rows, columns = (blend_matrix(axis, np.arange(axis.length), preprocessing.ramp) for axis in (y, x))
    labels, confidence = torch.empty(height, width, dtype=torch.int64), torch.empty(height, width)
    for band, span, best, share in classify_tiles(side_by_side, rows, columns):
        labels[band, span], confidence[band, span] = best, share
    assert (labels == expected.argmax(0)).float().mean() > 0.999
    torch.testing.assert_close(confidence, expected.softmax(0).amax(0), rtol=1e-4, atol=1e-5)


def test_blend_weights_sum_to_one_and_pick_single_cells_on_their_pixels():
    axis = crop_axis(97, Preprocessing(crop=97))
    matrix = blend_matrix(axis, np.arange(97), 32)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix[::8], np.eye(13), atol=1e-6)


def test_smoothing_is_a_gaussian_whose_border_cells_go_on_outside():
    logits = np.random.default_rng(3).normal(size=(2, 3, 11, 17)).astype(np.float32)
    expected = gaussian_filter(logits, (0, 0, 1.5, 1.5), mode="nearest", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(tiling.smoothed(torch.from_numpy(logits), 1.5).numpy(), expected, atol=1e-5)


def test_no_smoothing_leaves_logits_as_they_are():
    logits = torch.randn(1, 2, 5, 6)
    assert tiling.smoothed(logits, 0.0) is logits
