from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from core.engine.consistency import (
    bootstrap_intervals,
    class_iou,
    confusion_matrix,
    consistency_at_points,
    entropy_bits,
    label_kappas,
)


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


def noisy_pairs(num_pairs: int, num_points: int, seed: int = 0, num_labels: int = 6):
    """Image pairs that differ in how many of their labels keep: what a bootstrap over pairs must see."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(num_pairs):
        a = random.integers(0, num_labels, num_points)
        kept = random.random(num_points) < random.uniform(0.2, 0.9)
        pairs.append((a, np.where(kept, a, random.integers(0, num_labels, num_points))))
    return pairs


def pooled(pairs, num_labels: int = 6):
    return consistency_at_points(*(np.concatenate(side) for side in zip(*pairs, strict=True)), num_labels)


def test_the_kappa_of_each_label_is_that_of_the_label_against_the_rest():
    a, b = noisy_pairs(1, 400)[0]
    kappas = label_kappas(consistency_at_points(a, b, 7))
    for label in range(6):
        alone = consistency_at_points(a == label, b == label, 2)
        assert kappas[label] == pytest.approx(alone.kappa)
    assert np.isnan(kappas[6])


def test_the_information_bias_of_few_independent_points_is_what_miller_and_madow_say():
    random = np.random.default_rng(5)
    found, bias = [], []
    for _ in range(40):
        stats = consistency_at_points(random.integers(0, 20, 2000), random.integers(0, 20, 2000), 20)
        found.append(stats.mutual_information_bits)
        bias.append(stats.information_bias_bits)
    assert np.mean(found) > 0.1  # nothing in common, and yet
    assert np.mean(bias) == pytest.approx(np.mean(found), rel=0.1)


def test_intervals_are_seeded_hold_the_estimate_and_draw_pairs_not_points():
    pairs = noisy_pairs(12, 500)
    intervals = bootstrap_intervals(pairs, 6, seed=1)
    assert intervals == bootstrap_intervals(pairs, 6, seed=1)
    estimate = pooled(pairs).as_row()
    for name, (low, high) in intervals.items():
        assert low < estimate[name] < high, name
    width = np.diff(intervals["kappa"])[0]
    points_only = 2 * 1.96 * np.sqrt(0.25 / (12 * 500))  # what independent points would give at most
    assert width > 3 * points_only


def test_about_nineteen_of_twenty_intervals_hold_the_truth():
    truth = pooled(noisy_pairs(4000, 60, seed=99)).kappa
    covered = 0
    for seed in range(40):
        low, high = bootstrap_intervals(noisy_pairs(20, 60, seed=seed), 6, seed)["kappa"]
        covered += low <= truth <= high
    assert covered >= 33


def test_a_single_pair_has_no_intervals():
    assert all(np.isnan(bound) for bounds in bootstrap_intervals(noisy_pairs(1, 50), 6, 0).values() for bound in bounds)
