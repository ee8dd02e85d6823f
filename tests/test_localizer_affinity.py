"""Soft label affinity: counts become evidence, rare labels say nothing, and likely matches are drawn more."""

from dataclasses import replace

import numpy as np
import pytest
from localizer_toys import NUM_LABELS, counted, given_of, matches_to, query_at, street

from core.errors import InputError
from core.localizer.affinity import (
    AffinityConfig,
    affinity_ratios,
    match_log_ratios,
    match_probabilities,
    ssmc_soft,
)
from core.localizer.affinity_fit import KnownMatches, fit_affinity
from core.localizer.pipeline import LocalizerConfig, Prepared, localize_prepared
from core.records import Features, LabelMap

EXACT = AffinityConfig(prior_counts=0, floor=1e-6)


def test_ratios_are_how_much_more_often_labels_meet_than_by_chance():
    joint = np.array([[80.0, 20], [10, 90]])
    ratios = affinity_ratios(counted(joint), 2, EXACT)
    occurs = joint.sum(axis=0) / joint.sum()
    expected = joint / joint.sum(axis=1, keepdims=True) / occurs
    assert np.allclose(ratios, expected, rtol=0.01)


def test_right_matches_have_a_mean_ratio_above_one_and_chance_has_exactly_one():
    rng = np.random.default_rng(0)
    joint = rng.gamma(0.3, 1000, (12, 12)) + np.diag(rng.uniform(500, 5000, 12))
    ratios = affinity_ratios(counted(joint), 12, EXACT)
    occurs = joint.sum(axis=0) / joint.sum()
    assert np.allclose(ratios @ occurs, 1, rtol=1e-2)  # whatever the point's label, a label by chance has ratio 1 in the mean
    assert (joint * np.log(ratios)).sum() > 0


def test_labels_that_were_hardly_seen_say_nothing():
    joint = np.diag([10_000.0, 10_000, 3, 0])
    ratios = affinity_ratios(counted(joint), 4, AffinityConfig(prior_counts=50, floor=1e-6))
    assert np.allclose(ratios[3], 1, rtol=1e-3)
    assert np.abs(np.log(ratios[2, :2])).max() < 0.1
    assert np.log(ratios[0, 1]) < -5
    assert (ratios > 0).all()


def test_labels_that_do_not_stay_say_nothing_of_their_points():
    ratios = affinity_ratios(counted(np.eye(4) * 1000, [True, False, True, True]), 4)
    assert np.allclose(ratios[1], 1)
    assert ratios[0, 0] > 2


def test_labels_that_do_not_stay_say_what_they_are_counted_to_say_where_that_is_asked():
    scene_map, matches, labels, pose = street()
    counts = np.eye(NUM_LABELS) * 1000
    moving = counted(counts, np.arange(NUM_LABELS) != 2)
    of_it = scene_map.labels.labels == 2
    ignored = match_log_ratios(given_of(scene_map, matches, labels, pose, moving))
    heard = match_log_ratios(given_of(scene_map, matches, labels, pose, moving, keep_moving=True))
    assert np.allclose(ignored[of_it], 0)
    assert np.allclose(heard, match_log_ratios(given_of(scene_map, matches, labels, pose, counted(counts))))
    assert (heard[of_it] > 1).all()


def test_the_floor_bounds_what_one_label_can_exclude():
    ratios = affinity_ratios(counted(np.eye(4) * 1e9), 4, AffinityConfig(floor=0.05))
    assert ratios.min() == pytest.approx(0.05, rel=1e-3)


def test_without_statistics_equal_labels_speak_for_a_match():
    ratios = affinity_ratios(None, 100)
    assert ratios[3, 3] > 40
    assert ratios[3, 4] < 0.6
    assert affinity_ratios(None, 1).shape == (1, 1)


def test_splitting_a_label_in_two_that_are_confused_changes_nothing():
    """A finer vocabulary does not hurt: what two halves of one label say together is what the label said."""
    coarse = np.array([[900.0, 100], [200, 800]])
    split = np.kron(coarse, [[0.25, 0.25], [0.25, 0.25]])
    one, two = affinity_ratios(counted(coarse), 2, EXACT), affinity_ratios(counted(split), 4, EXACT)
    assert np.allclose(two, np.kron(one, np.ones((2, 2))), rtol=0.02)


def test_probabilities_grow_with_score_and_agreement():
    scene_map, matches, labels, pose = street(confusion=0.5)
    given = given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS) * 1e4))
    same = labels.at(matches.points2D) == scene_map.labels.labels
    chance = match_probabilities(given)
    assert chance[same].min() > chance[~same].max()
    better = replace(given, matches=replace(matches, scores=matches.scores + 0.2))
    assert (match_probabilities(better) > chance).all()


def test_certainty_draws_the_evidence_of_unsure_pixels_and_points_to_nothing():
    scene_map, matches, labels, pose = street(count=50)
    unsure = LabelMap(labels.labels, NUM_LABELS, "toy", np.full(labels.labels.shape, 0.25))
    full = match_log_ratios(given_of(scene_map, matches, unsure, pose))
    asked = match_log_ratios(given_of(scene_map, matches, unsure, pose, affinity=AffinityConfig(certainty=1.0)))
    assert np.allclose(asked, 0.25 * full)


