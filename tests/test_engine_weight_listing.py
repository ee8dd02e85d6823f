"""`weights DIR` lists what --weights would take, with the reason where it cannot, and runs nothing that a file brings."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from engine_networks import RunsCode, official_state, random_network, tiny_config
from safetensors.torch import save_file
from test_engine_dinov2 import vocabulary, write_backbone
from test_engine_weights import tiny_info

from core.engine.weight_listing import WeightsFound, list_weights, list_weights_steps
from core.engine.weights import save_network
from core.errors import InputError
from core.images import write_image
from core.records import LabelStatistics
from core.scene.label_statistics import save_label_statistics
from fgsn_viewer import cli

NAME = "cluster-cmu-map1-cn11-ci10000-vi2500-wc1.00000-ws1.00000-features500-valm-L2-0.0000250000lr"
SNAPSHOT = "iter_2500_lossfeat_0.10000_lossout_0.20000_lr_0.0000250000"


whole_state = cache(official_state)


def write_official(path: Path, num_labels: int = 11, base: str = "caffe") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    heads = {
        f"{name}.{part}": torch.zeros(num_labels, *shape)
        for name, width in (("conv6", 512), ("conv6_1", 256))
        for part, shape in (("weight", (width, 1, 1)), ("bias", ()))
    }
    torch.save(whole_state(11, base) | heads, path)
    return path


def training_folder(folder: Path) -> Path:
    """A run as the published code leaves it: snapshots with their optimizer's state, centroids, the best one's numbers."""
    write_official(folder / f"{SNAPSHOT}.pth")
    torch.save({"state": {}, "param_groups": []}, folder / f"opt_{SNAPSHOT}.pth")
    torch.save({}, folder / "iter_5000_lossfeat_0.20000_lossout_0.30000_lr_0.0000250000.pth")
    with h5py.File(folder / "centroids_0.h5", "w") as file:
        file["cluster_centroids"] = np.zeros((11, 256), np.float32)
    row = {"iter": 2500, "val_loss_feat": 0.1, "val_loss_out": 0.2, "val_loss_cluster": 0.3, "snapshot": SNAPSHOT}
    (folder / "bestval.txt").write_text(f"{row!r}\n\n")
    return folder


@pytest.fixture(scope="module")
def listed(disk) -> dict[str, WeightsFound]:
    return {found.path.relative_to(disk).as_posix(): found for found in list_weights(disk)}


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Path:
    """A disk as a researcher may have it."""
    root = tmp_path_factory.mktemp("disk")
    write_official(root / "cmu-100clusters.pth", 100)
    write_official(root / "base-networks" / "pspnet101_cs_vis.pth", 19)
    write_official(root / "from-imagenet.pth", 20, "torchvision")
    training_folder(root / NAME)
    export = root / "networks-for-localization" / NAME
    write_official(export / "weights.pth")
    np.save(export / "stationary_inds.npy", np.array([[0], [3], [10]]))
    np.save(export / "cluster_histogram_for_corr.npy", np.arange(11))
    np.save(export / "cluster_histogram_non_corr.npy", np.full(11, 10))
    save_network(root / "own" / "streets.safetensors", random_network(tiny_config()), tiny_info())
    statistics = LabelStatistics("streets", 7, np.ones(7), np.ones(7), np.eye(7))
    save_label_statistics(root / "own" / "streets.labels.safetensors", statistics)
    write_backbone(root / "dinov2_vits14_pretrain.pth")
    (root / "vocabularies").mkdir()
    vocabulary(root / "vocabularies")
    write_image(root / "labels" / "snow" / "a.png", np.full((4, 5), 12, np.uint16))
    write_image(root / "photos" / "a.png", np.zeros((4, 5, 3), np.uint8))
    (root / "base-networks" / "broken.pth").write_bytes(b"PK\x03\x04 cut")
    torch.save({"conv6.weight": RunsCode(root / "executed")}, root / "evil.pth")
    save_file({"x": torch.zeros(1)}, root / "other.safetensors")
    (root / "again").symlink_to(root, target_is_directory=True)
    return root


def test_everything_is_listed_with_what_it_is(disk, listed):
    found = listed
    facts = {name: (one.kind, one.num_labels, one.base, one.has_stationary, one.vocabulary) for name, one in found.items()}
    backbone = ("DINOv2 backbone", None, "DINOv2 width 64/14", False, "")
    assert {name: row for name, row in facts.items() if found[name].problem is None} == {
        "cmu-100clusters.pth": ("official network", 100, "caffe", False, "cmu-100clusters"),
        "base-networks/pspnet101_cs_vis.pth": ("official network", 19, "caffe", True, "pspnet101_cs_vis"),
        "from-imagenet.pth": ("official network", 20, "torchvision", False, "from-imagenet"),
        NAME: ("training folder", 11, "caffe", False, NAME),
        f"networks-for-localization/{NAME}": ("exported folder", 11, "caffe", True, NAME),
        "own/streets.safetensors": ("network", 7, "caffe", True, "streets"),
        "dinov2_vits14_pretrain.pth": backbone,
        "vocabularies/backbone.pth": backbone,
        "vocabularies/street-8.safetensors": ("DINOv2 vocabulary", 8, "DINOv2 width 64/14", False, "street-8"),
        "labels": ("label images", 13, "", False, "labels"),
    }
    content = (disk / "cmu-100clusters.pth").read_bytes()
    assert found["cmu-100clusters.pth"].sha256 == hashlib.sha256(content).hexdigest()
    assert found[NAME].sha256 == hashlib.sha256((disk / NAME / f"{SNAPSHOT}.pth").read_bytes()).hexdigest()


def test_what_cannot_be_read_is_listed_with_the_reason_and_nothing_is_run(disk, listed):
    problems = {Path(name).name: one for name, one in listed.items() if one.problem}
    assert sorted(problems) == ["broken.pth", "evil.pth", "other.safetensors"]
    assert all(one.kind == "unreadable" and len(one.sha256) == 64 for one in problems.values())
    assert "one that would run code" in problems["evil.pth"].problem
    assert not (disk / "executed").exists()
    assert "expected the PSPNet classifier" in problems["other.safetensors"].problem
    torch.load(disk / "evil.pth", weights_only=False)  # the trap is a real one
    os.rmdir(disk / "executed")


def test_the_prompt_says_it_in_lines_and_in_json(disk, capsys):
    assert cli.main(["weights", str(disk / "base-networks"), "--quiet"]) == 0
    head, broken, reason, official = capsys.readouterr().out.splitlines()
    assert head.split() == ["kind", "labels", "base", "stationary", "vocabulary", "sha256"]
    assert broken.split()[:2] == ["broken.pth", "unreadable"]
    assert reason.startswith("    not a checkpoint of tensors")
    assert official.split()[:6] == ["pspnet101_cs_vis.pth", "official", "network", "19", "caffe", "yes"]
    assert cli.main(["weights", str(disk / NAME), "--quiet", "--json"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["path"], row["num_labels"], row["problem"]) == (str(disk / NAME), 11, None)


def test_folders_without_weights_and_no_folders_are_bad_input(disk, tmp_path, capsys):
    files = {tmp_path: "no weights found", tmp_path / "none": "no such folder", disk / "evil.pth": "is a file"}
    for path, sentence in files.items():
        assert cli.main(["weights", str(path), "--quiet"]) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="expected a folder"):
        list_weights(disk / "evil.pth")


def test_each_file_is_a_step_at_which_one_can_stop(disk):
    steps = list_weights_steps(disk)
    assert next(steps).fraction == 0
    steps.close()


def test_stationary_labels_that_do_not_fit_are_a_problem_of_their_network(tmp_path):
    write_official(tmp_path / "weights.pth")
    np.save(tmp_path / "stationary_inds.npy", np.array([[11]]))
    (found,) = list_weights(tmp_path)
    assert (found.kind, found.num_labels, found.has_stationary) == ("exported folder", 11, False)
    assert "names labels 11 to 11, expected 0 to 10" in found.problem


def test_a_training_folder_whose_best_network_is_gone_is_listed_with_that(tmp_path):
    folder = training_folder(tmp_path / NAME)
    (folder / f"{SNAPSHOT}.pth").unlink()
    (found,) = list_weights(tmp_path)
    assert (found.path, found.kind) == (folder, "unreadable")
    assert "a folder without weights" in found.problem
