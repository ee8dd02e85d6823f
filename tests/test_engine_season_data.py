"""Training data across seasons: correspondence folders in the paper's layout, scenes with a map, shards, several joined."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from engine_toys import drain, toy_set

from core.engine.dataset import TrainingSet
from core.engine.lazy_images import BoundedCache, ImageStore, resized
from core.engine.scene_pairs import PairingConfig, SceneCorrespondences
from core.engine.season_data import JoinedData, check_pair_data, first_indices, notes_of, open_pair_data, split
from core.engine.season_pairs import SeasonViews
from core.errors import ImageError, InputError, SceneError
from core.images import image_size, read_image, read_labels, write_image
from core.records import Correspondences, Scene
from core.scene.correspondences import write_correspondences, write_reference_positions
from core.steps import finish
from core.world.export import write_scene
from core.world.render import Rendering
from core.world.traversal import transfer
from resources import DEMO

SIZE = (60, 40)  # width, height
CONDITIONS = ("database", "query")


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
    write_image(path, np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def some_points(num: int, seed: int, size: tuple[int, int] = SIZE) -> Correspondences:
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0, np.array(size) - 1, (2, num, 2))
    return Correspondences(*sides, rng.uniform(0.1, 1, num))


def paper_root(root: Path, folder: str = "correspondence_data", references: int = 4, others: int = 3) -> Path:
    """``references`` reference images with ``others`` images each, none shared, as the paper's data sets have them."""
    for r in range(references):
        reference = f"slice2/database/img_{r}.jpg"
        picture(root / "images" / reference, r)
        for k in range(others):
            other = f"slice2/query/img_{r}_{k}.jpg"
            picture(root / "images" / other, 100 * r + k)
            write_correspondences(root / folder / f"pair_{r}_{k}.mat", reference, other, some_points(9 + k, 10 * r + k))
    return root


def names_of(data) -> list[str]:
    return [data.view(index).name for index in range(len(data))]


def images_of(data) -> set[str]:
    return {path.as_posix() for index in range(len(data)) for path in data.view(index).images.paths}


@pytest.fixture(scope="module")
def world_scene(tmp_path_factory):
    """A small scene of a world with exact correspondence files and a map."""
    out = tmp_path_factory.mktemp("world") / "scene"
    return finish(write_scene("urban", 5, ["snow"], 4, 2, (256, 192), out, truth=True, spacing_m=1.0))


def true_rendering(scene: Scene, name: str) -> Rendering:
    """The depth (to a centimetre) and pose of an image, without its colours."""
    image = scene.image(name)
    depth = read_labels(scene.root / "truth/depth" / Path(name).with_suffix(".png")).astype(np.float32) / 100
    depth[depth == 0] = np.inf
    blank = np.zeros(depth.shape, np.uint8)
    return Rendering(
        rgb=np.stack([blank] * 3, -1),
        depth=depth,
        classes=blank,
        static=np.isfinite(depth),
        camera=image.camera,
        cam_from_world=image.cam_from_world,
        condition=image.condition,
    )


# The paper's files


def test_a_view_is_a_reference_image_with_all_its_partners(tmp_path):
    data = open_pair_data([paper_root(tmp_path)])
    assert names_of(data) == [f"slice2/database/img_{r}.jpg" for r in range(4)]
    view = data.view(1)
    assert view.conditions == ("database", "query", "query", "query")
    assert view.classes is None
    assert [image.shape for image in view.images] == [(40, 60, 3)] * 4
    np.testing.assert_array_equal(view.images[2], read_image(tmp_path / "images/slice2/query/img_1_1.jpg"))
    expected = some_points(10, 11)
    np.testing.assert_allclose(view.correspondences[1].points_ref, expected.points_ref, atol=1e-4)
    np.testing.assert_allclose(view.correspondences[1].points_other, expected.points_other, atol=1e-4)
    np.testing.assert_allclose(view.correspondences[1].weights, expected.weights, rtol=1e-5)


@pytest.mark.parametrize("layout", ["correspondence_data", "correspondences", "mats beside images", "mats with images", "file"])
def test_every_way_to_lay_out_a_data_set_is_recognised(layout, tmp_path):
    folder = {"mats beside images": "anything", "mats with images": ".", "file": "anything"}.get(layout, layout)
    paper_root(tmp_path, folder, references=1, others=2)
    path = tmp_path / {"mats beside images": "anything", "file": "anything/pair_0_1.mat"}.get(layout, ".")
    data = open_pair_data([path])
    assert len(data.view(0).correspondences) == (1 if layout == "file" else 2)