def test_pixels_that_are_not_finite_are_all_but_never_drawn():
    scene_map, matches, labels, pose = street(count=50)
    pixels = matches.points2D.copy()
    pixels[7] = np.nan
    weights = ssmc_soft(given_of(scene_map, matches_to(pixels, matches.point_ids), labels, pose)).weights
    assert np.isfinite(weights).all()
    assert weights[7] < 1e-20


def test_another_vocabulary_is_refused_with_both_names():
    scene_map, matches, labels, pose = street(count=20)
    with pytest.raises(InputError, match=r"'toy', the label statistics of 'world-19'"):
        ssmc_soft(given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS), vocabulary="world-19")))


def test_soft_affinity_finds_poses_where_labels_swap_and_the_hard_rule_fails():
    """Every point's label turns into one other in this condition, as the counts know."""
    scene_map, matches, labels, pose = street(count=900)
    swapped = LabelMap((labels.labels + 1) % NUM_LABELS, NUM_LABELS, "toy")
    statistics = counted(np.roll(np.eye(NUM_LABELS), 1, axis=1) * 1e4)
    ids = matches.point_ids.copy()
    ids[30:] = np.random.default_rng(1).integers(0, 900, 870)
    features = Features(np.zeros((900, 2)), np.ones(900), np.zeros(900), np.zeros((900, 128)), "toy")
    prepared = Prepared(query_at(pose), features, matches_to(matches.points2D, ids))
    hard, soft = (
        localize_prepared(prepared, scene_map, LocalizerConfig(method=method), 0, swapped, statistics)
        for method in ("ssmc", "ssmc-soft")
    )
    assert hard.result.cam_from_world is None
    assert soft.error.position_m < 0.01


def known_matches(count=20_000, bias=-4.0, slope=9.0, trust=0.4, seed=0):
    """Matches that are right as often as a logistic curve says."""
    rng = np.random.default_rng(seed)
    scores, ratios = rng.uniform(0, 0.8, count), rng.normal(0, 1.5, count)
    chance = 1 / (1 + np.exp(-(bias + slope * scores + trust * ratios)))
    return KnownMatches(scores, rng.random(count) < chance, ratios)


def test_the_settings_that_made_matches_right_are_found_again():
    found = fit_affinity([known_matches(seed=k) for k in range(8)])
    config = found.config
    assert np.allclose([config.bias, config.slope, config.trust], [-4.0, 9.0, 0.4], rtol=0.04)
    assert (found.num_queries, found.num_matches) == (8, 160_000)
    assert found.loss_after < found.loss_before
    assert fit_affinity([known_matches(seed=k) for k in range(8)]).config == config


def test_every_query_counts_the_same_however_many_matches_it_has():
    few = [known_matches(500, bias=-5, seed=k) for k in range(40)]
    found = fit_affinity([*few, known_matches(100_000, bias=0)], labels=False)
    assert found.config.bias < -3.5
    assert found.config.trust == AffinityConfig().trust, "without labels nothing is said of them"


def test_labels_that_speak_against_right_matches_are_not_trusted_and_do_not_spoil_the_rest():
    given = known_matches(bias=-4, slope=9, trust=-0.5)
    config = fit_affinity([given]).config
    assert config.trust == 0
    same = fit_affinity([given], labels=False).config
    assert np.allclose([config.bias, config.slope], [same.bias, same.slope])


def test_matches_that_tell_nothing_leave_the_settings_as_they_are():
    start = AffinityConfig(bias=-3, slope=7)
    none = KnownMatches(np.zeros(0), np.zeros(0, bool), np.zeros(0))
    wrong = KnownMatches(np.array([0.1, 0.4]), np.zeros(2, bool), np.array([0.0, -np.inf]))
    assert fit_affinity([], start).config == fit_affinity([none], start).config == fit_affinity([wrong], start).config == start


def test_plain_p3p_may_draw_by_descriptors_so_that_labels_get_no_credit_for_it():
    """Right matches are rarer than any order of best scores first finds, and their scores are higher on average."""
    scene_map, matches, _, pose = street(count=900)
    ids = matches.point_ids.copy()
    ids[60:] = np.random.default_rng(1).integers(0, 900, 840)
    scores = np.where(np.arange(900) < 60, 0.4, 0.2)
    features = Features(np.zeros((900, 2)), np.ones(900), np.zeros(900), np.zeros((900, 128)), "toy")
    prepared = Prepared(query_at(pose), features, replace(matches_to(matches.points2D, ids), scores=scores))
    config = LocalizerConfig(affinity=AffinityConfig(weigh_p3p=True))
    found = localize_prepared(prepared, scene_map, config)
    assert found.consistency.keep.all()
    assert found.consistency.weights[:60].min() > 5 * found.consistency.weights[60:].max()
    assert found.error.position_m < 0.1
    assert localize_prepared(prepared, scene_map).consistency.weights is None
