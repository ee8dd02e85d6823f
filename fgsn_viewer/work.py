"""The work behind the window, without Qt and without state: generators that yield progress and what they found.

Everything that was computed once in a session is kept: images, labels, localizations, pair matches.
"""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Generator, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ImageError, InputError
from core.evaluation.recall import outcome
from core.geometry import Array, rotation_angle_deg
from core.images import limit_size, read_image
from core.records import ImageData, Localization, PairMatches, PointLabels, Progress, Scene
from core.scene.colmap import folder_of_files
from core.scene.sightings import matches_seen_in
from fgsn_viewer.agreement import PairAgreement, label_kappa
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.known_points import KnownPoints, known_points
from fgsn_viewer.training_run import RUN

THUMBNAIL_PX = 72
MAX_TURN_DEG = 60.0  # a reference that looks elsewhere is no neighbour
Steps = Generator[Any, None, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is complete: the name of its field in the state, and its value."""

    field: str
    value: Any


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the log, which stops nothing."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the localization of one query ended, in a word of core.evaluation and the numbers behind it."""

    name: str
    word: str
    num_inliers: int = 0
    position_m: float | None = None
    rotation_deg: float | None = None


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """The network in use: its name in the menu, what it speaks, where and how it runs."""

    name: str
    vocabulary: str
    num_labels: int
    names: tuple[str, ...] | None = None
    device: str = "cpu"
    precision: str = "fast"


@dataclass(frozen=True, slots=True)
class Request:
    """What to show: a query beside a reference. ``choose_reference`` lets the localization pick the best one."""

    scene: Scene
    query: ImageData
    reference: ImageData | None
    network: str | Path | None
    choose_reference: bool = True


class Cache:
    """The most recently used values, safe between threads."""

    def __init__(self, size: int):
        self._size = size
        self._items: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, value: Any) -> Any:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._size:
                self._items.popitem(last=False)
        return value

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._items.pop(key, None)