def test_a_folder_of_data_sets_gives_all_of_them(tmp_path):
    for name in ("CMU", "ROBOTCAR"):
        paper_root(tmp_path / name, references=2)
    (tmp_path / "notes").mkdir()
    assert names_of(open_pair_data([tmp_path])) == [f"{part}/slice2/database/img_{r}.jpg" for part in (0, 1) for r in (0, 1)]


def test_two_part_names_have_their_condition_in_front(tmp_path):
    for name in ("overcast/0001.jpg", "snow/0001.jpg"):
        picture(tmp_path / "images" / name)
    write_correspondences(tmp_path / "correspondences/a.mat", "overcast/0001.jpg", "snow/0001.jpg", some_points(3, 0))
    assert open_pair_data([tmp_path]).view(0).conditions == ("overcast", "snow")


def test_names_with_the_separators_of_another_system_are_found(tmp_path):
    for name in ("a/b/c.jpg", "a/b/d.jpg"):
        picture(tmp_path / "images" / name)
    write_correspondences(tmp_path / "correspondence_data/a.mat", "a\\b\\c.jpg", "/a/b/d.jpg", some_points(3, 0))
    assert open_pair_data([tmp_path]).view(0).images[1].shape == (40, 60, 3)


def test_reference_feature_positions_are_used_where_they_are(tmp_path):
    root = paper_root(tmp_path, references=2)
    positions = np.array([[1.5, 2.0], [59.2, 39.0], [61.0, 3.0]])  # the last lies outside
    folder = root / "correspondence_data_reference_feature_positions"
    write_reference_positions(folder, {"slice2/database/img_0.jpg": positions})
    data = open_pair_data([root])
    np.testing.assert_allclose(data.view(0).positions, positions[:2])
    assert data.view(1).positions is None


def test_points_outside_of_an_image_are_left_out_and_counted(tmp_path):
    root = paper_root(tmp_path, references=1, others=1)
    points = np.array([[0.0, 0.0], [59.4, 39.4], [59.6, 3.0], [5.0, 5.0]])
    other = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [-0.6, 5.0]])
    reference, name = "slice2/database/img_0.jpg", "slice2/query/img_0_0.jpg"
    write_correspondences(
        root / "correspondence_data/pair_0_0.mat", reference, name, Correspondences(points, other, np.ones(4))
    )
    data = open_pair_data([root])
    view = data.view(0)
    assert notes_of(data) == ()  # nothing was read yet
    np.testing.assert_allclose(view.correspondences[0].points_other, [[1, 1], [2, 2]])
    assert "2 of 4 correspondences lie outside" in notes_of(data)[0]
    assert "pair_0_0.mat" in notes_of(data)[0]


def test_a_resized_image_takes_its_points_along(tmp_path):
    root = paper_root(tmp_path, references=1, others=1)
    write_reference_positions(
        root / "correspondence_data_reference_feature_positions", {"slice2/database/img_0.jpg": np.array([[59.0, 0.0]])}
    )
    small, large = open_pair_data([root]).view(0), open_pair_data([root], short_side=100).view(0)
    assert [image.shape for image in large.images] == [(100, 150, 3)] * 2
    before, after = small.correspondences[0], large.correspondences[0]
    np.testing.assert_allclose(after.points_ref, (before.points_ref + 0.5) * 2.5 - 0.5, atol=1e-4)
    np.testing.assert_allclose(large.positions, [[59.5 * 2.5 - 0.5, 0.75]])
    assert resized(1024, 768, 1024) == (1365, 1024)  # PAPER 1.3
    assert resized(768, 1025, 1024) == (1024, 1366)


