"""Mapping images that show a query's place, found without downloads, and the points they bring."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2
from test_localizer_pipeline import map_of_one_view, texture
from test_localizer_pipeline import query_of as texture_query

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.localizer.features import quantize_descriptors
from core.localizer.frames import retrieved_poses
from core.localizer.matching import match_to_map
from core.localizer.pipeline import LocalizerConfig, localize
from core.localizer.retrieval import (
    MapRetriever,
    RetrievalConfig,
    build_retriever,
    candidate_points,
    cluster,
    covisible_clusters,
    images_near,
    is_used,
    points_seen_by,
    retriever_if_used,
    with_neighbours,
)
from core.records import Features, ImageData, LabelMap, Observations, PointLabels, Progress, QueryPrior, SceneMap
from core.steps import finish

CAMERA = Camera.pinhole(300, 200, 250.0)
NUM_IMAGES, POINTS_EACH, NUM_LABELS = 12, 80, 6
CONFIG = RetrievalConfig(num_words=8)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_map(seed=0, labels=True):
    """Twelve images along a line; each sees points of its own, and 10 points with the next, but none from 5 to 6."""
    rng = np.random.default_rng(seed)
    num_points = NUM_IMAGES * POINTS_EACH
    descriptors = unit(np.abs(rng.normal(size=(num_points, 128))) * rng.choice([0.2, 1.0], (num_points, 128)))
    point = np.arange(num_points)
    image = point // POINTS_EACH
    shared = point[(point % POINTS_EACH < 10) & (image > 0) & (image != 6)]
    rows = np.concatenate([point, shared])
    seen_by = np.concatenate([image, image[shared] - 1])
    order = np.argsort(rows, kind="stable")
    pixels = rng.uniform((0, 0), (300, 200), (len(rows), 2))
    noisy = unit(np.abs(descriptors[rows] + rng.normal(0, 0.01, (len(rows), 128))))
    observations = Observations(rows[order], seen_by[order], pixels[order], quantize_descriptors(noisy[order]))
    poses = [Rigid3d([1, 0, 0, 0], [-10.0 * k, 0, 0]) for k in range(NUM_IMAGES)]
    images = tuple(ImageData(f"ref/{k}.png", Path(f"{k}.png"), "ref", CAMERA, pose) for k, pose in enumerate(poses))
    of_point = PointLabels((image % NUM_LABELS), np.ones(num_points), NUM_LABELS, "toy") if labels else None
    points3D = np.stack([10.0 * image, np.zeros(num_points), rng.uniform(3, 8, num_points)], 1)
    return SceneMap(points3D, np.zeros((num_points, 3)), images, observations, "toy-sift", labels=of_point)


def query_features(scene_map, image, seed=1, noise=0.03):
    """Keypoints of a query at the place of a map image."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(scene_map.observations.image == image)
    seen = scene_map.observations.descriptors[rows].astype(float) / 512
    keypoints = scene_map.observations.points2D[rows]
    zeros = np.zeros(len(rows))
    return Features(keypoints, zeros, zeros, unit(np.abs(seen + rng.normal(0, noise, seen.shape))), "toy-sift")


@pytest.fixture(scope="module")
def scene_map():
    return make_map()


@pytest.fixture(scope="module")
def retriever(scene_map):
    return finish(build_retriever(scene_map, CONFIG))


def test_a_query_retrieves_the_image_of_its_place_first(scene_map, retriever):
    for image in range(NUM_IMAGES):
        order, similarity = retriever.rank(query_features(scene_map, image))
        assert order[0] == image
        assert sorted(order) == list(range(NUM_IMAGES))
        assert (np.diff(similarity) <= 0).all()


def test_building_shows_progress_and_the_same_seed_gives_the_same_retriever(scene_map, retriever):
    seen = []
    again = finish(build_retriever(scene_map, CONFIG), seen.append)
    assert all(isinstance(step, Progress) for step in seen)
    assert [step.fraction for step in seen] == sorted(step.fraction for step in seen)
    assert np.array_equal(again.vlad, retriever.vlad)
    assert not np.array_equal(finish(build_retriever(scene_map, CONFIG, seed=1)).words, retriever.words)


