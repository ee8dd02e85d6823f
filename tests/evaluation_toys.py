"""A scene on disk that is localized in a moment: one textured view, queries of it and queries of nothing; a toy network."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.evaluation.job import Job, Labelling, LabelSource, make_variants
from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.localizer.features import extract_features, quantize_descriptors
from core.localizer.pipeline import LocalizerConfig
from core.mapping.visibility import point_visibility
from core.records import ImageData, LabelMap, Observations, SceneMap
from core.scene.list_files import write_poses, write_queries
from core.scene.map_file import save_map

CAMERA = Camera("PINHOLE", 200, 150, [180, 185, 96, 78])
POSE = Rigid3d([0.9, 0.1, -0.2, 0.3], [1.0, 2.0, 3.0])
FOUND, LOST = ("overcast/2.png", "sun/0.png", "sun/1.png", "snow/0.png"), ("snow/1.png",)


def texture(seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((5, 5, 1), np.uint8))


def write_toy_scene(root, name="Toy street", kind="urban"):
    """Two map images and five queries from one place; the query of another texture cannot be found."""
    root, image = Path(root), texture()
    features = extract_features(image)
    keypoints, descriptors = features.keypoints[::3], quantize_descriptors(features.descriptors[::3])
    depths = np.random.default_rng(0).uniform(3, 30, (len(keypoints), 1))
    points3D = POSE.inverse().apply(CAMERA.bearings(keypoints) * depths)
    row = np.repeat(np.arange(len(points3D)), 2)
    seen_by = np.tile([0, 1], len(points3D))
    observations = Observations(row, seen_by, keypoints[row], descriptors[row])
    names = [f"overcast/{k}.png" for k in (0, 1)]
    images = tuple(ImageData(n, root / "images" / n, "overcast", CAMERA, POSE) for n in names)
    for k, query in enumerate([*names, *FOUND, *LOST]):
        pixels = texture(9) if query in LOST else np.clip(image.astype(int) - 6 * k, 0, 255).astype(np.uint8)
        write_image(root / "images" / query, pixels)
    scene_map = SceneMap(points3D, np.zeros((len(points3D), 3)), images, observations, features.extractor)
    save_map(root / "map", replace(scene_map, visibility=point_visibility(scene_map)))
    write_queries(root / "queries.txt", dict.fromkeys([*FOUND, *LOST], CAMERA))
    write_poses(root / "poses.txt", dict.fromkeys([*FOUND, *LOST], POSE))
    lines = {"format": "fgsn-scene", "name": name, "kind": kind, "images": "images", "map": "map"}
    lines |= {"queries": "queries.txt", "poses": "poses.txt", "reference_condition": "overcast"}
    text = "version = 1\n" + "".join(f'{key} = "{value}"\n' for key, value in lines.items())
    (root / "scene.toml").write_text(text, encoding="utf-8")
    return root


@dataclass(frozen=True)
class StripeLabels:
    """Eight upright stripes. Every image that is labelled leaves its name in the file ``log`` and takes ``pause_s``."""

    log: Path
    pause_s: float = 0.0

    def __call__(self):
        return LabelSource(self.labels_of)

    def labels_of(self, image):
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{image.name}\n")
        time.sleep(self.pause_s)
        stripes = np.tile(np.arange(CAMERA.width) // 25, (CAMERA.height, 1))
        return LabelMap(stripes, 8, "stripes", np.full(stripes.shape, 0.7))


def toy_job(scenes, out, methods=("p3p", "ssmc"), seed=0, conditions=(), pause_s=0.0):
    labelling = Labelling("stripes", "stripes", 8, "stripes 1", StripeLabels(Path(out) / "labelled.txt", pause_s))
    Path(out).mkdir(parents=True, exist_ok=True)
    variants = make_variants(methods, ["stripes"], LocalizerConfig())
    return Job(tuple(Path(scene) for scene in scenes), variants, (labelling,), Path(out) / "labels", seed, tuple(conditions))


def without_times(rows):
    """What must be the same however a job was run."""
    from core.evaluation.rows import row_to_json

    return [{key: value for key, value in row_to_json(row).items() if key != "seconds"} for row in rows]
