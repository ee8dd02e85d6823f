"""Write a scene whose truth is known as Extended CMU Seasons or CMU Seasons, to prove that these are read as they are."""

from __future__ import annotations

import calendar
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.geometry import Camera
from core.records import ImageData, Scene
from core.scene.colmap import params_to_colmap, write_model
from core.scene.list_files import write_queries
from core.world.layout_parts import (
    FeaturesOf,
    center_line,
    copy_picture,
    map_features,
    query_entry,
    resized_scene,
    words,
    write_database,
    write_lines,
    write_nvm,
)

REFERENCE_DAY = "2011-04-04"
QUERY_DAYS = ("2010-09-01", "2010-10-01", "2010-10-28", "2010-11-03", "2010-12-21", "2011-03-04", "2011-07-28")
RECTIFIED_SIZE = (1024, 768)


def cmu_names(scene: Scene, ending: str = "us") -> dict[str, str]:
    """The benchmark's name of each image: its number, camera c0 or c1 in turn, and a time on its condition's day.

    Raises ValueError for more conditions than there are days.
    """
    conditions = dict.fromkeys(image.condition for image in scene.queries)
    days = dict(zip(conditions, QUERY_DAYS, strict=False))
    if len(days) < len(conditions):
        raise ValueError(f"{len(conditions)} conditions, expected at most {len(QUERY_DAYS)}")
    names = {}
    for k, image in enumerate((*scene.map.images, *scene.queries)):
        day = days[image.condition] if image in scene.queries else REFERENCE_DAY
        noon = calendar.timegm(time.strptime(f"{day} 15", "%Y-%m-%d %H"))
        names[image.name] = f"img_{k:05d}_c{k % 2}_{noon * 10**6 + k * 66_667}{ending}.jpg"
    return names


def write_extended_cmu(scene: Scene, out: Path, number: int = 2, features: FeaturesOf | None = None) -> dict[str, str]:
    """Write ``out``/slice{number} and ``out``/intrinsics.txt; return the new name of each image.

    The scene's images share one camera, of at most OPENCV's distortion. Every second query has its pose in camera-poses/.
    ``features`` adds a database of the queries' features.
    """
    root, names = Path(out) / f"slice{number}", cmu_names(scene)
    camera = _as_opencv(scene.map.images[0].camera)
    sizes = f"OPENCV {camera.width} {camera.height}"
    lines = [f"c{k} {sizes} {words(*params_to_colmap(camera))}" for k in (0, 1)]
    write_lines(Path(out) / "intrinsics.txt", ["# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy k1 k2 p1 p2", *lines])
    images = tuple(replace(image, name=names[image.name], camera=camera) for image in scene.map.images)
    write_model(root / "sparse", replace(scene.map, images=images))
    for image in scene.map.images:
        copy_picture(image, root / "database" / names[image.name])
    for image in scene.queries:
        copy_picture(image, root / "query" / names[image.name])
    listed = [center_line(image.name, image.cam_from_world) for image in images]
    write_lines(root / f"ground-truth-database-images-slice{number}.txt", listed)
    write_lines(root / f"test-images-slice{number}.txt", [names[image.name] for image in scene.queries])
    _write_camera_poses(scene.queries[::2], names, root)
    if scene.map.observations.descriptors is not None:
        entries = [(image.name, camera, *own) for image, own in zip(images, map_features(scene.map), strict=True)]
        write_database(root / f"database{number}.db", entries)
    if features is not None:
        entries = [query_entry(names[image.name], image, features) for image in scene.queries]
        write_database(root / f"query{number}.db", entries)
    return names


def _write_camera_poses(queries: tuple[ImageData, ...], names: dict[str, str], root: Path) -> None:
    """One file a traversal."""
    for condition in dict.fromkeys(image.condition for image in queries):
        lines = [center_line(names[q.name], q.cam_from_world) for q in queries if q.condition == condition]
        write_lines(root / "camera-poses" / f"{condition}.txt", lines)


def _as_opencv(camera: Camera) -> Camera:
    """The same camera as OPENCV's model; ValueError for one that has no such form."""
    if camera.model == "OPENCV":
        return camera
    if camera.has_distortion:
        raise ValueError(f"camera model {camera.model}, expected OPENCV or a pinhole")
    params = np.array([*camera.K[[0, 1, 0, 1], [0, 1, 2, 2]], 0, 0, 0, 0])
    return Camera("OPENCV", camera.width, camera.height, params)


def write_rectified_cmu(scene: Scene, out: Path, number: int = 3, relative: bool = False) -> dict[str, str]:
    """Write CMU Seasons: 3D-models/slice{number}.nvm, query_lists/, intrinsics/, images/; return each image's new name.

    The scene's images share one pinhole camera; pictures are resized to the benchmark's 1024 x 768.
    """
    out, names = Path(out), cmu_names(scene, "us_rect")
    scene = resized_scene(scene, *RECTIFIED_SIZE)
    write_nvm(
        out / "3D-models" / f"slice{number}.nvm", scene.map, [f"database/{names[i.name]}" for i in scene.map.images], relative
    )
    fx, fy, cx, cy = params_to_colmap(_as_opencv(scene.map.images[0].camera))[:4]
    for k in (0, 1):
        write_lines(out / "intrinsics" / f"c{k}.txt", [words(fx, 0, cx), words(0, fy, cy), words(0, 0, 1)])
    write_queries(
        out / "query_lists" / f"slice{number}.queries_with_intrinsics.txt",
        {f"query/{names[image.name]}": image.camera for image in scene.queries},
    )
    for part, images in (("database", scene.map.images), ("query", scene.queries)):
        for image in images:
            copy_picture(image, out / "images" / f"slice{number}" / part / names[image.name])
    return names