class Workbench:
    """Runs the pipelines of core for the window and keeps what they made."""

    def __init__(self, pipelines: Pipelines):
        self.pipelines = pipelines
        self._images = Cache(16)
        self._labels = Cache(32)
        self._pairs = Cache(64)
        self._localizations = Cache(4096)
        self._segmenters = Cache(2)
        self._point_labels = Cache(2)

    def open(self, paths: tuple[Path, ...]) -> Steps:
        """Open one scene, model (or its files) or folder, or two photographs; return the Scene."""
        model = folder_of_files(paths)
        paths = paths if model is None else (model,)
        yield Progress(f"opening {', '.join(path.name for path in paths)}")
        if len(paths) == 2:
            return (yield from _finish(self.pipelines.open_pair(*paths)))
        if len(paths) != 1:
            raise InputError(f"{len(paths)} paths given; expected one scene, COLMAP model or folder, or two photographs")
        scene = yield from _finish(self.pipelines.open_scene(paths[0]))
        if not scene.images:
            raise InputError(f"{paths[0]}: no images found in it")
        return scene

    def networks(self) -> Steps:
        """Return the names of the networks that are at hand: name -> path."""
        yield Progress("looking for networks")
        return dict(self.pipelines.available_weights())

    def thumbnails(self, images: Iterable[ImageData]) -> Steps:
        """Yield (name, (h, w, 3) u8 or None) for each image."""
        for image in images:
            try:
                yield image.name, limit_size(read_image(image.path), THUMBNAIL_PX)[0]
            except (OSError, ImageError):
                yield image.name, None

    def examine(self, request: Request) -> Steps:
        """Fill in everything about one query: images, pose or pair matches, reference, autopsy, labels, agreement."""
        query_image = yield from self._picture(request.query, "query_image")
        reference = request.reference
        reference_image = None
        if reference is not None:
            reference_image = yield from self._picture(reference, "reference_image")
        localization = matches = None
        if query_image is not None and can_localize(request.scene, request.query):
            try:
                localization = yield from self.localize(request.scene, request.query, query_image)
            except InputError as error:
                yield Note(f"{request.query.name} cannot be localized: {error}")
        if localization is not None:
            yield Found("localization", localization)
            best = best_reference(request.scene, localization)
            if request.choose_reference and best is not None and best is not reference:
                reference = best
                yield Found("reference", reference)
                reference_image = yield from self._picture(reference, "reference_image")
            yield from self._explain(request.scene, localization)
        elif query_image is not None and reference_image is not None:
            matches = yield from self._match(request.scene, reference, request.query, reference_image, query_image)
            yield Found("pair_matches", matches)
        if request.network is not None:
            query_labels = yield from self._label(request, request.query, query_image, "query_labels")
            reference_labels = yield from self._label(request, reference, reference_image, "reference_labels")
            yield from self._agreement(request, reference, query_labels, reference_labels, localization or matches)

    def localize(self, scene: Scene, query: ImageData, image: Array | None = None) -> Steps:
        """Return the Localization of one query, kept from before; ``image`` are its pixels if they are at hand."""
        key = (str(scene.root), query.name)
        known = self._localizations.get(key)
        if known is None:
            yield Progress(f"localizing {query.name}")
            made = self.pipelines.localize(query, scene.map, image=image)
            known = self._localizations.put(key, (yield from _finish(made)))
        return known

    def localize_all(self, scene: Scene, queries: tuple[ImageData, ...]) -> Steps:
        """Localize queries one after the other; yields Found("outcome", Outcome) for each. One bad image stops nothing."""
        for index, query in enumerate(queries):
            yield Progress(f"localizing {query.name} ({index + 1} of {len(queries)})", index / len(queries))
            try:
                for step in (steps := self.localize(scene, query)):
                    yield Progress(f"{query.name}: {step.message}", index / len(queries))
            except (InputError, OSError) as error:
                yield Note(str(error))
                continue
            finally:
                steps.close()
            yield Found("outcome", outcome_of(self._localizations.get((str(scene.root), query.name))))

    def forget(self, scene: Scene, query: ImageData) -> None:
        """Drop the localization of a query, so that it runs anew."""
        self._localizations.drop((str(scene.root), query.name))

    def _picture(self, image: ImageData, field: str) -> Steps:
        """Read an image and yield it; a missing or unreadable one becomes a note and None."""
        pixels = self._images.get(image.path)
        if pixels is None:
            yield Progress(f"reading {image.name}")
            try:
                pixels = self._images.put(image.path, read_image(image.path))
            except (OSError, ImageError) as error:
                yield Note(str(error))
        yield Found(field, pixels)
        return pixels

    def _match(self, scene: Scene, a: ImageData, b: ImageData, image_a: Array, image_b: Array) -> Steps:
        key = (a.path, b.path)
        known = self._pairs.get(key)
        if known is None:
            yield Progress(f"matching {a.name} and {b.name}")
            known = self._pairs.put(key, (yield from _finish(self.pipelines.match_pair(image_a, image_b))))
        return known

    def _explain(self, scene: Scene, localization: Localization) -> Steps:
        yield Found("outcome", outcome_of(localization))
        yield Found("autopsy", self.pipelines.explain(localization, scene.map))

    def _label(self, request: Request, image: ImageData | None, pixels: Array | None, field: str) -> Steps:
        if image is None or pixels is None:
            return None
        segmenter = yield from self.segmenter(request.network)
        yield Found("point_labels", self._labels_of_points(request.scene, segmenter.vocabulary))
        key = (image.path, str(request.network))
        labels = self._labels.get(key)
        if labels is None:
            yield Progress(f"labelling {image.name}")
            steps = getattr(segmenter, "segment_steps", None)
            labels = self._labels.put(key, (yield from _finish((steps or segmenter.segment)(pixels))))
        yield Found(field, labels)
        return labels

    def _labels_of_points(self, scene: Scene, vocabulary: str) -> PointLabels | None:
        """The labels of the map's points in a vocabulary, read once, or None where the map has none."""
        labels = None if scene.map is None else scene.map.labels
        if scene.map is None or (labels is not None and labels.vocabulary == vocabulary):
            return labels
        known = self._point_labels.get((scene, vocabulary))
        if known is None:
            found = None if scene.map_path is None else self.pipelines.load_labels(scene.map_path, vocabulary)
            fits = found is not None and len(found.labels) == len(scene.map.points3D)  # it may have been built anew since
            known = self._point_labels.put((scene, vocabulary), (found if fits else None,))
        return known[0]

    def segmenter(self, network: str | Path) -> Steps:
        """Return the segmenter of a network, loaded once; yields Found("network", NetworkInfo) when it is loaded."""
        known = self._segmenters.get(str(network))
        if known is None:
            yield Progress(f"loading the network {network_title(network)}")
            known = self._segmenters.put(str(network), (yield from _finish(self.pipelines.load_segmenter(network))))
        yield Found("network", network_info(network, known))
        return known

    def _agreement(self, request: Request, reference: ImageData | None, query_labels, reference_labels, made) -> Steps:
        """Yield how far the labels agree where both images are known to show the same, or else at the inliers."""
        if query_labels is None or reference_labels is None or reference is None:
            return
        yield Progress("comparing the labels")
        points = known_points(request.scene, reference, request.query)
        if points is None and made is not None:
            points = KnownPoints(*inlier_points(request.scene, reference, made), "that are inliers")
        if points is not None and len(points) and query_labels.num_labels == reference_labels.num_labels:
            labels = reference_labels.at(points.points_ref), query_labels.at(points.points_query)
            stats = self.pipelines.consistency(*labels, query_labels.num_labels)
            yield Found("consistency", PairAgreement(stats, points.source, label_kappa(stats)))


