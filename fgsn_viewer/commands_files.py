"""What the sub-commands about files do; each imports what it needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import ImageData, Localization, Scene, SceneMap
from core.scene.scene import open_scene_steps
from core.steps import finish
from fgsn_viewer.cli_values import bytes_text
from fgsn_viewer.commands import Labelled, drain, find_image, labels_of_points, progress, say, segmenter_for, tell_notes
from resources import DEFAULT_WEIGHTS

_PROBLEMS = 2


def scene(options: argparse.Namespace) -> int:
    return {"init": _init, "show": _show}[options.action](options)


def _init(options: argparse.Namespace) -> int:
    from core.scene.scene_file import init_scene

    file = drain(init_scene(options.folder, options.force), options)
    text = file.read_text(encoding="utf-8")
    say(options, {"scene": str(file), "text": text}, f"{text}\nwritten to {file}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from core.scene.summary import summarize

    found = summarize(_opened(options))
    lines = [found.name, *(f"  {name:10} {text}" for name, text in found.rows())]
    lines += [
        f"  {one.name or 'none':10} {one.num_reference:,} reference, {one.num_queries:,} queries" for one in found.conditions
    ]
    say(options, asdict(found) | {"root": str(found.root)}, "\n".join([*lines, *(f"  {text}" for text in found.missing)]))
    return 0


def submission(options: argparse.Namespace) -> int:
    """Exit code 0 where nothing has to be mended, else 2."""
    from core.scene.submission_check import check_submission

    found = check_submission(options.file, _opened(options), options.names, options.complete)
    say(options, asdict(found) | {"path": str(found.path), "passed": found.passed}, _submission_text(found))
    return 0 if found.passed else _PROBLEMS


def _submission_text(found: Any) -> str:
    tested, moved = found.self_test
    self_test = (
        f"{tested:,} reference poses written and read back, the farthest moved {moved:.1e} m" if tested else "none posed"
    )
    lines = [
        f"{found.path}: {found.num_poses:,} poses for {found.num_queries:,} queries, names {found.names}",
        f"  self-test: {self_test if tested else 'no reference image has a pose'}",
    ]
    if found.known is not None:
        errors = f"{found.known.position_m:.3g} m, {found.known.rotation_deg:.3g} deg (medians)"
        lines.append(f"  {found.known.count:,} {found.known.of}: {errors}")
    lines += [f"  problem: {text}" for text in found.problems] + [f"  remark: {text}" for text in found.remarks]
    return "\n".join([*lines, "passed" if found.passed else f"{len(found.problems)} to be mended"])


def export(options: argparse.Namespace) -> int:
    writers = {
        "model": _export_model,
        "ply": _export_ply,
        "labels": _export_labels,
        "matches": _export_matches,
        "poses": _export_poses,
        "correspondences": _export_correspondences,
    }
    return writers[options.action](options, _opened(options))


def _export_model(options: argparse.Namespace, scene: Scene) -> int:
    from core.scene.exports import write_labelled_model

    scene_map = _labelled_map(options, scene)
    write_labelled_model(options.out, scene_map, _colors(scene_map), options.text)
    return _told(options, f"{len(scene_map.points3D):,} points in the colours of {scene_map.labels.vocabulary}")


def _export_ply(options: argparse.Namespace, scene: Scene) -> int:
    from core.scene.exports import write_ply

    has_labels = options.colors == "labels" or options.vocabulary
    scene_map = _labelled_map(options, scene) if has_labels else _map_of(scene)
    write_ply(options.out, scene_map, _colors(scene_map) if options.colors == "labels" else None)
    return _told(options, f"{len(scene_map.points3D):,} points")


def _export_labels(options: argparse.Namespace, scene: Scene) -> int:
    from core.engine.label_folder import write_description
    from core.images import read_image
    from core.scene.exports import write_label_images

    options.weights = options.weights or scene.weights or DEFAULT_WEIGHTS
    images = [one for one in scene.images if not options.conditions or one.condition in options.conditions]
    unknown = set(options.conditions) - set(scene.conditions)
    if unknown or not images:
        raise InputError(f"{scene.root}: no images of {', '.join(sorted(unknown)) or 'any kind'}, found {scene.conditions}")
    segmenter = segmenter_for(options)
    steps = write_label_images(options.out, images, lambda one: segmenter.segment(read_image(one.path), one.path))
    written = drain(steps, options)
    if written.last is None:
        raise InputError(f"{scene.root}: none of the {len(images)} images is there to be labelled")
    write_description(options.out, written.last)
    lost = f"; {len(written.left_out)} images were not there" if written.left_out else ""
    return _told(options, f"{written.count:,} images labelled with {segmenter.vocabulary}{lost}")


def _export_matches(options: argparse.Namespace, scene: Scene) -> int:
    from core.scene.match_exports import write_matches_csv

    one, scene_map, labels = _localized(options, scene)
    write_matches_csv(options.out, one, scene_map, labels)
    inliers = one.result.stats.num_inliers
    end = f"; no pose: {one.result.failure}" if one.result.failure else f", {inliers} inliers"
    return _told(options, f"{len(one.matches):,} matches of {one.query.name}{end}")


def _localized(options: argparse.Namespace, scene: Scene) -> tuple[Localization, SceneMap, Any]:
    """Localize the query that the options name, as `localize --query` does; also the map and the query's labels."""
    from core.localizer.batch import localize_or_raise
    from core.localizer.pipeline import LocalizerConfig
    from core.localizer.retrieval import retriever_if_used

    query, scene_map, labels = find_image(scene, options.query), _map_of(scene), {}
    options.weights = options.weights or ("" if options.method == "p3p" else scene.weights or DEFAULT_WEIGHTS)
    labelled = Labelled(scene, segmenter_for(options)) if options.weights else None
    seen: list[Any] = []
    if labelled is not None:
        scene_map, labels["statistics"] = labelled.scene_map, labelled.statistics
        labels["segment"] = lambda image: seen.append(labelled.segment(image, query.path)) or seen[-1]
    config = LocalizerConfig(method=options.method)
    retriever = drain(retriever_if_used(scene_map, config.retrieval, options.seed), options)
    one = finish(localize_or_raise(query, scene_map, config, options.seed, retriever=retriever, **labels))
    return one, scene_map, seen[-1] if seen else None


