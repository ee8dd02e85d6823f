from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_toys import SIZE, drain, on_one_thread, toy_network, toy_preprocessing, toy_set

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig
from core.engine.consistency import consistency_at_points
from core.engine.fgsn_config import FGSNConfig
from core.engine.optimization import (
    OptimizationConfig,
    Stepper,
    StepRecord,
    TrainingError,
    build_optimizer,
    head_factor,
    optimise,
    scheduled_rate,
)
from core.engine.pair_batches import TargetMap, draw_pairs, pair_batch
from core.engine.pretraining import PretrainingConfig, pretrain
from core.engine.targets import FrozenNetwork, ImageTargets, reference_features
from core.engine.training import train_clusters
from core.errors import InputError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)
CROP = AugmentationConfig(crop=41, min_scale=0.9, max_scale=1.2, max_rotation_deg=2, strength=0.3)


def optimization(iterations, **changes):
    return OptimizationConfig(iterations=iterations, batch_size=4, learning_rate=1e-2, warmup=3, snapshot_every=2, **changes)


def fgsn_config(iterations=4, **changes):
    settings = {"optimization": optimization(iterations, head_factor=5.0), "augmentation": replace(CROP, flip=False)}
    clusters = ClusterConfig(num_clusters=6, num_iterations=5, init="k-means++")
    fixed = {"crops": "random", "photometric": "both", "labels": "image", "label_scale": 1.5, "recluster_every": 0}
    return FGSNConfig(**(settings | fixed | {"clusters": clusters, "max_features_per_image": 40} | changes))


def hard_map(labels):
    labels = np.asarray(labels, np.uint16)[..., None]
    return TargetMap(labels, np.ones(labels.shape, np.float16))


def batch_of(data, labels, config, seed):
    """The first pass of a run whose reference images all have this label map."""
    pairs = draw_pairs(data, config, toy_preprocessing(), seed, 0)
    placed = ImageTargets([hard_map(labels)] * len(data)).place(pairs)
    return pair_batch(pairs, placed, config, toy_preprocessing(), torch.Generator().manual_seed(seed))


@pytest.fixture
def data(tmp_path):
    return toy_set(tmp_path / "set")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A toy network after a hundred steps on the classes, and what the steps reported."""
    config = PretrainingConfig(optimization=optimization(100), augmentation=CROP, upsample=1)
    data = toy_set(tmp_path_factory.mktemp("set"))
    return drain(pretrain(toy_network(), data, toy_preprocessing(), config, seed=1))


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_pretraining_learns_the_classes_of_the_toy_world(pretrained):
    records, network = pretrained
    losses = [record.loss for record in records]
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:5])
    assert not network.training
    assert all(isinstance(record, StepRecord) for record in records)
    assert records[-1].fraction == 1
    assert records[-1].seconds_left == 0
    assert records[-1].images_per_second > 0


def test_pretraining_repeats_by_seed(data):
    config = PretrainingConfig(optimization=optimization(3), augmentation=CROP)
    first, second, other = (
        drain(pretrain(toy_network(), data, toy_preprocessing(), config, seed=seed))[1] for seed in (2, 2, 3)
    )
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_both_stages_run_in_bf16(data):
    """The images' colours are changed in f32 all the same, so both formats see the same crops and nearly the same loss."""
    losses = {}
    for precision in ("fp32", "bf16"):
        config = PretrainingConfig(optimization=optimization(1, precision=precision), augmentation=replace(CROP, strength=1.0))
        records, network = drain(pretrain(toy_network(), data, toy_preprocessing(), config, seed=2))
        steps, _ = drain(
            train_clusters(network, data, toy_preprocessing(), fgsn_config(optimization=config.optimization), seed=2)
        )
        losses[precision] = [records[0].loss, steps[-1].loss]
    assert losses["bf16"][0] == pytest.approx(losses["fp32"][0], rel=0.02)
    assert np.isfinite(losses["bf16"]).all()


def test_a_resumed_run_ends_where_an_unbroken_one_does(data, tmp_path):
    config = PretrainingConfig(optimization=optimization(5), augmentation=CROP)
    snapshot = tmp_path / "run" / "snapshot.pt"
    broken = pretrain(toy_network(), data, toy_preprocessing(), config, 2, snapshot)
    for _ in range(3):
        next(broken)
    broken.close()
    rest, resumed = drain(pretrain(toy_network(), data, toy_preprocessing(), config, 2, snapshot))
    _, unbroken = drain(pretrain(toy_network(), data, toy_preprocessing(), config, 2))
    assert [record.step for record in rest] == [3, 4]
    assert same_weights(resumed, unbroken)


