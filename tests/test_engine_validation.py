from __future__ import annotations

import cv2
import numpy as np
import pytest
from engine_toys import COLORS, drain, toy_set

from core.engine.segmenter import load_segmenter, plan_crops
from core.engine.validation import (
    at_short_side,
    consistency_rows,
    evaluate_on_photographs,
    evaluate_on_worlds,
    labels_of_pairs,
    pooled_stats,
    spread,
)
from core.errors import InputError
from core.records import LabelMap


def nearest_color(image):
    """Labels by the hue's nearest toy colour: right by day and in the toy's dusk."""
    chroma = image / np.maximum(1, image.sum(2, keepdims=True))
    reference = COLORS / COLORS.sum(1, keepdims=True)
    distance = ((chroma[:, :, None] - reference) ** 2).sum(3)
    return LabelMap(distance.argmin(2), 19, "cityscapes-19")


def test_a_perfect_network_has_kappa_and_miou_of_almost_one(tmp_path):
    data = toy_set(tmp_path)
    truth = {data.view(i).images[c].tobytes(): data.view(i).classes[c] for i in range(len(data)) for c in range(2)}
    progress, rows = drain(evaluate_on_worlds(lambda image: LabelMap(truth[image.tobytes()], 19, "truth"), data))
    assert [row["condition"] for row in rows] == ["dusk", "overcast", "all"]
    assert progress[-1].fraction == 1
    everything = rows[-1]
    assert (everything["kappa"], everything["miou"], everything["pixel_accuracy"]) == pytest.approx((1, 1, 1))
    assert everything["num_pairs"] == len(data)
    assert everything["num_correspondences"] == 200 * len(data)
    assert 3 < everything["effective_labels"] <= 4


def test_a_network_that_always_says_one_thing_has_no_kappa(tmp_path):
    data = toy_set(tmp_path, num_views=2)
    _, rows = drain(evaluate_on_worlds(lambda image: LabelMap(np.zeros(image.shape[:2]), 19, "constant"), data))
    assert (rows[-1]["agreement"], rows[-1]["kappa"], rows[-1]["mutual_information_bits"]) == (1, 0, 0)
    assert rows[-1]["miou"] < 0.1


def test_cluster_networks_get_no_class_numbers(tmp_path):
    data = toy_set(tmp_path, num_views=2)
    _, rows = drain(evaluate_on_worlds(lambda image: LabelMap(image[..., 0] // 4, 100, "red"), data))
    assert "miou" not in rows[-1]
    assert [row["condition"] for row in rows] == ["dusk", "all"]
    assert rows[-1]["num_labels"] == 100


@pytest.fixture
def photographs(tmp_path):
    """Two fixed cameras with three and two photographs, of different sizes."""
    random = np.random.default_rng(0)
    for name, count, size in (("east", 3, (40, 64)), ("west", 2, (32, 48))):
        (tmp_path / name).mkdir()
        blocks = COLORS[random.integers(0, 4, (size[0] // 8, size[1] // 8)).repeat(8, 0).repeat(8, 1)]
        for index in range(count):
            light = 1 - 0.2 * index
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), (blocks * light).astype(np.uint8)[..., ::-1])
    return tmp_path


def test_photographs_of_a_fixed_camera_are_compared_pixel_by_pixel(photographs):
    _, rows = drain(evaluate_on_photographs(nearest_color, photographs, step=2))
    assert [(row["view"], row["num_pairs"]) for row in rows] == [("east", 3), ("west", 1), ("all", 4)]
    assert rows[0]["num_correspondences"] == 20 * 32
    assert rows[-1]["kappa"] == pytest.approx(1)
    assert rows[-1]["mutual_information_bits"] == pytest.approx(
        (rows[0]["mutual_information_bits"] + rows[1]["mutual_information_bits"]) / 2
    )


def test_the_number_of_photographs_can_be_limited(photographs):
    _, rows = drain(evaluate_on_photographs(nearest_color, photographs, max_images=2))
    assert [row["num_pairs"] for row in rows] == [1, 1, 2]
    assert spread(10, 3) == [0, 4, 9]
    assert spread(2, 5) == [0, 1]


def test_a_folder_without_views_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folders with at least two photographs"):
        drain(evaluate_on_photographs(nearest_color, tmp_path))
    with pytest.raises(InputError, match="absent"):
        drain(evaluate_on_photographs(nearest_color, tmp_path / "absent"))


def test_photographs_of_two_sizes_in_one_view_are_refused(photographs):
    cv2.imwrite(str(photographs / "east" / "9.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(InputError, match="one size a view"):
        drain(evaluate_on_photographs(nearest_color, photographs))


def test_labels_of_pairs_are_grouped_by_condition_and_kind(tmp_path):
    data = toy_set(tmp_path)
    progress, pairs = drain(labels_of_pairs(nearest_color, data))
    assert [(pair.view, pair.condition, pair.kind) for pair in pairs[:2]] == [
        ("toy-0/000", "dusk", "toy"),
        ("toy-0/001", "dusk", "toy"),
    ]
    assert len(progress) == len(pairs) == len(data)
    rows = consistency_rows(pairs, lambda pair: "even" if int(pair.view[-1]) % 2 == 0 else "odd")
    assert [(row["group"], row["num_pairs"], row["num_correspondences"]) for row in rows] == [("even", 3, 600), ("odd", 3, 600)]
    assert pooled_stats(pairs).kappa == pytest.approx(np.mean([row["kappa"] for row in rows]), abs=0.02)
    assert len(drain(labels_of_pairs(nearest_color, data, max_views=2))[1]) == 2
    with pytest.raises(InputError, match="no image pairs"):
        pooled_stats([])


def test_a_network_can_be_asked_at_another_scale():
    segmenter = load_segmenter("world-19")
    smaller = at_short_side(segmenter, 128)
    plan = plan_crops(300, 400, smaller.info.preprocessing)
    assert (plan.y.length, plan.x.length) == (128, 170)
    assert segmenter.info.preprocessing.short_side != 128
    assert smaller.segment(np.zeros((300, 400, 3), np.uint8)).labels.shape == (300, 400)
