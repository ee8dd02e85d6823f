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
    Consistency,
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
    PoseError,
    Progress,
    RansacStats,
    Scene,
    SceneMap,
    setting,
)
from core.sequences import ParticleSet, ParticleStep, PoseCloud, SequenceResult
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.methods import STYLES

WIDTH, HEIGHT, NUM_LABELS, NUM_POINTS = 64, 48, 12, 30
NAMES = tuple(f"thing {label}" for label in range(NUM_LABELS))


class FakeSegmenter:
    """Labels by brightness and row: quick, the same each time, and never network-like enough to be taken for one."""

    vocabulary, num_labels, names, device, precision = "toy", NUM_LABELS, NAMES, "cpu", "exact"

    def segment_steps(self, image, source=None):
        yield Progress("toy labels", 0.5)
        bright = image.mean(axis=2) // 64
        band = (np.arange(image.shape[0]) * 3 // image.shape[0])[:, None]
        return LabelMap((bright + 4 * band).astype(np.uint16), NUM_LABELS, "toy", names=NAMES)


@dataclass
class Calls:
    """What was asked of the fake pipelines, and what holds them up: ``gate`` blocks ``prepare`` until it is set."""

    localized: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    evaluation: list[object] = field(default_factory=list)
    matched: int = 0
    networks: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    localize_error: Exception | None = None
    trained: list[tuple[str, object, int]] = field(default_factory=list)
    training_gate: threading.Event = field(default_factory=threading.Event)
    data_error: Exception | None = None
    mapped: list[tuple] = field(default_factory=list)
    map_gate: threading.Event = field(default_factory=threading.Event)
    map_error: Exception | None = None
    weights: dict[Path, tuple[object, ...]] = field(default_factory=dict)


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


def toy_localization(query: ImageData, scene_map: SceneMap, failure: str | None = None, method: str = "p3p") -> Localization:
    """All points seen by the query, every third an outlier; the pose is 0.1 m off, with labels 0.05 m and nearer at every
    fourth match dropped.
    """
    pixels = query.camera.project(query.cam_from_world.apply(scene_map.points3D))
    ids = np.flatnonzero((pixels > 0).all(axis=1) & (pixels < (WIDTH, HEIGHT)).all(axis=1))
    count = len(ids)
    inliers = (np.arange(count) % 3 > 0) if failure is None else np.zeros(count, bool)
    off = 0.1 if method == "p3p" else 0.05
    pose = None if failure else Rigid3d(query.cam_from_world.qvec, query.cam_from_world.tvec + [off, 0, 0])
    keep = np.ones(count, bool) if method == "p3p" else np.arange(count) % 4 > 0
    inliers &= keep
    features = Features(pixels, np.ones(NUM_POINTS), np.zeros(NUM_POINTS), np.zeros((NUM_POINTS, 128)), "toy")
    scores = np.linspace(0.2, 0.9, count)
    matches = Matches2D3D(pixels[ids], ids, scores, np.zeros(count), np.zeros((count, 2)), ids)
    errors = np.where(inliers, 1.5, 40.0)
    stats = RansacStats(100, 2, int(inliers.sum()), float(inliers.mean()), 1.0)
    result = LocalizationResult(pose, inliers, errors, stats, method, failure=failure)
    error = None if failure else pose_error(pose, query.cam_from_world)
    return Localization(query, features, matches, result, ((2, 9), (1, 7), (0, 3)), error, Consistency(keep))


@dataclass(frozen=True)
class ToyRow:
    """The fields of core.evaluation.rows.QueryRow that the window reads."""

    scene: str
    query: str
    condition: str
    method: str
    labels: str
    has_truth: bool
    position_error_m: float | None
    rotation_error_deg: float | None
    num_matches: int
    num_kept: int
    num_inliers: int
    total_seconds: float
    failure: str | None = None

    @property
    def error(self) -> PoseError | None:
        return None if self.position_error_m is None else PoseError(self.position_error_m, self.rotation_error_deg)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.scene, self.query, self.method, self.labels


def toy_row(scene: Scene, done: Localization, labels: str, seconds: dict[str, float], refused: bool) -> ToyRow:
    error, kept = done.error, done.consistency
    return ToyRow(
        scene=scene.name,
        query=done.query.name,
        condition=done.query.condition,
        method=done.result.method,
        labels=labels,
        has_truth=done.query.cam_from_world is not None,
        position_error_m=None if error is None else error.position_m,
        rotation_error_deg=None if error is None else error.rotation_deg,
        num_matches=len(done.matches),
        num_kept=int(kept.keep.sum()) if kept is not None else len(done.matches),
        num_inliers=done.result.stats.num_inliers,
        total_seconds=sum(seconds.values()),
        failure=done.result.failure,
    )


def toy_refused(query: ImageData, reason: str, method: str) -> Localization:
    none, pixels = np.zeros(0), np.zeros((0, 2))
    result = LocalizationResult(None, none, none, RansacStats(), method, failure=reason)
    features = Features(pixels, none, none, np.zeros((0, 128)), "")
    return Localization(query, features, Matches2D3D(pixels, none, none, none, pixels, none), result)


def toy_motion(scene, queries) -> SimpleNamespace:
    return SimpleNamespace(queries=tuple(queries), source="1 steps made up")


def toy_follow(method, motion, scene_map: SceneMap, labels_of, statistics, found_by=None, prepared_of=None):
    """Particles around every true pose; the last query is lost, until a drive's end tells where it was."""
    queries, answers = motion.queries, []
    for index, query in enumerate(queries):
        assert method == "p3p-drive" or labels_of(query).vocabulary == "toy"
        lost = index == len(queries) - 1
        spread = np.random.default_rng(index).normal(0, 0.2, (20, 3))
        qvec = np.tile(query.cam_from_world.qvec, (20, 1))
        particles = ParticleSet(qvec, query.cam_from_world.center() + spread, np.full(20, -np.log(20)), index, 20.0)
        cloud = PoseCloud(query.cam_from_world, np.eye(6) * 0.04, 1.0)
        done = toy_localization(query, scene_map, "the track is lost" if lost else None, method)
        answers.append(toy_localization(query, scene_map, None, method) if method.endswith("drive") and lost else done)
        yield ParticleStep(index, len(queries), particles, cloud, lost, 1.0, 0.0, done, 0.05)
    return SequenceResult(tuple(answers), (None,) * len(answers), (0.05,) * len(answers), 0, 0)


def toy_circle(localization, scene_map, labels, statistics, match: int) -> SimpleNamespace:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    point = scene_map.points3D[localization.matches.point_ids[match]]
    positions = point + 2 * np.c_[np.cos(angles), np.zeros(24), np.sin(angles)]
    return SimpleNamespace(angles_rad=angles, positions=positions, scores=1 + np.cos(angles), num_visible=np.full(24, 12))


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


@dataclass(frozen=True, kw_only=True)
class ToyMapConfig:
    max_keypoints: int = setting(4096, minimum=100, maximum=100_000, help="keypoints an image")
    ratio: float = setting(0.8, minimum=0.1, maximum=1.0, help="nearest over second nearest")


@dataclass(frozen=True)
class ToyMapProgress(Progress):
    """As the mapping's MapProgress."""

    num_placed: int | None = None
    num_points: int | None = None


def toy_build_map(calls: Calls, photos: Path, out: Path, poses, config: ToyMapConfig, seed: int, segmenter):
    """Count to five photographs, the gate holding it up after two, and make an empty folder."""
    calls.mapped.append((photos, out, poses, config, segmenter))
    if calls.map_error is not None:
        raise calls.map_error
    for placed in range(1, 6):
        while placed > 2 and not calls.map_gate.wait(0.01):
            yield ToyMapProgress("Placing images, 2 so far", 0.4, 2, 30)
        yield ToyMapProgress(f"Placing images, {placed} so far", placed / 5, placed, 15 * placed)
    out.mkdir(parents=True)
    return SimpleNamespace(images=range(5), points3D=range(75))


@dataclass(frozen=True)
class ToyFound:
    """As the engine's WeightsFound."""

    path: Path
    kind: str = "network"
    num_labels: int | None = 12
    base: str = "deeplab"
    sha256: str = "ab" * 32
    has_stationary: bool = False
    vocabulary: str = "toy"
    problem: str | None = None


def toy_listing(folder: Path, calls: Calls):
    """What ``calls.weights`` has for a folder."""
    yield Progress(f"toy looking at {folder}", 0.5)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return tuple(calls.weights.get(folder, ()))


def toy_pipelines(open_scene: Callable[[Path], Scene], calls: Calls, networks: tuple[str, ...] = ("toy",)) -> Pipelines:
    from core.engine.consistency import consistency_at_points, label_kappas
    from core.scene.map_file import load_labels
    from core.scene.pair import open_pair

    def load_segmenter(name):
        calls.networks.append(str(name))
        return FakeSegmenter()

    def label_points(scene_map, segmenter):
        yield Progress("toy votes", 0.5)
        return PointLabels(
            np.zeros(len(scene_map.points3D)), np.ones(len(scene_map.points3D)), NUM_LABELS, segmenter.vocabulary
        )

    def retriever(scene_map, always):
        yield Progress("toy retriever", 0.5)

    def prepare(query, scene_map, image, found_by):
        calls.prepared.append(query.name)
        yield Progress("toy keypoints", 0.1)
        while not calls.gate.wait(0.01):
            yield Progress("toy keypoints", 0.2)
        if calls.localize_error is not None:
            raise calls.localize_error
        return query

    def solve(query, scene_map, method, labels, statistics):
        calls.localized.append(query.name if method == "p3p" else f"{query.name} {method}")
        if method != "p3p" and scene_map.labels is None:
            raise InputError(f"{query.path}: the method {method!r} needs a labelled map")
        failure = "too few matches" if query.name.startswith("night/0001") and method == "p3p" else None
        return toy_localization(query, scene_map, failure, method)

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
        return [{"step": step + 1, "loss": 1.0, "class": 1.0, "corr_ref": 1.0} for step in range(count)]

    return Pipelines(
        open_scene=open_scene,
        open_pair=open_pair,
        load_labels=load_labels,
        available_weights=lambda: {name: Path(name) for name in networks},
        list_weights=lambda folder: toy_listing(folder, calls),
        load_segmenter=load_segmenter,
        label_points=label_points,
        label_statistics=lambda path: None,
        method_names=lambda: tuple(STYLES),
        retriever=retriever,
        prepare=prepare,
        solve=solve,
        refuse=toy_refused,
        query_row=toy_row,
        circle=toy_circle,
        motion=toy_motion,
        follow=toy_follow,
        read_evaluation=lambda path: calls.evaluation,
        match_pair=match_pair,
        explain=lambda localization, scene_map: ToyAutopsy(),
        consistency=consistency_at_points,
        label_kappas=label_kappas,
        pair_data=pair_data,
        training_presets=lambda: ({"Toy": ToyTraining(), "Long": ToyTraining(num_clusters=99)}, {"mode": ("slow", "quick")}),
        train=lambda weights, data, config, out, seed: toy_train(calls, weights, config, out),
        training_log=training_log,
        map_config=ToyMapConfig,
        build_map=lambda *asked: toy_build_map(calls, *asked),
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
