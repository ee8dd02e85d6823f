"""Give a map that came without descriptors those of a file of features, keypoint by keypoint."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import SceneError
from core.geometry import Array
from core.records import Progress, SceneMap
from core.scene.colmap import ColmapImage, observations_of
from core.scene.feature_files import FeatureReader, open_features, unit_descriptors

_TOLERANCE_PX = 0.6  # half floats of hloc; half a pixel where a tool minds no convention


def described_map(
    scene_map: SceneMap, images: Sequence[ColmapImage], point_ids: Array, source: str | Path
) -> Generator[Progress, None, tuple[SceneMap, tuple[str, ...]]]:
    """Put the descriptors of a file of features to the observations of a map made of ``images``, by index of keypoint.

    Yields Progress, returns the map and sentences on what is missing. Raises SceneError where the file has none of the
    images, or keypoints that are not those of the model.
    """
    images = sorted(images, key=lambda image: image.name)
    observations, (_, keypoint) = scene_map.observations, observations_of(images, point_ids)
    with open_features(source) as reader:
        have = [image.name in reader for image in images]
        if not any(have):
            raise SceneError(f"{source}: has features of none of the {len(images)} images of the model")
        rows = np.split(np.argsort(observations.image, kind="stable"), _ends(observations.image, len(images)))
        descriptors = None
        for i, image in enumerate(images):
            yield Progress(f"Descriptors of {image.name}", i / len(images))
            if have[i]:
                own = _of_image(reader, image)
                descriptors = np.zeros((len(keypoint), own.shape[1]), own.dtype) if descriptors is None else descriptors
                _require_alike(descriptors, own, image.name, source)
                descriptors[rows[i]] = own[keypoint[rows[i]]]
        extractor = reader.extractor
    missing = [image.name for image, there in zip(images, have) if not there]
    notes = (
        (f"{source}: has no features of {len(missing)} of {len(images)} images (the first: {missing[0]}).",) if missing else ()
    )
    return replace(scene_map, observations=replace(observations, descriptors=descriptors), extractor=extractor), notes


def _ends(image: Array, num_images: int) -> Array:
    return np.cumsum(np.bincount(image, minlength=num_images))[:-1]


def _of_image(reader: FeatureReader, image: ColmapImage) -> Array:
    """The descriptors (N, D) of all keypoints of an image of the model: u8 as they are, others of unit length."""
    keypoints, descriptors = reader.keypoints(image.name), reader.descriptors(image.name)
    count = len(image.points2D)
    if len(keypoints) != count or len(descriptors) != count:
        raise SceneError(
            f"{reader.path}: {image.name!r} has {len(keypoints)} keypoints and {len(descriptors)} descriptors there, "
            f"but {count} keypoints in the model, so they do not belong together"
        )
    apart = np.abs(keypoints[:, :2].astype(np.float64) - image.points2D).max(initial=0)
    if apart > _TOLERANCE_PX:
        raise SceneError(
            f"{reader.path}: a keypoint of {image.name!r} lies {apart:.1f} px from the model's, so they do not belong together"
        )
    return descriptors if descriptors.dtype == np.uint8 else unit_descriptors(descriptors).astype(descriptors.dtype)


def _require_alike(descriptors: Array, own: Array, name: str, source: str | Path) -> None:
    if descriptors.shape[1] != own.shape[1] or descriptors.dtype != own.dtype:
        raise SceneError(
            f"{source}: descriptors of {name!r} are {own.dtype} of {own.shape[1]} numbers, "
            f"others {descriptors.dtype} of {descriptors.shape[1]}"
        )
