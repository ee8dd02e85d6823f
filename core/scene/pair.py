"""Two photographs as a scene: one reference, one query, no map."""

from __future__ import annotations

from pathlib import Path

from core.images import check_image
from core.records import ImageData, Scene


def open_pair(reference: str | Path, query: str | Path) -> Scene:
    """Make a scene of two image files. Raises FileNotFoundError or ImageError (empty, cut off, no image)."""
    paths = Path(reference), Path(query)
    for path in paths:
        check_image(path)
    names = [path.name for path in paths]
    if names[0] == names[1]:
        names = [f"{path.resolve().parent.name}/{path.name}" for path in paths]
    if names[0] == names[1]:
        names = [f"reference/{paths[0].name}", f"query/{paths[1].name}"]
    images = [
        ImageData(name, path, condition) for name, path, condition in zip(names, paths, ("reference", "query"), strict=True)
    ]
    return Scene(
        name=f"{paths[0].stem} and {paths[1].stem}",
        root=paths[0].resolve().parent,
        reference=(images[0],),
        queries=(images[1],),
    )
