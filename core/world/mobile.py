"""What moves between traversals: parked and driving cars, people."""

from __future__ import annotations

import numpy as np

from core.world.geometry import World
from core.world.ground import KERB_M
from core.world.mesh import Mesh, concat
from core.world.people import person
from core.world.vehicles import BODIES, car


def mobile_mesh(world: World, traversal_seed: int) -> Mesh:
    """Cars and people of one traversal (T,); deterministic from the world and ``traversal_seed``."""
    rng = np.random.default_rng([world.seed, traversal_seed, 404])
    return concat([*_parked(world, rng), *_driving(world, rng), *_walking(world, rng)])


def _car(world: World, rng: np.random.Generator) -> Mesh:
    pool = world.pool
    return car(str(rng.choice(list(BODIES))), int(rng.choice(pool["paint"])), int(rng.choice(pool["dark"])), pool["light"][0])


def _posed(world: World, mesh: Mesh, s: float, d: float, z: float, turn: float) -> Mesh:
    return mesh.placed(world.path.at(s, d, z), float(world.path.angle(s)) + turn)


def _parked(world: World, rng: np.random.Generator) -> list[Mesh]:
    parts = []
    for s, d, turn in world.parking:
        if rng.random() < 0.62:
            z = 0.0 if abs(d) < world.half_road else KERB_M
            around = turn if rng.random() < 0.85 else turn + np.pi
            at = s + float(rng.uniform(-0.5, 0.5)) * (abs(d) < world.half_road)
            parts.append(_posed(world, _car(world, rng), at, d, z, around + float(rng.normal(0, 0.015))))
    return parts


def _driving(world: World, rng: np.random.Generator) -> list[Mesh]:
    """Cars on the other lane only: the own lane is where the camera drives."""
    lane = 1.2 if world.half_road < 4.5 else 2.0
    stations = rng.uniform(-40, 240, int(rng.integers(2, 6)))
    return [_posed(world, _car(world, rng), float(s), lane, 0.0, np.pi) for s in stations]


def _walking(world: World, rng: np.random.Generator) -> list[Mesh]:
    pool = world.pool
    parts = []
    for _ in range(int(rng.integers(6, 20)) if world.kind == "urban" else int(rng.integers(2, 9))):
        rows = [int(rng.choice(pool[key])) for key in ("cloth", "cloth", "skin", "hair")]
        someone = person(rng, *rows)
        d = float(rng.choice(world.walks)) + float(rng.normal(0, 0.3))
        turn = float(rng.choice([0, np.pi])) + float(rng.normal(0, 0.15))
        parts.append(
            _posed(
                world,
                someone.placed((0, 0, 0), scale=float(rng.uniform(0.93, 1.07))),
                float(rng.uniform(-20, 235)),
                d,
                KERB_M,
                turn,
            )
        )
    return parts
