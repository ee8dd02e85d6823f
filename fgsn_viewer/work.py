"""The work behind the window, without Qt and without state: generators that yield progress and what they found.

Everything that was computed once in a session is kept: images, labels, localizations, pair matches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import ImageError, InputError
from core.geometry import Array, rotation_angle_deg
from core.images import read_image
from core.label_cache import thumbnail
from core.records import ImageData, Localization, PairMatches, Progress, Scene
from fgsn_viewer.agreement import PairAgreement
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.display import GUIDED, INLIER
from fgsn_viewer.known_points import KnownPoints, known_points
from fgsn_viewer.labelling import Labelling
from fgsn_viewer.localizing import Localizing, Way, can_localize, follows
from fgsn_viewer.methods import by_labels_alone
from fgsn_viewer.tables import localization_rows
from fgsn_viewer.work_steps import Cache, Found, Note, Steps, finished

THUMBNAIL_PX = 72
MAX_TURN_DEG = 60.0  # a reference that looks elsewhere is no neighbour


@dataclass(frozen=True, slots=True)
class Request:
    """What to show: a query beside a reference, localized one ``way``, with the labels of the way's network.

    ``choose_reference`` lets the localization pick the best reference.
    """

    scene: Scene
    query: ImageData
    reference: ImageData | None
    way: Way
    choose_reference: bool = True


class Workbench:
    """Runs the pipelines of core for the window and keeps what they made."""

    def __init__(self, pipelines: Pipelines):
        self.pipelines = pipelines
        self.labelling = Labelling(pipelines)
        self.localizing = Localizing(pipelines, self.labelling)
        self._images = Cache(16)
        self._pairs = Cache(64)

    def networks(self) -> Steps:
        """Return the names of the networks that are at hand: name -> path."""
        yield Progress("looking for networks")
        return dict(self.pipelines.available_weights())

    def thumbnails(self, images: Iterable[ImageData]) -> Steps:
        """Yield (name, (h, w, 3) u8 or None) for each image."""
        for image in images:
            try:
                yield image.name, thumbnail(image.path, THUMBNAIL_PX, self.labelling.cache)
            except (OSError, ImageError):
                yield image.name, None

    def label_map(self, scene: Scene, network: str | Path) -> Steps:
        """Label the map's points; yields Found("point_labels", PointLabels) and a note."""
        labels = yield from self.labelling.label_points(scene, network)
        yield Note(f"labelled the map with {labels.vocabulary}, for this session; `label` writes it into the map")
        yield Found("point_labels", labels)

    def examine(self, request: Request) -> Steps:
        """Fill in everything about one query: images, pose or pair matches, reference, autopsy, labels, agreement."""
        query_image = yield from self._picture(request.query, "query_image")
        reference = request.reference
        reference_image = None
        if reference is not None:
            reference_image = yield from self._picture(reference, "reference_image")
        localization = matches = None
        if query_image is not None and can_localize(request.scene, request.query):
            localization = yield from self._localize(request, query_image)
        if localization is not None:
            best = best_reference(request.scene, localization)
            if request.choose_reference and best is not None and best is not reference:
                reference = best
                yield Found("reference", reference)
                reference_image = yield from self._picture(reference, "reference_image")
            scene_map = yield from self._explaining_map(request)
            yield Found("autopsy", self.pipelines.explain(localization, scene_map))
        elif query_image is not None and reference_image is not None and not follows(request.way):
            matches = yield from self._match(request.scene, reference, request.query, reference_image, query_image)
            yield Found("pair_matches", matches)
        if request.way.network is not None:
            query_labels = yield from self._label(request, request.query, query_image, "query_labels")
            reference_labels = yield from self._label(request, reference, reference_image, "reference_labels")
            yield from self._agreement(request, reference, query_labels, reference_labels, localization or matches)

    def _localize(self, request: Request, query_image: Array) -> Steps:
        """Yield what every method that ran found; return the localization of the request's own way, run where need be."""
        scene, query, way = request.scene, request.query, request.way
        known = self.localizing.known(scene, query, way.network)
        if known:
            yield Found("results", known)
        try:
            answer = known.get(way.method)
            if answer is None and not follows(way):
                answer = yield from self.localizing.localize(scene, query, way, query_image)
        except (InputError, OSError) as error:
            yield Note(f"{query.name} cannot be localized: {error}")
        if answer is None:
            return None
        yield Found("results", known | {way.method: answer})
        yield Found("answer", answer)
        yield Found("localization", answer.localization)
        return answer.localization

    def _explaining_map(self, request: Request) -> Steps:
        """Return the map, with its labels where a method's reasons are about these alone."""
        if not by_labels_alone(request.way.method):
            return request.scene.map
        segmenter = yield from self.labelling.segmenter(request.way.network)
        return replace(request.scene.map, labels=self.labelling.of_points(request.scene, segmenter.vocabulary))

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
            known = self._pairs.put(key, (yield from finished(self.pipelines.match_pair(image_a, image_b))))
        return known

    def _label(self, request: Request, image: ImageData | None, pixels: Array | None, field: str) -> Steps:
        if image is None or pixels is None:
            return None
        segmenter = yield from self.labelling.segmenter(request.way.network)
        yield Found("point_labels", self.labelling.of_points(request.scene, segmenter.vocabulary))
        labels = yield from self.labelling.labels_of(request.way.network, image, pixels)
        yield Found(field, labels)
        return labels

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
            yield Found("consistency", PairAgreement(stats, points.source, self.pipelines.label_kappas(stats)))


def best_reference(scene: Scene, localization: Localization) -> ImageData | None:
    """The reference image that sees most inliers, or None; for a pose without any, the one nearest to it.

    Without a pose, the one at the true place where that is known, else the image with most matches.
    """
    query, pose = localization.query, localization.result.cam_from_world
    if pose is None and query.cam_from_world is not None:
        return first_reference(scene, query)
    if pose is not None and not localization.result.inlier_mask.any():
        return first_reference(scene, replace(query, cam_from_world=pose))
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
    others = [image for image in scene.reference if image.name != query.name]
    posed = [image for image in others if image.cam_from_world is not None]
    if query.cam_from_world is None or not posed:
        return others[0] if others else None
    pose = query.cam_from_world
    facing = [image for image in posed if rotation_angle_deg(image.cam_from_world, pose) < MAX_TURN_DEG]
    return min(facing or posed, key=lambda image: float(np.linalg.norm(image.cam_from_world.center() - pose.center())))


def inlier_points(scene: Scene, reference: ImageData, made: Localization | PairMatches) -> tuple[Array, Array]:
    """Pixels (N, 2), (N, 2) of the inliers, and of what the pose found beside them, in the reference and in the query."""
    if isinstance(made, PairMatches):
        return made.points_ref[made.inlier_mask], made.points_query[made.inlier_mask]
    rows = localization_rows(made, scene.map, map_index(scene, reference))
    shown = rows.shown()
    shown = shown[np.isin(rows.kinds[shown], (INLIER, GUIDED))]
    return rows.points_ref[shown], rows.points_query[shown]
