"""Small good folders of every layout, to be changed by the fuzz tests."""

from __future__ import annotations

import pickle  # noqa: TID251 - what hloc writes
import sqlite3
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.mapping.visibility import point_visibility
from core.records import Correspondences, ImageData, LabelStatistics, Observations, PointLabels, QueryPrior, Scene, SceneMap
from core.scene.colmap import write_model
from core.scene.correspondences import write_correspondences
from core.scene.label_statistics import save_label_statistics
from core.scene.list_files import write_poses, write_queries
from core.scene.map_file import save_map
from core.scene.odometry import OdometryLine, OdometryStep, write_odometry
from core.scene.priors import write_priors
from core.sequences import OdometryNoise

CAMERA = Camera("PINHOLE", 64, 48, [60, 60, 31.5, 23.5])
NUM_POINTS, NUM_IMAGES = 24, 3
QUERIES = ("sun/0.png", "sun/1.png", "night/0.png")


def toy_map(root, extractor="sift"):
    """Points seen by every one of three images, with descriptors, visibility and labels."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -1.5, 4), (2, 1.5, 9), (NUM_POINTS, 3))
    poses = [Rigid3d([1, 0, 0.01 * k, 0], [0.1 * k, 0, 0]) for k in range(NUM_IMAGES)]
    names = [f"overcast/{k}.png" for k in range(NUM_IMAGES)]
    images = tuple(ImageData(n, root / "images" / n, "overcast", CAMERA, pose) for n, pose in zip(names, poses))
    pixels = np.stack([CAMERA.project(pose.apply(points)) for pose in poses], 1).reshape(-1, 2)
    point, image = np.repeat(np.arange(NUM_POINTS), NUM_IMAGES), np.tile(np.arange(NUM_IMAGES), NUM_POINTS)
    descriptors = rng.integers(0, 120, (len(point), 128))
    seen = Observations(point, image, pixels, descriptors)
    labels = PointLabels(rng.integers(0, 5, NUM_POINTS), np.ones(NUM_POINTS), 5, "toy")
    made = SceneMap(points, np.zeros((NUM_POINTS, 3)), images, seen, extractor, labels=labels, gravity_in_world=[0, 1, 0])
    return replace(made, visibility=point_visibility(made))


def toy_scene(root):
    """The map with three posed queries; their pictures exist."""
    scene_map = toy_map(root)
    poses = [Rigid3d([1, 0, 0.02 * k, 0], [0.1 * k, 0.1, 0.2]) for k in range(len(QUERIES))]
    queries = tuple(
        ImageData(name, root / "images" / name, name.split("/")[0], CAMERA, pose) for name, pose in zip(QUERIES, poses)
    )
    for image in (*scene_map.images, *queries):
        write_image(image.path, np.full((48, 64, 3), 90, np.uint8))
    return Scene("toy", root, scene_map.images, queries, scene_map)


def own_scene(folder):
    """scene.toml with lists and a map."""
    scene = toy_scene(folder)
    save_map(folder / "map", scene.map)
    write_queries(folder / "queries.txt", {query.name: CAMERA for query in scene.queries})
    write_poses(folder / "poses.txt", {query.name: query.cam_from_world for query in scene.queries})
    known = {"gravity_in_camera": [0, 1, 0], "gravity_error_deg": 1, "height_m": 1.5, "height_error_m": 0.2}
    prior = QueryPrior(**known, position=[1, 2, 3], position_error_m=4, cam_from_world=scene.queries[0].cam_from_world)
    write_priors(folder / "priors.txt", {query.name: prior for query in scene.queries})
    write_toy_odometry(folder / "odometry.txt")
    keys = ("queries", "poses", "priors", "odometry")
    lists = "".join(f'{key} = "{key}.txt"\n' for key in keys)
    (folder / "scene.toml").write_text(
        'format = "fgsn-scene"\nversion = 1\nname = "toy"\nkind = "urban"\nimages = "images"\nmap = "map"\n'
        f'reference_condition = "overcast"\ngravity = [0, 0, -1]\n{lists}[conditions]\nsun = "sun/*"\n',
        encoding="utf-8",
    )


def write_toy_odometry(path):
    step = OdometryStep(Rigid3d([1, 0, 0.1, 0], [0, 0, -1]), OdometryNoise(0.0, 0.1, 0.0, 0.2))
    write_odometry(path, [OdometryLine(name, 0.5 * k, step if k else None) for k, name in enumerate(QUERIES)])


def trajectory(folder):
    lines = [f"{10 + k} {0.1 * k} 0 0 0 0 0 1" for k in range(5)]
    (folder / "tum.txt").write_text("\n".join(lines), encoding="utf-8")


def map_folder(folder):
    save_map(folder, toy_map(folder))


def colmap_binary(folder):
    write_model(folder / "sparse", toy_map(folder))


def colmap_text(folder):
    write_model(folder / "sparse", toy_map(folder), text=True)


def correspondence_file(folder):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 40, (30, 2))
    write_correspondences(folder / "a_b.mat", "overcast/a.png", "sun/b.png", Correspondences(points, points + 1, np.ones(30)))


def statistics(folder):
    table = np.eye(5) * 9 + 1
    save_label_statistics(folder / "a.labels.safetensors", LabelStatistics("a", 5, np.ones(5, bool), np.full(5, 0.2), table))
    np.save(folder / "stationary_inds.npy", np.arange(3))


def colmap_database(folder):
    """A model with the database that its features came from."""
    import pycolmap

    scene_map = toy_map(folder)
    write_model(folder / "sparse", scene_map)
    database = pycolmap.Database.open(str(folder / "database.db"))
    camera = pycolmap.Camera(model="PINHOLE", width=64, height=48, params=[60, 60, 32, 24])
    camera_id = database.write_camera(camera)
    seen = scene_map.observations
    for k, image in enumerate(scene_map.images):
        image_id = database.write_image(pycolmap.Image(name=image.name, camera_id=camera_id))
        rows = np.flatnonzero(seen.image == k)
        keypoints = np.hstack([seen.points2D[rows] + 0.5, np.tile([1, 0, 0, 1], (len(rows), 1))]).astype(np.float32)
        database.write_keypoints(image_id, keypoints)
        descriptors = pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, seen.descriptors[rows])
        database.write_descriptors(image_id, descriptors)
    database.close()
    with sqlite3.connect(folder / "database.db") as connection:
        connection.execute("VACUUM")
    connection.close()


def hloc_outputs(folder):
    """A model, features, the logs of localization and its results."""
    scene = toy_scene(folder)
    write_model(folder / "sfm_toy", scene.map)
    seen = scene.map.observations
    rng = np.random.default_rng(0)
    with h5py.File(folder / "feats-toy.h5", "w") as file:
        for k, image in enumerate((*scene.map.images, *scene.queries)):
            own = seen.image == k
            points = seen.points2D[own] if own.any() else rng.uniform(0, 40, (5, 2))
            group = file.create_group(image.name)
            group["keypoints"] = points.astype(np.float32)
            group["descriptors"] = rng.normal(size=(256, len(points))).astype(np.float32)
            group["scores"] = np.ones(len(points), np.float32)
            group["image_size"] = [64, 48]
    write_poses(folder / "toy_results.txt", {query.name: query.cam_from_world for query in scene.queries})
    camera = {"model": "PINHOLE", "width": 64, "height": 48, "params": [60.0, 60.0, 32.0, 24.0]}
    found = {"success": True, "num_inliers": 9, "inliers": [True] * 9}
    entry = {
        "PnP_ret": {**found, "camera": camera, "qvec": np.array([1.0, 0, 0, 0]), "tvec": np.zeros(3)},
        "keypoints_query": np.zeros((9, 2)),
        "points3D_ids": [1] * 9,
        "num_matches": 9,
        "keypoint_index_to_db": ([0] * 9, [[1]] * 9),
        "db": [1, 2],
    }
    logs = {"features": "feats-toy", "loc": {query.name: entry for query in scene.queries}}
    (folder / "toy_results.txt_logs.pkl").write_bytes(pickle.dumps(logs, protocol=4))


def nvm_file(folder):
    from core.world.layout_parts import write_nvm

    scene = toy_scene(folder)
    write_nvm(folder / "model.nvm", scene.map, [image.name for image in scene.map.images])


def extended_cmu(folder):
    from core.world.layouts_cmu import write_extended_cmu

    write_extended_cmu(toy_scene(folder.parent / "from"), folder)


def rectified_cmu(folder):
    from core.world.layouts_cmu import write_rectified_cmu

    write_rectified_cmu(toy_scene(folder.parent / "from"), folder)


def robotcar(folder):
    from core.world.layouts_robotcar import write_robotcar

    write_robotcar(toy_scene(folder.parent / "from"), folder, merged=False)


def robotcar_merged(folder):
    from core.world.layouts_robotcar import write_robotcar

    write_robotcar(toy_scene(folder.parent / "from"), folder, location=False)


def aachen(folder):
    from core.world.layouts_aachen import write_aachen

    write_aachen(toy_scene(folder.parent / "from"), folder)


def submission(folder):
    scene = toy_scene(folder)
    own_scene(folder)
    write_poses(folder / "submission.txt", {Path(query.name).name: query.cam_from_world for query in scene.queries})
