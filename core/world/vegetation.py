"""Trees, hedges and bushes: wood that stays and leaves that come and go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array
from core.world.classes import VEGETATION
from core.world.materials import Material
from core.world.mesh import Mesh, concat, quads, tubes


@dataclass(frozen=True, slots=True, eq=False)
class Plant:
    """One prototype at the origin: ``wood`` stays, ``leaves`` fall unless ``evergreen``; ``crown`` is (radius, base, top) m."""

    wood: Mesh
    leaves: Mesh
    evergreen: bool
    crown: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Habit:
    """How a broadleaf grows: metres, counts a level, and the fall of each level's angle."""

    trunk_m: float = 2.6
    height_m: float = 8.5
    radius_m: float = 0.19
    spread: float = 0.8
    branches: tuple[int, ...] = (8, 5, 5)
    leaves_a_twig: int = 3
    leaf_m: float = 0.27


def broadleaf(rng: np.random.Generator, habit: Habit) -> Plant:
    """Grow a trunk, boughs, branches and twigs, with leaf cards in a cloud around each twig."""
    trunk = _trunk(rng, habit)
    levels = [trunk]
    for level, count in enumerate(habit.branches):
        levels.append(_branches(rng, levels[-1], count, level, habit))
    wood = [tubes(*segment, sides, Material.BARK, VEGETATION) for segment, sides in zip(levels, (9, 6, 4, 3), strict=False)]
    twigs = levels[-1]
    leaves = _leaf_cloud(rng, twigs[1], habit)
    reach = np.linalg.norm(twigs[1][:, :2], axis=1)
    crown = (float(np.quantile(reach, 0.95)) + 0.4, float(twigs[1][:, 2].min()), float(twigs[1][:, 2].max()))
    return Plant(concat(wood), leaves, False, crown)


Segments = tuple[Array, Array, Array, Array]


def _trunk(rng: np.random.Generator, habit: Habit) -> Segments:
    steps = 8
    z = np.linspace(0, habit.height_m * 0.86, steps + 1)
    sway = np.cumsum(rng.normal(0, 0.06, (steps + 1, 2)) * np.linspace(0, 1.4, steps + 1)[:, None], axis=0)
    points = np.column_stack([sway, z])
    radius = habit.radius_m * (1 - z / (habit.height_m * 0.98)) ** 0.8 + 0.012
    radius[0] *= 1.5
    return points[:-1], points[1:], radius[:-1], radius[1:]


def _branches(rng: np.random.Generator, parent: Segments, count: int, level: int, habit: Habit) -> Segments:
    """Grow ``count`` children on every parent limb; boughs start above the bare trunk."""
    start, end, r0, r1 = parent
    if level == 0:
        return _boughs(rng, parent, count * 2, habit)
    limbs = np.repeat(np.arange(len(start)), count)[::2]  # a limb is two segments
    along = rng.uniform(0.25, 1.0, len(limbs))[:, None]
    root = start[limbs] * (1 - along) + end[limbs] * along
    axis = end[limbs] - start[limbs]
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    turn = rng.normal(0, 0.62, (len(limbs), 3)) + [0, 0, 0.18]
    direction = axis / length + turn
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reach = length * rng.uniform(0.9, 1.5, (len(limbs), 1))
    radius = np.maximum((r0[limbs] * (1 - along[:, 0]) + r1[limbs] * along[:, 0]) * 0.62, 0.009)
    return _bent(rng, root, direction * reach, radius, np.maximum(radius * 0.4, 0.007))


def _bent(rng: np.random.Generator, root: Array, run: Array, r0: Array, r1: Array) -> Segments:
    """Limbs in two halves with a bend, the outer half rising towards the light."""
    length = np.linalg.norm(run, axis=1, keepdims=True)
    middle = root + run * 0.5 + rng.normal(0, 0.07, root.shape) * length
    tip = root + run + (rng.normal(0, 0.06, root.shape) + [0, 0, 0.09]) * length
    half = (r0 + r1) / 2
    return np.concatenate([root, middle]), np.concatenate([middle, tip]), np.concatenate([r0, half]), np.concatenate([half, r1])


