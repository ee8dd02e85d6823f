"""Write a scene whose truth is known as RobotCar Seasons, v1 or v2, to prove that it is read as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.geometry import Array, Rigid3d, rotation_from_quaternion
from core.records import ImageData, Scene
from core.scene.colmap import params_to_colmap, write_model
from core.world.layout_parts import (
    FeaturesOf,
    copy_picture,
    map_features,
    query_entry,
    resized_scene,
    words,
    write_database,
    write_lines,
    write_nvm,
)

SIZE = (1024, 1024)
REFERENCE = "overcast-reference"
CONDITIONS = ("dawn", "dusk", "night", "night-rain", "overcast-summer", "overcast-winter", "rain", "snow", "sun")
_FIRST_US = 1417176458999821
LOCATION = 1


def rig() -> dict[str, Rigid3d]:
    """car_from_camera of a made-up car: three cameras at its back and sides, a metre apart."""
    quarter = np.sqrt(0.5)
    return {
        "left": Rigid3d(np.array([quarter, 0, quarter, 0]), np.array([-0.5, -0.2, 0.1])),
        "rear": Rigid3d(np.array([0.0, 0, 1, 0]), np.array([0.0, 0.1, -1.0])),
        "right": Rigid3d(np.array([quarter, 0, -quarter, 0]), np.array([0.5, -0.2, 0.1])),
    }


def robotcar_names(scene: Scene) -> dict[str, str]:
    """The benchmark's name of each image, all of the rear camera; conditions keep their name where the benchmark has it.

    Raises ValueError for more conditions than the benchmark has.
    """
    own = list(dict.fromkeys(image.condition for image in scene.queries))
    free = [condition for condition in CONDITIONS if condition not in own]
    renamed = {
        condition: condition if condition in CONDITIONS else free.pop(0) for condition in own if condition in CONDITIONS or free
    }
    if len(renamed) < len(own):
        raise ValueError(f"{len(own)} conditions, expected at most {len(CONDITIONS)}")
    names = {}
    for k, image in enumerate((*scene.map.images, *scene.queries)):
        condition = renamed[image.condition] if image in scene.queries else REFERENCE
        names[image.name] = f"{condition}/rear/{_FIRST_US + k * 125_000}.jpg"
    return names


def write_robotcar(
    scene: Scene, out: Path, version: int = 2, merged: bool = True, location: bool = True, features: FeaturesOf | None = None
) -> dict[str, str]:
    """Write the benchmark to ``out``; return the new name of each image. The scene's images share one pinhole camera.

    ``merged`` writes the NVM model of all, ``location`` the COLMAP text model and the query list of location 1; version 2
    lists every second query with its pose. Left and right images are listed beside each query, without pictures.
    """
    out, names = Path(out), robotcar_names(scene)
    scene = resized_scene(scene, *SIZE)
    _write_cameras(scene, out)
    png = {name: new[:-4] + ".png" for name, new in names.items()}
    if merged:
        write_nvm(out / "3D-models" / "all-merged" / "all.nvm", scene.map, [f"./{png[i.name]}" for i in scene.map.images])
    individual = out / "3D-models" / "individual"
    if location:
        images = tuple(replace(image, name=png[image.name]) for image in scene.map.images)
        folder = individual / "colmap_reconstructions" / f"{LOCATION:03d}_aligned"
        folder.mkdir(parents=True)
        write_model(folder, replace(scene.map, images=images), text=True)
        listed = [names[q.name].replace("/rear/", f"/{side}/") for q in scene.queries for side in ("left", "rear", "right")]
        write_lines(individual / "queries_per_location" / f"queries_location_{LOCATION}.txt", listed)
    for image in (*scene.map.images, *scene.queries):
        copy_picture(image, out / "images" / names[image.name])
    if version == 2:
        write_lines(out / "robotcar_v2_train.txt", [_train_line(png[q.name], q) for q in scene.queries[::2]])
        write_lines(out / "robotcar_v2_test.txt", [png[q.name] for q in scene.queries[1::2]])
    if scene.map.observations.descriptors is not None:
        entries = zip(scene.map.images, map_features(scene.map), strict=True)
        database = out / "3D-models" / "overcast-reference.db"
        write_database(database, [(png[image.name], image.camera, *own) for image, own in entries])
    if features is not None:
        entries = [query_entry(png[image.name], image, features) for image in scene.queries]
        write_database(out / "3D-models" / "query.db", entries)
    return names


def _write_cameras(scene: Scene, out: Path) -> None:
    camera = scene.map.images[0].camera
    params = params_to_colmap(camera)
    values = params if camera.model == "PINHOLE" else params[[0, 0, 1, 2]]
    for side, pose in rig().items():
        lines = [f"{key} {float(value)!r}" for key, value in zip(("fx", "fy", "cx", "cy"), values)]
        write_lines(out / "intrinsics" / f"{side}_intrinsics.txt", lines)
        rows = np.vstack([np.hstack([rotation_from_quaternion(pose.qvec), pose.tvec[:, None]]), [0, 0, 0, 1]])
        write_lines(out / "extrinsics" / f"{side}_extrinsics.txt", [words(*row).replace(" ", ",") for row in rows])


def _train_line(name: str, image: ImageData) -> str:
    return f"{name} {words(*_camera_to_world(image.cam_from_world).ravel())}"


def _camera_to_world(cam_from_world: Rigid3d) -> Array:
    return np.vstack([cam_from_world.inverse().matrix(), [0, 0, 0, 1]])
