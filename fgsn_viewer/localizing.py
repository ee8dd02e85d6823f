"""Localizations behind the window: each query prepared once for all methods, each answer kept with its line in the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.evaluation.recall import outcome
from core.geometry import Array, Rigid3d
from core.images import read_image
from core.records import ImageData, Localization, Progress, Scene
from core.steps import finish
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.labelling import Labelling, network_title
from fgsn_viewer.methods import by_labels_alone, is_sequence, needs_labels
from fgsn_viewer.work_steps import Cache, Found, Note, Steps, finished


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the localization of one query ended, in a word of core.evaluation and the numbers behind it."""

    name: str
    word: str
    num_inliers: int = 0
    position_m: float | None = None
    rotation_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How to localize: a method, and the network whose labels it uses (None for no labels)."""

    method: str
    network: str | Path | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells answers apart: the network counts only where its labels are used."""
        return self.method, str(self.network or "") if needs_labels(self.method) else ""

    @property
    def labels(self) -> str:
        """The network's title in the tables, "" where no labels are used."""
        return network_title(self.network) if needs_labels(self.method) and self.network else ""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One query by one method: the ``localization``, its line in the tables (a QueryRow), and how it ended."""

    way: Way
    localization: Localization
    row: Any
    outcome: Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One condition as a method followed it, as far as it is: a ParticleStep for each query, in order."""

    condition: str
    way: Way
    steps: tuple[Any, ...]

    def captions(self) -> tuple[str, ...]:
        """What each moment is, in a few words."""
        return tuple(f"{_last(s.localization.query.name)}{' · lost' if s.lost else ''}" for s in self.steps)

    def moment(self, index: int) -> tuple[Array | None, Array | None, Array, Array]:
        """Particle centres (N, 3), weights (N,), or None; the ways up to a moment, estimated and true (T, 3), gaps NaN."""
        step, past = self.steps[index], [each.localization for each in self.steps[: index + 1]]
        estimated = np.array([_center(each.result.cam_from_world) for each in past]).reshape(-1, 3)
        true = np.array([_center(each.query.cam_from_world) for each in past]).reshape(-1, 3)
        particles = step.particles
        return (None, None, estimated, true) if particles is None else (particles.centers, particles.weights, estimated, true)

    def index_of(self, query: ImageData | None) -> int | None:
        """The step that shows a query, or None."""
        names = [step.localization.query.name for step in self.steps]
        return names.index(query.name) if query is not None and query.name in names else None


