"""How far labels agree between the two images shown: where the points come from, each label's kappa, the marks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt
from viewer_fakes import toy_scene

from core.engine.consistency import consistency_at_points, label_kappas
from core.mapping.visibility import point_visibility
from core.records import Correspondences, LabelMap
from core.scene.correspondences import write_correspondences
from fgsn_viewer.agreement import PairAgreement
from fgsn_viewer.known_points import known_points
from fgsn_viewer.tables import label_rows
from fgsn_viewer.views.label_table import KAPPA, LabelTable

COLORS = np.full((4, 3), 120, np.uint8)


def agreement_of(a, b, num_labels=4):
    stats = consistency_at_points(a, b, num_labels)
    return PairAgreement(stats, "that are inliers", label_kappas(stats))


def cohen(a, b):
    """Cohen's kappa of two yes/no columns, by its definition."""
    agreed = np.mean(a == b)
    chance = np.mean(a) * np.mean(b) + (1 - np.mean(a)) * (1 - np.mean(b))
    return (agreed - chance) / (1 - chance)


def test_the_kappa_of_a_label_is_that_of_the_label_against_all_others():
    random = np.random.default_rng(3)
    a = random.integers(0, 3, 200)
    b = np.where(random.random(200) < 0.7, a, random.integers(0, 3, 200))
    kappa = agreement_of(a, b).label_kappa
    assert kappa[:3] == pytest.approx([cohen(a == label, b == label) for label in range(3)])
    assert np.isnan(kappa[3])


def test_labels_that_hold_are_not_marked_and_the_worst_come_first():
    a = np.repeat([0, 1, 2], 20)
    b = np.concatenate([np.zeros(20), [1] * 12 + [2] * 8, [2] * 4 + [1] * 16]).astype(int)
    found = agreement_of(a, b)
    assert found.least_consistent() == (2, 1)
    assert "2, 1" in found.mark_hint()


def test_labels_with_few_points_are_not_marked():
    a, b = np.array([0] * 50 + [1, 2]), np.array([0] * 50 + [2, 1])
    found = agreement_of(a, b)
    assert found.label_kappa[1] < 0
    assert found.least_consistent() == ()
    assert "Nothing to mark" in found.mark_hint()


def with_visibility(scene):
    return replace(scene, map=replace(scene.map, visibility=point_visibility(scene.map)))


def test_a_correspondence_file_goes_before_all_else(tmp_path):
    scene = with_visibility(toy_scene(tmp_path))
    reference, query = scene.reference[1], scene.queries[1]
    points = np.random.default_rng(0).uniform(5, 40, (12, 2))
    known = Correspondences(points, points + 1, np.ones(12))
    write_correspondences(tmp_path / "correspondences" / "overcast_0001_snow_0001.mat", reference.name, query.name, known)
    found = known_points(scene, reference, query)
    assert found.source == "of the correspondence file"
    assert np.allclose(found.points_query - found.points_ref, 1, atol=1e-5)
    other = known_points(scene, scene.reference[0], query)
    assert other.source == "of the map, by the query's known pose"


def test_a_correspondence_file_is_read_in_either_direction(tmp_path):
    scene = toy_scene(tmp_path)
    reference, query = scene.reference[1], scene.queries[1]
    points = np.random.default_rng(0).uniform(5, 40, (12, 2))
    known = Correspondences(points, points + 1, np.ones(12))
    write_correspondences(tmp_path / "correspondences" / "snow_0001_overcast_0001.mat", query.name, reference.name, known)
    found = known_points(scene, reference, query)
    assert np.allclose(found.points_ref - found.points_query, 1, atol=1e-5)


def write_depth(root, name, depth_cm):
    path = root / "truth" / "depth" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), depth_cm)


