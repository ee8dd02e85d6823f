"""Our map folder: a COLMAP model, and map.h5 with what COLMAP has no place for.

map.h5 repeats points, images and observations, so that a window shows a map without pycolmap; it also records size and
checksum of the COLMAP files, and where these changed since, the COLMAP model is read instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from core.errors import SceneError
from core.geometry import Camera, Rigid3d
from core.images import write_atomic
from core.records import ImageData, Observations, PointLabels, PointVisibility, SceneMap
from core.scene.colmap import condition_of, read_scene_map, write_model
from core.scene.folders import whole_folder
from core.scene.hdf5 import SEAL_BYTES, open_h5, seal, whole_array
from core.scene.image_names import inside
from core.scene.map_labels import load_added_labels, save_added_labels

MAP_FILE = "map.h5"
_FORMAT = "fgsn-map"
_VERSION = 1
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
_COLMAP_FILES = ("cameras.bin", "images.bin", "points3D.bin")


def save_map(path: str | Path, scene_map: SceneMap) -> None:
    """Write the map to a folder, as COLMAP model and map.h5; other files there stay. Raises InputError.

    The images' common folder is remembered relative to the map, so that it can be opened alone.
    """
    path = Path(path)
    with whole_folder(path, last=MAP_FILE) as folder:
        write_model(folder, scene_map)
        with h5py.File(folder / MAP_FILE, "w", userblock_size=SEAL_BYTES) as file:
            _write(file, scene_map, _root_hint(scene_map, path), _checksums(folder))
        seal(folder / MAP_FILE)


def save_labels(path: str | Path, labels: PointLabels) -> None:
    """Add the point labels of one vocabulary to a saved map, or replace them; the file changes whole or not at all.

    A map without map.h5, one that was made elsewhere, gets a file of its own for them.
    """
    file_path = Path(path) / MAP_FILE
    if not file_path.is_file():
        save_added_labels(path, labels)
        return
    with _open(file_path) as file:
        num_points = len(file["points3D"])
        content = file_path.read_bytes()
    if len(labels.labels) != num_points:
        raise SceneError(f"{file_path}: has {num_points} points, got labels for {len(labels.labels)}")

    def write(temporary: str) -> None:
        Path(temporary).write_bytes(content)
        with h5py.File(temporary, "a") as file:
            _write_labels(file, labels)
        seal(temporary)

    write_atomic(file_path, write)


def load_labels(path: str | Path, vocabulary: str) -> PointLabels | None:
    """Read the point labels of one vocabulary from a map folder; None where it has none. Raises SceneError."""
    path = Path(path)
    if not (path / MAP_FILE).is_file():
        return load_added_labels(path, vocabulary)
    with _open(path / MAP_FILE) as file:
        group = _label_groups(file).get(vocabulary) if _belongs(file, path) else None
        return None if group is None else _labels_of(group, len(file["points3D"]), len(file["observations/point"]))


def load_map(path: str | Path, preferred: str = "", image_root: Path | None = None) -> SceneMap:
    """Read a map folder, with the point labels of the vocabulary ``preferred`` or else of the first one stored, if any.

    ``image_root`` says where the images are; None takes the remembered place. Raises SceneError that names the file.
    """
    return load_map_with_notes(path, preferred, image_root)[0]


def load_map_with_notes(
    path: str | Path, preferred: str = "", image_root: Path | None = None
) -> tuple[SceneMap, tuple[str, ...]]:
    """Read as ``load_map`` and also return sentences on what could not be used."""
    path = Path(path)
    file_path = path / MAP_FILE
    if not file_path.is_file():
        return read_scene_map(path, image_root or path), ()
    with _open(file_path) as file:
        root = image_root or (path / str(file.attrs["image_root"])).resolve()
        if not _belongs(file, path):
            note = f"{file_path}: does not belong to the COLMAP model beside it, so descriptors and labels are left out"
            return read_scene_map(path, root), (note,)
        found = _read(file, root, preferred)
        _check(found)
        return found, ()


def image_root_hint(path: Path) -> Path | None:
    """Where the images of a map folder were when it was saved, or None when that is not known."""
    if not (path / MAP_FILE).is_file():
        return None
    with _open(path / MAP_FILE) as file:
        return (path / str(file.attrs["image_root"])).resolve()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Open map.h5 for reading; a broken file, one of another format or without a part is a SceneError."""
    with open_h5(path) as file:
        found = file.attrs.get("format"), file.attrs.get("version")
        if found != (_FORMAT, _VERSION):
            raise SceneError(f"{path}: found format {found[0]!r} version {found[1]!r}, expected {_FORMAT!r} {_VERSION}")
        yield file


