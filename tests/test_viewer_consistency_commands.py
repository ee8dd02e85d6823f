"""The commands that measure labels, at the prompt."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest
from benchmark_toys import TrueScene
from engine_toys import on_one_thread, toy_network, toy_set

from core.engine.weights import NetworkInfo, save_network, small_preprocessing
from core.images import write_image
from core.records import Correspondences
from core.scene.correspondences import write_correspondences
from core.scene.label_statistics import find_label_statistics, load_label_statistics
from core.scene.scene import open_scene
from core.world.layouts_kapture import write_kapture
from fgsn_viewer.cli import main

KEYS = ["agreement", "chance", "kappa", "nmi", "mutual_information_bits", "effective_labels", "num_correspondences"]

one_thread = pytest.fixture(autouse=True)(on_one_thread)


@pytest.fixture
def label_images(tmp_path):
    """Two label images of 40 x 30: four quarters; in the second one the last quarter has another label."""
    first = np.zeros((30, 40), np.uint16)
    first[:15, 20:], first[15:, :20], first[15:, 20:] = 300, 7, 9
    second = first.copy()
    second[15:, 20:] = 7
    for name, labels in (("a", first), ("b", second), ("small", first[:20])):
        cv2.imwrite(str(tmp_path / f"{name}.png"), labels)
    return tmp_path


@pytest.fixture
def weights(tmp_path):
    """A tiny untrained network that sees images as small as they are."""
    network = toy_network(5)
    seen = replace(small_preprocessing(), short_side=64)
    info = NetworkInfo(vocabulary="toy-5", num_labels=5, preprocessing=seen, config=network.config)
    save_network(tmp_path / "toy-5.safetensors", network, info)
    return tmp_path / "toy-5.safetensors"


def printed(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_aligned_label_images_give_exactly_the_numbers_asked_for(label_images, capsys):
    a, b = str(label_images / "a.png"), str(label_images / "b.png")
    assert main(["consistency", a, b, "--aligned", "--labels", "--json"]) == 0
    row = printed(capsys)
    assert list(row) == KEYS
    assert row["num_correspondences"] == 1200
    assert row["agreement"] == pytest.approx(0.75)
    assert row["chance"] == pytest.approx(1 / 16 + 1 / 16 + 2 / 16)
    assert row["mutual_information_bits"] == pytest.approx(1.5)


def test_labels_and_the_condition_are_listed_when_asked(label_images, capsys):
    a, b = str(label_images / "a.png"), str(label_images / "b.png")
    assert main(["consistency", a, b, "--aligned", "--labels", "--per-label", "--per-condition", "--json"]) == 0
    row = printed(capsys)
    assert list(row) == [*KEYS, "per_condition", "per_label"]
    kept = {one["label"]: (one["kept"], one["kappa"]) for one in row["per_label"]}
    assert kept[0] == kept[300] == (1, 1)
    assert kept[9] == (0, 0)
    assert row["per_condition"][0]["kappa"] == row["kappa"]
    assert main(["consistency", a, b, "--aligned", "--labels", "--per-label"]) == 0
    assert "kappa" in capsys.readouterr().out


def write_points(path, points, other=None):
    points = np.asarray(points, np.float64)
    other = points if other is None else np.asarray(other, np.float64)
    write_correspondences(path, "day/a.png", "night/b.png", Correspondences(points, other, np.ones(len(points))))


def test_a_correspondence_file_is_followed_in_either_order(label_images, capsys):
    a, b, file = (str(label_images / name) for name in ("a.png", "b.png", "pair.mat"))
    write_points(file, [[1, 1], [30, 20], [30, 25]], [[1, 1], [30, 20], [30, 2]])
    assert main(["consistency", a, b, "--correspondences", file, "--labels", "--json"]) == 0
    row = printed(capsys)
    assert (row["num_correspondences"], row["agreement"]) == (3, pytest.approx(1 / 3))
    assert main(["consistency", b, a, "--correspondences", file, "--labels", "--json"]) == 0
    assert printed(capsys)["agreement"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("points", "message"), [([[1, 1], [40, 3]], "lie outside of a.png"), ([[np.nan, 3], [1, 1]], "not finite")]
)
def test_points_that_cannot_be_are_refused(label_images, capsys, points, message):
    file = str(label_images / "pair.mat")
    write_points(file, [[1, 1], [2, 2]])
    with h5py.File(file, "r+") as stored:
        stored["pt_i"][...] = np.asarray(points)
    assert main(["consistency", *(str(label_images / f"{n}.png") for n in "ab"), "--correspondences", file, "--labels"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "small.png", "--aligned", "--labels"], "expected one size"),
        (["a.png", "--aligned", "--labels"], "two images are needed, got 1"),
        (["--aligned"], "two images are needed, got none"),
        (["a.png", "gone.png", "--aligned", "--labels"], "gone.png: no such image file"),
        (["a.png", "b.png", "--correspondences", "gone.mat", "--labels"], "gone.mat: no such correspondence file"),
        (["a.png", "b.png", "--scene", "gone", "--labels"], "gone: no such folder"),
        (["a.png", "b.png", "--labels"], "one of the arguments"),
    ],
)
def test_bad_input_ends_with_two_and_one_sentence(label_images, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(label_images)
    assert main(["consistency", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def season_folder(tmp_path):
    """The paper's layout: two references by day, the same places at night and in snow, points everywhere."""
    random = np.random.default_rng(0)
    root = tmp_path / "pairs"
    for place in ("p1", "p2"):
        image = random.integers(0, 255, (8, 10, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        for condition, light in (("day", 1.0), ("night", 0.3), ("snow", 0.9)):
            (root / "images" / condition).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "images" / condition / f"{place}.png"), (image * light).astype(np.uint8))
        points = np.column_stack([random.uniform(0, 79, 50), random.uniform(0, 63, 50)])
        for condition in ("night", "snow"):
            names = (f"day/{place}.png", f"{condition}/{place}.png")
            file = root / "correspondences" / f"{place}_{condition}.mat"
            write_correspondences(file, *names, Correspondences(points, points, np.ones(50)))
    return root


