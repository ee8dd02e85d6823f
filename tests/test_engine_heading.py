from __future__ import annotations

import cv2
import numpy as np
import pytest
from engine_toys import drain

from core.engine.heading import (
    HeadingConfig,
    best_shift,
    cell_shares,
    heading_accuracy,
    heading_pairs,
    heading_shift,
    label_spectrum,
    rarity,
)
from core.errors import SceneError
from core.records import LabelMap

WIDTH, HEIGHT = 256, 96


def canvas(seed: int = 0, num_labels: int = 12) -> np.ndarray:
    """A label map wider than a photograph: columns of blocks under one broad sky."""
    random = np.random.default_rng(seed)
    blocks = random.integers(1, num_labels, (18, 80)).repeat(8, 0).repeat(8, 1)
    blocks[:40] = 0
    return blocks


def photograph(left: int, top: int = 20, seed: int = 0) -> LabelMap:
    return LabelMap(canvas(seed)[top : top + HEIGHT, left : left + WIDTH], 12, "toy")


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (37, 0), (-60, 9), (13, -14)])
def test_the_shift_between_two_views_of_one_canvas_is_found(dx, dy):
    found = heading_shift(photograph(200, 20), photograph(200 - dx, 20 - dy))
    assert (found.dx, found.dy) == (pytest.approx(dx, abs=2), pytest.approx(dy, abs=2))
    assert found.score > 0


