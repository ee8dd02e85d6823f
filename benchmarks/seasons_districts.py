"""Districts: one world of each kind in one map, so that a keypoint may match any of three streets, without retrieval.

A map of one street of 150 m knows too few places for wrong matches to be a danger; those of the literature span kilometres.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.evaluation.job import digest
from core.geometry import Rigid3d
from core.mapping.visibility import point_visibility
from core.records import ImageData, Observations, Progress, Scene, SceneMap
from core.scene.folders import whole_folder
from core.scene.list_files import write_poses, write_queries
from core.scene.map_file import save_map
from core.scene.scene import open_scene
from core.scene.scene_table import SCENE_FILE, SCENE_FORMAT, SCENE_VERSION

APART_M = 1000.0


def write_districts(paths: Sequence[Path], folder: Path) -> Generator[Progress, None, tuple[Path, ...]]:
    """Join the n-th scenes of all kinds; return a scene for each of ``paths``: its own queries in the map of its district.

    Each appears whole or not at all; what is there already is kept.
    """
    scenes = {path: open_scene(path) for path in paths}
    kinds = list(dict.fromkeys(scene.kind for scene in scenes.values()))
    by_kind = [[path for path in paths if scenes[path].kind == kind] for kind in kinds]
    made: dict[Path, Path] = {}
    for number, members in enumerate(zip(*by_kind, strict=True)):
        yield Progress(f"Joining district {number}", number / max(1, len(by_kind[0])))
        name = digest([path.name for path in members])[:8]
        moved = [_moved(scenes[path], k) for k, path in enumerate(members)]
        joined = joined_map([scene.map for scene in moved])
        for path, scene in zip(members, moved):
            made[path] = folder / f"{path.name}-in-{name}"
            if not (made[path] / SCENE_FILE).is_file():
                _write(made[path], scene, joined)
    return tuple(made[path] for path in paths)


def _moved(scene: Scene, place: int) -> Scene:
    """The scene ``place`` times ``APART_M`` further along x, its images named after it."""
    shift = np.array([APART_M * place, 0.0, 0.0])

    def image(own: ImageData) -> ImageData:
        condition, file = own.name.split("/", 1)
        pose = own.cam_from_world
        moved = Rigid3d(pose.qvec, pose.tvec - pose.R @ shift)
        return replace(own, name=f"{condition}/{scene.name.replace(' ', '-')}-{file}", cam_from_world=moved)

    images = tuple(map(image, scene.map.images))
    own_map = replace(scene.map, points3D=scene.map.points3D + shift, images=images, visibility=None, labels=None)
    return replace(scene, map=own_map, reference=images, queries=tuple(map(image, scene.queries)))


def joined_map(maps: Sequence[SceneMap]) -> SceneMap:
    """One map of the points and images of all, in their order, in the frame that they share; without labels."""
    points = np.cumsum([0, *(len(one.points3D) for one in maps)])
    images = np.cumsum([0, *(len(one.images) for one in maps)])
    seen = [one.observations for one in maps]
    observations = Observations(
        point=np.concatenate([own.point + first for own, first in zip(seen, points)]),
        image=np.concatenate([own.image + first for own, first in zip(seen, images)]),
        points2D=np.concatenate([own.points2D for own in seen]),
        descriptors=np.concatenate([own.descriptors for own in seen]),
    )
    joined = SceneMap(
        points3D=np.concatenate([one.points3D for one in maps]),
        rgb=np.concatenate([one.rgb for one in maps]),
        images=tuple(image for one in maps for image in one.images),
        observations=observations,
        extractor=maps[0].extractor,
        gravity_in_world=maps[0].gravity_in_world,
    )
    return replace(joined, visibility=point_visibility(joined))


def _write(out: Path, scene: Scene, joined: SceneMap) -> None:
    with whole_folder(out, last=SCENE_FILE) as folder:
        images = folder / "images"
        for image in (*joined.images, *scene.queries):
            _link(image.path, images / image.name)
        here = tuple(replace(image, path=images / image.name) for image in joined.images)
        save_map(folder / "map", replace(joined, images=here))
        write_queries(folder / "queries.txt", {query.name: query.camera for query in scene.queries})
        write_poses(folder / "poses.txt", {image.name: image.cam_from_world for image in (*joined.images, *scene.queries)})
        entries = {
            "format": SCENE_FORMAT,
            "version": SCENE_VERSION,
            "name": scene.name,
            "kind": scene.kind,
            "images": "images",
            "map": "map",
            "reference_condition": joined.images[0].condition,
            "queries": "queries.txt",
            "poses": "poses.txt",
        }
        if joined.gravity_in_world is not None:
            entries["gravity"] = joined.gravity_in_world.tolist()
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in entries.items()]
        (folder / SCENE_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the disk cannot do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
