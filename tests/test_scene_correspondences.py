"""Correspondences are in the paper's HDF5 layout (PAPER 2.1), byte order and shape."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from core.errors import SceneError
from core.records import Correspondences
from core.scene.correspondences import (
    positions_name,
    read_correspondences,
    read_reference_positions,
    reference_positions,
    write_correspondences,
    write_reference_positions,
)

REFERENCE, OTHER = "slice2/database/img_1.jpg", "slice2/query/ï 2.jpg"


def some(num=7, seed=0) -> Correspondences:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1000, (2, num, 2))
    return Correspondences(points[0], points[1], rng.uniform(0.01, 1, num))


@pytest.mark.parametrize("num", [0, 1, 7, 5000])
def test_a_pair_reads_back(tmp_path, num):
    pair = some(num)
    write_correspondences(tmp_path / "x.mat", REFERENCE, OTHER, pair)
    reference, other, again = read_correspondences(tmp_path / "x.mat")
    assert (reference, other) == (REFERENCE, OTHER)
    np.testing.assert_array_equal(again.points_ref, pair.points_ref)
    np.testing.assert_array_equal(again.points_other, pair.points_other)
    np.testing.assert_allclose(again.weights, pair.weights, rtol=1e-6)


def test_the_raw_shapes_are_the_papers(tmp_path):
    pair = some(7)
    write_correspondences(tmp_path / "x.mat", REFERENCE, OTHER, pair)
    with h5py.File(tmp_path / "x.mat") as file:
        assert set(file) == {"im_i_path", "im_j_path", "pt_i", "pt_j", "dist_from_center"}
        assert file["im_i_path"].shape == (len(REFERENCE), 1)
        assert file["im_i_path"].dtype == np.uint16
        # The official reader: characters one by one, points with their axes swapped, weight = exp(-distance).
        assert "".join(chr(a) for a in file["im_i_path"][:, 0]) == REFERENCE
        assert np.swapaxes(file["pt_j"][()], 0, 1).shape == (2, 7)
        np.testing.assert_allclose(np.swapaxes(file["pt_j"][()], 0, 1)[0], pair.points_other[:, 0])
        distance = np.swapaxes(file["dist_from_center"][()], 0, 1)
        assert distance.shape == (7, 1)
        np.testing.assert_allclose(np.exp(-distance[:, 0]), pair.weights, rtol=1e-6)
    assert (tmp_path / "x.mat").read_bytes()[:10] == b"MATLAB 7.3"


def test_weights_outside_zero_to_one_are_refused(tmp_path):
    for weight in (0.0, 1.5):
        pair = Correspondences(np.zeros((1, 2)), np.zeros((1, 2)), [weight])
        with pytest.raises(ValueError, match=r"expected \(0, 1\]"):
            write_correspondences(tmp_path / "x.mat", REFERENCE, OTHER, pair)


def test_reference_positions_unite_all_files_of_an_image(tmp_path):
    first, second = some(5, seed=1), some(6, seed=2)
    shared = Correspondences(first.points_ref[:2], first.points_other[:2], first.weights[:2])
    for k, pair in enumerate((first, second, shared)):
        write_correspondences(tmp_path / f"{k}.mat", REFERENCE, OTHER, pair)
    write_correspondences(tmp_path / "3.mat", "slice2/database/img_9.jpg", OTHER, first)
    positions = reference_positions([tmp_path / f"{k}.mat" for k in range(4)])
    assert len(positions[REFERENCE]) == 11
    write_reference_positions(tmp_path / "positions", positions)
    assert sorted(file.name for file in (tmp_path / "positions").iterdir()) == ["slice2_img_1.h5", "slice2_img_9.h5"]
    with h5py.File(tmp_path / "positions" / "slice2_img_1.h5") as file:
        assert file["corr_pts"].shape == (11, 2)
    expected = np.unique(np.concatenate([first.points_ref, second.points_ref]), axis=0)
    np.testing.assert_array_equal(read_reference_positions(tmp_path / "positions" / "slice2_img_1.h5"), expected)


def test_the_positions_file_is_named_by_first_and_last_part():
    assert positions_name("a/b/c.ext") == "a_c.h5"
    assert positions_name("overcast/0003.jpg") == "overcast_0003.h5"


def test_a_broken_file_is_one_sentence_that_names_it(tmp_path):
    write_correspondences(tmp_path / "x.mat", REFERENCE, OTHER, some())
    (tmp_path / "cut.mat").write_bytes((tmp_path / "x.mat").read_bytes()[:900])
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["a"] = 1
    for name in ("cut.mat", "other.mat", "lost.mat"):
        with pytest.raises(SceneError, match=name):
            read_correspondences(tmp_path / name)
        with pytest.raises(SceneError, match=name):
            read_reference_positions(tmp_path / name)