class Localizing:
    """Runs methods and keeps what they found in this session."""

    def __init__(self, pipelines: Pipelines, labelling: Labelling):
        self.pipelines, self.labelling = pipelines, labelling
        self._prepared = Cache(32)
        self._answers = Cache(16384)
        self._tracks = Cache(8)
        self._retrievers = Cache(4)

    def known(self, scene: Scene, query: ImageData, network: str | Path | None) -> dict[str, Answered]:
        """What every method that ran found of a query, with this network where it uses labels."""
        found = {}
        for method in self.pipelines.method_names():
            answer = self._answers.get(_key(scene, query, Way(method, network)))
            if answer is not None:
                found[method] = answer
        return found

    def rows(self, scene: Scene, queries: Sequence[ImageData], ways: Sequence[Way]) -> list[Any]:
        """The lines of everything that is known."""
        found = (self._answers.get(_key(scene, query, way)) for way in ways for query in queries)
        return [answer.row for answer in found if answer is not None]

    def localize(self, scene: Scene, query: ImageData, way: Way, image: Array | None = None) -> Steps:
        """Return the Answered of one query, kept from before; ``image`` are its pixels if they are at hand.

        Raises InputError or OSError for a query that cannot be read or has no camera; what a method alone cannot use is an
        answer with the reason.
        """
        key = _key(scene, query, way)
        known = self._answers.get(key)
        if known is not None:
            return known
        yield Progress(f"localizing {query.name}")
        prepared, seconds = yield from self._prepare(scene, query, image)
        try:
            localization, own = yield from self._solve(scene, query, way, prepared, image)
            refused = False
        except InputError as error:
            localization, own, refused = self.pipelines.refuse(query, str(error), way.method), {}, True
        return self._answers.put(key, self._answered(scene, way, localization, {**seconds, **own}, refused))

    def localize_all(self, scene: Scene, queries: Sequence[ImageData], ways: Sequence[Way]) -> Steps:
        """Localize queries one after the other; yields Found("answer", Answered) for each. One bad image stops nothing."""
        total = len(queries) * len(ways)
        for index, (query, way) in enumerate((query, way) for query in queries for way in ways):
            done = index / total
            yield Progress(f"localizing {query.name} ({index + 1} of {total})", done)
            try:
                for step in (steps := self._kept(scene, query, way)):
                    yield step if not isinstance(step, Progress) else Progress(f"{query.name}: {step.message}", done)
            except (InputError, OSError) as error:
                yield Note(str(error))
            finally:
                steps.close()

    def follow(self, scene: Scene, queries: Sequence[ImageData], way: Way) -> Steps:
        """Follow one condition: yields Found("track", Track) and Found("answer", Answered) after each query, and again at the
        end for those of which the method knows more then.
        """
        condition = queries[0].condition
        yield Progress(f"following {condition or 'the queries'}", 0.0)
        scene_map, labels, statistics = yield from self._labelled(scene, way)
        motion = self.pipelines.motion(scene, queries)
        yield Note(f"{condition or 'queries'}: odometry: {motion.source}")
        found_by = (yield from self._retriever(scene, always=True)) if by_labels_alone(way.method) else None
        prepare = lambda query: finish(self._prepare(scene, query, None))[0]  # noqa: E731
        followed = self.pipelines.follow(way.method, motion, scene_map, labels, statistics, found_by, prepare)
        steps: tuple[Any, ...] = ()
        result = None
        while result is None:
            try:
                steps = (*steps, next(followed))
            except StopIteration as done:
                result = done.value
                continue
            yield Progress(f"{steps[-1].message} ({len(steps)} of {len(queries)})", len(steps) / len(queries))
            yield Found("answer", self._kept_step(scene, way, steps[-1]))
            yield Found("track", self._kept_track(scene, way, condition, steps))
        later = tuple(_in_hindsight(step, known) for step, known in zip(steps, result.localizations, strict=True))
        for before, now in zip(steps, later):
            if before is not now:
                yield Found("answer", self._kept_step(scene, way, now))
        yield Found("track", self._kept_track(scene, way, condition, later))

    def track(self, scene: Scene, condition: str, way: Way) -> Track | None:
        """The condition as it was followed before, or None."""
        return self._tracks.get((scene.root, condition, *way.key))

    def _labelled(self, scene: Scene, way: Way) -> Steps:
        """Return the map with the labels of the way's network, what labels an image with it, and its statistics; the map as it
        is and None where the method needs no labels.
        """
        if not needs_labels(way.method):
            return scene.map, None, None
        if way.network is None:
            raise InputError(f"{scene.root}: the method {way.method!r} needs labels; choose a network in Labels > Network")
        segmenter = yield from self.labelling.segmenter(way.network)
        scene_map = self.labelling.map_for(scene, segmenter.vocabulary)
        return scene_map, partial(finish_labels, self.labelling, way.network), self.labelling.statistics(way.network)

    def _kept_step(self, scene: Scene, way: Way, step: Any) -> Answered:
        query = step.localization.query
        known = None if by_labels_alone(way.method) else self._prepared.get((str(scene.root), query.name))
        seconds = {} if known is None else known[1]
        answer = self._answered(scene, way, step.localization, {**seconds, "pose": step.seconds}, False)
        return self._answers.put(_key(scene, query, way), answer)

    def _kept_track(self, scene: Scene, way: Way, condition: str, steps: tuple[Any, ...]) -> Track:
        return self._tracks.put((scene.root, condition, *way.key), Track(condition, way, steps))

    def circle(self, scene: Scene, answer: Answered, match: int) -> Steps:
        """Yield Found("circle", CircleScores) of one match."""
        yield Progress("scoring the circle of the match")
        network = answer.way.network
        segmenter = yield from self.labelling.segmenter(network)
        query = answer.localization.query
        labels = yield from self.labelling.labels_of(network, query, read_image(query.path))
        scene_map, statistics = self.labelling.map_for(scene, segmenter.vocabulary), self.labelling.statistics(network)
        yield Found("circle", self.pipelines.circle(answer.localization, scene_map, labels, statistics, match))

    def forget_labelled(self) -> None:
        """Drop everything that was made with labels."""
        self._answers.drop_where(lambda key: bool(key[-1]))
        self._tracks.drop_where(lambda _key: True)

    def forget(self, scene: Scene, query: ImageData, way: Way) -> None:
        """Drop the answer of a query, so that it is found anew."""
        self._answers.drop(_key(scene, query, way))

    def _kept(self, scene: Scene, query: ImageData, way: Way) -> Steps:
        answer = yield from self.localize(scene, query, way)
        yield Found("answer", answer)

    def _retriever(self, scene: Scene, always: bool) -> Steps:
        """What finds the places of a query in the map, made once."""
        key = (str(scene.root), always)
        known = self._retrievers.get(key)
        if known is None:
            known = self._retrievers.put(key, ((yield from finished(self.pipelines.retriever(scene.map, always))),))
        return known[0]

    def _prepare(self, scene: Scene, query: ImageData, image: Array | None) -> Steps:
        key = (str(scene.root), query.name)
        known = self._prepared.get(key)
        if known is None:
            start = time.perf_counter()
            found_by = yield from self._retriever(scene, always=False)
            prepared = yield from finished(self.pipelines.prepare(query, scene.map, image, found_by))
            known = self._prepared.put(key, (prepared, {"features and matches": time.perf_counter() - start}))
        return known

    def _solve(self, scene: Scene, query: ImageData, way: Way, prepared: Any, image: Array | None) -> Steps:
        """Return the Localization and the seconds of its stages."""
        labels = statistics = None
        scene_map, seconds = scene.map, {}
        if needs_labels(way.method):
            if way.network is None:
                raise InputError(f"the method {way.method!r} needs labels; choose a network in Labels > Network")
            start = time.perf_counter()
            pixels = read_image(query.path) if image is None else image
            labels = yield from self.labelling.labels_of(way.network, query, pixels)
            seconds["labels"] = time.perf_counter() - start
            scene_map, statistics = self.labelling.map_for(scene, labels.vocabulary), self.labelling.statistics(way.network)
        yield Progress(f"estimating the pose ({way.method})")
        start = time.perf_counter()
        localization = self.pipelines.solve(prepared, scene_map, way.method, labels, statistics)
        return localization, seconds | {"pose": time.perf_counter() - start}

    def _answered(
        self, scene: Scene, way: Way, localization: Localization, seconds: Mapping[str, float], refused: bool
    ) -> Answered:
        row = self.pipelines.query_row(scene, localization, way.labels, seconds, refused)
        return Answered(way, localization, row, outcome_of(localization))


