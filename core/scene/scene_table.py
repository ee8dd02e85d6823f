"""The entries of a scene.toml: checked, with paths relative to the file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS, Camera, Rigid3d
from core.records import ImageData, QueryPrior, Scene, SceneMap
from core.scene.colmap_text import parse_camera
from core.scene.image_names import inside, leads_out
from core.scene.list_files import camera_of, read_poses, read_queries
from core.scene.priors import read_priors

SCENE_FILE = "scene.toml"
SCENE_FORMAT = "fgsn-scene"
SCENE_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class SceneTable:
    """What a scene.toml in the folder ``root`` says. Every method raises SceneError for what it cannot use."""

    root: Path
    entries: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path) -> SceneTable:
        path = root / SCENE_FILE
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SceneError(f"{path}: not readable as TOML ({error})") from error
        found = table.get("format"), table.get("version")
        if found != (SCENE_FORMAT, SCENE_VERSION):
            raise SceneError(
                f"{path}: found format {found[0]!r} version {found[1]!r}, expected {SCENE_FORMAT!r} version {SCENE_VERSION}"
            )
        return cls(root, table)

    @property
    def file(self) -> Path:
        return self.root / SCENE_FILE

    def text(self, key: str, default: str = "") -> str:
        value = self.entries.get(key, default)
        if not isinstance(value, str):
            raise SceneError(f"{self.file}: {key} is {value!r}, expected text")
        if "\0" in value:
            raise SceneError(f"{self.file}: {key} holds a zero character")
        return value

    def path(self, key: str) -> Path | None:
        """A path of one file or folder, None where the key is absent or empty."""
        return self.root / self.text(key) if self.text(key) else None

    def paths(self, key: str) -> tuple[Path, ...]:
        """The paths of a key that takes one text or a list of them."""
        value = self.entries.get(key)
        if not isinstance(value, list):
            one = self.path(key)
            return () if one is None else (one,)
        if not all(isinstance(part, str) and "\0" not in part for part in value):
            raise SceneError(f"{self.file}: {key} is {value!r}, expected text or a list of texts")
        return tuple(self.root / part for part in value)

    def weights(self) -> str:
        """The network: a file relative to the scene where there is one of this name, else the name as it stands."""
        named = self.text("weights")
        return str(self.root / named) if named and (self.root / named).exists() else named

    def with_gravity(self, scene_map: SceneMap) -> SceneMap:
        if "gravity" not in self.entries:
            return scene_map
        try:
            gravity = np.array(self.entries["gravity"], dtype=np.float64).reshape(3)
        except (ValueError, TypeError):
            gravity = np.zeros(3)
        length = np.linalg.norm(gravity)
        if not 0 < length < np.inf:
            raise SceneError(f"{self.file}: gravity is {self.entries['gravity']!r}, expected three numbers, not all zero")
        return replace(scene_map, gravity_in_world=gravity / length)

    def intrinsics(self) -> dict[str, Camera]:
        """Cameras by what they are called: of a file of such lines, or one camera written out, for all images ("*")."""
        tokens = self.text("intrinsics").split()
        if not tokens:
            return {}
        if tokens[0] in NUM_CAMERA_PARAMS:
            return {"*": parse_camera(tokens, f"{self.file}: intrinsics")}
        return read_queries(self.path("intrinsics"))

    def cameras(self) -> dict[str, Camera]:
        """The cameras of the queries by name, in the order of their lists."""
        known, found = self.intrinsics(), {}
        for path in self.paths("queries"):
            for name, camera in read_queries(path, known).items():
                if found.setdefault(_plain(name, path), camera) is not camera:
                    raise SceneError(f"{path}: {name!r} is listed a second time")
        return found

    def poses(self) -> dict[str, Rigid3d]:
        return {_plain(name, path): pose for path in self.paths("poses") for name, pose in read_poses(path).items()}

    def priors(self) -> dict[str, QueryPrior]:
        return {_plain(name, path): prior for path in self.paths("priors") for name, prior in read_priors(path).items()}

    def with_camera_and_pose(self, images: tuple[ImageData, ...]) -> tuple[ImageData, ...]:
        """The images with the cameras of ``intrinsics`` and the poses of ``poses``, where these know them."""
        cameras, poses = self.intrinsics(), self.poses()
        return tuple(
            replace(image, camera=camera_of(image.name, cameras), cam_from_world=poses.get(image.name)) for image in images
        )

    def patterns(self) -> dict[str, tuple[str, ...]]:
        """What the images of a condition are called: condition to patterns with * and ?."""
        table = self.entries.get("conditions", {})
        if not isinstance(table, dict):
            raise SceneError(f"{self.file}: conditions is {table!r}, expected a table of patterns as night = 'query/night/*'")
        patterns = {name: [value] if isinstance(value, str) else value for name, value in table.items()}
        for name, values in patterns.items():
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise SceneError(f"{self.file}: the condition {name!r} is {values!r}, expected a pattern or a list of patterns")
        return {name: tuple(values) for name, values in patterns.items()}

    def with_conditions(self, scene: Scene) -> Scene:
        """The scene with its images' conditions after ``patterns``, the first that fits; others keep theirs."""
        patterns = self.patterns()
        if not patterns:
            return scene

        def named(image: ImageData) -> ImageData:
            fits = (key for key, values in patterns.items() if any(fnmatchcase(image.name, value) for value in values))
            return replace(image, condition=next(fits, image.condition))

        reference = tuple(named(image) for image in scene.reference)
        scene_map = scene.map
        if scene_map is not None:
            same = scene_map.images is scene.reference
            scene_map = replace(scene_map, images=reference if same else tuple(named(one) for one in scene_map.images))
        return replace(scene, reference=reference, queries=tuple(named(image) for image in scene.queries), map=scene_map)

    def over(self, scene: Scene) -> Scene:
        """A scene that a layout's reader made, with what this file says of it besides."""
        poses, priors = self.poses(), self.priors()
        queries = tuple(
            replace(one, cam_from_world=poses.get(one.name, one.cam_from_world), prior=priors.get(one.name, one.prior))
            for one in scene.queries
        )
        own = {key: self.text(key) for key in ("name", "kind", "start_query") if self.text(key)}
        own |= {"weights": self.weights()} if self.text("weights") else {}
        own |= {"odometry_path": self.path("odometry")} if self.text("odometry") else {}
        scene_map = None if scene.map is None else self.with_gravity(scene.map)
        reference = scene_map.images if scene_map is not None and scene.reference is scene.map.images else scene.reference
        return self.with_conditions(replace(scene, root=self.root, queries=queries, map=scene_map, reference=reference, **own))


def _plain(name: str, where: Path) -> str:
    """A name with '/' between its parts; SceneError where it would leave the folder of images."""
    if leads_out(name):
        raise SceneError(f"{where}: the name {name!r} leads out of the folder of images, expected a path below it")
    return inside(name)
