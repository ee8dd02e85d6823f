"""An NVM file alone, and what every scene that comes with one needs: cameras and descriptors."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import ImageError, SceneError
from core.geometry import Array, Camera
from core.images import image_size
from core.records import ImageData, Progress, Scene, SceneMap
from core.scene.benchmark_scene import Notes, benchmark_scene
from core.scene.colmap import camera_from_colmap, condition_of, rows_by_image
from core.scene.feature_files import FeatureReader, open_features
from core.scene.image_names import root_of_most
from core.scene.nvm import NvmModel, nvm_map, read_nvm

_TOLERANCE_PX = 0.6  # NVM files round, and tools differ by half a pixel
_MAX_DESCRIBED = 15_000_000  # observations, 128 bytes each
_PROGRESS_EVERY = 200


def recognise(path: Path) -> bool:
    """Whether a path is an NVM file, or a folder that holds just one."""
    return path.suffix.lower() == ".nvm" if path.is_file() else path.is_dir() and len(list(path.glob("*.nvm"))) == 1


def read(path: Path) -> Generator[Progress, None, Scene]:
    """Open an NVM file as a scene without queries; images are looked for beside it and above."""
    file = path if path.is_file() else next(path.glob("*.nvm"))
    model = yield from read_nvm(file)
    names, root = _names_and_root(model.names, file)
    images = [ImageData(n, root / n, condition_of(n), None, pose) for n, pose in zip(names, model.poses, strict=True)]
    images, camera_notes = yield from with_nvm_cameras(model, images, {}, file)
    scene_map, map_notes = yield from described_nvm_map(model, images, None, file)
    notes = [*model.notes, *camera_notes, *map_notes]
    return (yield from benchmark_scene(file.stem, path, images, (), scene_map, notes, map_path=file.with_suffix("")))


def _names_and_root(names: Sequence[str], file: Path) -> tuple[Sequence[str], Path]:
    """The names and the folder under which the images are; the last parts of names where only these are found."""
    folder = file.absolute().parent
    likely = [folder, folder / "images", folder.parent, folder.parent / "images", folder.parent / "images_upright"]
    root = root_of_most(names, likely)
    last = [name.rsplit("/", 1)[-1] for name in names]
    if root is None and len(set(last)) == len(last):
        root = root_of_most(last, likely)
        names = names if root is None else last
    return names, root or folder


def with_nvm_cameras(
    model: NvmModel, images: Sequence[ImageData], known: Mapping[str, Camera], file: Path
) -> Generator[Progress, None, tuple[list[ImageData], Notes]]:
    """Give each image the camera that is known by its name, or else the one that NVM's focal length and distortion make.

    The latter needs the image's size, of the image itself or of another one of the same focal length; where neither is there
    the image stays without a camera, which a note says.
    """
    sizes: dict[float, tuple[int, int]] = {}
    cameras: list[Camera | None] = []
    for k, image in enumerate(images):
        if k % _PROGRESS_EVERY == 0:
            yield Progress(f"Looking at the sizes of images: {k:,} of {len(images):,}", k / len(images))
        camera = known.get(image.name)
        size = None if camera else _size(image.path)
        if size is not None:
            sizes[float(model.focals[k])] = size
            camera = _camera(model, k, size, file)
        cameras.append(camera)
    for k in (k for k, camera in enumerate(cameras) if camera is None):
        size = sizes.get(float(model.focals[k]))
        cameras[k] = _camera(model, k, size, file) if size else None
    posed = [replace(image, camera=camera) for image, camera in zip(images, cameras, strict=True)]
    guessed = sum(camera is not None and image.name not in known for image, camera in zip(images, cameras, strict=True))
    without = [image.name for image in posed if image.camera is None]
    notes = []
    if guessed:
        notes.append(f"{file}: {guessed} of {len(posed)} images have the camera of the NVM file, with their middle as centre.")
    if without:
        notes.append(f"{file}: {len(without)} images have no known camera, for their size is not known ({without[0]}).")
    return posed, tuple(notes)


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path) if path.is_file() else None
    except (OSError, ImageError):
        return None


def _camera(model: NvmModel, index: int, size: tuple[int, int], file: Path) -> Camera:
    """The camera of VisualSFM's f and d: measured px times (1 + d r^2) are undistorted, COLMAP's k is -d to first order."""
    focal, distortion = float(model.focals[index]), float(model.distortions[index])
    center = (size[0] / 2, size[1] / 2)
    where = f"{file}: image {model.names[index]!r}"
    if distortion == 0:
        return camera_from_colmap("SIMPLE_PINHOLE", *size, np.array([focal, *center]), where)
    return camera_from_colmap("SIMPLE_RADIAL", *size, np.array([focal, *center, -distortion]), where)


def described_nvm_map(
    model: NvmModel, images: Sequence[ImageData], database: Path | None, file: Path
) -> Generator[Progress, None, tuple[SceneMap | None, Notes]]:
    """The map of an NVM model with the descriptors of a database, if there is one; and sentences on what is missing.

    None where the observations need cameras that are not known.
    """
    if model.relative and any(image.camera is None for image in images):
        return None, (f"{file}: its pixels are relative to the middle of images, and not every image's camera is known.",)
    scene_map = nvm_map(model, images)
    if database is None or not database.is_file():
        return scene_map, ()
    if len(model.features) > _MAX_DESCRIBED:
        count = len(model.features)
        return scene_map, (f"{database}: {count:,} observations are more than the {_MAX_DESCRIBED:,} that get descriptors.",)
    try:
        return (yield from _described(model, scene_map, database))
    except SceneError as error:
        return scene_map, (f"Descriptors are left out: {error}",)


def _described(model: NvmModel, scene_map: SceneMap, database: Path) -> Generator[Progress, None, tuple[SceneMap, Notes]]:
    observations = scene_map.observations
    rows = rows_by_image(observations, len(scene_map.images))
    descriptors, missing = np.zeros((len(model.features), 128), np.uint8), []
    with open_features(database) as reader:
        for i, name in enumerate(model.names):
            yield Progress(f"Descriptors of {name}", i / len(rows))
            own = _own(reader, name, model.features[rows[i]], observations.points2D[rows[i]])
            if own is None:
                missing.append(name)
            else:
                descriptors[rows[i]] = own
        extractor = reader.extractor
    if len(missing) == len(rows):
        raise SceneError(f"{database}: has fitting features of none of the {len(rows)} images of the model")
    descriptors.setflags(write=False)
    described = replace(scene_map, observations=replace(observations, descriptors=descriptors), extractor=extractor)
    if not missing:
        return described, ()
    return described, (f"{database}: has no fitting features of {len(missing)} of {len(rows)} images ({missing[0]}).",)


def _own(reader: FeatureReader, name: str, features: Array, points2D: Array) -> Array | None:
    """The descriptors (N, 128) u8 of some keypoints of an image; None where it has none at these places."""
    name = next((spelling for spelling in (name, name[:-4] + ".jpg", name[:-4] + ".png") if spelling in reader), None)
    if name is None:
        return None
    keypoints, descriptors = reader.keypoints(name), reader.descriptors(name)
    if len(keypoints) != len(descriptors) or features.max(initial=-1) >= len(keypoints):
        return None
    fits = np.abs(keypoints[features, :2] - points2D).max(initial=0) <= _TOLERANCE_PX
    is_sift = descriptors.dtype == np.uint8 and descriptors.shape[1:] == (128,)
    return descriptors[features] if fits and is_sift else None
