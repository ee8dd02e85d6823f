"""Long tasks are generators of Progress that return their result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from core.records import Progress

T = TypeVar("T")


def finish(steps: Generator[Progress, None, T]) -> T:
    """Run a long task to its end, where nobody watches, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def within(low: float, high: float, steps: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
    """Run a task as a part of a longer one, whose share of the whole goes from ``low`` to ``high``."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        yield Progress(step.message, low if step.fraction is None else low + (high - low) * step.fraction)
