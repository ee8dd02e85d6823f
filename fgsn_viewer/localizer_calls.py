"""What the window asks of the localizer and the evaluation, in terms of a method's name; the configs stay in core."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from core.evaluation.job import Answer, Variant
from core.evaluation.motion import Motion, motion_of
from core.evaluation.rows import QueryRow, row_of
from core.geometry import Array
from core.localizer import batch, drive, frames, pipeline, sequence
from core.localizer.gsmc import CircleScores, match_circle
from core.localizer.methods import MethodInput
from core.localizer.pipeline import LocalizerConfig, Prepared
from core.localizer.retrieval import MapRetriever, build_retriever, retriever_if_used
from core.records import ImageData, LabelMap, LabelStatistics, Localization, Progress, Scene, SceneMap
from core.sequences import ParticleStep, SequenceResult

SEED = 0


def retriever(scene_map: SceneMap, always: bool) -> Generator[Progress, None, MapRetriever | None]:
    """What finds the map images that look like a query; None for a small map, unless ``always``, or without descriptors."""
    if scene_map.observations.descriptors is None:
        return None
    make = build_retriever if always else retriever_if_used
    return (yield from make(scene_map, LocalizerConfig().retrieval, SEED))


def prepare(
    query: ImageData, scene_map: SceneMap, image: Array | None, found_by: MapRetriever | None
) -> Generator[Progress, None, Prepared]:
    """Keypoints and matches of a query, once for all methods."""
    return pipeline.prepare(query, scene_map, LocalizerConfig(), image, found_by)


def solve(
    prepared: Prepared, scene_map: SceneMap, method: str, labels: LabelMap | None, statistics: LabelStatistics | None
) -> Localization:
    """The pose of a prepared query by a method; the map has the points' labels in the query's vocabulary."""
    return pipeline.localize_prepared(prepared, scene_map, LocalizerConfig(method=method), SEED, labels, statistics)


def refuse(query: ImageData, reason: str, method: str) -> Localization:
    """The answer for a query that the method cannot use."""
    return batch.refused(query, reason, method, SEED)


def query_row(scene: Scene, localization: Localization, network: str, seconds: Mapping[str, float], refused: bool) -> QueryRow:
    """The line of a localization in the tables, as an evaluation makes it."""
    method = localization.result.method
    variant = Variant(method, LocalizerConfig(method=method), network)
    return row_of(scene, scene.map, variant, Answer(localization, dict(seconds), refused))


def circle(
    localization: Localization,
    scene_map: SceneMap,
    labels: LabelMap | None,
    statistics: LabelStatistics | None,
    match: int,
) -> CircleScores:
    """What GSMC saw around one match."""
    config = LocalizerConfig(method=localization.result.method)
    given = MethodInput(localization.query, localization.matches, scene_map, labels, statistics, config, SEED)
    return match_circle(match, given)


def motion(scene: Scene, queries: Sequence[ImageData]) -> Motion:
    """The queries in order with their odometry: the scene's own file, else the true motion with errors; says which.

    Raises InputError for a file that cannot be read or knows none of the queries.
    """
    return motion_of(scene, queries, "auto", SEED)


def follow(
    method: str,
    moved: Motion,
    scene_map: SceneMap,
    labels_of: Callable[[ImageData], LabelMap] | None,
    statistics: LabelStatistics | None,
    found_by: MapRetriever | None,
    prepared_of: Callable[[ImageData], Prepared],
) -> Generator[ParticleStep, None, SequenceResult]:
    """Follow queries in order by odometry and labels alone, or by a method that goes by matches too."""
    if method in drive.METHODS:
        made = frames.make_frames(moved.queries, labels_of, moved.steps, moved.noises)
        return drive.localize_drive(made, scene_map, prepared_of, LocalizerConfig(method=method), statistics, SEED)
    candidates = None if found_by is None else frames.retrieved_poses(scene_map, found_by)
    made = frames.make_frames(moved.queries, labels_of, moved.steps, moved.noises, candidates)
    return sequence.localize_sequence(made, scene_map, statistics, seed=SEED)


def read_evaluation(folder: Any) -> list[QueryRow]:
    """The rows of a result.json, or of the folder that holds one."""
    from core.evaluation.results import RESULT, read_queries_of_result

    return read_queries_of_result(folder / RESULT if folder.is_dir() else folder)
