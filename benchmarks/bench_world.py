"""The seasons world: images a second, all cores, one kind after the other and all conditions of each place."""

from __future__ import annotations

import time

from core.geometry import Camera
from core.world.conditions import CONDITIONS
from core.world.geometry import KINDS, build_world
from core.world.render import Renderer
from core.world.traversal import plan_traversal


def run(num_places: int = 8, size: tuple[int, int] = (640, 480)) -> list[dict]:
    """Rendering of one traversal a condition, as a scene is written; the stage of a condition is made once and counted."""
    camera = Camera.pinhole(*size, 0.8 * size[0])
    rows = []
    for kind in KINDS:
        started = time.perf_counter()
        world = build_world(kind, 7)
        built = time.perf_counter() - started
        renderer, places = Renderer(world), plan_traversal(world, num_places, seed=0)
        started = time.perf_counter()
        views = [(place, camera, condition, 1) for condition in CONDITIONS for place in places]
        count = sum(1 for _ in renderer.render_many(views))
        seconds = time.perf_counter() - started
        rows.append({"kind": kind, "build s": built, "images": count, "images/s": count / seconds})
    return rows
