"""What each sub-command does; the heavy libraries load inside the command that needs them."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.geometry import Array
from core.images import IMAGE_SUFFIXES, read_image, write_image
from core.records import ImageData, LabelMap, Localization, PointLabels, Progress, Scene
from core.scene.scene import open_scene, open_scene_steps
from core.steps import finish
from fgsn_viewer.cli_settings import localizer_config
from fgsn_viewer.methods import is_sequence, needs_labels
from fgsn_viewer.virtual_display import ensure_display, has_display
from resources import DEFAULT_WEIGHTS, DEMO


def view(options: argparse.Namespace) -> int:
    if not can_show_window():
        raise InputError("no display found to show the window on; `shot` and `demo --headless` make pictures without one")
    from fgsn_viewer.app import run

    return run(options.paths, weights=options.weights)


def can_show_window() -> bool:
    """Whether Qt finds a screen; where it does not, it ends the process."""
    return has_display() or bool(os.environ.get("QT_QPA_PLATFORM"))


def demo(options: argparse.Namespace) -> int:
    from fgsn_viewer import demo as demo_module

    if not options.headless and can_show_window():
        from fgsn_viewer.app import run

        return run([DEMO])
    with_virtual_display()
    report = drain(demo_module.headless(options.out), options)
    say(options, {"report": str(report)}, f"demo: screenshots, result.json and report.html are in {report.parent}")
    return 0


def shot(options: argparse.Namespace) -> int:
    with_virtual_display()
    from fgsn_viewer.shot import render_shot

    out = render_shot(options.paths, options.view, options.out, query=options.query, size=options.size, weights=options.weights)
    say(options, {"shot": str(out), "view": options.view}, str(out))
    return 0


def with_virtual_display() -> None:
    """Give the process a screen; ends with the process."""
    display = ensure_display()
    if display is not None:
        atexit.register(display.stop)
    elif not has_display():
        raise InputError("no display found, and no virtual one: install Xvfb (Debian: xvfb and libgl1-mesa-dri)")


def world(options: argparse.Namespace) -> int:
    from core.world.conditions import CONDITIONS
    from core.world.export import write_scene

    steps = write_scene(
        options.kind,
        options.seed,
        tuple(options.conditions or CONDITIONS),
        options.num_reference,
        options.num_queries,
        options.size,
        options.out,
        segmenter=segmenter_for(options) if options.weights else None,
        name=options.name,
        weights=options.weights,
        pairs=not options.no_truth,
        truth=not options.no_truth,
        spacing_m=options.spacing,
        query_lateral_m=options.lateral,
        query_yaw_deg=options.yaw,
        query_spacing_m=options.frame_spacing,
        camera_yaws_deg=options.cameras,
        start_query=options.start_query,
    )
    scene = drain(steps, options)
    tell_notes(scene)
    points = len(scene.map.points3D) if scene.map else 0
    row = {"scene": str(options.out), "reference": len(scene.reference), "queries": len(scene.queries), "points": points}
    say(options, row, f"{options.out}: {row['reference']} reference images, {row['queries']} queries, {points} map points")
    return 0


def label(options: argparse.Namespace) -> int:
    from core.mapping.labels import segment_points
    from core.scene.map_file import save_labels

    scene = open_scene(options.scene)
    tell_notes(scene)
    if scene.map is None or scene.map_path is None:
        raise InputError(f"{options.scene}: has no map whose points could be labelled")
    labels = drain(segment_points(scene.map, segmenter_for(options)), options)
    save_labels(scene.map_path, labels)
    row = {"map": str(scene.map_path), "vocabulary": labels.vocabulary, "points": len(labels.labels)}
    say(options, row, f"{scene.map_path}: {row['points']} points labelled with {labels.vocabulary}")
    return 0


def segment(options: argparse.Namespace) -> int:
    from core.engine.label_folder import write_description
    from core.scene.exports import label_files

    images = find_images(options)
    outputs = label_files(options.out, images)
    segmenter = segmenter_for(options)
    for number, (path, out) in enumerate(outputs.items()):
        started = time.perf_counter()
        labels = segmenter.segment(read_image(path), path)
        write_image(out, labels.labels)
        if not number:
            write_description(options.out, labels)  # so that the folder can stand in for the network
        row = {
            "image": str(path),
            "labels": str(out),
            "width": labels.labels.shape[1],
            "height": labels.labels.shape[0],
            "num_labels": labels.num_labels,
            "vocabulary": labels.vocabulary,
            "num_present": int((labels.shares() > 0).sum()),
            "seconds": round(time.perf_counter() - started, 3),
        }
        say(options, row, f"{out}  {row['num_present']} of {row['num_labels']} labels, {row['seconds']:.2f} s")
        progress(options, Progress(path.name, (number + 1) / len(outputs)))
    return 0


def find_images(options: argparse.Namespace) -> list[ImageData]:
    """The images that `segment` is given: files as they are, those of scenes of any layout that are there.

    Sets ``options.weights`` to what a scene asks for where none are named. Raises InputError where nothing is left.
    """
    given = ", ".join(str(path) for path in options.images)
    images: list[ImageData] = []
    for path in options.images:
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir():
            images.append(ImageData(path.name, path))
            continue
        scene = drain(open_scene_steps(path), options)
        if scene.map is not None:  # that photographs have no map is no news here
            tell_notes(scene)
        options.weights = options.weights or scene.weights
        images += [image for image in scene.images if image.path.is_file()]
    options.weights = options.weights or DEFAULT_WEIGHTS
    if not images:
        raise InputError(f"{given}: no images found")
    chosen = [image for image in images if not options.conditions or image.condition in options.conditions]
    found = ", ".join(repr(condition) for condition in dict.fromkeys(image.condition for image in images))
    unknown = sorted(set(options.conditions) - {image.condition for image in images})
    if unknown:
        raise InputError(f"{given}: no images of {', '.join(unknown)}, found {found}")
    return chosen


def map(options: argparse.Namespace) -> int:
    from core.mapping.build import build_map, images_with_poses

    images = images_with_poses(options.images, options.poses)
    scene_map = drain(build_map(images, options.out, segmenter=segmenter_for(options)), options)
    row = {
        "map": str(options.out),
        "images": len(scene_map.images),
        "given_images": len(images),
        "points": len(scene_map.points3D),
        "observations": len(scene_map.observations.point),
    }
    say(options, row, f"{options.out}: {row['images']} of {row['given_images']} images, {row['points']} points")
    return 0


def localize(options: argparse.Namespace) -> int:
    from core.evaluation.recall import recall_table
    from core.evaluation.report import recall_text
    from core.localizer.batch import localize_or_raise, localize_or_refuse
    from core.localizer.retrieval import retriever_if_used

    scene = open_scene(options.scene)
    tell_notes(scene)
    if scene.map is None:
        raise InputError(f"{options.scene}: has no map to localize in; build one with `fgsn-viewer map`")
    queries = [find_image(scene, options.query)] if options.query else list(scene.queries)
    if not queries:
        raise InputError(f"{options.scene}: has no query images")
    if needs_labels(options.method) and not options.weights:
        options.weights = scene.weights or DEFAULT_WEIGHTS
    labelled = Labelled(scene, segmenter_for(options)) if options.weights else None
    if is_sequence(options.method):
        from fgsn_viewer.commands_sequence import localize_in_sequences

        return localize_in_sequences(options, scene, labelled, queries)
    scene_map = scene.map if labelled is None else labelled.scene_map
    config = localizer_config(options, options.method)
    estimate = localize_or_raise if options.query else localize_or_refuse
    labels = {} if labelled is None else {"statistics": labelled.statistics}
    labels["retriever"] = drain(retriever_if_used(scene_map, config.retrieval, options.seed), options)
    done = []
    for number, query in enumerate(queries):
        if labelled is not None:
            labels["segment"] = partial(labelled.segment, source=query.path)
        localization = finish(estimate(query, scene_map, config, options.seed, **labels))
        done.append(localization)
        row = localization_row(localization)
        if labelled is not None:
            row["label_agreement"] = labelled.agreement(localization)
        say(options, row, localization_line(row))
        progress(options, Progress(query.name, (number + 1) / len(queries)))
    known = [(one.query.condition, one.error) for one in done if one.query.cam_from_world is not None]
    if len(known) > 1 and not options.json:
        write(recall_text(recall_table(known)))
    return 0


class Labelled:
    """A scene whose points and queries are labelled by one network."""

    def __init__(self, scene: Scene, segmenter: Any) -> None:
        from core.engine.weight_folders import statistics_of

        self.scene_map = replace(scene.map, labels=labels_of_points(scene, segmenter.vocabulary))
        self.statistics = statistics_of(segmenter.info)
        self._segmenter = segmenter
        self._last: LabelMap | None = None

    def segment(self, image: Array, source: Path | None = None) -> LabelMap:
        self._last = self._segmenter.segment(image, source)
        return self._last

    def agreement(self, localization: Localization) -> float | None:
        """Share of the last image's matches whose query label is the point's label, or None without matches."""
        matches = localization.matches
        if not len(matches) or self._last is None:
            return None
        same = self._last.at(matches.points2D) == self.scene_map.labels.labels[matches.point_ids]
        return round(float(same.mean()), 4)


def find_image(scene: Scene, name: str) -> ImageData:
    try:
        return scene.image(name)
    except KeyError as error:
        raise InputError(f"{scene.root}: {error.args[0]}") from error


def localization_row(localization: Localization) -> dict[str, Any]:
    """The record that `localize --json` prints; the pose is null exactly when failure is not."""
    result, pose, error = localization.result, localization.result.cam_from_world, localization.error
    return {
        "query": localization.query.name,
        "condition": localization.query.condition,
        "method": result.method,
        "qvec": None if pose is None else pose.qvec.tolist(),
        "tvec": None if pose is None else pose.tvec.tolist(),
        "num_keypoints": len(localization.features),
        "num_matches": len(localization.matches),
        "num_inliers": result.stats.num_inliers,
        "evidence": result.stats.evidence,
        "label_fit": result.stats.label_fit,
        "guided_evidence": result.stats.guided_evidence,
        "guided_matches": result.stats.guided_matches,
        "position_error_m": None if error is None else error.position_m,
        "rotation_error_deg": None if error is None else error.rotation_deg,
        "failure": result.failure,
    }


def localization_line(row: dict[str, Any]) -> str:
    counts = f"{row['num_keypoints']:5d} keypoints {row['num_matches']:5d} matches {row['num_inliers']:4d} inliers"
    if row["failure"]:
        return f"{row['query']:28} {counts}  failed: {row['failure']}"
    if row["position_error_m"] is None:
        return f"{row['query']:28} {counts}"
    return f"{row['query']:28} {counts}  {row['position_error_m']:8.2f} m {row['rotation_error_deg']:7.2f} deg"


def labels_of_points(scene: Scene, vocabulary: str) -> PointLabels:
    """The labels of the map's points in a vocabulary. Raises InputError where the map has none."""
    from core.scene.map_file import load_labels

    labels = scene.map.labels
    if labels is None or labels.vocabulary != vocabulary:
        labels = None if scene.map_path is None else load_labels(scene.map_path, vocabulary)
    if labels is None:
        raise InputError(f"{scene.root}: the map has no labels of the vocabulary {vocabulary!r}; add them with `label`")
    return labels