def test_images_are_read_late_and_kept_within_bounds(tmp_path):
    root = paper_root(tmp_path, references=1, others=3)
    data = open_pair_data([root], cache_bytes=3 * 60 * 40 * 3)
    view = data.view(0)
    first = view.images[0]
    assert view.images[0] is first
    assert not first.flags.writeable
    assert len(view.images[1:3]) == 2
    for index in range(1, 4):
        view.images[index]
    assert view.images[0] is not first  # three fit, the least recent went
    (root / "images/slice2/query/img_0_0.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"img_0_0\.jpg"):
        open_pair_data([root]).view(0).images[1]


def test_what_is_larger_than_the_cache_is_not_kept():
    cache = BoundedCache(10, len)
    assert cache.get("a", lambda: "x" * 11) == "x" * 11
    assert cache.num_bytes == 0
    assert cache.get("a", lambda: "y") == "y"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_the_size_of_an_image_is_known_without_decoding_it(name, tmp_path):
    picture(tmp_path / name)
    assert image_size(tmp_path / name) == SIZE


# Splits


def test_training_and_validation_share_no_image(tmp_path):
    root = paper_root(tmp_path, references=30, others=1)
    for r in range(29):  # every second image of another season shows the next place too
        pair = f"slice2/database/img_{r}.jpg", f"slice2/query/img_{r + 1}_0.jpg"
        write_correspondences(root / f"correspondence_data/more_{r}.mat", *pair, some_points(3, r))
    data = open_pair_data([root])
    train, validation = split(data, 0.3, 4)
    assert len(validation) == 9
    assert len(train) >= 18
    assert not images_of(train) & images_of(validation)
    again = split(data, 0.3, 4)
    assert [names_of(part) for part in again] == [names_of(train), names_of(validation)]
    assert names_of(split(data, 0.3, 5)[1]) != names_of(validation)


def test_the_lists_of_the_data_set_go_before_the_seed(tmp_path):
    root = paper_root(tmp_path, references=3, others=1)
    (root / "corr_train.txt").write_text("pair_0_0.mat\npair_2_0.mat\npair_0_0.mat\n\n")  # the published ones repeat files
    (root / "corr_val.txt").write_text("pair_1_0.mat\n")
    train, validation = split(open_pair_data([root]), 0.5, 0)
    assert names_of(train) == ["slice2/database/img_0.jpg", "slice2/database/img_2.jpg"]
    assert names_of(validation) == ["slice2/database/img_1.jpg"]
    (root / "corr_val.txt").write_text("pair_7_0.mat\n")
    with pytest.raises(SceneError, match=r"corr_val.txt: names 1 files .*pair_7_0.mat"):
        split(open_pair_data([root]), 0.5, 0)


def test_too_few_places_cannot_be_split(tmp_path):
    data = open_pair_data([paper_root(tmp_path, references=1)])
    with pytest.raises(InputError, match="too few"):
        split(data, 0.3, 0)
    with pytest.raises(InputError, match="between 0 and 1"):
        split(data, 1.0, 0)


def test_rendered_worlds_are_split_whole(tmp_path):
    for seed in range(4):
        toy_set(tmp_path / "one", 3, seed)
        (tmp_path / "one" / "toy-0").rename(tmp_path / f"toy-{seed}")
    (tmp_path / "one").rmdir()
    data = open_pair_data([tmp_path])
    assert isinstance(data, TrainingSet)
    train, validation = split(data, 0.25, 0)
    assert (len(train), len(validation)) == (9, 3)
    np.testing.assert_array_equal(train.view(0).images, data.view(train.indices[0]).images)


# Several data sets


def test_weights_are_the_shares_of_the_indices_and_every_view_occurs(tmp_path):
    large, small = (open_pair_data([paper_root(tmp_path / str(n), references=n, others=1)]) for n in (12, 3))
    plain = JoinedData([large, small])
    assert (len(plain), [plain.distinct(k) for k in range(15)]) == (15, list(range(15)))
    weighted = open_pair_data([tmp_path / "12", tmp_path / "3"], [1, 1])
    views = names_of(weighted)
    assert sum(name.startswith("1/") for name in views) == sum(name.startswith("0/") for name in views) == 12
    assert len(set(views)) == 15
    assert [weighted.distinct(k) for k in range(12, 19)] == [12, 13, 14, 12, 13, 14, 12]
    first = first_indices(weighted)
    assert [views[k] for k in first] == views
    assert len(set(first)) == 15
    steps, _ = drain(check_pair_data(weighted))
    assert len(steps) == 15
    train, validation = split(weighted, 0.34, 0)
    assert train.weights == validation.weights == (1.0, 1.0)
    assert not images_of(train) & images_of(validation)
    with pytest.raises(IndexError):
        weighted.view(len(weighted))


@pytest.mark.parametrize(("weights", "words"), [([1], "1 weights for 2"), ([1, 0], "positive"), ([1, np.nan], "positive")])
def test_weights_that_mean_nothing_are_refused(weights, words, tmp_path):
    paths = [paper_root(tmp_path / name, references=1) for name in "ab"]
    with pytest.raises(InputError, match=words):
        open_pair_data(paths, weights)


# What cannot be used


def broken(root: Path, how: str) -> Path:
    """Break one file of a data set; return it."""
    file = root / "correspondence_data/pair_1_0.mat"
    reference, other = "slice2/database/img_1.jpg", "slice2/query/img_1_0.jpg"
    pair = some_points(5, 0)
    if how == "cut off":
        file.write_bytes(file.read_bytes()[:1500])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "nan":
        points = pair.points_ref.copy()
        points[2, 1] = np.nan
        write_correspondences(file, reference, other, replace(pair, points_ref=points))
    elif how in ("missing keys", "other length"):
        with h5py.File(file, "a") as h5:
            del h5["pt_j"]
            if how == "other length":
                h5["pt_j"] = np.zeros((3, 2))
    elif how == "image gone":
        (root / "images" / other).unlink()
    return file


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut off", "truncated"),
        ("empty", "not a correspondence file"),
        ("missing keys", "pt_j missing"),
        ("nan", "1 of the 5 rows of pt_i are not finite"),
        ("other length", r"pt_j is \(3, 2\), expected \(9, 2\)"),
        ("image gone", r"1 of 8 images .* are missing under .*images \(the first: slice2/query/img_1_0.jpg\)"),
    ],
)
def test_a_broken_data_set_is_one_sentence_that_names_the_file(how, words, tmp_path):
    file = broken(paper_root(tmp_path, references=4, others=1), how)
    with pytest.raises(SceneError, match=words) as refused:
        drain(check_pair_data(open_pair_data([tmp_path])))
    assert str(refused.value).startswith(str(file))


