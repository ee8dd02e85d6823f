"""A small scene whose truth is known exactly, to be written as the benchmarks' layouts and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.records import Features, ImageData, Observations, Scene, SceneMap

PINHOLE = Camera("PINHOLE", 160, 120, np.array([140.0, 141, 80.25, 58.5]))
OPENCV = Camera("OPENCV", 160, 120, np.array([140.0, 141, 80.25, 58.5, -0.2, 0.05, 1e-3, -2e-3]))
RADIAL = Camera("SIMPLE_RADIAL", 160, 120, np.array([140.0, 80.5, 58.5, -0.05]))


class TrueScene:
    """``scene`` with its map and queries, and the exact features of any of its images."""

    def __init__(self, root: Path, camera: Camera = PINHOLE, num_points: int = 250, pictures: bool = True) -> None:
        rng = np.random.default_rng(5)
        self._points = np.column_stack(
            [rng.uniform(-6, 6, num_points), rng.uniform(-4, 4, num_points), rng.uniform(8, 20, num_points)]
        )
        drawn = rng.gamma(0.5, 1.0, (num_points, 128))
        self._descriptors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        reference = [self._image(root, f"overcast/{k}.jpg", "overcast", camera, rng) for k in range(5)]
        conditions = ("sun", "snow", "night")
        queries = [self._image(root, f"{c}/{k}.jpg", c, camera, rng) for c in conditions for k in range(2)]
        if pictures:
            for image in (*reference, *queries):
                image.path.parent.mkdir(parents=True, exist_ok=True)
                write_image(image.path, rng.integers(0, 255, (camera.height, camera.width, 3), np.uint8))
        scene_map = self._map(reference)
        self.scene = Scene("true", root, scene_map.images, tuple(queries), scene_map)

    def _image(self, root: Path, name: str, condition: str, camera: Camera, rng: np.random.Generator) -> ImageData:
        q = np.array([1, *rng.normal(0, 0.04, 3)])
        pose = Rigid3d(q, rng.normal(0, 0.8, 3))
        return ImageData(name, root / name, condition, camera, pose)

    def _seen(self, image: ImageData) -> tuple[np.ndarray, np.ndarray]:
        """The points that an image sees, and where."""
        pixels = image.camera.project(image.cam_from_world.apply(self._points))
        inside = ((pixels >= 0) & (pixels < [image.camera.width - 1, image.camera.height - 1])).all(axis=1)
        return np.flatnonzero(inside), pixels[inside]

    def _map(self, images: list[ImageData]) -> SceneMap:
        seen = [self._seen(image) for image in images]
        point = np.concatenate([ids for ids, _ in seen])
        image = np.repeat(np.arange(len(images)), [len(ids) for ids, _ in seen])
        used, index = np.unique(point, return_inverse=True)
        order = np.lexsort((image, index))
        points2D = np.concatenate([pixels for _, pixels in seen])[order]
        descriptors = np.clip(np.rint(self._descriptors[point] * 512), 0, 255)[order]
        observations = Observations(index[order], image[order], points2D, descriptors)
        rgb = np.random.default_rng(1).integers(0, 256, (len(used), 3))
        return SceneMap(self._points[used], rgb, tuple(images), observations, "colmap-sift-root")

    def same_points(self, image: ImageData, reference: ImageData) -> np.ndarray:
        """For each keypoint of ``image`` that of the same point in a map image, or -1."""
        (ids, _), (there, _) = self._seen(image), self._seen(reference)
        place = np.searchsorted(there, ids).clip(0, len(there) - 1)
        return np.where(there[place] == ids, place, -1)

    def features(self, image: ImageData) -> Features:
        """What a perfect extractor finds: every point that the image sees, where it is in the image's own camera."""
        ids, pixels = self._seen(image)
        return Features(pixels, np.ones(len(ids)), np.zeros(len(ids)), self._descriptors[ids], "colmap-sift-root")


def last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def assert_same_map(found: SceneMap, true: SceneMap, names: dict[str, str]) -> None:
    """Same points, colours, poses and observations, whatever the order of images; ``names`` are the new ones."""
    by_name = {image.name: image for image in found.images}
    order = [by_name[names[image.name]] for image in true.images]
    for image, expected in zip(order, true.images, strict=True):
        np.testing.assert_allclose(image.cam_from_world.matrix(), expected.cam_from_world.matrix(), atol=1e-6)
        np.testing.assert_allclose(image.camera.K, expected.camera.K, atol=1e-6)
        assert (image.camera.width, image.camera.height) == (expected.camera.width, expected.camera.height)
    np.testing.assert_allclose(found.points3D, true.points3D, atol=1e-9)
    np.testing.assert_array_equal(found.rgb, true.rgb)
    index = {image.name: k for k, image in enumerate(found.images)}
    renumbered = np.array([index[names[image.name]] for image in true.images])[true.observations.image]
    expected = sorted(zip(true.observations.point, renumbered, map(tuple, np.round(true.observations.points2D, 3))))
    got = sorted(zip(found.observations.point, found.observations.image, map(tuple, np.round(found.observations.points2D, 3))))
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    np.testing.assert_allclose([row[2] for row in got], [row[2] for row in expected], atol=2e-3)


def resized_map(scene: Scene, width: int, height: int) -> SceneMap:
    """The map as in pictures of another size."""
    from core.world.layout_parts import resized_scene

    return resized_scene(scene, width, height).map


def without_pictures(scene: Scene) -> Scene:
    """The same scene with images that do not exist."""
    gone = tuple(replace(image, path=image.path.with_name("gone.jpg")) for image in scene.map.images)
    queries = tuple(replace(image, path=image.path.with_name("gone.jpg")) for image in scene.queries)
    return replace(scene, reference=gone, queries=queries, map=replace(scene.map, images=gone))
