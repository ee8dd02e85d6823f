"""The demo without a display: localize every query, take the screenshots, write result.json and the report."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

from core.errors import InputError
from core.evaluation.recall import recall_table
from core.evaluation.report import Figure, html_report
from core.images import write_atomic
from core.records import Localization, Progress, Scene, settings_of
from core.scene.scene import open_scene
from core.steps import finish
from resources import DEMO

CAPTIONS = {
    "window": "The window: reference and query with their labels, the map with estimate and truth, and the reason below.",
    "labels": "The same label has the same colour in both seasons.",
    "matches": "Matches between the query and its best reference image: inliers solid with dots, outliers dashed with crosses.",
    "scene3d": "The map in 3D: reference cameras, the estimated pose (cyan) and the true pose (white).",
}


def headless(out: Path, scene_path: Path = DEMO, seed: int = 0) -> Generator[Progress, None, Path]:
    """Run the whole demo without a window; return the path of report.html. Needs a (virtual) display."""
    if not scene_path.is_dir():
        raise InputError(f"{scene_path}: the demo scene is missing; make it with `python main.py world --out {scene_path}`")
    scene = open_scene(scene_path)
    done = yield from _localize_all(scene, seed)
    known = [(one.query.condition, one.error) for one in done if one.query.cam_from_world is not None]
    recall = recall_table(known)
    query = scene.start_query or telling_query(done)
    figures = yield from _screenshots(scene_path, query, out)
    rows = [settings_of(row) for row in recall]
    result = {"scene": scene.name, "seed": seed, "method": "p3p", "shown_query": query, "recall": rows, "queries": _rows(done)}
    _write_text(out / "result.json", json.dumps(result, indent=1, ensure_ascii=False))
    lead = f"{len(scene.reference)} reference images, {len(scene.queries)} queries, plain P3P RANSAC without semantics."
    _write_text(out / "report.html", html_report(f"Localization in {scene.name}", lead, recall, done, figures))
    return out / "report.html"


def telling_query(done: list[Localization]) -> str:
    """The query to open on: a failure in snow if there is one, else any failure, else the first that could be used."""
    usable = [one for one in done if len(one.features)] or done
    lost = [one for one in usable if one.error is None or one.error.position_m > 5]
    snow = [one for one in lost if one.query.condition == "snow"]
    return (snow or lost or usable)[0].query.name


def _localize_all(scene: Scene, seed: int) -> Generator[Progress, None, list[Localization]]:
    from core.localizer.batch import localize_or_refuse
    from core.localizer.pipeline import LocalizerConfig

    if scene.map is None or not scene.queries:
        raise InputError(f"{scene.root}: the demo needs a scene with a map and queries")
    done = []
    for number, query in enumerate(scene.queries):
        done.append(finish(localize_or_refuse(query, scene.map, LocalizerConfig(), seed)))
        yield Progress(f"localized {query.name}", (number + 1) / len(scene.queries))
    return done


def _screenshots(scene_path: Path, query: str, out: Path) -> Generator[Progress, None, list[Figure]]:
    from fgsn_viewer.shot import render_shot

    figures = []
    for number, (view, caption) in enumerate(CAPTIONS.items()):
        path = render_shot([scene_path], view, out / f"{view}.png", query=query)
        figures.append(Figure(path, caption))
        yield Progress(f"screenshot {path.name}", (number + 1) / len(CAPTIONS))
    return figures


def _rows(done: list[Localization]) -> list[dict]:
    from fgsn_viewer.commands import localization_row

    return [localization_row(one) for one in done]


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda name: Path(name).write_text(text, encoding="utf-8"))
