"""Parts that several benchmark layouts are written of: resized scenes, NVM models, databases of features, pictures."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.geometry import Array, Camera, Rigid3d
from core.images import read_image, resize_image, resize_keypoints, write_image
from core.records import Features, ImageData, Scene, SceneMap
from core.scene.colmap import params_to_colmap, points2D_to_colmap, rows_by_image
from core.scene.colmap_binary import MODEL_NAMES

FeaturesOf = Callable[[ImageData], Features]


def resized_scene(scene: Scene, width: int, height: int) -> Scene:
    """The same scene with every camera and observation as in pictures of another size; the pictures stay as they are."""
    scene_map = scene.map
    sizes = np.array([[image.camera.width, image.camera.height] for image in scene_map.images])
    scales = np.array([width, height]) / sizes
    points2D = resize_keypoints(scene_map.observations.points2D, scales[scene_map.observations.image])
    observations = replace(scene_map.observations, points2D=points2D)
    images = tuple(_resized(image, width, height) for image in scene_map.images)
    queries = tuple(_resized(image, width, height) for image in scene.queries)
    return replace(scene, reference=images, queries=queries, map=replace(scene_map, images=images, observations=observations))


def _resized(image: ImageData, width: int, height: int) -> ImageData:
    return replace(image, camera=image.camera.scaled(width, height))


def copy_picture(image: ImageData, target: Path) -> None:
    """Write an image of a scene at its camera's size under another name; nothing where the scene has no such file."""
    if not image.path.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    pixels = read_image(image.path)
    size = (image.camera.width, image.camera.height)
    if pixels.shape[1::-1] == size and image.path.suffix.lower() == target.suffix.lower():
        shutil.copyfile(image.path, target)
    else:
        write_image(target, resize_image(pixels, *size))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def words(*values: float) -> str:
    """Numbers with every digit that they need."""
    return " ".join(repr(float(value)) for value in values)


def center_line(name: str, pose: Rigid3d) -> str:
    """name qw qx qy qz cx cy cz."""
    return f"{name} {words(*pose.qvec, *pose.center())}"


def write_nvm(path: Path, scene_map: SceneMap, names: Sequence[str], relative: bool = False) -> None:
    """Write a map as NVM; keypoint k of an image is its k-th observation. ``relative`` to the principal point, as VisualSFM.

    Focal lengths are fx; distortion is the one of SIMPLE_RADIAL cameras, with VisualSFM's sign.
    """
    lines = ["NVM_V3", "", str(len(names))]
    for name, image in zip(names, scene_map.images, strict=True):
        camera, pose = image.camera, image.cam_from_world
        distortion = -camera.params[3] if camera.model == "SIMPLE_RADIAL" else 0
        lines.append(f"{name} {words(camera.K[0, 0], *pose.qvec, *pose.center(), distortion)} 0")
    lines += ["", str(len(scene_map.points3D))]
    observations, rows = scene_map.observations, rows_by_image(scene_map.observations, len(names))
    feature = np.zeros(len(observations.point), np.int64)
    for own in rows:
        feature[own] = np.arange(len(own))
    centers = np.array([image.camera.K[:2, 2] for image in scene_map.images]).reshape(-1, 2)
    points2D = observations.points2D - centers[observations.image] if relative else points2D_to_colmap(observations.points2D)
    seen = [f"{i} {f} {words(x, y)}" for i, f, (x, y) in zip(observations.image, feature, points2D)]
    starts = np.searchsorted(observations.point, np.arange(len(scene_map.points3D) + 1))
    for p, (xyz, rgb) in enumerate(zip(scene_map.points3D, scene_map.rgb)):
        own = seen[starts[p] : starts[p + 1]]
        lines.append(" ".join([words(*xyz), *map(str, rgb), str(len(own)), *own]))
    write_lines(path, [*lines, "", "0"])


def map_features(scene_map: SceneMap) -> list[tuple[Array, Array]]:
    """Of each map image the keypoints (N, 2) and descriptors (N, 128) u8, in the order that models of it are written in."""
    observations = scene_map.observations
    return [
        (observations.points2D[own], observations.descriptors[own])
        for own in rows_by_image(observations, len(scene_map.images))
    ]


def write_database(path: Path, images: Sequence[tuple[str, Camera, Array, Array]]) -> None:
    """Write a COLMAP database as versions before 4 made it: of each image name, camera, keypoints and descriptors u8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    model_ids = {name: number for number, name in MODEL_NAMES.items()}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cameras (camera_id, model, width, height, params BLOB, prior_focal_length)")
        connection.execute("CREATE TABLE images (image_id, name, camera_id)")
        connection.execute("CREATE TABLE keypoints (image_id, rows, cols, data BLOB)")
        connection.execute("CREATE TABLE descriptors (image_id, rows, cols, data BLOB)")
        for k, (name, camera, keypoints, descriptors) in enumerate(images, start=1):
            params = np.asarray(params_to_colmap(camera), "<f8").tobytes()
            row = (k, model_ids[camera.model], camera.width, camera.height, params, 1)
            connection.execute("INSERT INTO cameras VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO images VALUES (?, ?, ?)", (k, name, k))
            table = np.zeros((len(keypoints), 6), np.float32)
            table[:, :2], table[:, 2], table[:, 5] = points2D_to_colmap(keypoints), 1, 1
            connection.execute("INSERT INTO keypoints VALUES (?, ?, ?, ?)", (k, *table.shape, table.tobytes()))
            own = np.asarray(descriptors, np.uint8)
            connection.execute("INSERT INTO descriptors VALUES (?, ?, ?, ?)", (k, *own.shape, own.tobytes()))
        connection.commit()


def query_entry(name: str, image: ImageData, features: FeaturesOf) -> tuple[str, Camera, Array, Array]:
    """One row of a database: a query's keypoints, and descriptors as COLMAP stores them."""
    found = features(image)
    return name, image.camera, found.keypoints, np.clip(np.rint(found.descriptors * 512), 0, 255)
