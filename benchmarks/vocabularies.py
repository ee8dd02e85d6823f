"""Which labels a network's features can be cut into, before any cluster training: labels by the nearest centroid.

`python -m benchmarks.vocabularies WEIGHTS... --train DIR --held-out DIR [--photographs DIR] [--scene DIR] --out FILE`

A row a network, number of clusters, number of dimensions and cost of bits. Features are taken once a network, at the
correspondences of unseen worlds, at every eighth pixel of fixed cameras, and at the matches of a scene's changed queries and
the observations of its map: how many right matches keep the point's label, and how many wrong ones bear it by chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.aligned_photographs import TILDE
from core.engine.clustering import ClusterModel, fit_clusters
from core.engine.consistency import ConsistencyStats, consistency_at_points
from core.engine.dataset import TrainingSet
from core.engine.models import ShippedConfig
from core.engine.segmenter import find_weights
from core.engine.targets import FrozenNetwork, ReferenceFeatures, reference_features
from core.engine.training import frozen_copy
from core.engine.validation import spread
from core.engine.weights import load_network
from core.geometry import Array
from core.images import is_image_file, read_image, write_atomic
from core.localizer.pipeline import LocalizerConfig, prepare
from core.localizer.ransac import reprojection_errors
from core.mapping.labels import majority
from core.records import Scene
from core.scene.colmap import rows_by_image
from core.scene.scene import open_scene
from core.steps import finish
from core.world.export import REFERENCE_CONDITION

STEP_PX = 8
RIGHT_PX = 6.0
NUM_VIEWS, NUM_PHOTOGRAPHS, NUM_REFERENCE_IMAGES = 9, 8, 150
_HEADER = (
    "network | K | dimensions | cost of a bit | used | worlds: kappa | bits | effective labels | cameras: kappa | bits | "
    "effective labels | right matches of one label, % | wrong ones, % | bits"
)

Labels = Callable[[Tensor], Array]


@dataclass(frozen=True, slots=True, eq=False)
class SceneFeatures:
    """``query`` (M, D) at matches to ``point`` (M,), ``right`` (M,) bool; ``map`` (T, D) at sights of ``observed`` (T,)."""

    query: Tensor
    point: Array
    right: Array
    map: Tensor
    observed: Array
    num_points: int

    def shares(self, labels: Labels, count: int) -> tuple[float, float, float]:
        """Percent of right and of wrong matches whose labels agree, and the bits that right ones share."""
        votes, _ = majority(self.observed, labels(self.map), self.num_points)
        ours, theirs = votes[self.point], labels(self.query)
        same, stats = ours == theirs, consistency_at_points(ours[self.right], theirs[self.right], count)
        return 100 * same[self.right].mean(), 100 * same[~self.right].mean(), stats.mutual_information_bits


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFeatures:
    """What is cut: ``reference`` to cluster; pairs (N, D), (N, D) of corresponding features of ``worlds`` and ``cameras``."""

    reference: ReferenceFeatures
    worlds: list[tuple[Tensor, Tensor]]
    cameras: list[list[Tensor]]
    scene: SceneFeatures | None


def features_at(frozen: FrozenNetwork, image: Array, points: Array) -> Tensor:
    """Features (N, D) f16 of an image (H, W, 3) at px (N, 2), as they are blended for segmentation."""
    maps = frozen.image_features(image)
    size = torch.tensor([image.shape[1] - 1, image.shape[0] - 1])
    grid = torch.tensor(np.asarray(points), dtype=torch.float32) * (2 / size) - 1
    return F.grid_sample(maps[None], grid[None, :, None], align_corners=True, padding_mode="border")[0, :, :, 0].T.half()


def network_features(
    frozen: FrozenNetwork, train: TrainingSet, held_out: TrainingSet, photographs: Path | None, scene: Scene | None
) -> NetworkFeatures:
    config = replace(ShippedConfig().fgsn, max_reference_images=NUM_REFERENCE_IMAGES)
    return NetworkFeatures(
        reference=finish(reference_features(frozen, train, config, 0)),
        worlds=list(_world_pairs(frozen, held_out)),
        cameras=[] if photographs is None else [_photographs(frozen, view) for view in sorted((photographs / TILDE).iterdir())],
        scene=None if scene is None else scene_features(frozen, scene),
    )


def _world_pairs(frozen: FrozenNetwork, data: TrainingSet) -> Iterator[tuple[Tensor, Tensor]]:
    for view in map(data.view, spread(len(data), NUM_VIEWS)):
        reference = np.asarray(view.images[0])
        for other, matches in zip(view.images[1:], view.correspondences, strict=True):
            yield features_at(frozen, reference, matches.points_ref), features_at(frozen, other, matches.points_other)


def _photographs(frozen: FrozenNetwork, view: Path) -> list[Tensor]:
    images = [path for path in sorted(view.iterdir()) if is_image_file(path)] if view.is_dir() else []
    rows = []
    for index in spread(len(images), NUM_PHOTOGRAPHS):
        image = read_image(images[index])
        x, y = np.meshgrid(np.arange(0, image.shape[1], STEP_PX), np.arange(0, image.shape[0], STEP_PX))
        rows.append(features_at(frozen, image, np.column_stack([x.ravel(), y.ravel()])))
    return rows


def scene_features(frozen: FrozenNetwork, scene: Scene) -> SceneFeatures:
    """Features at the matches of all queries of changed conditions whose pose is known, and at all observations."""
    scene_map, query, point, right, seen, observed = scene.map, [], [], [], [], []
    for image in scene.queries:
        if image.cam_from_world is None or image.condition == REFERENCE_CONDITION:
            continue
        matches = finish(prepare(image, scene_map, LocalizerConfig())).matches
        at = scene_map.points3D[matches.point_ids]
        right.append(reprojection_errors(image.cam_from_world, matches.points2D, at, image.camera) <= RIGHT_PX)
        query.append(features_at(frozen, read_image(image.path), matches.points2D))
        point.append(matches.point_ids)
    for image, rows in zip(scene_map.images, rows_by_image(scene_map.observations, len(scene_map.images)), strict=True):
        seen.append(features_at(frozen, read_image(image.path), scene_map.observations.points2D[rows]))
        observed.append(scene_map.observations.point[rows])
    joined = (np.concatenate(part) for part in (point, right, observed))
    points, rights, observations = joined
    return SceneFeatures(torch.cat(query), points, rights, torch.cat(seen), observations, len(scene_map.points3D))


def row_text(name: str, clusters: ClusterModel, dims: int, bit_cost: float, found: NetworkFeatures) -> str:
    """A line of the table."""

    def labels(rows: Tensor) -> Array:
        return clusters.assign(rows.float()).numpy()

    count = clusters.num_clusters
    used = int((torch.bincount(clusters.assign(found.reference.rows), minlength=count) > 0).sum())
    sides = (np.concatenate([labels(pair[side]) for pair in found.worlds]) for side in (0, 1))
    cells = [name, str(count), str(dims), f"{bit_cost:g}", str(used), *_numbers([consistency_at_points(*sides, count)])]
    pairs = [pair for rows in found.cameras for pair in combinations([labels(row) for row in rows], 2)]
    cells += _numbers([consistency_at_points(a, b, count) for a, b in pairs]) if pairs else [""] * 3
    cells += [""] * 3 if found.scene is None else [f"{value:.1f}" for value in found.scene.shares(labels, count)]
    return " | ".join(cells)


def _numbers(stats: Sequence[ConsistencyStats]) -> list[str]:
    """Means of kappa, bits and effective labels."""
    names = (("kappa", 3), ("mutual_information_bits", 2), ("effective_labels", 1))
    return [f"{np.mean([getattr(one, name) for one in stats]):.{digits}f}" for name, digits in names]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vocabularies", description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS", help="shipped names or files; their features are cut")
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="rendered set whose features are clustered")
    parser.add_argument("--held-out", type=Path, required=True, metavar="DIR", help="rendered set that was not trained on")
    parser.add_argument("--photographs", type=Path, metavar="DIR")
    parser.add_argument("--scene", type=Path, metavar="DIR")
    parser.add_argument("--clusters", type=int, nargs="+", default=[30, 100, 200], metavar="K")
    parser.add_argument("--dims", type=int, nargs="+", default=[64], metavar="D")
    parser.add_argument("--bit-costs", type=float, nargs="+", default=[0.0, 0.05, 0.08], metavar="C")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    scene = None if options.scene is None else open_scene(options.scene)
    train, held_out = TrainingSet(options.train), TrainingSet(options.held_out)
    lines = [f"| {_HEADER} |", "| " + " | ".join(["---"] * (_HEADER.count("|") + 1)) + " |"]
    for name in options.weights:
        weights = find_weights(name)
        network, info = load_network(weights)[:2]
        frozen = frozen_copy(network.float(), info.preprocessing, ShippedConfig().fgsn)
        found = network_features(frozen, train, held_out, options.photographs, scene)
        for dims, count, cost in product(options.dims, options.clusters, options.bit_costs):
            config = replace(ShippedConfig().fgsn.clusters, num_clusters=count, max_dims=dims, bit_cost=cost)
            clusters = finish(fit_clusters(found.reference.rows, config, 0, found.reference.noise))
            lines.append(f"| {row_text(weights.stem, clusters, dims, cost, found)} |")
            print(lines[-1], flush=True)
    write_atomic(options.out, lambda temporary: Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    main()
