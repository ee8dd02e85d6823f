"""Bundler's ``.out`` (plain or gzipped) with its list of images, and the dialect of it that VisualSFM writes.

A camera looks along -z with y up: ``x_cam = diag(1, -1, -1) (R X + t)``; pixels are relative to the middle of the image, y
up; f, k1, k2 are COLMAP's RADIAL. VisualSFM instead turns the world too (y and z change sign against its NVM file), counts
pixels from the top-left corner, and puts its own distortion d / f^2, as measured from bent to straight, in the place of k2.
Its world is turned back, so that a map is in the frame of the NVM file and of the benchmarks.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import ImageError, SceneError
from core.geometry import Array, Camera, Rigid3d
from core.images import image_size
from core.records import ImageData, Observations, Progress, Scene, SceneMap
from core.scene.colmap import camera_from_colmap, condition_of, points2D_from_colmap
from core.scene.colmap_text import text_lines
from core.scene.image_names import inside, missing_note, outside_note, root_of_most

SUFFIXES = (".out", ".out.gz")
_FLIP = np.diag([1.0, -1.0, -1.0])
_CAMERA_TOKENS, _POINT_TOKENS, _VIEW_TOKENS = 15, 7, 4
_UNIT_TOLERANCE = 1e-2
_STEPS = 20_000  # points between two reports of progress
_PIECE_BYTES = 1 << 23
_MAX_LINE_BYTES = 1 << 25  # a point that a million cameras see


@dataclass(frozen=True, slots=True, eq=False)
class BundlerModel:
    """Per camera ``lenses`` (C, 3) f, k1, k2 and ``poses`` (None where Bundler placed it not); points and their views.

    ``pixels`` (T, 2) are COLMAP's, but from the middle of the image unless ``is_visualsfm``; ``point`` and ``camera`` (T,).
    """

    lenses: Array
    poses: tuple[Rigid3d | None, ...]
    points3D: Array
    rgb: Array
    point: Array
    camera: Array
    pixels: Array
    is_visualsfm: bool


def recognise(path: Path) -> bool:
    """Whether a path is a Bundler file with a list of images beside it, or a folder with one (or bundle/ with one)."""
    return _files(path) is not None


def _files(path: Path) -> tuple[Path, Path] | None:
    """The model and its list of images."""
    if path.is_file():
        models = [path] if path.name.endswith(SUFFIXES) else []
    else:
        folders = [folder for folder in (path, path / "bundle") if folder.is_dir()]
        models = [file for folder in folders for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIXES)]
    for model in models:
        stem = model.name.removesuffix(".gz").removesuffix(".out")
        places = (model.parent, model.parent.parent)
        for place, name in ((place, name) for name in (f"{stem}.list.txt", f"{stem}.txt", "list.txt") for place in places):
            if (place / name).is_file():
                return model, place / name
    return None


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Read a Bundler model with its images; yields Progress, returns the scene. Raises SceneError, led by the file.

    The sizes of the images come from the images themselves: without them a camera is not known.
    """
    model_path, list_path = _files(path)
    yield Progress(f"Reading {model_path.name}", 0.0)
    model = yield from read_bundler(model_path)
    given = [line.split()[0] if line.split()[1:2] else line for _, line in text_lines(list_path) if line]
    names = [inside(name) for name in given]
    _require_names(names, len(model.poses), list_path, model_path)
    notes = outside_note(list_path, given)
    folder = path if path.is_dir() else path.parent
    places = [base / sub for base in (folder, folder.parent) for sub in ("", "images", "images_upright")]
    root = root_of_most(names, [*places, list_path.parent]) or folder
    posed = [i for i, pose in enumerate(model.poses) if pose is not None]
    images = [_image(model, i, names[i], root, model_path) for i in posed]
    unknown = sum(image.camera is None for image in images)
    if unknown:
        notes += (f"{model_path}: {unknown} cameras are not known, because the sizes of their images are not.",)
    if len(posed) < len(model.poses):
        notes += (f"{model_path}: {len(model.poses) - len(posed)} of {len(model.poses)} images have no pose there.",)
    scene_map = _map_of(model, images, posed)
    notes += missing_note([image.path for image in images], "images")
    name = folder.resolve().name
    return Scene(name, folder, scene_map.images, (), scene_map, notes=notes, map_path=model_path.parent)


