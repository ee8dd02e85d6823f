"""`localize` by a method that follows drives: the queries of each condition are a sequence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.images import read_image
from core.records import ImageData, LabelMap, Localization, Progress, Scene
from core.steps import finish
from fgsn_viewer.cli_settings import localizer_config
from fgsn_viewer.commands import Labelled, localization_line, localization_row, progress, say, write

if TYPE_CHECKING:
    from core.evaluation.motion import Motion
    from core.localizer.frames import Candidates
    from core.sequences import ParticleStep, SequenceResult


def localize_in_sequences(
    options: argparse.Namespace, scene: Scene, labelled: Labelled | None, queries: Sequence[ImageData]
) -> int:
    """Follow every condition's queries in their order and print the answers as `localize` does for other methods."""
    from core.evaluation.motion import motion_of
    from core.evaluation.recall import recall_table
    from core.evaluation.report import recall_text
    from core.localizer.drive import METHODS as DRIVES
    from core.localizer.frames import sequences_of

    follow = (_drives if options.method in DRIVES else _particles)(options, scene, labelled)
    done = []
    for condition, sequence in sequences_of(queries).items():
        motion = motion_of(scene, sequence, options.odometry, options.seed)
        _tell_odometry(options, condition, motion.source)
        done += follow(motion).localizations
    known = [(one.query.condition, one.error) for one in done if one.query.cam_from_world is not None]
    if len(known) > 1 and not options.json:
        write(recall_text(recall_table(known)))
    return 0


def _particles(options: argparse.Namespace, scene: Scene, labelled: Labelled) -> Callable[[Motion], SequenceResult]:
    """Follow by labels alone; answers are printed as they come."""
    from core.localizer.frames import make_frames
    from core.localizer.sequence import localize_sequence

    candidates = _candidates(options, scene, labelled)

    def follow(motion: Motion) -> SequenceResult:
        frames = make_frames(motion.queries, partial(_labels, labelled), motion.steps, motion.noises, candidates)
        steps = localize_sequence(frames, labelled.scene_map, labelled.statistics, seed=options.seed)
        return finish(steps, partial(_show, options, len(motion.queries)))

    return follow


def _drives(options: argparse.Namespace, scene: Scene, labelled: Labelled | None) -> Callable[[Motion], SequenceResult]:
    """Follow by matches, and labels where the method uses them; answers are printed when the drive ends, as each may change
    until then.
    """
    from core.localizer.drive import localize_drive
    from core.localizer.frames import make_frames
    from core.localizer.matching import require_matchable
    from core.localizer.pipeline import prepare
    from core.localizer.query_features import extractor_for
    from core.localizer.retrieval import retriever_if_used

    config = localizer_config(options, options.method)
    for query in scene.queries:
        require_matchable(extractor_for(query, scene.map, config.features), scene.map)
    if scene.map.visibility is None:
        raise InputError(
            f"{scene.root}: the map does not say from where its points were seen, which a drive goes by; build it anew"
        )
    scene_map, statistics = (scene.map, None) if labelled is None else (labelled.scene_map, labelled.statistics)
    retriever = finish(retriever_if_used(scene_map, config.retrieval, options.seed), lambda step: progress(options, step))
    labels = None if labelled is None else partial(_labels, labelled)

    def follow(motion: Motion) -> SequenceResult:
        frames = make_frames(motion.queries, labels, motion.steps, motion.noises)
        matched = lambda query: finish(prepare(query, scene_map, config, retriever=retriever))  # noqa: E731
        steps = localize_drive(frames, scene_map, matched, config, statistics, options.seed)
        result = finish(steps, lambda step: progress(options, _part(step, len(motion.queries))))
        for answer, covariance in zip(result.localizations, result.covariances):
            row = localization_row(answer)
            row["position_std_m"] = None if covariance is None else round(float(np.sqrt(np.trace(covariance[:3, :3]) / 3)), 3)
            say(options, row, localization_line(row))
        return result

    return follow


def _candidates(options: argparse.Namespace, scene: Scene, labelled: Labelled) -> Candidates | None:
    """Where a sequence may begin, by retrieval; None for a map without descriptors: then anywhere on the map."""
    from core.localizer.frames import retrieved_poses
    from core.localizer.retrieval import build_retriever

    if scene.map.observations.descriptors is None:
        return None
    retriever = finish(build_retriever(labelled.scene_map, seed=options.seed), lambda step: progress(options, step))
    return retrieved_poses(labelled.scene_map, retriever)


def _labels(labelled: Labelled, query: ImageData) -> LabelMap:
    return labelled.segment(read_image(query.path), query.path)


def _tell_odometry(options: argparse.Namespace, condition: str, source: str) -> None:
    """Say once for each sequence where its odometry comes from: it is an assumption that the numbers rest on."""
    if not options.quiet:
        sys.stderr.write(f"{condition or 'queries'}: odometry: {source}\n")


def _show(options: argparse.Namespace, total: int, step: ParticleStep) -> None:
    answer: Localization = step.localization
    row = localization_row(answer)
    row["lost"] = step.lost
    row["position_std_m"] = None if step.cloud is None else round(step.cloud.position_error_m, 3)
    row["evidence"] = None if step.evidence is None else round(step.evidence, 4)
    say(options, row, localization_line(row))
    progress(options, _part(step, total))


def _part(step: ParticleStep, total: int) -> Progress:
    return Progress(step.message, (step.index + 1) / total)
