from __future__ import annotations

import numpy as np
import pytest
from engine_toys import drain, toy_set

from core.engine.semantics import label_class_counts, semantic_stats, semantics_of_images
from core.errors import InputError
from core.records import LabelMap

NAMES = ("a", "b", "c", "d")


def test_counts_are_of_the_pixels_that_have_a_class():
    labels, classes = np.array([[0, 1, 1], [2, 2, 2]]), np.array([[0, 0, 1], [1, 255, 1]])
    np.testing.assert_array_equal(label_class_counts(labels, classes, 4, 2), [[1, 0], [1, 1], [0, 2], [0, 0]])


def test_labels_that_split_classes_are_homogeneous_but_not_complete():
    counts = np.array([[10, 0], [10, 0], [0, 20]])
    stats = semantic_stats(counts)
    assert stats.homogeneity == pytest.approx(1)
    assert stats.completeness == pytest.approx(1 / 1.5)
    assert stats.nmi == pytest.approx(2 * 1 / (1 + 1.5))
    assert (stats.purity, stats.majority_miou) == (1, 1)


def test_labels_that_say_nothing_have_no_information_and_the_common_class():
    stats = semantic_stats(np.array([[30, 10], [60, 20]]))
    assert stats.nmi == pytest.approx(0, abs=1e-12)
    assert stats.purity == pytest.approx(0.75)
    assert stats.majority_miou == pytest.approx((0.75 + 0) / 2)


def test_the_vote_of_the_other_half_shows_what_a_vote_on_the_judged_pixels_hides():
    """Labels 0 and 1 change their classes between the halves: each half explains itself, not the other."""
    first, second = np.array([[10, 0], [0, 10]]), np.array([[0, 10], [9, 1]])
    stats = semantic_stats(first + second, (first, second))
    assert stats.held_out_miou == pytest.approx((0 + 1 / 40) / 2)
    assert stats.majority_miou > 0.3
    assert np.isnan(semantic_stats(first).held_out_miou)


def test_homogeneity_and_completeness_are_what_is_left_of_conditional_entropies():
    """By their definition: 1 - H(classes | labels) / H(classes), and the other way round."""
    random = np.random.default_rng(0)
    labels, classes = random.integers(0, 7, 500), random.integers(0, 4, 500)
    labels[:200] = classes[:200]
    share = np.array([[np.mean((labels == k) & (classes == c)) for c in range(4)] for k in range(7)])

    def left(table):
        conditional = -sum(p * np.log(p / row.sum()) for row in table for p in row if p)
        whole = -sum(p * np.log(p) for p in table.sum(0))
        return 1 - conditional / whole

    stats = semantic_stats(label_class_counts(labels, classes, 7, 4))
    homogeneity, completeness = left(share), left(share.T)
    v_measure = 2 * homogeneity * completeness / (homogeneity + completeness)
    assert (stats.homogeneity, stats.completeness, stats.nmi) == pytest.approx((homogeneity, completeness, v_measure))


def test_annotated_images_are_compared_and_their_number_limited(tmp_path):
    data = toy_set(tmp_path)
    truth = {data.view(i).images[0].tobytes(): data.view(i).classes[0] for i in range(len(data))}
    progress, stats = drain(semantics_of_images(lambda image: LabelMap(truth[image.tobytes()] + 2, 6, "t"), data, NAMES))
    assert (stats.nmi, stats.majority_miou, stats.held_out_miou) == pytest.approx((1, 1, 1))
    assert (len(progress), stats.num_pixels) == (6, 6 * 65 * 89)
    progress, stats = drain(semantics_of_images(lambda image: LabelMap(image[..., 0] * 0, 6, "t"), data, NAMES, max_images=3))
    assert (len(progress), stats.nmi) == (3, 0)


def test_no_images_are_refused(tmp_path):
    class Nothing:
        def __len__(self):
            return 0

    with pytest.raises(InputError, match="no annotated images"):
        drain(semantics_of_images(lambda image: None, Nothing(), NAMES))
