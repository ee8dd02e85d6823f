"""Evaluate scenes by methods: plan what is missing, have it done, write it down as it comes, return all rows."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.evaluation.cluster import work_on_cluster
from core.evaluation.job import Job, Unit, Variant, code_digest, digest
from core.evaluation.journal import append_journal, read_journal
from core.evaluation.label_store import map_digest, stored_labels
from core.evaluation.motion import odometry_file
from core.evaluation.rows import QueryRow, row_from_json
from core.evaluation.workers import Work, work_here, work_in_processes
from core.records import ImageData, Progress, Scene
from core.scene.scene import open_scene

JOURNAL = "finished.jsonl"


@dataclass(frozen=True, slots=True)
class Workers:
    """Who works: ``num_processes`` of this machine, or the Dask cluster at ``scheduler``."""

    num_processes: int = 1
    scheduler: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All rows, in the order of scenes, queries and variants; ``num_reused`` were finished by a run before."""

    rows: tuple[QueryRow, ...]
    num_reused: int
    notes: tuple[str, ...] = ()


def evaluate(job: Job, out: Path, workers: Workers = Workers()) -> Generator[Progress, None, Evaluation]:
    """Evaluate every query of the job by every variant; finished ones are kept in ``out`` and never done twice.

    What a result depends on names it: images, map, labels, settings, seed and the code. Closing the generator or killing
    the process loses the units in work, no others. Raises InputError for scenes without map or queries.
    """
    journal = Path(out) / JOURNAL
    finished = read_journal(journal)
    plans = []
    for number, path in enumerate(job.scenes):
        yield Progress(f"Opening {path}", 0.02 * number / len(job.scenes))
        plans.append(_plan_scene(job, path))
    _require_different_names(plans)
    wanted = [key for plan in plans for key in plan.keys]
    missing = [unit for plan in plans for unit in _units(job, plan, finished)]
    num_reused = sum(key in finished for key in wanted)
    num_left = sum(len(keys) for unit in missing for keys in unit.keys)
    with contextlib.closing(_work(job, missing, workers)) as work:
        for step in work:
            if isinstance(step, Progress):
                yield Progress(step.message, _fraction(len(wanted), num_left))
                continue
            append_journal(journal, step)
            finished |= {entry["key"]: entry for entry in step}
            num_left -= len(step)
            yield Progress(f"{len(wanted) - num_left} of {len(wanted)} results", _fraction(len(wanted), num_left))
    rows = tuple(row_from_json(finished[key]) for key in wanted)
    return Evaluation(rows, num_reused, (*_notes(plans, rows), *_motion_notes(job, plans)))


def _fraction(num_wanted: int, num_left: int) -> float:
    return 0.02 + 0.98 * (1 - num_left / max(1, num_wanted))


def _work(job: Job, units: Sequence[Unit], workers: Workers) -> Work:
    if workers.scheduler and units:
        yield from work_on_cluster(job, units, workers.scheduler)
    elif workers.num_processes > 1 and len(units) > 1:
        yield from work_in_processes(job, units, min(workers.num_processes, len(units)))
    else:
        yield from work_here(job, units)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """One scene's queries and the key of each result: ``table[query][variant id]``."""

    path: Path
    scene: Scene
    queries: tuple[ImageData, ...]
    table: dict[str, dict[str, str]]

    @property
    def keys(self) -> Iterator[str]:
        return (key for row in self.table.values() for key in row.values())


def _plan_scene(job: Job, path: Path) -> _Plan:
    scene = open_scene(path)
    if scene.map is None:
        raise InputError(f"{path}: has no map to localize in; build one with `fgsn-viewer map`")
    queries = tuple(query for query in scene.queries if not job.conditions or query.condition in job.conditions)
    if not queries:
        known = ", ".join(dict.fromkeys(query.condition for query in scene.queries)) or "none at all"
        raise InputError(f"{path}: has no query images of the conditions asked for; it has queries of: {known}")
    contents = {query.name: _content(query) for query in queries}
    settings = {variant.id: _settings_key(job, scene, variant) for variant in job.variants}
    drives = {
        condition: digest([contents[query.name] for query in queries if query.condition == condition])
        for condition in {query.condition for query in queries}
    }
    table = {
        query.name: {
            variant.id: digest(
                query.name, drives[query.condition] if variant.is_sequence else contents[query.name], settings[variant.id]
            )
            for variant in job.variants
        }
        for query in queries
    }
    return _Plan(path, scene, queries, table)