def test_checking_reads_every_view_and_returns_the_notes(tmp_path):
    steps, notes = drain(check_pair_data(open_pair_data([paper_root(tmp_path)])))
    assert steps[-1].fraction == 1.0
    assert notes == ()


def test_folders_without_training_data_are_refused(tmp_path):
    (tmp_path / "empty/correspondence_data").mkdir(parents=True)
    picture(tmp_path / "images/a.jpg")
    for path, words in (("lost", "no such folder"), ("empty", "no correspondence files here"), ("images", "has no map")):
        with pytest.raises(SceneError, match=words) as refused:
            open_pair_data([tmp_path / path])
        assert str(tmp_path / path) in str(refused.value).split(":")[0]
    with pytest.raises(InputError, match="no training data given"):
        open_pair_data([])


def test_an_empty_matlab_array_is_no_points(tmp_path):
    root = paper_root(tmp_path, references=1, others=1)
    with h5py.File(root / "correspondence_data/pair_0_0.mat", "a") as file:
        for key, shape in (("pt_i", (2, 0)), ("pt_j", (2, 0)), ("dist_from_center", (0, 1))):
            del file[key]
            file[key] = np.array(shape, np.uint64)
            file[key].attrs["MATLAB_empty"] = np.uint8(1)
    assert len(open_pair_data([root]).view(0).correspondences[0].weights) == 0


# Worlds and maps


def test_what_a_world_writes_is_training_data(world_scene):
    data = open_pair_data([world_scene.root])
    view = data.view(0)
    assert view.conditions[0] == "overcast"
    assert set(view.conditions[1:]) == {"snow"}
    assert view.positions is not None
    expected = np.unique(np.concatenate([pair.points_ref for pair in view.correspondences]), axis=0)
    np.testing.assert_allclose(view.positions, expected, atol=1e-4)


def test_a_map_gives_the_correspondences_that_the_world_has(world_scene):
    """Map points carried into a query by its pose lie within a pixel of where the true depth carries them."""
    source = SceneCorrespondences(world_scene)
    errors = []
    for pair in source.pairs:
        found = source.correspondences(pair)
        pixels = np.rint(found.points_ref.astype(np.float64))
        moved, _ = transfer(*(true_rendering(world_scene, name) for name in (pair.reference, pair.other)), pixels)
        errors.append(np.linalg.norm(moved - pixels - (found.points_other - found.points_ref), axis=1))
    errors = np.nan_to_num(np.concatenate(errors), nan=np.inf)
    assert len(errors) > 60
    assert np.median(errors) < 0.5
    assert (errors < 1.0).mean() > 0.85


