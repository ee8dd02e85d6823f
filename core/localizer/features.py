"""Local features: OpenCV's SIFT with RootSIFT descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.geometry import Array
from core.images import limit_size, resize_keypoints
from core.records import Features, setting

EXTRACTOR = "opencv-sift-root/1"  # a new number whenever keypoints or descriptors would come out differently
DESCRIPTOR_SIZE = 128
QUANTUM = 512.0  # COLMAP's scale for unit descriptors stored as u8


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    max_keypoints: int = setting(4096, minimum=1, maximum=100_000, help="keep this many keypoints, strongest first")
    contrast_threshold: float = setting(
        0.02, minimum=0.0, maximum=1.0, help="local contrast that a keypoint needs; lower finds more, in shade and fog too"
    )
    edge_threshold: float = setting(10.0, minimum=1.0, maximum=100.0, help="higher keeps more keypoints on edges")
    max_image_side: int = setting(1600, unit="px", minimum=16, maximum=20_000, help="larger images are shrunk to this side")
    equalize: bool = setting(False, help="equalize contrast locally (CLAHE) first; the map must be built the same way")


def extractor_id(config: FeatureConfig) -> str:
    """Name what makes descriptors comparable; different ids must not be matched (see ``matching``)."""
    return EXTRACTOR + "+clahe" if config.equalize else EXTRACTOR


def extract_features(image: Array, config: FeatureConfig = FeatureConfig()) -> Features:
    """Detect and describe keypoints of an RGB (H, W, 3) or grey (H, W) u8 image, the strongest first.

    Keypoints are px of the given image, even when it was shrunk to ``max_image_side``; scales are the Gaussian sigma
    in px; orientations run from x towards y. Images without structure, down to 1 x 1, give empty features.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    small, scale = limit_size(image, config.max_image_side)
    keypoints, descriptors = _detect(_grey(small, config.equalize), config)
    # The small size is rounded, so each axis has a scale of its own.
    scale_xy = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    return Features(
        keypoints=resize_keypoints(keypoints[:, :2], 1 / scale_xy),
        scales=keypoints[:, 2] / 2 / scale,  # OpenCV's size is a diameter
        orientations_rad=np.radians(keypoints[:, 3]),
        descriptors=root_sift(descriptors),
        extractor=extractor_id(config),
    )


def root_sift(descriptors: Array) -> Array:
    """Turn SIFT histograms (N, 128) >= 0 into RootSIFT, unit L2 f32: L1-normalise, then square root (Arandjelovic 2012)."""
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    return np.sqrt(descriptors / total).astype(np.float32)


def quantize_descriptors(descriptors: Array) -> Array:
    """Store unit descriptors (N, 128) as u8: times 512, rounded, clipped (as COLMAP does)."""
    return np.clip(np.rint(np.asarray(descriptors) * QUANTUM), 0, 255).astype(np.uint8)


def dequantize_descriptors(quantized: Array) -> Array:
    """Undo ``quantize_descriptors`` to (N, D) f32 of unit L2; an all-zero row stays zero, floating rows what they are."""
    descriptors = quantized.astype(np.float32)
    if quantized.dtype != np.uint8:
        return descriptors
    norms = np.sqrt(np.einsum("nd,nd->n", descriptors, descriptors))
    descriptors /= np.maximum(norms, 1.0)[:, None]
    return descriptors


def _grey(image: Array, equalize: bool) -> Array:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    return cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(grey) if equalize and min(grey.shape) >= 8 else grey


def _detect(grey: Array, config: FeatureConfig) -> tuple[Array, Array]:
    """Return (N, 5) f64 x, y, size, angle in degrees, response; and the SIFT histograms (N, 128) f32."""
    sift = cv2.SIFT_create(
        nfeatures=config.max_keypoints,
        contrastThreshold=config.contrast_threshold,
        edgeThreshold=config.edge_threshold,
        enable_precise_upscale=True,  # without it every keypoint lies 0.25 px too far right and down
    )
    found, histograms = sift.detectAndCompute(np.ascontiguousarray(grey), None)
    if histograms is None or not found:
        return np.zeros((0, 5)), np.zeros((0, DESCRIPTOR_SIZE), np.float32)
    keypoints = np.array([(*k.pt, k.size, k.angle, k.response) for k in found])
    # Detection runs in threads and keeps ties: settle one order, strongest first.
    order = np.lexsort((keypoints[:, 3], keypoints[:, 2], keypoints[:, 1], keypoints[:, 0], -keypoints[:, 4]))
    order = order[histograms[order].sum(axis=1) > 0][: config.max_keypoints]
    return keypoints[order], histograms[order]
