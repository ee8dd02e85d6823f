"""Write a complete scene of a world: images, true poses, a map, correspondences; every other command opens it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from resources import DEFAULT_WEIGHTS

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.images import write_image
from core.mapping.build import MapConfig, build_scene_map, select_points
from core.mapping.labels import Segments, segment_points
from core.mapping.visibility import point_visibility
from core.records import ImageData, PointLabels, Progress, Scene, SceneMap
from core.scene.correspondences import (
    FOLDER,
    POSITIONS_FOLDER,
    reference_positions,
    write_correspondences,
    write_reference_positions,
)
from core.scene.folders import check_writable, whole_folder
from core.scene.list_files import write_poses, write_queries
from core.scene.map_file import save_map
from core.scene.scene import open_scene
from core.scene.scene_table import SCENE_FILE, SCENE_FORMAT, SCENE_VERSION
from core.steps import scaled
from core.world.conditions import CONDITIONS
from core.world.geometry import KINDS, World, build_world
from core.world.render import Renderer, Rendering
from core.world.traversal import correspondences, plan_drive, plan_traversal

REFERENCE_CONDITION = "overcast"
GRAVITY = (0.0, 0.0, -1.0)
_FOCAL_PER_WIDTH = 0.8
_REFERENCES_PER_QUERY = 2
_MAX_PAIR_DISTANCE_M = 12.0
_DEPTH_TOLERANCE = 0.02
_MAP_CONFIG = MapConfig(min_track_length=2)  # the true depth tells the wrong ones of the points seen twice
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """An image to render."""

    name: str
    cam_from_world: Rigid3d
    condition: str
    traversal_seed: int
    is_query: bool
    camera_yaw_deg: float = 0.0


def write_scene(
    kind: str,
    seed: int,
    conditions: Sequence[str],
    num_reference: int,
    num_queries: int,
    size: tuple[int, int],
    out: str | Path,
    segmenter: Segments | None = None,
    *,
    name: str = "",
    weights: str = DEFAULT_WEIGHTS,
    pairs: bool = True,
    truth: bool = False,
    spacing_m: float = 2.0,
    query_lateral_m: float = 0.4,
    query_yaw_deg: float = 7.0,
    query_spacing_m: float | None = None,
    start_query: str = "",
    map_ratio: float = _MAP_CONFIG.ratio,
    camera_yaws_deg: Sequence[float] = (0.0,),
) -> Generator[Progress, None, Scene]:
    """Render a world and write a scene to ``out``, which must not hold anything yet; return it opened.

    One reference drive in overcast and, for each of ``conditions``, one drive of ``num_queries`` queries near it;
    ``size`` is width, height in px. The map is triangulated with the true poses and checked against the true depth;
    with a ``segmenter`` its points are labelled. ``pairs`` adds correspondence files (PAPER 2.1), ``truth`` depth (u16
    PNG, cm, 0 where there is none) and classes (u8 PNG). Reference images follow each other at ``spacing_m`` at most;
    queries stand beside their lane and turn by the standard deviations ``query_lateral_m``, ``query_yaw_deg``: spread over
    the street, each by its own, or, with ``query_spacing_m``, as consecutive frames so far apart, each drive by its own.
    ``start_query`` names the image that the window shows first. ``map_ratio`` is MapConfig.ratio: a laxer one gives a
    denser map, whose wrong points the true depth tells. ``camera_yaws_deg``: the vehicle's cameras, and how far each is turned
    to the left; of several all take every image, which is named after its camera (``snow/0000_c1.jpg``), as in CMU Seasons.
    The same arguments write the same images and map. Nothing is left when the generator is closed early.
    Raises InputError.
    """
    out = Path(out)
    _check(kind, conditions, num_reference, num_queries, size, camera_yaws_deg, out)
    yield Progress(f"Building the {kind} world {seed}", 0.0)
    world = build_world(kind, seed)
    camera = Camera.pinhole(*size, _FOCAL_PER_WIDTH * size[0])
    off_lane = {"lateral_m": query_lateral_m, "yaw_deg": query_yaw_deg}
    chosen = tuple(dict.fromkeys(conditions))
    shots = _shots(world, chosen, num_reference, num_queries, spacing_m, query_spacing_m, off_lane)
    shots = [taken for shot in shots for taken in _by_cameras(shot, camera_yaws_deg)]
    with whole_folder(out, last=SCENE_FILE) as folder:
        yield from _render_all(Renderer(world), shots, camera, folder, truth, seed if pairs else None)
        references = [shot for shot in shots if not shot.is_query]
        yield from _write_map(references, camera, folder, segmenter, map_ratio)
        queries = [shot for shot in shots if shot.is_query]
        write_queries(folder / "queries.txt", {shot.name: camera for shot in queries})
        write_poses(folder / "poses.txt", {shot.name: shot.cam_from_world for shot in shots})
        title = name or f"{kind.capitalize()} street {seed}"
        _write_scene_file(folder / SCENE_FILE, {"name": title, "kind": kind, "weights": weights, "start_query": start_query})
        for file in _depth_files(references, folder):
            file.unlink()
        (folder / _DEPTH).rmdir()
    return open_scene(out)


def _check(
    kind: str,
    conditions: Sequence[str],
    num_reference: int,
    num_queries: int,
    size: tuple[int, int],
    camera_yaws_deg: Sequence[float],
    out: Path,
) -> None:
    """Raise the InputError for what cannot be made, before any work."""
    if kind not in KINDS:
        raise InputError(f"world kind {kind!r} is not known; expected one of {', '.join(KINDS)}")
    unknown = [condition for condition in conditions if condition not in CONDITIONS]
    if unknown:
        raise InputError(f"condition {unknown[0]!r} is not known; expected some of {', '.join(CONDITIONS)}")
    if num_reference < 2 or num_queries < 0:
        raise InputError(f"got {num_reference} reference images and {num_queries} queries, expected at least 2 and 0")
    if min(size) < 64 or max(size) > 8192:
        raise InputError(f"image size is {size[0]} x {size[1]}, expected 64 to 8192 px a side")
    if not camera_yaws_deg or len(set(camera_yaws_deg)) < len(camera_yaws_deg):
        raise InputError(f"cameras turned by {list(camera_yaws_deg)} degrees, expected one or more, each by its own")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty, expected a new or an empty one")
    check_writable(out)


def _shots(
    world: World,
    conditions: Sequence[str],
    num_reference: int,
    num_queries: int,
    spacing_m: float,
    query_spacing_m: float | None,
    off_lane: dict[str, float],
) -> list[_Shot]:
    """The reference drive is traversal 0, along the middle of the street; each condition's queries are one beside it."""
    drive_m = world.drive[1] - world.drive[0]
    spacing_m = min(spacing_m, drive_m / num_reference)
    covered_m = spacing_m * (num_reference - 1)
    start_m = world.drive[0] + (drive_m - covered_m) / 2
    poses = plan_traversal(world, num_reference, seed=0, spacing_m=spacing_m, start_m=start_m)
    shots = [_Shot(f"{REFERENCE_CONDITION}/{k:04d}.jpg", pose, REFERENCE_CONDITION, 0, False) for k, pose in enumerate(poses)]
    for condition in conditions if num_queries else ():
        drive = 1 + CONDITIONS.index(condition)
        if query_spacing_m is None:
            step_m = covered_m / num_queries
            poses = plan_traversal(world, num_queries, drive, spacing_m=step_m, start_m=start_m + step_m / 2, **off_lane)
        else:
            along = (start_m, start_m + covered_m)
            poses = plan_drive(world, num_queries, drive, spacing_m=query_spacing_m, between_m=along, **off_lane)
        first = num_reference if condition == REFERENCE_CONDITION else 0
        shots += [_Shot(f"{condition}/{first + k:04d}.jpg", pose, condition, drive, True) for k, pose in enumerate(poses)]
    return shots


