from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_set
from training_toys import RUN, run_config, start_weights

from core.engine.fgsn_config import FGSNConfig
from core.engine.models import ShippedConfig
from core.engine.optimization import OptimizationConfig, Stepper, paper_optimization, scheduled_rate
from core.engine.run_folder import read_log
from core.engine.runs import RunConfig, train_run
from core.engine.settings import changed, check_ranges, listed, restored
from core.errors import InputError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


def test_the_defaults_are_the_papers():
    config = FGSNConfig()
    optimization = config.optimization
    assert (optimization.optimizer, optimization.learning_rate, optimization.weight_decay) == ("sgd", 2.5e-5, 1e-4)
    assert (optimization.iterations, optimization.batch_size, optimization.power) == (60_000, 1, 1.0)
    assert (optimization.frozen_norm, optimization.warmup, optimization.max_gradient) == (True, 0, 0)
    assert optimization.head_factor == 1
    assert (config.recluster_every, config.max_features_per_image, config.augmentation.crop) == (10_000, 500, 713)
    assert (config.clusters.num_clusters, config.clusters.max_dims, config.clusters.num_iterations) == (100, 256, 20)
    assert (config.reference_fraction, config.correspondence_weight, config.class_weight, config.hinge_weight) == (0.5, 1, 1, 0)
    assert (config.labels, config.crops, config.photometric, config.soft_targets) == ("crop", "centred", "none", "none")
    assert (RunConfig().validate_every, RunConfig().validation_share) == (2500, 0.3)


def test_every_setting_says_what_it_is_for():
    for config in (FGSNConfig(), RunConfig()):
        assert not [name for name, _, help in listed(config) if len(help) < 10]


def test_the_official_schedule_changes_the_rate_only_where_clusters_are_made():
    """1, 5/6, 4/6 ... of the rate over 60,000 steps in six rounds; without re-clustering it stays (PAPER 2.4)."""
    config = paper_optimization(schedule="steps", learning_rate=6.0)
    rates = [scheduled_rate(config, step, start) for start in range(0, 60_000, 10_000) for step in (start, start + 9_999)]
    assert rates == pytest.approx([6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1])
    assert scheduled_rate(config, 59_999, 0) == 6
    assert scheduled_rate(replace(config, schedule="poly"), 30_000, 0) == pytest.approx(3)


def test_a_run_with_the_official_schedule_holds_its_rate_through_a_round(tmp_path):
    config = run_config(6, 3)
    config = replace(config, optimization=replace(config.optimization, schedule="steps"))
    data, run = toy_set(tmp_path / "set"), replace(RUN, validation_share=0.0)
    drain(train_run(start_weights(tmp_path), data, config, tmp_path / "run", 0, run))
    assert [row["learning_rate"] for row in read_log(tmp_path / "run")] == pytest.approx([1e-2] * 3 + [5e-3] * 3)


def quadratic(network):
    """A loss of the head's biases with its minimum at 1."""
    return lambda draw: ((network.conv6.bias - 1).square().sum(), {})


def test_half_precision_scales_the_loss_and_skips_a_step_that_overflows():
    network = toy_network()
    config = OptimizationConfig(iterations=10, precision="fp16", optimizer="sgd", learning_rate=0.1, warmup=0, max_gradient=0)
    stepper = Stepper(network, quadratic(network), config, 0)
    before = network.conv6.bias.detach().clone()
    stepper.step(0, 10)
    assert not torch.equal(network.conv6.bias, before)
    scale = stepper.tensors()["scaler.scale"]
    here = network.conv6.bias.detach().clone()
    stepper._loss_of_draw = lambda draw: (network.conv6.bias.sum() * 1e35, {})
    stepper.step(1, 10)
    assert torch.equal(network.conv6.bias, here)
    assert stepper.tensors()["scaler.scale"] == scale / 2


def test_a_stepper_takes_back_everything_that_it_gave(tmp_path):
    config = OptimizationConfig(iterations=10, precision="fp16", learning_rate=0.1, warmup=0)
    ends = []
    for broken in (False, True):
        network = toy_network()
        stepper = Stepper(network, quadratic(network), config, 0)
        for step in range(3):
            stepper.step(step, 10)
        if broken:
            kept = {name: tensor.clone() for name, tensor in stepper.tensors().items()}
            network = toy_network()
            stepper = Stepper(network, quadratic(network), config, 0)
            stepper.restore(tmp_path, kept)
        for step in range(3, 6):
            stepper.step(step, 10)
        ends.append(stepper.tensors())
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"schedule": "cosine"}, {"precision": "int8"}])
def test_unknown_words_are_refused(wrong):
    with pytest.raises(InputError, match="expected one of"):
        OptimizationConfig(**wrong)


def test_settings_change_by_name_and_come_back_from_their_values():
    config = changed(changed(FGSNConfig(), "optimization.precision", "bf16"), "clusters.projection", "discriminant")
    config = changed(changed(config, "reference_fraction", "none"), "temperature", "2")
    assert (config.optimization.precision, config.clusters.projection) == ("bf16", "discriminant")
    assert (config.reference_fraction, config.temperature) == (None, 2.0)
    assert asdict(restored(FGSNConfig(), asdict(config))) == asdict(config)
    recipe = ShippedConfig().fgsn
    assert asdict(restored(FGSNConfig(), asdict(recipe))) == asdict(recipe)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("clusters.k", "5", "no such setting"),
        ("clusters", "5", "no such setting"),
        ("optimization.iterations", "many", "expected a value such as 60000"),
        ("optimization.iterations", "1.5", "expected a value such as 60000"),
        ("labels", "pixel", "expected one of crop, image"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(name, text, sentence):
    with pytest.raises(InputError, match=sentence):
        changed(FGSNConfig(), name, text)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InputError, match="num_clusters is 0, expected at least 1"):
        check_ranges(changed(FGSNConfig(), "clusters.num_clusters", "0"))
    with pytest.raises(InputError, match=r"reference_fraction is 2\.0, expected at least 0 at most 1"):
        check_ranges(changed(FGSNConfig(), "reference_fraction", "2"))
