"""kapture, Bundler and hloc folders that were changed at random: a sound scene comes out, or one sentence led by the file."""

from __future__ import annotations

import fuzz_scenes
import numpy as np
import pytest
from fuzzing import Specimen, address_space, changes, check_scene, fuzz
from hypothesis import given
from hypothesis import strategies as st

from core.records import Features
from core.scene.feature_files import read_features
from core.scene.scene import open_scene
from core.world.layouts_bundler import write_bundler
from core.world.layouts_hloc import write_hloc
from core.world.layouts_kapture import write_kapture


def toy_features(image):
    """Five keypoints of a query."""
    rng = np.random.default_rng(0)
    descriptors = rng.uniform(0.01, 0.1, (5, 128))
    return Features(rng.uniform(0, 40, (5, 2)), np.ones(5), np.zeros(5), descriptors, "toy")


def opened(folder):
    """What a user does: open the folder, and match its first query that came with features."""
    scene = open_scene(folder / "out")
    check_scene(scene)
    own = next((image.features for image in scene.queries if image.features is not None), None)
    if own is not None:
        found = read_features(own)
        assert np.isfinite(found.keypoints).all()
        assert np.isfinite(found.descriptors).all()


def built(write, **options):
    def build(folder):
        scene = fuzz_scenes.toy_scene(folder.parent / "toy")
        write(scene, folder / "out", **options)

    return build


SPECIMENS = {
    "kapture": built(write_kapture, features=toy_features),
    "kapture rig": built(write_kapture, mount=fuzz_scenes.Rigid3d([1, 0.1, 0, 0], [0.1, 0, 0])),
    "Bundler": built(write_bundler),
    "VisualSFM": built(write_bundler, visualsfm=True),
    "Bundler zipped": built(write_bundler, zipped=True),
    "hloc": built(write_hloc, features=toy_features),
}


@pytest.fixture(scope="module", params=SPECIMENS)
def specimen(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign") / "specimen"
    folder.mkdir()
    SPECIMENS[request.param](folder)
    return Specimen(folder, opened, lambda name: not name.endswith((".png", ".jpg")))


@fuzz
@given(data=st.data())
def test_changed_files_give_a_sound_scene_or_one_sentence(specimen, data):
    made = data.draw(changes(specimen.files))
    with address_space():
        specimen.survives(made)
