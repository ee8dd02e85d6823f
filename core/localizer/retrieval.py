"""Which mapping images show a query's place, from what the map itself holds: VLAD over its descriptors and its labels.

A large map is searched in two steps: first the images that look like the query, then matches only to the points that
they and their covisible neighbours saw. Nothing is downloaded; another retriever needs one method.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from core.errors import InputError
from core.geometry import Array, frozen_array
from core.localizer.features import dequantize_descriptors
from core.localizer.matching import require_matchable, require_same_extractor
from core.records import Features, ImageData, LabelMap, Progress, QueryPrior, SceneMap, setting

USES = ("auto", "always", "never")
_CHUNK = 16_384
_STRIPS = 3  # labels are counted left, in the middle and right


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    use: str = setting("auto", help="search in two steps: always, never, or auto: where the map is large")
    large_map: int = setting(
        2_000_000, minimum=1, help="a map with more observations than this is searched in two steps when use is auto"
    )
    num_images: int = setting(20, minimum=1, maximum=100_000, help="mapping images that are taken, most similar first")
    num_words: int = setting(64, minimum=2, maximum=1024, help="centres of descriptors for VLAD")
    num_dimensions: int = setting(
        0, minimum=0, maximum=100_000, help="principal directions that VLAD is reduced to; 0 keeps all"
    )
    label_share: float = setting(0.3, minimum=0.0, maximum=1.0, help="how much labels count beside descriptors")
    min_shared: int = setting(5, minimum=1, maximum=100_000, help="images that share this many points are covisible")


class Retriever(Protocol):
    """What finds the mapping images that look most like a query."""

    def rank(self, features: Features, labels: LabelMap | None = None) -> tuple[Array, Array]:
        """Return all map images, most similar first: indices (M,) i64 into SceneMap.images and similarities (M,) f64."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MapRetriever:
    """VLAD of RootSIFT (Jegou 2010; intra-normalised, Arandjelovic 2013) and label histograms of the mapping images.

    ``words`` (W, 128) f32; ``vlad`` (M, D) f32 unit rows after ``mean`` (W * 128,) and ``basis`` (W * 128, D), which are
    None without PCA; ``histograms`` (M, 3 K) f32 unit rows, or None where the map has no labels.
    """

    words: Array
    vlad: Array
    extractor: str
    label_share: float
    mean: Array | None = None
    basis: Array | None = None
    histograms: Array | None = None
    vocabulary: str = ""

    def __post_init__(self) -> None:
        for name in ("words", "vlad", "mean", "basis", "histograms"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, frozen_array(value, np.float32, (None,) * value.ndim, name))

    def rank(self, features: Features, labels: LabelMap | None = None) -> tuple[Array, Array]:
        """Order the map images by the mean of both similarities; labels of another vocabulary say nothing.

        Raises InputError for descriptors of another extractor than the map's.
        """
        require_same_extractor(features.extractor, self.extractor)
        vlad = _normalised_vlad(_residuals(features.descriptors, np.zeros(len(features), np.int64), 1, self.words))
        similarity = (self.vlad @ _reduced(vlad, self.mean, self.basis)[0]).astype(np.float64)
        if self.histograms is not None and labels is not None and labels.vocabulary == self.vocabulary:
            width = labels.labels.shape[1]
            one = np.zeros(len(features), np.int64)
            counts = _label_counts(one, labels.at(features.keypoints), features.keypoints[:, 0] / width, 1, labels.num_labels)
            similarity = (1 - self.label_share) * similarity + self.label_share * (self.histograms @ _hellinger(counts)[0])
        order = np.argsort(-similarity, kind="stable")
        return order, similarity[order]


def build_retriever(
    scene_map: SceneMap, config: RetrievalConfig = RetrievalConfig(), seed: int = 0
) -> Generator[Progress, None, MapRetriever]:
    """Describe every mapping image by what it saw of the map: yields Progress, returns the MapRetriever.

    Memory does not grow with the number of observations. Raises InputError for a map without descriptors.
    """
    require_matchable(scene_map.extractor, scene_map)
    observations, num_images = scene_map.observations, len(scene_map.images)
    rng = np.random.default_rng([seed, 37])
    yield Progress("Learning the words of the map", 0.0)
    sample = rng.permutation(len(observations.point))[: 800 * config.num_words]
    words = cluster(dequantize_descriptors(observations.descriptors[np.sort(sample)]), config.num_words, rng)
    residuals = np.zeros((num_images, *words.shape), np.float32)
    for begin in range(0, len(observations.point), _CHUNK):
        yield Progress("Describing the map's images", 0.2 + 0.7 * begin / len(observations.point))
        part = slice(begin, begin + _CHUNK)
        _add_residuals(residuals, dequantize_descriptors(observations.descriptors[part]), observations.image[part], words)
    vlad = _normalised_vlad(residuals)
    mean, basis = _principal(vlad, config.num_dimensions) if config.num_dimensions else (None, None)
    labels, histograms = scene_map.labels, None
    if labels is not None:
        histograms = _hellinger(_map_label_counts(scene_map))
    yield Progress("Described the map's images", 1.0)
    vocabulary = "" if labels is None else labels.vocabulary
    vlad = _reduced(vlad, mean, basis)
    return MapRetriever(words, vlad, scene_map.extractor, config.label_share, mean, basis, histograms, vocabulary)


