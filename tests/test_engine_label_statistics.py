from __future__ import annotations

import numpy as np
import pytest
from engine_toys import COLORS, drain, toy_set
from safetensors.numpy import save_file

from core.engine.dataset import View
from core.engine.label_statistics import (
    StationaryConfig,
    chosen_pairs,
    label_statistics,
    on_correspondences,
    relative_stationary,
    static_classes,
    stationary_labels,
)
from core.errors import InputError, WeightsError
from core.records import Correspondences, LabelMap, LabelStatistics
from core.scene.label_statistics import (
    find_label_statistics,
    label_statistics_path,
    load_label_statistics,
    save_label_statistics,
    save_stationary_indices,
)
from core.world.classes import CLASS_NAMES

EVERY_PAIR = StationaryConfig(every=1)


def nearest_color(image, names=None):
    """Labels 0 to 3 by the nearest toy colour, whatever the light."""
    chroma = image / np.maximum(1, image.sum(2, keepdims=True))
    reference = COLORS / COLORS.sum(1, keepdims=True)
    return LabelMap(((chroma[:, :, None] - reference) ** 2).sum(3).argmin(2), 6, "toy", names=names)


class Street:
    """Two views of three images (PairData): the left half is a wall with correspondences, the right half a car without."""

    def __init__(self, conditions: int = 3) -> None:
        self.conditions = conditions

    def __len__(self) -> int:
        return 2

    def view(self, index):
        image = np.zeros((20, 41, 3), np.uint8)
        image[:, 20:] = 1
        other = image.copy()
        other[:, :10] = 2
        x, y = np.meshgrid(np.arange(0, 20, 4) + 0.75, np.arange(0, 20, 5) + 0.25)
        points = np.column_stack([x.ravel(), y.ravel()])
        pairs = tuple(Correspondences(points, points, np.ones(len(points))) for _ in range(self.conditions - 1))
        return View(f"street {index}", ("sun", "rain", "snow")[: self.conditions], [image, other, other], None, pairs)


def grey_label(image):
    return LabelMap(image[..., 0], 4, "grey")


def test_what_carries_correspondences_is_stationary_and_the_rest_is_not():
    progress, found = drain(label_statistics(grey_label, Street(), config=EVERY_PAIR))
    assert (found.vocabulary, found.num_labels) == ("grey", 4)
    np.testing.assert_allclose(found.correspondence_share, [20 / 400, 0, 0, 0])
    assert found.stationary.tolist() == [True, False, False, False]
    assert len(progress) == 4
    assert progress[-1].fraction == 1


def test_the_joint_counts_lead_from_the_reference_to_the_other_condition():
    """Four pairs; of 20 points each those left of x = 10 (at 0.75, 4.75, 8.75: rounded 1, 5, 9) turned from 0 to 2."""
    _, found = drain(label_statistics(grey_label, Street(), config=EVERY_PAIR))
    expected = np.zeros((4, 4))
    expected[0, 2], expected[0, 0] = 4 * 12, 4 * 8
    np.testing.assert_array_equal(found.joint, expected)


def test_integer_positions_are_cut_off_not_rounded_and_count_a_pixel_once():
    points = np.array([[2.9, 1.2], [2.1, 1.8], [0, 0], [4, 3], [5, 3], [-0.1, 2], [1, -2]])
    mask = on_correspondences((4, 5), points)
    assert np.argwhere(mask).tolist() == [[0, 0], [1, 2], [2, 0], [3, 4]]
    assert not on_correspondences((4, 5), np.zeros((0, 2))).any()


def test_the_relative_rule_does_not_depend_on_how_dense_the_correspondences_are():
    all_pixels = np.array([1000, 1000, 1000, 0])
    dense, sparse = np.array([300, 250, 10, 0]), np.array([3.0, 2.5, 0.1, 0])
    official, relative = StationaryConfig(every=1), relative_stationary()
    assert stationary_labels(dense, all_pixels, official).tolist() == [True, True, False, False]
    assert stationary_labels(sparse, all_pixels, official).tolist() == [False] * 4
    for on in (dense, sparse):
        assert stationary_labels(on, all_pixels, relative).tolist() == [True, True, False, False]


def test_classes_that_move_are_known_by_their_names():
    assert np.flatnonzero(~static_classes(CLASS_NAMES)).tolist() == list(range(11, 19))
    steps = label_statistics(lambda image: LabelMap(image[..., 0], 3, "n", names=("wall", "Car", "road")), Street())
    assert drain(steps)[1].stationary.tolist() == [True, False, True]


def test_every_fifth_pair_is_taken_and_fewer_when_asked():
    pairs = chosen_pairs(Street(), 1, None)
    assert pairs == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert chosen_pairs(Street(), 3, None) == [(0, 1), (1, 2)]
    assert chosen_pairs(Street(), 1, 2) == [(0, 1), (1, 2)]
    assert chosen_pairs(Street(), 5, None) == [(0, 1)]


def test_rendered_sets_give_statistics_of_labels_that_keep_their_colour(tmp_path):
    _, found = drain(label_statistics(nearest_color, toy_set(tmp_path), config=EVERY_PAIR))
    assert found.joint.sum() == 6 * 200
    assert np.trace(found.joint) / found.joint.sum() > 0.95
    assert found.stationary.tolist() == [True] * 4 + [False] * 2


def test_data_without_pairs_is_refused():
    with pytest.raises(InputError, match="no image pairs"):
        drain(label_statistics(grey_label, Street(conditions=1)))


@pytest.fixture
def statistics():
    random = np.random.default_rng(0)
    return LabelStatistics("toy", 5, random.random(5) < 0.5, random.random(5), random.integers(0, 99, (5, 5)))


def test_statistics_lie_beside_the_weights_and_come_back_the_same(tmp_path, statistics):
    weights = tmp_path / "street-5.safetensors"
    assert find_label_statistics(weights) is None
    path = label_statistics_path(weights)
    assert path.name == "street-5.labels.safetensors"
    save_label_statistics(path, statistics)
    found = find_label_statistics(weights)
    assert (found.vocabulary, found.num_labels) == ("toy", 5)
    for name in ("stationary", "correspondence_share", "joint"):
        np.testing.assert_array_equal(getattr(found, name), getattr(statistics, name))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_official_indices_have_one_column(tmp_path, statistics):
    save_stationary_indices(tmp_path / "stationary_inds.npy", statistics)
    found = np.load(tmp_path / "stationary_inds.npy", allow_pickle=False)
    assert found.shape == (int(statistics.stationary.sum()), 1)
    assert found[:, 0].tolist() == np.flatnonzero(statistics.stationary).tolist()


def test_other_files_are_refused_with_their_name(tmp_path, statistics):
    path = tmp_path / "x.labels.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x\.labels\.safetensors"):
        load_label_statistics(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"x\.labels\.safetensors: not a file of label statistics"):
        find_label_statistics(tmp_path / "x.safetensors")
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(WeightsError, match="not a file of label statistics"):
        load_label_statistics(path)


def test_counts_that_cannot_be_are_refused(tmp_path, statistics):
    broken = LabelStatistics("toy", 5, statistics.stationary, statistics.correspondence_share, -statistics.joint - 1)
    save_label_statistics(tmp_path / "x.labels.safetensors", broken)
    with pytest.raises(WeightsError, match="negative or infinite"):
        load_label_statistics(tmp_path / "x.labels.safetensors")
