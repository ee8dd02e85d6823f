"""A scene's queries as sequences: their order, their odometry, their labels made one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np

from core.errors import InputError
from core.geometry import Rigid3d
from core.images import read_image
from core.localizer.features import extract_features
from core.localizer.motion import disturbed
from core.localizer.retrieval import Retriever
from core.records import ImageData, LabelMap, SceneMap
from core.sequences import Frame, OdometryNoise

TYPICAL_NOISE = OdometryNoise()
Candidates = Callable[[ImageData], tuple[Rigid3d, ...]]


def sequences_of(queries: Sequence[ImageData]) -> dict[str, tuple[ImageData, ...]]:
    """The queries of each condition as one sequence, ordered by time where all have one, else by name."""
    groups: dict[str, list[ImageData]] = {}
    for query in queries:
        groups.setdefault(query.condition, []).append(query)
    return {condition: in_order(group) for condition, group in groups.items()}


def in_order(queries: Sequence[ImageData]) -> tuple[ImageData, ...]:
    timed = all(query.timestamp_s is not None for query in queries)
    return tuple(sorted(queries, key=lambda query: (query.timestamp_s if timed else 0.0, query.name)))


def simulated_odometry(queries: Sequence[ImageData], noise: OdometryNoise, seed: int) -> tuple[Rigid3d | None, ...]:
    """What a vehicle's odometry would have measured: the true motion between consecutive queries, made wrong by ``noise``.

    For scenes that come without odometry (PAPER 3.5 does the same); nothing but differences of true poses is used.
    None for the first query and where a true pose is not known.
    """
    rng = np.random.default_rng([seed, 35])
    measured: list[Rigid3d | None] = []
    for before, now in zip((None, *queries[:-1]), queries):
        if before is None or before.cam_from_world is None or now.cam_from_world is None:
            measured.append(None)
        else:
            measured.append(disturbed(now.cam_from_world @ before.cam_from_world.inverse(), noise, rng))
    return tuple(measured)


def make_frames(
    queries: Sequence[ImageData],
    labels: Callable[[ImageData], LabelMap] | Mapping[str, LabelMap] | None,
    odometry: Sequence[Rigid3d | None],
    noise: OdometryNoise | Sequence[OdometryNoise] = TYPICAL_NOISE,
    candidates: Candidates | None = None,
) -> Iterator[Frame]:
    """Make the frames one by one as they are asked for, so that only one label map is held at a time.

    ``labels``: a function of a query, or label maps by its name, or None for methods that need none; ``noise``: how far the
    odometry errs, one for all or one a query; ``candidates``: a function of a query too. A query whose image cannot be read,
    or that is not among the label maps, becomes a frame without labels that says why.
    """
    noises = (noise,) * len(queries) if isinstance(noise, OdometryNoise) else noise
    for query, moved, own in zip(queries, odometry, noises, strict=True):
        found, missing = _labels(query, labels)
        near = None if candidates is None else partial(candidates, query)
        yield Frame(query, found, moved, own, near, missing=missing)


def retrieved_poses(scene_map: SceneMap, retriever: Retriever, count: int = 10) -> Candidates:
    """Return a function of a query: the poses of the mapping images that look most like it; none where it cannot be read."""

    def candidates(query: ImageData) -> tuple[Rigid3d, ...]:
        try:
            features = extract_features(read_image(query.path))
        except (InputError, OSError):
            return ()
        poses = (scene_map.images[i].cam_from_world for i in retriever.rank(features)[0])
        return tuple(islice((pose for pose in poses if pose is not None), count))

    return candidates


def _labels(
    query: ImageData, labels: Callable[[ImageData], LabelMap] | Mapping[str, LabelMap] | None
) -> tuple[LabelMap | None, str]:
    if labels is None:
        return None, ""
    if isinstance(labels, Mapping):
        found = labels.get(query.name)
        return found, "" if found is not None else f"{query.path}: no labels are there for this image"
    try:
        return labels(query), ""
    except (InputError, OSError) as error:
        return None, str(error)
