"""What a model card says of a network's labels."""

from __future__ import annotations

import numpy as np
import pytest

from core.engine.label_weaknesses import LabelWeakness, effective_stationary, weakest
from core.engine.model_card import CardFacts, card_sections
from core.engine.validation import PairLabels

ROAD, BUILDING, VEGETATION = 0, 2, 8


def pair(condition, reference, other):
    return PairLabels("park-1/0", condition, np.array(reference), np.array(other), 4)


def test_the_label_that_changes_is_named_with_its_condition_and_where_it_lies():
    pairs = [pair("sun", [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]), pair("snow", [0, 0, 1, 1, 2, 2], [0, 0, 2, 1, 0, 2])]
    classes = [np.array([ROAD, ROAD, VEGETATION, VEGETATION, BUILDING, 255])] * 2
    found = weakest(pairs, classes, 4, 0.01)
    assert [one.label for one in found] == [2, 1, 0]  # label 3 never occurs
    assert found[0].worst_condition == found[1].worst_condition == "snow"
    assert found[0].classes == (("building", 1.0),)
    # by hand: a = b = e + 1 of 12 points
    share, equal = 4 / 12, 3 / 12
    assert found[0].kappa == pytest.approx(2 * (equal - share * share) / (2 * share - 2 * share * share))


def test_rare_labels_are_left_out():
    pairs = [pair("sun", [0] * 99 + [1], [0] * 99 + [2])]
    assert [one.label for one in weakest(pairs, [np.zeros(100, int)], 4, 0.02)] == [0]


def test_stationary_labels_in_effect_are_fewer_when_one_covers_most():
    assert effective_stationary(np.array([True, True, False]), np.array([5, 5, 90])) == pytest.approx(2)
    assert 1 < effective_stationary(np.array([True, True, False]), np.array([9, 1, 90])) < 2
    assert effective_stationary(np.zeros(3, bool), np.ones(3)) == 0


def test_a_card_says_what_was_measured_and_nothing_else():
    assert card_sections(CardFacts()) == []
    worst = LabelWeakness(1, 0.05, 0.25, "snow", 0.1, (("vegetation", 0.75), ("terrain", 0.25)))
    facts = CardFacts(
        weakest=(worst,),
        names=("road", "bush"),
        num_stationary=7,
        effective_stationary=3.25,
        headings={"grief_michigan": (0.5, 330)},
        semantics={"nmi": 0.5, "purity": 0.75, "held_out_miou": 0.375},
    )
    text = "\n".join(card_sections(facts))
    assert "| bush | 5.0 | 0.250 | snow | 0.100 | vegetation 75 %, terrain 25 % |" in text
    assert "right on 50.0 % of 330 pairs" in text
    assert "7 labels count as stationary, 3.2 in effect" in text
    assert "NMI 0.500, purity 0.750, mIoU 0.375" in text