def covisible_clusters(scene_map: SceneMap, images: Sequence[int], min_shared: int = 5) -> tuple[Array, ...]:
    """Group map images that share at least ``min_shared`` points, directly or through others of the list.

    Returns index arrays in the order of the list, the cluster of the first image first.
    """
    images = np.asarray(images, np.int64)
    if not len(images):
        return ()
    seen = _incidence(scene_map, images)
    shared = (seen @ seen.T).toarray() >= min_shared
    _, group = connected_components(csr_array(shared), directed=False)
    return tuple(images[group == name] for name in dict.fromkeys(group.tolist()))


def points_seen_by(scene_map: SceneMap, images: Sequence[int]) -> Array:
    """Tell which points (P,) bool some of the given map images saw."""
    observations = scene_map.observations
    chosen = np.zeros(max(len(scene_map.images), int(observations.image.max(initial=0)) + 1), bool)
    chosen[np.asarray(images, np.int64)] = True
    points = np.zeros(len(scene_map.points3D), bool)
    points[observations.point[chosen[observations.image]]] = True
    return points


def images_near(scene_map: SceneMap, prior: QueryPrior | None, margin_m: float = 15.0) -> Array | None:
    """The map images within three deviations and a margin of where a prior puts the query; None where it puts it nowhere.

    At least the nearest three are returned, because a prior may be further off than it says.
    """
    position, error_m = None, 0.0
    if prior is not None:
        position, error_m = prior.position, prior.position_error_m
        if position is None and prior.cam_from_world is not None:
            position = prior.cam_from_world.center()
    posed = [i for i, image in enumerate(scene_map.images) if image.cam_from_world is not None]
    if position is None or not posed:
        return None
    centers = np.array([scene_map.images[i].cam_from_world.center() for i in posed])
    distance = np.linalg.norm(centers - position, axis=1)
    count = max(3, int((distance <= 3 * error_m + margin_m).sum()))
    return np.asarray(posed)[np.argsort(distance, kind="stable")[:count]]


def is_used(scene_map: SceneMap, config: RetrievalConfig) -> bool:
    """Whether this map is searched in two steps. Raises InputError for a setting that is not known."""
    if config.use not in USES:
        raise InputError(f"retrieval {config.use!r} is not known; expected one of {', '.join(USES)}")
    large = len(scene_map.observations.point) > config.large_map
    return config.use == "always" or (config.use == "auto" and large)


def retriever_if_used(
    scene_map: SceneMap, config: RetrievalConfig, seed: int = 0
) -> Generator[Progress, None, MapRetriever | None]:
    """Build the retriever of a map that is searched in two steps, once for many queries; None for any other."""
    return (yield from build_retriever(scene_map, config, seed)) if is_used(scene_map, config) else None


def candidate_points(
    query: ImageData,
    features: Features,
    scene_map: SceneMap,
    config: RetrievalConfig = RetrievalConfig(),
    retriever: Retriever | None = None,
    labels: LabelMap | None = None,
) -> Array | None:
    """Which points (P,) bool a query may see, from its prior and from the images that look like it; None: any.

    Retrieved images bring the map images that share points with them, so that a place is matched as a whole.
    """
    near = images_near(scene_map, query.prior)
    if retriever is None:
        return None if near is None else points_seen_by(scene_map, near)
    ranked = retriever.rank(features, labels)[0]
    ranked = ranked if near is None else ranked[np.isin(ranked, near)]
    return points_seen_by(scene_map, with_neighbours(scene_map, ranked[: config.num_images], config.min_shared))


def with_neighbours(scene_map: SceneMap, images: Array, min_shared: int) -> Array:
    """The given map images and all others that share at least ``min_shared`` points with one of them."""
    everyone = np.arange(len(scene_map.images))
    shared = _incidence(scene_map, np.asarray(images, np.int64)) @ _incidence(scene_map, everyone).T
    return np.flatnonzero(shared.max(axis=0).toarray().ravel() >= min_shared) if len(images) else everyone[:0]


