"""What was opened, in numbers: for a person who wants to know before anything heavy is loaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from core.records import ImageData, Scene, SceneMap

_SAID = (  # by ``missing``, of scenes from anywhere
    "has no descriptors",
    "images without a map",
    "images are missing",
    "no queries were found",
)
_PART = "is open, the first of"  # of a note by benchmark_scene.folders_with_note


@dataclass(frozen=True, slots=True)
class ConditionCount:
    """How many images of a condition make the map, and how many are to be localized. ``name`` "": none is given."""

    name: str
    num_reference: int
    num_queries: int


@dataclass(frozen=True, slots=True)
class CameraCount:
    """How many images one camera took: its COLMAP ``model`` and size in px."""

    model: str
    width: int
    height: int
    num_images: int


@dataclass(frozen=True, slots=True)
class SceneSummary:
    """``num_points`` None: no map. ``vocabulary`` "": points without labels. ``priors``: how many queries have each kind.

    ``part``: which of several maps of a benchmark this is.
    ``missing``: sentences on what cannot be used or done because something is not there; ``notes``: those of the scene that
    say something else.
    """

    name: str
    layout: str
    root: Path
    conditions: tuple[ConditionCount, ...]
    cameras: tuple[CameraCount, ...]
    num_images: int
    num_queries: int
    num_queries_with_pose: int
    num_points: int | None = None
    num_observations: int = 0
    extractor: str = ""
    vocabulary: str = ""
    num_labels: int = 0
    priors: tuple[tuple[str, int], ...] = ()
    part: str = ""
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """What there is, as pairs of a name and a text, in the order in which one asks for it."""
        kinds = [f"{camera.model} {camera.width} × {camera.height}" for camera in self.cameras]
        found = [
            ("layout", self.layout or "two photographs"),
            ("place", str(self.root)),
            ("part", self.part),
            ("images", self._images()),
            ("cameras", _listed(kinds, len(kinds))),
            ("points", self._points()),
            ("labels", f"{self.num_labels} of {self.vocabulary}" if self.vocabulary else ""),
            ("queries", self._queries()),
            ("priors", ", ".join(f"{kind} {count:,}" for kind, count in self.priors)),
        ]
        return [(name, text) for name, text in found if text]

    def _images(self) -> str:
        number = self.num_images - self.num_queries
        if not self.num_queries:
            return f"{number:,}, all of reference"
        return f"{self.num_images:,}: {number:,} of reference, {self.num_queries:,} to be localized"

    def _points(self) -> str:
        if self.num_points is None:
            return ""
        seen = f", each seen {self.num_observations / self.num_points:.1f} times" if self.num_points else ""
        return f"{self.num_points:,}{seen}" + (f", {self.extractor}" if self.extractor else "")

    def _queries(self) -> str:
        number, known = self.num_queries, self.num_queries_with_pose
        if not number:
            return ""
        if known in (0, number):
            return f"{number:,}, {'all' if known else 'none'} with a known pose"
        return f"{number:,}: {known:,} with a known pose, {number - known:,} without"


def summarize(scene: Scene) -> SceneSummary:
    """Count what a scene holds; asks the disk whether the images are there, and reads none."""
    scene_map = scene.map
    labels = None if scene_map is None else scene_map.labels
    part = next((note for note in scene.notes if _PART in note), "")
    return SceneSummary(
        name=scene.name,
        layout=scene.layout,
        root=scene.root,
        conditions=_conditions(scene),
        cameras=_cameras(scene.images),
        num_images=len(scene.images),
        num_queries=len(scene.queries),
        num_queries_with_pose=sum(query.cam_from_world is not None for query in scene.queries),
        num_points=None if scene_map is None else len(scene_map.points3D),
        num_observations=0 if scene_map is None else len(scene_map.observations.point),
        extractor="" if scene_map is None else scene_map.extractor,
        vocabulary="" if labels is None else labels.vocabulary,
        num_labels=0 if labels is None else labels.num_labels,
        priors=_priors(scene.queries),
        part=part,
        missing=tuple(_missing(scene)),
        notes=tuple(note for note in scene.notes if note != part and not any(words in note for words in _SAID)),
    )


def _conditions(scene: Scene) -> tuple[ConditionCount, ...]:
    reference = Counter(image.condition for image in scene.reference)
    queries = Counter(image.condition for image in scene.queries)
    return tuple(ConditionCount(name, reference[name], queries[name]) for name in scene.conditions)


def _cameras(images: tuple[ImageData, ...]) -> tuple[CameraCount, ...]:
    """Cameras of one model and size count as one kind; the most used first."""
    known = (image.camera for image in images if image.camera is not None)
    counts = Counter((camera.model, camera.width, camera.height) for camera in known)
    return tuple(CameraCount(*kind, count) for kind, count in counts.most_common())


def _priors(queries: tuple[ImageData, ...]) -> tuple[tuple[str, int], ...]:
    kinds = {
        "gravity": "gravity_in_camera",
        "height": "height_m",
        "position": "position",
        "pose": "cam_from_world",
    }
    known = [query.prior for query in queries if query.prior is not None]
    counts = {kind: sum(getattr(prior, field) is not None for prior in known) for kind, field in kinds.items()}
    return tuple((kind, count) for kind, count in counts.items() if count)


def _missing(scene: Scene) -> list[str]:
    found = _missing_files(scene.images)
    without = sum(image.camera is None for image in scene.queries)
    if scene.map is None:
        found.append("No map: queries cannot be localized until one is built from the photographs.")
        return found
    found += _missing_in_map(scene.map)
    if without:
        found.append(f"{_of(without, len(scene.queries), 'query', 'queries')} without intrinsics: a pose needs its camera.")
    if scene.queries and all(query.cam_from_world is None for query in scene.queries):
        found.append("No query has a known pose: errors cannot be told.")
    elif not scene.queries:
        found.append("No queries: every image is part of the map.")
    return found


def _missing_files(images: tuple[ImageData, ...]) -> list[str]:
    gone = [image.name for image in images if not image.path.is_file()]
    if not gone:
        return []
    return [f"{_of(len(gone), len(images), 'image file', 'image files')} not on disk (the first: {gone[0]})."]


def _missing_in_map(scene_map: SceneMap) -> list[str]:
    found = []
    if not len(scene_map.points3D):
        return ["The map has no points: nothing can be matched with it."]
    if scene_map.observations.descriptors is None:
        found.append("The map has no descriptors: nothing can be matched with it until it is built anew.")
    if scene_map.labels is None:
        found.append("The map's points have no labels: methods that compare labels need them.")
    return found


def _of(number: int, whole: int, one: str, many: str) -> str:
    return f"{number:,} of {whole:,} {one if whole == 1 else many}"


def _listed(kinds: list[str], number: int, shown: int = 4) -> str:
    """The first few kinds, and how many more there are."""
    more = f" and {number - shown} more" if number > shown else ""
    return ", ".join(kinds[:shown]) + more