def test_a_snapshot_of_other_settings_is_refused(data, tmp_path):
    snapshot = tmp_path / "snapshot.pt"
    config = PretrainingConfig(optimization=optimization(2), augmentation=CROP)
    drain(pretrain(toy_network(), data, toy_preprocessing(), config, 2, snapshot))
    with pytest.raises(InputError, match=r"snapshot\.pt: the snapshot is of a run with other settings"):
        drain(pretrain(toy_network(), data, toy_preprocessing(), config, 3, snapshot))


def test_a_loss_that_is_no_number_stops_the_training():
    network = toy_network()

    def loss_of_step(step):
        return network.conv6.bias.sum() * float("nan"), {}

    with pytest.raises(TrainingError, match="step 0"):
        next(optimise(network, loss_of_step, optimization(2), 0))


def test_rates_rise_then_fall_and_the_head_comes_down_to_the_body():
    config = OptimizationConfig(iterations=100, learning_rate=1.0, warmup=10, power=1.0, head_factor=10.0, head_iterations=50)
    assert scheduled_rate(config, 0) == pytest.approx(0.1)
    assert scheduled_rate(config, 60) == pytest.approx(0.4)
    assert [head_factor(config, step) for step in (0, 25, 50, 99)] == pytest.approx([10, 10**0.5, 1, 1])


@pytest.mark.parametrize(("step", "factor"), [(6, 9.0), (7, 3.0), (8, 1.0), (11, 1.0)])
def test_a_head_made_anew_by_a_later_clustering_begins_at_its_full_factor(step, factor):
    config = OptimizationConfig(iterations=12, learning_rate=1.0, warmup=0, power=0.0, head_factor=9.0, head_iterations=2)
    network = toy_network()
    stepper = Stepper(network, lambda draw: (sum(one.sum() for one in network.parameters()), {}), config, 0, 6)
    stepper.step(step, 12)
    assert {group["head"]: group["lr"] for group in stepper.optimizer.param_groups} == pytest.approx({True: factor, False: 1.0})


def test_the_papers_optimizer_gives_biases_twice_the_rate_and_no_decay():
    network = toy_network()
    optimizer = build_optimizer(network, optimization(5, optimizer="sgd", weight_decay=1e-4))
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    bias, weight = groups[id(network.conv6.bias)], groups[id(network.conv6.weight)]
    assert (bias["factor"], bias["weight_decay"], weight["factor"], weight["weight_decay"]) == (2, 0, 1, 1e-4)
    assert optimizer.defaults["nesterov"]
    assert len(groups) == len(list(network.parameters()))


def test_frozen_normalization_keeps_its_statistics(data):
    network = toy_network()
    before = {name: value.clone() for name, value in network.named_buffers()}
    config = PretrainingConfig(optimization=optimization(2, frozen_norm=True), augmentation=CROP)
    _, trained = drain(pretrain(network, data, toy_preprocessing(), config, 0))
    assert all(torch.equal(before[name], value) for name, value in trained.named_buffers())


