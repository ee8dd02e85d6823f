"""COLMAP's part of map building: the database, triangulation with known poses, incremental mapping without."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.records import Progress
from core.scene.colmap import ColmapModel, points2D_to_colmap, read_model, to_pycolmap_camera, to_pycolmap_pose

_POLL_S = 0.2
_SNAPSHOTS = 25  # in which the points of a growing map are counted


@dataclass(frozen=True, slots=True)
class MapProgress(Progress):
    """Progress of a map: how many images have their place in it and how many points it has; None: not known yet."""

    num_placed: int | None = None
    num_points: int | None = None


def quiet_colmap() -> None:
    """Keep COLMAP's log to what ends the process; what fails otherwise is told by InputError."""
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    pycolmap.logging.stderrthreshold = pycolmap.logging.FATAL.value


class MatchDatabase:
    """A COLMAP database of images (ids from 1 in the order given), keypoints and verified matches."""

    def __init__(self, path: Path, names: Sequence[str], cameras: Sequence[Camera], share_camera: bool) -> None:
        self.path = path
        self.database = pycolmap.Database.open(str(path))
        self.camera_ids = _camera_ids(cameras, share_camera)
        written: set[int] = set()
        for name, camera, camera_id in zip(names, cameras, self.camera_ids, strict=True):
            if camera_id not in written:
                self._write_camera(to_pycolmap_camera(camera, camera_id))
                written.add(camera_id)
            self._write_image(name, camera_id)

    def _write_camera(self, camera: Any) -> None:
        self.database.write_camera(camera, use_camera_id=True)
        rig = pycolmap.Rig(rig_id=camera.camera_id)
        rig.add_ref_sensor(camera.sensor_id)
        self.database.write_rig(rig, use_rig_id=True)

    def _write_image(self, name: str, camera_id: int) -> None:
        image_id = self.database.write_image(pycolmap.Image(name=name, camera_id=camera_id))
        frame = pycolmap.Frame(frame_id=image_id, rig_id=camera_id)
        frame.add_data_id(pycolmap.data_t(pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera_id), image_id))
        self.database.write_frame(frame, use_frame_id=True)

    def write_keypoints(self, index: int, keypoints: Array) -> None:
        self.database.write_keypoints(index + 1, points2D_to_colmap(keypoints).astype(np.float32))

    def write_verified(self, pair: tuple[int, int], geometry: Any) -> None:
        self.database.write_matches(pair[0] + 1, pair[1] + 1, geometry.inlier_matches)
        self.database.write_two_view_geometry(pair[0] + 1, pair[1] + 1, geometry)

    def close(self) -> None:
        self.database.close()


def _camera_ids(cameras: Sequence[Camera], share: bool) -> list[int]:
    """Number equal cameras alike; unless shared, every image keeps one of its own."""
    if not share:
        return list(range(1, len(cameras) + 1))
    ids: dict[tuple[object, ...], int] = {}
    keys = [(c.model, c.width, c.height, *c.params.tolist()) for c in cameras]
    return [ids.setdefault(key, len(ids) + 1) for key in keys]


def known_geometry(matches: Array) -> Any:
    """Matches (K, 2) that agree with known poses, as COLMAP's verified pair."""
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.inlier_matches = matches.astype(np.uint32)
    return geometry


def verified_geometry(cameras: tuple[Camera, Camera], keypoints: tuple[Array, Array], matches: Array, seed: int) -> Any | None:
    """Estimate the two-view geometry of matches (K, 2) by RANSAC; None when the pair is not of one scene."""
    options = pycolmap.TwoViewGeometryOptions(compute_relative_pose=False)
    options.ransac.random_seed = seed
    ends = [(to_pycolmap_camera(camera, 1), points2D_to_colmap(points)) for camera, points in zip(cameras, keypoints)]
    geometry = pycolmap.estimate_two_view_geometry(*ends[0], *ends[1], matches.astype(np.uint32), options)
    config = pycolmap.TwoViewGeometryConfiguration
    usable = geometry.config not in (config.UNDEFINED, config.DEGENERATE, config.WATERMARK)
    return geometry if usable and len(geometry.inlier_matches) >= options.min_num_inliers else None


