from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_preprocessing, toy_set
from torch.nn import functional as F

from core.engine.augmentation import AugmentationConfig, move_points
from core.engine.contrast import (
    NEAR_PX,
    NO_POINT,
    NUM_POINTS,
    common_points,
    contrast_loss,
    mirrored,
    paired_crop_matrices,
    sampled,
)
from core.engine.optimization import OptimizationConfig
from core.engine.pretraining import PretrainingConfig, class_batch, pretrain
from core.errors import InputError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)

CROP = AugmentationConfig(crop=41, min_scale=0.9, max_scale=1.1, strength=0.0)


def plain_contrast(first, second, points, temperature):
    """The loss of one pair, point by point: first, second (M, D), points (2, M, 2)."""
    total = 0.0
    for a, b in ((first, second), (second, first)):
        for i in range(len(a)):
            rivals = [
                j
                for j in range(len(a))
                if j == i or all(np.linalg.norm(points[s, i] - points[s, j]) >= NEAR_PX for s in (0, 1))
            ]
            scores = np.array([a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j]) for j in rivals]) / temperature
            total -= scores[rivals.index(i)] - np.log(np.exp(scores).sum())
    return total / (2 * len(first))


def test_contrast_loss_equals_its_equation_point_by_point():
    random = np.random.default_rng(0)
    vectors = torch.from_numpy(random.normal(size=(2, 5, 4, 4)).astype(np.float32))
    points = np.full((1, 2, NUM_POINTS, 2), NO_POINT, np.float32)
    points[0, :, :7] = random.uniform(0, 96, (2, 7, 2))
    at = [sampled(vectors[i : i + 1], torch.from_numpy(points[:, i, :7]), 97)[0].double().numpy() for i in (0, 1)]
    expected = plain_contrast(*at, points[0, :, :7].astype(float), 0.2)
    assert float(contrast_loss(vectors, torch.from_numpy(points), 97, 0.2)) == pytest.approx(expected, rel=1e-4)


def test_contrast_is_small_where_vectors_tell_points_apart_and_chance_where_they_do_not():
    points = torch.full((1, 2, NUM_POINTS, 2), NO_POINT)
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij"), -1).reshape(25, 2) * 24
    points[0, :, :25] = grid.flip(-1)
    apart = torch.eye(25).reshape(25, 5, 5).expand(2, -1, -1, -1)
    assert float(contrast_loss(apart, points, 97, 0.1)) < 0.01
    assert float(contrast_loss(torch.ones(2, 3, 5, 5), points, 97, 0.1)) == pytest.approx(np.log(25), rel=1e-5)


def test_no_points_are_no_loss_and_no_nan():
    vectors = torch.zeros(4, 3, 5, 5, requires_grad=True)
    loss = contrast_loss(vectors, torch.full((2, 2, NUM_POINTS, 2), NO_POINT), 97, 0.1)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.isfinite(vectors.grad).all()


def test_values_are_sampled_where_points_lie():
    x, y = np.meshgrid(np.arange(0, 33, 8.0), np.arange(0, 33, 8.0))
    maps = torch.from_numpy(np.stack([x, y])[None].astype(np.float32))
    points = torch.tensor([[[0.0, 0.0], [32.0, 0.0], [13.0, 21.0]]])
    assert torch.allclose(sampled(maps, points, 33), points, atol=1e-5)


def test_pairs_show_one_place_and_are_mirrored_together():
    random = np.random.default_rng(3)
    points = random.uniform(0, 60, (50, 2))
    for _ in range(20):
        matrices = paired_crop_matrices([(65, 89), (65, 89)], (points, points + 3), replace(CROP, crop=33), random)
        assert len({np.linalg.det(matrix[:, :2]) < 0 for matrix in matrices}) == 1
        found = common_points((points, points + 3), matrices, 33, random)
        known = (found != NO_POINT).all(-1).all(0)
        assert known.any()
        assert ((found[:, known] >= 0) & (found[:, known] <= 32)).all()
        original = [(p - m[:, 2]) @ np.linalg.inv(m[:, :2]).T for p, m in zip(found[:, known], matrices, strict=True)]
        assert np.allclose(original[1] - original[0], 3, atol=1e-3)


def test_a_mirrored_crop_exchanges_left_and_right():
    matrix = np.array([[1.0, 0.2, 3.0], [0.1, 0.9, -2.0]])
    point = np.array([[11.0, 7.0]])
    (x, y), (turned_x, turned_y) = move_points(point, matrix)[0], move_points(point, mirrored(matrix, 41))[0]
    assert (turned_x, turned_y) == pytest.approx((40 - x, y))


def test_pretraining_learns_to_find_points_again_and_leaves_the_plain_network(tmp_path):
    data = toy_set(tmp_path / "set", num_views=4)
    schedule = OptimizationConfig(iterations=40, batch_size=4, learning_rate=1e-2, warmup=2)
    config = PretrainingConfig(optimization=schedule, augmentation=CROP, contrast_weight=0.5)
    records, network = drain(pretrain(toy_network(), data, toy_preprocessing(), config, seed=1))
    first, last = (np.mean([record.parts["contrast"] for record in part]) for part in (records[:5], records[-5:]))
    assert last < 0.9 * first
    assert set(network.state_dict()) == set(toy_network().state_dict())


def test_paired_batches_repeat_by_seed_and_hold_both_ends(tmp_path):
    data = toy_set(tmp_path / "set")
    config = PretrainingConfig(augmentation=CROP, contrast_weight=0.5)
    one, again, other = (class_batch(data, config, 8, seed) for seed in (4, 4, 5))
    assert one.points.shape == (config.optimization.batch_size // 2, 2, NUM_POINTS, 2)
    assert torch.equal(one.points, again.points)
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.points, other.points)
    # both crops show the same canvas: the classes at the two ends of a match are the same but at borders of blocks
    agree = []
    for pair, ends in enumerate(one.points):
        known = (ends != NO_POINT).all(-1).all(0)
        at = [one.classes[2 * pair + i][tuple(ends[i, known].round().long().flip(-1).T)] for i in (0, 1)]
        agree.append((at[0] == at[1]).float().mean())
    assert float(torch.stack(agree).mean()) > 0.85


def test_a_view_of_one_condition_is_refused_by_name(tmp_path):
    data = toy_set(tmp_path / "set")
    shard = data.shards[0]
    data._places = [(replace(shard, conditions=shard.conditions[:, :1]), 0)]
    with pytest.raises(InputError, match="toy-0/000 has one condition only"):
        class_batch(data, PretrainingConfig(augmentation=CROP, contrast_weight=0.5), 8, 0)


def test_unknown_surfaces_are_refused():
    with pytest.raises(InputError, match=r"colour.*expected some of material"):
        PretrainingConfig(surface_names=("material", "colour"))


def test_vectors_are_compared_by_direction_only():
    points = torch.full((1, 2, NUM_POINTS, 2), NO_POINT)
    points[0, :, :2] = torch.tensor([[0.0, 0.0], [96.0, 96.0]])
    vectors = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    lengths = 1 + torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    at = F.normalize(vectors, dim=1)
    assert float(contrast_loss(vectors * lengths, points, 97, 0.1)) == pytest.approx(
        float(contrast_loss(at, points, 97, 0.1)), abs=1e-5
    )
