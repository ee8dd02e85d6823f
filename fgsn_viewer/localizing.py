"""Localizations behind the window: each query prepared once for all methods, each answer kept with its line in the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from fgsn_viewer.methods import is_sequence, needs_labels
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
    """One condition followed by PFSL, as far as it is: a ParticleStep for each query, in order."""

    condition: str
    network: str
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
        """Follow one condition: yields Found("track", Track) and Found("answer", Answered) after each query."""
        condition, network = queries[0].condition, str(way.network or "")
        if way.network is None:
            raise InputError(f"{scene.root}: the method {way.method!r} needs labels; choose a network in Labels > Network")
        yield Progress(f"following {condition or 'the queries'}", 0.0)
        segmenter = yield from self.labelling.segmenter(way.network)
        scene_map = self.labelling.map_for(scene, segmenter.vocabulary)
        labels = lambda query: finish_labels(self.labelling, way.network, query)  # noqa: E731
        motion = self.pipelines.motion(scene, queries)
        yield Note(f"{condition or 'queries'}: odometry: {motion.source}")
        found_by = yield from self._retriever(scene, always=True)
        steps = self.pipelines.follow(motion, scene_map, labels, self.labelling.statistics(way.network), found_by)
        track: tuple[Any, ...] = ()
        for step in steps:
            track = (*track, step)
            yield Progress(f"{step.message} ({len(track)} of {len(queries)})", len(track) / len(queries))
            answer = self._answered(scene, way, step.localization, {"pose": step.seconds}, False)
            self._answers.put(_key(scene, step.localization.query, way), answer)
            yield Found("answer", answer)
            yield Found("track", self._tracks.put((scene.root, condition, network), Track(condition, network, track)))

    def track(self, scene: Scene, condition: str, network: str | Path | None) -> Track | None:
        """The condition as it was followed before, or None."""
        return self._tracks.get((scene.root, condition, str(network or "")))

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