def test_vlad_is_the_normalised_sum_of_residuals_of_a_straightforward_loop(scene_map, retriever):
    observations = scene_map.observations
    for image in (0, 7):
        total = np.zeros_like(retriever.words, dtype=np.float64)
        for row in np.flatnonzero(observations.image == image):
            vector = observations.descriptors[row].astype(np.float64)
            vector /= np.linalg.norm(vector)
            word = np.linalg.norm(retriever.words - vector, axis=1).argmin()
            total[word] += vector - retriever.words[word]
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
        expected = total.ravel() / np.linalg.norm(total)
        assert np.allclose(retriever.vlad[image], expected, atol=1e-4)


def test_principal_directions_keep_the_order_with_fewer_numbers(scene_map):
    small = finish(build_retriever(scene_map, replace(CONFIG, num_dimensions=8)))
    assert small.vlad.shape == (NUM_IMAGES, 8)
    hits = [small.rank(query_features(scene_map, image))[0][0] == image for image in range(NUM_IMAGES)]
    assert np.mean(hits) > 0.9


def test_labels_help_where_descriptors_say_nothing_and_other_vocabularies_do_not_count(scene_map):
    by_labels = finish(build_retriever(scene_map, replace(CONFIG, label_share=1.0)))
    features = query_features(scene_map, 3, noise=10.0)
    labels = LabelMap(np.full((200, 300), 3), NUM_LABELS, "toy")
    assert set(by_labels.rank(features, labels)[0][:2]) == {3, 9}  # both show label 3 only
    other = replace(labels, vocabulary="other")
    assert np.array_equal(by_labels.rank(features, other)[0], by_labels.rank(features)[0])
    without = finish(build_retriever(make_map(labels=False), CONFIG))
    assert without.histograms is None
    assert without.rank(query_features(scene_map, 4), labels)[0][0] == 4


def test_a_query_without_keypoints_is_ranked_without_a_crash(scene_map, retriever):
    none = np.zeros(0)
    order, similarity = retriever.rank(Features(np.zeros((0, 2)), none, none, np.zeros((0, 128)), "toy-sift"))
    assert len(order) == NUM_IMAGES
    assert np.isfinite(similarity).all()


def test_other_descriptors_and_maps_without_any_are_refused(scene_map, retriever):
    with pytest.raises(InputError, match="'other' cannot be matched"):
        retriever.rank(replace(query_features(scene_map, 0), extractor="other"))
    bare = replace(scene_map, observations=replace(scene_map.observations, descriptors=None))
    with pytest.raises(InputError, match="no descriptors"):
        finish(build_retriever(bare))


def test_k_means_is_as_good_as_scipys():
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 5, (6, 16))
    vectors = (centers[rng.integers(0, 6, 600)] + rng.normal(size=(600, 16))).astype(np.float32)

    def cost(found):
        return np.linalg.norm(vectors[:, None] - found[None], axis=2).min(axis=1).mean()

    theirs = min(cost(kmeans2(vectors, 6, minit="++", seed=seed)[0]) for seed in range(5))
    ours = min(cost(cluster(vectors, 6, np.random.default_rng(seed))) for seed in range(5))
    assert ours < 1.1 * theirs


def test_covisible_images_are_clusters_joined_through_shared_points(scene_map):
    clusters = covisible_clusters(scene_map, [7, 1, 8, 3, 2, 11])
    assert [sorted(cluster) for cluster in clusters] == [[7, 8], [1, 2, 3], [11]]
    assert [list(cluster) for cluster in covisible_clusters(scene_map, [7, 8], min_shared=50)] == [[7], [8]]
    assert covisible_clusters(scene_map, []) == ()


def test_neighbours_are_images_that_share_points(scene_map):
    assert with_neighbours(scene_map, np.array([5]), 5).tolist() == [4, 5]
    assert with_neighbours(scene_map, np.array([9, 0]), 5).tolist() == [0, 1, 8, 9, 10]
    assert with_neighbours(scene_map, np.zeros(0, int), 5).tolist() == []


