"""The crops, labels and targets that the options of cluster training choose."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_preprocessing, toy_set
from training_toys import run_config

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import fit_clusters
from core.engine.dataset import View
from core.engine.optimization import set_training_mode
from core.engine.pair_batches import centred_crop_matrix, crop_pixels, draw_pair, draw_pairs, pair_batch
from core.engine.targets import CropTargets, FrozenNetwork, make_targets, reference_features
from core.engine.training import train_clusters
from core.records import Correspondences

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)
PREPROCESSING = replace(toy_preprocessing(), short_side=65)


class TwoSizes:
    """Two photographs of one canvas, the other half as large: images of a real view need not be of one size."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        coarse = random.integers(0, 255, (7, 9, 3), dtype=np.uint8)
        reference = cv2.resize(coarse, (180, 130), interpolation=cv2.INTER_LINEAR)
        other = cv2.resize(reference, (90, 65), interpolation=cv2.INTER_AREA)
        points = np.column_stack([random.uniform(4, 175, 300), random.uniform(4, 125, 300)])
        matches = Correspondences(points, (points + 0.5) / 2 - 0.5, random.uniform(0.5, 1, 300))
        self._view = View("place", ("summer", "winter"), (reference, other), None, (matches,))

    def __len__(self) -> int:
        return 4

    def view(self, index: int) -> View:
        return self._view


def frozen_network():
    return FrozenNetwork(toy_network().eval(), PREPROCESSING)


def clusters_of(data, config):
    frozen = frozen_network()
    features = drain(reference_features(frozen, data, config, 0))[1].rows
    return frozen, drain(fit_clusters(features, config.clusters, 0))[1]


def test_centred_crops_show_the_match_in_their_middle_or_stay_in_the_image():
    matrix = centred_crop_matrix((100, 200), np.array([100.0, 50.0]), 41, 200)
    assert matrix[:, :2] == pytest.approx(2 * np.eye(2))
    assert matrix[:, :2] @ [100, 50] + matrix[:, 2] == pytest.approx([20, 20], abs=0.51)
    corner = centred_crop_matrix((100, 200), np.array([0.0, 99.0]), 41, 200)
    assert corner[:, :2] @ [-0.25, 99.25] + corner[:, 2] == pytest.approx([0, 40])
    small = centred_crop_matrix((100, 30), np.array([5.0, 5.0]), 41, 30)
    assert small[0, 2] == 0


