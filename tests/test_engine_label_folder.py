"""Folders of label images stand in for a network: found by name, resized, and refused in one sentence where they cannot."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from core.engine.label_folder import CITYSCAPES, is_label_folder, open_label_folder
from core.engine.segmenter import load_segmenter
from core.engine.weight_folders import statistics_beside
from core.errors import InputError, WeightsError
from core.evaluation.label_store import LabelStore
from core.images import read_image, read_labels, write_image
from core.records import ImageData
from core.scene.scene import open_scene
from core.steps import finish
from fgsn_viewer import cli
from fgsn_viewer.bootstrap import core_pipelines
from fgsn_viewer.commands_evaluation import labelling_of
from fgsn_viewer.labelling import Labelling
from resources import DEMO, MODELS

PHOTO = np.zeros((12, 16, 3), np.uint8)


def labels_16(high: int = 99, shape=(12, 16), seed: int = 0) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, high + 1, shape).astype(np.uint16)
    labels[0, 0] = high
    return labels


def palette_png(path: Path, indices: np.ndarray, bits: int = 8) -> None:
    """Write a palette PNG by hand, with several indices a byte where ``bits`` is under 8."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = indices.shape
    planes = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
    palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    head = struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = (
        chunk(b"IHDR", head) + chunk(b"PLTE", palette.tobytes()) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def train_ids(void: bool = True) -> np.ndarray:
    ids = (np.arange(12 * 16).reshape(12, 16) % 19).astype(np.uint8)
    ids[3, 4:7] = 255 if void else 18
    return ids


def test_labels_of_16_bit_come_back_as_they_are_and_the_folder_names_the_vocabulary(tmp_path):
    folder = tmp_path / "cmu-100"
    write_image(folder / "snow" / "a.png", labels_16(99))
    write_image(folder / "overcast" / "a.png", labels_16(60, seed=1))
    segmenter = load_segmenter(folder)
    assert (segmenter.vocabulary, segmenter.num_labels, segmenter.names) == ("cmu-100", 100, None)
    found = segmenter.segment(PHOTO, Path("/anywhere/images/overcast/a.jpg"))
    assert (found.vocabulary, found.num_labels, found.confidence) == ("cmu-100", 100, None)
    np.testing.assert_array_equal(found.labels, labels_16(60, seed=1))
    np.testing.assert_array_equal(segmenter.segment(PHOTO, Path("images/snow/a.jpg")).labels, labels_16(99))


@pytest.mark.parametrize("write", [palette_png, write_image])
def test_train_ids_of_cityscapes_have_names_and_a_void_label_that_never_counts(tmp_path, write):
    write(tmp_path / "ids" / "a.png", train_ids())
    segmenter = load_segmenter(tmp_path / "ids")
    assert (segmenter.vocabulary, segmenter.num_labels) == (CITYSCAPES, 20)
    assert (segmenter.names[0], segmenter.names[18], segmenter.names[19]) == ("road", "bicycle", "void")
    found = segmenter.segment(PHOTO, Path("a.jpg")).labels
    np.testing.assert_array_equal(found, np.where(train_ids() == 255, 19, train_ids()))
    statistics = statistics_beside(tmp_path / "ids")
    assert statistics.stationary.tolist() == [True] * 11 + [False] * 9


def test_train_ids_have_the_same_vocabulary_whether_or_not_an_image_has_void_pixels(tmp_path):
    write_image(tmp_path / "map" / "a.png", train_ids(void=False))
    write_image(tmp_path / "queries" / "a.png", train_ids())
    first, second = (load_segmenter(tmp_path / name) for name in ("map", "queries"))
    assert (first.vocabulary, first.num_labels) == (second.vocabulary, second.num_labels)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_colours_give_their_indices(tmp_path, bits):
    indices = np.random.default_rng(0).integers(0, 2**bits, (7, 11))
    palette_png(tmp_path / "few.png", indices, bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "few.png"), indices)


def test_palettes_that_pillow_writes_give_their_indices(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for colours in (3, 14, 200):
        indices = (np.arange(77).reshape(7, 11) % colours).astype(np.uint8)
        picture = image.new("P", (11, 7))
        picture.putdata(indices.ravel().tolist())
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 3 * colours).tolist())
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        (tmp_path / f"{colours}.png").write_bytes(stream.getvalue())
        np.testing.assert_array_equal(read_labels(tmp_path / f"{colours}.png"), indices)


def test_the_files_of_cityscapes_are_found_by_the_names_of_its_photographs(tmp_path):
    city = tmp_path / "gtFine" / "aachen"
    write_image(city / "aachen_000000_000019_gtFine_labelTrainIds.png", train_ids())
    write_image(city / "aachen_000000_000019_gtFine_labelIds.png", train_ids() * 0 + 33)
    write_image(city / "aachen_000000_000019_gtFine_instanceIds.png", labels_16(33_000))
    write_image(city / "aachen_000000_000019_gtFine_color.png", PHOTO)
    segmenter = load_segmenter(tmp_path / "gtFine")
    found = segmenter.segment(PHOTO, tmp_path / "leftImg8bit" / "aachen" / "aachen_000000_000019_leftImg8bit.png")
    assert found.vocabulary == CITYSCAPES
    assert found.labels[3, 4] == 19