def test_cluster_training_makes_labels_that_hold_between_the_lights(pretrained, data):
    _, network = pretrained
    config = fgsn_config(160)
    records, trained = drain(train_clusters(network, data, toy_preprocessing(), config, seed=3))
    losses = [record.loss for record in records if isinstance(record, StepRecord)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert trained.network.config.num_labels == trained.clusters.num_clusters == 6

    day, dusk = (labels_of(trained.network, data, condition) for condition in (0, 1))
    stats = consistency_at_points(day, dusk, 6)
    assert stats.kappa > 0.6
    assert stats.effective_labels > 2.5
    assert network.config.num_labels == 4  # the network that was given is left alone


def labels_of(network, data, condition):
    maps = []
    for index in range(len(data)):
        image = data.view(index).images[condition]
        features = FrozenNetwork(network, toy_preprocessing()).image_features(image, 1.0)
        maps.append(network.conv6(torch.relu(features)[None]).argmax(1).flatten())
    return torch.cat(maps).numpy()


def test_cluster_training_repeats_by_seed_and_resumes_across_reclustering(pretrained, data, tmp_path):
    _, network = pretrained
    config = fgsn_config(6, recluster_every=3)
    _, unbroken = drain(train_clusters(network, data, toy_preprocessing(), config, 5))
    broken = train_clusters(network, data, toy_preprocessing(), config, 5, tmp_path / "run")
    for record in broken:
        if isinstance(record, StepRecord) and record.step == 4:
            break
    broken.close()
    _, resumed = drain(train_clusters(network, data, toy_preprocessing(), config, 5, tmp_path / "run"))
    assert same_weights(unbroken.network, resumed.network)
    assert np.array_equal(unbroken.clusters.centroids, resumed.clusters.centroids)


def test_both_sides_train_together_without_turns(data):
    batch = batch_of(data, np.full((9, 12), 2), fgsn_config(reference_fraction=None), 0)
    assert batch.is_reference.tolist() == [True, False, True, False]
    assert batch.num_pairs == 2
    assert (batch.shares[1] == 0).all()
    assert set(batch.labels[0][batch.shares[0] > 0].tolist()) == {2}


def test_matches_of_a_batch_carry_the_reference_label_at_their_place(data):
    """Labels that tell their own column: the crop's dense labels and its matches must name the same columns."""
    batch = batch_of(data, np.tile(np.arange(12), (9, 1)), fgsn_config(reference_fraction=1.0), 1)
    assert batch.is_reference.all()
    assert len(batch.cells) > 50
    at = (batch.cells.image, slice(None), batch.cells.y, batch.cells.x)
    dense, seen = batch.labels[at][:, 0], batch.shares[at][:, 0] > 0
    assert (dense[seen] - batch.cells.label[seen, 0]).abs().max() <= 1
    assert (dense[seen] == batch.cells.label[seen, 0]).float().mean() > 0.6


def test_a_batch_is_the_same_however_it_is_split(data):
    """Pairs follow from their number: two draws of two pairs are one draw of four."""
    config = fgsn_config()
    half = replace(config, optimization=replace(config.optimization, batch_size=2))
    one = draw_pairs(data, config, toy_preprocessing(), 3, 1)
    two = [pair for draw in (2, 3) for pair in draw_pairs(data, half, toy_preprocessing(), 3, draw)]
    assert [(pair.index, pair.turns) for pair in one] == [(pair.index, pair.turns) for pair in two]


def test_features_are_sampled_half_at_correspondences_of_every_reference_image(pretrained, data):
    frozen = FrozenNetwork(pretrained[1], toy_preprocessing())
    _, features = drain(reference_features(frozen, data, fgsn_config(label_scale=1.0), 0))
    assert features.rows.shape == (len(data) * 40, 16)
    assert features.noise is None


def test_the_noise_of_features_is_half_of_what_corresponding_points_differ_by(pretrained, data):
    frozen = FrozenNetwork(pretrained[1], toy_preprocessing())
    clusters = ClusterConfig(num_clusters=6, projection="discriminant")
    config = fgsn_config(label_scale=1.0, clusters=clusters, max_features_per_image=100_000)
    noise = drain(reference_features(frozen, data, config, 0))[1].noise
    differences = []
    for index in range(len(data)):
        view = data.view(index)
        maps = [frozen.image_features(image, 1.0) for image in view.images]
        for matches, image, features in zip(view.correspondences, view.images[1:], maps[1:], strict=True):
            for here, there in zip(matches.points_ref, matches.points_other, strict=True):
                differences.append(at(maps[0], view.images[0], here) - at(features, image, there))
    rows = torch.stack(differences).double()
    assert torch.allclose(noise, rows.T @ rows / (2 * len(rows)), rtol=1e-4, atol=1e-7)


def at(features, image, point):
    """The feature (D,) of the cell that a pixel lies in, cells spread over the image from corner to corner."""
    (height, width), (rows, columns) = image.shape[:2], features.shape[1:]
    x, y = point[0] * (columns - 1) / (width - 1), point[1] * (rows - 1) / (height - 1)
    return features[:, int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]


def test_pooled_features_are_means_over_the_conditions(pretrained, data):
    frozen = FrozenNetwork(pretrained[1], toy_preprocessing())
    config = fgsn_config(label_scale=1.0, pool_conditions=True, max_features_per_image=100_000)
    pooled = drain(reference_features(frozen, data, config, 0))[1].rows
    day, dusk = (frozen.image_features(data.view(0).images[c], 1.0) for c in (0, 1))
    mean = ((day + dusk) / 2).flatten(1).T
    assert day.shape[1:] == (9, 12)
    assert (pooled[0] - mean).abs().amax(1).min() < 1e-4
    assert (pooled[0] - day.flatten(1).T).abs().amax(1).min() > 1e-3


def test_a_view_of_one_condition_cannot_train_correspondences(tmp_path):
    data = toy_set(tmp_path)
    view = replace(data.view(0), conditions=("overcast",), correspondences=())
    data.view = lambda index: view
    with pytest.raises(InputError, match="one condition only"):
        draw_pairs(data, fgsn_config(), toy_preprocessing(), 8, 0)


def test_toy_images_are_not_square():
    assert SIZE[0] != SIZE[1]