def _in_hindsight(step: Any, known: Localization) -> Any:
    """The step with what is known in the end; the same where that is nothing new."""
    if known is step.localization:
        return step
    return replace(step, localization=known, lost=known.result.failure is not None)


def _center(pose: Rigid3d | None) -> Array:
    return np.full(3, np.nan) if pose is None else pose.center()


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def finish_labels(labelling: Labelling, network: str | Path, query: ImageData) -> Any:
    """The labels of a query's image, at once."""
    return finish(labelling.labels_of(network, query, read_image(query.path)))


def can_localize(scene: Scene, query: ImageData) -> bool:
    """Whether the scene has a map with descriptors and the image is a query, not one of the map's own."""
    has_map = scene.map is not None and scene.map.observations.descriptors is not None
    return has_map and any(image is query for image in scene.queries)


def outcome_of(localization: Localization) -> Outcome:
    """Summarize a localization for the tree."""
    error, result = localization.error, localization.result
    return Outcome(
        name=localization.query.name,
        word=outcome(error, failed=result.failure is not None),
        num_inliers=result.stats.num_inliers,
        position_m=None if error is None else error.position_m,
        rotation_deg=None if error is None else error.rotation_deg,
    )


def follows(way: Way) -> bool:
    """Whether a way follows a whole condition."""
    return is_sequence(way.method)


def _key(scene: Scene, query: ImageData, way: Way) -> tuple[str, ...]:
    return str(scene.root), query.name, *way.key
