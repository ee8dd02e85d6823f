"""How sure the numbers are, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from core.evaluation.intervals import (
    compare_pairs,
    mcnemar_p_value,
    median_interval,
    share_curve,
    wilson_interval,
)


@pytest.mark.parametrize(("found", "count"), [(0, 10), (3, 10), (10, 10), (251, 500)])
def test_wilson_intervals_are_those_of_scipy(found, count):
    expected = stats.binomtest(found, count).proportion_ci(method="wilson")
    assert wilson_interval(found, count) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_nothing_is_known_of_a_share_of_nothing():
    assert wilson_interval(0, 0) == (0.0, 100.0)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 6), (5, 2), (40, 71), (3000, 3100)])
def test_mcnemar_is_the_binomial_test_of_the_queries_that_differ(only_first, only_second):
    total = only_first + only_second
    expected = stats.binomtest(only_first, total).pvalue if total else 1.0
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_the_median_lies_in_its_interval_which_narrows_with_more_values():
    rng = np.random.default_rng(0)
    few, many = rng.exponential(size=20), rng.exponential(size=2000)
    for values in (few, many):
        low, high = median_interval(values)
        assert low < np.median(values) < high
    assert np.diff(median_interval(many)) < np.diff(median_interval(few)) / 5
    reference = stats.bootstrap((many,), np.median, method="percentile", rng=1).confidence_interval
    assert median_interval(many) == pytest.approx((reference.low, reference.high), rel=0.03)


def test_missing_poses_make_the_median_uncertain_upwards():
    low, high = median_interval([0.1, 0.2, 0.3, 0.4, 0.5, np.inf, np.inf, np.inf, np.inf])
    assert low < 0.5
    assert high == np.inf
    assert median_interval([]) is None


def test_a_gain_that_is_there_is_told_from_none():
    rng = np.random.default_rng(1)
    first = rng.random(600) < 0.5
    better = first | (rng.random(600) < 0.2)
    found = compare_pairs(first, better)
    assert found.gain == pytest.approx(100 * (better.mean() - first.mean()))
    assert 0 < found.low < found.gain < found.high
    assert (found.only_first, found.num_queries) == (0, 600)
    assert found.p_value < 1e-6
    same = compare_pairs(first, first)
    assert (same.gain, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_queries_of_one_street_are_no_independent_evidence():
    """Where whole streets change, the interval over streets is much wider than that over queries."""
    streets = np.repeat([f"street {k}" for k in range(8)], 50)
    first = np.zeros(400, bool)
    second = np.isin(streets, ["street 0", "street 1"])
    alone, grouped = compare_pairs(first, second), compare_pairs(first, second, streets)
    assert alone.gain == grouped.gain == 25
    assert grouped.high - grouped.low > 4 * (alone.high - alone.low)


def test_lists_of_different_queries_are_refused():
    with pytest.raises(ValueError, match="expected two lists of the same queries"):
        compare_pairs([True], [True, False])


def test_a_curve_counts_missing_poses_as_never():
    assert share_curve([0.1, 0.5, 0.5, np.inf], [0.05, 0.1, 0.5, 10]) == [0, 25, 75, 75]
    assert share_curve([], [1]) == [0]