def test_true_depth_moves_pixels_by_both_poses_and_leaves_out_what_is_hidden(tmp_path):
    scene = toy_scene(tmp_path)
    reference, query = scene.reference[1], scene.queries[1]  # 0.4 m apart, f = 60: a wall at 6 m moves by 4 px
    wall = np.full((48, 64), 600, np.uint16)
    hidden = wall.copy()
    hidden[:, :20] = 200  # a pillar before the query alone
    write_depth(tmp_path, reference.name, wall)
    write_depth(tmp_path, query.name, hidden)
    found = known_points(scene, reference, query)
    assert found.source == "of the true depth"
    assert np.allclose(found.points_query - found.points_ref, [-4.0, 0.0], atol=1e-9)
    assert found.points_query[:, 0].min() > 19
    assert len(found) > 100


def test_two_images_of_the_map_share_the_points_that_both_observed(tmp_path):
    scene = toy_scene(tmp_path)
    found = known_points(scene, scene.reference[0], scene.reference[1])
    assert found.source == "of the map seen in both"
    moved = scene.map.points3D  # sideways by 1 m: rows stay
    assert np.allclose(found.points_ref[:, 1], found.points_query[:, 1], atol=1e-4)
    assert 8 <= len(found) <= len(moved)


def test_points_by_a_known_pose_lie_where_the_query_sees_them(tmp_path):
    scene = with_visibility(toy_scene(tmp_path))
    found = known_points(scene, scene.reference[0], scene.queries[0])
    assert found.source == "of the map, by the query's known pose"
    assert np.allclose(found.points_ref[:, 1], found.points_query[:, 1], atol=1e-4)


def test_without_files_depth_or_poses_nothing_is_known(tmp_path):
    scene = toy_scene(tmp_path, with_map=False)
    assert known_points(scene, scene.reference[0], scene.queries[0]) is None


def test_a_damaged_correspondence_file_gives_way_to_the_map(tmp_path):
    scene = toy_scene(tmp_path)
    (tmp_path / "correspondences").mkdir()
    (tmp_path / "correspondences" / "0000_0001.mat").write_bytes(b"no HDF5 at all")
    assert known_points(scene, scene.reference[0], scene.reference[1]).source == "of the map seen in both"


@pytest.fixture
def label_table(qtbot):
    table = LabelTable()
    qtbot.addWidget(table)
    labels = np.repeat(np.arange(4), 25).reshape(10, 10)
    table.resize(260, 300)

    def fill(agreement):
        sides = LabelMap(labels, 4, "toy"), LabelMap(labels, 4, "toy")
        table.set_labels(label_rows(*sides, agreement), COLORS, None)
        table.set_agreement(agreement, False)
        return table

    return fill


def test_the_table_sorts_by_kappa_as_a_number_and_unknown_ones_come_last(label_table):
    a = np.repeat([0, 1, 2], 20)
    b = np.concatenate([np.zeros(20), [1] * 12 + [2] * 8, [2] * 4 + [1] * 16]).astype(int)
    table = label_table(agreement_of(a, b))
    table.table.sortByColumn(KAPPA, Qt.SortOrder.AscendingOrder)
    assert table.ids() == [2, 1, 0, 3]
    assert not table.table.isColumnHidden(KAPPA)
    assert table.agreement.text().startswith("kappa 0.40 ·")
    assert "at 60 points that are inliers" in table.agreement.text()


def test_without_known_points_there_is_no_kappa_and_no_switch(label_table):
    table = label_table(None)
    assert table.table.isColumnHidden(KAPPA)
    assert table.agreement.text() == ""
    assert table.mark.isHidden()


def test_the_switch_tells_its_wish_and_setting_it_says_nothing(label_table, qtbot):
    table = label_table(agreement_of(np.zeros(9, int), np.zeros(9, int)))
    told = []
    table.marking_chosen.connect(told.append)
    table.set_agreement(agreement_of(np.zeros(9, int), np.zeros(9, int)), True)
    assert table.mark.isChecked()
    assert told == []
    table.mark.click()
    assert told == [False]
