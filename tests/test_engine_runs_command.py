"""`train` on the command line, from data to a network that segments."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from engine_toys import drain, on_one_thread, toy_set
from training_toys import run_config, start_weights

from core.engine.dataset import TrainingSet
from core.engine.run_folder import RunFolder, read_log
from core.engine.weight_folders import statistics_beside
from core.images import write_image
from core.scene.label_statistics import find_label_statistics
from fgsn_viewer import commands_training, training_presets
from fgsn_viewer.cli import main

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    toy_set(folder / "set", num_views=8)
    start_weights(folder)
    return folder


def arguments(root, out, *more):
    sizes = ["--clusters", "6", "--crop", "41", "--iterations", "4", "--recluster-every", "3", "--validate-every", "2"]
    small = ["--set", "optimization.snapshot_every=1", "max_features_per_image=40", "clusters.num_iterations=3"]
    data = ["--data", str(root / "set"), "--init", str(root / "start.safetensors")]
    return ["train", *data, "--out", str(out), *sizes, "--validation-pairs", "2", *small, "--device", "cpu", *more]


def test_a_user_trains_and_segments_with_the_result(root, tmp_path, capsys):
    assert main([*arguments(root, tmp_path / "run"), "--json"]) == 0
    said = capsys.readouterr()
    row = json.loads(said.out)
    assert row["run"] == str(tmp_path / "run")
    assert "%" in said.err
    assert find_label_statistics(row["weights"]).num_labels == 6
    assert statistics_beside(tmp_path / "run").vocabulary.startswith("fgsn-6-")
    write_image(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (65, 89, 3), dtype=np.uint8))
    segment = ["segment", str(tmp_path / "image.png"), "--out", str(tmp_path / "labels"), "--device", "cpu", "--quiet"]
    assert main([*segment, "--weights", str(tmp_path / "run")]) == 0
    assert list((tmp_path / "labels").glob("*.png"))


def test_ctrl_c_keeps_what_was_reached_and_resume_needs_only_the_folder(root, tmp_path, capsys, monkeypatch):
    shown = commands_training.progress

    def interrupt(options, step):
        shown(options, step)
        if step.message.startswith("validation after step 2"):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(commands_training, "progress", interrupt)
        assert main(arguments(root, tmp_path / "run")) == 130
    assert "stopped; `train --resume --out" in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").read_state().step == 2
    assert main(arguments(root, tmp_path / "run", "--quiet")) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--quiet", "--device", "cpu"]) == 0
    assert main(arguments(root, tmp_path / "unbroken", "--quiet")) == 0
    assert read_log(tmp_path / "run") == read_log(tmp_path / "unbroken")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--clusters", "5000"], "features for 5000 clusters"),
        (["--init", "nothing.safetensors"], "nothing.safetensors: no such weight file"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--set", "labels"], "--set labels: expected NAME=VALUE"),
        (["--set", "labels=pixel"], "labels is 'pixel', expected one of crop, image"),
        (["--set", "clusters.init=foo"], "clusters.init is 'foo', expected one of random, k-means++"),
        (["--set", "augmentation.min_scale=5"], "augmentation.min_scale is 5.0, expected at most max_scale"),
        (["--set", "label_scale=20000"], "label_scale is 20000.0, expected at least 0 at most 4"),
        (["--clusters", "70000"], "num_clusters is 70000, expected at least 1 at most 65535"),
        (
            ["--recipe", "small", "--batch-size", "1", "--set", "optimization.frozen_norm=false"],
            "the batch size is 1, expected at least 2",
        ),
        (["--set", "hinge_weight=-1"], "hinge_weight is -1.0, expected at least 0"),
        (["--validation-share", "1.5"], "validation_share is 1.5, expected at least 0 at most 0.9"),
        (["--data-weights", "1", "2"], "2 weights for 1 data sets"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(root, tmp_path, capsys, more, sentence):
    assert main(arguments(root, tmp_path / "run", "--quiet", *more)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1


def test_without_data_there_is_nothing_to_train_on(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "train needs --data and --init" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 2
    assert "no run here to go on with" in capsys.readouterr().err


def test_going_on_refuses_settings_that_it_would_not_heed(root, tmp_path, capsys):
    assert main(arguments(root, tmp_path / "run", "--quiet", "--clusters", "5000")) == 2
    assert "goes on" not in capsys.readouterr().err
    command = ["train", "--resume", "--out", str(tmp_path / "run"), "--quiet"]
    assert main([*command, "--iterations", "99", "--seed", "0"]) == 2
    assert "got --iterations, --seed; leave them out" in capsys.readouterr().err


def test_settings_may_be_given_in_several_places(tmp_path, capsys):
    twice = ["--set", "max_features_per_image=40", "--set", "clusters.num_iterations=3"]
    assert main(["train", "--settings", *twice]) == 0
    said = capsys.readouterr().out
    assert "max_features_per_image=40 " in said
    assert "clusters.num_iterations=3 " in said
    assert main(["train", "--data", str(tmp_path), "--init", "world-19"]) == 2
    assert "train needs --out" in capsys.readouterr().err


def test_the_rule_of_what_stays_can_be_chosen(root, tmp_path, capsys):
    assert main(arguments(root, tmp_path / "run", "--quiet", "--rule", "official")) == 0
    said = capsys.readouterr()
    found = statistics_beside(tmp_path / "run")
    assert (found is None) == ("no label is stationary" in said.err)
    if found is not None:
        assert (found.stationary == (found.correspondence_share > 0.01)).all()


def test_a_network_trained_in_the_window_has_its_statistics_too(root, tmp_path):
    data, config = TrainingSet(root / "set"), run_config(2, 0)
    _, path = drain(training_presets.train(str(root / "start.safetensors"), data, config, tmp_path / "run", 0))
    assert find_label_statistics(path).num_labels == 6


def test_all_settings_are_listed_with_their_reasons(tmp_path, capsys):
    assert main(["train", "--settings", "--out", str(tmp_path / "run"), "--recipe", "small", "--crop", "129"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("augmentation.crop=129 ") for line in lines)
    assert any(line.startswith("optimization.optimizer=adamw ") for line in lines)
    assert not (tmp_path / "run").exists()