def _export_poses(options: argparse.Namespace, scene: Scene) -> int:
    from core.scene.list_files import read_poses, write_poses
    from core.scene.pose_exports import posed, with_poses, write_colmap_poses, write_kapture, write_tum
    from core.scene.submission import names_of_layout, write_submission

    chosen = {"all": scene.images, "reference": scene.reference, "queries": scene.queries}[options.images]
    images: tuple[ImageData, ...] = tuple({image.name: image for image in chosen}.values())
    if options.poses is not None:
        images = with_poses(images, read_poses(options.poses), options.poses)
    images = posed(images, options.poses or scene.root)
    known = {image.name: image.cam_from_world for image in images}
    if options.format == "list":
        write_poses(options.out, known)
    elif options.format == "submission":
        write_submission(options.out, known, names_of_layout(scene.layout))
    else:
        {"colmap": write_colmap_poses, "tum": write_tum, "kapture": write_kapture}[options.format](options.out, images)
    return _told(options, f"{len(images):,} poses as {options.format}")


def _export_correspondences(options: argparse.Namespace, scene: Scene) -> int:
    from core.engine.scene_pairs import SceneCorrespondences
    from core.scene.match_exports import write_pairs

    source = SceneCorrespondences(scene)
    pairs = ((pair.reference, pair.other, source.correspondences(pair)) for pair in source.pairs)
    count = drain(write_pairs(options.out, pairs, len(source.pairs)), options)
    return _told(options, f"{count:,} pairs")


def cache(options: argparse.Namespace) -> int:
    from core.disk_cache import DiskCache
    from fgsn_viewer.cache_place import cache_folder

    kept = DiskCache(options.folder or cache_folder())
    if options.action == "limit":
        kept.set_limit(options.size)
    use = kept.clear() if options.action == "clear" else kept.use()
    row = {"folder": str(kept.folder), "max_bytes": kept.max_bytes, "files": use.files, "bytes": use.bytes}
    what = ", ".join(f"{use.files[kind]:,} {kind}" for kind in sorted(use.files)) or "nothing"
    limit = f"limit {bytes_text(kept.max_bytes)}"
    held = f"{what} in {bytes_text(use.total_bytes)}"
    say(options, row, f"{kept.folder}: {f'removed {held}' if options.action == 'clear' else f'{held}; {limit}'}")
    return 0


def _opened(options: argparse.Namespace) -> Scene:
    scene = finish(open_scene_steps(options.scene), lambda step: progress(options, step))
    tell_notes(scene)
    return scene


def _map_of(scene: Scene) -> SceneMap:
    if scene.map is None:
        raise InputError(f"{scene.root}: has no map to export; build one with `fgsn-viewer map`")
    return scene.map


def _labelled_map(options: argparse.Namespace, scene: Scene) -> SceneMap:
    """The map with labels of the vocabulary that the options name, or with those that it came with."""
    scene_map = _map_of(scene)
    if options.vocabulary:
        return replace(scene_map, labels=labels_of_points(scene, options.vocabulary))
    if scene_map.labels is None:
        raise InputError(f"{scene.root}: the map's points have no labels; add them with `label`, or take other colours")
    return scene_map


def _colors(scene_map: SceneMap) -> Any:
    from fgsn_viewer.palette import label_colors

    return label_colors(scene_map.labels.num_labels, scene_map.labels.vocabulary)


def _told(options: argparse.Namespace, what: str) -> int:
    say(options, {"written": str(Path(options.out)), "what": options.action, "about": what}, f"{options.out}: {what}")
    return 0