def test_a_scene_gives_its_conditions_and_intervals(season_folder, weights, capsys):
    command = ["consistency", "--scene", str(season_folder), "--weights", str(weights), "--json", "--quiet"]
    assert main([*command, "--intervals", "--per-label"]) == 0
    row = printed(capsys)
    assert list(row) == [*KEYS, "per_condition", "per_label", "intervals"]
    assert [(one["condition"], one["num_pairs"]) for one in row["per_condition"]] == [("night", 2), ("snow", 2)]
    assert row["num_correspondences"] == sum(one["num_correspondences"] for one in row["per_condition"]) == 200
    low, high = row["intervals"]["agreement"]
    assert low <= row["agreement"] <= high
    assert main([*command, "--max-views", "1"]) == 0
    assert printed(capsys)["num_correspondences"] == 100


def test_two_images_of_a_scene_are_compared_at_its_points_in_either_order(season_folder, weights, capsys):
    day, night = (str(season_folder / "images" / condition / "p1.png") for condition in ("day", "night"))
    command = ["--scene", str(season_folder), "--weights", str(weights), "--json", "--quiet"]
    assert main(["consistency", day, night, *command]) == 0
    forth = printed(capsys)
    assert list(forth) == KEYS
    assert forth["num_correspondences"] == 50
    assert main(["consistency", night, day, *command]) == 0
    assert printed(capsys)["kappa"] == pytest.approx(forth["kappa"])
    other = str(season_folder / "images" / "snow" / "p2.png")
    assert main(["consistency", day, other, *command]) == 2
    assert "has no correspondences between p1.png and p2.png" in capsys.readouterr().err


def test_stationary_labels_are_listed_and_kept_beside_the_weights(tmp_path, weights, capsys):
    toy_set(tmp_path / "set")
    command = ["stationary", "--weights", str(weights), "--data", str(tmp_path / "set"), "--quiet", "--json"]
    official = tmp_path / "stationary_inds.npy"
    assert main([*command, "--rule", "relative", "--every", "1", "--official", str(official)]) == 0
    row = printed(capsys)
    found = find_label_statistics(weights)
    assert row["out"] == str(tmp_path / "toy-5.labels.safetensors")
    assert found.vocabulary == "toy-5"
    assert [one["stationary"] for one in row["labels"]] == found.stationary.tolist()
    assert row["num_stationary"] == len(np.load(official)) > 0
    assert sum(one["num_correspondences"] for one in row["labels"]) == found.joint.sum() == 6 * 200


