"""Render training sets from the seasons world: many worlds, several conditions of every viewpoint, exact correspondences."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.engine.dataset import Shard, TrainingSet, write_shard
from core.engine.surfaces import encode_surfaces
from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.records import Correspondences, Progress, setting
from core.world.conditions import CONDITIONS
from core.world.geometry import KINDS, World, build_world
from core.world.render import Renderer, Rendering
from core.world.traversal import correspondences, plan_traversal


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """What a set contains; a world's kind and seed follow from its number, so that sets are disjoint by ``first_seed``."""

    num_worlds: int = setting(96, minimum=1, help="worlds, one shard each")
    views_per_world: int = setting(5, minimum=1, help="viewpoints of a world")
    conditions_per_view: int = setting(4, minimum=2, help="the reference condition and others drawn at random")
    first_seed: int = setting(1000, minimum=0, help="seed of the first world")
    width: int = setting(512, unit="px", minimum=32, help="image width")
    height: int = setting(384, unit="px", minimum=32, help="image height")
    side_share: float = setting(0.5, minimum=0, maximum=1, help="share of viewpoints that look to any side")
    moved_share: float = setting(0.5, minimum=0, maximum=1, help="share of the other conditions seen from a moved camera")
    max_shift: float = setting(0.5, unit="m", minimum=0, help="largest shift of a moved camera")
    max_turn_deg: float = setting(4.0, unit="deg", minimum=0, help="largest yaw of a moved camera; pitch and roll a third")
    points_per_pair: int = setting(1500, minimum=1, help="correspondences kept a pair")


def render_set(root: Path, config: RenderConfig, num_workers: int = 2) -> Generator[Progress, None, TrainingSet]:
    """Render the shards that ``root`` lacks, in ``num_workers`` processes (0: in this one); return the whole set.

    Deterministic: a shard depends on the config and its number only. Closing the generator stops after the worlds at
    work. Callers with workers need the usual ``if __name__ == "__main__"`` guard, because processes are spawned.
    """
    root = Path(root)
    if config.conditions_per_view > len(CONDITIONS):
        raise InputError(f"{config.conditions_per_view} conditions a view, expected at most {len(CONDITIONS)}")
    missing = [
        number for number in range(config.num_worlds) if not (shard_folder(root, config, number) / "shard.json").is_file()
    ]
    done = config.num_worlds - len(missing)
    for name in _finished_shards(root, config, missing, num_workers):
        done += 1
        yield Progress(f"rendered {name}, world {done} of {config.num_worlds}", done / config.num_worlds)
    return TrainingSet(root)


def _finished_shards(root: Path, config: RenderConfig, numbers: list[int], num_workers: int) -> Iterator[str]:
    if num_workers < 1:
        yield from (render_shard(root, config, number) for number in numbers)
        return
    if not numbers:
        return
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), initializer=_use_one_thread)
    try:
        futures = [pool.submit(render_shard, root, config, number) for number in numbers]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


def shard_kind_and_seed(config: RenderConfig, number: int) -> tuple[str, int]:
    return KINDS[number % len(KINDS)], config.first_seed + number


def shard_folder(root: Path, config: RenderConfig, number: int) -> Path:
    kind, seed = shard_kind_and_seed(config, number)
    return Path(root) / f"{kind}-{seed:06d}"


def render_shard(root: Path, config: RenderConfig, number: int) -> str:
    """Render one world's viewpoints and write its shard; return the shard's name."""
    kind, seed = shard_kind_and_seed(config, number)
    folder = shard_folder(root, config, number)
    random = np.random.default_rng([seed, 99])
    world = build_world(kind, seed)
    height_m = random.uniform(1.2, 2.6)
    drive = plan_traversal(world, config.views_per_world, seed, height_m=height_m)
    poses = [turned_pose(pose, config, random) for pose in drive]
    write_shard(folder, _shard_of_views(world, poses, height_m, config, random, folder.name, kind, seed))
    return folder.name


def _shard_of_views(
    world: World,
    poses: list[Rigid3d],
    height_m: float,
    config: RenderConfig,
    random: np.random.Generator,
    name: str,
    kind: str,
    seed: int,
) -> Shard:
    renderer = Renderer(world)
    images, classes, surfaces, conditions = [], [], [], []
    points: dict[tuple[int, int], Correspondences] = {}
    for index, pose in enumerate(poses):
        names = draw_conditions(config.conditions_per_view, random)
        views = list(_render_view(renderer, pose, names, config, random))
        images.append(np.stack([view.rgb for view in views]))
        classes.append(np.stack([view.classes for view in views]))
        ground_z = float(pose.center()[2]) - height_m
        surfaces.append(np.stack([encode_surfaces(view, ground_z) for view in views]))
        conditions.append(names)
        for other in range(1, len(views)):
            points[index, other] = correspondences(views[0], views[other], seed + index, num=config.points_per_pair)
    return Shard(name, kind, seed, np.array(conditions), np.stack(images), np.stack(classes), points, np.stack(surfaces))


def draw_conditions(count: int, random: np.random.Generator) -> list[str]:
    """The reference condition, then ``count`` - 1 different others."""
    return [CONDITIONS[0], *random.choice(CONDITIONS[1:], count - 1, replace=False).tolist()]


def _render_view(
    renderer: Renderer, pose: Rigid3d, conditions: list[str], config: RenderConfig, random: np.random.Generator
) -> Iterator[Rendering]:
    camera = Camera.pinhole(config.width, config.height, config.width * random.uniform(0.65, 1.1))
    for number, condition in enumerate(conditions):
        moved = number > 0 and random.random() < config.moved_share
        place = moved_pose(pose, config, random) if moved else pose
        yield renderer.render(place, camera, condition, int(random.integers(2**31)))


def turned_pose(cam_from_world: Rigid3d, config: RenderConfig, random: np.random.Generator) -> Rigid3d:
    """Turn the camera where it stands: a driver's camera sees streets in one way only, photographers do not."""
    widest = 110.0 if random.random() < config.side_share else 15.0
    angles = np.radians([random.normal(0, 4), random.uniform(-widest, widest), random.normal(0, 1.5)])
    return Rigid3d.from_rotation(cv2.Rodrigues(angles)[0], np.zeros(3)) @ cam_from_world


def moved_pose(cam_from_world: Rigid3d, config: RenderConfig, random: np.random.Generator) -> Rigid3d:
    """The pose of a camera a little beside and turned, as another drive would see the place."""
    angles = np.radians(config.max_turn_deg) * random.uniform(-1, 1, 3) * [1 / 3, 1, 1 / 3]
    rotation = cv2.Rodrigues(angles)[0]
    shift = config.max_shift * random.uniform(-1, 1, 3) * [1, 0.2, 1]
    return Rigid3d.from_rotation(rotation, shift) @ cam_from_world