def _belongs(file: h5py.File, folder: Path) -> bool:
    """Whether map.h5 was written with the COLMAP files that are beside it now."""
    return json.loads(file.attrs["colmap_files"]) == _checksums(folder)


def _checksums(folder: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of the COLMAP files that are there."""
    files = [folder / name for name in _COLMAP_FILES if (folder / name).is_file()]
    return {file.name: [file.stat().st_size, zlib.crc32(file.read_bytes())] for file in files}


def _root_hint(scene_map: SceneMap, folder: Path) -> str:
    """The folder under which every image has its name, relative to the map; "." when there is none."""
    roots = {_root_of(image) for image in scene_map.images}
    root = roots.pop() if len(roots) == 1 else None
    if root is None:
        return "."
    try:
        return Path(os.path.relpath(root, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return root.as_posix()


def _root_of(image: ImageData) -> Path | None:
    full = image.path.resolve().as_posix()
    return Path(full[: -len(image.name)]) if full.endswith("/" + image.name) else None


def _write(file: h5py.File, scene_map: SceneMap, root_hint: str, checksums: dict[str, list[int]]) -> None:
    file.attrs.update(format=_FORMAT, version=_VERSION, extractor=scene_map.extractor, image_root=root_hint)
    file.attrs["colmap_files"] = json.dumps(checksums)
    if scene_map.gravity_in_world is not None:
        file.attrs["gravity_in_world"] = scene_map.gravity_in_world
    _write_images(file.create_group("images"), scene_map.images)
    observations = scene_map.observations
    arrays = {"points3D": scene_map.points3D, "rgb": scene_map.rgb}
    arrays |= {"observations/point": observations.point, "observations/image": observations.image}
    arrays |= {"observations/points2D": observations.points2D, "observations/descriptors": observations.descriptors}
    if scene_map.visibility is not None:
        names = ("direction", "angle_rad", "min_distance", "max_distance")
        arrays |= {f"visibility/{name}": getattr(scene_map.visibility, name) for name in names}
    for name, array in arrays.items():
        if array is not None:
            file.create_dataset(name, data=array, **(_PACKED if array.size else {}))
    if scene_map.labels is not None:
        _write_labels(file, scene_map.labels)


def _write_images(group: h5py.Group, images: tuple[ImageData, ...]) -> None:
    cameras: dict[str, int] = {}
    index = [cameras.setdefault(_camera_json(image.camera), len(cameras)) for image in images]
    strings = h5py.string_dtype()
    group.create_dataset("name", data=[image.name for image in images], dtype=strings)
    group.create_dataset("condition", data=[image.condition for image in images], dtype=strings)
    group.create_dataset("cameras", data=list(cameras), dtype=strings)
    group.create_dataset("camera", data=np.array(index, np.int32))
    poses = [(*image.cam_from_world.qvec, *image.cam_from_world.tvec) for image in images]
    group.create_dataset("cam_from_world", data=np.array(poses, np.float64).reshape(-1, 7))


def _camera_json(camera: Camera) -> str:
    return json.dumps([camera.model, camera.width, camera.height, camera.params.tolist()])


def _write_labels(file: h5py.File, labels: PointLabels) -> None:
    stored = file.require_group("labels")
    same = [name for name, group in stored.items() if group.attrs["vocabulary"] == labels.vocabulary]
    name = same[0] if same else str(len(stored))
    if same:
        del stored[name]
    group = stored.create_group(name)
    group.attrs.update(vocabulary=labels.vocabulary, num_labels=labels.num_labels)
    packed = _PACKED if labels.labels.size else {}
    group.create_dataset("labels", data=labels.labels, **packed)
    group.create_dataset("vote_share", data=labels.vote_share, **packed)
    if labels.views is not None:
        group.create_dataset("views", data=labels.views, **(_PACKED if labels.views.size else {}))


def _read(file: h5py.File, image_root: Path, preferred: str) -> SceneMap:
    observations = file["observations"]
    return SceneMap(
        points3D=whole_array(file["points3D"]),
        rgb=whole_array(file["rgb"]),
        images=_read_images(file["images"], image_root),
        observations=Observations(
            point=whole_array(observations["point"]),
            image=whole_array(observations["image"]),
            points2D=whole_array(observations["points2D"]),
            descriptors=whole_array(observations["descriptors"]) if "descriptors" in observations else None,
        ),
        extractor=str(file.attrs["extractor"]),
        visibility=_read_visibility(file),
        labels=_read_labels(file, preferred),
        gravity_in_world=file.attrs.get("gravity_in_world"),
    )


def _check(scene_map: SceneMap) -> None:
    """Raise ValueError where the parts of a map do not agree, as in a file that others changed."""
    seen, num_points = scene_map.observations, len(scene_map.points3D)
    for name, rows, count in (("point", seen.point, num_points), ("image", seen.image, len(scene_map.images))):
        if len(rows) and (rows.min() < 0 or rows.max() >= count):
            raise ValueError(f"observations name {name} {rows.min()} to {rows.max()} of {count}")
    if (np.diff(seen.point) < 0).any():
        raise ValueError("observations are not sorted by point")
    if not (np.isfinite(scene_map.points3D).all() and np.isfinite(seen.points2D).all()):
        raise ValueError("a point or keypoint is not finite")
    if scene_map.visibility is not None and len(scene_map.visibility.angle_rad) != num_points:
        raise ValueError(f"visibility of {len(scene_map.visibility.angle_rad)} points, expected {num_points}")


def _read_images(group: h5py.Group, image_root: Path) -> tuple[ImageData, ...]:
    cameras = [Camera(*json.loads(text)) for text in _texts(group["cameras"])]
    names, conditions = map(inside, _texts(group["name"])), _texts(group["condition"])
    rows = zip(names, conditions, whole_array(group["camera"]), whole_array(group["cam_from_world"]))
    return tuple(
        ImageData(name, image_root / name, condition or condition_of(name), cameras[k], Rigid3d(pose[:4], pose[4:]))
        for name, condition, k, pose in rows
    )


def _texts(dataset: h5py.Dataset) -> list[str]:
    return [text.decode("utf-8") for text in whole_array(dataset)]


def _read_visibility(file: h5py.File) -> PointVisibility | None:
    if "visibility" not in file:
        return None
    return PointVisibility(**{name: whole_array(dataset) for name, dataset in file["visibility"].items()})


def _read_labels(file: h5py.File, preferred: str) -> PointLabels | None:
    stored = _label_groups(file)
    group = stored.get(preferred, next(iter(stored.values()), None))
    return None if group is None else _labels_of(group, len(file["points3D"]), len(file["observations/point"]))


def _label_groups(file: h5py.File) -> dict[str, h5py.Group]:
    """What is stored of each vocabulary, in the order of storing."""
    groups = sorted(file["labels"].items(), key=lambda item: int(item[0])) if "labels" in file else []
    return {str(group.attrs["vocabulary"]): group for _, group in groups}


def _labels_of(group: h5py.Group, num_points: int, num_observations: int) -> PointLabels:
    """The labels of one vocabulary.

    Raises ValueError where they are not one for each point and observation, or not of the vocabulary.
    """
    attrs = group.attrs
    labels, shares = whole_array(group["labels"]), whole_array(group["vote_share"])
    views = whole_array(group["views"]) if "views" in group else None
    found = PointLabels(labels, shares, int(attrs["num_labels"]), str(attrs["vocabulary"]), views)
    if len(found.labels) != num_points or (num_points and int(found.labels.max()) >= found.num_labels):
        raise ValueError(f"{len(found.labels)} labels for {num_points} points, or some of them not below {found.num_labels}")
    if views is not None and (len(views) != num_observations or int(views.max(initial=0)) >= found.num_labels):
        raise ValueError(f"labels of {len(views)} views for {num_observations}, or some of them not below {found.num_labels}")
    return found


def with_image_root(scene_map: SceneMap, image_root: Path) -> SceneMap:
    """The same map with its images looked for elsewhere."""
    images = tuple(replace(image, path=image_root / image.name) for image in scene_map.images)
    return replace(scene_map, images=images)