def _by_cameras(shot: _Shot, yaws_deg: Sequence[float]) -> list[_Shot]:
    """What each camera of the vehicle takes where one that looks ahead would take ``shot``."""
    taken = []
    for number, yaw_deg in enumerate(yaws_deg):
        name = shot.name.replace(".jpg", f"_c{number}.jpg") if len(yaws_deg) > 1 else shot.name
        taken.append(replace(shot, name=name, cam_from_world=_turned(shot.cam_from_world, yaw_deg), camera_yaw_deg=yaw_deg))
    return taken


def _turned(pose: Rigid3d, left_deg: float) -> Rigid3d:
    """A camera turned to the left where it stands, around its own vertical axis."""
    if left_deg == 0:
        return pose
    c, s = np.cos(np.radians(left_deg)), np.sin(np.radians(left_deg))
    return Rigid3d.from_rotation([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.zeros(3)) @ pose


_DEPTH = ".depth"  # what the references' renderings hold besides colour, while the scene is written


def _depth_files(references: Sequence[_Shot], folder: Path) -> Iterator[Path]:
    for shot in references:
        yield folder / _DEPTH / f"{Path(shot.name).stem}.npz"


def _render_all(
    renderer: Renderer, shots: Sequence[_Shot], camera: Camera, folder: Path, truth: bool, pair_seed: int | None
) -> Generator[Progress, None, None]:
    """Render and write every image; references come first, so that each query finds those it pairs with."""
    (folder / _DEPTH).mkdir()
    references = [shot for shot in shots if not shot.is_query]
    files = dict(zip((shot.name for shot in references), _depth_files(references, folder)))
    written: list[Path] = []
    views = [(shot.cam_from_world, camera, shot.condition, shot.traversal_seed) for shot in shots]
    for k, (shot, rendering) in enumerate(zip(shots, renderer.render_many(views))):
        yield Progress(f"Rendered {shot.name}", 0.02 + 0.68 * k / len(shots))
        write_image(folder / "images" / shot.name, rendering.rgb, quality=_JPEG_QUALITY)
        if truth:
            _write_truth(folder / "truth", shot.name, rendering)
        if not shot.is_query:
            np.savez(files[shot.name], depth=rendering.depth, static=rendering.static, classes=rendering.classes)
        elif pair_seed is not None:
            written += _write_pairs(shot, rendering, references, files, folder / FOLDER, pair_seed + k)
    if written:
        write_reference_positions(folder / POSITIONS_FOLDER, reference_positions(written))


def _write_truth(folder: Path, name: str, rendering: Rendering) -> None:
    stem = Path(name).with_suffix(".png")
    centimetres = np.where(np.isfinite(rendering.depth), np.rint(rendering.depth * 100), 0)
    write_image(folder / "depth" / stem, np.clip(centimetres, 0, 65535).astype(np.uint16))
    write_image(folder / "classes" / stem, rendering.classes)


def _write_pairs(
    query: _Shot, rendering: Rendering, references: Sequence[_Shot], files: dict[str, Path], folder: Path, seed: int
) -> list[Path]:
    """Write the correspondences of a query with the references nearest to it of its own camera; return the files."""
    references = [shot for shot in references if shot.camera_yaw_deg == query.camera_yaw_deg]
    distance = [np.linalg.norm(shot.cam_from_world.center() - query.cam_from_world.center()) for shot in references]
    written = []
    for k in np.argsort(distance, kind="stable")[:_REFERENCES_PER_QUERY]:
        if distance[k] > _MAX_PAIR_DISTANCE_M:
            break
        reference = references[k]
        found = correspondences(_kept_rendering(reference, files[reference.name], rendering.camera), rendering, seed)
        if len(found.weights):
            path = folder / f"{_flat(reference.name)}_{_flat(query.name)}.mat"
            write_correspondences(path, reference.name, query.name, found)
            written.append(path)
    return written


def _flat(name: str) -> str:
    return str(Path(name).with_suffix("").as_posix()).replace("/", "_")


def _kept_rendering(shot: _Shot, file: Path, camera: Camera) -> Rendering:
    """The reference's rendering without its colours."""
    with np.load(file, allow_pickle=False) as kept:
        rgb = np.zeros((*kept["depth"].shape, 3), np.uint8)
        maps = {key: kept[key] for key in ("depth", "classes", "static")}
    return Rendering(rgb=rgb, camera=camera, cam_from_world=shot.cam_from_world, condition=shot.condition, **maps)


def _write_map(
    references: Sequence[_Shot], camera: Camera, folder: Path, segmenter: Segments | None, ratio: float
) -> Generator[Progress, None, None]:
    images = [
        ImageData(s.name, folder / "images" / s.name, s.condition, camera, s.cam_from_world)
        for s in references
    ]  # fmt: skip
    steps = build_scene_map(images, replace(_MAP_CONFIG, ratio=ratio))
    scene_map = yield from scaled(steps, 0.7, 0.9)
    depths = [_kept_depth(file) for file in _depth_files(references, folder)]
    scene_map = select_points(scene_map, agrees_with_depth(scene_map, depths))
    if not len(scene_map.points3D):
        raise InputError(
            f"no point of {len(references)} reference images agrees with the true depth; render more or larger ones"
        )
    labels = None
    if segmenter is not None:
        labels = yield from scaled(segment_points(scene_map, segmenter), 0.9, 0.99)
    yield Progress("Writing the map", 0.99)
    save_map(folder / "map", _completed(scene_map, labels))


def _completed(scene_map: SceneMap, labels: PointLabels | None) -> SceneMap:
    gravity = np.array(GRAVITY)
    return replace(scene_map, visibility=point_visibility(scene_map), labels=labels, gravity_in_world=gravity)


def _kept_depth(file: Path) -> Array:
    with np.load(file, allow_pickle=False) as kept:
        return kept["depth"]


def agrees_with_depth(scene_map: SceneMap, depths: Sequence[Array], tolerance: float = _DEPTH_TOLERANCE) -> Array:
    """Tell which points (P,) lie on the surface that most of their observations see.

    ``depths``: (H, W) m along z for every map image; the nearest of the 3 x 3 depths around the keypoint counts, and
    may differ by ``tolerance``, relative.
    """
    observations = scene_map.observations
    agrees = np.zeros(len(observations.point), bool)
    for k, (image, depth) in enumerate(zip(scene_map.images, depths, strict=True)):
        rows = np.flatnonzero(observations.image == k)
        z = image.cam_from_world.apply(scene_map.points3D[observations.point[rows]])[:, 2]
        x, y = np.rint(observations.points2D[rows]).astype(int).T
        around = [
            np.abs(depth[np.clip(y + j, 0, depth.shape[0] - 1), np.clip(x + i, 0, depth.shape[1] - 1)] - z)
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        agrees[rows] = np.min(around, axis=0) < tolerance * z
    share = np.bincount(observations.point, agrees, minlength=len(scene_map.points3D))
    return share > 0.5 * np.bincount(observations.point, minlength=len(scene_map.points3D))


def _write_scene_file(path: Path, own: dict[str, str]) -> None:
    entries = {
        "format": SCENE_FORMAT,
        "version": SCENE_VERSION,
        "images": "images",
        "map": "map",
        "reference_condition": REFERENCE_CONDITION,
        "queries": "queries.txt",
        "poses": "poses.txt",
        "gravity": list(GRAVITY),
        **{key: text for key, text in own.items() if text},
    }
    # JSON's text, numbers and lists are TOML's too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items()]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
