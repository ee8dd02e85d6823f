"""Evaluate a method that follows a sequence: one condition's queries in order, with odometry."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.evaluation.job import Answer, Unit, Variant
from core.evaluation.label_store import LabelStore
from core.evaluation.motion import Motion, motion_of
from core.evaluation.prepared import PreparedQueries
from core.evaluation.priors import noisy_position
from core.evaluation.rows import row_of, row_to_json
from core.localizer.batch import refused
from core.localizer.drive import METHODS as DRIVES
from core.localizer.drive import localize_drive
from core.localizer.frames import make_frames
from core.localizer.pipeline import Prepared
from core.localizer.sequence import localize_sequence
from core.records import ImageData, LabelMap, Progress, Scene
from core.sequences import ParticleStep, SequenceResult
from core.steps import finish

if TYPE_CHECKING:
    from core.evaluation.query import Desk


def evaluate_sequences(
    desk: Desk, unit: Unit, variants: Sequence[Variant], prepared: PreparedQueries
) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Follow the unit's queries by each variant; return the journal entry of each.

    Odometry is the scene's or what the variant names; where there is none, the true motion between queries with errors
    (``motion_of``). Particles start around the first query's prior, else where retrieval places it, else around all
    mapping cameras: where in the scene it begins is not told, unless the variant's ``start_error_m`` says how well.
    """
    scene, entries = desk.scene(unit.scene), []
    queries = tuple(scene.image(name) for name in unit.queries)
    for place, variant in enumerate(variants):
        try:
            motion = _motion(desk, scene, queries, variant)
            follow = _drive if variant.config.method in DRIVES else _particles
            answers = yield from follow(desk, unit, variant, motion, prepared)
        except (InputError, OSError) as error:
            method, seed = variant.config.method, desk.job.seed
            answers = [Answer(refused(query, str(error), method, seed), {}, refused=True) for query in queries]
        keys = {name: keys[place] for name, keys in zip(unit.queries, unit.keys, strict=True)}
        rows = {answer.localization.query.name: row_of(scene, scene.map, variant, answer) for answer in answers}
        entries += [{"key": keys[name], **row_to_json(rows[name])} for name in unit.queries]
    return entries


def _motion(desk: Desk, scene: Scene, queries: Sequence[ImageData], variant: Variant) -> Motion:
    motion = motion_of(scene, queries, variant.odometry, desk.job.seed)
    if variant.start_error_m > 0:
        first, *others = motion.queries
        start = noisy_position(first, variant.start_error_m, desk.job.seed)
        motion = replace(motion, queries=(replace(first, prior=start), *others))
    return motion


class _Labels:
    """The labels of queries by one network, with the seconds that each took."""

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self.seconds: dict[str, float] = {}

    def __call__(self, query: ImageData) -> LabelMap:
        found, self.seconds[query.name] = self._store.labels(query)
        return found


def _particles(
    desk: Desk, unit: Unit, variant: Variant, motion: Motion, _prepared: PreparedQueries
) -> Generator[Progress, None, list[Answer]]:
    store, seed = desk.store(variant.labels), desk.job.seed
    labels = _Labels(store)
    scene_map = desk.scene_map(unit.scene, variant.labels)
    frames = make_frames(motion.queries, labels, motion.steps, motion.noises, desk.places(unit.scene))
    answers = []
    for step in localize_sequence(frames, scene_map, store.statistics, variant.sequence, seed):
        query = step.localization.query
        seconds = {"labels": labels.seconds.get(query.name, 0.0), "pose": step.seconds}
        answers.append(Answer(step.localization, seconds, refused=query.name not in labels.seconds))
        yield Progress(f"{variant.id}: {query.name}")
    return answers


def _drive(
    desk: Desk, unit: Unit, variant: Variant, motion: Motion, prepared: PreparedQueries
) -> Generator[Progress, None, list[Answer]]:
    store = desk.store(variant.labels) if variant.labels else None
    labels = None if store is None else _Labels(store)
    retriever = desk.retriever(unit.scene, variant.config.retrieval)
    ready: dict[str, dict[str, float]] = {}

    def prepare(query: ImageData) -> Prepared:
        found, ready[query.name] = finish(prepared.get(query, variant.config, retriever))
        return found

    scene_map = desk.scene_map(unit.scene, variant.labels)
    frames = make_frames(motion.queries, labels, motion.steps, motion.noises)
    statistics = None if store is None else store.statistics
    steps = localize_drive(frames, scene_map, prepare, variant.config, statistics, desk.job.seed)
    result = yield from _told(steps, variant)
    answers = []
    for localization, pose in zip(result.localizations, result.seconds, strict=True):
        name = localization.query.name
        seconds = ready.get(name, {}) | ({} if labels is None else {"labels": labels.seconds.get(name, 0.0)}) | {"pose": pose}
        answers.append(Answer(localization, seconds, refused=localization.consistency is None))
    return answers


def _told(steps: Generator[ParticleStep, None, SequenceResult], variant: Variant) -> Generator[Progress, None, SequenceResult]:
    """Say of each step which query it followed to; return the result."""
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            return done.value
        yield Progress(f"{variant.id}: {step.localization.query.name}")
