"""The layouts that scenes come in from elsewhere, in the order in which a folder is compared with them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from core.records import Progress, Scene
from core.scene import aachen, bundler, cmu_seasons, hloc, kapture, nvm_scene, robotcar_seasons


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How one layout is told from others and read.

    ``expected`` is what a user would have to bring, a noun phrase; ``recognise`` looks at names only, of a folder or a
    file, and is quick; ``read`` opens a path that was recognised and raises SceneError where it cannot.
    """

    name: str
    expected: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], Generator[Progress, None, Scene]]


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "Extended CMU Seasons",
        "a slice of Extended CMU Seasons (database/, query/, sparse/ and lists) or the folder of its slices",
        cmu_seasons.recognise_extended,
        cmu_seasons.read_extended,
    ),
    Layout(
        "CMU Seasons", "CMU Seasons (3D-models/, query_lists/)", cmu_seasons.recognise_rectified, cmu_seasons.read_rectified
    ),
    Layout(
        "RobotCar Seasons",
        "RobotCar Seasons (images/, intrinsics/, 3D-models/)",
        robotcar_seasons.recognise,
        robotcar_seasons.read,
    ),
    Layout("Aachen", "Aachen Day-Night (3D-models/, queries/, images_upright/)", aachen.recognise, aachen.read),
    Layout(
        "kapture",
        "a kapture folder (sensors/sensors.txt) or one each for map and queries",
        kapture.recognise,
        kapture.read,
    ),
    Layout("hloc outputs", "an output folder of hloc (sfm_*/)", hloc.recognise, hloc.read),
    Layout("NVM model", "an NVM file", nvm_scene.recognise, nvm_scene.read),
    Layout("Bundler model", "a Bundler file (.out) with its list of images", bundler.recognise, bundler.read),
)
