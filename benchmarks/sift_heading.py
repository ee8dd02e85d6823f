"""Heading by plain SIFT with CLAHE and a vote of shifts: what label agreement has to beat (core.engine.heading).

`python -m benchmarks.sift_heading FOLDER TOLERANCE_PX [EVERY]` prints how often it is right on a GRIEF folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from core.engine.heading import HeadingAccuracy, heading_pairs
from core.geometry import Array
from core.images import read_image

RATIO = 0.8
BIN_PX = 20.0
MAX_RISE_PX = 80.0


def sift_features(image: Array) -> tuple[Array, Array]:
    """Keypoints (N, 2) px and descriptors (N, 128) of an RGB image whose contrast was equalised."""
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    keypoints, descriptors = cv2.SIFT_create(2000).detectAndCompute(grey, None)
    points = np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)
    return points, np.zeros((0, 128), np.float32) if descriptors is None else descriptors


def sift_shift(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """The sideways shift in px that most matches share; NaN without matches."""
    if min(len(first[0]), len(second[0])) < 2:
        return float("nan")
    here, there = ratio_matches(first[1], second[1])
    moved = second[0][there] - first[0][here]
    moved = moved[np.abs(moved[:, 1]) <= MAX_RISE_PX]
    if not len(moved):
        return float("nan")
    votes = (np.abs(moved[:, None, 0] - moved[None, :, 0]) <= BIN_PX / 2).sum(1)
    winner = moved[int(votes.argmax()), 0]
    return float(np.median(moved[np.abs(moved[:, 0] - winner) <= BIN_PX / 2, 0]))


def ratio_matches(first: Array, second: Array) -> tuple[Array, Array]:
    """Rows of the first descriptors whose nearest of the second is clearly nearer than the next one, and that nearest."""
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    two = np.argpartition(squared, 1, axis=1)[:, :2]
    distances = np.sqrt(np.maximum(0, np.take_along_axis(squared, two, axis=1)))
    kept = np.nonzero(distances[:, 0] < RATIO * distances[:, 1])[0]
    return kept, two[kept, 0]


def sift_heading_accuracy(folder: Path, tolerance_px: float, every: int = 1) -> HeadingAccuracy:
    """As ``core.engine.heading.heading_accuracy``, by keypoints; a pair without a match is wrong."""
    pairs = heading_pairs(folder, every)
    paths = dict.fromkeys(path for pair in pairs for path in (pair.reference, pair.other))
    features = {path: sift_features(read_image(path)) for path in paths}
    errors = [sift_shift(features[pair.reference], features[pair.other]) - pair.dx for pair in pairs]
    return HeadingAccuracy(tuple(pairs), np.nan_to_num(errors, nan=np.inf), tolerance_px)


def main(arguments: list[str]) -> None:
    found = sift_heading_accuracy(Path(arguments[0]), float(arguments[1]), *(int(every) for every in arguments[2:3]))
    print(f"{int(found.right.sum())} of {len(found.pairs)} within {found.tolerance_px:g} px: {found.accuracy:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
