"""Correspondences of a user's own scene, from its map: no correspondence files are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.engine.season_pairs import SeasonPair
from core.errors import SceneError
from core.geometry import Array
from core.images import image_size
from core.mapping.visibility import point_visibility
from core.records import Correspondences, ImageData, Scene, SceneMap, setting
from core.scene.map_pairs import SightConfig, seen_by, shared_points, visible_points


@dataclass(frozen=True, kw_only=True)
class PairingConfig:
    min_points: int = setting(20, minimum=1, help="map points that two images must have in common to be a pair")
    references_per_image: int = setting(2, minimum=1, help="reference images that an image of another drive is paired with")
    sight: SightConfig = field(default_factory=SightConfig)


class SceneCorrespondences:
    """The pairs that a scene's map gives (a PairSource).

    References are the map images of the condition with most of them. Their partners are the map images of other
    conditions, at the points that both observed, and the queries with known poses, at the points that they should see:
    projected, within the distances and directions of the map's visibility. An image is paired with the references that
    have most points in common with it. Descriptors are not asked: on a rendered street they confirm three in ten of the
    right points, and at night half as many as in the sun. Raises SceneError when that leaves no pair.
    """

    def __init__(self, scene: Scene, config: PairingConfig = PairingConfig()) -> None:
        self.name, self.config = str(scene.root), config
        if scene.map is None:
            raise SceneError(f"{scene.root}: the scene has no map, from which correspondences could come")
        self._map = scene.map
        self._measured: set[str] = set()
        self._index = {image.name: k for k, image in enumerate(scene.map.images)}
        self._images = {image.name: image for image in (*scene.map.images, *self._posed(scene))}
        missing = {name for name, image in self._images.items() if not image.path.is_file()}
        self._sights = dict(self._query_sights(scene, missing))
        self._reference_condition = Counter(image.condition for image in scene.map.images).most_common(1)[0][0]
        self.pairs = tuple(self._find_pairs(missing))
        self.notes = _notes(scene, missing)
        if not self.pairs:
            raise SceneError(f"{scene.root}: {self._why_empty(scene, missing)}")

    def path(self, image: str) -> Path:
        return self._images[image].path

    def condition(self, image: str) -> str:
        return self._images[image].condition

    def correspondences(self, pair: SeasonPair) -> Correspondences:
        """Raises SceneError for an image of another size than its camera, whose pixels are not the map's."""
        self._require_size(pair.reference)
        self._require_size(pair.other)
        reference = self._index[pair.reference]
        if pair.other in self._sights:
            return seen_by(self._map, reference, *self._sights[pair.other])
        return shared_points(self._map, reference, self._index[pair.other])

    def positions(self, reference: str) -> None:
        """None: features are taken at the correspondences."""

    def parts(self) -> None:
        """None: a scene does not tell training from validation."""

    def _require_size(self, name: str) -> None:
        image = self._images[name]
        if image.camera is None or name in self._measured:
            return
        size = image_size(image.path)
        if size != (image.camera.width, image.camera.height):
            camera = f"{image.camera.width} x {image.camera.height}"
            raise SceneError(f"{image.path}: the image is {size[0]} x {size[1]}, but its camera is for {camera}")
        self._measured.add(name)

    def _posed(self, scene: Scene) -> Iterator[ImageData]:
        for query in scene.queries:
            if query.cam_from_world is not None and query.camera is not None and query.name not in self._index:
                yield query

    def _query_sights(self, scene: Scene, missing: set[str]) -> Iterator[tuple[str, tuple[Array, Array]]]:
        visibility = self._map.visibility or point_visibility(self._map)
        for query in self._posed(scene):
            if query.name not in missing:
                ids, pixels = visible_points(self._map, visibility, query, self.config.sight)
                yield query.name, (ids.astype(np.int32), pixels.astype(np.float32))

    def _find_pairs(self, missing: set[str]) -> Iterator[SeasonPair]:
        images = self._map.images
        is_reference = np.array([i.condition == self._reference_condition and i.name not in missing for i in images], bool)
        others = [i.name for i in images if i.condition != self._reference_condition and i.name not in missing]
        for name in (*others, *self._sights):
            common = np.where(is_reference, self._points_in_common(name), 0)
            for reference in np.argsort(-common, kind="stable")[: self.config.references_per_image]:
                if common[reference] >= self.config.min_points:
                    yield SeasonPair(images[reference].name, name)

    def _points_in_common(self, name: str) -> Array:
        """How many points each map image (I,) observed of those that the image ``name`` sees."""
        observations = self._map.observations
        seen = np.zeros(len(self._map.points3D), bool)
        seen[self._sights[name][0] if name in self._sights else observations.point[observations.image == self._index[name]]] = (
            True
        )
        return _count_by_image(self._map, seen)

    def _why_empty(self, scene: Scene, missing: set[str]) -> str:
        conditions = {image.condition for image in scene.map.images}
        if missing == set(self._images):
            return "none of the images is there, so there is nothing to train on"
        if len(conditions) == 1 and not self._sights:
            return (
                f"all map images are of one condition ({self._reference_condition!r}) and no query has a known pose, "
                "expected images of several conditions with poses"
            )
        return (
            f"no image shares {self.config.min_points} map points with a reference image ({self._reference_condition!r}), "
            "expected drives through the same places"
        )


def _count_by_image(scene_map: SceneMap, seen: Array) -> Array:
    """Number (I,) of the points ``seen`` (P,) bool that each map image observed."""
    observations = scene_map.observations
    rows = observations.image[seen[observations.point]]
    return np.bincount(rows, minlength=len(scene_map.images))


def _notes(scene: Scene, missing: set[str]) -> tuple[str, ...]:
    """What of the scene cannot be used."""
    unposed = [query.name for query in scene.queries if query.cam_from_world is None or query.camera is None]
    notes = []
    if missing:
        notes.append(f"{scene.root}: {len(missing)} images are not there and are left out (the first: {min(missing)}).")
    if unposed:
        notes.append(
            f"{scene.root}: {len(unposed)} queries have no known pose and are left out (the first: {unposed[0]}); "
            "localize them, or build the map with them, to train on them."
        )
    return tuple(notes)