def test_shrunk_crops_are_averaged_not_picked():
    """A checkerboard of single pixels is grey when it is halved; nearest or bilinear picks would show one colour."""
    board = (np.indices((80, 120)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    crop = crop_pixels(board, centred_crop_matrix((80, 120), np.array([60.0, 40.0]), 21, 40), 21, "shrink")
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_beyond_the_image_it_is_black_where_the_network_pads_so():
    white = np.full((20, 30, 3), 255, np.uint8)
    matrix = centred_crop_matrix((20, 30), np.array([15.0, 10.0]), 41, 20)
    assert crop_pixels(white, matrix, 41, "pad")[30:].max() == 0
    assert crop_pixels(white, matrix, 41, "shrink").min() == 255


def test_images_of_a_view_may_differ_in_size():
    """Both crops see the same place at the same scale, so their pixels agree, and so do their matches."""
    data, config = TwoSizes(), run_config(reference_fraction=None, hinge_weight=0.1)
    frozen, clusters = clusters_of(data, config)
    pairs = draw_pairs(data, replace(config, optimization=replace(config.optimization, batch_size=2)), PREPROCESSING, 1, 0)
    batch = pair_batch(pairs, CropTargets(frozen, clusters, config).place(pairs), config, PREPROCESSING, torch.Generator())
    assert len(batch.links) > 30
    ends = [batch.cells.chosen(rows) for rows in batch.links.unbind(1)]
    assert torch.equal(ends[0].label, ends[1].label)
    assert torch.equal(ends[0].weight, ends[1].weight)
    assert (ends[0].x - ends[1].x).abs().max() <= 1
    assert (batch.images[0] - batch.images[1]).abs().mean() < 0.03


def test_labels_of_a_crop_are_those_of_the_frozen_network_on_that_crop():
    data, config = TwoSizes(), run_config(reference_fraction=1.0)
    frozen, clusters = clusters_of(data, config)
    pairs = draw_pairs(data, config, PREPROCESSING, 2, 0)
    targets = CropTargets(frozen, clusters, config)
    batch = pair_batch(pairs, targets.place(pairs), config, PREPROCESSING, torch.Generator())
    expected = clusters.assign_map(frozen.features(batch.images))
    assert torch.equal(batch.labels[:, 0], expected)
    assert (batch.shares == 1).all()


def test_a_crop_of_the_whole_image_has_the_labels_of_the_whole_image():
    data = TwoSizes()
    images, points = [data.view(0).images[0][:65, :65]] * 2, np.random.default_rng(1).uniform(0, 64, (50, 2))
    data._view = View("square", ("summer", "winter"), images, None, (Correspondences(points, points, np.ones(50)),))
    config = run_config(reference_fraction=1.0, augmentation=AugmentationConfig(crop=65))
    frozen, clusters = clusters_of(data, config)
    pairs = draw_pairs(data, config, PREPROCESSING, 2, 0)
    both = []
    for labels in ("crop", "image"):
        targets = drain(make_targets(frozen, clusters, data, replace(config, labels=labels)))[1]
        both.append(pair_batch(pairs, targets.place(pairs), config, PREPROCESSING, torch.Generator()))
    assert both[0].labels.unique().numel() > 2
    assert torch.equal(both[0].labels, both[1].labels)
    assert torch.equal(both[0].cells.label, both[1].cells.label)


@pytest.mark.parametrize(("soft", "reference_is_soft"), [("other", False), ("both", True)])
def test_soft_targets_are_shares_of_the_nearest_centroids(soft, reference_is_soft):
    data, config = TwoSizes(), run_config(reference_fraction=None, soft_targets=soft, num_targets=3)
    frozen, clusters = clusters_of(data, config)
    pairs = [draw_pair(data, config, PREPROCESSING, 1, 0)]
    batch = pair_batch(pairs, CropTargets(frozen, clusters, config).place(pairs), config, PREPROCESSING, torch.Generator())
    reference = batch.is_reference[batch.cells.image]
    assert batch.cells.share.sum(1).numpy() == pytest.approx(np.ones(len(batch.cells)), abs=2e-3)
    assert bool((batch.cells.share[reference][:, 1] > 0).all()) == reference_is_soft
    assert bool((batch.shares[0, 1] > 0).all()) == reference_is_soft
    assert (batch.cells.share[~reference][:, 1] > 0).all()


@pytest.mark.parametrize(("photometric", "changed"), [("none", []), ("reference", [0]), ("other", [1]), ("both", [0, 1])])
def test_only_the_named_images_change_their_colours(photometric, changed):
    data, config = TwoSizes(), run_config(reference_fraction=None)
    frozen, clusters = clusters_of(data, config)
    pairs = [draw_pair(data, config, PREPROCESSING, 1, 0)]
    placed = CropTargets(frozen, clusters, config).place(pairs)
    plain, other = (
        pair_batch(pairs, placed, replace(config, photometric=name), PREPROCESSING, torch.Generator().manual_seed(1)).images
        for name in ("none", photometric)
    )
    assert [side for side in (0, 1) if not torch.equal(plain[side], other[side])] == changed


def test_features_are_taken_where_the_view_names_positions():
    data, config = TwoSizes(), run_config(max_features_per_image=100_000)
    view = replace(data.view(0), positions=np.array([[10.0, 10.0], [170.0, 120.0], [11.0, 11.0]]))
    data._view = view
    frozen = frozen_network()
    features = drain(reference_features(frozen, data, replace(config, max_reference_images=1), 0))[1].rows
    assert len(features) == 4  # two cells with positions, as many at random
    whole = frozen.image_features(view.images[0]).flatten(1).T
    assert (features[:, None] - whole[None]).abs().amax(2).min(1).values.max() == 0


def test_features_of_a_large_image_are_those_of_its_crops_blended():
    """Where a network cuts images into crops, cells that one crop alone covers have that crop's features."""
    preprocessing = replace(PREPROCESSING, short_side=65, crop=65, fit="pad")
    frozen = FrozenNetwork(toy_network().eval(), preprocessing)
    image = np.random.default_rng(0).integers(0, 255, (65, 105, 3), dtype=np.uint8)
    features = frozen.image_features(image)
    alone = frozen.features(torch.from_numpy(image[:, :65]).permute(2, 0, 1)[None].float() / 255)[0]
    assert features.shape == (16, 9, 14)
    assert features[:, :, 0].numpy() == pytest.approx(alone[:, :, 0].numpy(), abs=1e-4)
    assert (features[:, :, 7] - alone[:, :, 7]).abs().max() > 1e-4


def test_frozen_normalization_inside_the_convolutions_is_the_same_network():
    """Outputs and gradients of training with frozen statistics are those of BatchNorm itself in eval mode."""
    images, results = torch.rand(2, 3, 41, 57, generator=torch.Generator().manual_seed(0)), []
    for inside in (True, False):
        network = toy_network()
        generator = torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
        set_training_mode(network, run_config().optimization) if inside else network.eval()
        output = network.forward_train(images)
        (output.logits.square().mean() + output.aux_logits.square().mean()).backward()
        results.append((output.features.detach(), [parameter.grad for parameter in network.parameters()]))
    assert results[0][0].numpy() == pytest.approx(results[1][0].numpy(), abs=1e-4)
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-9


@pytest.mark.parametrize(
    "options",
    [
        {"soft_targets": "both"},
        {"hinge_weight": 0.1, "labels": "image"},
        {"reference_fraction": None, "average": "matches"},
        {"crops": "random", "photometric": "other", "pool_conditions": True},
    ],
)
def test_every_option_trains(tmp_path, options):
    steps, trained = drain(train_clusters(toy_network(), toy_set(tmp_path), PREPROCESSING, run_config(2, 0, **options), 0))
    assert np.isfinite(steps[-1].loss)
    assert trained.network.config.num_labels == 6
