"""What hloc says of its own localization: ``RESULTS.txt_logs.pkl``, in the forms of its old and new versions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.geometry import Array, Camera, Rigid3d
from core.records import Progress
from core.scene.colmap import camera_from_colmap, points2D_from_colmap, pose_from_colmap
from core.scene.colmap_binary import MODEL_NAMES
from core.scene.image_names import inside
from core.scene.plain_pickle import read_plain_pickle

LOGS_SUFFIX = "_logs.pkl"


@dataclass(frozen=True, slots=True, eq=False)
class HlocLog:
    """One query: its camera, hloc's pose (None where it found none), matches (M, 2) f64 ours px and COLMAP point ids (M,).

    ``inliers`` (M,) bool or None; ``map_image_ids`` of COLMAP are what retrieval gave.
    """

    camera: Camera | None
    cam_from_world: Rigid3d | None
    points2D: Array
    point_ids: Array
    inliers: Array | None
    num_matches: int
    map_image_ids: tuple[int, ...]


def read_logs(path: str | Path) -> Generator[Progress, None, dict[str, HlocLog]]:
    """Read the log of every query by its image name; yields Progress. Nothing is unpickled. Raises SceneError."""
    path = Path(path)
    content = yield from read_plain_pickle(path)
    queries = content.get("loc") if isinstance(content, dict) else None
    if not isinstance(queries, dict):
        raise SceneError(f"{path}: holds no queries under 'loc', expected the logs of hloc")
    logs = {}
    for name, entry in queries.items():
        try:
            logs[inside(name)] = _log(entry, f"{path}: {name}")
        except SceneError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise SceneError(f"{path}: the log of {name!r} is of no form that is known ({error})") from error
    return logs


def _log(entry: dict[str, Any], where: str) -> HlocLog:
    clusters = entry.get("log_clusters")
    retrieved = tuple(int(i) for i in entry.get("db", entry.get("db_ids", ())))
    if clusters is not None:
        best = entry.get("best_cluster")
        entry = {} if best is None else clusters[int(best)]
    found = entry.get("PnP_ret") or {}
    points2D = np.asarray(entry.get("keypoints_query", np.zeros((0, 2))), np.float64).reshape(-1, 2)
    point_ids = np.asarray(entry.get("points3D_ids", ()), np.int64).reshape(-1)
    mask = found.get("inlier_mask", found.get("inliers"))
    inliers = None if mask is None else np.asarray(mask, bool).reshape(-1)
    if len(point_ids) != len(points2D) or (inliers is not None and len(inliers) != len(points2D)):
        raise SceneError(f"{where}: {len(points2D)} keypoints, but {len(point_ids)} points; expected as many")
    pixels = points2D_from_colmap(points2D)
    num_matches = int(entry.get("num_matches", len(points2D)))
    return HlocLog(_camera(found, where), _pose(found, where), pixels, point_ids, inliers, num_matches, retrieved)


def _pose(found: dict[str, Any], where: str) -> Rigid3d | None:
    new = found.get("cam_from_world")
    if isinstance(new, dict):
        rotation = np.asarray(new["rotation"]["quat"], np.float64)[[3, 0, 1, 2]]  # COLMAP's quat is x y z w
        return pose_from_colmap([*rotation, *new["translation"]], where)
    if found.get("success") and "qvec" in found:
        return pose_from_colmap([*found["qvec"], *found["tvec"]], where)
    return None


def _camera(found: dict[str, Any], where: str) -> Camera | None:
    given = found.get("camera") or found.get("cfg")
    if not isinstance(given, dict):
        return None
    model = given["model"]
    name = model if isinstance(model, str) else MODEL_NAMES.get(model, str(model))
    return camera_from_colmap(name, given["width"], given["height"], given["params"], where)
