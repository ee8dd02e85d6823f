"""Label colours: one id, one colour, everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from core.evaluation.recall import OUTCOME_MARKS
from fgsn_viewer import palette


def distances(colors, colorblind=False):
    seen = palette.simulated_oklab(colors, colorblind)
    return np.sqrt(((seen[:, None] - seen[None]) ** 2).sum(axis=3)).min(axis=2) + 9 * np.eye(len(colors))


def test_the_color_of_an_id_does_not_depend_on_how_many_labels_there_are():
    many = palette.label_colors(1000)
    assert many.shape == (1000, 3)
    assert many.dtype == np.uint8
    for count in (0, 1, 20, 999):
        np.testing.assert_array_equal(palette.label_colors(count), many[:count])


def test_no_two_of_a_thousand_labels_share_a_color():
    assert len(np.unique(palette.label_colors(1000), axis=0)) == 1000


def test_the_first_twenty_colors_are_far_apart():
    assert distances(palette.label_colors(20)).min() > 0.14


def test_ids_near_each_other_differ_clearly_over_all_thousand():
    lab = palette.simulated_oklab(palette.label_colors(1000), False)[:, 0]
    for step in range(1, 6):
        assert np.linalg.norm(lab[step:] - lab[:-step], axis=1).min() > 0.16


def test_the_colorblind_safe_set_is_apart_for_protanopes_and_deuteranopes_too():
    safe = palette.label_colors(20, colorblind_safe=True)
    usual = palette.label_colors(20)
    assert distances(safe, colorblind=True).min() > 1.5 * distances(usual, colorblind=True).min()
    assert distances(safe, colorblind=True).min() > 0.07


def test_no_color_vanishes_on_a_photograph():
    lightness = palette.oklab(palette.linear_rgb(palette.label_colors(1000)))[:, 0]
    assert lightness.min() > 0.4
    assert lightness.max() < 0.93


def test_oklab_of_white_black_and_red_is_as_published():
    lab = palette.oklab(palette.linear_rgb(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]])))
    expected = [[1, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585]]
    np.testing.assert_allclose(lab, expected, atol=1e-4)


def test_cityscapes_labels_wear_their_customary_colors():
    colors = palette.label_colors(19, "cityscapes-19")
    np.testing.assert_array_equal(colors[[0, 10, 8]], [(128, 64, 128), (70, 130, 180), (107, 142, 35)])
    assert not np.array_equal(colors, palette.label_colors(19, "world-100"))


def test_a_negative_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="-1"):
        palette.label_colors(-1)


def test_a_condition_that_nobody_foresaw_has_a_stable_color_of_its_own():
    assert palette.condition_color("snow") == palette.CONDITION_COLORS["snow"]
    assert palette.condition_color("fog") == palette.condition_color("fog")
    assert palette.condition_color("2010-12-21-low-sun-no-foliage-snow") == palette.CONDITION_COLORS["snow"]
    assert palette.condition_color("night-rain") == palette.CONDITION_COLORS["night"]
    assert palette.condition_color("sunday") not in palette.CONDITION_COLORS.values()
    assert palette.condition_color("fog") != palette.condition_color("monsoon")


def test_outcomes_are_told_apart_by_their_marks_alone():
    assert len(set(OUTCOME_MARKS.values())) == len(OUTCOME_MARKS)
    assert OUTCOME_MARKS.keys() == palette.OUTCOME_COLORS.keys()
