from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.engine import losses
from core.engine.fgsn_config import FGSNConfig
from core.engine.losses import UNLABELLED, MatchCells
from core.engine.network import NetworkOutput
from core.engine.pair_batches import PairBatch, reference_turn
from core.engine.training import fgsn_loss


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


def test_a_hard_target_costs_minus_log_softmax_and_a_soft_one_the_mean_over_its_shares(logits):
    scores = logits[0, :, 1, :3].T  # three rows of five scores
    label, share = torch.tensor([[1, 0], [4, 2], [3, 3]]), torch.tensor([[1, 0], [0.25, 0.75], [1, 0]])
    rows = [row.tolist() for row in scores]
    expected = [
        minus_log_softmax(rows[0], 1),
        0.25 * minus_log_softmax(rows[1], 4) + 0.75 * minus_log_softmax(rows[1], 2),
        minus_log_softmax(rows[2], 3),
    ]
    assert losses.target_losses(scores, label, share).tolist() == pytest.approx(expected, rel=1e-5)


def test_means_are_taken_over_each_pair_first_or_over_all_rows():
    values, image = torch.tensor([1.0, 3.0, 8.0]), torch.tensor([0, 0, 2])
    assert float(losses.pair_mean(values, image, 3, 3)) == pytest.approx((2 + 0 + 8) / 3)
    assert float(losses.pair_mean(values, image, 2, 3, pooled=True)) == pytest.approx(12 / 3 * 2 / 3)
    nothing = torch.zeros(0)
    assert float(losses.pair_mean(nothing, nothing.long(), 0, 3)) == 0


def test_the_hinge_asks_for_a_cosine_of_eight_tenths():
    features, others = torch.tensor([[2.0, 0], [0, 3], [1, 1]]), torch.tensor([[5.0, 0], [1, 0], [1, 0]])
    assert losses.hinge_losses(features, others).tolist() == pytest.approx([0, 0.8, 0.8 - 0.5**0.5], abs=1e-6)


def test_the_auxiliary_head_counts_four_tenths():
    assert float(losses.with_auxiliary(torch.tensor(2.0), torch.tensor(5.0))) == pytest.approx(4.0)
    assert float(losses.with_auxiliary(torch.tensor(2.0), None)) == 2


def test_turns_alternate_with_the_given_probability():
    random = np.random.default_rng(0)
    turns = np.array([reference_turn(0.5, random) for _ in range(4000)])
    assert (turns[:, 0] != turns[:, 1]).all()
    assert 0.46 < turns[:, 0].mean() < 0.54
    assert reference_turn(1.0, random) == (True, False)
    assert reference_turn(None, random) == (True, True)


def test_points_fall_into_the_cell_whose_centre_is_nearest():
    points = torch.tensor([[0.0, 0], [3.9, 4.1], [4.1, 0], [16, 8], [-3, 90]])
    cells = losses.cells_of_points(points, (9, 17), (2, 3))  # stride 8, corners on corners
    assert cells.tolist() == [[0, 0], [0, 1], [1, 0], [2, 1], [0, 1]]


def test_validation_losses_are_a_divergence_and_a_distance_with_a_floor():
    scores, others = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    p, q = (np.exp(s) / np.exp(s).sum() for s in (scores.numpy()[0], others.numpy()[0]))
    assert losses.softmax_divergence(scores, others).tolist() == pytest.approx([(p * np.log(p / q)).sum()], rel=1e-5)
    features, there = torch.tensor([[3.0, 0, 0, 0], [1, 0, 0, 0]]), torch.zeros(2, 4)
    assert losses.feature_distances(features, there).tolist() == pytest.approx([9, 0.64 * 4])


def test_labels_are_resized_with_their_corners_in_place():
    labels = torch.arange(5 * 9).reshape(1, 5, 9)
    assert losses.resize_labels(labels, (2, 3))[0].tolist() == [[0, 4, 8], [36, 40, 44]]


