"""Write a scene's map as a Bundler file with its list of images, or in VisualSFM's dialect of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.records import ImageData, Scene, SceneMap
from core.scene.colmap import params_to_colmap, points2D_to_colmap, rows_by_image
from core.scene.folders import whole_folder
from core.world.layout_parts import copy_picture, words, write_lines

_FLIP = np.diag([1.0, -1.0, -1.0])


def write_bundler(scene: Scene, out: str | Path, visualsfm: bool = False, zipped: bool = False) -> None:
    """Write ``bundle.out`` (or .out.gz) and ``list.txt`` to ``out``, with the map's images.

    Raises InputError for cameras that Bundler has no place for: two focal lengths, or a centre beside the middle.
    """
    if scene.map is None:
        raise InputError(f"{scene.root}: a scene without a map cannot be written for Bundler")
    text = "\n".join(_lines(scene.map, visualsfm)) + "\n"
    with whole_folder(Path(out)) as folder:
        if zipped:
            (folder / "bundle.out.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / "bundle.out").write_text(text, encoding="utf-8", newline="\n")
        write_lines(folder / "list.txt", [image.name for image in scene.map.images])
        for image in scene.map.images:
            copy_picture(image, folder / image.name)


def _lines(scene_map: SceneMap, visualsfm: bool) -> list[str]:
    world = _FLIP if visualsfm else np.eye(3)
    lines = ["# Bundle file v0.3", f"{len(scene_map.images)} {len(scene_map.points3D)}"]
    for image in scene_map.images:
        R = _FLIP @ image.cam_from_world.R @ world
        rows = [_lens(image, visualsfm), *R.tolist(), (_FLIP @ image.cam_from_world.tvec).tolist()]
        lines += [words(*row) for row in rows]
    observations = scene_map.observations
    keypoint = np.zeros(len(observations.point), np.int64)
    for rows in rows_by_image(observations, len(scene_map.images)):
        keypoint[rows] = np.arange(len(rows))
    pixels = points2D_to_colmap(observations.points2D)
    if not visualsfm:
        pixels = pixels - np.array([[i.camera.width / 2, i.camera.height / 2] for i in scene_map.images])[observations.image]
    starts = np.searchsorted(observations.point, np.arange(len(scene_map.points3D) + 1))
    for point, (xyz, rgb) in enumerate(zip(scene_map.points3D @ world, scene_map.rgb, strict=True)):
        rows = range(starts[point], starts[point + 1])
        views = [f"{observations.image[r]} {keypoint[r]} {words(pixels[r, 0], -pixels[r, 1])}" for r in rows]
        lines += [words(*xyz), " ".join(map(str, rgb)), " ".join([str(len(rows)), *views])]
    return lines


def _lens(image: ImageData, visualsfm: bool) -> tuple[float, float, float]:
    camera = image.camera
    one_focal = camera.K[0, 0] == camera.K[1, 1]
    centred = np.allclose(points2D_to_colmap(camera.K[:2, 2]), [camera.width / 2, camera.height / 2])
    extra = {"PINHOLE": (0.0, 0.0), "SIMPLE_PINHOLE": (0.0, 0.0)}
    if camera.model in ("SIMPLE_RADIAL", "RADIAL"):
        extra[camera.model] = (*params_to_colmap(camera)[3:], 0.0)[:2]
    if not (one_focal and centred and camera.model in extra):
        raise InputError(f"{image.name}: its camera {camera.model} has no place in a Bundler file")
    focal, (k1, k2) = float(camera.K[0, 0]), extra[camera.model]
    return (focal, 0.0, -k1 / focal**2) if visualsfm else (focal, k1, k2)
