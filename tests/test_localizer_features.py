"""Local features: where keypoints lie, what descriptors look like, what happens at the borders of input."""

import numpy as np
import pytest

from core.images import read_image
from core.localizer.features import (
    EXTRACTOR,
    FeatureConfig,
    dequantize_descriptors,
    extract_features,
    quantize_descriptors,
)


def blob(center, size=(200, 170), sigma=3.0):
    """A bright Gaussian on grey; ``center`` x, y in px whose centres are whole numbers."""
    yy, xx = np.mgrid[: size[1], : size[0]]
    grey = 40 + 170 * np.exp(-((xx - center[0]) ** 2 + (yy - center[1]) ** 2) / (2 * sigma**2))
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)


def texture(seed=0, height=120, width=200):
    """Smoothed noise with many keypoints."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((4, 4, 1), np.uint8)))


@pytest.mark.parametrize("sigma", [1.5, 3.0, 8.0])
def test_a_keypoint_lies_on_the_centre_of_a_blob_in_opencv_pixels(sigma):
    offsets = []
    for center in np.random.default_rng(1).uniform(-1, 1, (12, 2)) + (100, 85):
        features = extract_features(blob(center, sigma=sigma))
        near = np.linalg.norm(features.keypoints - center, axis=1) < 2
        offsets.extend(features.keypoints[near] - center)
    assert len(offsets) >= 12
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.03


def test_the_scale_is_the_sigma_of_the_blob():
    features = extract_features(blob((100, 85), sigma=6.0))
    nearest = np.argmin(np.linalg.norm(features.keypoints - (100, 85), axis=1))
    assert features.scales[nearest] == pytest.approx(6.0, rel=0.2)


def test_keypoints_of_a_shrunk_image_come_back_in_pixels_of_the_full_image():
    center = np.array([400.3, 301.7])
    features = extract_features(blob(center, size=(901, 677), sigma=9), FeatureConfig(max_image_side=300))
    assert np.linalg.norm(features.keypoints - center, axis=1).min() < 0.3


def test_descriptors_are_unit_rootsift_and_come_with_their_extractor():
    features = extract_features(texture())
    assert len(features) > 50
    assert np.allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)
    assert features.descriptors.min() >= 0
    assert features.extractor == EXTRACTOR
    assert extract_features(texture(), FeatureConfig(equalize=True)).extractor != EXTRACTOR


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 500), (40, 40)])
def test_images_without_structure_give_empty_features_of_the_right_shape(shape):
    features = extract_features(np.full((*shape, 3), 90, np.uint8))
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)
    assert extract_features(np.full((*shape, 3), 90, np.uint8), FeatureConfig(equalize=True)).keypoints.shape == (0, 2)


def test_the_same_image_gives_the_same_features_strongest_first():
    one, two = extract_features(texture()), extract_features(texture())
    assert np.array_equal(one.keypoints, two.keypoints)
    assert np.array_equal(one.descriptors, two.descriptors)
    few = extract_features(texture(), FeatureConfig(max_keypoints=20))
    assert np.array_equal(few.keypoints, one.keypoints[:20])


def test_an_image_that_is_not_eight_bit_is_refused_in_words():
    with pytest.raises(ValueError, match="expected uint8"):
        extract_features(np.zeros((10, 10, 3), np.float32))


def test_descriptors_survive_storage_in_eight_bit():
    descriptors = extract_features(texture()).descriptors
    stored = quantize_descriptors(descriptors)
    assert stored.dtype == np.uint8
    back = dequantize_descriptors(stored)
    assert np.allclose(np.linalg.norm(back, axis=1), 1, atol=1e-5)
    assert np.einsum("nd,nd->n", back, descriptors).min() > 0.99
    assert dequantize_descriptors(np.zeros((2, 128), np.uint8)).tolist() == np.zeros((2, 128)).tolist()


def test_a_photograph_gives_thousands_of_keypoints_inside_it(shared_data):
    image = read_image(sorted((shared_data("hloc_sacre_coeur") / "mapping").glob("*.jpg"))[0])
    features = extract_features(image)
    assert len(features) > 1000
    assert (features.keypoints >= -0.5).all()
    assert (features.keypoints <= np.array(image.shape[1::-1]) - 0.5).all()
