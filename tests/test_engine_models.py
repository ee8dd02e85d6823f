from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_networks import random_network, tiny_config
from engine_toys import drain, on_one_thread, toy_network, toy_set

from core.engine import models
from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterModel
from core.engine.model_card import table
from core.engine.optimization import StepRecord
from core.engine.weights import load_network, small_preprocessing
from core.errors import InputError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


def quick_config() -> models.ShippedConfig:
    """The recipe at toy size: every stage works, but makes no networks to use."""
    full = models.ShippedConfig()
    tiny = {"num_worlds": 1, "views_per_world": 2, "width": 160, "height": 120}
    schedule = {"iterations": 4, "batch_size": 4}
    return replace(
        full,
        training_worlds=replace(full.training_worlds, **tiny),
        refining_worlds=replace(full.refining_worlds, **tiny),
        held_out_worlds=replace(full.held_out_worlds, **tiny | {"conditions_per_view": 3}),
        pretraining=replace(full.pretraining, optimization=replace(full.pretraining.optimization, **schedule)),
        refinement=replace(full.refinement, optimization=replace(full.refinement.optimization, **schedule)),
        fgsn=replace(
            full.fgsn,
            optimization=replace(full.fgsn.optimization, **schedule),
            clusters=replace(full.fgsn.clusters, num_clusters=20),
        ),
        num_workers=0,
    )


def tiny(stage):
    """A training stage of three steps on small crops."""
    optimization = replace(stage.optimization, iterations=3, batch_size=2, precision="fp32")
    return replace(stage, optimization=optimization, augmentation=AugmentationConfig(crop=41, min_scale=0.9, max_scale=1.2))


@pytest.fixture
def config():
    quick = quick_config()
    fgsn = tiny(quick.fgsn)
    fgsn = replace(fgsn, clusters=replace(fgsn.clusters, num_clusters=5, num_iterations=3), label_scale=1.0)
    preprocessing = replace(small_preprocessing(), short_side=65)
    quick = replace(quick, vocabularies=(models.Vocabulary(num_clusters=5, bit_cost=0.05),))
    stages = {"pretraining": tiny(quick.pretraining), "refinement": tiny(quick.refinement)}
    return replace(quick, **stages, fgsn=fgsn, preprocessing=preprocessing)


@pytest.fixture(autouse=True)
def toy_worlds(monkeypatch):
    """Toy sets instead of rendered ones, and a toy network: the stages are what is tested here."""

    def render_set(root, config, num_workers):
        yield models.Progress("rendered", 1.0)
        return toy_set(root, num_views=3)

    monkeypatch.setattr(models, "render_set", render_set)
    monkeypatch.setattr(models, "small_config", lambda num_labels: toy_network(num_labels).config)


def test_the_recipe_ships_two_networks_with_their_cards(tmp_path, config):
    steps, paths = drain(models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config, command="train --seed 4"))
    assert [path.name for path in paths] == ["world-19.safetensors", "world-5.safetensors"]
    (_, classes), (_, clusters) = (load_network(path) for path in paths)
    assert (classes.vocabulary, classes.num_labels, classes.names[10]) == ("cityscapes-19", 19, "sky")
    assert (clusters.vocabulary, clusters.num_labels, clusters.names) == ("world-5", 5, None)
    assert sum(isinstance(step, StepRecord) for step in steps) == 9
    card = (tmp_path / "out" / "world-5.md").read_text()
    for expected in ("train --seed 4", "Seed: 4", "5 self-supervised cluster labels", "| dusk | 3 |", "## Limits"):
        assert expected in card


def test_finished_stages_are_skipped(tmp_path, config):
    run = models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config)
    for step in run:
        if isinstance(step, StepRecord) and step.step == 1 and "corr_ref" in step.parts:
            break
    run.close()
    written = (tmp_path / "work" / "world-19.safetensors").stat().st_mtime_ns
    steps, _ = drain(models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config))
    assert all("corr_ref" in step.parts for step in steps if isinstance(step, StepRecord))
    assert (tmp_path / "work" / "world-19.safetensors").stat().st_mtime_ns == written
    again, _ = drain(models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config))
    assert not any(isinstance(step, StepRecord) for step in again)
    assert not any("evaluated" in step.message for step in again)


def test_a_work_folder_of_other_settings_is_refused(tmp_path, config):
    models.check_same_run(models.Run(tmp_path, tmp_path / "work", 4, config, None))
    models.check_same_run(models.Run(tmp_path, tmp_path / "work", 4, config, None))
    with pytest.raises(InputError, match=r"run\.json: the work folder holds a run with other settings"):
        models.check_same_run(models.Run(tmp_path, tmp_path / "work", 5, config, None))


def test_the_log_of_a_stage_is_kept(tmp_path, config):
    drain(models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config))
    log = json.loads((tmp_path / "work" / "world-5.log.json").read_text())
    assert np.isfinite(log["steps"][0]["loss"])


def test_averaged_weights_lie_between_those_of_two_networks():
    first, second = (random_network(tiny_config(), seed=seed) for seed in (0, 1))
    mixed, ends = models.averaged(first, second, 0.25).state_dict(), (first.state_dict(), second.state_dict())
    for name, weights in mixed.items():
        if weights.is_floating_point():
            torch.testing.assert_close(weights, 0.25 * ends[0][name] + 0.75 * ends[1][name])
    assert all(torch.equal(own, ends[1][name]) for name, own in models.averaged(first, second, 0.0).state_dict().items())


def test_tables_leave_out_columns_that_no_row_has():
    text = table([{"condition": "snow", "kappa": 0.51234}, {"condition": "all", "num_pairs": 7}])
    assert text.splitlines() == [
        "| condition | pairs | kappa |",
        "| --- | --- | --- |",
        "| snow |  | 0.512 |",
        "| all | 7 |  |",
    ]


def test_labels_without_cluster_training_are_the_nearest_centroids_of_the_refined_features(tmp_path, config):
    config = replace(config, vocabularies=(models.Vocabulary(num_clusters=5, kept_start=1.0),))
    steps, paths = drain(models.train_shipped_models(tmp_path / "out", tmp_path / "work", 4, config))
    assert not any("corr_ref" in step.parts for step in steps if isinstance(step, StepRecord))
    refined, _ = load_network(tmp_path / "work" / "refined.safetensors")
    network, _ = load_network(paths[1])
    clusters = ClusterModel.load(tmp_path / "work" / "fgsn-5" / "clusters_0.safetensors")
    image = torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    labels = network.float()(image).logits.argmax(1)
    assert (labels == clusters.assign_map(refined(image).features)).float().mean() > 0.95  # weights ship in half precision
    assert "L_corr" not in (tmp_path / "out" / "world-5.md").read_text()
