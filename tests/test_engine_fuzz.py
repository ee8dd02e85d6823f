"""Networks, folders of weights and image files that were changed at random, and descriptions that lie on purpose."""

from __future__ import annotations

import json
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from engine_networks import random_network, tiny_config
from fuzzing import Specimen, address_space, changes, fuzz
from hypothesis import given
from hypothesis import strategies as st
from test_engine_weights import tiny_info

from core.engine.weight_listing import list_weights
from core.engine.weights import FORMAT, described, load_network, save_network
from core.errors import WeightsError
from core.images import image_size, read_image, read_labels, write_image
from core.scene.label_statistics import load_stationary_indices


def write_pth(folder):
    """A network as training writes it: a .pth with its description beside."""
    network = random_network(tiny_config(), side=129)
    torch.save(network.state_dict(), folder / "own.pth")
    (folder / "own.json").write_text(described(tiny_info()), encoding="utf-8")


def networks(folder):
    def read(folder):
        for name in ("own.pth", "own.safetensors"):
            network, info = load_network(folder / name)
            assert network.config.num_labels == info.num_labels

    write_pth(folder)
    save_network(folder / "own.safetensors", random_network(tiny_config(), side=129), tiny_info())
    return Specimen(folder, read)


def folder_of_weights(folder):
    """A listing tells what is broken; it never breaks itself."""

    def read(folder):
        for found in list_weights(folder):
            assert found.problem is None or found.problem

    write_pth(folder)
    np.save(folder / "stationary_inds.npy", np.array([[0], [4]]))
    (folder / "bestval.txt").write_text("iteration 100\nloss 0.5\n")
    return Specimen(folder, read)


def stationary(folder):
    def read(folder):
        found = load_stationary_indices(folder / "stationary_inds.npy", "toy", 7)
        assert len(found.stationary) == 7

    np.save(folder / "stationary_inds.npy", np.array([[0], [4]]))
    return Specimen(folder, read)


def images(folder):
    def read(folder):
        for path in sorted(folder.iterdir()):
            height, width = read_image(path).shape[:2]
            assert image_size(path) == (width, height)
        read_labels(folder / "labels.png")

    picture = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp"):
        write_image(folder / name, picture)
    write_image(folder / "labels.png", np.arange(192).reshape(12, 16).astype(np.uint16))
    return Specimen(folder, read)


@pytest.fixture(scope="module", params=[networks, folder_of_weights, stationary, images])
def specimen(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp(request.param.__name__))


@fuzz
@given(data=st.data())
def test_changed_files_are_taken_or_refused_in_one_sentence(specimen, data):
    made = data.draw(changes(specimen.files))
    with address_space():
        specimen.survives(made)


MANY = 10**9
LIES = {
    "num_labels": MANY,
    "blocks": [MANY, 1, 2, 1],
    "widths": [MANY] * 4,
    "stem": [MANY, 4, 8],
    "pyramids": list(range(1, 100_000)),
    "strides": [0, 2, 1, 1],
    "feature_width": -1,
    "aux_width": "wide",
    "blocks ": [1],
    "base": ["caffe"],
    "widths ": None,
}


def lying(path, key, value):
    """The weight file with another value in its description."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    sections = json.loads(header["__metadata__"][FORMAT])
    sections["config"][key] = value
    header["__metadata__"][FORMAT] = json.dumps(sections)
    changed = json.dumps(header).encode()
    changed += b" " * (-len(changed) % 8)
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])


@pytest.mark.parametrize("key", LIES)
def test_a_description_that_lies_takes_neither_memory_nor_time(tmp_path, key):
    path = tmp_path / "own.safetensors"
    save_network(path, random_network(tiny_config(), side=129), tiny_info())
    lying(path, key.strip(), LIES[key])
    tracemalloc.start()
    try:
        with address_space(), pytest.raises(WeightsError) as caught:
            load_network(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
