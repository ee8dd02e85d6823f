"""Contact sheets of labels: the same places under all conditions, each image above its labels in the window's colours.

`python -m benchmarks.label_sheet OUT [--weights W] [--photographs DIR [--labels-only]]`: worlds never trained on, or folders of
photographs of one view each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from core.engine.segmenter import load_segmenter
from core.geometry import Array, Camera
from core.images import read_image, resize_image, write_image
from core.records import LabelMap
from core.world.conditions import CONDITIONS
from core.world.geometry import KINDS, build_world
from core.world.render import Renderer
from core.world.traversal import plan_traversal
from fgsn_viewer.palette import label_colors
from resources import DEFAULT_WEIGHTS

UNSEEN_SEED = 900_100
TILE = (240, 160)


def world_places(seed: int = UNSEEN_SEED, place: int = 3) -> Iterator[list[Array]]:
    """One place of each kind under all conditions, in the order of CONDITIONS."""
    camera = Camera.pinhole(640, 480, 520.0)
    for number, kind in enumerate(KINDS):
        world = build_world(kind, seed + number)
        pose = plan_traversal(world, 8, seed=1, yaw_deg=10)[place]
        views = [(pose, camera, condition, 2) for condition in CONDITIONS]
        yield [rendering.rgb for rendering in Renderer(world).render_many(views)]


def photographed_places(root: Path, count: int = len(CONDITIONS)) -> Iterator[list[Array]]:
    """``count`` photographs of each folder of ``root``, evenly spread over its names."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
        chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))
        yield [read_image(paths[index]) for index in chosen]


def sheet(places: Iterator[list[Array]], segment: Callable[[Array], LabelMap], labels_only: bool = False) -> Array:
    """The sheet (H, W, 3) u8: for each place a row of images, unless ``labels_only``, and a row of their labels."""
    rows = []
    for images in places:
        if not labels_only:
            rows.append(np.hstack([_tile(image) for image in images]))
        rows.append(np.hstack([_tile(_colored(segment(image))) for image in images]))
    widest = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows])


def _tile(image: Array) -> Array:
    """The middle part of the tile's proportions, resized to it."""
    height, width = image.shape[:2]
    part_height, part_width = min(height, width * TILE[1] // TILE[0]), min(width, height * TILE[0] // TILE[1])
    top, left = (height - part_height) // 2, (width - part_width) // 2
    return resize_image(np.ascontiguousarray(image[top : top + part_height, left : left + part_width]), *TILE)


def _colored(labels: LabelMap) -> Array:
    return label_colors(labels.num_labels, labels.vocabulary)[labels.labels]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_sheet", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--photographs", type=Path, help="folders of photographs of one view each, instead of worlds")
    parser.add_argument("--labels-only", action="store_true", help="leave out the images, which may not be ours to show")
    options = parser.parse_args(arguments)
    segmenter = load_segmenter(options.weights)
    places = photographed_places(options.photographs) if options.photographs else world_places()
    write_image(options.out, sheet(places, segmenter.segment, options.labels_only), quality=80)


if __name__ == "__main__":
    main()
