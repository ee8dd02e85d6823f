"""Output folders of hloc: models, features of any extractor, logs that are never unpickled, results, matches."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - what hloc writes, and what an attacker would
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pycolmap
import pytest
from benchmark_toys import TrueScene
from foreign_scenes import errors_of_queries, features_of, same_map

from core.errors import InputError, SceneError
from core.geometry import Camera, Rigid3d
from core.localizer.matching import MatchConfig
from core.localizer.pipeline import LocalizerConfig, localize
from core.records import FeatureFile, ImageData, Observations, SceneMap
from core.scene.colmap import ColmapImage, params_to_colmap, points2D_to_colmap, to_pycolmap_camera, to_pycolmap_pose
from core.scene.described import described_map
from core.scene.feature_files import read_features
from core.scene.hloc import read_results
from core.scene.hloc_logs import read_logs
from core.scene.hloc_matches import read_matches
from core.scene.list_files import write_poses
from core.scene.map_file import load_map, save_map
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_hloc import write_hloc


@pytest.fixture(scope="module")
def written(small_world_scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("hloc") / "outputs"
    write_hloc(small_world_scene, out, features_of)
    return out


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "outputs")


def test_a_world_comes_back_as_it_was_written(written, small_world_scene):
    scene = open_scene(written)
    assert (scene.layout, scene.notes) == ("hloc outputs", ())
    same_map(scene.map, small_world_scene.map)
    assert scene.map.extractor == "feats-world-sift"
    assert [query.name for query in scene.queries] == [query.name for query in small_world_scene.queries]
    assert all(query.cam_from_world is None and query.path.is_file() for query in scene.queries)


def test_its_queries_are_localized_by_the_features_in_the_file(written, small_world_scene):
    scene = open_scene(written)
    blind = replace(scene, queries=tuple(replace(query, path=Path("none.jpg")) for query in scene.queries))
    errors = errors_of_queries(blind, small_world_scene)  # no pixel is looked at
    assert errors[:, 0].max() < 0.1
    assert errors[:, 1].max() < 0.5


def as_superpoint(descriptors):
    """Descriptors of 256 numbers of both signs: a random turn of what they were."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(256, 256)))[0][: descriptors.shape[1]]
    return descriptors @ turn


def test_half_floats_of_256_dimensions_and_both_signs_localize_as_well(written, folder, small_world_scene):
    source = folder / "feats-world-sift.h5"
    with h5py.File(source) as old, h5py.File(folder / "feats-superpoint-n4096-r1024.h5", "w") as new:
        names = []
        old.visititems(lambda name, item: names.append(name) if "keypoints" in getattr(item, "keys", list)() else None)
        for name in names:
            group = new.create_group(name)
            group["keypoints"] = old[name]["keypoints"][()]
            group["descriptors"] = as_superpoint(old[name]["descriptors"][()].T).T.astype(np.float16)
    source.unlink()
    scene = open_scene(folder)
    assert scene.map.observations.descriptors.dtype == np.float16
    assert scene.map.observations.descriptors.shape[1] == 256
    assert scene.map.extractor == "feats-superpoint-n4096-r1024"
    assert errors_of_queries(scene, small_world_scene)[:, 0].max() < 0.1
    save_map(folder / "own", scene.map)
    again = load_map(folder / "own")
    assert again.extractor == scene.map.extractor
    np.testing.assert_array_equal(again.observations.descriptors, scene.map.observations.descriptors)


def test_keypoints_in_half_floats_beyond_a_thousand_pixels_are_still_the_models(tmp_path):
    """hloc adds COLMAP's half pixel to half floats, which rounds it to whole pixels there."""
    half = np.random.default_rng(0).uniform(0, 4000, (200, 2)).astype(np.float16)
    model = (half + np.float16(0.5)).astype(np.float64)
    image = ColmapImage("a/b.jpg", 1, Rigid3d.identity(), model - 0.5, np.arange(200))
    points = Observations(np.arange(200), np.zeros(200), model - 0.5)
    camera = Camera.pinhole(4000, 4000, 3000)
    scene_map = SceneMap(np.ones((200, 3)), np.zeros((200, 3)), (ImageData("a/b.jpg", tmp_path, "", camera),), points)
    source = h5_of(tmp_path / "f.h5", keypoints=half, descriptors=np.eye(200, dtype=np.float16)).path
    described, notes = finish(described_map(scene_map, [image], np.arange(200), source))
    assert notes == ()
    np.testing.assert_array_equal(described.observations.descriptors.argmax(axis=1), np.arange(200))


