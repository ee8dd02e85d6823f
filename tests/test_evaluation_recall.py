"""Pose errors and the recall table: the arithmetic by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from core.evaluation.errors import pose_error
from core.evaluation.recall import THRESHOLDS, outcome, recall, recall_table
from core.geometry import Rigid3d
from core.records import PoseError


def pose(rotvec_deg, center):
    R = Rotation.from_rotvec(np.radians(rotvec_deg)).as_matrix()
    return Rigid3d.from_rotation(R, -R @ np.asarray(center, float))


def test_a_pose_has_no_error_against_itself():
    error = pose_error(pose((10, 20, 30), (1, 2, 3)), pose((10, 20, 30), (1, 2, 3)))
    assert error.position_m == pytest.approx(0, abs=1e-12)
    assert error.rotation_deg == pytest.approx(0, abs=1e-6)


def test_position_error_is_the_distance_of_the_centres_whatever_the_rotation():
    error = pose_error(pose((0, 0, 90), (1, 2, 3)), pose((0, 0, 60), (1, 5, 7)))
    assert error.position_m == pytest.approx(5)
    assert error.rotation_deg == pytest.approx(30)


def test_rotation_error_reaches_half_a_turn():
    assert pose_error(pose((180, 0, 0), (0, 0, 0)), pose((0, 0, 0), (0, 0, 0))).rotation_deg == pytest.approx(180)


def test_missing_poses_count_as_failures_in_the_recall():
    errors = [PoseError(0.1, 1.0), PoseError(0.3, 1.0), PoseError(3.0, 9.0), None]
    assert recall(errors) == (25.0, 50.0, 75.0)


def test_both_errors_have_to_be_within_a_threshold_and_the_limit_counts():
    assert recall([PoseError(0.1, 3.0)]) == (0.0, 100.0, 100.0)
    assert recall([PoseError(0.25, 2.0)]) == (100.0, 100.0, 100.0)
    assert recall([PoseError(float("nan"), 1.0)]) == (0.0, 0.0, 0.0)


def test_no_queries_give_zero_recall_and_one_row():
    assert recall([]) == (0.0, 0.0, 0.0)
    (row,) = recall_table([])
    assert (row.condition, row.num_queries, row.num_failed) == ("all", 0, 0)


def test_the_table_has_a_row_for_each_condition_and_one_for_all():
    items = [("sun", PoseError(0.1, 1)), ("snow", None), ("snow", PoseError(0.4, 4)), ("sun", PoseError(9, 1))]
    sun, snow, together = recall_table(items)
    assert (sun.condition, sun.num_queries, sun.num_failed, sun.percent) == ("sun", 2, 0, (50.0, 50.0, 50.0))
    assert (snow.condition, snow.num_queries, snow.num_failed, snow.percent) == ("snow", 2, 1, (0.0, 50.0, 50.0))
    assert (together.condition, together.num_queries, together.num_failed) == ("all", 4, 1)
    assert together.percent == (25.0, 50.0, 50.0)


@pytest.mark.parametrize(
    ("error", "failed", "name"),
    [
        (PoseError(0.2, 1.0), False, "good"),
        (PoseError(0.2, 4.0), False, "fair"),
        (PoseError(4.0, 4.0), False, "poor"),
        (PoseError(0.2, 40.0), False, "bad"),
        (None, True, "failed"),
        (None, False, "unknown"),
    ],
)
def test_the_outcome_is_the_first_threshold_that_is_met(error, failed, name):
    assert outcome(error, failed) == name


def test_the_thresholds_are_those_of_the_benchmark():
    assert THRESHOLDS == ((0.25, 2), (0.5, 5), (5, 10))