def test_names_with_dots_and_with_the_image_s_own_ending_are_found(tmp_path):
    write_image(tmp_path / "img_1_c0_us.rect.png", labels_16(30))
    write_image(tmp_path / "b.jpg.png", labels_16(30, seed=1))
    segmenter = load_segmenter(tmp_path)
    np.testing.assert_array_equal(segmenter.segment(PHOTO, Path("q/img_1_c0_us.rect.jpg")).labels, labels_16(30))
    np.testing.assert_array_equal(segmenter.segment(PHOTO, Path("q/b.jpg")).labels, labels_16(30, seed=1))


def test_other_sizes_are_resized_by_the_nearest_pixel(tmp_path):
    small = labels_16(40, (3, 4))
    write_image(tmp_path / "a.png", small)
    found = load_segmenter(tmp_path).segment(PHOTO, Path("a.jpg")).labels
    np.testing.assert_array_equal(found, small.repeat(4, 0).repeat(4, 1))
    rough = load_segmenter(tmp_path).segment(np.zeros((30, 41, 3), np.uint8), Path("a.jpg")).labels
    assert rough.shape == (30, 41)
    with pytest.raises(InputError, match=r"a\.png: is 4 x 3 px for an image of 12 x 16 px; expected labels of the whole image"):
        load_segmenter(tmp_path).segment(np.zeros((16, 12, 3), np.uint8), Path("a.jpg"))


def test_a_missing_label_image_is_one_sentence(tmp_path):
    write_image(tmp_path / "a.png", labels_16())
    segmenter = load_segmenter(tmp_path)
    with pytest.raises(InputError, match=r"no label image for .*snow/b\.jpg; expected snow/b\.png or b\.png there"):
        segmenter.segment(PHOTO, Path("snow/b.jpg"))
    with pytest.raises(InputError, match="found by the names of image files"):
        segmenter.segment(PHOTO)


def test_one_file_is_not_taken_for_two_images(tmp_path):
    write_image(tmp_path / "a.png", labels_16())
    segmenter = load_segmenter(tmp_path)
    segmenter.segment(PHOTO, Path("snow/a.jpg"))
    segmenter.segment(PHOTO, Path("snow/a.jpg"))
    with pytest.raises(InputError, match=r"a\.png: would be the labels of snow/a\.jpg and of overcast/a\.jpg"):
        segmenter.segment(PHOTO, Path("overcast/a.jpg"))


def test_a_description_says_what_the_images_cannot(tmp_path):
    write_image(tmp_path / "a.png", labels_16(4))
    (tmp_path / "labels.json").write_text(json.dumps({"vocabulary": "v", "num_labels": 6, "names": list("abcdef"), "void": 4}))
    found = load_segmenter(tmp_path).segment(PHOTO, Path("a.jpg"))
    assert (found.vocabulary, found.num_labels, found.names) == ("v", 7, (*"abcdef", "void"))
    assert (found.labels == np.where(labels_16(4) == 4, 6, labels_16(4))).all()
    (tmp_path / "labels.json").write_text(json.dumps({"num_labels": 3}))
    with pytest.raises(WeightsError, match=r"a\.png: has label 4, expected less than 3 as labels\.json says"):
        load_segmenter(tmp_path).segment(PHOTO, Path("a.jpg"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"num_labels": 0}',
        '{"num_labels": 70000}',
        '{"num_labels": 2, "names": ["a"]}',
        '{"num_labels": true}',
        '{"num_labels": 2, "void": "x"}',
        '{"num_labels": 2, "what": 1}',
        "[" * 100_000,
    ],
)
def test_a_description_that_cannot_be_used_says_so(tmp_path, text):
    write_image(tmp_path / "a.png", labels_16())
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(WeightsError, match=r"labels\.json: not a description of label images"):
        load_segmenter(tmp_path)


def test_folders_of_something_else_are_no_label_folders(tmp_path):
    write_image(tmp_path / "photos" / "a.png", PHOTO)
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "run" / "a.png", labels_16())
    (tmp_path / "run" / "weights.pth").write_bytes(b"")
    assert not any(is_label_folder(tmp_path / name) for name in ("photos", "empty", "run", "nowhere"))
    for name in ("photos", "empty"):
        with pytest.raises(WeightsError, match=f"{name}: a folder without weights"):
            load_segmenter(tmp_path / name)
    with pytest.raises(WeightsError, match="empty: no label images found"):
        open_label_folder(tmp_path / "empty")


def test_mixed_depths_and_two_files_for_one_image_are_refused(tmp_path):
    write_image(tmp_path / "mixed" / "a.png", labels_16())
    write_image(tmp_path / "mixed" / "b.png", train_ids())
    with pytest.raises(WeightsError, match="mixed: holds label images of 8 and of 16 bit"):
        load_segmenter(tmp_path / "mixed")
    write_image(tmp_path / "twice" / "a.png", labels_16())
    write_image(tmp_path / "twice" / "a.jpg.png", labels_16())
    with pytest.raises(WeightsError, match=r"a\.png: a\.jpg\.png is for the same image"):
        load_segmenter(tmp_path / "twice")


