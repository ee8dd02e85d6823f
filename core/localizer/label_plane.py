"""The labels of an image as an ideal pinhole camera sees them, for looking up where points project."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.geometry import Array, Camera
from core.records import LabelMap

_NOWHERE = -1e6  # px, beside any image


@dataclass(frozen=True, slots=True, eq=False)
class LabelPlane:
    """``labels`` (H, W) i64 and ``confidence`` (H, W) f32 in pixels of the pinhole ``camera``; beside the image confidence
    is 0.
    """

    labels: Array
    confidence: Array
    camera: Camera

    @property
    def K(self) -> Array:
        return self.camera.K


def label_plane(labels: LabelMap, camera: Camera) -> LabelPlane:
    """Take a camera's distortion off its labels, nearest pixel for nearest pixel."""
    confidence = np.ones(labels.labels.shape, np.float32) if labels.confidence is None else labels.confidence
    if not camera.has_distortion:
        return LabelPlane(labels.labels.astype(np.int64), confidence, camera)
    height, width = labels.labels.shape
    ideal = Camera("PINHOLE", camera.width, camera.height, camera.K[[0, 1, 0, 1], [0, 1, 2, 2]])
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2)
    source = camera.project(ideal.bearings(grid)).reshape(height, width, 2)
    source = np.nan_to_num(source, nan=_NOWHERE).astype(np.float32)
    x, y = source[..., 0], source[..., 1]
    straight = cv2.remap(labels.labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.remap(np.ascontiguousarray(confidence), x, y, cv2.INTER_NEAREST, borderValue=0)
    return LabelPlane(straight.astype(np.int64), known, ideal)
