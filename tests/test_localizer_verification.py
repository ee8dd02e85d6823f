"""How likely a match is right counts for a pose, and labels of all that a pose sees decide where matches do not."""

from dataclasses import replace

import numpy as np
import pytest
from localizer_toys import CAMERA, NUM_LABELS, counted, given_of, matches_to, query_at, street, upright_pose
from test_localizer_ransac import PINHOLE, map_of, matches_of, problem

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.localizer import verification
from core.localizer.affinity import AffinityConfig
from core.localizer.autopsy import explain
from core.localizer.lo_ransac import lo_ransac
from core.localizer.pipeline import LocalizerConfig, Prepared, localize_prepared
from core.localizer.ransac import RansacConfig, estimate_pose, evidence
from core.localizer.verification import pose_verifier
from core.records import Consistency, Features


def matrices(*poses):
    return np.array([np.hstack([pose.R, pose.tvec[:, None]]) for pose in poses])


def test_evidence_is_the_log_of_agreeing_when_right_over_agreeing_by_chance():
    likely = np.array([0.0, 0.01, 0.5, 1.0, np.nan])
    found = evidence(likely, PINHOLE, 8.0)
    chance = np.pi * 64 / (1024 * 600)
    assert found[:3] == pytest.approx([0, np.log(1 + 0.01 / (0.99 * chance)), np.log(1 + 1 / chance)])
    assert found[3] > found[2]
    assert np.isfinite(found).all()
    assert found[4] == 0
    assert (evidence(likely[1:3], PINHOLE, 4.0) > found[1:3]).all()  # nearer by chance is rarer


def two_poses(num_likely, num_unlikely):
    """Matches of two cameras; those of the first are few and likely, those of the second many and unlikely."""
    (one, map_one, pose), (two, map_two, other) = (problem(count=n, seed=s) for s, n in enumerate((num_likely, num_unlikely)))
    matches = matches_of(np.concatenate([one.points2D, two.points2D]))
    likely = np.repeat([0.6, 0.002], [num_likely, num_unlikely])
    return matches, map_of(np.concatenate([map_one.points3D, map_two.points3D])), likely, pose, other


def test_few_likely_matches_outweigh_many_unlikely_ones():
    matches, scene_map, likely, pose, other = two_poses(14, 40)
    weights = np.linspace(1, 2, 54)
    by_number = estimate_pose(matches, scene_map, PINHOLE, weights=weights)
    by_evidence = estimate_pose(matches, scene_map, PINHOLE, weights=weights, probabilities=likely)
    assert pose_error(by_number.cam_from_world, other).position_m < 0.01
    assert pose_error(by_evidence.cam_from_world, pose).position_m < 0.01
    assert by_evidence.stats.num_iterations == 10_000  # the best pose may be one that is seldom drawn
    assert by_number.stats.num_iterations < 10_000


def test_a_pose_of_evidence_enough_needs_no_more_inliers():
    matches, scene_map, likely, pose, _ = two_poses(9, 0)
    weights = np.linspace(1, 2, 9)

    def found(likely, **settings):
        known = None if likely is None else np.full(9, likely)
        config = RansacConfig(min_inliers=12, **settings)
        return estimate_pose(matches, scene_map, PINHOLE, config, weights=weights, probabilities=known)

    assert found(None).failure.endswith("at least 12 needed")
    sure = found(0.6)
    assert sure.stats.evidence == pytest.approx(evidence(likely, PINHOLE, 8.0).sum(), rel=1e-3)
    assert pose_error(sure.cam_from_world, pose).position_m < 0.01
    unsure = found(0.001)
    assert unsure.cam_from_world is None
    assert unsure.failure.endswith("at least 12 needed, or evidence of 70 where it is 13")
    assert found(0.001, min_evidence=5.0).failure is None


def test_copies_of_one_match_are_no_further_evidence():
    matches, scene_map, _, _, _ = two_poses(5, 0)
    rows = np.repeat(np.arange(5), 20)
    copies = matches_of(matches.points2D[rows], rows)
    likely = {"weights": np.linspace(1, 2, 100), "probabilities": np.full(100, 0.9)}
    found = estimate_pose(copies, scene_map, PINHOLE, **likely)
    assert found.stats.evidence == pytest.approx(evidence(np.full(5, 0.9), PINHOLE, 8.0).sum(), rel=1e-3)
    assert found.failure.startswith("no consensus: 5 of 100 matches agree")


