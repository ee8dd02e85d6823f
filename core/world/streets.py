"""The three kinds of street: what stands where along an urban, a suburban and a park road."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from core.world import ground, palette, props
from core.world.buildings import Paint, Style, building
from core.world.classes import SIDEWALK, TERRAIN
from core.world.materials import Material
from core.world.site import STREET_END_M, STREET_START_M, Site, material_row
from core.world.vegetation import bush, hedge

_FACADES = (Material.BRICK, Material.PLASTER, Material.PLASTER, Material.ASHLAR)


def urban(site: Site) -> None:
    """Closed rows of tall houses, shops, parked cars at the kerb, some street trees."""
    rng = site.rng
    site.half_road = float(rng.uniform(5.3, 5.8))
    front = site.half_road + float(rng.uniform(3.2, 4.4))
    site.junctions = [(float(rng.uniform(45, 70)), 1), (float(rng.uniform(100, 150)), -1)]
    ground.carriageway(site, Material.COBBLE if rng.random() < 0.15 else Material.ASPHALT, 1.0)
    ground.kerbs(site)
    ground.pavement(site, site.half_road + 0.16, 26.0)
    ground.lawn(site, 26.0, ground.EDGE_M, 0.1)
    for side in (-1, 1):
        _row_of_houses(site, side, front)
    _street_trees(site, site.half_road + 0.9, float(rng.uniform(9, 14)), "young" if rng.random() < 0.5 else "broad", 0.7)
    site.walks = [site.half_road + 1.5, -site.half_road - 1.5]
    _kerb_parking(site, 0.62)
    _lamps(site, site.half_road + 0.5, 24.0)
    _furniture(site, site.half_road + 0.55, 34)
    for _ in range(45):
        _tree_somewhere(site, 30, 60, "wood")


def _row_of_houses(site: Site, side: int, front: float) -> None:
    rng = site.rng
    s = STREET_START_M
    while s < STREET_END_M - 14:
        width = float(rng.choice([8.0, 10.5, 13.0, 15.5, 18.0]))
        blocked = any(where == side and s - 4.5 < at < s + width + 4.5 for at, where in site.junctions)
        if blocked or rng.random() < 0.07:
            s += 2.5 if blocked else _gap(site, side, s, front)
            continue
        _town_house(site, side, s, width, front + float(rng.choice([0, 0, 0.35])))
        s += width + (0.0 if rng.random() < 0.8 else 2.4)


def _gap(site: Site, side: int, s: float, front: float) -> float:
    """A yard between houses: a wall with trees behind it."""
    rng = site.rng
    row = material_row(site, Material.BRICK)
    wall = props.garden_wall(9.0, float(rng.uniform(1.0, 2.1)), Material.BRICK, row, site.table.add(palette.trim(rng)))
    site.put(wall, s + 0.5, side * (front + 0.3), ground.KERB_M)
    for _ in range(3):
        site.plant("broad", s + float(rng.uniform(2.5, 7.5)), side * (front + float(rng.uniform(3, 12))), 0.1, 0.9)
    return 10.0


def _town_house(site: Site, side: int, s: float, width: float, front: float) -> None:
    rng = site.rng
    wall = _FACADES[int(rng.integers(len(_FACADES)))]
    style = Style(
        width_m=width,
        depth_m=float(rng.uniform(10, 13)),
        floors=int(rng.integers(2, 6)),
        floor_m=float(rng.uniform(2.9, 3.5)),
        bay_m=float(rng.uniform(2.1, 3.3)),
        window_m=(float(rng.uniform(0.95, 1.6)), float(rng.uniform(1.3, 1.9))),
        recess_m=float(rng.uniform(0.1, 0.26)),
        wall=wall,
        base=Material.ASHLAR if rng.random() < 0.4 else wall,
        roof=str(rng.choice(["gable", "flat", "mansard"])),
        roof_rise_m=float(rng.uniform(2.4, 4.0)),
        shop=rng.random() < 0.5,
        balconies=rng.random() < 0.4,
        surrounds=rng.random() < 0.5,
        bands=rng.random() < 0.5,
    )
    _place_house(site, building(rng, style, paint_for(site, wall)), side, s, width, front, style.depth_m)


def _place_house(site: Site, mesh: object, side: int, s: float, width: float, front: float, depth: float) -> None:
    origin = site.path.at(s if side > 0 else s + width, side * front, ground.KERB_M - 0.02)
    other = site.path.at(s + width if side > 0 else s, side * front)
    yaw = float(np.arctan2(other[1] - origin[1], other[0] - origin[0]))
    site.core.append(mesh.placed(origin, yaw))  # type: ignore[attr-defined]
    site.take(s, s + width, side * front, side * (front + depth))


def paint_for(site: Site, wall: Material) -> Paint:
    """Rows for one building, all colours its own."""
    rng, table = site.rng, site.table
    return Paint(
        wall=material_row(site, wall),
        trim=table.add(palette.trim(rng)),
        roof=table.add(palette.roof(rng), params=(float(rng.integers(2)),)),
        window=table.add(palette.trim(rng), palette.plaster(rng), (float(rng.integers(1, 4)), float(rng.integers(1, 4)))),
        door=table.add(palette.door(rng)),
        sign=table.add(palette.vivid(rng), palette.vivid(rng)),
    )


def _street_trees(site: Site, d: float, every: float, sort: str, share: float) -> None:
    for side in (-1, 1):
        for s in np.arange(STREET_START_M + 8, STREET_END_M - 8, every):
            at = float(s + site.rng.uniform(-1, 1))
            if site.rng.random() < share and site.free(at, side * d, 0.5):
                site.plant(sort, at, side * d, 0.08, 0.85)
                site.take(at - 0.6, at + 0.6, side * d - 0.6, side * d + 0.6)


def _kerb_parking(site: Site, share: float) -> None:
    for side in (-1, 1):
        for s in np.arange(STREET_START_M + 5, STREET_END_M - 5, 6.0):
            near = any(where == side and abs(at - s) < 7 for at, where in site.junctions)
            if not near and site.rng.random() < share:
                turn = 0.0 if side < 0 else np.pi
                site.parking.append((float(s), side * (site.half_road - (1.15 if site.half_road > 4.5 else 0.4)), turn))


def _lamps(site: Site, d: float, every: float, park: bool = False) -> None:
    rng = site.rng
    metal, glow = site.table.add(palette.metal(rng)), site.table.add(np.array([1.0, 0.82, 0.55], np.float32))
    lamp = props.park_lamp(metal, glow) if park else props.street_lamp(metal, glow)
    height, reach = (3.42, 0.0) if park else (props.LAMP_HEIGHT_M, props.LAMP_REACH_M)
    start = float(rng.uniform(0, every))
    for index, s in enumerate(np.arange(STREET_START_M + start, STREET_END_M - 5, every)):
        side = 1 if index % 2 else -1
        if site.free(float(s), side * d, 0.2):
            site.put(lamp, float(s), side * d, 0.05, 0.0 if side < 0 else np.pi)
            site.lamps.append(site.path.at(float(s), side * (d - reach), height))
            site.take(s - 0.4, s + 0.4, side * d - 0.4, side * d + 0.4)


def _furniture(site: Site, d: float, count: int) -> None:
    """Signs, signals, bins, bollards and boxes at the kerb."""
    rng, table = site.rng, site.table
    metal, dark = table.add(palette.metal(rng)), table.add(palette.grey(rng, 0.08, 0.15))
    red = table.add(np.array([0.9, 0.05, 0.03], np.float32))
    for at, side in site.junctions:
        turn = 0.0 if side < 0 else np.pi
        site.put(props.traffic_light(metal, red, dark), at - 5, side * d, 0.1, turn)
        site.take(at - 5.4, at - 4.6, side * d - 0.4, side * d + 0.4)
    makers = (
        lambda: props.traffic_sign(rng, metal, table.add(palette.sign_rim(rng), palette.hsv(0.1, 0.02, 0.95))),
        lambda: props.bin_(table.add(palette.metal(rng))),
        lambda: props.bollard(table.add(palette.metal(rng))),
        lambda: props.post_box(table.add(palette.vivid(rng), palette.vivid(rng))),
    )
    for _ in range(count):
        s, side = float(rng.uniform(STREET_START_M + 5, STREET_END_M - 5)), int(rng.choice([-1, 1]))
        if site.free(s, side * d, 0.5):
            turn = 0.0 if side < 0 else np.pi
            maker = makers[int(rng.choice(4, p=[0.4, 0.2, 0.25, 0.15]))]
            site.put(maker(), s, side * d, 0.1, turn)
            site.take(s - 0.5, s + 0.5, side * d - 0.5, side * d + 0.5)


def _tree_somewhere(site: Site, low: float, high: float, sort: str, height: object = None) -> None:
    rng = site.rng
    s, d = float(rng.uniform(STREET_START_M, STREET_END_M)), float(rng.uniform(low, high)) * int(rng.choice([-1, 1]))
    if site.free(s, d, 1.2):
        z = float(height(s, d)) if callable(height) else 0.05
        site.plant(sort, s, d, z - 0.05)
        site.take(s - 0.8, s + 0.8, d - 0.8, d + 0.8)


def suburban(site: Site) -> None:
    """Detached houses in gardens behind fences and hedges, a grass verge with trees."""
    rng = site.rng
    site.half_road = float(rng.uniform(3.2, 3.8))
    verge = site.half_road + float(rng.uniform(1.0, 2.2))
    walk = verge + 1.5
    site.junctions = [(float(rng.uniform(60, 130)), int(rng.choice([-1, 1])))]
    ground.carriageway(site, Material.ASPHALT, 1.0 if rng.random() < 0.6 else 0.0)
    ground.kerbs(site)
    ground.lawn(site, site.half_road + 0.16, verge, ground.KERB_M)
    ground.pavement(site, verge, walk)
    ground.lawn(site, walk, ground.EDGE_M, ground.KERB_M - 0.03)
    for side in (-1, 1):
        _plots(site, side, walk + 0.3)
    _street_trees(site, (site.half_road + verge) / 2 + 0.1, float(rng.uniform(10, 16)), "broad", 0.55)
    site.walks = [walk - 0.7, 0.7 - walk]
    _kerb_parking(site, 0.22)
    if rng.random() < 0.6:
        _overhead_line(site, int(rng.choice([-1, 1])) * (verge - 0.4))
    _lamps(site, verge - 0.35, 30.0)
    _furniture(site, verge - 0.4, 14)
    for _ in range(90):
        _tree_somewhere(site, walk + 3, 60, str(rng.choice(["broad", "young", "conifer", "wood"], p=[0.2, 0.2, 0.15, 0.45])))


def _overhead_line(site: Site, d: float) -> None:
    """Utility poles every 32 m with three wires between them."""
    wood, metal = site.table.add(palette.bark(site.rng)), site.table.add(palette.grey(site.rng, 0.1, 0.2))
    stations = [float(s) for s in np.arange(STREET_START_M + 6, STREET_END_M, 32.0)]
    tops = []
    for s in stations:
        if site.free(s, d, 0.3):
            site.put(props.utility_pole(wood, metal), s, d)
            site.take(s - 0.5, s + 0.5, d - 0.5, d + 0.5)
            tops.append(site.path.at(s, d + np.array([-0.9, 0.0, 0.9]), props.POLE_TOP_M + 0.17))
    for start, end in pairwise(tops):
        site.core.append(props.wires(start, end, 0.5, metal))


def _plots(site: Site, side: int, line: float) -> None:
    rng = site.rng
    s = STREET_START_M
    while s < STREET_END_M - 18:
        width = float(rng.uniform(17.5, 24))
        if any(where == side and s - 4.5 < at < s + width + 4.5 for at, where in site.junctions):
            s += 3.0
            continue
        house = float(rng.uniform(7.5, 10.5))
        start = s + float(rng.uniform(1.5, width - house - 4.2))
        _villa(site, side, start, house, line + float(rng.uniform(4.5, 9)))
        _driveway(site, side, s + width - 3.4, line)
        _boundary(site, side, s, width - 3.8, line)
        _garden(site, side, s, width, line)
        s += width


def _villa(site: Site, side: int, s: float, width: float, front: float) -> None:
    rng = site.rng
    wall = Material(rng.choice([Material.CLADDING, Material.CLADDING, Material.BRICK, Material.PLASTER]))
    style = Style(
        width_m=width,
        depth_m=float(rng.uniform(7, 9.5)),
        floors=int(rng.integers(1, 3)),
        floor_m=2.8,
        bay_m=float(rng.uniform(2.4, 3.4)),
        window_m=(float(rng.uniform(1.0, 1.7)), float(rng.uniform(1.1, 1.4))),
        recess_m=0.09,
        wall=wall,
        base=wall,
        roof="gable" if rng.random() < 0.85 else "flat",
        roof_rise_m=float(rng.uniform(2.2, 4.2)),
        surrounds=rng.random() < 0.5,
        shutters=rng.random() < 0.35,
    )
    _place_house(site, building(rng, style, paint_for(site, wall)), side, s, width, front, style.depth_m)


def _driveway(site: Site, side: int, s: float, line: float) -> None:
    row = site.table.add(palette.grey(site.rng, 0.4, 0.6), params=(0.3,))
    material = Material.GRAVEL if site.rng.random() < 0.5 else Material.PAVING
    offsets = np.linspace(line - 0.3, line + 9, 5) * side
    site.core.append(site.path.sweep(np.linspace(s, s + 2.8, 3), offsets, ground.KERB_M + 0.01, material, SIDEWALK, row))
    site.take(s - 0.2, s + 3.0, side * line, side * (line + 9))
    if site.rng.random() < 0.6:
        site.parking.append((s + 1.4, side * (line + 4.5), -side * np.pi / 2))


def _boundary(site: Site, side: int, s: float, length: float, line: float) -> None:
    """A hedge, fence or low wall along the plot, or nothing."""
    rng = site.rng
    sort = str(rng.choice(["hedge", "picket", "iron", "wall", "open"], p=[0.34, 0.22, 0.12, 0.17, 0.15]))
    height = float(rng.uniform(0.8, 1.5))
    if sort == "hedge":
        leaves = site.posed(hedge(rng, length, height), s, side * (line + 0.45), ground.KERB_M)
        row = site.hedge_rows[int(rng.integers(len(site.hedge_rows)))]
        site.evergreen.append(leaves.placed((0, 0, 0), obj=row))
    elif sort == "picket":
        site.put(props.picket_fence(length, height, site.table.add(palette.cladding(rng))), s, side * line, ground.KERB_M)
    elif sort == "iron":
        site.put(props.iron_fence(length, height, site.table.add(palette.metal(rng) * 0.6)), s, side * line, ground.KERB_M)
    elif sort == "wall":
        material = Material.BRICK if rng.random() < 0.6 else Material.ASHLAR
        wall = props.garden_wall(length, height, material, material_row(site, material), site.table.add(palette.trim(rng)))
        site.put(wall, s, side * (line + 0.1), ground.KERB_M)
    site.take(s, s + length, side * (line - 0.4), side * (line + 1.0))


def _garden(site: Site, side: int, s: float, width: float, line: float) -> None:
    rng = site.rng
    for _ in range(int(rng.integers(2, 6))):
        at, d = s + float(rng.uniform(1, width - 4.5)), side * (line + float(rng.uniform(1.8, 5)))
        if site.free(at, d, 0.6):
            shrub = bush(rng, float(rng.uniform(0.45, 1.1))).placed(site.path.at(at, d, ground.KERB_M - 0.05))
            stays = rng.random() < 0.5
            rows = site.hedge_rows if stays else site.leaf_rows
            chosen = shrub.placed((0, 0, 0), obj=rows[int(rng.integers(len(rows)))])
            (site.evergreen if stays else site.deciduous).append(chosen)


def park(site: Site) -> None:
    """A road through meadows and woods, with an avenue, benches, lamps and a pond."""
    rng = site.rng
    site.half_road = float(rng.uniform(2.3, 3.2))
    seed = float(rng.random())
    pond = (float(rng.uniform(60, 120)), float(rng.choice([-1, 1])) * float(rng.uniform(17, 21)))
    gravel = rng.random() < 0.3
    ground.carriageway(site, Material.GRAVEL if gravel else Material.ASPHALT, 0.0)
    ground.meadow(site, seed, pond)
    ground.water(site, pond)
    site.take(pond[0] - 18, pond[0] + 18, pond[1] - 9, pond[1] + 9)

    def height(s: float, d: float) -> float:
        return float(ground.meadow_height(seed, np.float64(s), np.float64(d), pond))

    _lamps(site, site.half_road + 0.8, 28.0, park=True)
    _benches(site, height)
    _avenue(site, height)
    for _ in range(4):
        _grove(site, height)
    for _ in range(30):
        _tree_somewhere(site, site.half_road + 5, 45, str(rng.choice(["broad", "conifer", "young"])), height)
    for _ in range(60):
        _tree_somewhere(site, 35, 60, str(rng.choice(["wood", "far conifer"], p=[0.8, 0.2])), height)
    _furniture(site, site.half_road + 0.9, 8)
    _pavilions(site)
    site.walks = [site.half_road + 0.6, -site.half_road - 0.6]
    for s in (float(rng.uniform(10, 40)), float(rng.uniform(120, 170))):
        site.parking.append((s, site.half_road + 0.9, np.pi))


def _benches(site: Site, height: object) -> None:
    rng = site.rng
    wood, metal = site.table.add(palette.bark(rng) * 1.6), site.table.add(palette.metal(rng))
    for s in np.arange(STREET_START_M + 10, STREET_END_M, 26.0):
        side = int(rng.choice([-1, 1]))
        d = side * (site.half_road + 1.5)
        if site.free(float(s), d, 1.0):
            site.put(props.bench(wood, metal), float(s), d, height(float(s), d) + 0.02, 0.0 if side > 0 else np.pi)  # type: ignore[operator]
            site.take(s - 1, s + 1, d - 0.6, d + 0.6)
            site.put(props.bin_(site.table.add(palette.metal(rng))), float(s) + 1.6, d, height(float(s), d))  # type: ignore[operator]


def _avenue(site: Site, height: object) -> None:
    rng = site.rng
    start = float(rng.uniform(0, 100))
    for side in (-1, 1):
        for s in np.arange(start, start + 75, 8.5):
            d = side * (site.half_road + 3.0)
            if site.free(float(s), d, 0.8):
                site.plant("broad", float(s), d, height(float(s), d) - 0.05)  # type: ignore[operator]
                site.take(s - 0.9, s + 0.9, d - 0.9, d + 0.9)


def _grove(site: Site, height: object) -> None:
    """A dense wood whose trunks stand to the road's edge."""
    rng = site.rng
    s0, side = float(rng.uniform(STREET_START_M, STREET_END_M - 60)), int(rng.choice([-1, 1]))
    for _ in range(42):
        s, d = s0 + float(rng.uniform(0, 55)), side * float(rng.uniform(site.half_road + 2.5, 40))
        if site.free(s, d, 0.9):
            site.plant(str(rng.choice(["wood", "conifer"], p=[0.85, 0.15])), s, d, height(s, d) - 0.05)  # type: ignore[operator]
            site.take(s - 0.5, s + 0.5, d - 0.5, d + 0.5)
    row = site.table.add(palette.bark(rng) * 0.8, palette.leaf(rng) * 0.6)
    for _ in range(14):
        s, d = s0 + float(rng.uniform(0, 55)), side * float(rng.uniform(site.half_road + 2, 30))
        shrub = bush(rng, float(rng.uniform(0.4, 1.2))).placed(site.path.at(s, d, height(s, d) - 0.1))  # type: ignore[operator]
        site.deciduous.append(shrub.placed((0, 0, 0), obj=site.leaf_rows[row % len(site.leaf_rows)]))


def _pavilions(site: Site) -> None:
    rng = site.rng
    for side in (-1, 1):
        _villa(site, side, float(rng.uniform(20, 200)), float(rng.uniform(9, 14)), float(rng.uniform(26, 44)))


BUILDERS = {"urban": urban, "suburban": suburban, "park": park}
GROUND_CLASS = {"urban": SIDEWALK, "suburban": TERRAIN, "park": TERRAIN}
