"""Running long tasks to their end, alone or as part of a longer one."""

from __future__ import annotations

import pytest

from core.records import Progress
from core.steps import finish, scaled


def two_steps(closed):
    try:
        yield Progress("half", 0.5)
        yield Progress("unknown", None)
        return "done"
    finally:
        closed.append(True)


def test_a_task_runs_to_its_end_and_every_step_can_be_watched():
    seen = []
    assert finish(two_steps([])) == "done"
    assert finish(two_steps([]), seen.append) == "done"
    assert [step.message for step in seen] == ["half", "unknown"]


def test_a_part_of_a_task_reports_its_share_of_the_whole():
    steps, seen = scaled(two_steps([]), 0.2, 0.6), []
    assert finish(steps, seen.append) == "done"
    assert [step.fraction for step in seen] == pytest.approx([0.4, 0.2])


def test_stopping_the_whole_stops_the_part():
    closed = []
    steps = scaled(two_steps(closed), 0.0, 1.0)
    next(steps)
    steps.close()
    assert closed == [True]