def can_localize(scene: Scene, query: ImageData) -> bool:
    """Whether the scene has a map with descriptors and the image is a query, not one of the map's own."""
    has_map = scene.map is not None and scene.map.observations.descriptors is not None
    return has_map and any(image is query for image in scene.queries)


def best_reference(scene: Scene, localization: Localization) -> ImageData | None:
    """The reference image that sees most inliers, or None; without a pose, the true place where it is known.

    Where a failed query's place is not known either, the image with most matches.
    """
    if localization.result.failure and localization.query.cam_from_world is not None:
        return first_reference(scene, localization.query)
    return reference_of_map_image(scene, localization.ranking[0][0]) if localization.ranking else None


def reference_of_map_image(scene: Scene, index: int) -> ImageData | None:
    name = scene.map.images[index].name
    return next((image for image in scene.reference if image.name == name), None)


def map_index(scene: Scene, reference: ImageData) -> int | None:
    """Index of a reference image in the map, or None."""
    images = scene.map.images if scene.map is not None else ()
    return next((index for index, image in enumerate(images) if image.name == reference.name), None)


def first_reference(scene: Scene, query: ImageData) -> ImageData | None:
    """The reference nearest by known pose that looks the same way, else the first that is not the query itself."""
    others = [image for image in scene.reference if image is not query]
    posed = [image for image in others if image.cam_from_world is not None]
    if query.cam_from_world is None or not posed:
        return others[0] if others else None
    pose = query.cam_from_world
    facing = [image for image in posed if rotation_angle_deg(image.cam_from_world, pose) < MAX_TURN_DEG]
    return min(facing or posed, key=lambda image: float(np.linalg.norm(image.cam_from_world.center() - pose.center())))


def inlier_points(scene: Scene, reference: ImageData, made: Localization | PairMatches) -> tuple[Array, Array]:
    """Pixels (N, 2), (N, 2) of the inliers in the reference and in the query."""
    if isinstance(made, PairMatches):
        return made.points_ref[made.inlier_mask], made.points_query[made.inlier_mask]
    shown, points_ref = matches_seen_in(made.matches, scene.map, map_index(scene, reference))
    kept = made.result.inlier_mask[shown]
    return points_ref[kept], made.matches.points2D[shown][kept]


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


def network_info(network: str | Path, segmenter: Any) -> NetworkInfo:
    return NetworkInfo(
        name=network_title(network),
        vocabulary=segmenter.vocabulary,
        num_labels=segmenter.num_labels,
        names=segmenter.names,
        device=str(segmenter.device),
        precision=str(segmenter.precision),
    )


def network_title(network: str | Path) -> str:
    """What a network is called: its file's stem, and for a run's weights the scene that it was trained on and the run."""
    path = Path(network)
    if path.stem == "weights" and path.parent.name == RUN:
        return f"{path.parts[-4].rsplit('-', 1)[0]}, run {int(path.parts[-3])}"
    return path.stem


def _finish(made: Any) -> Steps:
    """Run a generator of core to its result; a plain value is its own result."""
    if inspect.isgenerator(made):
        return (yield from made)
    return made
