"""The training commands from the command line to the files that they leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.engine.segmenter import load_segmenter
from core.images import read_image, write_image
from core.world.classes import CLASS_NAMES
from fgsn_viewer import cli

SMALL = ["--iterations", "2", "--batch-size", "2", "--crop", "65", "--max-validation", "1"]


@pytest.fixture
def camvid(tmp_path) -> Path:
    """Three photographs for training and one for validation in CamVid's layout: sky above road."""
    root, random = tmp_path / "camvid", np.random.default_rng(0)
    for folder, num in (("train", 3), ("val", 1)):
        for k in range(num):
            image = random.integers(0, 40, (72, 96, 3), dtype=np.uint8)
            image[:36] += 200
            write_image(root / folder / f"{k}.jpg", image)
            labels = np.full((72, 96), 3, np.uint8)
            labels[:36] = 0
            write_image(root / f"{folder}annot" / f"{k}.png", labels)
    return root


def test_train_classes_leaves_a_network_that_segments(camvid, tmp_path, capsys):
    out = tmp_path / "out" / "net.safetensors"
    assert cli.main(["train-classes", "--data", str(camvid), "--out", str(out), "--json", *SMALL]) == 0
    printed = capsys.readouterr()
    row = json.loads(printed.out)
    assert row["weights"] == str(out)
    assert row["num_images"] == 1
    assert 0 <= row["miou"] <= 1
    assert {name for name, value in row["iou"].items() if value is not None} == {"road", "sky"}
    assert "Reading the lists of images" in printed.err
    segmenter = load_segmenter(out)
    assert segmenter.names == CLASS_NAMES
    assert segmenter.segment(read_image(camvid / "val/0.jpg")).labels.shape == (72, 96)


def test_train_classes_goes_on_from_a_shipped_network_and_prints_the_mean_iou(camvid, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    arguments = ["train-classes", "--data", str(camvid), "--layout", "camvid", "--out", str(out), "--init", "world-19"]
    assert cli.main([*arguments, "--quiet", *SMALL]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1].startswith(f"{out}  mIoU ")
    assert printed.out.splitlines()[0].startswith("road ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{tmp}/lost"], "{tmp}/lost: no such folder of annotated images"),
        (["--data", "{camvid}", "--layout", "cityscapes"], "no annotated images in the layout of cityscapes"),
        (["--data", "{camvid}", "--init", "{tmp}/lost.pth"], "{tmp}/lost.pth: neither a weight file nor the name"),
        (["--data", "{camvid}", "--batch-size", "1"], "the batch size is 1, expected at least 2"),
        (["--data", "{camvid}", "--layout", "ade20k"], "invalid choice: 'ade20k'"),
    ],
)
def test_bad_input_of_train_classes_is_one_sentence_and_exit_code_2(arguments, words, camvid, tmp_path, capsys):
    names = {"tmp": tmp_path, "camvid": camvid}
    filled = [argument.format(**names) for argument in arguments]
    assert cli.main(["train-classes", *filled, "--out", str(tmp_path / "net.safetensors")]) == 2
    assert words.format(**names) in capsys.readouterr().err
    assert not (tmp_path / "net.safetensors").exists()
