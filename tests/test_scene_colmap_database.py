"""Databases of COLMAP: written by pycolmap, read with SQLite alone, and a plain model localized in by what they hold."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from foreign_scenes import errors_of_queries

from core.errors import InputError, SceneError
from core.geometry import NUM_CAMERA_PARAMS
from core.images import read_image
from core.localizer.colmap_sift import extract_colmap_sift
from core.localizer.features import FeatureConfig, dequantize_descriptors
from core.localizer.pipeline import localize
from core.records import FeatureFile, Observations
from core.scene.colmap import params_to_colmap, points2D_to_colmap, rows_by_image, to_pycolmap_camera, write_model
from core.scene.colmap_database import COLMAP_SIFT, open_database
from core.scene.feature_files import read_features
from core.scene.scene import open_scene
from core.steps import finish


def write_database(path, entries):
    """Write (name, camera, keypoints with COLMAP's px, descriptors u8) by pycolmap."""
    database = pycolmap.Database.open(str(path))
    for k, (name, camera, keypoints, descriptors) in enumerate(entries, start=1):
        database.write_camera(to_pycolmap_camera(camera, k), use_camera_id=True)
        database.write_image(pycolmap.Image(name=name, camera_id=k, image_id=k), use_image_id=True)
        database.write_keypoints(k, keypoints.astype(np.float32))
        if descriptors is not None:
            kind = pycolmap.FeatureExtractorType.SIFT
            database.write_descriptors(k, pycolmap.FeatureDescriptors(data=descriptors, type=kind))
    database.close()


def colmap_map(scene):
    """The world's map seen by COLMAP's own SIFT: each observation takes its nearest keypoint; the features of each image."""
    truth, features, points2D, rows_kept, descriptors = scene.map, {}, [], [], []
    config = FeatureConfig(max_keypoints=3000)
    for i, rows in enumerate(rows_by_image(truth.observations, len(truth.images))):
        found = extract_colmap_sift(read_image(truth.images[i].path), config)
        features[truth.images[i].name] = found
        apart = np.linalg.norm(found.keypoints[None] - truth.observations.points2D[rows][:, None], axis=2)
        near = apart.min(axis=1) < 1.0
        rows_kept.append(rows[near])
        points2D.append(found.keypoints[apart.argmin(axis=1)[near]])
        descriptors.append(found.descriptors[apart.argmin(axis=1)[near]])
    rows = np.concatenate(rows_kept)
    order = np.argsort(rows)
    seen = truth.observations
    quantized = np.clip(np.rint(np.concatenate(descriptors) * 512), 0, 255)
    kept = Observations(seen.point[rows][order], seen.image[rows][order], np.concatenate(points2D)[order], quantized[order])
    return replace(truth, observations=kept, extractor=COLMAP_SIFT, labels=None, visibility=None)


@pytest.fixture(scope="module")
def written(small_world_scene, tmp_path_factory):
    """A plain COLMAP project: sparse/0, images and a database of the map's images and of the queries."""
    out = tmp_path_factory.mktemp("colmap") / "project"
    scene_map = colmap_map(small_world_scene)
    write_model(out / "sparse" / "0", scene_map)
    entries = []
    for image, rows in zip(scene_map.images, rows_by_image(scene_map.observations, len(scene_map.images)), strict=True):
        keypoints = points2D_to_colmap(scene_map.observations.points2D[rows])
        entries.append((image.name, image.camera, keypoints, scene_map.observations.descriptors[rows]))
    for query in small_world_scene.queries:
        found = extract_colmap_sift(read_image(query.path), FeatureConfig())
        quantized = np.clip(np.rint(found.descriptors * 512), 0, 255).astype(np.uint8)
        columns = [points2D_to_colmap(found.keypoints), found.scales[:, None], found.orientations_rad[:, None]]
        entries.append((query.name, query.camera, np.hstack(columns), quantized))
    write_database(out / "database.db", entries)
    shutil.copytree(small_world_scene.root / "images", out / "images")
    return out, scene_map


@pytest.fixture
def project(written, tmp_path):
    return shutil.copytree(written[0], tmp_path / "project")


def test_a_plain_model_takes_its_descriptors_from_its_database(written):
    out, truth = written
    scene = open_scene(out)
    assert (scene.layout, scene.map.extractor) == ("COLMAP model", COLMAP_SIFT)
    np.testing.assert_array_equal(scene.map.observations.descriptors, truth.observations.descriptors)
    np.testing.assert_allclose(scene.map.observations.points2D, truth.observations.points2D, atol=1e-4)


def test_images_that_colmap_did_not_place_are_queries_and_are_localized(written, small_world_scene):
    scene = open_scene(written[0])
    assert {query.name for query in scene.queries} == {query.name for query in small_world_scene.queries}
    assert any("2 images of" in note and "are taken as queries" in note for note in scene.notes)
    errors = errors_of_queries(scene, small_world_scene)
    assert errors[:, 0].max() < 0.15
    assert errors[:, 1].max() < 0.8


def test_a_photograph_that_the_database_has_not_is_described_by_colmaps_sift(written, small_world_scene):
    scene = open_scene(written[0])
    alone = replace(scene, queries=tuple(replace(query, features=None) for query in scene.queries))
    assert errors_of_queries(alone, small_world_scene)[:, 0].max() < 0.15


def test_the_opened_map_is_saved_and_opened_again_with_its_extractor(written, tmp_path):
    from core.scene.map_file import load_map, save_map

    scene = open_scene(written[0])
    save_map(tmp_path / "map", scene.map)
    again = load_map(tmp_path / "map")
    assert again.extractor == COLMAP_SIFT
    np.testing.assert_array_equal(again.observations.descriptors, scene.map.observations.descriptors)


def test_our_sift_and_colmaps_are_not_mixed(written, small_world_scene):
    ours = replace(small_world_scene.queries[0], features=FeatureFile(written[0] / "database.db", COLMAP_SIFT, "x"))
    with pytest.raises(InputError, match="'colmap-sift-root' cannot be matched to those of 'opencv-sift-root/1'"):
        finish(localize(ours, small_world_scene.map))


def test_the_database_gives_what_pycolmap_reads(written):
    path = written[0] / "database.db"
    theirs = pycolmap.Database.open(str(path))
    with open_database(path) as ours:
        assert ours.extractor == COLMAP_SIFT
        cameras = ours.cameras()
        for image in theirs.read_all_images():
            keypoints = theirs.read_keypoints(image.image_id)
            table = ours.keypoints(image.name)
            np.testing.assert_allclose(table[:, :2] + 0.5, keypoints[:, :2], atol=1e-4)
            descriptors = theirs.read_descriptors(image.image_id).data
            np.testing.assert_array_equal(ours.descriptors(image.name), descriptors)
            camera = theirs.read_camera(image.camera_id)
            assert cameras[image.name].model == camera.model_name
            np.testing.assert_allclose(params_to_colmap(cameras[image.name]), camera.params)
    theirs.close()


def test_features_of_a_query_are_of_unit_length_with_scale_and_angle(written, small_world_scene):
    name = small_world_scene.queries[0].name
    found = read_features(FeatureFile(written[0] / "database.db", COLMAP_SIFT, name))
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    made = extract_colmap_sift(read_image(small_world_scene.queries[0].path), FeatureConfig())
    np.testing.assert_allclose(found.keypoints, made.keypoints, atol=1e-3)
    np.testing.assert_allclose(found.scales, made.scales, rtol=1e-4)
    np.testing.assert_allclose(found.orientations_rad, made.orientations_rad, atol=1e-4)
    assert np.abs(np.einsum("nd,nd->n", found.descriptors, made.descriptors) - 1).max() < 1e-2


def test_affine_keypoints_give_scale_and_angle(tmp_path, small_world_scene):
    scale, angle = 3.0, 0.7
    affinity = scale * np.array([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)])
    keypoints = np.array([[10.5, 20.5, *affinity]])
    write_database(tmp_path / "a.db", [("a.jpg", small_world_scene.queries[0].camera, keypoints, np.ones((1, 128), np.uint8))])
    found = read_features(FeatureFile(tmp_path / "a.db", COLMAP_SIFT, "a.jpg"))
    assert (found.scales[0], found.orientations_rad[0]) == (pytest.approx(scale), pytest.approx(angle))
    np.testing.assert_allclose(found.keypoints, [[10, 20]])
    np.testing.assert_allclose(found.descriptors, dequantize_descriptors(np.ones((1, 128), np.uint8)), atol=1e-6)


