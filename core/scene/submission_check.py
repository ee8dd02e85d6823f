"""Whether a list of poses is what a benchmark takes, and whether it means what it should."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.geometry import Array, Rigid3d, rotation_angle_deg
from core.records import Scene
from core.scene.submission import NAMES, PoseLine, centers_of, names_of_layout, pose_of, read_submission, self_test

_UNIT_TOLERANCE = 1e-3
_CLEARLY_BETTER = 5.0  # another reading of the numbers has to fit as many times better
_LEAST_DISTANCE_M = 1.0  # below it nothing needs another reading
_FAR_DEG = 10.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KnownErrors:
    """How far the poses of images are off whose pose is known: count and medians."""

    of: str
    count: int
    position_m: float
    rotation_deg: float


@dataclass(frozen=True, slots=True)
class SubmissionCheck:
    """What was found. ``problems``: sentences on what has to be mended; ``remarks``: what is only worth knowing.

    ``self_test``: how many reference poses were written and read back, and how far the farthest moved, in m.
    """

    path: Path
    names: str
    num_poses: int
    num_queries: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    known: KnownErrors | None
    self_test: tuple[int, float]

    @property
    def passed(self) -> bool:
        return not self.problems


def check_submission(path: str | Path, scene: Scene, names: str = "auto", complete: bool = False) -> SubmissionCheck:
    """Check a list of poses against the queries of a scene.

    ``names``: how images are named, one of ``NAMES`` or "auto", as the scene's benchmark wants them. A query without a
    pose is a failure to the benchmarks, no mistake in the file; with ``complete`` it is a problem.
    Raises SceneError for a file without such lines.
    """
    path = Path(path)
    if names not in (*NAMES, "auto"):
        raise InputError(f"names {names!r} are not known; expected auto or one of {', '.join(NAMES)}")
    scheme = names_of_layout(scene.layout) if names == "auto" else names
    lines = read_submission(path)
    queries = {NAMES[scheme](image.name) for image in scene.queries}
    reference = {NAMES[scheme](image.name) for image in scene.reference}
    problems = [*_number_problems(lines), *_name_problems(lines, scene, scheme, queries | reference)]
    asked, unused = _asked_of(queries, lines) if scheme == "camera" else (queries, [])
    missing = sorted(asked - {line.name for line in lines})
    lost = [f"{len(missing)} of {len(asked)} queries have no pose{_examples(missing)}"] if missing else []
    known, convention = _meaning(lines, scene, scheme)
    with tempfile.TemporaryDirectory() as folder:
        tested = self_test(scene, Path(folder) / "reference.txt", scheme)
    problems += convention + (lost if complete else [])
    remarks = unused + ([] if complete else [f"{text}; the benchmarks count them as failed" for text in lost])
    return SubmissionCheck(path, scheme, len(lines), len(queries), tuple(problems), tuple(remarks), known, tested)


def _asked_of(queries: set[str], lines: Sequence[PoseLine]) -> tuple[set[str], list[str]]:
    """The queries of the cameras that the list has a pose of, as a whole camera may be left out; and a remark on those."""
    used = {line.name.split("/")[0] for line in lines}
    asked = {name for name in queries if name.split("/")[0] in used}
    others = sorted({name.split("/")[0] for name in queries - asked})
    count = len(queries - asked)
    return asked, [f"no pose of the cameras {', '.join(others)}, of which there are {count} queries"] if others else []


def _number_problems(lines: Sequence[PoseLine]) -> list[str]:
    values = np.array([line.values for line in lines])
    finite = np.isfinite(values).all(axis=1)
    length = np.linalg.norm(np.where(finite[:, None], values, 1.0)[:, :4], axis=1)
    wrong = finite & (np.abs(length - 1) > _UNIT_TOLERANCE)
    problems = []
    if not finite.all():
        problems.append(f"{_poses((~finite).sum())} not finite{_lines(lines, ~finite)}")
    if wrong.any():
        worst = length[wrong][np.argmax(np.abs(length[wrong] - 1))]
        problems.append(f"{_poses(wrong.sum())} no unit quaternion, the worst of length {worst:.6g}{_lines(lines, wrong)}")
    return problems


def _poses(count: int) -> str:
    return "1 pose is" if count == 1 else f"{count} poses are"


def _name_problems(lines: Sequence[PoseLine], scene: Scene, scheme: str, known: set[str]) -> list[str]:
    counts = Counter(line.name for line in lines)
    twice = [name for name, count in counts.items() if count > 1]
    problems = [f"{_names(twice, 'occurs', 'occur')} more than once{_examples(twice)}"] if twice else []
    unknown = [name for name in counts if name not in known]
    if not unknown:
        return problems
    other = next((one for one in NAMES if one != scheme and set(unknown) <= {NAMES[one](i.name) for i in scene.images}), None)
    images = scene.queries or scene.reference
    expected = f"expected names as {NAMES[scheme](images[0].name)!r}" if images else "the scene has no image"
    meant = " (they are written as another benchmark wants them)" if other else ""
    return [*problems, f"{_names(unknown, 'is', 'are')} not known{_examples(unknown)}{meant}; {expected}"]


def _names(names: Sequence[str], one: str, many: str) -> str:
    return f"1 name {one}" if len(names) == 1 else f"{len(names)} names {many}"


def _examples(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f": {', '.join(names[:_SHOWN])}{more}"


def _lines(lines: Sequence[PoseLine], chosen: Array) -> str:
    return ", " + _examples([f"line {lines[k].number} ({lines[k].name})" for k in np.flatnonzero(chosen)])[2:]


def _camera_to_world(values: Array) -> Rigid3d:
    return Rigid3d(values[:4], values[4:]).inverse()


def _center(values: Array) -> Rigid3d:
    rotation = Rigid3d(values[:4], np.zeros(3))
    return Rigid3d(rotation.qvec, -rotation.R @ values[4:])


def _inverse_rotation(values: Array) -> Rigid3d:
    return Rigid3d(values[:4] * [1, -1, -1, -1], values[4:])


_READINGS: dict[str, Callable[[Array], Rigid3d]] = {
    "as world to camera": lambda values: Rigid3d(values[:4], values[4:]),
    "as camera to world": _camera_to_world,
    "with the camera's centre in the place of the translation": _center,
    "with the quaternion as qx qy qz qw": lambda values: Rigid3d(values[[3, 0, 1, 2]], values[4:]),
    "as camera to world with the quaternion as qx qy qz qw": lambda values: _camera_to_world(values[[3, 0, 1, 2, 4, 5, 6]]),
    "with the rotation turned round": _inverse_rotation,
}
"""What the numbers of a line may have been meant as, the right one first."""


def _meaning(lines: Sequence[PoseLine], scene: Scene, scheme: str) -> tuple[KnownErrors | None, list[str]]:
    """Compare with known poses, of queries or of reference images in the file; without any, with where the map's cameras are.

    A problem is what only another reading of the numbers explains.
    """
    rows = {line.name: np.array(line.values) for line in lines if pose_of(line.values) is not None}
    groups = {"queries with known poses": scene.queries, "reference images": scene.reference}
    for of, images in groups.items():
        truth = {NAMES[scheme](one.name): one.cam_from_world for one in images if one.cam_from_world is not None}
        both = [name for name in rows if name in truth]
        if both:
            return _against_truth(of, [rows[name] for name in both], [truth[name] for name in both])
    places = centers_of([one.cam_from_world for one in scene.reference if one.cam_from_world is not None])
    return None, _against_places(list(rows.values()), places) if rows and len(places) > 1 else []


def _against_truth(of: str, rows: Sequence[Array], truth: Sequence[Rigid3d]) -> tuple[KnownErrors, list[str]]:
    errors = {}
    for reading, pose in _READINGS.items():
        found = [pose(row) for row in rows]
        position = np.linalg.norm(centers_of(found) - centers_of(truth), axis=1)
        rotation = [rotation_angle_deg(a, b) for a, b in zip(found, truth, strict=True)]
        errors[reading] = float(np.median(position)), float(np.median(rotation))
    (position, rotation), best = next(iter(errors.values())), min(errors, key=lambda reading: _badness(*errors[reading]))
    known = KnownErrors(of, len(rows), position, rotation)
    far = position > _LEAST_DISTANCE_M or rotation > _FAR_DEG
    if not far or _badness(*errors[best]) * _CLEARLY_BETTER > _badness(position, rotation):
        return known, []
    fits = f"they fit to {errors[best][0]:.2f} m and {errors[best][1]:.2f} deg when read {best}"
    of_known = f"the poses of {len(rows)} {of} are off by {position:.2f} m and {rotation:.2f} deg (medians)"
    return known, [f"{of_known}, but {fits}; expected world to camera, qw qx qy qz and t = -R C"]


def _badness(position_m: float, rotation_deg: float) -> float:
    return max(position_m / _LEAST_DISTANCE_M, rotation_deg / _FAR_DEG, 1e-3)


def _against_places(rows: Sequence[Array], places: Array) -> list[str]:
    """Without a known pose: queries are taken where the map's images were, so their centres lie near its cameras."""
    from scipy.spatial import cKDTree  # only this needs it

    tree, spread = cKDTree(places), float(np.linalg.norm(np.ptp(places, axis=0)))
    far = {
        reading: float(np.median(tree.query(centers_of([pose(row) for row in rows]))[0]))
        for reading, pose in _READINGS.items()
        if "rotation turned" not in reading
    }
    here, least = next(iter(far.values())), min(far.values())
    if here <= max(_LEAST_DISTANCE_M, 0.1 * spread) or least * _CLEARLY_BETTER > here:
        return []
    best = " or ".join(reading for reading, distance in far.items() if distance <= least + 1e-6)  # centres alone tell no more
    return [
        f"half of the cameras stand more than {here:.1f} m from every camera of the map, but {least:.1f} m when read "
        f"{best}; expected world to camera, qw qx qy qz and t = -R C"
    ]
