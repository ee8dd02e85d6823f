"""Weight files and label images changed at random are refused in one sentence, or taken: nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_networks import random_network, tiny_config
from fuzzing import Specimen, changes, fuzz
from hypothesis import given
from hypothesis import strategies as st
from test_engine_dinov2 import vocabulary, write_backbone
from test_engine_weights import tiny_info

from core.engine.dinov2 import load_dinov2
from core.engine.segmenter import info_of, load_segmenter
from core.engine.weight_folders import statistics_of
from core.engine.weights import save_network
from core.images import write_image

PHOTO = np.zeros((4, 5, 3), np.uint8)


def label_images(folder: Path) -> Specimen:
    write_image(folder / "a.png", np.arange(20).reshape(4, 5).astype(np.uint16))
    (folder / "labels.json").write_text(json.dumps({"vocabulary": "v", "num_labels": 20, "names": None, "void": 20}))
    np.save(folder / "stationary_inds.npy", np.array([[0], [4]]))

    def read(folder: Path) -> None:
        segmenter = load_segmenter(folder, "cpu")
        statistics_of(segmenter.info)
        segmenter.segment(PHOTO, Path("a.jpg"))

    return Specimen(folder, read)


def own_network(folder: Path) -> Specimen:
    save_network(folder / "own.safetensors", random_network(tiny_config(), side=129), tiny_info())
    return Specimen(folder, lambda folder: info_of(folder / "own.safetensors"))


def dinov2_vocabulary(folder: Path) -> Specimen:
    path = vocabulary(folder, depth=1)
    (folder / "backbone.pth").unlink()
    return Specimen(folder, lambda folder: info_of(folder / path.name))


def dinov2_backbone(folder: Path) -> Specimen:
    path = write_backbone(folder / "backbone.pth", depth=1)
    return Specimen(folder, lambda folder: load_dinov2(folder / path.name))


@pytest.fixture(scope="module", params=[label_images, own_network, dinov2_vocabulary, dinov2_backbone])
def specimen(request, tmp_path_factory) -> Specimen:
    return request.param(tmp_path_factory.mktemp(request.param.__name__))


@fuzz
@given(data=st.data())
def test_changed_files_are_refused_in_one_sentence_or_taken(specimen, data):
    specimen.survives(data.draw(changes(specimen.files)))
