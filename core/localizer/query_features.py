"""What a query is matched by: features that came with it, or ones found in its pixels as the map's were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Camera
from core.localizer.features import FeatureConfig, extract_features, extractor_id
from core.records import Features, ImageData, SceneMap
from core.scene.colmap_database import COLMAP_SIFT
from core.scene.feature_files import read_features

_LEAST_COSINE = 0.01  # rays further than 89.4 degrees from the axis leave the plane that poses are searched in


def extractor_for(query: ImageData, scene_map: SceneMap, config: FeatureConfig) -> str:
    """Name what the query's features will be of: those that it came with, else COLMAP's where the map's are, else ours."""
    if query.features is not None:
        return query.features.extractor
    return COLMAP_SIFT if scene_map.extractor == COLMAP_SIFT else extractor_id(config)


def query_features(query: ImageData, scene_map: SceneMap, config: FeatureConfig, image: Callable[[], Array]) -> Features:
    """The query's features, those left out that its camera has no ray for; ``image`` gives RGB (H, W, 3) u8 if needed.

    Raises InputError where a file of features, or the image, cannot be used.
    """
    if query.features is not None:
        features = read_features(query.features)
        _require_inside(features, query)
    elif scene_map.extractor == COLMAP_SIFT:
        from core.localizer.colmap_sift import extract_colmap_sift

        features = extract_colmap_sift(image(), config)
    else:
        features = extract_features(image(), config)
    return features if query.camera is None else with_rays(features, query.camera)


def with_rays(features: Features, camera: Camera) -> Features:
    """The features whose pixel the camera sees along a ray before it: behind the lens there is nothing to match."""
    if not camera.has_distortion or not len(features):
        return features
    rays = camera.bearings(features.keypoints)
    keep = rays[:, 2] > _LEAST_COSINE  # False for NaN
    if keep.all():
        return features
    names = ("keypoints", "scales", "orientations_rad", "descriptors")
    return replace(features, **{name: getattr(features, name)[keep] for name in names})


def _require_inside(features: Features, query: ImageData) -> None:
    camera = query.camera
    if camera is None or not len(features):
        return
    farthest = features.keypoints.max(axis=0)
    if not np.isfinite(farthest).all() or (farthest > [camera.width + 1, camera.height + 1]).any():
        raise SceneError(
            f"{query.features.path}: keypoints of {query.name!r} reach to {farthest[0]:.0f}, {farthest[1]:.0f} px, "
            f"but its camera is for {camera.width} x {camera.height}"
        )
