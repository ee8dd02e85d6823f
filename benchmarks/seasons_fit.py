"""Fit how descriptors and labels weigh matches, on the tuning worlds' matches, before anything is measured on others."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from core.evaluation.job import Job, Variant, code_digest, digest
from core.evaluation.label_store import map_digest
from core.evaluation.query import Desk
from core.evaluation.rows import TRUE_MATCH_PX, QueryRow
from core.evaluation.summary import CHANGED, rows_by_kind
from core.geometry import Array
from core.images import write_atomic
from core.localizer.affinity import AffinityConfig, match_log_ratios
from core.localizer.affinity_fit import Fit, KnownMatches, fit_affinity
from core.localizer.methods import MethodInput
from core.localizer.pipeline import LocalizerConfig, prepare
from core.localizer.ransac import reprojection_errors
from core.records import ImageData, Progress

TEMPERINGS = (0.03, 0.1)
"""What one visible point's evidence may count in gsmc-soft; of equals the first is taken."""
BY_DESCRIPTORS = ""
"""The name of the fit that knows no labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """``fits`` by network, and without labels under ``BY_DESCRIPTORS``; ``tempering`` with what each reached, in percent."""

    fits: Mapping[str, Fit]
    tempering: float
    tried: Mapping[float, tuple[float, float, float]]

    def config(self, config: LocalizerConfig, labels: str) -> LocalizerConfig:
        """The settings with what was fitted for a network."""
        gsmc = replace(config.gsmc, tempering=self.tempering)
        return replace(config, affinity=self.fits[labels].config, gsmc=gsmc)


def fits_of(job: Job, config: LocalizerConfig, folder: Path) -> Generator[Progress, None, dict[str, Fit]]:
    """Fit to all queries of the job's scenes whose pose is known, one fit a network and one without labels.

    A match is right where its point projects within ``TRUE_MATCH_PX`` under the true pose. What a scene gives is kept in
    ``folder``, and not computed again.
    """
    desk, names = Desk(job), [labelling.name for labelling in job.labellings]
    queries: dict[str, list[KnownMatches]] = {name: [] for name in (BY_DESCRIPTORS, *names)}
    for number, path in enumerate(job.scenes):
        yield Progress(f"Matches with truth: {path.name}", number / max(1, len(job.scenes)))
        found = yield from _scene_matches(desk, path, config, folder)
        for of_query in np.split(np.arange(len(found["right"])), np.cumsum(found["counts"])[:-1]):
            for row, name in enumerate((BY_DESCRIPTORS, *names)):
                ratios = None if row == 0 else found["ratios"][row - 1, of_query]
                queries[name].append(KnownMatches(found["scores"][of_query], found["right"][of_query], ratios))
    return {name: _fit(name, own, config.affinity) for name, own in queries.items()}


def _fit(name: str, queries: Sequence[KnownMatches], start: AffinityConfig) -> Fit:
    return fit_affinity(queries, start, labels=name != BY_DESCRIPTORS)


def _scene_matches(
    desk: Desk, path: Path, config: LocalizerConfig, folder: Path
) -> Generator[Progress, None, dict[str, Array]]:
    """``scores``, ``right`` (N,) and ``ratios`` (networks, N) of a scene's matches, ``counts`` of its queries."""
    names = [labelling.identity for labelling in desk.job.labellings]
    settings = [asdict(part) for part in (config.features, config.matching, config.retrieval, config.affinity)]
    file = folder / f"{digest(path.name, map_digest(desk.scene(path).map), code_digest(), names, settings)}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return {key: kept[key] for key in kept.files}
    rows = []
    for query in desk.scene(path).queries:
        if query.cam_from_world is not None and query.camera is not None:
            rows.append((yield from _query_matches(desk, path, query, config)))
    if not rows:
        rows = [(np.zeros(0), np.zeros(0, bool), np.zeros((len(names), 0)))]
    found = {key: np.concatenate(parts, -1) for key, parts in zip(("scores", "right", "ratios"), zip(*rows))}
    found["counts"] = np.array([len(row[0]) for row in rows])
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(file, lambda temporary: _save(temporary, found))
    return found


def _save(temporary: str, found: dict[str, Array]) -> None:
    with open(temporary, "wb") as target:
        np.savez_compressed(target, **found)


def _query_matches(
    desk: Desk, path: Path, query: ImageData, config: LocalizerConfig
) -> Generator[Progress, None, tuple[Array, Array, Array]]:
    scene_map = desk.scene(path).map
    prepared = yield from prepare(query, scene_map, config, retriever=desk.retriever(path, config.retrieval))
    matches = prepared.matches
    errors = reprojection_errors(query.cam_from_world, matches.points2D, scene_map.points3D[matches.point_ids], query.camera)
    ratios = np.zeros((len(desk.job.labellings), len(matches)))
    for row, labelling in enumerate(desk.job.labellings):
        store = desk.store(labelling.name)
        labels, _ = store.labels(query)
        own = desk.scene_map(path, labelling.name)
        method = replace(config, method="ssmc-soft")
        ratios[row] = match_log_ratios(MethodInput(query, matches, own, labels, store.statistics, method))
    return matches.scores.astype(np.float64), errors <= TRUE_MATCH_PX, ratios


def tempering_variants(config: LocalizerConfig, labels: str, affinity: AffinityConfig, quick: bool) -> tuple[Variant, ...]:
    """gsmc-soft as fitted, with every tempering."""
    own = replace(config, method="gsmc-soft", affinity=affinity)
    return tuple(
        Variant(tempering_name(value), replace(own, gsmc=replace(config.gsmc, tempering=value)), labels)
        for value in (TEMPERINGS[:2] if quick else TEMPERINGS)
    )


def tempering_name(value: float) -> str:
    return f"gsmc-soft, tempering {value:g}"


def best_tempering(rows: Sequence[QueryRow]) -> tuple[float, dict[float, tuple[float, float, float]]]:
    """The tempering that finds most changed queries at (0.5 m, 5 deg), the mean over kinds; and what each finds."""
    table = rows_by_kind(rows)
    table = [row for row in table if row.condition == CHANGED] or table
    tried = {}
    for value in TEMPERINGS:
        own = [row.recall for row in table if row.method == tempering_name(value)]
        if own:
            tried[value] = tuple(float(np.mean([recall[k] for recall in own])) for k in range(3))
    return max(tried, key=lambda value: (tried[value][1], tried[value][0]), default=TEMPERINGS[0]), tried
