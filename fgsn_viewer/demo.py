"""The demo without a display: localize every query, take the screenshots, write result.json and the report."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.evaluation.recall import recall_table
from core.evaluation.report import Figure, html_report
from core.images import write_atomic
from core.records import Localization, Progress, Scene, settings_of
from core.scene.scene import open_scene
from core.steps import finish
from resources import DEMO

WIDE = (1600, 700)


@dataclass(frozen=True, slots=True)
class Shot:
    """A screenshot of the demo: which view, its size px, of the lost query or of one that was found, and what it says."""

    view: str
    size: tuple[int, int]
    of_lost: bool
    caption: str


SHOTS = (
    Shot("window", (1600, 1000), True, "A lost query beside the reference image of its true place, and why it was lost."),
    Shot("labels", WIDE, True, "The same label has the same colour in both seasons."),
    Shot("matches", WIDE, False, "A query that was found: dots are inliers, triangles guided matches, crosses outliers."),
    Shot("scene3d", WIDE, False, "The same query in 3D: reference cameras, the estimated pose (cyan), the true pose (white)."),
)


def headless(out: Path, scene_path: Path = DEMO, seed: int = 0) -> Generator[Progress, None, Path]:
    """Run the whole demo without a window; return the path of report.html. Needs a (virtual) display."""
    if not scene_path.is_dir():
        raise InputError(f"{scene_path}: the demo scene is missing; the README has the command that makes it")
    scene = open_scene(scene_path)
    done = yield from _localize_all(scene, seed)
    known = [(one.query.condition, one.error) for one in done if one.query.cam_from_world is not None]
    recall = recall_table(known)
    query = scene.start_query or telling_query(done)
    figures = yield from _screenshots(scene_path, query, found_query(done, query), out)
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


def found_query(done: list[Localization], lost: str) -> str:
    """A query of the lost one's condition that was found, with most inliers; else the best of all."""
    condition = next(one.query.condition for one in done if one.query.name == lost)
    found = [one for one in done if one.result.failure is None] or done
    best = max(found, key=lambda one: (one.query.condition == condition, one.result.stats.num_inliers))
    return best.query.name


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


def _screenshots(scene_path: Path, lost: str, found: str, out: Path) -> Generator[Progress, None, list[Figure]]:
    from fgsn_viewer.shot import render_shot

    figures = []
    for number, shot in enumerate(SHOTS):
        query = lost if shot.of_lost else found
        marked = shot.view == "window"  # every query's mark in the tree
        path = render_shot([scene_path], shot.view, out / f"{shot.view}.png", query=query, size=shot.size, localize_all=marked)
        figures.append(Figure(path, f"{query}: {shot.caption}"))
        yield Progress(f"screenshot {path.name}", (number + 1) / len(SHOTS))
    return figures


def _rows(done: list[Localization]) -> list[dict]:
    from fgsn_viewer.commands import localization_row

    return [localization_row(one) for one in done]


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda name: Path(name).write_text(text, encoding="utf-8"))
