"""What a localization or a map says of single pixels, as tables for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from core.errors import InputError
from core.geometry import Array
from core.images import write_atomic
from core.records import Correspondences, LabelMap, Localization, Progress, SceneMap
from core.scene.correspondences import (
    FOLDER,
    POSITIONS_FOLDER,
    reference_positions,
    write_correspondences,
    write_reference_positions,
)
from core.scene.folders import require_empty, whole_folder

MATCH_COLUMNS = (
    "x", "y", "point", "point_x", "point_y", "point_z", "score", "reference", "reference_x", "reference_y",
    "query_label", "point_label", "kept", "inlier", "reprojection_error_px",
)  # fmt: skip


def write_matches_csv(
    path: str | Path, localization: Localization, scene_map: SceneMap, labels: LabelMap | None = None
) -> None:
    """Write one line a match of a query, in ``MATCH_COLUMNS``: px with the top-left pixel's centre at 0, 0; m in the world.

    ``labels`` of the query and the map's own fill their columns where they are of one vocabulary; unknown cells are empty.
    """
    columns = _match_columns(localization, scene_map, labels)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MATCH_COLUMNS)
    writer.writerows(zip(*(columns[name] for name in MATCH_COLUMNS), strict=True))
    write_atomic(Path(path), lambda file: Path(file).write_text(text.getvalue(), encoding="utf-8", newline=""))


def _match_columns(localization: Localization, scene_map: SceneMap, labels: LabelMap | None) -> dict[str, list]:
    matches, result, consistency = localization.matches, localization.result, localization.consistency
    of_points, empty = scene_map.labels, [""] * len(matches)
    compared = labels is not None and of_points is not None and of_points.vocabulary == labels.vocabulary
    columns = dict(zip(("x", "y"), _numbers(matches.points2D)))
    columns |= dict(zip(("reference_x", "reference_y"), _numbers(matches.points2D_ref)))
    columns |= dict(zip(("point_x", "point_y", "point_z"), _numbers(scene_map.points3D[matches.point_ids])))
    return columns | {
        "point": matches.point_ids.tolist(),
        "score": matches.scores.tolist(),
        "reference": [scene_map.images[k].name if k >= 0 else "" for k in matches.reference_image],
        "query_label": labels.at(matches.points2D).tolist() if labels is not None else empty,
        "point_label": of_points.labels[matches.point_ids].tolist() if compared else empty,
        "kept": [1] * len(matches) if consistency is None else consistency.keep.astype(int).tolist(),
        "inlier": result.inlier_mask.astype(int).tolist(),
        "reprojection_error_px": ["" if np.isnan(error) else error for error in result.reproj_errors_px.tolist()],
    }


def _numbers(points: Array) -> list[list[float]]:
    return points.T.tolist()


def write_pairs(
    folder: str | Path, pairs: Iterable[tuple[str, str, Correspondences]], total: int
) -> Generator[Progress, None, int]:
    """Write correspondences of image pairs as the paper's data sets have them (PAPER 2.1); return how many files.

    ``pairs``: names of the reference and of the other image, relative to the folder of images, and what corresponds;
    pairs without a correspondence are left out. Beside the files the reference images' feature positions.
    """
    require_empty(folder)
    folder, count = Path(folder), 0
    with whole_folder(folder) as temporary:
        files = []
        for number, (reference, other, correspondences) in enumerate(pairs):
            yield Progress(f"{reference} and {other}", number / max(1, total))
            if len(correspondences.weights):
                files.append(temporary / FOLDER / f"{_flat(reference)}_{_flat(other)}.mat")
                if files[-1].exists():
                    raise InputError(f"{folder}: two pairs would be called {files[-1].name}; rename one of the images")
                write_correspondences(files[-1], reference, other, correspondences)
        count = len(files)
        if files:
            write_reference_positions(temporary / POSITIONS_FOLDER, reference_positions(files))
    return count


def _flat(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).replace("/", "_")
