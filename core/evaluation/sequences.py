"""Evaluate a method that follows a sequence: one condition's queries in order, with odometry."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.evaluation.job import Answer, Unit, Variant
from core.evaluation.motion import Motion, motion_of
from core.evaluation.priors import noisy_position
from core.evaluation.rows import row_of, row_to_json
from core.localizer.batch import refused
from core.localizer.frames import make_frames
from core.localizer.sequence import METHOD, localize_sequence
from core.records import ImageData, LabelMap, Progress

if TYPE_CHECKING:
    from core.evaluation.query import Desk


def evaluate_sequence(desk: Desk, unit: Unit, variant: Variant) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Follow the unit's queries; return the journal entry of each.

    Odometry is the scene's or what the variant names; where there is none, the true motion between queries with errors
    (``motion_of``). Particles start around the first query's prior, else where retrieval places it, else around all
    mapping cameras: where in the scene it begins is not told, unless the variant's ``start_error_m`` says how well.
    """
    scene = desk.scene(unit.scene)
    queries = tuple(scene.image(name) for name in unit.queries)
    try:
        motion = motion_of(scene, queries, variant.odometry, desk.job.seed)
        if variant.start_error_m > 0:
            first, *others = motion.queries
            start = noisy_position(first, variant.start_error_m, desk.job.seed)
            motion = replace(motion, queries=(replace(first, prior=start), *others))
        answers = yield from _follow(desk, unit, variant, motion)
    except (InputError, OSError) as error:
        answers = [Answer(refused(query, str(error), METHOD, desk.job.seed), {}, refused=True) for query in queries]
    keys = {name: key for name, (key,) in zip(unit.queries, unit.keys, strict=True)}
    scene_map = desk.scene_map(unit.scene, "")
    rows = {a.localization.query.name: row_of(scene, scene_map, variant, a) for a in answers}
    return [{"key": keys[name], **row_to_json(rows[name])} for name in unit.queries]


def _follow(desk: Desk, unit: Unit, variant: Variant, motion: Motion) -> Generator[Progress, None, list[Answer]]:
    store, seed = desk.store(variant.labels), desk.job.seed
    segmentation: dict[str, float] = {}

    def labels(query: ImageData) -> LabelMap:
        found, segmentation[query.name] = store.labels(query)
        return found

    scene_map = desk.scene_map(unit.scene, variant.labels)
    frames = make_frames(motion.queries, labels, motion.steps, motion.noises, desk.places(unit.scene))
    answers = []
    for step in localize_sequence(frames, scene_map, store.statistics, variant.sequence, seed):
        query = step.localization.query
        seconds = {"labels": segmentation.get(query.name, 0.0), "pose": step.seconds}
        answers.append(Answer(step.localization, seconds, refused=query.name not in segmentation))
        yield Progress(f"{variant.id}: {query.name}")
    return answers
