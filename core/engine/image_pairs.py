"""Where two images of a place correspond: everywhere, as a file says, or as their scene knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.engine.season_data import JoinedData, open_pair_data
from core.engine.season_pairs import SeasonPair, SeasonViews
from core.errors import InputError
from core.records import Correspondences
from core.scene.correspondences import read_correspondences

Size = tuple[int, int]  # height, width


def aligned_points(first: Path, size: Size, second: Path, other_size: Size) -> Correspondences:
    """Every pixel with itself. Raises InputError for images of two sizes."""
    if size != other_size:
        found = " and ".join(f"{width} x {height}" for height, width in (size, other_size))
        raise InputError(f"{second}: the images are {found}, expected one size (as {first}), because they are aligned")
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    points = np.column_stack([x.ravel(), y.ravel()])
    return Correspondences(points, points, np.ones(len(points)))


def points_of_file(file: Path, first: Path, size: Size, second: Path, other_size: Size) -> Correspondences:
    """The correspondences of a file from ``first`` to ``second``; turned round where its names say the other order.

    Raises InputError for files that cannot be used and for points outside of an image.
    """
    reference, other, found = read_correspondences(file)
    if (Path(reference).stem, Path(other).stem) == (second.stem, first.stem) and first.stem != second.stem:
        found = swapped(found)
    for points, path, (height, width) in ((found.points_ref, first, size), (found.points_other, second, other_size)):
        outside = ~((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(1)
        if outside.any():
            raise InputError(
                f"{file}: {int(outside.sum())} of {len(points)} points lie outside of {path.name} ({width} x {height} px), "
                f"the first at {points[outside][0].tolist()}; expected points of these two images"
            )
    return found


def points_of_scene(scene: Path, first: Path, second: Path) -> Correspondences:
    """What a scene (its correspondence files, or its map) says two of its images have in common. Raises InputError."""
    pairs = {}
    for views in _season_views(scene):
        for pair in views.pairs:
            paths = tuple(views.source.path(name).resolve() for name in (pair.reference, pair.other))
            pairs[paths] = (views, pair)
    wanted = (first.resolve(), second.resolve())
    if wanted in pairs:
        return _points_in(*pairs[wanted])
    if wanted[::-1] in pairs:
        return swapped(_points_in(*pairs[wanted[::-1]]))
    raise InputError(f"{scene}: has no correspondences between {first.name} and {second.name}; it has {len(pairs)} image pairs")


def _season_views(scene: Path) -> list[SeasonViews]:
    data = open_pair_data([scene])
    parts = data.data if isinstance(data, JoinedData) else (data,)
    views = [part for part in parts if isinstance(part, SeasonViews)]
    if not views:
        raise InputError(f"{scene}: holds rendered sets, not image files; ask for it without two images")
    return views


def _points_in(views: SeasonViews, pair: SeasonPair) -> Correspondences:
    return views.source.correspondences(pair)


def swapped(correspondences: Correspondences) -> Correspondences:
    """The same from the other image."""
    return Correspondences(correspondences.points_other, correspondences.points_ref, correspondences.weights)