def _boughs(rng: np.random.Generator, trunk: Segments, count: int, habit: Habit) -> Segments:
    start, end, r0, _ = trunk
    z = np.sort(rng.uniform(habit.trunk_m, habit.height_m * 0.84, count))
    at = np.clip(np.searchsorted(end[:, 2], z), 0, len(end) - 1)
    share = ((z - start[at, 2]) / (end[at, 2] - start[at, 2]))[:, None]
    root = start[at] * (1 - share) + end[at] * share
    turn = np.arange(count) * 2.4 + rng.uniform(0, 0.8, count)
    rise = np.interp(z, [habit.trunk_m, habit.height_m], [0.35, 1.15]) + rng.normal(0, 0.12, count)
    low = (z - habit.trunk_m) / (habit.height_m - habit.trunk_m)
    reach = habit.height_m * 0.36 * habit.spread * (1 - 0.75 * low**2) * rng.uniform(0.75, 1.15, count)
    direction = np.column_stack([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    radius = r0[at] * 0.5
    return _bent(rng, root, direction * reach[:, None], radius, radius * 0.4)


def _leaf_cloud(rng: np.random.Generator, tips: Array, habit: Habit) -> Mesh:
    centers = np.repeat(tips, habit.leaves_a_twig, axis=0)
    centers = centers + np.clip(rng.normal(0, 1, centers.shape), -1.8, 1.8) * [0.34, 0.34, 0.26]
    middle = tips.mean(axis=0)
    return leaf_cards(rng, centers, habit.leaf_m, middle, Material.LEAF)


def leaf_cards(rng: np.random.Generator, centers: Array, size_m: float, middle: Array, material: Material) -> Mesh:
    """A square card at each centre (N, 3), its shading normal bent outward from ``middle``.

    The whole part of uv tells cards apart, the fraction runs over the card; ``core.world.cutout`` cuts the leaves.
    """
    count = len(centers)
    normal = rng.normal(0, 1, (count, 3)) + [0, 0, 0.7]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    helper = rng.normal(0, 1, (count, 3))
    long = np.cross(normal, helper)
    long /= np.linalg.norm(long, axis=1, keepdims=True)
    wide = np.cross(normal, long)
    size = size_m * rng.uniform(0.6, 1.4, (count, 1))
    a, b = long * size, wide * size
    corners = np.stack([centers - a - b, centers + a - b, centers + a + b, centers - a + b], axis=1)
    outward = centers - middle
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    facing = normal * np.sign((normal * outward).sum(axis=1, keepdims=True) + 1e-9)
    shading = np.repeat((outward + 0.7 * facing)[:, None], 4, axis=1)
    local = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * 0.998 + 0.001
    uv = local[None] + np.floor(rng.uniform(0, 4000, (count, 1, 2)))
    return quads(corners, material, VEGETATION, 0, uv, shading)


def conifer(rng: np.random.Generator, height_m: float, radius_m: float, cards: int = 2200) -> Plant:
    """A spruce: whorls of drooping boughs with needle cards along them."""
    trunk = (np.array([[0, 0, 0.0]]), np.array([[0, 0, height_m]]), np.array([0.02 * height_m]), np.array([0.01]))
    count = int(height_m * 9)
    z = height_m * (0.08 + 0.9 * rng.uniform(0, 1, count) ** 1.25)
    reach = radius_m * (1 - z / height_m) ** 0.85 * rng.uniform(0.75, 1.1, count) + 0.12
    turn = rng.uniform(0, 2 * np.pi, count)
    root = np.column_stack([np.zeros((count, 2)), z])
    tip = root + np.column_stack([np.cos(turn) * reach, np.sin(turn) * reach, -0.28 * reach])
    boughs = (root, tip, np.full(count, 0.03), np.full(count, 0.008))
    wood = concat([tubes(*trunk, 8, Material.BARK, VEGETATION), tubes(*boughs, 3, Material.BARK, VEGETATION)])
    limb = rng.choice(count, cards, p=reach / reach.sum())
    along = rng.uniform(0.12, 1.05, (cards, 1))
    centers = root[limb] * (1 - along) + tip[limb] * along + rng.normal(0, 1, (cards, 3)) * [0.12, 0.12, 0.07]
    leaves = leaf_cards(rng, centers, 0.3, np.array([0, 0, height_m * 0.35]), Material.NEEDLE)
    return Plant(wood, leaves, True, (radius_m, height_m * 0.08, height_m))


def hedge(rng: np.random.Generator, length_m: float, height_m: float, depth_m: float = 0.7, density: float = 1.0) -> Mesh:
    """A clipped hedge along x: leaf cards on a rounded box around a dark core of cards."""
    cards = int(length_m * (2 * height_m + depth_m) * 48 * density)
    around = rng.uniform(0, 2 * height_m + depth_m, cards)
    x = rng.uniform(0, length_m, cards)
    y = np.where(
        around < height_m, -depth_m / 2, np.where(around > height_m + depth_m, depth_m / 2, around - height_m - depth_m / 2)
    )
    z = np.where(around < height_m, around, np.where(around > height_m + depth_m, 2 * height_m + depth_m - around, height_m))
    wave = 0.06 * np.sin(x * 1.7 + height_m * 9) + 0.04 * np.sin(x * 4.1)
    centers = np.column_stack([x, y * (1 + wave), z + wave * z]) + rng.normal(0, 0.035, (cards, 3))
    middle = np.column_stack([x, np.zeros(cards), np.full(cards, height_m * 0.4)])
    return leaf_cards(rng, centers, 0.15, middle, Material.LEAF)


def bush(rng: np.random.Generator, radius_m: float) -> Mesh:
    """A loose shrub: leaf cards over a rough half ball."""
    cards = int(420 * radius_m**2) + 120
    direction = rng.normal(0, 1, (cards, 3))
    direction[:, 2] = np.abs(direction[:, 2])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lumps = 1 + 0.22 * np.sin(direction[:, 0] * 5 + radius_m * 31) * np.cos(direction[:, 1] * 6)
    centers = direction * (radius_m * lumps * rng.uniform(0.7, 1.05, cards))[:, None]
    return leaf_cards(rng, centers, 0.19, np.zeros(3), Material.LEAF)