def test_the_demo_is_training_data_without_any_file_of_correspondences():
    data = open_pair_data([DEMO])
    assert len(data) >= 15
    conditions = {condition for index in range(len(data)) for condition in data.view(index).conditions}
    assert conditions == {"overcast", "sun", "autumn", "snow", "dusk", "night"}
    assert all(len(pair.weights) >= 15 for index in range(len(data)) for pair in data.view(index).correspondences)
    train, validation = split(data, 0.3, 0)
    assert not images_of(train) & images_of(validation)
    assert len(train) + len(validation) >= 0.8 * len(data)


def test_a_scene_whose_folder_of_correspondences_is_empty_uses_its_map(world_scene, tmp_path):
    root = tmp_path / "scene"
    shutil.copytree(world_scene.root, root)
    for file in (root / "correspondences").glob("*.mat"):
        file.unlink()
    data = open_pair_data([root])
    assert isinstance(data.source, SceneCorrespondences)
    image = data.view(0).images.paths[1]
    write_image(image, read_image(image)[:, :-8])
    with pytest.raises(SceneError, match=r"the image is 248 x 192, but its camera is for 256 x 192") as refused:
        drain(check_pair_data(open_pair_data([root])))
    assert str(refused.value).startswith(str(image))


def test_drives_that_made_one_map_correspond_at_the_points_that_both_saw(world_scene, tmp_path):
    """Two map images called by different conditions are a pair, at their observations of the same points."""
    conditions = ["spring" if number % 2 else "overcast" for number in range(4)]
    images = tuple(replace(image, condition=c) for image, c in zip(world_scene.map.images, conditions, strict=True))
    scene = replace(world_scene, map=replace(world_scene.map, images=images), queries=())
    source = SceneCorrespondences(scene, PairingConfig(min_points=5))
    assert {source.condition(pair.reference) for pair in source.pairs} == {"overcast"}
    assert {source.condition(pair.other) for pair in source.pairs} == {"spring"}
    pair, observations = source.pairs[0], scene.map.observations
    found = source.correspondences(pair)
    names = [image.name for image in images]
    for points, name in ((found.points_ref, pair.reference), (found.points_other, pair.other)):
        seen = observations.points2D[observations.image == names.index(name)]
        assert all((np.abs(seen - point).max(axis=1) == 0).any() for point in points)
    error = [
        images[names.index(name)].camera.project(images[names.index(name)].cam_from_world.apply(scene.map.points3D))
        for name in (pair.reference, pair.other)
    ]
    for k in range(len(found.weights)):  # one point explains both ends
        ends = [np.linalg.norm(e - p[k], axis=1) for e, p in zip(error, (found.points_ref, found.points_other))]
        assert np.nanmin(ends[0] + ends[1]) < 4.0


def test_a_map_of_one_condition_alone_is_refused_with_the_reason(world_scene, tmp_path):
    unposed = tuple(replace(query, cam_from_world=None) for query in world_scene.queries)
    with pytest.raises(SceneError, match=r"all map images are of one condition .*no query has a known pose"):
        SceneCorrespondences(replace(world_scene, queries=unposed))
    far = replace(world_scene.queries[0].cam_from_world, tvec=np.array([0.0, 0.0, 1e4]))
    with pytest.raises(SceneError, match="no image shares 20 map points"):
        SceneCorrespondences(replace(world_scene, queries=(replace(world_scene.queries[0], cam_from_world=far),)))
    gone = tuple(replace(image, path=tmp_path / image.name) for image in world_scene.map.images)
    with pytest.raises(SceneError, match="none of the images is there"):
        SceneCorrespondences(replace(world_scene, map=replace(world_scene.map, images=gone), queries=()))


def test_images_that_are_gone_and_queries_without_pose_are_notes(world_scene, tmp_path):
    gone = replace(world_scene.queries[0], path=tmp_path / "gone.jpg")
    unposed = replace(world_scene.queries[1], name="snow/x.jpg", cam_from_world=None)
    source = SceneCorrespondences(replace(world_scene, queries=(*world_scene.queries[1:], gone, unposed)))
    data = SeasonViews(source, ImageStore())
    assert all(gone.name not in images for images in (path.name for path in data.view(0).images.paths))
    assert "1 images are not there" in data.notes[0]
    assert "1 queries have no known pose" in data.notes[1]
