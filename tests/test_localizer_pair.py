"""Two photographs without a map: matches, epipolar inliers, and what is said when there are none."""

import numpy as np
import pytest

from core.images import read_image
from core.localizer.pair import match_pair, match_pair_steps, sampson_errors
from core.records import PairMatches, Progress


def texture(seed=0, height=240, width=320):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5, width // 5, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((5, 5, 1), np.uint8)))


def sheared(image):
    """Each band of rows moved sideways by its own amount, as depths seen from two places: rows are epipolar lines."""
    bands = [np.roll(band, 3 + 4 * number, axis=1) for number, band in enumerate(np.array_split(image, 6))]
    return np.ascontiguousarray(np.concatenate(bands))


def test_an_image_and_its_sideways_view_share_an_epipolar_geometry():
    reference = texture()
    pair = match_pair(reference, sheared(reference))
    assert pair.failure is None
    assert pair.inlier_mask.sum() > 50
    errors = sampson_errors(pair.fundamental, pair.points_ref, pair.points_query)
    assert np.array_equal(pair.inlier_mask, errors <= 2.0)
    on_their_row = np.abs(pair.points_ref - pair.points_query)[pair.inlier_mask][:, 1] < 3
    assert on_their_row.mean() > 0.95


def test_the_fundamental_matrix_takes_reference_points_to_query_lines():
    reference = texture()
    pair = match_pair(reference, sheared(reference))
    ones = np.ones((len(pair.points_ref), 1))
    lines = np.hstack([pair.points_ref, ones]) @ pair.fundamental.T
    distances = np.abs((np.hstack([pair.points_query, ones]) * lines).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
    assert np.median(distances[pair.inlier_mask]) < 1


def test_unrelated_images_have_no_epipolar_geometry():
    pair = match_pair(texture(1), texture(2))
    assert pair.failure
    assert pair.fundamental is None
    assert not pair.inlier_mask.any()


@pytest.mark.parametrize("shape", [(1, 1), (50, 70)])
def test_images_without_structure_say_which_has_no_keypoints(shape):
    plain = np.full((*shape, 3), 128, np.uint8)
    pair = match_pair(texture(), plain)
    assert pair.failure == "no keypoints found in the query"
    assert len(pair.points_ref) == 0
    assert pair.num_keypoints[0] > 50
    assert match_pair(plain, plain).failure == "no keypoints found in the reference and the query"


def test_the_same_seed_gives_the_same_geometry():
    reference = texture()
    one, two = (match_pair(reference, sheared(reference), seed=3) for _ in range(2))
    assert np.array_equal(one.fundamental, two.fundamental)
    assert np.array_equal(one.inlier_mask, two.inlier_mask)


def test_the_long_task_reports_progress_and_returns_the_matches():
    returned = []

    def listen():
        returned.append((yield from match_pair_steps(texture(), texture())))

    seen = list(listen())
    assert isinstance(returned[0], PairMatches)
    assert len(seen) >= 4
    assert all(isinstance(step, Progress) for step in seen)


def test_sampson_error_of_a_sideways_pair_is_the_row_difference_over_root_two():
    sideways = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]])
    errors = sampson_errors(sideways, np.array([[10, 20], [30, 40]]), np.array([[99, 20], [5, 43]]))
    assert errors == pytest.approx([0, 3 / np.sqrt(2)])
    assert np.isnan(sampson_errors(np.zeros((3, 3)), np.zeros((2, 2)), np.ones((2, 2)))).all()


def test_two_day_photographs_of_one_facade_share_an_epipolar_geometry(shared_data):
    images = sorted((shared_data("strecha/Herz-Jesus-P8") / "images").glob("*.jpg"))
    pair = match_pair(read_image(images[0]), read_image(images[4]))
    assert pair.failure is None
    assert pair.inlier_mask.sum() > 50
    assert pair.inlier_mask.mean() > 0.5


def test_photographs_of_different_places_do_not(shared_data):
    one = shared_data("strecha/Herz-Jesus-P8") / "images" / "0000.jpg"
    other = shared_data("grief_michigan") / "images" / "0101.jpg"
    assert "no consensus" in match_pair(read_image(one), read_image(other)).failure