def test_what_else_is_known_of_poses_chooses_among_the_best_of_all_parts_of_the_search():
    matches, scene_map, _, pose, other = two_poses(30, 34)
    rng = np.random.default_rng(0)
    wrong = rng.uniform((0, 0), (1023, 599), (300, 2)), rng.normal(0, 30, (300, 3))
    pixels, points3D = np.concatenate([matches.points2D, wrong[0]]), np.concatenate([scene_map.points3D, wrong[1]])
    weights, alike = np.linspace(1, 1.1, 364), np.full(364, 0.1)

    def found(center):
        def near(poses):
            centers = -np.einsum("nji,nj->ni", poses[:, :, :3], poses[:, :, 3])
            return 100.0 * (np.linalg.norm(centers - center, axis=1) < 1)

        return estimate_pose(
            matches_of(pixels), map_of(points3D), PINHOLE, weights=weights, probabilities=alike, judge=near
        ).cam_from_world

    assert pose_error(found(pose.center()), pose).position_m < 0.01
    assert pose_error(found(other.center()), other).position_m < 0.01


class Numbers:
    """A model is a number; a sample of two gives their mean; the cost is the distance to the nearest of two numbers."""

    sample_size = 2

    def solve(self, samples):
        return samples.mean(axis=1)

    def costs(self, models):
        return np.minimum(np.abs(models - 10), np.abs(models - 40) + 0.5)

    def inliers(self, model):
        return np.zeros(60, bool)

    def refine(self, model):
        return model


def test_a_judge_changes_the_choice_and_not_the_search():
    options = {"min_iterations": 2000, "max_iterations": 2000, "confidence": 0.99, "seed": 0}
    plain = lo_ransac(Numbers(), np.ones(60), **options)
    judged = lo_ransac(Numbers(), np.ones(60), **options, judge=lambda models: np.where(models > 25, -10.0, 0.0))
    agrees = lo_ransac(Numbers(), np.ones(60), **options, judge=lambda models: np.zeros(len(models)))
    assert plain.model == agrees.model == 10
    assert 25 < judged.model < 45
    assert plain.num_iterations == judged.num_iterations == 2000


def test_the_labels_of_what_a_pose_sees_fit_the_true_one_best():
    scene_map, matches, labels, pose = street(count=600)
    judge = pose_verifier(given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS) * 1000)))
    beside = [upright_pose(3.0 + dx, -2.0 + dy, 0.7 + yaw) for dx, dy, yaw in ((0.7, 0, 0), (0, 0.7, 0), (0, 0, 0.2))]
    found = judge(matrices(pose, *beside))
    assert found.shape == (4,)
    assert found[0] > 20 > 2 * found[1:].max()  # eight labels alike: a point on its own says log 8 = 2.1, times 20
    half = AffinityConfig(verification=10.0)
    weaker = pose_verifier(given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS) * 1000), affinity=half))
    assert weaker(matrices(pose)) == pytest.approx(found[:1] / 2)


def test_of_a_large_map_a_part_of_each_label_is_looked_at(monkeypatch):
    scene_map, matches, labels, pose = street(count=600)
    given = given_of(scene_map, matches, labels, pose, counted(np.eye(NUM_LABELS) * 1000))
    whole = pose_verifier(given)
    monkeypatch.setattr(verification, "_MAX_ROWS", 250)
    verification._lasting_points.cache_clear()
    part = pose_verifier(given)
    assert (len(whole._points), len(part._points)) == (600, 200)
    assert set(part._points.labels.tolist()) == set(range(NUM_LABELS))
    poses = matrices(pose, upright_pose(3.7, -2.0, 0.7))
    assert part(poses)[0] > 20 > 2 * part(poses)[1]


