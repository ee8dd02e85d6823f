"""A toy scene and toy pipelines for the tests of the window: small, quick, with every record that real ones have."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from core.errors import InputError
from core.evaluation.errors import pose_error
from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.records import (
    Correspondences,
    Features,
    ImageData,
    LabelMap,
    Localization,
    LocalizationResult,
    Matches2D3D,
    Observations,
    PairMatches,
    PointLabels,
    Progress,
    RansacStats,
    Scene,
    SceneMap,
    setting,
)
from fgsn_viewer.bootstrap import Pipelines

WIDTH, HEIGHT, NUM_LABELS, NUM_POINTS = 64, 48, 12, 30
NAMES = tuple(f"thing {label}" for label in range(NUM_LABELS))


class FakeSegmenter:
    """Labels by brightness and row: quick, the same each time, and never network-like enough to be taken for one."""

    vocabulary, num_labels, names, device, precision = "toy", NUM_LABELS, NAMES, "cpu", "exact"

    def segment_steps(self, image):
        yield Progress("toy labels", 0.5)
        bright = image.mean(axis=2) // 64
        band = (np.arange(image.shape[0]) * 3 // image.shape[0])[:, None]
        return LabelMap((bright + 4 * band).astype(np.uint16), NUM_LABELS, "toy", names=NAMES)


@dataclass
class Calls:
    """What was asked of the fake pipelines, and what holds them up: ``gate`` blocks ``localize`` until it is set."""

    localized: list[str] = field(default_factory=list)
    matched: int = 0
    networks: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    localize_error: Exception | None = None
    trained: list[tuple[str, object, int]] = field(default_factory=list)
    training_gate: threading.Event = field(default_factory=threading.Event)
    data_error: Exception | None = None


def write_images(folder: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        write_image(folder / name, pixels)


def toy_scene(root: Path, with_map: bool = True) -> Scene:
    """Three references and four queries in two conditions, on a line, all looking along z at 30 points."""
    camera = Camera.pinhole(WIDTH, HEIGHT, 60.0)
    references = [f"overcast/{i:04d}.png" for i in range(3)]
    queries = [f"{condition}/{i:04d}.png" for condition in ("snow", "night") for i in range(2)]
    write_images(root, [*references, *queries])

    def image(name: str, x: float) -> ImageData:
        pose = Rigid3d.from_rotation(np.eye(3), [-x, 0, 0])
        return ImageData(name, root / name, name.split("/")[0], camera, pose)

    posed = tuple(image(name, float(i)) for i, name in enumerate(references))
    asked = tuple(image(name, i % 2 + 0.4) for i, name in enumerate(queries))
    scene_map = toy_map(posed, camera) if with_map else None
    return Scene("Toy street", root, posed, asked, scene_map, "urban", "toy", ("one note",))


def toy_map(images: tuple[ImageData, ...], camera: Camera) -> SceneMap:
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-1, 3, NUM_POINTS), rng.uniform(-1, 1, NUM_POINTS), rng.uniform(4, 6, NUM_POINTS)]
    rows = [
        (point, index, pixel)
        for index, image in enumerate(images)
        for point, pixel in enumerate(camera.project(image.cam_from_world.apply(points)))
        if 0 <= pixel[0] < WIDTH and 0 <= pixel[1] < HEIGHT
    ]
    rows.sort(key=lambda row: row[:2])
    point, index, pixels = zip(*rows, strict=True)
    observations = Observations(point, index, np.array(pixels), rng.integers(0, 255, (len(rows), 128), dtype=np.uint8))
    labels = PointLabels(rng.integers(0, NUM_LABELS, NUM_POINTS), np.full(NUM_POINTS, 0.8), NUM_LABELS, "toy")
    colors = rng.integers(0, 255, (NUM_POINTS, 3), dtype=np.uint8)
    return SceneMap(points, colors, images, observations, "toy", labels=labels, gravity_in_world=[0.0, 1.0, 0.0])


def toy_localization(query: ImageData, scene_map: SceneMap, failure: str | None = None) -> Localization:
    """All points seen by the query, every third an outlier; the pose is 0.1 m off."""
    pixels = query.camera.project(query.cam_from_world.apply(scene_map.points3D))
    ids = np.flatnonzero((pixels > 0).all(axis=1) & (pixels < (WIDTH, HEIGHT)).all(axis=1))
    count = len(ids)
    inliers = (np.arange(count) % 3 > 0) if failure is None else np.zeros(count, bool)
    pose = None if failure else Rigid3d(query.cam_from_world.qvec, query.cam_from_world.tvec + [0.1, 0, 0])
    features = Features(pixels, np.ones(NUM_POINTS), np.zeros(NUM_POINTS), np.zeros((NUM_POINTS, 128)), "toy")
    scores = np.linspace(0.2, 0.9, count)
    matches = Matches2D3D(pixels[ids], ids, scores, np.zeros(count), np.zeros((count, 2)), ids)
    errors = np.where(inliers, 1.5, 40.0)
    stats = RansacStats(100, 2, int(inliers.sum()), float(inliers.mean()), 1.0)
    result = LocalizationResult(pose, inliers, errors, stats, "p3p", failure=failure)
    error = None if failure else pose_error(pose, query.cam_from_world)
    return Localization(query, features, matches, result, ((2, 9), (1, 7), (0, 3)), error)


@dataclass(frozen=True)
class ToyAutopsy:
    verdict: str = "localized"
    cause: str = "a pose that many matches agree with"
    evidence: tuple = ()
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class ToySchedule:
    iterations: int = setting(6, minimum=1, maximum=1000, help="optimization steps")
    rate: float = setting(0.5, unit="1/step", minimum=0, help="how fast")
    mode: str = setting("slow", help="slow, or quick")


@dataclass(frozen=True, kw_only=True)
class ToyTraining:
    optimization: ToySchedule = field(default_factory=ToySchedule)
    num_clusters: int = setting(10, minimum=1, help="number of clusters")
    pooled: bool = setting(False, help="pool the conditions")
    share: float | None = setting(0.5, minimum=0, maximum=1, help="share of turns; nothing: both sides")

    def __post_init__(self) -> None:
        if self.num_clusters == 13:
            raise InputError("13 clusters are not allowed here")


@dataclass(frozen=True)
class ToyStep:
    """As the engine's StepRecord."""

    step: int
    fraction: float
    message: str
    parts: dict[str, float]
    images_per_second: float = 4.0
    seconds_left: float = 30.0


