"""The ground: carriageway, kerbs, pavements, verges, side streets, terrain, hills and the far town."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world import palette
from core.world.classes import BUILDING, ROAD, SIDEWALK, TERRAIN, VOID
from core.world.materials import Material
from core.world.mesh import boxes, grid
from core.world.noise import fbm
from core.world.site import STREET_END_M, STREET_START_M, Site

KERB_M = 0.13
EDGE_M = 62.0  # the swept ground ends here, the terrain goes on


def spans(site: Site, side: int) -> list[tuple[float, float]]:
    """The stretches of one side of the street between its junctions."""
    cuts = sorted(at for at, where in site.junctions if where == side)
    starts = [STREET_START_M, *(c + 3.5 for c in cuts)]
    ends = [*(c - 3.5 for c in cuts), STREET_END_M]
    return list(zip(starts, ends, strict=True))


def strip(site: Site, side: int, d0: float, d1: float, z: float, material: Material, klass: int, obj: int) -> None:
    """Sweep one band of a side, ``d`` measured away from the middle, left open at junctions."""
    for s0, s1 in spans(site, side):
        stations = np.linspace(s0, s1, max(2, int((s1 - s0) / 3) + 1))
        offsets = np.array([d0, d1]) * side
        site.core.append(site.path.sweep(stations, offsets, z, material, klass, obj))


def carriageway(site: Site, material: Material, marking: float) -> None:
    """The road with a slight crown, and the side streets."""
    rng = site.rng
    color = palette.grey(rng, 0.3, 0.45) if material == Material.ASPHALT else palette.stone(rng)
    row = site.table.add(color, color * 0.7, (site.half_road, marking, float(rng.uniform(0, 1)), 0.0))
    stations = np.arange(STREET_START_M, STREET_END_M, 3.0)
    offsets = np.linspace(-site.half_road, site.half_road, 7)
    crown = 0.04 * (1 - (offsets / site.half_road) ** 2)
    site.core.append(site.path.sweep(stations, offsets, crown - 0.02, material, ROAD, row))
    plain = site.table.add(color * 0.95, color * 0.7, (3.5, 0.0, float(rng.uniform(0, 1)), 0.0))
    for at, side in site.junctions:
        offsets = np.linspace(site.half_road - 0.02, EDGE_M, 20) * side
        site.core.append(site.path.sweep(np.linspace(at - 3.5, at + 3.5, 5), offsets, -0.01, material, ROAD, plain))


def kerbs(site: Site, material: Material = Material.KERB) -> None:
    row = site.table.add(palette.stone(site.rng) * 0.8)
    for side in (-1, 1):
        inner, outer = site.half_road, site.half_road + 0.16
        strip(site, side, inner, outer, KERB_M, material, SIDEWALK, row)
        strip(site, side, inner, inner, np.array([-0.03, KERB_M]), material, SIDEWALK, row)
        for s, where in site.junctions:
            if where == side:
                _kerb_returns(site, s, side, material, row)


def _kerb_returns(site: Site, s: float, side: int, material: Material, row: int) -> None:
    for edge in (-3.5, 3.5):
        stations = np.array([s + edge, s + edge])
        offsets = np.linspace(site.half_road, 12, 4) * side
        z = np.array([[-0.03], [KERB_M]])
        site.core.append(site.path.sweep(stations, offsets, z, material, SIDEWALK, row))


def pavement(site: Site, d0: float, d1: float) -> None:
    material = Material.PAVING if site.rng.random() < 0.75 else Material.COBBLE
    row = site.table.add(palette.grey(site.rng, 0.5, 0.68), params=(float(site.rng.choice([0.4, 0.5, 0.6])),))
    for side in (-1, 1):
        strip(site, side, d0, d1, KERB_M, material, SIDEWALK, row)


def lawn(site: Site, d0: float, d1: float, z: float) -> None:
    row = grass_row(site)
    for side in (-1, 1):
        strip(site, side, d0, d1, z, Material.GRASS, TERRAIN, row)


def grass_row(site: Site) -> int:
    color = palette.grass(site.rng)
    return site.table.add(color, color * np.array([1.25, 1.05, 0.6], np.float32), (float(site.rng.random()),))


def meadow_height(site_seed: float, s: Array, d: Array, pond: tuple[float, float] | None) -> Array:
    """Rolling ground beside a park road, flat at its edge and hollow at the pond (s, d)."""
    rise = np.clip((np.abs(d) - 5) / 22, 0, 1) ** 1.3
    wave = np.sin(s / 19 + site_seed * 9) + 0.7 * np.sin(s / 11 - d / 13) + 0.8 * np.sin(d / 9 + site_seed * 5)
    z = rise * (0.75 * wave + 0.9)
    if pond is not None:
        hollow = np.exp(-((((s - pond[0]) / 17) ** 2 + ((d - pond[1]) / 9) ** 2) ** 2))
        z = z * (1 - hollow) - 0.95 * hollow
    return z - 0.02


def meadow(site: Site, seed: float, pond: tuple[float, float] | None) -> None:
    row = grass_row(site)
    stations = np.arange(STREET_START_M, STREET_END_M, 2.5)
    for side in (-1, 1):
        offsets = np.concatenate([np.arange(site.half_road, 30, 1.5), np.arange(30, EDGE_M + 1, 4)]) * side
        ss, dd = np.meshgrid(stations, offsets, indexing="ij")
        z = meadow_height(seed, ss, dd, pond)
        site.core.append(site.path.sweep(stations, offsets, z, Material.GRASS, TERRAIN, row))


def terrain(site: Site) -> None:
    """Land from the edge of the street to the horizon, with hills; forest and fields are its texture."""
    rng = site.rng
    radii = np.concatenate([np.linspace(0, 260, 32), np.geomspace(280, 1500, 26)])
    angles = np.linspace(0, 2 * np.pi, 121)
    rr, aa = np.meshgrid(radii, angles, indexing="ij")
    middle = site.path.at(100.0, 0.0)[:2]
    x, y = middle[0] + rr * np.cos(aa), middle[1] + rr * np.sin(aa)
    z = _relief(site, x, y, float(rng.uniform(15, 75)), float(rng.uniform(0, 500)))
    row = site.table.add(palette.grass(rng), palette.leaf(rng) * 0.6, (float(rng.uniform(0.2, 0.8)),))
    points = np.stack([x, y, z], -1)
    site.core.append(grid(points, points[..., :2], Material.HILL, TERRAIN, row))


def _relief(site: Site, x: Array, y: Array, height: float, shift: float) -> Array:
    away = site.path.distance(np.stack([x.ravel(), y.ravel()], -1)).reshape(x.shape)
    rise = np.clip((away - 110) / 600, 0, 1) ** 1.4
    flat = fbm(x.ravel().astype(np.float32) + shift, y.ravel().astype(np.float32), 420, 4).reshape(x.shape)
    return -0.3 + rise * height * (1.1 + 1.2 * flat) + np.clip((away - 75) / 60, 0, 1) * 0.8 * (1 + flat)


def far_town(site: Site, count: int) -> None:
    """Blocks and towers between 130 m and 700 m away, off the street's axis."""
    rng = site.rng
    for _ in range(count):
        side = rng.choice([-1, 1])
        d = side * float(rng.uniform(80, 420))
        s = float(rng.uniform(-250, 480))
        height = float(rng.gamma(2.2, 7)) + 8
        w, depth = rng.uniform(9, 28, 2)
        row = site.table.add(palette.plaster(rng) * 0.8, palette.roof(rng), (float(rng.uniform(2.2, 3.6)), 3.1))
        block = boxes([[-w / 2, -depth / 2, -2]], [[w / 2, depth / 2, height]], Material.FAR_CITY, BUILDING, row)
        site.core.append(block.placed(_beyond(site, s, d), float(rng.uniform(0, np.pi))))


def _beyond(site: Site, s: float, d: float) -> Array:
    """Street coordinates continued straight beyond the ends of the path."""
    low, high = STREET_START_M, STREET_END_M - 2
    inside = float(np.clip(s, low, high))
    point = site.path.at(inside, d)
    heading = float(site.path.angle(inside))
    return point + (s - inside) * np.array([np.cos(heading), np.sin(heading), 0])


def water(site: Site, pond: tuple[float, float]) -> None:
    row = site.table.add(np.array([0.02, 0.045, 0.04], np.float32))
    stations = np.linspace(pond[0] - 20, pond[0] + 20, 9)
    offsets = pond[1] + np.linspace(-11, 11, 5)
    site.core.append(site.path.sweep(stations, offsets, -0.55, Material.WATER, VOID, row))


def far_woods(site: Site, count: int) -> None:
    """A belt of trees that closes the view behind the plots."""
    rng = site.rng
    for _ in range(count):
        side = rng.choice([-1, 1])
        sort = "far conifer" if rng.random() < 0.3 else "wood"
        point = _beyond(site, float(rng.uniform(-130, 330)), side * float(rng.uniform(64, 105)))
        site.plant_at(sort, point - [0, 0, 0.3], float(rng.uniform(0.8, 1.2)))
