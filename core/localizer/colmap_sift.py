"""COLMAP's own SIFT (VLFeat), for queries to maps whose descriptors COLMAP made."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pycolmap

from core.geometry import Array
from core.images import limit_size, resize_keypoints
from core.localizer.features import FeatureConfig
from core.records import Features
from core.scene.colmap import points2D_from_colmap
from core.scene.colmap_database import COLMAP_SIFT


def extract_colmap_sift(image: Array, config: FeatureConfig) -> Features:
    """Detect and describe as COLMAP does by default, on the processor; keypoints are ours px of the given image.

    ``config`` says how many keypoints and from what size on the image is shrunk; its thresholds are for our SIFT.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small, scale = limit_size(grey, config.max_image_side)
    scale_xy = np.array([small.shape[1] / grey.shape[1], small.shape[0] / grey.shape[0]])
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.num_threads = 1
    options.sift.max_num_features = config.max_keypoints
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        keypoints, descriptors = pycolmap.Sift(options, pycolmap.Device.cpu).extract(np.ascontiguousarray(small))
    keypoints = np.asarray(keypoints, np.float32).reshape(-1, 4)
    return Features(
        keypoints=resize_keypoints(points2D_from_colmap(keypoints[:, :2]), 1 / scale_xy),
        scales=keypoints[:, 2] / scale,
        orientations_rad=keypoints[:, 3],
        descriptors=np.asarray(descriptors, np.float32).reshape(-1, 128),
        extractor=COLMAP_SIFT,
    )