class ToyPairData:
    """Two places in two conditions."""

    def __len__(self) -> int:
        return 2

    def view(self, index: int) -> SimpleNamespace:
        points = Correspondences(np.zeros((5, 2)), np.zeros((5, 2)), np.ones(5))
        return SimpleNamespace(name=f"place {index}", conditions=("overcast", "snow"), correspondences=(points,))


def toy_train(calls: Calls, weights: str, config: ToyTraining, out: Path):
    """Learn nothing, step by step, and write how far it is; the gate holds it up after three steps."""
    state = out / "state.txt"
    first = int(state.read_text()) if state.is_file() else 0
    out.mkdir(parents=True, exist_ok=True)
    calls.trained.append((weights, config, first))
    for step in range(first, config.optimization.iterations):
        while step >= 3 and not calls.training_gate.wait(0.01):
            yield Progress("toy waiting", 0.5)
        parts = {"class": 2.0 / (step + 1), "corr_ref": 1.0, "corr_other": 0.5}
        state.write_text(str(step + 1))
        yield ToyStep(step, (step + 1) / config.optimization.iterations, f"step {step + 1}", parts)
    (out / "weights.safetensors").write_bytes(b"toy")
    return out / "weights.safetensors"


def toy_pipelines(open_scene: Callable[[Path], Scene], calls: Calls, networks: tuple[str, ...] = ("toy",)) -> Pipelines:
    from core.engine.consistency import consistency_at_points
    from core.scene.map_file import load_labels
    from core.scene.pair import open_pair

    def load_segmenter(name):
        calls.networks.append(str(name))
        return FakeSegmenter()

    def localize(query, scene_map, image=None):
        calls.localized.append(query.name)
        yield Progress("toy keypoints", 0.1)
        while not calls.gate.wait(0.01):
            yield Progress("toy keypoints", 0.2)
        if calls.localize_error is not None:
            raise calls.localize_error
        failure = "too few matches" if query.name.startswith("night/0001") else None
        return toy_localization(query, scene_map, failure)

    def match_pair(reference, query):
        calls.matched += 1
        yield Progress("toy matching", 0.5)
        points = np.array([[10.0, 10], [20, 12], [30, 20], [40, 30]])
        mask = np.array([True, True, False, True])
        fundamental = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        return PairMatches(points, points + [2, 0], np.array([0.9, 0.8, 0.3, 0.7]), mask, fundamental, (40, 50))

    def pair_data(paths):
        if calls.data_error is not None:
            raise calls.data_error
        return ToyPairData()

    def training_log(folder):
        state = folder / "state.txt"
        count = int(state.read_text()) if state.is_file() else 0
        return [{"step": step, "loss": 1.0, "class": 1.0, "corr_ref": 1.0} for step in range(count)]

    return Pipelines(
        open_scene=open_scene,
        open_pair=open_pair,
        load_labels=load_labels,
        available_weights=lambda: {name: Path(name) for name in networks},
        load_segmenter=load_segmenter,
        localize=localize,
        match_pair=match_pair,
        explain=lambda localization, scene_map: ToyAutopsy(),
        consistency=consistency_at_points,
        pair_data=pair_data,
        training_presets=lambda: ({"Toy": ToyTraining(), "Long": ToyTraining(num_clusters=99)}, {"mode": ("slow", "quick")}),
        train=lambda weights, data, config, out, seed: toy_train(calls, weights, config, out),
        training_log=training_log,
    )


def without_descriptors(scene: Scene) -> Scene:
    """The scene with a map as other programs write it."""
    observations = replace(scene.map.observations, descriptors=None)
    return replace(scene, map=replace(scene.map, observations=observations))


def without_points(scene_map: SceneMap) -> SceneMap:
    """The map with no more than its first point, seen nowhere."""
    none = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 128)))
    labels = replace(scene_map.labels, labels=scene_map.labels.labels[:1], vote_share=scene_map.labels.vote_share[:1])
    return replace(
        scene_map, points3D=scene_map.points3D[:1], rgb=scene_map.rgb[:1], observations=none, visibility=None, labels=labels
    )
