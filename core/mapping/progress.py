"""Long tasks made of long tasks."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from core.records import Progress

T = TypeVar("T")


def scaled(steps: Generator[Progress, None, T], low: float, high: float) -> Generator[Progress, None, T]:
    """Run a task as the part of a larger one that goes from ``low`` to ``high``; return its result."""
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                return stop.value
            yield Progress(progress.message, low + (high - low) * (progress.fraction or 0.0))
    finally:
        steps.close()