def _require_names(names: list[str], num_cameras: int, list_path: Path, model_path: Path) -> None:
    if len(names) != num_cameras:
        raise SceneError(f"{list_path}: lists {len(names)} images, but {model_path.name} has {num_cameras} cameras")
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise SceneError(f"{list_path}: the image name {name!r} {'occurs more than once' if name else 'is empty'}")
        seen.add(name)


def _image(model: BundlerModel, index: int, name: str, root: Path, model_path: Path) -> ImageData:
    """One placed image; without its file its size and so its camera are not known."""
    size = _size(root / name)
    camera = None if size is None else _camera(model, index, size, f"{model_path}: camera {index}")
    return ImageData(name, root / name, condition_of(name), camera, model.poses[index])


def _size(file: Path) -> tuple[int, int] | None:
    try:
        return image_size(file)
    except (ImageError, OSError):
        return None


def _camera(model: BundlerModel, index: int, size: tuple[int, int], where: str) -> Camera:
    """The camera with its principal point in the middle of the image; of VisualSFM's distortion the sign turns."""
    focal, k1, k2 = model.lenses[index]
    width, height = size
    if model.is_visualsfm:
        return camera_from_colmap("SIMPLE_RADIAL", width, height, [focal, width / 2, height / 2, -k2 * focal**2], where)
    return camera_from_colmap("RADIAL", width, height, [focal, width / 2, height / 2, k1, k2], where)


def _map_of(model: BundlerModel, images: list[ImageData], posed: list[int]) -> SceneMap:
    """The map of the placed images, observations sorted by point; those from the middle need the image's size."""
    index = np.full(len(model.poses), -1)
    index[posed] = np.arange(len(posed))
    image = index[model.camera]
    shift = np.zeros((len(model.poses), 2))
    if not model.is_visualsfm:
        known = {i: own.camera for i, own in zip(posed, images, strict=True) if own.camera is not None}
        for i, camera in known.items():
            shift[i] = camera.width / 2, camera.height / 2
        image = np.where(np.isin(model.camera, list(known)), image, -1)
    use = np.flatnonzero(image >= 0)
    use = use[np.lexsort((image[use], model.point[use]))]
    points2D = points2D_from_colmap(model.pixels[use] + shift[model.camera[use]])
    return SceneMap(model.points3D, model.rgb, tuple(images), Observations(model.point[use], image[use], points2D))


def read_bundler(path: str | Path) -> Generator[Progress, None, BundlerModel]:
    """Read a Bundler file alone; raises SceneError, led by the file, before anything is allocated for counts that lie."""
    path = Path(path)
    values = yield from _numbers(path)
    num_cameras, num_points = _counts(values, path)
    at = 2 + num_cameras * _CAMERA_TOKENS
    blocks = values[2:at].reshape(num_cameras, 5, 3)
    poses = [_pose(block, f"{path}: camera {i}") for i, block in enumerate(blocks)]
    starts, lengths = [], []
    for number in range(num_points):
        if number % _STEPS == 0:
            yield Progress(f"Points of {path.name}", number / num_points)
        if at + _POINT_TOKENS > len(values):
            raise SceneError(f"{path}: cut off inside point {number + 1} of {num_points}")
        length = values[at + 6]
        end = at + _POINT_TOKENS + _VIEW_TOKENS * length
        if not (length >= 0 and length == int(length) and end <= len(values)):
            raise SceneError(f"{path}: cut off or corrupt, point {number + 1} of {num_points} has {length:g} views")
        starts.append(at)
        lengths.append(int(length))
        at = int(end)
    if at != len(values):
        raise SceneError(f"{path}: corrupt, {len(values) - at} numbers follow the {num_points} points that the header counts")
    heads = values[np.asarray(starts, np.int64)[:, None] + np.arange(6)] if starts else np.zeros((0, 6))
    return _model(path, blocks[:, 0], poses, heads, _views(values, starts, lengths), np.asarray(lengths, np.int64))


