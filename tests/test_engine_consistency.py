from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from core.engine.consistency import class_iou, confusion_matrix, consistency_at_points, entropy_bits


def direct_information(a, b, num_labels):
    """Mutual information by its definition, in bits."""
    total = 0.0
    for j, k in product(range(num_labels), repeat=2):
        joint = np.mean((a == j) & (b == k))
        if joint:
            total += joint * np.log2(joint / (np.mean(a == j) * np.mean(b == k)))
    return total


def test_numbers_agree_with_their_definitions():
    random = np.random.default_rng(3)
    a = random.integers(0, 6, 700)
    b = np.where(random.random(700) < 0.6, a, random.integers(0, 7, 700))
    stats = consistency_at_points(a, b, 8)
    p, q = (np.array([np.mean(labels == k) for k in range(8)]) for labels in (a, b))
    chance = sum(p[k] * q[k] for k in range(8))
    information = direct_information(a, b, 8)
    entropies = [-sum(s * np.log2(s) for s in shares if s) for shares in (p, q, (p + q) / 2)]
    assert stats.num_correspondences == 700
    assert stats.agreement == pytest.approx(np.mean(a == b))
    assert stats.chance == pytest.approx(chance)
    assert stats.kappa == pytest.approx((np.mean(a == b) - chance) / (1 - chance))
    assert stats.mutual_information_bits == pytest.approx(information)
    assert stats.nmi == pytest.approx(2 * information / (entropies[0] + entropies[1]))
    assert stats.effective_labels == pytest.approx(2 ** entropies[2])


def test_identical_labels_agree_wholly_and_tell_their_entropy():
    labels = np.repeat(np.arange(4), 25)
    stats = consistency_at_points(labels, labels, 4)
    assert (stats.agreement, stats.kappa, stats.nmi) == pytest.approx((1, 1, 1))
    assert stats.mutual_information_bits == pytest.approx(2)
    assert stats.effective_labels == pytest.approx(4)


def test_a_permutation_keeps_the_information_and_loses_the_agreement():
    labels = np.repeat(np.arange(4), 25)
    stats = consistency_at_points(labels, (labels + 1) % 4, 4)
    assert stats.agreement == 0
    assert stats.kappa == pytest.approx(-1 / 3)
    assert stats.mutual_information_bits == pytest.approx(2)


def test_no_correspondences_give_zeros():
    stats = consistency_at_points([], [], 5)
    assert set(stats.as_row().values()) == {0}
    assert stats.counts_a.tolist() == [0] * 5


def test_one_label_everywhere_agrees_but_tells_nothing():
    stats = consistency_at_points([2, 2, 2], [2, 2, 2], 5)
    assert (stats.agreement, stats.chance, stats.kappa, stats.nmi) == (1, 1, 0, 0)
    assert stats.mutual_information_bits == 0
    assert stats.effective_labels == 1


def test_equal_points_are_counted_for_each_label():
    stats = consistency_at_points([0, 0, 0, 1, 2], [0, 0, 1, 1, 0], 4)
    assert stats.counts_equal.tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize(("a", "b"), [([0, 1], [0]), ([0, 4], [0, 1]), ([-1, 0], [0, 0])])
def test_labels_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match="expected"):
        consistency_at_points(a, b, 4)


def test_class_iou_counts_classes_of_the_truth_only_and_leaves_void_out():
    truth = np.array([[0, 0, 1], [1, 255, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 2, 0]])
    confusion = confusion_matrix(truth, predicted, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert class_iou(confusion)[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(class_iou(confusion)[2])


def test_entropy_of_even_counts_is_the_logarithm_of_their_number():
    assert entropy_bits([5, 5, 5, 5, 0]) == pytest.approx(2)
    assert entropy_bits([]) == 0
