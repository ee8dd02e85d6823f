"""Many queries in a row: what is wrong with one is its own answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.images import write_image
from core.localizer.batch import localize_or_refuse
from core.localizer.features import FeatureConfig, extractor_id
from core.localizer.pipeline import LocalizerConfig
from core.records import ImageData, Observations, SceneMap
from core.steps import finish

CAMERA = Camera("PINHOLE", 64, 48, [60, 60, 32, 24])


def small_map() -> SceneMap:
    """Three points without a likeness to any photograph."""
    image = ImageData("overcast/0000.jpg", Path("0000.jpg"), "overcast", CAMERA, Rigid3d.identity())
    descriptors = np.random.default_rng(0).integers(0, 60, (3, 128))
    observations = Observations([0, 1, 2], [0, 0, 0], np.ones((3, 2)), descriptors)
    return SceneMap(np.eye(3) + [0, 0, 4], np.zeros((3, 3)), (image,), observations, extractor_id(FeatureConfig()))


def answer(path: Path, scene_map: SceneMap | None = None, camera: Camera | None = CAMERA):
    query = ImageData("snow/0001.png", path, "snow", camera)
    return finish(localize_or_refuse(query, scene_map or small_map(), LocalizerConfig(), seed=4))


@pytest.fixture
def photo(tmp_path) -> Path:
    write_image(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return tmp_path / "photo.png"


@pytest.mark.parametrize("case", ["no such image", "cut off", "its camera is for 64 x 48", "no intrinsics"])
def test_a_query_that_cannot_be_used_fails_with_its_reason_and_nothing_counted(case, photo):
    if case == "cut off":
        photo.write_bytes(photo.read_bytes()[:500])
    if case == "its camera is for 64 x 48":
        write_image(photo, np.zeros((24, 32, 3), np.uint8))
    path = photo.with_name("lost.png") if case == "no such image" else photo
    found = answer(path, camera=None if case == "no intrinsics" else CAMERA)
    assert case in found.result.failure
    assert str(path) in found.result.failure
    assert found.result.cam_from_world is None
    assert (found.result.method, found.result.seed) == ("p3p", 4)
    assert (len(found.features), len(found.matches), found.result.stats.num_inliers, found.ranking) == (0, 0, 0, ())


def test_a_query_that_can_be_used_is_localized(photo):
    found = answer(photo)
    assert len(found.features) > 0
    assert "matches" in found.result.failure


def test_a_map_that_nothing_can_be_matched_to_stops_the_work(photo):
    with pytest.raises(InputError, match="use one extractor for both"):
        answer(photo, replace(small_map(), extractor="another program"))