@pytest.mark.parametrize("model", NUM_CAMERA_PARAMS)
def test_cameras_of_every_model_come_out_of_a_database(tmp_path, model):
    theirs = pycolmap.Camera.create_from_model_name(1, model, 500.0, 640, 480)
    database = pycolmap.Database.open(str(tmp_path / "a.db"))
    database.write_camera(theirs, use_camera_id=True)
    database.write_image(pycolmap.Image(name="a.jpg", camera_id=1, image_id=1), use_image_id=True)
    database.close()
    with open_database(tmp_path / "a.db") as ours:
        camera = ours.cameras()["a.jpg"]
    assert camera.model == model
    np.testing.assert_allclose(params_to_colmap(camera), theirs.params)


# What is wrong with a database.


def changed(project, *statements):
    with sqlite3.connect(project / "database.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return project / "database.db"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE keypoints SET rows = 99999999999", "are 99999999999 x 2 by count, but hold"),
        ("UPDATE descriptors SET rows = rows + 1", "by count, but hold"),
        ("UPDATE keypoints SET cols = -2", "by count, but hold"),
        ("UPDATE descriptors SET data = NULL", "by count, but hold no bytes"),
        ("UPDATE cameras SET model = 99", "has the model id 99, expected one of"),
        ("UPDATE cameras SET params = x'0000'", "has no 4 parameters"),
        ("UPDATE cameras SET width = 0", "camera size is 0 x 300"),
        ("UPDATE images SET camera_id = 77", "uses a camera that is not in the table"),
        ("UPDATE descriptors SET type = 55", "descriptors of the types"),
        ("DROP TABLE descriptors", "no database of COLMAP"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_note_and_the_map_opens(project, statement, sentence):
    changed(project, "PRAGMA foreign_keys = OFF", statement)
    scene = open_scene(project)
    assert scene.map.observations.descriptors is None
    assert any(str(project / "database.db") in note and sentence in note for note in scene.notes), scene.notes


def test_keypoints_of_another_run_are_not_taken_for_the_models(project):
    with open_database(project / "database.db") as database:
        table = database.keypoints("overcast/0000.jpg")
    table[0, 0] += 100
    data = (table + [0.5, 0.5]).astype("<f4").tobytes()
    with sqlite3.connect(project / "database.db") as connection:
        connection.execute("UPDATE keypoints SET data = ? WHERE image_id = 1", (data,))
    connection.close()
    scene = open_scene(project)
    assert any("100.0 px from the model's, so they do not belong together" in note for note in scene.notes)


def test_an_image_without_features_is_said_and_the_others_keep_theirs(project):
    changed(project, "DELETE FROM descriptors WHERE image_id = 2")
    scene = open_scene(project)
    seen = scene.map.observations
    assert any("has no features of 1 of 6 images (the first: overcast/0001.jpg)" in note for note in scene.notes)
    assert not seen.descriptors[seen.image == 1].any()
    assert seen.descriptors[seen.image != 1].any(axis=1).all()


def test_a_database_without_descriptors_is_as_good_as_none(project):
    changed(project, "DELETE FROM descriptors")
    scene = open_scene(project)
    assert (scene.map.observations.descriptors, scene.queries, scene.notes) == (None, (), ())


@pytest.mark.parametrize("content", [b"", b"nonsense" * 500, b"SQLite format 3\0" + b"\0" * 100])
def test_what_is_no_database_is_one_sentence(tmp_path, content):
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(SceneError, match=r"a\.db: ") as error, open_database(tmp_path / "a.db"):
        pass
    assert str(error.value).startswith(str(tmp_path))


def test_a_cut_off_database_is_a_note(project):
    path = project / "database.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scene = open_scene(project)
    assert scene.map.observations.descriptors is None
    assert any("database.db" in note for note in scene.notes)


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(SceneError, match="no such database"), open_database(tmp_path / "none.db"):
        pass