def segmenter_for(options: argparse.Namespace):
    """Load the network that the options name."""
    from core.engine.segmenter import load_segmenter

    device = getattr(options, "device", "auto")
    return load_segmenter(options.weights, device=device, precision=getattr(options, "precision", "fast"))


def drain(steps: Generator[Any, None, Any], options: argparse.Namespace) -> Any:
    """Run a generator to its end, showing its progress; return what it returns."""
    result = finish(steps, lambda step: progress(options, step))
    if not options.quiet and sys.stderr.isatty():
        sys.stderr.write("\n")
    return result


def tell_notes(scene: Scene) -> None:
    """Say on stderr what is not as it should be, as missing images."""
    for note in scene.notes:
        sys.stderr.write(f"{scene.name}: {note}\n")


def progress(options: argparse.Namespace, step: Progress) -> None:
    """Show one progress record on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""
    if options.quiet:
        return
    share = "" if step.fraction is None else f"{step.fraction * 100:5.1f} %  "
    sys.stderr.write(f"\r\x1b[K{share}{step.message}" if sys.stderr.isatty() else f"{share}{step.message}\n")
    sys.stderr.flush()


def say(options: argparse.Namespace, row: dict[str, Any], line: str) -> None:
    """Write a result: the record as a JSON line, or the sentence."""
    write(json.dumps(row, ensure_ascii=False) if options.json else line)


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