def test_a_rule_that_finds_nothing_says_what_to_do(tmp_path, weights, capsys):
    toy_set(tmp_path / "set")
    out = tmp_path / "other" / "x.labels.safetensors"
    command = ["stationary", "--weights", str(weights), "--data", str(tmp_path / "set"), "--threshold", "0.9"]
    assert main([*command, "--quiet", "--out", str(out)]) == 2
    written = capsys.readouterr()
    assert f"{out}: not written, no label is stationary" in written.err
    assert "need --rule relative" in written.err
    assert not out.exists()


def test_the_places_that_a_training_kept_apart_can_be_counted_alone(tmp_path, weights, capsys):
    toy_set(tmp_path / "set", num_views=8)
    command = ["stationary", "--weights", str(weights), "--data", str(tmp_path / "set"), "--quiet", "--json", "--every", "1"]
    counts = []
    for more in ([], ["--validation-share", "0.25", "--seed", "1"]):
        assert main([*command, "--rule", "relative", *more]) == 0
        counts.append(sum(one["num_correspondences"] for one in printed(capsys)["labels"]))
    assert counts[1] == counts[0] / 4
    assert main([*command, "--seed", "1"]) == 2
    assert "it needs --validation-share" in capsys.readouterr().err


def test_the_statistics_that_ship_are_not_replaced_without_a_name(tmp_path, capsys, monkeypatch, weights):
    monkeypatch.setattr("core.engine.segmenter.MODELS", tmp_path)
    (tmp_path / "toy-5.labels.safetensors").write_bytes(b"shipped")
    toy_set(tmp_path / "set")
    assert main(["stationary", "--weights", "toy-5", "--data", str(tmp_path / "set"), "--quiet"]) == 2
    assert "ships with the network toy-5" in capsys.readouterr().err
    assert (tmp_path / "toy-5.labels.safetensors").read_bytes() == b"shipped"


def test_two_images_have_no_intervals(label_images, capsys):
    images = [str(label_images / f"{name}.png") for name in "ab"]
    assert main(["consistency", *images, "--aligned", "--labels", "--intervals"]) == 2
    assert "two images are one pair" in capsys.readouterr().err


def test_stationary_refuses_what_is_no_data(tmp_path, weights, capsys):
    assert main(["stationary", "--weights", str(weights), "--data", str(tmp_path / "gone")]) == 2
    assert "gone: no such folder" in capsys.readouterr().err


@pytest.fixture
def night_is_other(tmp_path):
    """A kapture folder with known poses, and label images of its photographs: 0 by day, 1 at night."""
    write_kapture(TrueScene(tmp_path / "from").scene, tmp_path / "scene")
    for image in open_scene(tmp_path / "scene").images:
        labels = np.full((120, 160), image.condition == "night", np.uint16)
        write_image((tmp_path / "bands" / image.name).with_suffix(".png"), labels)
    return tmp_path / "scene", tmp_path / "bands"


def test_label_images_are_compared_in_a_scene_of_another_layout(night_is_other, capsys):
    scene, bands = (str(path) for path in night_is_other)
    assert main(["consistency", "--scene", scene, "--weights", bands, "--json", "--quiet"]) == 0
    agreement = {row["condition"]: row["agreement"] for row in printed(capsys)["per_condition"]}
    assert agreement == {"night": 0, "snow": 1, "sun": 1}


def test_label_images_are_counted_for_stationary_labels(night_is_other, tmp_path, capsys):
    scene, bands = (str(path) for path in night_is_other)
    out = ["--out", str(tmp_path / "x.labels.safetensors"), "--rule", "relative", "--every", "1", "--quiet", "--json"]
    assert main(["stationary", "--weights", bands, "--data", scene, *out]) == 0
    printed(capsys)
    found = load_label_statistics(tmp_path / "x.labels.safetensors")
    assert found.vocabulary == "bands"
    assert (found.joint[0] > 0).tolist() == [True, True]
    assert not found.joint[1].any(), "no reference image is of the night"
