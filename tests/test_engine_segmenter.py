"""Segmentation: equal to the definition, any size, bounded memory, every failure in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_networks import photograph, random_network, random_segmenter, tiny_config

from benchmarks.plain_segmentation import plain_segmentation, triangle_resize
from core.engine import segmenter as segmenter_module
from core.engine.device import ComputeConfig, choose_device
from core.engine.network import official_config, small_config
from core.engine.segmenter import Segmenter, available_weights, load_segmenter, plan_crops, prepare_pixels
from core.engine.weights import NetworkInfo, Preprocessing, save_network, small_preprocessing
from core.errors import InputError, WeightsError
from core.images import read_image

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("size", [(768, 1024), (1200, 1100), (300, 240)])
def test_exact_mode_is_the_definition(size):
    segmenter = random_segmenter(tiny_config(12))
    image = photograph(*size)
    labels, confidence = plain_segmentation(segmenter._network.network, image)
    found = segmenter.segment(image)
    assert len(np.unique(labels)) > 3
    assert (found.labels == labels).mean() >= 0.999
    assert np.quantile(np.abs(found.confidence - confidence), 0.99) < 1e-2


def test_exact_mode_is_the_definition_with_the_full_size_network():
    preprocessing = Preprocessing(short_side=241, crop=241)
    segmenter = random_segmenter(official_config(100), preprocessing=preprocessing, side=161)
    image = photograph(240, 300)
    assert plan_crops(240, 300, preprocessing).crops == [(0, 0), (0, 1)]
    labels, confidence = plain_segmentation(segmenter._network.network, image, short_side=241, crop=241)
    found = segmenter.segment(image)
    assert len(np.unique(labels)) > 10
    assert (found.labels == labels).mean() >= 0.999
    assert np.quantile(np.abs(found.confidence - confidence), 0.99) < 1e-2


@pytest.mark.parametrize("name", sorted(available_weights()) or [None])
def test_fast_mode_agrees_with_exact_mode_on_shipped_networks(name):
    images = sorted((ROOT / "resources" / "demo" / "images").glob("*/*.jpg"))
    if name is None or not images:
        pytest.skip("no network in resources/models or no image in resources/demo yet")
    exact, fast = (load_segmenter(name, "cpu", precision) for precision in ("exact", "fast"))
    same = []
    for path in images[:: max(1, len(images) // 4)][:4]:
        image = read_image(path)
        same.append((exact.segment(image).labels == fast.segment(image).labels).mean())
    assert np.mean(same) >= 0.99, same


def test_fast_mode_agrees_with_exact_mode_where_the_answer_is_clear():
    config = small_config(10)
    exact, fast = (random_segmenter(config, mode, small_preprocessing(), side=225) for mode in ("exact", "fast"))
    image = photograph(240, 320)
    expected, found = exact.segment(image), fast.segment(image)
    clear = expected.confidence >= np.quantile(expected.confidence, 0.8)
    assert (expected.labels == found.labels)[clear].mean() > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (20, 5000), (3000, 2), (713, 714), (37, 53)])
@pytest.mark.parametrize("preprocessing", [Preprocessing(), small_preprocessing()], ids=["official", "small"])
def test_every_image_size_gets_a_label_map_of_its_own_size(size, preprocessing):
    padding = "reflect" if preprocessing.fit == "shrink" else "zeros"
    found = random_segmenter(tiny_config(padding=padding), "fast", preprocessing).segment(photograph(*size))
    assert found.labels.shape == found.confidence.shape == size
    assert found.confidence.min() >= 1 / 7 - 1e-3
    assert found.confidence.max() <= 1 + 1e-6


def test_a_uniform_image_gets_the_label_of_a_uniform_image_up_to_its_border():
    config = tiny_config(padding="reflect")
    found = random_segmenter(config, preprocessing=small_preprocessing()).segment(np.full((50, 70, 3), 90, np.uint8))
    assert len(np.unique(found.labels)) == 1


def test_read_only_images_are_read_and_left_alone():
    image = photograph(40, 60)
    image.setflags(write=False)
    before = image.copy()
    random_segmenter(tiny_config()).segment(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_rgb_image_are_refused(image):
    with pytest.raises(InputError, match=r"expected RGB \(H, W, 3\) uint8"):
        random_segmenter(tiny_config()).segment(image)


@pytest.mark.parametrize(("size", "target"), [((300, 400), (100, 160)), ((60, 50), (130, 101)), ((90, 91), (90, 45))])
def test_images_are_resized_as_pillow_does(size, target):
    image = photograph(*size)
    preprocessing = Preprocessing(short_side=min(target))
    plan = plan_crops(*size, preprocessing)
    plan = type(plan)(*(type(axis)(length, axis.crop, (0,), 90) for axis, length in zip((plan.y, plan.x), target)))
    pixels = prepare_pixels(image, plan, preprocessing)[:, : target[0], : target[1]].permute(1, 2, 0).numpy()
    difference = np.abs(pixels.astype(int) - triangle_resize(image, *target))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


def test_progress_rises_to_one_and_stopping_between_steps_stops_the_work():
    segmenter = random_segmenter(tiny_config())
    fractions = [step.fraction for step in segmenter.segment_steps(photograph(768, 1024))]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 6
    assert fractions[-1] == pytest.approx(1)
    steps = segmenter.segment_steps(photograph(768, 1024))
    next(steps)
    steps.close()


def small_memory(monkeypatch, segmenter: Segmenter, most: int, message: str) -> list[int]:
    """Let the network fail on more than ``most`` crops at once; returns the list of tried batch sizes."""
    tried, original = [], segmenter._run

    def run(pixels, plan, batch):
        tried.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError(message) if message.startswith("CUDA") else RuntimeError(message)
        return original(pixels, plan, batch)

    monkeypatch.setattr(segmenter, "_run", run)
    return tried


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory: you tried"])
def test_a_device_out_of_memory_is_asked_again_with_fewer_crops(monkeypatch, message):
    network_config, image = tiny_config(), photograph(768, 1024)
    expected = random_segmenter(network_config).segment(image)
    whole = random_segmenter(network_config)
    compute = ComputeConfig(device="cpu", precision="exact", dtype=torch.float32, batch_size=4)
    segmenter = Segmenter(whole._network.network, whole.info, compute)
    tried = small_memory(monkeypatch, segmenter, 1, message)
    found = segmenter.segment(image)
    assert tried == [4, 2, 1, 1, 1, 1, 1, 1]
    assert (found.labels == expected.labels).mean() > 0.999


def test_other_failures_and_memory_too_small_for_one_crop_are_not_hidden(monkeypatch):
    segmenter = random_segmenter(tiny_config())
    small_memory(monkeypatch, segmenter, 0, "CUDA out of memory")
    with pytest.raises(InputError, match="not enough memory on cpu for one crop of 713 x 713"):
        segmenter.segment(photograph(40, 40))
    small_memory(monkeypatch, segmenter, 0, "shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        segmenter.segment(photograph(40, 40))


def test_a_thousand_labels_on_a_large_image_need_bounded_memory():
    """1000 x 1024 x 1365 f32 alone would be 5.6 GB."""
    code = (
        "import resource, sys; sys.path[:0] = ['.', 'tests']\n"
        "from engine_networks import *\n"
        "segmenter, image = random_segmenter(tiny_config(1000)), photograph(3000, 4000)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = segmenter.segment(image)\n"
        "assert found.labels.shape == (3000, 4000) and len(set(found.labels[::50, ::50].ravel())) > 3\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 1e9


def test_weight_files_and_shipped_names_load_and_unknown_names_list_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter_module, "MODELS", tmp_path)
    config = tiny_config()
    info = NetworkInfo(vocabulary="streets", num_labels=7, preprocessing=Preprocessing(), config=config, names=tuple("abcdefg"))
    save_network(tmp_path / "street-7.safetensors", random_network(config), info)
    assert available_weights() == {"street-7": tmp_path / "street-7.safetensors"}
    for weights in ("street-7", tmp_path / "street-7.safetensors", str(tmp_path / "street-7.safetensors")):
        segmenter = load_segmenter(weights, "cpu", "exact")
        assert (segmenter.vocabulary, segmenter.num_labels, segmenter.names) == ("streets", 7, tuple("abcdefg"))
        assert (segmenter.device, segmenter.precision) == ("cpu", "exact")
    found = segmenter.segment(photograph(30, 40))
    assert (found.vocabulary, found.num_labels, found.names) == ("streets", 7, tuple("abcdefg"))
    with pytest.raises(
        WeightsError, match="nowhere: neither a weight file nor the name of a shipped network; shipped: street-7"
    ):
        load_segmenter("nowhere")


def test_devices_are_chosen_once_and_missing_ones_get_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto", "fast").batch_size >= 1
    assert choose_device("auto", "exact") == ComputeConfig(device="cpu", precision="exact", dtype=torch.float32, batch_size=1)
    with pytest.raises(InputError, match="device 'cuda' is not available here; available: cpu"):
        choose_device("cuda")
    with pytest.raises(InputError, match="device 'tpu', precision 'fast'; expected one of"):
        choose_device("tpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto", "fast").device == "mps"
    assert choose_device("auto", "fast").dtype == torch.float16


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_fast_mode_takes_bf16_only_where_the_processor_multiplies_it(monkeypatch, has_bf16, dtype):
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda: has_bf16, raising=False)
    assert choose_device("cpu", "fast").dtype == dtype