def test_mixed_extractors_are_refused_with_both_names(written):
    scene = open_scene(written)
    plain = replace(scene.queries[0], features=None)
    with pytest.raises(InputError, match=r"'opencv-sift-root/1' cannot be matched to those of 'feats-world-sift'"):
        finish(localize(plain, scene.map))
    other = replace(scene.queries[0], features=replace(scene.queries[0].features, extractor="feats-disk"))
    with pytest.raises(InputError, match=r"'feats-disk' cannot be matched to those of 'feats-world-sift'"):
        finish(localize(other, scene.map))


def test_features_that_are_not_the_models_are_left_out_with_a_note(folder):
    with h5py.File(folder / "feats-world-sift.h5", "a") as file:
        file["overcast/0000.jpg/keypoints"][...] += 30
    scene = open_scene(folder)
    assert scene.map.observations.descriptors is None
    assert any("30.0 px from the model's, so they do not belong together" in note for note in scene.notes)


def test_the_model_of_the_benchmarks_own_sift_stands_behind_hlocs(folder):
    shutil.copytree(folder / "sfm_world", folder / "sfm_sift")
    scene = open_scene(folder)
    assert scene.map_path.name == "sfm_world"
    assert any("sfm_sift beside it" in note for note in scene.notes)


# Logs: as hloc writes them, old and new, and as nobody should.


def new_log(scene, query):
    """What pose_from_cluster of hloc 1.5 and its log hold for one query."""
    found = finish(localize(query, scene.map))
    points2D = points2D_to_colmap(found.matches.points2D)
    mask = found.result.inlier_mask
    ret = {"cam_from_world": to_pycolmap_pose(found.result.cam_from_world), "num_inliers": int(mask.sum()), "inlier_mask": mask}
    ret["camera"] = to_pycolmap_camera(query.camera, 1)
    seen = [(int(p), [0, 1]) for p in found.matches.point_ids]
    by_keypoint = (found.matches.keypoint.tolist(), seen)
    log = {"db": [1, 2], "PnP_ret": ret, "keypoints_query": points2D, "points3D_ids": [p for p, _ in seen]}
    return log | {"points3D_xyz": None, "num_matches": len(points2D), "keypoint_index_to_db": by_keypoint}, found


def old_log(scene, query):
    log, found = new_log(scene, query)
    pose = found.result.cam_from_world
    cfg = {"model": query.camera.model, "width": 400, "height": 300, "params": params_to_colmap(query.camera).tolist()}
    log["PnP_ret"] = {"success": True, "qvec": pose.qvec, "tvec": pose.tvec, "cfg": cfg}
    log["PnP_ret"]["inliers"] = found.result.inlier_mask.tolist()
    return log, found


@pytest.fixture
def with_logs(folder):
    """The folder with results and logs, and without the list of queries."""
    scene = open_scene(folder)
    made = {query.name: new_log(scene, query) for query in scene.queries}
    write_poses(folder / "world_hloc.txt", {name: found.result.cam_from_world for name, (_, found) in made.items()})
    paths = {key: Path("outputs") / f"{key}.h5" for key in ("features", "matches", "retrieval")}
    logs = defaultdict(dict, paths | {"loc": {name: log for name, (log, _) in made.items()}})
    (folder / "world_hloc.txt_logs.pkl").write_bytes(pickle.dumps(logs))
    (folder / "queries_with_intrinsics.txt").unlink()
    return folder, {name: found for name, (_, found) in made.items()}


def test_logs_tell_queries_cameras_and_what_hloc_found(with_logs, small_world_scene):
    folder, found = with_logs
    scene = open_scene(folder)
    assert [query.name for query in scene.queries] == list(found)
    for query in scene.queries:
        np.testing.assert_allclose(query.camera.params, small_world_scene.image(query.name).camera.params)
        assert query.cam_from_world is None
    assert any("names and cameras are those of these logs" in note for note in scene.notes)
    assert any("hloc's own poses of 2 queries, shown as no truth" in note for note in scene.notes)
    logs = finish(read_logs(folder / "world_hloc.txt_logs.pkl"))
    for name, log in logs.items():
        np.testing.assert_allclose(log.cam_from_world.matrix(), found[name].result.cam_from_world.matrix(), atol=1e-9)
        np.testing.assert_allclose(log.points2D, found[name].matches.points2D, atol=1e-9)
        np.testing.assert_array_equal(log.inliers, found[name].result.inlier_mask)
        assert (log.num_matches, log.map_image_ids) == (len(found[name].matches), (1, 2))
    assert errors_of_queries(scene, small_world_scene)[:, 0].max() < 0.1