def test_half_of_the_labels_may_be_wrong():
    random = np.random.default_rng(3)
    other = photograph(170).labels.copy()
    wrong = random.random((HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1) < 0.5
    other[wrong] = random.integers(0, 12, int(wrong.sum()))
    assert heading_shift(photograph(200), LabelMap(other, 12, "toy")).dx == pytest.approx(30, abs=3)


def test_the_scores_are_those_of_shifting_and_counting():
    """Against the definition, shift by shift: weighted agreement of whole cells less what chance gives."""
    config = HeadingConfig(num_columns=WIDTH, rarity_power=1)
    first, second = photograph(200), photograph(190)
    p, q = (np.bincount(view.labels.ravel(), minlength=12) / view.labels.size for view in (first, second))
    weights = -np.log((p + q) / 2)
    reach = round(config.max_shift * WIDTH)
    scores = {}
    for dy in range(-19, 20):
        for dx in range(-reach, reach + 1):
            a = first.labels[max(0, -dy) : HEIGHT - max(0, dy), max(0, -dx) : WIDTH - max(0, dx)]
            b = second.labels[max(0, dy) : HEIGHT - max(0, -dy), max(0, dx) : WIDTH - max(0, -dx)]
            scores[dx, dy] = weights[a[a == b]].sum() - a.size * (weights * p * q).sum()
    best = max(scores, key=scores.get)
    found = best_shift(label_spectrum(first, config), label_spectrum(second, config), config)
    assert (round(found.dx), round(found.dy)) == best
    assert found.score == pytest.approx(scores[best] / (HEIGHT * WIDTH), rel=1e-4)


def test_a_common_label_counts_less_than_a_rare_one_and_one_that_is_everywhere_nothing():
    assert rarity(np.array([0.5, 0.01]), np.array([0.5, 0.03]), 1) == pytest.approx([np.log(2), np.log(50)], rel=1e-5)
    assert rarity(np.array([1.0]), np.array([1.0]), 2)[0] == 0


def test_cells_hold_the_shares_of_their_labels():
    labels = np.array([[7, 7, 2, 2, 2, 9], [7, 7, 2, 2, 9, 9], [7, 7, 7, 7, 7, 7]])
    present, shares = cell_shares(labels, 2, 3)
    assert present.tolist() == [2, 7, 9]
    np.testing.assert_allclose(shares.sum(0), 1)
    np.testing.assert_allclose(shares[:, 0, 2], [0.25, 0, 0.75])
    np.testing.assert_allclose(shares[1, 1], [1, 1, 1])


def test_maps_without_a_common_label_and_one_label_maps_have_no_heading():
    ones, twos = (LabelMap(np.full((HEIGHT, WIDTH), label), 12, "toy") for label in (1, 2))
    assert heading_shift(ones, ones).score <= 1e-6
    assert heading_shift(ones, twos).score <= 1e-6


def test_maps_of_another_size_or_vocabulary_are_refused():
    one = label_spectrum(photograph(200))
    with pytest.raises(ValueError, match="one size and one vocabulary"):
        best_shift(one, label_spectrum(LabelMap(photograph(200).labels, 12, "other")))
    with pytest.raises(ValueError, match="one size and one vocabulary"):
        best_shift(one, label_spectrum(LabelMap(photograph(200).labels[:48], 12, "toy")))


@pytest.fixture
def michigan(tmp_path):
    """One place seen in three sessions, turned by 0, 24 and -40 px; the grey value is the label."""
    starts = np.array([200, 176, 240])
    (tmp_path / "images").mkdir()
    (tmp_path / "ground_truth").mkdir()
    for session, start in enumerate(starts):
        grey = (photograph(start).labels * 20).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{session + 1:02d}07.png"), grey)
        (tmp_path / "images" / f"{session + 1:02d}07.png").rename(tmp_path / "images" / f"{session + 1:02d}07.jpg")
    np.savetxt(tmp_path / "ground_truth" / "location_7.txt", starts[:, None] - starts[None], "%d")
    return tmp_path


def grey_label(image):
    return LabelMap(image[..., 0] // 20, 12, "toy")


def test_the_accuracy_of_a_folder_segments_every_photograph_once(michigan):
    seen = []

    def segment(image):
        seen.append(image.shape)
        return grey_label(image)

    steps, found = drain(heading_accuracy(segment, michigan, tolerance_px=5))
    assert [(pair.reference.name, pair.other.name, pair.dx) for pair in found.pairs] == [
        ("0107.jpg", "0207.jpg", 24),
        ("0107.jpg", "0307.jpg", -40),
        ("0207.jpg", "0307.jpg", -64),
    ]
    assert found.accuracy == 1
    assert len(seen) == len(steps) == 3


def test_a_network_that_sees_nothing_is_wrong_and_a_subset_has_fewer_pairs(michigan):
    _, found = drain(heading_accuracy(lambda image: LabelMap(np.zeros(image.shape[:2]), 12, "toy"), michigan, 5, every=2))
    assert (len(found.pairs), found.accuracy) == (1, 0)


def test_the_published_folders_are_read_with_their_directions(shared_data):
    pairs = heading_pairs(shared_data("grief_michigan"))
    assert len(pairs) == 330
    second = next(pair for pair in pairs if pair.place == "place 2")
    assert (second.reference.name, second.other.name, second.dx) == ("0102.jpg", "0202.jpg", -52)
    assert all(pair.reference.is_file() and pair.other.is_file() for pair in pairs)
    park = heading_pairs(shared_data("grief_stromovka"))
    assert (len(park), park[0].dx, park[0].other.parent.name) == (40, -124, "season_01")
    assert len(heading_pairs(shared_data("grief_stromovka"), every=4)) == 10


def test_plain_sift_confirms_the_direction_of_the_true_shifts(shared_data):
    from benchmarks.sift_heading import sift_heading_accuracy

    found = sift_heading_accuracy(shared_data("grief_michigan"), 20, every=6)
    assert (len(found.pairs), found.accuracy) == (5, pytest.approx(0.8, abs=0.2))


def test_folders_without_readable_truth_are_refused(tmp_path):
    with pytest.raises(SceneError, match="no headings here"):
        heading_pairs(tmp_path)
    (tmp_path / "displacements.txt").write_text("0020 -124 -2\n0021 far away\n")
    with pytest.raises(SceneError, match="unreadable ground truth"):
        heading_pairs(tmp_path)