def test_a_cut_off_label_image_is_named(tmp_path):
    write_image(tmp_path / "a.png", labels_16())
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"b\.png: the image is cut off"):
        load_segmenter(tmp_path)


def test_links_that_go_in_a_circle_end(tmp_path):
    write_image(tmp_path / "a.png", labels_16())
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert load_segmenter(tmp_path).num_labels == 100


def test_the_store_of_an_evaluation_keeps_and_gives_label_images(tmp_path):
    photo = tmp_path / "images" / "snow" / "a.png"
    write_image(photo, PHOTO)
    write_image(tmp_path / "labels" / "snow" / "a.png", labels_16(30))
    before = labelling_of(str(tmp_path / "labels"))
    assert (before.name, before.vocabulary, before.num_labels) == ("labels", "labels", 31)
    image = ImageData("snow/a.png", photo)
    for _ in range(2):
        store = LabelStore(before, tmp_path / "cache")
        np.testing.assert_array_equal(store.labels(image)[0].labels, labels_16(30))
    write_image(tmp_path / "labels" / "snow" / "a.png", labels_16(30, seed=5))
    assert labelling_of(str(tmp_path / "labels")).identity != before.identity


QUERY = "snow/0000.jpg"


@pytest.fixture
def demo(tmp_path) -> Path:
    """The demo scene with one query, in a folder of its own."""
    shutil.copytree(DEMO, tmp_path / "scene", ignore=shutil.ignore_patterns("autumn", "dusk", "night", "sun"))
    queries = (DEMO / "queries.txt").read_text().splitlines()
    (tmp_path / "scene" / "queries.txt").write_text("".join(f"{line}\n" for line in queries if line.startswith(QUERY)))
    return tmp_path / "scene"


def rows(capsys, *arguments: object) -> list[dict]:
    assert cli.main([str(argument) for argument in (*arguments, "--json", "--quiet")]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_segment_wrote_stands_in_for_the_network_that_labelled_the_map(demo, tmp_path, capsys):
    folder = tmp_path / "labels"
    assert rows(capsys, "segment", demo / "images" / QUERY, "--out", folder)[0]["vocabulary"] == "world-100"
    shutil.copy(MODELS / "world-100.labels.safetensors", tmp_path / "labels.labels.safetensors")
    assert statistics_beside(folder).stationary.sum() > 20
    (found,) = rows(capsys, "localize", demo, "--method", "ssmc", "--weights", folder)
    assert found["position_error_m"] < 1
    assert found["label_agreement"] > 0.1  # the map has the network's labels; most matches are wrong and rarely agree


@pytest.fixture
def bands(demo, tmp_path) -> Path:
    """Train ids in bands for every image of the demo, as another program may have made them."""
    for image in (demo / "images").rglob("*.jpg"):
        ids = np.repeat((np.arange(12) % 6).astype(np.uint8)[:, None], 16, axis=1)
        ids[0] = 255
        palette_png(tmp_path / "bands" / image.parent.name / f"{image.stem}_gtFine_labelTrainIds.png", ids)
    return tmp_path / "bands"


def test_a_map_is_labelled_and_a_query_localized_and_evaluated_with_label_images_alone(demo, bands, tmp_path, capsys):
    labelled = rows(capsys, "label", demo, "--weights", bands)[0]
    assert labelled["vocabulary"] == CITYSCAPES
    (found,) = rows(capsys, "localize", demo, "--method", "ssmc", "--weights", bands)
    assert found["failure"] is None
    assert found["position_error_m"] < 1
    assert 0 < found["label_agreement"] <= 1
    evaluated = ["evaluate", demo, "--methods", "ssmc", "--weights", bands, "--out", tmp_path / "out"]
    assert rows(capsys, *evaluated)[0]["num_queries"] == 1


def test_a_query_without_label_image_is_bad_input_at_the_prompt(demo, bands, capsys):
    next((bands / "snow").glob("0000*")).unlink()
    assert cli.main(["localize", str(demo), "--query", QUERY, "--method", "ssmc", "--weights", str(bands), "--quiet"]) == 2
    assert "vocabulary 'cityscapes-19-void'; add them with `label`" in capsys.readouterr().err
    assert cli.main(["label", str(demo), "--weights", str(bands), "--quiet"]) == 0
    assert cli.main(["localize", str(demo), "--query", QUERY, "--method", "ssmc", "--weights", str(bands), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "no label image for" in error
    assert error.count("\n") == 1


def test_the_window_s_labelling_takes_a_folder_as_it_takes_a_network(bands, demo):
    labelling = Labelling(core_pipelines())
    image = next(image for image in open_scene(demo).queries if image.name == QUERY)
    found = finish(labelling.labels_of(bands, image, read_image(image.path)))
    assert found.vocabulary == CITYSCAPES
    assert found.labels.shape == read_image(image.path).shape[:2]
    assert labelling.statistics(bands).stationary.sum() == 11
