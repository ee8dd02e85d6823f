"""A labelled street of which everything is known: points, labels, visibility, a camera, its label image."""

from pathlib import Path

import numpy as np

from core.geometry import Camera, Rigid3d
from core.localizer.methods import MethodInput
from core.localizer.pipeline import LocalizerConfig
from core.records import (
    ImageData,
    LabelMap,
    LabelStatistics,
    Matches2D3D,
    Observations,
    PointLabels,
    PointVisibility,
    QueryPrior,
    SceneMap,
)

NUM_LABELS = 8
CAMERA = Camera("PINHOLE", 320, 240, [200.0, 205.0, 158.0, 121.0])
HEIGHT_M = 1.6
CELL_PX = 16


def upright_pose(x, y, yaw, height=HEIGHT_M, pitch=0.05):
    """cam_from_world of a camera at (x, y, height) that looks along ``yaw`` and ``pitch`` rad down; world z is up."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    R = np.stack([right, np.cross(forward, right), forward])
    return Rigid3d.from_rotation(R, -R @ [x, y, height])


def label_image(seed=0, num_labels=NUM_LABELS, vocabulary="toy"):
    """Square cells of random labels."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, num_labels, (-(-CAMERA.height // CELL_PX), -(-CAMERA.width // CELL_PX)))
    labels = np.kron(cells, np.ones((CELL_PX, CELL_PX), int))[: CAMERA.height, : CAMERA.width]
    return LabelMap(labels, num_labels, vocabulary)


def street(count=400, seed=0, pose=None, labels=None, confusion=0.0):
    """Points that the camera at ``pose`` sees with the labels of its image, all seen from around there; matches of all."""
    rng = np.random.default_rng(seed)
    pose = upright_pose(3.0, -2.0, 0.7) if pose is None else pose
    labels = label_image(seed) if labels is None else labels
    pixels = rng.uniform((4, 4), (CAMERA.width - 5, CAMERA.height - 5), (count, 2))
    points3D = pose.inverse().apply(CAMERA.bearings(pixels) * rng.uniform(5, 25, (count, 1)))
    of_points = labels.at(pixels)
    confused = rng.random(count) < confusion
    of_points[confused] = rng.integers(0, labels.num_labels, int(confused.sum()))
    to_camera = pose.center() - points3D
    distance = np.linalg.norm(to_camera, axis=1)
    visibility = PointVisibility(to_camera / distance[:, None], np.full(count, 0.1), distance * 0.8, distance * 1.2)
    point_labels = PointLabels(of_points, np.ones(count), labels.num_labels, labels.vocabulary)
    images = tuple(
        ImageData(f"ref/{i}.jpg", Path(f"{i}.jpg"), "ref", CAMERA, upright_pose(3.0 + i, -2.0 + 0.7 * i, 0.7, 1.55 + 0.02 * i))
        for i in range(3)
    )
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    rgb = np.zeros((count, 3))
    scene_map = SceneMap(points3D, rgb, images, nothing, "toy", visibility, point_labels, np.array([0.0, 0, -1]))
    return scene_map, matches_to(pixels, np.arange(count)), labels, pose


def matches_to(pixels, ids):
    count = len(pixels)
    return Matches2D3D(pixels, ids, np.full(count, 0.3), np.zeros(count), np.zeros((count, 2)), np.arange(count))


def query_at(pose, prior=None):
    return ImageData("night/query.jpg", Path("night/query.jpg"), "night", CAMERA, pose, prior=prior)


def true_prior(pose):
    return QueryPrior(gravity_in_camera=pose.R @ [0, 0, -1.0], height_m=float(pose.center()[2]), source="truth")


def given_of(scene_map, matches, labels, pose, statistics=None, prior=None, **config):
    prior = true_prior(pose) if prior is None else prior
    return MethodInput(query_at(pose, prior), matches, scene_map, labels, statistics, LocalizerConfig(**config), 0)


def counted(joint, stationary=None, vocabulary="toy"):
    joint = np.asarray(joint, float)
    stays = np.ones(len(joint), bool) if stationary is None else stationary
    return LabelStatistics(vocabulary, len(joint), stays, np.full(len(joint), 0.1), joint)
