"""Long tasks are generators of Progress that return their result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeVar

from core.records import Progress

T = TypeVar("T")


def finish(steps: Generator[Any, None, T], watch: Callable[[Any], None] | None = None) -> T:
    """Run a long task to its end and return its result; ``watch`` is shown every step on the way."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        if watch is not None:
            watch(step)


def scaled(steps: Generator[Progress, None, T], low: float, high: float) -> Generator[Progress, None, T]:
    """Run a task as the part of a larger one that goes from ``low`` to ``high``; return its result."""
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                return stop.value
            yield replace(progress, fraction=low + (high - low) * (progress.fraction or 0.0))
    finally:
        steps.close()