def _content(query: ImageData) -> str:
    """The name of all that is known of a query."""
    pixels = query.path.read_bytes() if query.path.is_file() else b""
    camera, pose, prior = query.camera, query.cam_from_world, query.prior
    known: list[Any] = [query.condition, query.timestamp_s]
    known += [None if camera is None else [camera.model, camera.width, camera.height, camera.params.tolist()]]
    known += [None if pose is None else [*pose.qvec.tolist(), *pose.tvec.tolist()]]
    known += [None if prior is None else _prior_values(prior)]
    return digest(pixels, known)


def _prior_values(prior: Any) -> list[Any]:
    vectors = [None if value is None else value.tolist() for value in (prior.gravity_in_camera, prior.position)]
    pose = prior.cam_from_world
    numbers = [prior.gravity_error_deg, prior.height_m, prior.height_error_m, prior.position_error_m]
    return [*vectors, *numbers, None if pose is None else [*pose.qvec.tolist(), *pose.tvec.tolist()]]


def _settings_key(job: Job, scene: Scene, variant: Variant) -> str:
    """The name of what all queries of a scene share for one variant."""
    gravity = scene.map.gravity_in_world
    parts = [scene.name, scene.kind, job.seed, code_digest(), variant.settings(), map_digest(scene.map)]
    parts.append(None if gravity is None else gravity.tolist())
    if variant.is_sequence:
        file = odometry_file(scene, variant.odometry)
        parts.append(file.read_bytes() if file is not None and file.is_file() else b"")
    if variant.labels:
        labelling = job.labelling(variant.labels)
        stored = stored_labels(scene, labelling.vocabulary)
        parts += [variant.labels, labelling.identity, b"" if stored is None else stored.labels.tobytes()]
    return digest(*parts)


def _units(job: Job, plan: _Plan, finished: dict[str, Any]) -> Iterator[Unit]:
    """What is not finished yet: one unit a query, and one a condition for the variants that follow sequences."""
    singles = [variant for variant in job.variants if not variant.is_sequence]
    for query in plan.queries:
        keys = {variant.id: plan.table[query.name][variant.id] for variant in singles}
        left = tuple(name for name, key in keys.items() if key not in finished)
        if left:
            yield Unit(plan.path, (query.name,), left, (tuple(keys[name] for name in left),))
    sequences = [variant.id for variant in job.variants if variant.is_sequence]
    for condition in dict.fromkeys(query.condition for query in plan.queries):
        names = tuple(query.name for query in plan.queries if query.condition == condition)
        left = [each for each in sequences if any(plan.table[name][each] not in finished for name in names)]
        if left:
            keys = tuple(tuple(plan.table[name][each] for each in left) for name in names)
            yield Unit(plan.path, names, tuple(left), keys)


def _require_different_names(plans: Sequence[_Plan]) -> None:
    """Raise InputError where two scenes would be one in the tables."""
    seen: dict[str, Path] = {}
    for plan in plans:
        other = seen.setdefault(plan.scene.name, plan.path)
        if other != plan.path:
            raise InputError(f"{plan.path}: is called {plan.scene.name!r}, as is {other}; give scenes different names")


def _notes(plans: Sequence[_Plan], rows: Sequence[QueryRow]) -> Iterator[str]:
    """Sentences on what the numbers do not show: missing images, queries that could not be used."""
    for plan in plans:
        yield from (f"{plan.scene.name}: {note}" for note in plan.scene.notes)
    for name in dict.fromkeys(row.line for row in rows):
        own = [row for row in rows if row.line == name]
        unusable = [row for row in own if row.refused]
        if unusable:
            yield f"{name}: {len(unusable)} of {len(own)} queries could not be used: {unusable[0].failure}"
    unknown = sum(not row.has_truth for row in rows)
    if unknown:
        yield f"{unknown} of {len(rows)} results have no true pose to compare with and are left out of the recall."


def _motion_notes(job: Job, plans: Sequence[_Plan]) -> Iterator[str]:
    """Say of every sequence method what moved it: odometry that is simulated knows the truth, but for its errors."""
    for variant in job.variants:
        if variant.is_sequence:
            files = {odometry_file(plan.scene, variant.odometry) for plan in plans}
            words = sorted(f"read from {file}" for file in files - {None})
            if None in files and variant.odometry != "none":
                words.append("simulated: the true motion between the queries, with noise")
            yield f"{variant.id}: the odometry is {' or '.join(words) or 'left out'}."
