"""`python -m benchmarks.world_sheet OUT`: a contact sheet, one place of each kind under all conditions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from core.geometry import Camera
from core.images import resize_image, write_image
from core.world.conditions import CONDITIONS
from core.world.geometry import KINDS, build_world
from core.world.render import Renderer
from core.world.traversal import plan_traversal


def sheet(seed: int = 7, place: int = 3, width: int = 400, columns: int = 4) -> np.ndarray:
    """Return the sheet (H, W, 3) u8: for each kind two rows of four conditions, in the order of CONDITIONS."""
    camera = Camera.pinhole(640, 480, 520.0)
    rows = []
    for kind in KINDS:
        world = build_world(kind, seed)
        renderer, pose = Renderer(world), plan_traversal(world, 8, seed=1, yaw_deg=10)[place]
        tiles = [renderer.render(pose, camera, condition, traversal_seed=2).rgb for condition in CONDITIONS]
        small = [resize_image(tile, width, width * 3 // 4) for tile in tiles]
        rows += [np.hstack(small[start : start + columns]) for start in range(0, len(small), columns)]
    return np.vstack(rows)


if __name__ == "__main__":
    write_image(Path(sys.argv[1]), sheet(), quality=85)
