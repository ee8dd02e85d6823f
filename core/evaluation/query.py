"""Evaluate one unit of work: features and matches once, labels once a network, every method on the same matches."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.evaluation.job import Answer, Job, Unit, Variant, needs_labels
from core.evaluation.label_store import LabelStore
from core.evaluation.prepared import PreparedQueries
from core.evaluation.rows import row_of, row_to_json
from core.evaluation.sequences import evaluate_sequences
from core.localizer.batch import refused
from core.localizer.frames import Candidates, retrieved_poses
from core.localizer.pipeline import Prepared, localize_prepared, rank_references
from core.localizer.ransac import reprojection_errors
from core.localizer.retrieval import RetrievalConfig, Retriever, build_retriever, is_used
from core.records import (
    ImageData,
    Localization,
    LocalizationResult,
    Progress,
    RansacStats,
    Scene,
    SceneMap,
    settings_of,
)
from core.scene.scene import open_scene
from core.steps import finish

_OPEN_SCENES = 2


class Desk:
    """What a process keeps between units of one job: open scenes, maps with labels, networks."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._scenes: dict[Path, Scene] = {}
        self._maps: dict[tuple[Path, str], SceneMap] = {}
        self._retrievers: dict[tuple[Path, str], Retriever] = {}
        self._stores = {labelling.name: LabelStore(labelling, job.cache) for labelling in job.labellings}

    def scene(self, path: Path) -> Scene:
        if path not in self._scenes:
            while len(self._scenes) >= _OPEN_SCENES:
                oldest = next(iter(self._scenes))
                del self._scenes[oldest]
                self._maps = {key: value for key, value in self._maps.items() if key[0] != oldest}
                self._retrievers = {key: value for key, value in self._retrievers.items() if key[0] != oldest}
            self._scenes[path] = open_scene(path)
        return self._scenes[path]

    def store(self, name: str) -> LabelStore:
        return self._stores[name]

    def scene_map(self, path: Path, labels: str) -> SceneMap:
        """The scene's map with the labels of a network, or as it is for ""."""
        if not labels:
            return self.scene(path).map
        if (path, labels) not in self._maps:
            self._maps[path, labels] = self.store(labels).labelled_map(self.scene(path))
        return self._maps[path, labels]

    def retriever(self, path: Path, config: RetrievalConfig) -> Retriever | None:
        """What finds the likely part of a large map; None for a map that is matched as a whole."""
        return self._built(path, config) if is_used(self.scene(path).map, config) else None

    def places(self, path: Path) -> Candidates | None:
        """Where in the scene a query may be, by what its image looks like; None for a map without descriptors."""
        scene_map = self.scene(path).map
        if scene_map.observations.descriptors is None:
            return None
        return retrieved_poses(scene_map, self._built(path, RetrievalConfig()))

    def _built(self, path: Path, config: RetrievalConfig) -> Retriever:
        """A scene's retriever, made once for single queries and sequences alike."""
        if (path, repr(config)) not in self._retrievers:
            self._retrievers[path, repr(config)] = finish(build_retriever(self.scene(path).map, config, self.job.seed))
        return self._retrievers[path, repr(config)]


def evaluate_unit(desk: Desk, unit: Unit) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Do a unit; return its journal entries. What cannot be used is an answer that says so, never an exception."""
    variants = [desk.job.variant(variant_id) for variant_id in unit.variants]
    prepared = PreparedQueries(desk.scene(unit.scene).map)
    if variants[0].is_sequence:
        return (yield from evaluate_sequences(desk, unit, variants, prepared))
    scene, entries = desk.scene(unit.scene), []
    for name, keys in zip(unit.queries, unit.keys, strict=True):
        for variant, key in zip(variants, keys, strict=True):
            yield Progress(f"{variant.id}: {name}")
            answer = yield from _answer(desk, unit.scene, variant, prepared, scene.image(name))
            entries.append({"key": key, **row_to_json(row_of(scene, scene.map, variant, answer))})
    return entries


def _answer(
    desk: Desk, path: Path, variant: Variant, prepared: PreparedQueries, query: ImageData
) -> Generator[Progress, None, Answer]:
    retriever = desk.retriever(path, variant.config.retrieval)
    try:
        ready, seconds = yield from prepared.get(query, variant.config, retriever)
        scene_map = desk.scene_map(path, variant.labels)
        labels, statistics = None, None
        if variant.labels and needs_labels(variant.config.method):
            labels, seconds["labels"] = desk.store(variant.labels).labels(query)
            statistics = desk.store(variant.labels).statistics
        start = time.perf_counter()
        if variant.solve is None:
            found = localize_prepared(ready, scene_map, variant.config, desk.job.seed, labels, statistics)
        else:
            found = solve_outside(ready, scene_map, variant, desk.job.seed)
        seconds["pose"] = time.perf_counter() - start
    except (InputError, OSError) as error:
        return Answer(refused(query, str(error), variant.config.method, desk.job.seed), {}, refused=True)
    return Answer(found, seconds)


def solve_outside(prepared: Prepared, scene_map: SceneMap, variant: Variant, seed: int) -> Localization:
    """Let the variant's own solver estimate the pose from the same matches; inliers are counted as ours are."""
    query, matches, config = prepared.query, prepared.matches, variant.config
    pose = variant.solve(matches, scene_map, query.camera, config, seed)
    errors = np.full(len(matches), np.nan)
    if pose is not None:
        errors = reprojection_errors(pose, matches.points2D, scene_map.points3D[matches.point_ids], query.camera)
    inliers = errors <= config.ransac.max_error_px
    stats = RansacStats(num_inliers=int(inliers.sum()), inlier_ratio=float(inliers.mean()) if len(inliers) else 0.0)
    failure = None if pose is not None else f"{variant.name} found no pose"
    result = LocalizationResult(pose, inliers, errors, stats, variant.name, settings_of(config.ransac), seed, failure)
    known = pose is not None and query.cam_from_world is not None
    error = pose_error(pose, query.cam_from_world) if known else None
    return Localization(query, prepared.features, matches, result, rank_references(matches, result, scene_map), error)
