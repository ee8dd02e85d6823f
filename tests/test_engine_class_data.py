"""Annotated images: the layouts of CamVid, Cityscapes and Mapillary Vistas, and worlds, as data for pre-training."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_preprocessing, toy_set

from core.engine.augmentation import AugmentationConfig
from core.engine.class_data import ClassData, join_class_data, open_class_data
from core.engine.class_layouts import LAYOUTS, VISTAS_NAMES
from core.engine.class_training import ClassRun, evaluate_classes, train_classes
from core.engine.losses import IGNORE
from core.engine.optimization import OptimizationConfig
from core.engine.pretraining import PretrainingConfig, class_batch
from core.engine.weights import NetworkInfo, load_network, save_network
from core.errors import InputError, SceneError, WeightsError
from core.images import read_labels, write_image
from core.records import LabelMap
from core.world.classes import CLASS_NAMES

fixture_threads = pytest.fixture(autouse=True)(on_one_thread)

SIZE = (48, 40)  # width, height


def photograph(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
    write_image(path, np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def blocks(ids: list[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """One upright stripe for each id, (H, W) u8."""
    columns = np.array(ids, np.uint8)[np.arange(size[0]) * len(ids) // size[0]]
    return np.tile(columns, (size[1], 1))


def palette_png(path: Path, indices: np.ndarray) -> None:
    """An 8 bit PNG with a palette, as Mapillary Vistas has them; every second row is stored by the differences to its left."""
    height, width = indices.shape
    rows = bytearray()
    for number, row in enumerate(indices):
        if number % 2:
            row = np.diff(row, prepend=np.uint8(0))
        rows += bytes([number % 2]) + row.astype(np.uint8).tobytes()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    colors = bytes((7 * index + 3 * channel) % 256 for index in range(256) for channel in range(3))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"PLTE", colors), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")):
        content += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def camvid(root: Path, num: int = 3, size: tuple[int, int] = SIZE) -> Path:
    for folder in ("train", "val"):
        for k in range(num):
            photograph(root / folder / f"000{k}.jpg", k, size)
            write_image(root / f"{folder}annot" / f"000{k}.png", blocks(list(range(12)), size))
    return root


def cityscapes(root: Path, num: int = 3) -> Path:
    for part in ("train", "val"):
        for k in range(num):
            photograph(root / "leftImg8bit" / part / "bonn" / f"bonn_{k}_leftImg8bit.png", k)
            labels = root / "gtFine" / part / "bonn" / f"bonn_{k}_gtFine_labelIds.png"
            write_image(labels, blocks([0, 7, 8, 11, 24, 33, 29, 255]))
    return root


def vistas(root: Path, num: int = 3, labels: str = "labels") -> Path:
    for part in ("training", "validation"):
        for k in range(num):
            size = (SIZE[0] + 10 * k, SIZE[1] + 4 * k)
            photograph(root / part / "images" / f"{k}.jpg", k, size)
            palette_png(root / part / labels / f"{k}.png", blocks([0, 13, 27, 64, 65], size))
    return root


MAKERS = {"camvid": camvid, "cityscapes": cityscapes, "vistas": vistas}
EXPECTED = {
    "camvid": [10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12, IGNORE],
    "cityscapes": [IGNORE, 0, 1, 2, 11, 18, IGNORE, IGNORE],
    "vistas": [0, 13, 27, 64, IGNORE],
}


@pytest.mark.parametrize("layout", list(MAKERS))
def test_a_layout_is_recognised_and_its_ids_are_translated(layout, tmp_path):
    data = open_class_data(MAKERS[layout](tmp_path), short_side=SIZE[1])
    assert (len(data.train), len(data.validation)) == (3, 3)
    view = data.train.view(0)
    assert view.images[0].shape == (*SIZE[::-1], 3)
    assert view.classes[0].shape == view.images[0].shape[:2]
    np.testing.assert_array_equal(view.classes[0], blocks(EXPECTED[layout]))
    assert view.conditions == (layout,)
    assert len(view.classes) == 1
    assert len(view.correspondences) == 0
    assert (data.vocabulary, len(data.names)) == (("vistas-66", 66) if layout == "vistas" else ("cityscapes-19", 19))


def test_the_class_names_are_those_of_the_ids():
    assert LAYOUTS["camvid"].names == CLASS_NAMES
    named = {VISTAS_NAMES[index] for index in (13, 17, 27, 30, 55, 65)}
    assert named == {"road", "building", "sky", "vegetation", "car", "unlabelled"}
    assert len(set(VISTAS_NAMES)) == 66
    camvid_names = [CLASS_NAMES[index] for index in EXPECTED["camvid"][:11]]
    assert camvid_names == [
        *("sky", "building", "pole", "road", "sidewalk", "vegetation", "traffic sign", "fence", "car", "person", "rider")
    ]


def test_the_archives_of_vistas_2_keep_the_older_labels_in_a_folder(tmp_path):
    data = open_class_data(vistas(tmp_path, labels="v1.2/labels"))
    assert set(np.unique(data.train.view(2).classes[0])) == set(EXPECTED["vistas"])


@pytest.mark.parametrize("layout", ["folders", "one folder"])
def test_camvids_colours_become_train_ids(layout, tmp_path):
    folders = {"folders": ("train", "train_labels"), "one folder": ("701_StillsRaw_full", "LabeledApproved_full")}[layout]
    colors = {(128, 64, 128): 0, (64, 192, 0): 3, (192, 0, 192): 17, (192, 128, 192): IGNORE, (1, 2, 3): IGNORE}
    stripes = np.array(list(colors), np.uint8)[blocks(list(range(5)))]
    for k in range(4):
        photograph(tmp_path / folders[0] / f"{k}.png", k)
        write_image(tmp_path / folders[1] / f"{k}_L.png", stripes)
    data = open_class_data(tmp_path)
    np.testing.assert_array_equal(data.train.view(0).classes[0], blocks(list(colors.values())))
    assert (len(data.train), len(data.validation)) == (3, 1)  # a tenth, but at least one


def test_annotations_are_resized_with_their_photographs_without_new_classes(tmp_path):
    view = open_class_data(camvid(tmp_path), short_side=100).train.view(0)
    assert view.images[0].shape == (100, 120, 3)
    assert set(np.unique(view.classes[0])) == set(EXPECTED["camvid"])


def test_worlds_are_class_data_that_joins_with_photographs(tmp_path):
    toy_set(tmp_path / "worlds", 10)
    worlds, photographs = open_class_data(tmp_path / "worlds"), open_class_data(camvid(tmp_path / "camvid"))
    assert (len(worlds.train), len(worlds.validation)) == (9, 1)
    joined = join_class_data([worlds, photographs])
    assert (len(joined.train), len(joined.validation)) == (12, 4)
    config = PretrainingConfig(optimization=OptimizationConfig(batch_size=8), augmentation=AugmentationConfig(crop=33))
    batch = class_batch(joined.train, config, 8, 0)
    assert batch.images.shape == (8, 3, 33, 33)
    assert batch.classes.shape == (8, 33, 33)
    with pytest.raises(InputError, match="cityscapes-19, vistas-66"):
        join_class_data([worlds, open_class_data(vistas(tmp_path / "vistas"))])


def test_images_of_different_sizes_make_one_batch(tmp_path):
    data = open_class_data(vistas(tmp_path), short_side=None)
    config = PretrainingConfig(optimization=OptimizationConfig(batch_size=6), augmentation=AugmentationConfig(crop=33))
    batch = class_batch(data.train, config, 8, 1)
    assert batch.images.shape == (6, 3, 33, 33)
    assert set(batch.classes.unique().tolist()) <= set(EXPECTED["vistas"])


def test_a_palette_image_is_read_as_its_indices(tmp_path):
    indices = np.random.default_rng(0).integers(0, 256, (23, 17), dtype=np.uint8)
    palette_png(tmp_path / "a.png", indices)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), indices)
    colours = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_COLOR_RGB)  # a whole image to another reader
    np.testing.assert_array_equal(colours[..., 0], (7 * indices.astype(int)) % 256)


# What cannot be used


def test_what_does_not_fit_is_one_sentence_with_the_file(tmp_path):
    root = camvid(tmp_path)
    write_image(root / "trainannot/0000.png", blocks([0, 12]))
    write_image(root / "trainannot/0001.png", blocks([0, 1], (20, 20)))
    (root / "trainannot/0002.png").write_bytes(b"")
    data = open_class_data(root)
    words = ("found the id 12, expected 0 to 11", "is 20 x 20, but its image 0001.jpg is 48 x 40", "the image file is empty")
    for index, sentence in enumerate(words):
        with pytest.raises(InputError, match=sentence) as refused:
            data.train.view(index).classes[0]
        assert str(refused.value).startswith(str(root / f"trainannot/000{index}.png"))


def test_a_photograph_without_annotation_is_named(tmp_path):
    root = cityscapes(tmp_path)
    (root / "gtFine/train/bonn/bonn_1_gtFine_labelIds.png").unlink()
    with pytest.raises(SceneError, match=r"bonn_1_leftImg8bit\.png: its annotation is missing, expected .*bonn_1_gtFine"):
        open_class_data(root)


def test_folders_without_annotated_images_are_refused(tmp_path):
    for path, layout, words in (
        (tmp_path / "lost", None, "no such folder"),
        (tmp_path, None, "no annotated images found, expected rendered shards"),
        (tmp_path, "vistas", "no annotated images in the layout of vistas"),
        (tmp_path, "world", "no training shards"),
        (tmp_path, "ade20k", "layout 'ade20k' is not known"),
    ):
        with pytest.raises(InputError, match=words):
            open_class_data(path, layout)


# Training and measuring


def tiny_config(iterations: int = 3) -> PretrainingConfig:
    return PretrainingConfig(
        optimization=OptimizationConfig(iterations=iterations, batch_size=4, warmup=1, snapshot_every=2),
        augmentation=AugmentationConfig(crop=33),
    )


def start_weights(path: Path, num_labels: int = 4) -> Path:
    network = toy_network(num_labels)
    info = NetworkInfo(vocabulary="toy", num_labels=num_labels, preprocessing=toy_preprocessing(), config=network.config)
    save_network(path, network, info)
    return path


def test_a_run_writes_a_network_with_names_and_measures_it(tmp_path):
    run = ClassRun((camvid(tmp_path / "camvid"),), init=start_weights(tmp_path / "start.safetensors"))
    out = tmp_path / "out/net.safetensors"
    steps, scores = drain(train_classes(run, out, tiny_config()))
    network, info = load_network(out)
    assert (info.vocabulary, info.names) == ("cityscapes-19", CLASS_NAMES)
    assert network.config.stem == toy_network().config.stem
    assert steps[-1].fraction == 1.0
    assert scores.num_images == 3
    assert np.isnan(scores.iou[CLASS_NAMES.index("train")])
    assert scores.as_row()["iou"]["train"] is None
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.safetensors"]  # no snapshot stays


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    run = ClassRun((camvid(tmp_path / "camvid"),), init=start_weights(tmp_path / "start.safetensors"))
    whole, parted = tmp_path / "whole.safetensors", tmp_path / "parted.safetensors"
    drain(train_classes(run, whole, tiny_config(5)))
    steps = train_classes(run, parted, tiny_config(5))
    for _ in range(4):  # the reading of lists and three training steps
        next(steps)
    steps.close()
    assert not parted.exists()
    assert next(train_classes(run, parted, tiny_config(6))).message  # other settings have a snapshot of their own
    resumed, _ = drain(train_classes(run, parted, tiny_config(5)))
    assert [step.step for step in resumed if hasattr(step, "step")] == [3, 4]
    assert not list(tmp_path.glob(".*.training"))
    states = [load_network(path)[0].state_dict() for path in (whole, parted)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=0)


def test_what_cannot_be_trained_is_refused_before_any_work(tmp_path):
    run = ClassRun((camvid(tmp_path / "camvid"),))
    single = PretrainingConfig(optimization=OptimizationConfig(batch_size=1))
    for out, config, words in (
        ("net.pth", tiny_config(), "expected such a name"),
        ("net.safetensors", single, "the batch size is 1"),
        ("net.safetensors", PretrainingConfig(augmentation=AugmentationConfig(crop=32)), "crop is 32 px"),
    ):
        with pytest.raises((InputError, WeightsError), match=words):
            next(train_classes(run, tmp_path / out, config))


def test_perfect_labels_have_a_mean_iou_of_one(tmp_path):
    data: ClassData = open_class_data(camvid(tmp_path))
    truth = data.validation.view(0).classes[0]
    answer = LabelMap(np.where(truth == IGNORE, 0, truth), 19, "cityscapes-19")
    _, scores = drain(evaluate_classes(lambda image: answer, data.validation, data.names, max_images=2))
    assert (scores.miou, scores.pixel_accuracy, scores.num_images) == (1.0, 1.0, 2)
    shifted = LabelMap(np.where(answer.labels == 0, 1, answer.labels), 19, "cityscapes-19")
    _, scores = drain(evaluate_classes(lambda image: shifted, data.validation, data.names))
    assert scores.iou[0] == 0.0
    assert scores.iou[1] == pytest.approx(0.5, abs=0.1)  # road taken for pavement
    assert scores.miou == pytest.approx((9 + scores.iou[1]) / 11)


def test_camvid_itself_is_read_and_its_pixels_are_plausible(shared_data):
    data = open_class_data(shared_data("camvid"))
    assert (len(data.train), len(data.validation)) == (367, 101)
    counts = np.zeros(256, np.int64)
    rows = np.zeros(256)
    for index in range(0, 101, 20):
        classes = data.validation.view(index).classes[0]
        assert classes.shape == data.validation.view(index).images[0].shape[:2] == (360, 480)
        for k in np.unique(classes):
            counts[k] += (classes == k).sum()
            rows[k] += np.nonzero(classes == k)[0].sum()
    height = rows / np.maximum(counts, 1)
    sky, road, building = (CLASS_NAMES.index(name) for name in ("sky", "road", "building"))
    assert height[sky] < height[building] < height[road]
    assert counts[road] / counts.sum() > 0.15
    assert counts[IGNORE] / counts.sum() < 0.15
