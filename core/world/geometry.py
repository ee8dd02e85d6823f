"""A world: the geometry of one street, complete and deterministic from its seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array
from core.world import ground, palette, streets
from core.world.materials import Material
from core.world.mesh import Mesh, concat, ellipsoid
from core.world.objects import Objects, ObjectTable
from core.world.path import StreetPath
from core.world.site import DRIVE_M, STREET_END_M, STREET_START_M, Site

KINDS = ("urban", "suburban", "park")
FOLIAGE_STATES = ("leafy", "autumn", "bare", "snow")


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """One street. z is up, metres, gravity (0, 0, -1); the path starts at the origin along +x.

    ``core`` stands in every condition; ``deciduous`` leaves fall, ``evergreen`` ones stay; ``piles`` is ploughed snow;
    ``lamps`` (L, 3) m are light sources; ``crowns`` (C, 3) x, y, radius; ``parking`` (P, 3) s, d, turn;
    ``pool`` holds the rows of ``objects`` that mobile things choose from.
    """

    kind: str
    seed: int
    path: StreetPath
    half_road: float
    drive: tuple[float, float]
    objects: Objects
    core: Mesh
    deciduous: Mesh
    evergreen: Mesh
    piles: Mesh
    lamps: Array
    crowns: Array
    parking: Array
    walks: tuple[float, ...]
    pool: dict[str, tuple[int, ...]]

    def foliage(self, state: str) -> Mesh:
        """Leaves (and snow) of one of FOLIAGE_STATES."""
        if state == "leafy":
            return concat([self.deciduous, self.evergreen])
        if state == "autumn":
            rng = np.random.default_rng([self.seed, 77])
            cards = np.repeat(rng.random(len(self.deciduous) // 2) < 0.55, 2)  # a leaf card is two triangles
            return concat([self.deciduous.kept(cards), self.evergreen])
        if state == "snow":
            return concat([self.evergreen, self.piles])
        return self.evergreen


def build_world(kind: str, seed: int) -> World:
    """Build one of KINDS; the same kind and seed give the same world."""
    if kind not in KINDS:
        raise ValueError(f"world kind {kind!r} is not known; expected one of {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, KINDS.index(kind), 2019])
    bend, period = float(rng.uniform(-0.22, 0.22)), float(rng.uniform(200, 320))
    path = StreetPath.winding(STREET_START_M, STREET_END_M, bend, period, float(rng.uniform(0, 2 * np.pi)))
    site = Site(kind, rng, path, ObjectTable(rng), 3.5)
    site.grow_prototypes()
    streets.BUILDERS[kind](site)
    ground.terrain(site)
    ground.far_town(site, {"urban": 34, "suburban": 10, "park": 9}[kind])
    ground.far_woods(site, {"urban": 16, "suburban": 40, "park": 50}[kind])
    pool, piles = _pool(site), _snow_piles(site)
    return World(
        kind=kind,
        seed=seed,
        path=path,
        half_road=site.half_road,
        drive=DRIVE_M,
        objects=site.table.freeze(),
        core=concat(site.core),
        deciduous=concat(site.deciduous),
        evergreen=concat(site.evergreen),
        piles=piles,
        lamps=np.array(site.lamps, np.float32).reshape(-1, 3),
        crowns=np.array(site.crowns, np.float32).reshape(-1, 3),
        parking=np.array(site.parking).reshape(-1, 3),
        walks=tuple(site.walks),
        pool=pool,
    )


def _pool(site: Site) -> dict[str, tuple[int, ...]]:
    """Rows of colours for what moves."""
    rng, add = site.rng, site.table.add
    return {
        "paint": tuple(add(palette.car(rng)) for _ in range(24)),
        "dark": tuple(add(palette.grey(rng, 0.06, 0.14)) for _ in range(3)),
        "light": (add(palette.hsv(0.12, 0.03, 0.9)),),
        "cloth": tuple(add(palette.hsv(rng.random(), rng.uniform(0.05, 0.7), rng.uniform(0.38, 0.85))) for _ in range(16)),
        "skin": tuple(add(palette.skin(rng)) for _ in range(5)),
        "hair": tuple(add(palette.hsv(0.07, rng.uniform(0.1, 0.6), rng.uniform(0.18, 0.55))) for _ in range(5)),
    }


def _snow_piles(site: Site) -> Mesh:
    """Mounds that a plough leaves along both edges of the road."""
    rng, row = site.rng, site.table.add(palette.hsv(0.6, 0.03, 0.95))
    parts = []
    for side in (-1, 1):
        for s in np.arange(STREET_START_M + 3, STREET_END_M - 3, 2.2):
            if rng.random() < 0.62 and not any(where == side and abs(at - s) < 5 for at, where in site.junctions):
                radii = [float(rng.uniform(0.7, 1.7)), float(rng.uniform(0.3, 0.65)), float(rng.uniform(0.12, 0.5))]
                mound = ellipsoid([0, 0, 0], radii, Material.SNOW_PILE, int(streets.GROUND_CLASS[site.kind]), row, 9)
                d = side * (site.half_road + float(rng.uniform(-0.15, 0.5)))
                parts.append(site.posed(mound, float(s + rng.uniform(-0.8, 0.8)), d, 0.02))
    return concat(parts)