def test_points_are_those_that_the_images_saw(scene_map):
    seen = points_seen_by(scene_map, [4])
    assert seen.sum() == POINTS_EACH + 10
    assert seen[4 * POINTS_EACH : 5 * POINTS_EACH].all()


def test_a_prior_limits_images_by_its_radius_but_never_to_none(scene_map):
    assert images_near(scene_map, None) is None
    assert images_near(scene_map, QueryPrior(height_m=1.0)) is None
    near = images_near(scene_map, QueryPrior(position=[50, 0, 0], position_error_m=2.0))
    assert sorted(near) == [3, 4, 5, 6, 7]
    predicted = QueryPrior(cam_from_world=Rigid3d([1, 0, 0, 0], [-50, 0, 0]))
    assert sorted(images_near(scene_map, predicted)) == [4, 5, 6]
    assert sorted(images_near(scene_map, QueryPrior(position=[900, 0, 0], position_error_m=1.0))) == [9, 10, 11]


def test_candidates_come_from_the_prior_from_retrieval_or_from_both(scene_map, retriever):
    query = ImageData("q.png", Path("q.png"), "night", CAMERA)
    features = query_features(scene_map, 2)
    assert candidate_points(query, features, scene_map) is None
    config = replace(CONFIG, num_images=1)
    found = candidate_points(query, features, scene_map, config, retriever)
    assert np.array_equal(found, points_seen_by(scene_map, [1, 2, 3]))
    far = replace(query, prior=QueryPrior(position=[100, 0, 0], position_error_m=1.0))
    assert np.array_equal(candidate_points(far, features, scene_map), points_seen_by(scene_map, [9, 10, 11]))
    both = candidate_points(far, features, scene_map, config, retriever)
    assert not both[2 * POINTS_EACH : 3 * POINTS_EACH].any()
    assert both.any()


def test_matching_to_candidates_finds_the_same_matches_of_the_place(scene_map, retriever):
    query = ImageData("q.png", Path("q.png"), "night", CAMERA)
    features = query_features(scene_map, 2)
    candidates = candidate_points(query, features, scene_map, replace(CONFIG, num_images=2), retriever)
    part = match_to_map(features, scene_map, candidates=candidates)
    whole = match_to_map(features, scene_map)
    assert candidates[part.point_ids].all()
    assert len(part) >= len(whole) > 50
    assert np.isin(whole.point_ids, part.point_ids).mean() > 0.95


def test_two_steps_are_taken_for_large_maps_or_when_asked(scene_map):
    assert not is_used(scene_map, RetrievalConfig())
    assert is_used(scene_map, RetrievalConfig(large_map=100))
    assert is_used(scene_map, RetrievalConfig(use="always"))
    assert not is_used(scene_map, RetrievalConfig(use="never", large_map=1))
    assert finish(retriever_if_used(scene_map, RetrievalConfig())) is None
    assert isinstance(finish(retriever_if_used(scene_map, RetrievalConfig(use="always"))), MapRetriever)
    with pytest.raises(InputError, match="'sometimes' is not known; expected one of auto, always, never"):
        is_used(scene_map, RetrievalConfig(use="sometimes"))


def test_a_query_is_localized_in_two_steps_as_in_one():
    image = texture()
    whole_map = map_of_one_view(image)
    poses = []
    for use in ("never", "always"):
        config = LocalizerConfig(retrieval=RetrievalConfig(use=use, num_words=8))
        poses.append(finish(localize(texture_query(), whole_map, config, image=image)).result.cam_from_world)
    assert np.allclose(poses[0].matrix(), poses[1].matrix(), atol=1e-3)


def test_retrieved_poses_are_those_of_the_images_and_none_without_a_photograph(scene_map, retriever, tmp_path):
    class ByName:
        def rank(self, features, labels=None):
            return np.array([4, 2]), np.array([0.9, 0.1])

    from core.images import write_image

    path = tmp_path / "q.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    find = retrieved_poses(scene_map, ByName(), count=1)
    assert find(ImageData("q", path)) == (scene_map.images[4].cam_from_world,)
    assert find(ImageData("q", tmp_path / "absent.png")) == ()
    assert isinstance(retriever, MapRetriever)
