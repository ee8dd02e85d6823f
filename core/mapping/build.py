"""Build a map from images: RootSIFT, matches, COLMAP's triangulation or incremental mapping, descriptors per point."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.geometry import Array, Camera
from core.images import read_image
from core.localizer.features import FeatureConfig, dequantize_descriptors, extract_features, quantize_descriptors
from core.mapping.inputs import fit_camera, images_with_poses, poses_known
from core.mapping.labels import Segments, segment_points
from core.mapping.pairs import all_pairs, mutual_matches, near_epipolar_lines, near_pairs, similar_pairs
from core.mapping.reconstruct import (
    MapProgress,
    MatchDatabase,
    known_geometry,
    map_incrementally,
    quiet_colmap,
    triangulate,
    triangulation_options,
    verified_geometry,
)
from core.mapping.visibility import point_visibility
from core.records import ImageData, Observations, Progress, SceneMap, setting
from core.scene.colmap import ColmapModel, observations_of
from core.scene.folders import check_writable
from core.scene.map_file import save_map
from core.steps import scaled


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    max_keypoints: int = setting(4096, minimum=100, maximum=100_000, help="keypoints an image, strongest first")
    max_image_side: int = setting(1600, unit="px", minimum=64, maximum=20_000, help="larger images are shrunk to this side")
    ratio: float = setting(0.8, minimum=0.1, maximum=1.0, help="nearest over second nearest descriptor distance")
    epipolar_error_px: float = setting(
        2.0, unit="px", minimum=0.1, maximum=100.0, help="how far from the epipolar line to match, where poses are known"
    )
    neighbors: int = setting(8, minimum=1, maximum=1000, help="images that each image is matched to, where not all are")
    exhaustive_up_to: int = setting(60, minimum=2, maximum=10_000, help="match all pairs of up to this many unposed images")
    min_matches: int = setting(15, minimum=4, maximum=10_000, help="pairs with fewer matches are left out")
    min_track_length: int = setting(3, minimum=2, maximum=100, help="points seen in fewer images are left out")


@dataclass(frozen=True, slots=True, eq=False)
class _Extracted:
    """What is kept of an image: keypoints (N, 2) f32 px, quantised descriptors (N, 128) u8, colours (N, 3) u8."""

    camera: Camera
    keypoints: Array
    descriptors: Array
    colors: Array
    extractor: str


def build_map(
    images: str | Path | Sequence[ImageData],
    out: str | Path,
    poses: str | Path | None = None,
    config: MapConfig = MapConfig(),
    seed: int = 0,
    segmenter: Segments | None = None,
) -> Generator[Progress, None, SceneMap]:
    """Build a map of a folder of images, or of a list, and save it in ``out``; return it, labelled if ``segmenter`` is given.

    ``poses`` (with a folder): a COLMAP model folder or a list ``name qw qx qy qz tx ty tz``. Images of a list with
    ``cam_from_world`` keep it; without, poses are estimated, in an arbitrary frame and scale, and cameras refined.
    Nothing is left in ``out`` when the generator is closed before its end. Raises InputError.
    """
    check_writable(out)
    listed = images_with_poses(images, poses) if isinstance(images, (str, Path)) else list(images)
    scene_map = yield from scaled(build_scene_map(listed, config, seed), 0.0, 0.9 if segmenter is None else 0.6)
    counts = len(scene_map.images), len(scene_map.points3D)
    yield MapProgress("Built the map", 0.9 if segmenter is None else 0.6, *counts)
    if segmenter is not None:
        labels = yield from scaled(segment_points(scene_map, segmenter), 0.6, 0.9)
        scene_map = replace(scene_map, labels=labels)
    yield MapProgress("Writing the map", 0.95, *counts)
    save_map(out, scene_map)
    return scene_map


def build_scene_map(
    images: Sequence[ImageData], config: MapConfig = MapConfig(), seed: int = 0
) -> Generator[Progress, None, SceneMap]:
    """Build as ``build_map`` without saving; images that could not be placed are left out of the map."""
    known = poses_known(images)
    quiet_colmap()
    extracted = yield from _extract(images, config)
    guessed = any(image.camera is None for image in images)
    with tempfile.TemporaryDirectory(prefix="fgsn-map-") as folder:
        names = [image.name for image in images]
        database = MatchDatabase(Path(folder) / "database.db", names, [e.camera for e in extracted], share_camera=True)
        try:
            yield from _match(images if known else None, extracted, database, config, seed)
            if known:
                poses = [image.cam_from_world for image in images]
                options = triangulation_options(seed, config.min_track_length)
                model = yield from triangulate(database, poses, Path(folder) / "model", options, refine_intrinsics=guessed)
            else:
                model = yield from map_incrementally(database, len(images), Path(folder) / "model", seed)
        finally:
            database.close()
    scene_map = _scene_map(images, extracted, model, config.min_track_length)
    if not len(scene_map.points3D):
        raise InputError(f"no point could be triangulated from {len(images)} images; are the poses and cameras right?")
    return replace(scene_map, visibility=point_visibility(scene_map))


def _extract(images: Sequence[ImageData], config: MapConfig) -> Generator[Progress, None, list[_Extracted]]:
    features_config = FeatureConfig(max_keypoints=config.max_keypoints, max_image_side=config.max_image_side)
    extracted = []
    for i, image in enumerate(images):
        yield Progress(f"Features of {image.name}", 0.3 * i / len(images))
        pixels = read_image(image.path)
        features = extract_features(pixels, features_config)
        x, y = (np.clip(np.rint(features.keypoints[:, k]).astype(int), 0, pixels.shape[1 - k] - 1) for k in (0, 1))
        descriptors = quantize_descriptors(features.descriptors)
        camera = fit_camera(image, pixels)
        extracted.append(_Extracted(camera, features.keypoints, descriptors, pixels[y, x], features.extractor))
    return extracted


def _match(
    posed: Sequence[ImageData] | None,
    extracted: list[_Extracted],
    database: MatchDatabase,
    config: MapConfig,
    seed: int,
) -> Generator[Progress, None, None]:
    """Fill the database with keypoints and verified matches. Raises InputError when no pair matches."""
    for i, image in enumerate(extracted):
        database.write_keypoints(i, image.keypoints)
    descriptors = [dequantize_descriptors(image.descriptors) for image in extracted]
    pairs = _pairs(posed, descriptors, config)
    num_verified = 0
    for k, (i, j) in enumerate(pairs):
        yield Progress(f"Matching, pair {k + 1} of {len(pairs)}", 0.3 + 0.3 * k / len(pairs))
        a, b = extracted[i], extracted[j]
        allowed = None if posed is None else _possible(posed[i], posed[j], a, b, config.epipolar_error_px)
        matches = mutual_matches(descriptors[i], descriptors[j], config.ratio, allowed)
        if len(matches) < config.min_matches:
            continue
        if posed is not None:
            geometry = known_geometry(matches)
        else:
            geometry = verified_geometry((a.camera, b.camera), (a.keypoints, b.keypoints), matches, seed)
        if geometry is not None:
            database.write_verified((i, j), geometry)
            num_verified += 1
    if not num_verified:
        wanted = "photographs that overlap" + (", and poses that belong to them" if posed is not None else "")
        raise InputError(f"no two of the {len(extracted)} images match; expected {wanted}")


def _pairs(posed: Sequence[ImageData] | None, descriptors: list[Array], config: MapConfig) -> list[tuple[int, int]]:
    if posed is not None:
        return near_pairs([image.cam_from_world for image in posed], config.neighbors)
    if len(descriptors) <= config.exhaustive_up_to:
        return all_pairs(len(descriptors))
    return similar_pairs(descriptors, config.neighbors)


def _possible(image_a: ImageData, image_b: ImageData, a: _Extracted, b: _Extracted, limit_px: float) -> Array:
    """Which keypoints (N, M) bool of two images with known poses can be of one point."""
    b_from_a = image_b.cam_from_world @ image_a.cam_from_world.inverse()
    bearings = [e.camera.bearings(e.keypoints) for e in (a, b)]
    return near_epipolar_lines(*bearings, b_from_a, a.camera, b.camera, limit_px)


def _scene_map(images: Sequence[ImageData], extracted: list[_Extracted], model: ColmapModel, min_track: int) -> SceneMap:
    """Put the model, whose image ids are index + 1, together with descriptors and colours."""
    ids = sorted(model.images, key=lambda image_id: images[image_id - 1].name)
    observations, keypoint = observations_of([model.images[i] for i in ids], model.point_ids)
    posed = tuple(
        replace(images[i - 1], camera=model.cameras[model.images[i].camera_id], cam_from_world=model.images[i].cam_from_world)
        for i in ids
    )
    sources = [extracted[i - 1] for i in ids]
    gathered = [np.zeros((len(keypoint), *getattr(sources[0], f).shape[1:]), d) for f, d in _GATHERED]
    for k, source in enumerate(sources):
        rows = np.flatnonzero(observations.image == k)
        for target, (field, _) in zip(gathered, _GATHERED):
            target[rows] = getattr(source, field)[keypoint[rows]]
    points2D, descriptors, colors = gathered
    counts = np.bincount(observations.point, minlength=len(model.point_ids))
    sums = [np.bincount(observations.point, colors[:, c].astype(float), minlength=len(counts)) for c in range(3)]
    scene_map = SceneMap(
        points3D=model.points3D,
        rgb=np.rint(np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]),
        images=posed,
        observations=Observations(observations.point, observations.image, points2D, descriptors),
        extractor=sources[0].extractor,
    )
    return select_points(scene_map, counts >= min_track)


_GATHERED = (("keypoints", np.float32), ("descriptors", np.uint8), ("colors", np.uint8))


def select_points(scene_map: SceneMap, keep: Array) -> SceneMap:
    """The map with only the points where ``keep`` (P,) bool; visibility and labels are dropped, being of other points."""
    if keep.all():
        return scene_map
    observations = scene_map.observations
    rows = keep[observations.point]
    descriptors = observations.descriptors
    return replace(
        scene_map,
        points3D=scene_map.points3D[keep],
        rgb=scene_map.rgb[keep],
        observations=Observations(
            point=(np.cumsum(keep) - 1)[observations.point[rows]],
            image=observations.image[rows],
            points2D=observations.points2D[rows],
            descriptors=None if descriptors is None else descriptors[rows],
        ),
        visibility=None,
        labels=None,
    )
