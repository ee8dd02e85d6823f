from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.engine import losses
from core.engine.losses import UNLABELLED, MatchCells
from core.engine.network import NetworkOutput
from core.engine.training import FGSNConfig, PairBatch, fgsn_loss


@pytest.fixture
def logits() -> torch.Tensor:
    """Two maps of 5 labels, 3 rows and 4 columns."""
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))


def minus_log_softmax(scores, label):
    """CE of one cell, written out."""
    return math.log(sum(math.exp(s) for s in scores)) - scores[label]


def random_labels(seed=2, shape=(2, 3, 4)):
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(seed))


def test_class_loss_is_the_mean_over_labelled_cells(logits):
    labels = random_labels()
    labels[0, 1, 2] = labels[1, 0, 0] = UNLABELLED
    terms = [
        minus_log_softmax(logits[n, :, y, x].tolist(), int(labels[n, y, x]))
        for n in range(2)
        for y in range(3)
        for x in range(4)
        if labels[n, y, x] != UNLABELLED
    ]
    assert len(terms) == 22
    assert float(losses.class_loss(logits, labels)) == pytest.approx(sum(terms) / 22, rel=1e-5)


def test_class_loss_without_a_label_is_zero_with_a_zero_gradient(logits):
    logits.requires_grad_()
    loss = losses.class_loss(logits, torch.full((2, 3, 4), UNLABELLED))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.abs().max() == 0


def test_correspondence_loss_is_the_mean_over_matches_and_counts_a_cell_twice(logits):
    rows = [(0, 2, 3, 1), (0, 2, 3, 1), (1, 0, 1, 4)]
    cells = MatchCells(*torch.tensor(rows).unbind(1))
    terms = [minus_log_softmax(logits[n, :, y, x].tolist(), label) for n, y, x, label in rows]
    assert float(losses.correspondence_loss(logits, cells)) == pytest.approx(sum(terms) / 3, rel=1e-5)


def test_correspondence_loss_without_matches_is_zero(logits):
    none = torch.zeros(0, dtype=torch.long)
    assert float(losses.correspondence_loss(logits, MatchCells(none, none, none, none))) == 0


def test_the_auxiliary_head_counts_four_tenths():
    assert float(losses.with_auxiliary(torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(4.0)
    assert float(losses.with_auxiliary(torch.tensor(2.0), None)) == 2


def test_turns_alternate_with_the_given_probability():
    generator = torch.Generator().manual_seed(0)
    reference, other = losses.reference_turns(4000, 0.5, generator)
    assert torch.equal(reference, ~other)
    assert 0.46 < reference.float().mean() < 0.54
    assert losses.reference_turns(3, 1.0, generator)[0].all()
    both = losses.reference_turns(3, None, generator)
    assert both[0].all()
    assert both[1].all()


def test_points_fall_into_the_cell_whose_centre_is_nearest():
    points = torch.tensor([[0.0, 0], [3.9, 4.1], [4.1, 0], [16, 8], [-3, 90]])
    cells = losses.cells_of_points(points, (9, 17), (2, 3))  # stride 8, corners on corners
    assert cells.tolist() == [[0, 0], [0, 1], [1, 0], [2, 1], [0, 1]]


def test_usage_entropy_is_largest_for_even_use():
    even = torch.zeros(1, 4, 2, 3)
    single = torch.zeros(1, 4, 2, 3)
    single[:, 1] = 50
    assert float(losses.usage_entropy(even)) == pytest.approx(math.log(4))
    assert float(losses.usage_entropy(single)) == pytest.approx(0, abs=1e-5)


def test_labels_are_resized_with_their_corners_in_place():
    labels = torch.arange(5 * 9).reshape(1, 5, 9)
    assert losses.resize_labels(labels, (2, 3))[0].tolist() == [[0, 4, 8], [36, 40, 44]]


def test_segmentation_loss_leaves_void_out_and_adds_the_auxiliary_head(logits):
    labels = random_labels()
    labels[:, 0] = 255
    expected = losses.class_loss(logits, labels, 255)
    assert float(losses.segmentation_loss(logits, None, labels)) == pytest.approx(float(expected))
    assert float(losses.segmentation_loss(logits, logits, labels)) == pytest.approx(1.4 * float(expected))


def test_the_whole_loss_is_the_mean_over_pairs_as_the_paper_writes_it():
    """Three pairs: two turns of the reference (class loss and its matches), one of the other image (matches only)."""
    generator = torch.Generator().manual_seed(5)
    logits, aux = (torch.randn(3, 5, 3, 4, generator=generator) for _ in range(2))
    labels = random_labels(7, (3, 3, 4))
    labels[1] = UNLABELLED
    rows = torch.tensor([[0, 0, 1, 2], [0, 2, 2, 3], [1, 1, 1, 0], [1, 2, 0, 4], [2, 0, 0, 1], [2, 1, 3, 1]])
    batch = PairBatch(torch.zeros(3, 3, 9, 9), torch.tensor([True, False, True]), labels, MatchCells(*rows.unbind(1)), 3)
    config = FGSNConfig(correspondence_weight=0.7, class_weight=1.3)

    def matches_of(image, scores):
        return np.mean([minus_log_softmax(scores[n, :, y, x].tolist(), c) for n, y, x, c in rows.tolist() if n == image])

    def dense_of(image, scores):
        cells = [(y, x) for y in range(3) for x in range(4)]
        return np.mean([minus_log_softmax(scores[image, :, y, x].tolist(), int(labels[image, y, x])) for y, x in cells])

    expected = 0.0
    for weight, scores in ((1.0, logits), (0.4, aux)):
        expected += weight * sum(1.3 * dense_of(n, scores) + 0.7 * matches_of(n, scores) for n in (0, 2)) / 3
        expected += weight * 0.7 * matches_of(1, scores) / 3
    loss, parts = fgsn_loss(NetworkOutput(logits, logits, aux, aux), batch, config)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert sum(parts.values()) == pytest.approx(expected, rel=1e-5)
