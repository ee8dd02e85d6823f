"""Long tasks are generators of Progress that return their result; this runs one where nobody watches."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from core.records import Progress

T = TypeVar("T")


def finish(steps: Generator[Progress, None, T]) -> T:
    """Run a long task to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
