"""Keypoints and matches of a scene's queries, made once for all variants that share their settings."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from core.errors import InputError
from core.localizer.pipeline import LocalizerConfig, Prepared, prepare
from core.localizer.retrieval import Retriever
from core.records import ImageData, Progress, SceneMap

Timed = tuple[Prepared, dict[str, float]]
"""What is prepared, and the seconds of each stage."""


class PreparedQueries:
    """What variants share of some queries; matches are made without a ratio, which each variant then asks for."""

    def __init__(self, scene_map: SceneMap) -> None:
        self._map = scene_map
        self._known: dict[tuple[str, str], Timed | str] = {}

    def get(self, query: ImageData, config: LocalizerConfig, retriever: Retriever | None) -> Generator[Progress, None, Timed]:
        """A query as a variant's settings want it. Raises InputError where it cannot be used, each time."""
        lax = replace(config, matching=replace(config.matching, ratio=1.0))
        key = query.name, repr((lax.features, lax.retrieval, lax.matching))
        if key not in self._known:
            self._known[key] = yield from _prepare(query, self._map, lax, retriever)
        found = self._known[key]
        if isinstance(found, str):
            raise InputError(found)
        return _within(found, config.matching.ratio)


def _within(prepared: Timed, ratio: float) -> Timed:
    """What a stricter ratio leaves of matches made without one: a point's best match stays its best."""
    ready, seconds = prepared
    return replace(ready, matches=ready.matches.part(ready.matches.scores > 1 - ratio)), dict(seconds)


def _prepare(
    query: ImageData, scene_map: SceneMap, config: LocalizerConfig, retriever: Retriever | None
) -> Generator[Progress, None, Timed | str]:
    """Features and matches with the seconds of each, or why the query cannot be used."""
    steps = prepare(query, scene_map, config, retriever=retriever)
    seconds, stage = {"features": 0.0, "matching": 0.0}, "features"
    try:
        while True:
            start = time.perf_counter()
            try:
                step = next(steps)
            except StopIteration as done:
                return done.value, seconds
            finally:
                seconds[stage] += time.perf_counter() - start
            stage = "features" if step.message.startswith("Finding keypoints") else "matching"
            yield step
    except (InputError, OSError) as error:
        return str(error)
