"""Photographs as scenes: a map of some of them, the others as queries; each function takes a data folder and a new one.

They read what lies in the given folder and write copies to a working folder of the user's; nothing of it is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.images import limit_size, read_image, write_image
from core.mapping.build import build_map
from core.mapping.inputs import fit_camera
from core.records import ImageData, Progress
from core.scene.list_files import write_poses, write_queries
from core.scene.scene import open_scene

MAX_SIDE = 1024
_EVERY = 3  # of a drive's frames make the map


@dataclass(frozen=True, slots=True, eq=False)
class RealScene:
    """A set of photographs: ``folder`` inside the data folder, what it is, and who writes the scene."""

    name: str
    folder: str
    about: str
    write: Callable[[Path, Path], Generator[Progress, None, None]]


def _add(image: ImageData, name: str, condition: str, out: Path, change: Callable[[Array], Array] | None = None) -> ImageData:
    """Copy an image into the scene, no larger than ``MAX_SIDE`` px, with its camera."""
    pixels = read_image(image.path)
    camera = image.camera or fit_camera(image, pixels)
    pixels, _ = limit_size(pixels, MAX_SIDE)
    pixels = pixels if change is None else change(pixels)
    full_name = f"{condition}/{name}"
    write_image(out / "images" / full_name, pixels)
    camera = camera.scaled(pixels.shape[1], pixels.shape[0])
    return ImageData(full_name, out / "images" / full_name, condition, camera, image.cam_from_world)


def _write_scene(
    out: Path, name: str, references: Sequence[ImageData], queries: Sequence[ImageData], gravity: Sequence[float] | None = None
) -> Generator[Progress, None, None]:
    """Build the map and write what makes the folder a scene."""
    yield from build_map(references, out / "map")
    write_queries(out / "queries.txt", {query.name: query.camera for query in queries})
    known = {image.name: image.cam_from_world for image in (*references, *queries) if image.cam_from_world is not None}
    write_poses(out / "poses.txt", known)
    lines = ['format = "fgsn-scene"', "version = 1", f'name = "{name}"', f'kind = "{name}"', 'images = "images"', 'map = "map"']
    lines += ['queries = "queries.txt"', f'reference_condition = "{references[0].condition}"']
    lines += ['poses = "poses.txt"'] if known else []
    lines += [] if gravity is None else [f"gravity = {list(map(float, gravity))}"]
    (out / "scene.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_gallery(data: Path, out: Path) -> Generator[Progress, None, None]:
    """Virtual Gallery: other light and people in the way, exact poses of map and queries."""
    references = [_add(image, f"{k:02d}.jpg", "light 1", out) for k, image in enumerate(_kapture(data / "mapping"))]
    queries = [_add(image, f"{k:02d}.jpg", "occlusion", out) for k, image in enumerate(_kapture(data / "query"))]
    yield from _write_scene(out, "virtual gallery", references, queries)


def _kapture(folder: Path) -> list[ImageData]:
    """Images with cameras and poses of a kapture folder (csv): poses and rigs are device_from_world."""
    sensors = {row[0]: row for row in _rows(folder / "sensors" / "sensors.txt")}
    mounted = {row[1]: row for row in _rows(folder / "sensors" / "rigs.txt")}
    poses = {(row[0], row[1]): _pose(row[2:]) for row in _rows(folder / "sensors" / "trajectories.txt")}
    images = []
    for time, sensor, path in _rows(folder / "sensors" / "records_camera.txt"):
        model, width, height, *params = sensors[sensor][3:]
        camera = Camera(model, int(width), int(height), np.array(params, np.float64))
        rig = mounted.get(sensor)
        pose = poses[time, sensor] if rig is None else _pose(rig[2:]) @ poses[time, rig[0]]
        images.append(ImageData(path, folder / "sensors" / "records_data" / path, "", camera, pose))
    return images


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(",")] for line in lines if line.strip() and not line.startswith("#")]


def _pose(values: Sequence[str]) -> Rigid3d:
    numbers = np.array(values, np.float64)
    return Rigid3d(numbers[:4], numbers[4:])


def write_strecha(data: Path, out: Path) -> Generator[Progress, None, None]:
    """Herz-Jesus-P8: a facade, every second photograph in the map, poses by laser."""
    folder = data / "Herz-Jesus-P8"
    images = [_strecha_image(path, folder) for path in sorted((folder / "images").glob("*.jpg"))]
    references = [_add(image, image.name, "day", out) for image in images[::2]]
    queries = [_add(image, image.name, "day", out) for image in images[1::2]]
    yield from _write_scene(out, "Herz-Jesus", references, queries)


def _strecha_image(path: Path, folder: Path) -> ImageData:
    """The .camera file: K by rows, three zeros, R (camera to world), centre, size; x = K R^T (X - C)."""
    values = np.array((folder / "gt_dense_cameras" / f"{path.name}.camera").read_text().split(), np.float64)
    K, R, center = values[:9].reshape(3, 3), values[12:21].reshape(3, 3), values[21:24]
    camera = Camera("PINHOLE", int(values[24]), int(values[25]), K[[0, 1, 0, 1], [0, 1, 2, 2]])
    return ImageData(path.name, path, "day", camera, Rigid3d.from_rotation(R.T, -R.T @ center))


def write_kitti(data: Path, out: Path) -> Generator[Progress, None, None]:
    """KITTI odometry: every third frame in the map, the others as queries, as they are, darkened and hazed."""
    folder = data / "KITTI_sequence_1"
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    projection = np.loadtxt(folder / "calib.txt")[0].reshape(3, 4)
    paths = sorted((folder / "image_l").glob("*.jpg"))
    images = [_kitti_image(path, pose, projection) for path, pose in zip(paths, poses)]
    references = [_add(image, image.name, "day", out) for image in images[::_EVERY]]
    asked = [image for k, image in enumerate(images) if k % _EVERY]
    queries = [_add(image, image.name, "day", out) for image in asked]
    for condition, change in (("synthetic night", night_tone), ("synthetic haze", haze)):
        yield Progress(f"Making {condition}", 0.0)
        queries += [_add(image, image.name, condition, out, change) for image in asked]
    yield from _write_scene(out, "KITTI drive", references, queries, gravity=(0.0, 1.0, 0.0))


def _kitti_image(path: Path, world_from_cam: Array, projection: Array) -> ImageData:
    height, width = read_image(path).shape[:2]
    camera = Camera("PINHOLE", width, height, projection[[0, 1, 0, 1], [0, 1, 2, 2]])
    pose = Rigid3d.from_rotation(world_from_cam[:, :3], world_from_cam[:, 3]).inverse()
    return ImageData(path.name, path, "day", camera, pose)


def night_tone(pixels: Array) -> Array:
    """Darken an image as a night camera would show it: a steep tone curve and sensor noise; no lamps, no shadows."""
    noise = np.random.default_rng(int(pixels[::7, ::7].sum())).normal(0, 6, pixels.shape)
    return np.clip(255 * 0.45 * (pixels / 255.0) ** 2.2 + noise, 0, 255).astype(np.uint8)


def haze(pixels: Array) -> Array:
    """Blend an image with grey, most at the horizon and nearly none at the car: depth is not known, so it is no real fog."""
    height = pixels.shape[0]
    row = np.arange(height)[:, None, None] / height
    air = np.clip(0.85 - 1.1 * np.abs(row - 0.45), 0.1, 0.85)
    soft = cv2.GaussianBlur(pixels, (0, 0), 1.0)
    return np.clip(soft * (1 - air) + 200 * air, 0, 255).astype(np.uint8)


def write_sacre_coeur(data: Path, out: Path) -> Generator[Progress, None, None]:
    """Sacre Coeur: a map of day photographs by several cameras, one night photograph; no truth, no scale."""
    day = [ImageData(path.name, path, "day") for path in sorted((data / "mapping").glob("*.jpg"))]
    night = [ImageData(path.name, path, "night") for path in sorted((data / "query").glob("*.jpg"))]
    if not day or not night:
        raise InputError(f"{data}: expected photographs in mapping/ and query/")
    references = [replace(_add(image, image.name, "day", out), camera=None) for image in day]
    yield from _write_scene(out, "Sacre Coeur", references, [_add(image, image.name, "night", out) for image in night])


REAL_SCENES = (
    RealScene("gallery", "kapture_virtual_gallery", "Virtual Gallery: 12 map and 4 query renderings", write_gallery),
    RealScene("strecha", "strecha", "Herz-Jesus-P8: 4 photographs in the map, 4 queries", write_strecha),
    RealScene(
        "kitti",
        "kitti_odo",
        "KITTI, 51 frames: every third in the map; night and haze are synthetic",
        write_kitti,
    ),
    RealScene("sacre-coeur", "hloc_sacre_coeur", "Sacre Coeur: 10 day photographs, 1 by night", write_sacre_coeur),
)


def write_real_scenes(data: Path | None, folder: Path) -> Generator[Progress, None, tuple[list[Path], list[str]]]:
    """Write the scenes whose photographs are there; return their folders, and a sentence on each or why it is left out."""
    paths, notes = [], []
    for scene in REAL_SCENES:
        source = None if data is None else data / scene.folder
        out = folder / scene.name
        if not (out / "scene.toml").is_file():
            if source is None or not source.is_dir():
                notes.append(f"{scene.about}: left out, the photographs are not here")
                continue
            yield Progress(f"Mapping {scene.name}")
            yield from scene.write(source, out)
        paths.append(out)
        notes.append(f"{scene.about}. {_map_text(out)}")
    return paths, notes


def _map_text(path: Path) -> str:
    scene = open_scene(path)
    given = len(list((path / "images" / scene.reference[0].condition).iterdir()))
    asked = sum(query.condition == scene.reference[0].condition for query in scene.queries)
    return f"The map has {len(scene.reference)} of {given - asked} images and {len(scene.map.points3D)} points"