def _numbers(path: Path) -> Generator[Progress, None, Array]:
    """All numbers of the file after its first line, comments left out, read in pieces."""
    parts = []
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            first = file.readline(_MAX_LINE_BYTES)
            if not first.removeprefix(b"\xef\xbb\xbf").startswith(b"# Bundle file"):
                raise SceneError(f"{path}: starts with {first.strip()[:40]!r}, expected '# Bundle file v0.3'")
            while piece := file.read(_PIECE_BYTES):
                yield Progress(f"Reading {path.name}", None)
                parts.append(_parsed(piece + file.readline(_MAX_LINE_BYTES), path))
    except (OSError, EOFError, zlib.error) as error:
        raise SceneError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return np.concatenate(parts or [np.zeros(0)])


def _parsed(piece: bytes, path: Path) -> Array:
    """The numbers of whole lines."""
    if b"#" in piece:
        piece = b"\n".join(line for line in piece.splitlines() if not line.lstrip().startswith(b"#"))
    if piece.isspace() or not piece:
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy tells of text that is no number
        try:
            return np.fromstring(piece, np.float64, sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise SceneError(f"{path}: expected only numbers after the first line") from error


def _counts(values: Array, path: Path) -> tuple[int, int]:
    counts = values[:2]
    if len(counts) < 2 or not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.rint(counts)).any():
        raise SceneError(f"{path}: expected the numbers of cameras and points, found {counts.tolist()}")
    needed = 2 + _CAMERA_TOKENS * counts[0] + _POINT_TOKENS * counts[1]
    if needed > len(values):
        raise SceneError(
            f"{path}: cut off or corrupt, {counts[0]:g} cameras and {counts[1]:g} points need at least {needed:g} numbers, "
            f"found {len(values)}"
        )
    return int(counts[0]), int(counts[1])


def _pose(block: Array, where: str) -> Rigid3d | None:
    """cam_from_world, camera z forward, of a camera's numbers (5, 3); None for one that was not placed (all 0)."""
    R, tvec = block[1:4], block[4]
    if not np.isfinite(block).all():
        raise SceneError(f"{where} is not finite, expected f k1 k2, R and t")
    if block[0, 0] == 0 or not R.any():
        return None
    if np.abs(R @ R.T - np.eye(3)).max() > _UNIT_TOLERANCE or np.linalg.det(R) < 0:
        raise SceneError(f"{where} has no rotation (determinant {np.linalg.det(R):.4g})")
    return Rigid3d.from_rotation(_FLIP @ R, _FLIP @ tvec)


def _views(values: Array, starts: list[int], lengths: list[int]) -> Array:
    """Camera, keypoint, x, y (T, 4) of all views."""
    if not starts:
        return np.zeros((0, 4))
    counts = np.asarray(lengths, np.int64)
    first = np.repeat(np.asarray(starts, np.int64) + _POINT_TOKENS, counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return values[(first + _VIEW_TOKENS * step)[:, None] + np.arange(_VIEW_TOKENS)]


def _model(path: Path, lenses: Array, poses: list[Rigid3d | None], heads: Array, views: Array, lengths: Array) -> BundlerModel:
    point = np.repeat(np.arange(len(heads)), lengths)
    if not (np.isfinite(heads).all() and np.isfinite(views).all()):
        raise SceneError(f"{path}: corrupt, a point or one of its views is not finite")
    camera = views[:, 0]
    if len(camera) and not (camera.min() >= 0 and camera.max() < len(poses) and (camera == np.rint(camera)).all()):
        raise SceneError(f"{path}: a point is seen by camera {camera.max():g}, expected one of {len(poses)}, counted from 0")
    x, y = views[:, 2], views[:, 3]
    is_visualsfm = bool(len(x) and x.min() >= 0 and y.max() <= 0 and not lenses[:, 1].any())
    model = BundlerModel(
        lenses,
        tuple(poses),
        heads[:, :3],
        np.clip(heads[:, 3:], 0, 255).astype(np.uint8),
        point,
        camera.astype(np.int64),
        np.stack([x, -y], axis=1),
        is_visualsfm,
    )
    return _turned(model) if is_visualsfm else model


def _turned(model: BundlerModel) -> BundlerModel:
    """The model in the world of VisualSFM's NVM file."""
    turn = Rigid3d.from_rotation(_FLIP, np.zeros(3))
    poses = tuple(None if pose is None else pose @ turn for pose in model.poses)
    return replace(model, poses=poses, points3D=model.points3D @ _FLIP)