def test_labels_decide_between_places_that_about_as_many_matches_agree_on():
    """Forty matches of a hundred and fifty are right, fifty lead to one other place, and all are as likely."""
    scene_map, matches, labels, pose = street(count=800)
    rng = np.random.default_rng(0)
    copy = upright_pose(4.0, -1.2, 0.6)
    there = CAMERA.project(copy.apply(scene_map.points3D))
    inside = ((there > 0) & (there < [CAMERA.width - 1, CAMERA.height - 1])).all(axis=1)
    of_copy = rng.choice(np.flatnonzero(inside), 50, replace=False)
    right, wrong = np.split(rng.permutation(np.setdiff1d(np.arange(800), of_copy))[:100], [40])
    scattered = rng.uniform((0, 0), (CAMERA.width - 1, CAMERA.height - 1), (60, 2))
    pixels = np.concatenate([there[of_copy], matches.points2D[right], scattered])
    known = replace(matches_to(pixels, np.concatenate([of_copy, right, wrong])), scores=rng.uniform(0.299, 0.301, 150))
    features = Features(np.zeros((150, 2)), np.ones(150), np.zeros(150), np.zeros((150, 128)), "toy")
    prepared = Prepared(query_at(pose), features, known)

    def found(verification):
        affinity = AffinityConfig(trust=0.0, verification=verification)  # the matches' own labels say nothing here
        config = LocalizerConfig(method="ssmc-soft", affinity=affinity)
        return localize_prepared(prepared, scene_map, config, 0, labels, counted(np.eye(NUM_LABELS) * 1000)).result

    assert pose_error(found(0.0).cam_from_world, copy).position_m < 0.05
    assert pose_error(found(100.0).cam_from_world, pose).position_m < 0.05


def test_a_result_says_how_well_the_labels_of_what_its_pose_sees_fit():
    scene_map, matches, labels, pose = street(count=300)
    features = Features(np.zeros((300, 2)), np.ones(300), np.zeros(300), np.zeros((300, 128)), "toy")
    prepared = Prepared(query_at(pose), features, matches)

    def found(labels, **affinity):
        config = LocalizerConfig(method="ssmc-soft", affinity=AffinityConfig(**affinity))
        return localize_prepared(prepared, scene_map, config, 0, labels, counted(np.eye(NUM_LABELS) * 1000))

    fits = found(labels)
    assert 1 < fits.result.stats.label_fit < np.log(NUM_LABELS)
    assert explain(fits, scene_map).verdict == "localized"
    contradicted = found(replace(labels, labels=(labels.labels + 1) % NUM_LABELS))
    assert contradicted.result.stats.label_fit < 0
    autopsy = explain(contradicted, scene_map)
    assert autopsy.verdict == "weak"
    assert "the labels of what it sees of the map fit no better than by chance" in autopsy.cause
    assert found(labels, verification=0.0).result.stats.label_fit is None


def test_where_nothing_can_be_verified_nothing_is():
    scene_map, matches, labels, pose = street(count=50)
    for off in (AffinityConfig(verification=0.0), AffinityConfig(evidence=False)):
        assert pose_verifier(given_of(scene_map, matches, labels, pose, affinity=off)) is None
    assert pose_verifier(given_of(replace(scene_map, visibility=None), matches, labels, pose)) is None
    moving = counted(np.eye(NUM_LABELS), np.zeros(NUM_LABELS, bool))
    assert pose_verifier(given_of(scene_map, matches, labels, pose, moving)) is None
    assert pose_verifier(given_of(scene_map, matches, labels, pose, moving, keep_moving=True)) is not None
    with pytest.raises(InputError, match="needs the labels of the query"):
        pose_verifier(given_of(scene_map, matches, None, pose))


def test_a_method_says_how_likely_matches_are_only_where_that_counts():
    scene_map, matches, labels, pose = street(count=60)
    features = Features(np.zeros((60, 2)), np.ones(60), np.zeros(60), np.zeros((60, 128)), "toy")
    prepared = Prepared(query_at(pose), features, matches)

    def consistency(method, **affinity) -> Consistency:
        config = LocalizerConfig(method=method, affinity=AffinityConfig(**affinity))
        return localize_prepared(prepared, scene_map, config, 0, labels).consistency

    soft = consistency("ssmc-soft")
    assert np.array_equal(soft.probabilities, soft.weights)
    assert consistency("ssmc-soft", evidence=False).probabilities is None
    assert consistency("p3p").probabilities is None
    assert consistency("p3p", weigh_p3p=True).probabilities is not None
    assert consistency("ssmc").probabilities is None
    around = consistency("gsmc-soft")
    assert around.probabilities == pytest.approx(soft.probabilities)
    assert not np.allclose(around.weights, around.probabilities)