def _incidence(scene_map: SceneMap, images: Array) -> csr_array:
    """(len(images), P) with 1 where the image saw the point."""
    observations = scene_map.observations
    row = np.full(max(len(scene_map.images), int(observations.image.max(initial=0)) + 1), -1)
    row[images] = np.arange(len(images))
    rows = row[observations.image]
    use = rows >= 0
    ones = np.ones(int(use.sum()), np.int32)
    seen = csr_array((ones, (rows[use], observations.point[use])), shape=(len(images), len(scene_map.points3D)))
    seen.data[:] = 1  # a point seen twice by an image is one point
    return seen


def cluster(vectors: Array, count: int, rng: np.random.Generator, iterations: int = 12) -> Array:
    """Centres (at most ``count``, D) f32 of vectors (N, D) by k-means; one that loses all starts again at a vector."""
    centers = vectors[rng.permutation(len(vectors))[:count]].astype(np.float32)
    for _ in range(iterations):
        nearest = _nearest_word(vectors, centers)
        sizes = np.bincount(nearest, minlength=len(centers))
        sums = csr_array((np.ones(len(vectors), np.float32), (nearest, np.arange(len(vectors)))), (len(centers), len(vectors)))
        centers = np.asarray(sums @ vectors, np.float32) / np.maximum(sizes, 1)[:, None]
        empty = np.flatnonzero(sizes == 0)
        centers[empty] = vectors[rng.integers(0, len(vectors), len(empty))]
    return centers


def _nearest_word(vectors: Array, words: Array) -> Array:
    bias = 0.5 * (words**2).sum(axis=1)
    chunks = (vectors[k : k + _CHUNK] for k in range(0, len(vectors), _CHUNK))
    return np.concatenate([np.zeros(0, np.int64), *((chunk @ words.T - bias).argmax(axis=1) for chunk in chunks)])


def _residuals(descriptors: Array, image: Array, num_images: int, words: Array) -> Array:
    residuals = np.zeros((num_images, *words.shape), np.float32)
    _add_residuals(residuals, descriptors, image, words)
    return residuals


def _add_residuals(residuals: Array, descriptors: Array, image: Array, words: Array) -> None:
    """Add to (M, W, 128) how far the descriptors (N, 128) of each image lie from their words, in place."""
    word = _nearest_word(descriptors, words)
    place = image.astype(np.int64) * len(words) + word
    cells, index = np.unique(place, return_inverse=True)
    sums = csr_array((np.ones(len(place), np.float32), (index, np.arange(len(place)))), (len(cells), len(place)))
    residuals.reshape(-1, words.shape[1])[cells] += sums @ (descriptors - words[word])


def _normalised_vlad(residuals: Array) -> Array:
    """(M, W * 128) f32 of unit length, each word's part normalised first, so that repeated structure does not rule."""
    parts = residuals / np.maximum(np.linalg.norm(residuals, axis=2, keepdims=True), 1e-6)
    return _unit(parts.reshape(len(residuals), -1))


def _principal(vectors: Array, count: int) -> tuple[Array, Array]:
    """Mean (D,) and the first principal directions (D, at most ``count``) of vectors (M, D)."""
    mean = vectors.mean(axis=0)
    return mean, np.linalg.svd(vectors - mean, full_matrices=False)[2][:count].T


def _reduced(vectors: Array, mean: Array | None, basis: Array | None) -> Array:
    return vectors if basis is None else _unit((vectors - mean) @ basis)


def _map_label_counts(scene_map: SceneMap) -> Array:
    """How often each map image saw each label, by vertical strips: (M, 3 K) f64."""
    observations, labels = scene_map.observations, scene_map.labels
    widths = np.array([image.camera.width if image.camera else 0 for image in scene_map.images])
    share = observations.points2D[:, 0] / np.maximum(widths, 1)[observations.image]
    of_point = labels.labels[observations.point].astype(np.int64)
    return _label_counts(observations.image, of_point, share, len(scene_map.images), labels.num_labels)


def _label_counts(image: Array, label: Array, share: Array, num_images: int, num_labels: int) -> Array:
    strip = np.clip((share * _STRIPS).astype(np.int64), 0, _STRIPS - 1)
    place = (image.astype(np.int64) * _STRIPS + strip) * num_labels + label
    return np.bincount(place, minlength=num_images * _STRIPS * num_labels).reshape(num_images, -1).astype(np.float64)


def _hellinger(counts: Array) -> Array:
    """Square roots of shares: their scalar products are Bhattacharyya's coefficient."""
    return np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _unit(vectors: Array) -> Array:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