def test_segmentation_loss_leaves_void_out_and_adds_the_auxiliary_head(logits):
    labels = random_labels()
    labels[:, 0] = 255
    expected = losses.class_loss(logits, labels, 255)
    assert float(losses.segmentation_loss(logits, None, labels)) == pytest.approx(float(expected))
    assert float(losses.segmentation_loss(logits, logits, labels)) == pytest.approx(1.4 * float(expected))


ROWS = torch.tensor([[0, 0, 1, 2], [0, 2, 2, 3], [0, 1, 1, 0], [1, 1, 1, 0], [2, 0, 0, 1], [2, 1, 3, 1]])  # image, y, x, label


def three_pairs(turn=(True, True, True), links=()):
    """Two turns of the reference (class loss and its matches), one of the other image (matches only)."""
    labels = random_labels(7, (3, 3, 4))
    shares = torch.ones(3, 1, 3, 4)
    shares[1] = 0
    cells = MatchCells(*ROWS[:, :3].unbind(1), ROWS[:, 3:], torch.ones(len(ROWS), 1), torch.ones(len(ROWS)))
    return PairBatch(
        images=torch.zeros(3, 3, 9, 9),
        is_reference=torch.tensor([True, False, True]),
        turn=torch.tensor(turn),
        labels=labels[:, None],
        shares=shares,
        cells=cells,
        links=torch.tensor(links).reshape(-1, 2),
        num_pairs=3,
    )


def mean_of_matches(image, scores):
    return np.mean([minus_log_softmax(scores[n, :, y, x].tolist(), c) for n, y, x, c in ROWS.tolist() if n == image])


def mean_of_cells(image, scores, batch):
    cells = [(y, x) for y in range(3) for x in range(4)]
    return np.mean([minus_log_softmax(scores[image, :, y, x].tolist(), int(batch.labels[image, 0, y, x])) for y, x in cells])


def test_the_whole_loss_is_the_mean_over_pairs_as_the_paper_writes_it():
    generator = torch.Generator().manual_seed(5)
    logits, aux = (torch.randn(3, 5, 3, 4, generator=generator) for _ in range(2))
    batch, config = three_pairs(), FGSNConfig(correspondence_weight=0.7, class_weight=1.3)
    expected = 0.0
    for weight, scores in ((1.0, logits), (0.4, aux)):
        of_references = (1.3 * mean_of_cells(n, scores, batch) + 0.7 * mean_of_matches(n, scores) for n in (0, 2))
        expected += weight * (sum(of_references) + 0.7 * mean_of_matches(1, scores)) / 3
    loss, parts = fgsn_loss(NetworkOutput(logits, logits, aux, aux), batch, config)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert sum(parts.values()) == pytest.approx(expected, rel=1e-5)


def test_matches_averaged_together_count_alike_whichever_pair_they_are_of():
    logits = torch.randn(3, 5, 3, 4, generator=torch.Generator().manual_seed(6))
    _, parts = fgsn_loss(NetworkOutput(logits, logits), three_pairs(), FGSNConfig(average="matches"))
    terms = [minus_log_softmax(logits[n, :, y, x].tolist(), c) for n, y, x, c in ROWS.tolist() if n != 1]
    assert parts["corr_ref"] == pytest.approx(np.mean(terms) * 2 / 3, rel=1e-5)


def test_the_hinge_moves_only_the_image_that_has_the_turn():
    features = torch.randn(3, 6, 3, 4, generator=torch.Generator().manual_seed(7), requires_grad=True)
    batch = three_pairs(turn=(False, True, True), links=[[0, 3]])
    loss, parts = fgsn_loss(
        NetworkOutput(features, torch.zeros(3, 5, 3, 4)), batch, FGSNConfig(hinge_weight=0.1, class_weight=0)
    )
    loss.backward()
    f, g = features[0, :, 0, 1], features[1, :, 1, 1]
    cosine = float((f @ g / (f.norm() * g.norm())).detach())
    assert parts["hinge"] == pytest.approx(0.1 * max(0, 0.8 - cosine) / 3, rel=1e-5)
    assert features.grad[0].abs().max() == 0
    assert features.grad[1].abs().max() > 0
