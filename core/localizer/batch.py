"""One of many queries: when it cannot be used, that is its result, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.images import read_image
from core.localizer.matching import require_matchable
from core.localizer.pipeline import LocalizerConfig, localize
from core.localizer.query_features import extractor_for
from core.localizer.retrieval import Retriever
from core.records import (
    Features,
    ImageData,
    LabelMap,
    LabelStatistics,
    Localization,
    LocalizationResult,
    Matches2D3D,
    Progress,
    RansacStats,
    SceneMap,
)


def localize_or_refuse(
    query: ImageData,
    scene_map: SceneMap,
    config: LocalizerConfig,
    seed: int = 0,
    segment: Callable[[Array], LabelMap] | None = None,
    statistics: LabelStatistics | None = None,
    retriever: Retriever | None = None,
) -> Generator[Progress, None, Localization]:
    """Localize as ``localize`` does; a query that cannot be used (no image, cut off, of another size) is a failure.

    ``segment`` labels the query's image, for methods that need labels. Raises InputError for what is wrong with every
    query alike: a map that cannot be matched.
    """
    require_matchable(extractor_for(query, scene_map, config.features), scene_map)
    try:
        return (yield from localize_or_raise(query, scene_map, config, seed, segment, statistics, retriever))
    except (InputError, OSError) as error:
        return refused(query, str(error), config.method, seed)


def localize_or_raise(
    query: ImageData,
    scene_map: SceneMap,
    config: LocalizerConfig,
    seed: int = 0,
    segment: Callable[[Array], LabelMap] | None = None,
    statistics: LabelStatistics | None = None,
    retriever: Retriever | None = None,
) -> Generator[Progress, None, Localization]:
    """Localize as ``localize`` does, with labels that ``segment`` makes of the query's image; raises as it does."""
    if segment is None:
        return (yield from localize(query, scene_map, config, seed, retriever=retriever))
    yield Progress(f"Labels of {query.name}", 0.0)
    image = read_image(query.path)
    return (yield from localize(query, scene_map, config, seed, image, segment(image), statistics, retriever))


def refused(query: ImageData, reason: str, method: str, seed: int = 0) -> Localization:
    """The answer for a query of which nothing could be computed: no keypoints, no matches, the reason."""
    none, pixels = np.zeros(0), np.zeros((0, 2))
    result = LocalizationResult(None, none, none, RansacStats(), method, seed=seed, failure=reason)
    features = Features(pixels, none, none, np.zeros((0, 128)), "")
    return Localization(query, features, Matches2D3D(pixels, none, none, none, pixels, none), result)
