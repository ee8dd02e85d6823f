"""A street whose points have descriptors too, and drives through it whose images show as many of them as is asked for."""

from dataclasses import replace

import numpy as np
from sequence_toys import CAMERA, drive, label_image, query_of, street_map

from core.localizer.features import quantize_descriptors
from core.localizer.frames import make_frames, simulated_odometry
from core.localizer.matching import match_to_map
from core.localizer.pipeline import LocalizerConfig, Prepared
from core.records import Features
from core.sequences import OdometryNoise

NOISE = OdometryNoise()


def unit(values):
    return np.abs(values) / np.linalg.norm(values, axis=1, keepdims=True)


def described_street(num_points=1200, seed=0):
    """The labelled street with a descriptor for every observation, and each point's own descriptor (P, 128)."""
    scene_map, rng = street_map(num_points, seed), np.random.default_rng([seed, 1])
    own = unit(rng.normal(size=(num_points, 128)) ** 2)
    seen = own[scene_map.observations.point]
    known = quantize_descriptors(unit(seen + 0.02 * rng.normal(size=seen.shape)))
    return replace(scene_map, observations=replace(scene_map.observations, descriptors=known), extractor="toy"), own


class Photographer:
    """Makes ``Prepared`` of a query: ``shown`` (by the query's name) of the points in view have a keypoint, among clutter."""

    def __init__(self, scene_map, own, shown, changed=0.45, clutter=150, missing=()):
        self.scene_map, self.own, self.shown, self.changed, self.clutter = scene_map, own, shown, changed, clutter
        self.missing, self.asked = missing, []

    def __call__(self, query):
        self.asked.append(query.name)
        if query.name in self.missing:
            raise FileNotFoundError(f"{query.path}: no such file")
        features = self.features(query)
        matches = match_to_map(features, self.scene_map, LocalizerConfig().matching)
        return Prepared(query, features, matches)

    def features(self, query):
        rng = np.random.default_rng([int(query.name[-7:-4]), 5])
        pose = query.cam_from_world
        pixels = CAMERA.project(pose.apply(self.scene_map.points3D))
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels <= [CAMERA.width - 1, CAMERA.height - 1])).all(axis=1)
        near = np.linalg.norm(self.scene_map.points3D - pose.center(), axis=1) < 25
        rows = rng.permutation(np.flatnonzero(inside & near))[: self.shown[query.name]]
        other = unit(rng.normal(size=(len(rows) + self.clutter, 128)) ** 2)
        described = other.copy()
        described[: len(rows)] = unit((1 - self.changed) * self.own[rows] + self.changed * other[: len(rows)])
        seen = pixels[rows] + rng.normal(0, 0.4, (len(rows), 2))
        keypoints = np.concatenate([seen, rng.uniform((0, 0), (CAMERA.width - 1, CAMERA.height - 1), (self.clutter, 2))])
        count = len(keypoints)
        return Features(keypoints, np.ones(count), np.zeros(count), described, "toy")


def drive_of(shown, start_m=12.0, spacing_m=2.0, wrong=0.3):
    """Queries of a drive with labels and simulated odometry as Frames; ``shown`` keypoints of each, by name."""
    poses = drive(len(shown), spacing_m, start_m, sideways_m=0.5, yaw_deg=5)
    queries = [query_of(k, pose) for k, pose in enumerate(poses)]
    labels = {q.name: label_image(pose, wrong=wrong, seed=k) for k, (q, pose) in enumerate(zip(queries, poses))}
    frames = list(make_frames(queries, labels, simulated_odometry(queries, NOISE, 0), NOISE))
    return frames, {query.name: count for query, count in zip(queries, shown)}