def test_results_are_poses_by_name(with_logs):
    folder, found = with_logs
    poses = read_results(folder / "world_hloc.txt")
    for name, pose in poses.items():
        np.testing.assert_allclose(pose.matrix(), found[name].result.cam_from_world.matrix(), atol=1e-9)


def test_logs_of_old_versions_and_of_clusters_read_the_same(written, tmp_path):
    scene = open_scene(written)
    log, found = old_log(scene, scene.queries[0])
    clusters = {"db": [3], "best_cluster": 1, "log_clusters": [{}, log], "covisibility_clustering": True}
    lost = {"db": [3], "best_cluster": None, "log_clusters": [{}]}
    (tmp_path / "x_logs.pkl").write_bytes(pickle.dumps({"loc": {"a.jpg": log, "b.jpg": clusters, "c.jpg": lost}}, 2))
    logs = finish(read_logs(tmp_path / "x_logs.pkl"))
    for name in ("a.jpg", "b.jpg"):
        np.testing.assert_allclose(logs[name].cam_from_world.matrix(), found.result.cam_from_world.matrix(), atol=1e-9)
        np.testing.assert_array_equal(logs[name].inliers, found.result.inlier_mask)
        assert logs[name].camera.model == "PINHOLE"
    assert logs["c.jpg"].cam_from_world is None
    assert len(logs["c.jpg"].points2D) == 0


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_malicious_logs_are_refused_and_run_nothing(with_logs, tmp_path):
    folder, _ = with_logs
    path = folder / "world_hloc.txt_logs.pkl"
    content = pickle.dumps({"loc": {"a.jpg": {"db": [], "PnP_ret": Evil(tmp_path / "ran")}}})
    path.write_bytes(content)
    with pytest.raises(SceneError, match=r"_logs\.pkl: holds .*system, expected only") as error:
        open_scene(folder)
    assert str(error.value).startswith(str(path))
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)  # the same bytes, unpickled
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [{"x": 1}, [1, 2], {"loc": {"a.jpg": 5}}, {"loc": {"a.jpg": {"PnP_ret": {"camera": {"model": 1}}}}}]
)
def test_logs_of_another_form_are_one_sentence(tmp_path, content):
    (tmp_path / "x_logs.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(SceneError, match=r"x_logs\.pkl: "):
        finish(read_logs(tmp_path / "x_logs.pkl"))


# Matches and features as HDF5.


@pytest.mark.parametrize("joined", ["/", "_"])
def test_matches_read_in_both_orders_and_of_both_versions(tmp_path, joined):
    path = tmp_path / "feats_matches-superglue.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group(f"night-q.jpg{joined}day-a.jpg")
        group["matches0"] = np.array([-1, 4, -1, 0], np.int16)
        group["matching_scores0"] = np.array([0, 0.5, 0, 0.9], np.float16)
    ((other, index, scores),) = read_matches(path, "night/q.jpg", ["b", "day/a.jpg"])
    assert other == "day/a.jpg"
    np.testing.assert_array_equal(index, [[1, 4], [3, 0]])
    np.testing.assert_allclose(scores, [0.5, 0.9], atol=1e-3)
    ((_, back, _),) = read_matches(path, "day/a.jpg", ["night/q.jpg"])
    np.testing.assert_array_equal(back, [[4, 1], [0, 3]])
    assert list(read_matches(path, "a", ["b"])) == []


@pytest.fixture
def matched(tmp_path):
    """hloc's output of a toy whose descriptors are all alike, with true matches of its queries to two map images."""
    true = TrueScene(tmp_path / "from", pictures=False)
    blind = np.full((len(true.scene.map.observations.point), 128), 45, np.uint8)
    scene_map = replace(true.scene.map, observations=replace(true.scene.map.observations, descriptors=blind))
    scene = replace(true.scene, map=scene_map, reference=scene_map.images)
    write_hloc(
        scene,
        tmp_path / "out",
        lambda image: replace(true.features(image), descriptors=np.full_like(true.features(image).descriptors, 128**-0.5)),
    )
    with h5py.File(tmp_path / "out" / "feats-world-sift_matches-x_pairs-query.h5", "w") as file:
        for query in scene.queries:
            for image in scene.reference[:2]:
                matches = true.same_points(query, image)
                group = file.create_group(f"{query.name.replace('/', '-')}/{image.name.replace('/', '-')}")
                group["matches0"] = matches.astype(np.int16)
    return true.scene, tmp_path / "out"


def test_queries_are_localized_by_the_matches_in_the_file_where_descriptors_say_nothing(matched):
    truth, out = matched
    errors = errors_of_queries(open_scene(out), truth)
    assert errors[:, 0].max() < 1e-3
    assert errors[:, 1].max() < 1e-2
    query, scene_map = open_scene(out).queries[0], open_scene(out).map
    config = LocalizerConfig(matching=MatchConfig(source="nearest"))
    assert len(finish(localize(query, scene_map, config)).matches) < 10, "nearest neighbours of descriptors that are alike"


def test_matches_of_keypoints_that_are_not_there_are_one_sentence(matched):
    _, out = matched
    path = next(out.glob("*_matches-x_*.h5"))
    with h5py.File(path, "a") as file:
        group = next(iter(next(iter(file.values())).values()))
        group["matches0"][0] = 9999
    with pytest.raises(SceneError, match=r"pairs-query\.h5: matches keypoints of .* that .*feats-world-sift\.h5 has not"):
        [finish(localize(query, open_scene(out).map)) for query in open_scene(out).queries]


def h5_of(path, **datasets):
    with h5py.File(path, "w") as file:
        group = file.create_group("a/b.jpg")
        for name, value in datasets.items():
            group.create_dataset(name, **value) if isinstance(value, dict) else group.create_dataset(name, data=value)
    return FeatureFile(path, path.stem, "a/b.jpg")


GOOD = {"keypoints": np.zeros((3, 2)), "descriptors": np.ones((8, 3))}
BAD = {
    "no such image": ({}, "has no features of"),
    "no descriptors": ({"descriptors": None}, "has no descriptors of two dimensions"),
    "transposed": ({"descriptors": np.ones((3, 8))}, "3 keypoints and 8 descriptors"),
    "texts": ({"keypoints": np.array([[b"a", b"b"]])}, "has no keypoints of two dimensions"),
    "not finite": ({"descriptors": np.full((8, 3), np.nan)}, "are not finite"),
    "one column": ({"keypoints": np.zeros((3, 1))}, "no finite"),
    "huge": ({"descriptors": {"shape": (2**20, 2**30), "dtype": "f4", "chunks": (64, 64)}}, "by count, but hold 0 bytes"),
}


@pytest.mark.parametrize("what", BAD)
def test_features_that_cannot_be_used_are_one_sentence(tmp_path, what):
    change, sentence = BAD[what]
    source = h5_of(tmp_path / "f.h5", **{k: v for k, v in {**GOOD, **change}.items() if v is not None})
    source = replace(source, key="none.jpg") if what == "no such image" else source
    with pytest.raises(SceneError, match=sentence) as error:
        read_features(source)
    assert str(error.value).startswith(str(tmp_path))


def test_a_file_that_points_to_other_files_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.ones((8, 3), np.float32).tobytes())
    raw = {"shape": (8, 3), "dtype": "f4", "external": [(str(tmp_path / "secret.bin"), 0, 96)]}
    with pytest.raises(SceneError, match=r"f\.h5: descriptors of 'a/b\.jpg' lie in another file"):
        read_features(h5_of(tmp_path / "f.h5", **{**GOOD, "descriptors": raw}))
    h5_of(tmp_path / "other.h5", **GOOD)
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["a/b.jpg"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a/b.jpg")
    with pytest.raises(SceneError, match=r"g\.h5: keypoints of 'a/b\.jpg' lie in another file"):
        read_features(FeatureFile(tmp_path / "g.h5", "g", "a/b.jpg"))


def test_a_cut_off_or_wrong_file_of_features_is_one_sentence(tmp_path):
    source = h5_of(tmp_path / "f.h5", **GOOD)
    data = source.path.read_bytes()
    for content in (data[: len(data) // 2], b"nonsense" * 100, b""):
        source.path.write_bytes(content)
        with pytest.raises(SceneError, match=r"f\.h5: "):
            read_features(source)


def test_keypoints_beyond_the_querys_image_are_refused(written):
    scene = open_scene(written)
    small = scene.queries[0].camera.scaled(40, 30)
    with pytest.raises(SceneError, match="but its camera is for 40 x 30"):
        finish(localize(replace(scene.queries[0], camera=small), scene.map))


def test_pycolmap_reads_the_same_model(written):
    model = pycolmap.Reconstruction(str(written / "sfm_world"))
    scene = open_scene(written)
    assert model.num_images() == len(scene.reference)
    assert model.num_points3D() == len(scene.map.points3D)