def _options(seed: int) -> Any:
    options = pycolmap.IncrementalPipelineOptions(random_seed=seed, extract_colors=False, min_model_size=2)
    options.mapper.random_seed = options.triangulation.random_seed = seed
    return options


def triangulation_options(seed: int, min_track_length: int) -> Any:
    """COLMAP's options for known poses; tracks of two images count when the shortest allowed track is that short."""
    options = _options(seed)
    options.triangulation.ignore_two_view_tracks = min_track_length > 2
    return options


def triangulate(
    database: MatchDatabase, poses: Sequence[Rigid3d], folder: Path, options: Any, refine_intrinsics: bool
) -> Generator[Progress, None, ColmapModel]:
    """Triangulate the matches with the poses as they are; image id = index + 1."""
    reconstruction = _posed(database, poses)
    folder.mkdir()

    def run(token: Any) -> object:
        paths = (str(database.path), str(folder), str(folder))
        return pycolmap.triangulate_points(
            reconstruction, *paths, True, options, refine_intrinsics=refine_intrinsics, cancellation_token=token
        )

    yield from _watched(run, lambda: Progress("Triangulating points", 0.9))
    return read_model(folder)


def _posed(database: MatchDatabase, poses: Sequence[Rigid3d]) -> Any:
    reconstruction = pycolmap.Reconstruction()
    for camera in database.database.read_all_cameras():
        reconstruction.add_camera_with_trivial_rig(camera)
    for image, pose in zip(database.database.read_all_images(), poses, strict=True):
        entry = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
        reconstruction.add_image_with_trivial_frame(entry, to_pycolmap_pose(pose))
    return reconstruction


def map_incrementally(
    database: MatchDatabase, num_images: int, folder: Path, seed: int
) -> Generator[Progress, None, ColmapModel]:
    """Find poses and points together; return the model with the most images (image id = index + 1).

    Raises InputError when no two images can be put together.
    """
    folder.mkdir()
    snapshots = folder.with_name(f"{folder.name}-snapshots")
    snapshots.mkdir()
    options = _options(seed)
    options.snapshot_path, options.snapshot_frames_freq = str(snapshots), 1 + num_images // _SNAPSHOTS
    registered = [0]

    def count() -> None:
        registered[0] += 1

    def run(token: Any) -> dict[int, Any]:
        paths = (str(database.path), str(folder), str(folder))
        callbacks = {"initial_image_pair_callback": count, "next_image_callback": count}
        return pycolmap.incremental_mapping(*paths, options, cancellation_token=token, **callbacks)

    def progress() -> Progress:
        placed = registered[0] + 1 if registered[0] else 0  # the first callback tells of two images
        fraction = 0.6 + 0.35 * min(1.0, placed / num_images)
        return MapProgress(f"Placing images, {placed} so far", fraction, placed, _points_in_newest(snapshots))

    models = yield from _watched(run, progress)
    if not models:
        raise InputError(f"none of the {num_images} images could be placed: too few matches, or all from one place")
    best = max(models, key=lambda key: (models[key].num_reg_images(), models[key].num_points3D()))
    return read_model(folder / str(best))


def _points_in_newest(snapshots: Path) -> int | None:
    """The number of points of the newest snapshot of a model, which is the first number in its file; None without one."""
    for file in sorted(snapshots.glob("*/points3D.bin"), reverse=True):
        with file.open("rb") as stream:
            head = stream.read(8)
        if len(head) == 8:
            return int.from_bytes(head, "little")
    return None


def _watched(run: Callable[[Any], Any], progress: Callable[[], Progress]) -> Generator[Progress, None, Any]:
    """Run a long native call in a thread of its own, yield meanwhile, and stop it when the generator is closed."""
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, token)
        try:
            yield progress()
            while not wait([future], timeout=_POLL_S).done:
                yield progress()
        finally:
            if not future.done():
                token.cancel()
    return future.result()
