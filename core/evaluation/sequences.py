"""Evaluate a method that follows a sequence: one condition's queries in order, with odometry."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.evaluation.job import Answer, Unit, Variant
from core.evaluation.priors import noisy_position
from core.evaluation.rows import row_of, row_to_json
from core.localizer.batch import refused
from core.localizer.frames import in_order, make_frames, odometry_of
from core.localizer.sequence import METHOD, localize_sequence
from core.records import ImageData, LabelMap, Progress
from core.sequences import OdometryNoise

if TYPE_CHECKING:
    from core.evaluation.query import Desk

NOISE = OdometryNoise()


def evaluate_sequence(desk: Desk, unit: Unit, variant: Variant) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Follow the unit's queries; return the journal entry of each.

    Odometry is not in the scenes: it is the true motion between queries with the errors of ``NOISE``. Particles start
    around the first query's prior, else where retrieval places it, else around all mapping cameras: where in the scene
    it begins is not told, unless the variant's ``start_error_m`` says how well.
    """
    scene = desk.scene(unit.scene)
    queries = in_order([scene.image(name) for name in unit.queries])
    try:
        if variant.start_error_m > 0:
            start = noisy_position(queries[0], variant.start_error_m, desk.job.seed)
            queries = (replace(queries[0], prior=start), *queries[1:])
        answers = yield from _follow(desk, unit, variant, queries)
    except (InputError, OSError) as error:
        answers = [Answer(refused(query, str(error), METHOD, desk.job.seed), {}, refused=True) for query in queries]
    keys = {name: key for name, (key,) in zip(unit.queries, unit.keys, strict=True)}
    scene_map = desk.scene_map(unit.scene, "")
    rows = {a.localization.query.name: row_of(scene, scene_map, variant, a) for a in answers}
    return [{"key": keys[name], **row_to_json(rows[name])} for name in unit.queries]


def _follow(
    desk: Desk, unit: Unit, variant: Variant, queries: tuple[ImageData, ...]
) -> Generator[Progress, None, list[Answer]]:
    store, seed = desk.store(variant.labels), desk.job.seed
    segmentation: dict[str, float] = {}

    def labels(query: ImageData) -> LabelMap:
        found, segmentation[query.name] = store.labels(query)
        return found

    scene_map = desk.scene_map(unit.scene, variant.labels)
    odometry = odometry_of(queries, variant.odometry, NOISE, seed)
    frames = make_frames(queries, labels, odometry, NOISE, desk.places(unit.scene))
    answers = []
    for step in localize_sequence(frames, scene_map, store.statistics, variant.sequence, seed):
        query = step.localization.query
        seconds = {"labels": segmentation.get(query.name, 0.0), "pose": step.seconds}
        answers.append(Answer(step.localization, seconds, refused=query.name not in segmentation))
        yield Progress(f"{variant.id}: {query.name}")
    return answers
