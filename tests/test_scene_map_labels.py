"""Labels of the points of maps that were made elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmark_toys import OPENCV, PINHOLE, TrueScene

from core.errors import SceneError
from core.records import PointLabels
from core.scene.map_file import load_labels, save_labels
from core.scene.map_labels import added_labels_path
from core.scene.scene import open_scene
from core.world.layouts_aachen import write_aachen
from core.world.layouts_cmu import write_extended_cmu, write_rectified_cmu

VOCABULARY = "world 100/b"


def labels_for(scene) -> PointLabels:
    count = len(scene.map.points3D)
    views = np.arange(9 * len(scene.map.observations.point)).reshape(-1, 9) % 100
    return PointLabels(np.arange(count) % 100, np.linspace(0.5, 1, count), 100, VOCABULARY, views)


@pytest.mark.parametrize("write", [write_extended_cmu, write_rectified_cmu, write_aachen])
def test_labels_added_to_a_benchmarks_map_are_found_again_beside_it(tmp_path, write):
    write(TrueScene(tmp_path / "photos", PINHOLE, pictures=False).scene, tmp_path / "own")
    scene = open_scene(tmp_path / "own")
    assert load_labels(scene.map_path, VOCABULARY) is None
    save_labels(scene.map_path, labels_for(scene))
    found = load_labels(open_scene(tmp_path / "own").map_path, VOCABULARY)
    np.testing.assert_array_equal(found.labels, labels_for(scene).labels)
    np.testing.assert_array_equal(found.vote_share, labels_for(scene).vote_share)
    np.testing.assert_array_equal(found.views, labels_for(scene).views)
    assert (found.num_labels, found.vocabulary) == (100, VOCABULARY)
    assert load_labels(scene.map_path, "another") is None
    assert open_scene(tmp_path / "own").notes == scene.notes  # the file beside the map troubles no reader


def test_two_models_in_one_folder_keep_their_labels_apart(tmp_path):
    true = TrueScene(tmp_path / "photos", PINHOLE, pictures=False).scene
    for number in (2, 3):
        write_rectified_cmu(true, tmp_path / "cmu", number)
    scenes = [open_scene(tmp_path / "cmu" / "3D-models" / f"slice{number}.nvm") for number in (2, 3)]
    save_labels(scenes[0].map_path, labels_for(scenes[0]))
    assert load_labels(scenes[1].map_path, VOCABULARY) is None


def test_labels_of_a_model_that_was_made_anew_are_not_used(tmp_path):
    small, large = (TrueScene(tmp_path / f"{n}", OPENCV, n, pictures=False).scene for n in (60, 90))
    write_extended_cmu(small, tmp_path / "cmu")
    scene = open_scene(tmp_path / "cmu")
    save_labels(scene.map_path, labels_for(scene))
    write_extended_cmu(large, tmp_path / "cmu")
    assert load_labels(scene.map_path, VOCABULARY) is None


def test_a_file_that_holds_no_labels_is_one_sentence(tmp_path):
    write_aachen(TrueScene(tmp_path / "photos", PINHOLE, pictures=False).scene, tmp_path / "own")
    scene = open_scene(tmp_path / "own")
    save_labels(scene.map_path, labels_for(scene))
    file = added_labels_path(scene.map_path, VOCABULARY)
    whole = file.read_bytes()
    for broken in (b"", whole[:-5], whole[:50], b"x" * 100, whole.replace(b"num_labels", b"num_lovers")):
        file.write_bytes(broken)
        with pytest.raises(SceneError, match="not a file of point labels") as caught:
            load_labels(scene.map_path, VOCABULARY)
        assert str(caught.value).startswith(str(file))
    save_labels(scene.map_path, replace(labels_for(scene), num_labels=3))
    with pytest.raises(SceneError, match="label 99 of 3"):
        load_labels(scene.map_path, VOCABULARY)
