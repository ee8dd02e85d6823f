"""A world while it is being built: what has been placed and where there is still room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.geometry import Array
from core.world import palette
from core.world.materials import Material
from core.world.mesh import Mesh
from core.world.objects import ObjectTable
from core.world.path import StreetPath
from core.world.vegetation import Habit, Plant, broadleaf, conifer

STREET_START_M, STREET_END_M = -70.0, 270.0
DRIVE_M = (0.0, 160.0)


@dataclass(slots=True, eq=False)
class Site:
    """Mutable; ``core.world.geometry`` turns it into a World. Street coordinates are (s, d), metres."""

    kind: str
    rng: np.random.Generator
    path: StreetPath
    table: ObjectTable
    half_road: float
    core: list[Mesh] = field(default_factory=list)
    deciduous: list[Mesh] = field(default_factory=list)
    evergreen: list[Mesh] = field(default_factory=list)
    lamps: list[Array] = field(default_factory=list)
    crowns: list[tuple[float, float, float]] = field(default_factory=list)
    parking: list[tuple[float, float, float]] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    junctions: list[tuple[float, int]] = field(default_factory=list)
    walks: list[float] = field(default_factory=list)
    plants: dict[str, list[Plant]] = field(default_factory=dict)
    leaf_rows: list[int] = field(default_factory=list)
    hedge_rows: list[int] = field(default_factory=list)
    needle_rows: list[int] = field(default_factory=list)
    bark_rows: list[int] = field(default_factory=list)

    def take(self, s0: float, s1: float, d0: float, d1: float) -> None:
        """Reserve a rectangle in street coordinates."""
        self.taken.append((s0, s1, min(d0, d1), max(d0, d1)))

    def free(self, s: float, d: float, room: float) -> bool:
        """Tell whether a disk fits at (s, d) beside everything reserved and the side streets."""
        if any(s0 - room < s < s1 + room and d0 - room < d < d1 + room for s0, s1, d0, d1 in self.taken):
            return False
        return not any(abs(s - at) < 4.0 + room and np.sign(d) == side for at, side in self.junctions)

    def put(self, mesh: Mesh, s: float, d: float, z: float = 0.0, turn: float = 0.0, scale: float = 1.0) -> None:
        """Place a mesh whose x axis then runs along the street."""
        self.core.append(self.posed(mesh, s, d, z, turn, scale))

    def posed(self, mesh: Mesh, s: float, d: float, z: float = 0.0, turn: float = 0.0, scale: float = 1.0) -> Mesh:
        return mesh.placed(self.path.at(s, d, z), float(self.path.angle(s)) + turn, scale)

    def plant(self, sort: str, s: float, d: float, z: float = 0.0, scale: float = 1.0) -> None:
        """Plant one tree of ``sort`` (a key of ``plants``) in street coordinates."""
        self.plant_at(sort, self.path.at(s, d, z), scale)

    def plant_at(self, sort: str, position: Array, scale: float = 1.0) -> None:
        """Plant one tree at a world point (3,) with its own turn, size and leaf colour."""
        choices = self.plants[sort]
        plant = choices[int(self.rng.integers(len(choices)))]
        size = scale * float(self.rng.uniform(0.8, 1.2))
        turn = float(self.rng.uniform(0, 2 * np.pi))
        self.core.append(plant.wood.placed(position, turn, size, self._pick(self.bark_rows)))
        rows = self.needle_rows if plant.evergreen else self.leaf_rows
        leaves = plant.leaves.placed(position, turn, size, self._pick(rows))
        (self.evergreen if plant.evergreen else self.deciduous).append(leaves)
        if not plant.evergreen:
            self.crowns.append((float(position[0]), float(position[1]), plant.crown[0] * size))

    def _pick(self, rows: list[int]) -> int:
        return rows[int(self.rng.integers(len(rows)))]

    def grow_prototypes(self) -> None:
        """Grow this world's own trees and choose its leaf and bark colours."""
        rng = self.rng
        self.leaf_rows = [self.table.add(palette.leaf(rng), palette.autumn_leaf(rng)) for _ in range(8)]
        self.hedge_rows = [self.table.add(green, green * 0.9) for green in (palette.leaf(rng) * 0.85 for _ in range(4))]
        self.hedge_rows.append(self.leaf_rows[0])
        self.needle_rows = [self.table.add(palette.needle(rng)) for _ in range(3)]
        self.bark_rows = [self.table.add(palette.bark(rng), params=(float(rng.random() < 0.2),)) for _ in range(5)]
        self.plants["broad"] = [broadleaf(rng, _habit(rng)) for _ in range(3)]
        self.plants["young"] = [broadleaf(rng, _young(rng)) for _ in range(2)]
        self.plants["wood"] = [broadleaf(rng, _woodland(rng)) for _ in range(3)]
        self.plants["conifer"] = [conifer(rng, rng.uniform(7, 13), rng.uniform(1.8, 2.8)) for _ in range(2)]
        self.plants["far conifer"] = [conifer(rng, 10.0, 2.2, 420)]


def _habit(rng: np.random.Generator) -> Habit:
    height = float(rng.uniform(7.5, 11.5))
    return Habit(
        trunk_m=rng.uniform(2.2, 3.2),
        height_m=height,
        radius_m=height * rng.uniform(0.018, 0.026),
        spread=rng.uniform(0.65, 1.1),
    )


def _young(rng: np.random.Generator) -> Habit:
    return Habit(
        trunk_m=1.7, height_m=rng.uniform(4, 6), radius_m=0.09, spread=rng.uniform(0.55, 0.9), branches=(6, 4, 3), leaf_m=0.22
    )


def _woodland(rng: np.random.Generator) -> Habit:
    height = float(rng.uniform(10, 15))
    return Habit(
        trunk_m=height * 0.35,
        height_m=height,
        radius_m=height * 0.014,
        spread=0.55,
        branches=(5, 3, 2),
        leaves_a_twig=4,
        leaf_m=0.5,
    )


def material_row(site: Site, material: Material) -> int:
    """A new row with a fitting colour for a wall material."""
    maker = {Material.BRICK: palette.brick, Material.PLASTER: palette.plaster, Material.ASHLAR: palette.stone}
    base = maker.get(material, palette.cladding)(site.rng)
    return site.table.add(base, base * site.rng.uniform(0.6, 1.1, 3).astype(np.float32))
