from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_toys import SIZE, toy_set

from core.engine.augmentation import (
    AugmentationConfig,
    change_appearance,
    crop_image,
    crop_labels,
    move_points,
    random_crop_matrix,
)
from core.engine.dataset import TrainingSet
from core.engine.pretraining import PretrainingConfig, class_batch
from core.errors import SceneError


def test_a_written_set_reads_back(tmp_path):
    written = toy_set(tmp_path, num_views=3)
    again = TrainingSet(tmp_path)
    assert (len(again), again.num_images, again.image_size) == (3, 6, SIZE)
    view = again.view(2)
    assert view.conditions == ("overcast", "dusk")
    assert view.name == "toy-0/002"
    assert np.array_equal(view.images, written.view(2).images)
    assert len(view.correspondences) == 1
    assert len(view.correspondences[0].points_ref) == 200


def test_an_empty_folder_is_refused_by_name(tmp_path):
    with pytest.raises(SceneError, match=f"{tmp_path}: no training shards"):
        TrainingSet(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "missing", "other shape", "no json"])
def test_a_damaged_shard_is_refused_by_name(tmp_path, damage):
    toy_set(tmp_path)
    shard = tmp_path / "toy-0"
    if damage == "cut":
        (shard / "images.npy").write_bytes((shard / "images.npy").read_bytes()[:200])
    elif damage == "missing":
        (shard / "points.npz").unlink()
    elif damage == "other shape":
        facts = json.loads((shard / "shard.json").read_text())
        (shard / "shard.json").write_text(json.dumps(facts | {"conditions": [["overcast"]]}))
    else:
        (shard / "shard.json").write_text("{")
    with pytest.raises(SceneError, match="toy-0: not a training shard"):
        TrainingSet(tmp_path)


def test_a_half_written_shard_is_not_part_of_the_set(tmp_path):
    toy_set(tmp_path)
    (tmp_path / ".toy-1.part").mkdir()
    (tmp_path / ".toy-1.part" / "images.npy").write_bytes(b"")
    assert len(TrainingSet(tmp_path).shards) == 1


def test_crops_move_points_together_with_pixels():
    """A bright dot lands where its moved coordinates say, whatever the crop."""
    random = np.random.default_rng(0)
    config = AugmentationConfig(crop=65, min_scale=0.8, max_scale=1.6, max_rotation_deg=20)
    for _ in range(20):
        dot = np.array([[random.integers(30, 60), random.integers(20, 45)]], np.float64)
        image = np.zeros((65, 89, 3), np.uint8)
        image[int(dot[0, 1]), int(dot[0, 0])] = 255
        matrix = random_crop_matrix((65, 89), config, random, dot[0])
        crop = crop_image(image, matrix, 65)[..., 0].astype(float)
        rows, columns = np.mgrid[:65, :65]
        seen = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
        assert seen == pytest.approx(move_points(dot, matrix)[0], abs=0.35)


def test_a_crop_stays_inside_an_image_that_is_large_enough():
    random = np.random.default_rng(1)
    config = AugmentationConfig(crop=65, min_scale=1.0, max_scale=2.0)
    labels = np.zeros((120, 200), np.uint8)
    for anchor in (None, np.array([0.0, 0]), np.array([199.0, 119])):
        for _ in range(15):
            matrix = random_crop_matrix((120, 200), config, random, anchor)
            assert (crop_labels(labels, matrix, 65, 255) == 255).mean() < 0.02


def test_labels_outside_a_small_image_are_void():
    matrix = random_crop_matrix((20, 30), AugmentationConfig(crop=65, min_scale=1, max_scale=1), np.random.default_rng(0), None)
    cropped = crop_labels(np.full((20, 30), 3, np.uint8), matrix, 65, 255)
    assert set(np.unique(cropped)) == {3, 255}
    assert (cropped == 3).mean() == pytest.approx(600 / 65**2, abs=0.05)


@pytest.fixture
def photographs() -> torch.Tensor:
    return torch.rand(6, 3, 33, 47, generator=torch.Generator().manual_seed(0))


def test_changed_images_keep_their_shape_and_range_and_the_originals(photographs):
    before = photographs.clone()
    changed = change_appearance(photographs, 1.0, torch.Generator().manual_seed(1))
    assert changed.shape == photographs.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - before).abs().mean() > 0.02
    assert torch.equal(photographs, before)


def test_changes_follow_the_generator_and_strength_zero_changes_nothing(photographs):
    first, second, third = (change_appearance(photographs, 1.0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(change_appearance(photographs, 0.0, torch.Generator().manual_seed(1)), photographs)


def test_class_batches_repeat_by_seed(tmp_path):
    config = PretrainingConfig(augmentation=AugmentationConfig(crop=41))
    config = replace(config, optimization=replace(config.optimization, batch_size=3))
    data = toy_set(tmp_path)
    (images, classes, *_), (again, *_), (other, *_) = (class_batch(data, config, 8, seed) for seed in (4, 4, 5))
    assert images.shape == (3, 3, 41, 41)
    assert classes.shape == (3, 41, 41)
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
