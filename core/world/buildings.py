"""Buildings with real openings: recessed windows, sills, doors, shops, cornices, balconies and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.geometry import Array
from core.world.classes import BUILDING
from core.world.materials import Material
from core.world.mesh import Mesh, boxes, concat, quads, triangles, tubes


@dataclass(frozen=True, kw_only=True)
class Style:
    """What one building is like; object rows say its colours."""

    width_m: float
    depth_m: float
    floors: int
    floor_m: float = 3.0
    bay_m: float = 2.6
    window_m: tuple[float, float] = (1.15, 1.5)
    recess_m: float = 0.16
    wall: Material = Material.PLASTER
    base: Material = Material.ASHLAR
    roof: str = "gable"
    roof_rise_m: float = 3.0
    shop: bool = False
    balconies: bool = False
    surrounds: bool = False
    shutters: bool = False
    bands: bool = False


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Rows of the object table for the parts of one building."""

    wall: int
    trim: int
    roof: int
    window: int
    door: int
    sign: int


def building(rng: np.random.Generator, style: Style, paint: Paint) -> Mesh:
    """A building whose front runs along x from 0 at y = 0; it goes back to y = depth, z up from 0."""
    height = style.floors * style.floor_m
    turns = ((0, 0, 0.0), (style.width_m, 0, np.pi / 2), (style.width_m, style.depth_m, np.pi), (0, style.depth_m, -np.pi / 2))
    lengths = (style.width_m, style.depth_m, style.width_m, style.depth_m)
    sides = []
    for index, ((x, y, yaw), length) in enumerate(zip(turns, lengths, strict=True)):
        sides.append(_side(rng, style, paint, length, front=index == 0).placed((x, y, 0), yaw))
    return concat([*sides, _roof(rng, style, paint, height), _details(rng, style, paint, height)])


def _side(rng: np.random.Generator, style: Style, paint: Paint, length: float, front: bool) -> Mesh:
    """One wall along x facing -y, with its openings."""
    bays = max(1, round(length / style.bay_m))
    cells, openings, kinds = [], [], []
    door_bay = int(rng.integers(bays))
    blind = not front and rng.random() < 0.25
    for floor in range(style.floors):
        for bay in range(bays):
            cell = (bay * length / bays, (bay + 1) * length / bays, floor * style.floor_m, (floor + 1) * style.floor_m)
            kind = _kind(style, front, floor, bay == door_bay, blind)
            cells.append(cell)
            openings.append(_opening(style, cell, kind))
            kinds.append(kind)
    return _wall(style, paint, np.array(cells), np.array(openings), np.array(kinds))


def _kind(style: Style, front: bool, floor: int, door: bool, blind: bool) -> int:
    """0 blank wall, 1 window, 2 door, 3 shop window."""
    if floor == 0 and front:
        return 2 if door else (3 if style.shop else 1)
    return 0 if blind else 1


def _opening(style: Style, cell: tuple[float, float, float, float], kind: int) -> tuple[float, float, float, float]:
    x0, x1, z0, z1 = cell
    middle, bay = (x0 + x1) / 2, x1 - x0
    if kind == 0:
        return middle, middle, z0, z0
    if kind == 2:
        return middle - 0.55, middle + 0.55, z0 + 0.05, z0 + 2.25
    if kind == 3:
        return x0 + 0.18 * bay / 2, x1 - 0.18 * bay / 2, z0 + 0.5, z0 + 2.55
    half = min(style.window_m[0] / 2, bay * 0.42)
    low = z0 + 0.85
    return middle - half, middle + half, low, min(low + style.window_m[1], z1 - 0.3)


def _rects(x0: Array, x1: Array, z0: Array, z1: Array, y: float = 0.0) -> Array:
    """Quads (N, 4, 3) in the wall plane, facing -y."""
    ys = np.full_like(x0, y)
    return np.stack([np.stack(c, -1) for c in ((x0, ys, z0), (x1, ys, z0), (x1, ys, z1), (x0, ys, z1))], axis=1)


def _wall(style: Style, paint: Paint, cells: Array, openings: Array, kinds: Array) -> Mesh:
    cx0, cx1, cz0, cz1 = cells.T
    x0, x1, z0, z1 = openings.T
    strips = np.concatenate(
        [_rects(cx0, x0, cz0, cz1), _rects(x1, cx1, cz0, cz1), _rects(x0, x1, cz0, z0), _rects(x0, x1, z1, cz1)]
    )
    ground = np.tile(cz0 < 0.1, 4)
    area = np.linalg.norm(strips[:, 1] - strips[:, 0], axis=1) * np.linalg.norm(strips[:, 3] - strips[:, 0], axis=1)
    parts = []
    for chosen, material in ((ground, style.base), (~ground, style.wall)):
        parts.append(
            quads(strips[chosen & (area > 1e-4)], material, BUILDING, paint.wall, strips[chosen & (area > 1e-4)][..., [0, 2]])
        )
    has = kinds > 0
    if has.any():
        parts.append(_openings(style, paint, openings[has], kinds[has]))
    return concat(parts)


def _openings(style: Style, paint: Paint, openings: Array, kinds: Array) -> Mesh:
    x0, x1, z0, z1 = openings.T
    r = style.recess_m
    front, back = _rects(x0, x1, z0, z1), _rects(x0, x1, z0, z1, r)
    reveals = [
        np.stack([front[:, i], back[:, i], back[:, j], front[:, j]], axis=1) for i, j in ((0, 3), (2, 1), (3, 2), (1, 0))
    ]
    parts = [quads(np.concatenate(reveals), Material.TRIM, BUILDING, paint.trim)]
    for kind, material, obj in (
        (1, Material.WINDOW, paint.window),
        (2, Material.DOOR, paint.door),
        (3, Material.WINDOW, paint.window),
    ):
        if (kinds == kind).any():
            parts.append(quads(back[kinds == kind], material, BUILDING, obj, _pane_uv(openings[kinds == kind])))
    parts.append(_trims(style, paint, openings[kinds == 1]))
    return concat(parts)


def _pane_uv(openings: Array) -> Array:
    """Pane coordinates: the whole part tells panes apart, the fraction runs over the pane."""
    count = len(openings)
    cell = np.stack([np.floor(openings[:, 0] * 7) + 1, np.floor(openings[:, 2] * 7) + 1], -1)
    corner = np.array([[0.001, 0.001], [0.999, 0.001], [0.999, 0.999], [0.001, 0.999]])
    return np.broadcast_to(cell[:, None], (count, 4, 2)) + corner


def _trims(style: Style, paint: Paint, openings: Array) -> Mesh:
    if not len(openings):
        return concat([])
    x0, x1, z0, z1 = openings.T
    ones = np.ones_like(x0)
    parts = [_slab(x0 - 0.08, x1 + 0.08, z0 - 0.07, z0, -0.09 * ones, paint.trim)]
    if style.surrounds:
        parts.append(_slab(x0 - 0.13, x0, z0, z1, -0.04 * ones, paint.trim))
        parts.append(_slab(x1, x1 + 0.13, z0, z1, -0.04 * ones, paint.trim))
        parts.append(_slab(x0 - 0.18, x1 + 0.18, z1, z1 + 0.2, -0.08 * ones, paint.trim))
    if style.shutters:
        parts.append(_slab(x0 - 0.5, x0 - 0.04, z0, z1, -0.045 * ones, paint.door, Material.PLANK))
        parts.append(_slab(x1 + 0.04, x1 + 0.5, z0, z1, -0.045 * ones, paint.door, Material.PLANK))
    return concat(parts)


def _slab(x0: Array, x1: Array, z0: Array, z1: Array, y: Array, obj: int, material: Material = Material.TRIM) -> Mesh:
    """Boxes on the wall that stand out from it to ``y`` (negative is outward)."""
    return boxes(np.stack([x0, y, z0], -1), np.stack([x1, np.zeros_like(x0) + 0.01, z1], -1), material, BUILDING, obj)


def _roof(rng: np.random.Generator, style: Style, paint: Paint, height: float) -> Mesh:
    w, d = style.width_m, style.depth_m
    cornice = boxes([[-0.25, -0.25, height - 0.28]], [[w + 0.25, d + 0.25, height]], Material.TRIM, BUILDING, paint.trim)
    if style.roof == "flat":
        top = quads(
            [[[0, 0, height + 0.02], [w, 0, height + 0.02], [w, d, height + 0.02], [0, d, height + 0.02]]],
            Material.ROOF_FLAT,
            BUILDING,
            paint.roof,
        )
        edges = np.array([[0, 0, w, 0.25], [0, d - 0.25, w, d], [0, 0, 0.25, d], [w - 0.25, 0, w, d]])
        rim = boxes(
            np.insert(edges[:, :2], 2, height, 1), np.insert(edges[:, 2:], 2, height + 0.7, 1), style.wall, BUILDING, paint.wall
        )
        return concat([cornice, top, rim, _chimneys(rng, w, d, height, 0.9, paint)])
    if style.roof == "mansard":
        return concat([cornice, _mansard(style, paint, height), _chimneys(rng, w, d, height + style.roof_rise_m, 1.2, paint)])
    return concat([cornice, _gable(style, paint, height), _chimneys(rng, w, d, height + style.roof_rise_m * 0.6, 1.5, paint)])


def _gable(style: Style, paint: Paint, height: float) -> Mesh:
    w, d, rise, over = style.width_m, style.depth_m, style.roof_rise_m, 0.45
    slope = rise / (d / 2)
    low = height - over * slope
    a = [[-over, -over, low], [w + over, -over, low], [w + over, d / 2, height + rise], [-over, d / 2, height + rise]]
    b = [[w + over, d + over, low], [-over, d + over, low], [-over, d / 2, height + rise], [w + over, d / 2, height + rise]]
    top = np.array([a, b], float)
    run = np.hypot(d / 2 + over, rise + over * slope)
    uv = np.array([[[0, 0], [w, 0], [w, run], [0, run]]] * 2)
    roof = quads(top, Material.ROOF_TILE, BUILDING, paint.roof, uv)
    under = quads(top[:, ::-1] - [0, 0, 0.12], Material.TRIM, BUILDING, paint.trim)
    rims = [np.stack([q[i], q[j], q[j] - [0, 0, 0.13], q[i] - [0, 0, 0.13]]) for q in top for i, j in ((0, 1), (1, 2), (3, 0))]
    gables = np.array(
        [
            [[0, d, height], [0, 0, height], [0, d / 2, height + rise]],
            [[w, 0, height], [w, d, height], [w, d / 2, height + rise]],
        ]
    )
    ends = triangles(gables, gables[..., [1, 2]], style.wall, BUILDING, paint.wall)
    return concat([roof, under, quads(rims, Material.TRIM, BUILDING, paint.trim), ends])


def _mansard(style: Style, paint: Paint, height: float) -> Mesh:
    w, d, rise, inset = style.width_m, style.depth_m, style.roof_rise_m, 1.3
    low = np.array([[0, 0, height], [w, 0, height], [w, d, height], [0, d, height]], float)
    top = np.array(
        [
            [inset, inset, height + rise],
            [w - inset, inset, height + rise],
            [w - inset, d - inset, height + rise],
            [inset, d - inset, height + rise],
        ]
    )
    slopes = [np.stack([low[i], low[(i + 1) % 4], top[(i + 1) % 4], top[i]]) for i in range(4)]
    uv = np.array([[[0, 0], [n, 0], [n - inset, rise], [inset, rise]] for n in (w, d, w, d)])
    parts = [
        quads(slopes, Material.ROOF_TILE, BUILDING, paint.roof, uv),
        quads([top], Material.ROOF_FLAT, BUILDING, paint.roof),
    ]
    x = np.arange(1.8, w - 1.8, style.bay_m)
    if len(x):
        parts.append(_dormers(x, height, paint))
    return concat(parts)


def _dormers(x: Array, height: float, paint: Paint) -> Mesh:
    y0, y1 = np.full_like(x, 0.25), np.full_like(x, 1.4)
    z0, z1 = np.full_like(x, height + 0.45), np.full_like(x, height + 2.0)
    body = boxes(np.stack([x - 0.65, y0, z0 - 0.4], -1), np.stack([x + 0.65, y1, z1], -1), Material.TRIM, BUILDING, paint.trim)
    lid = boxes(
        np.stack([x - 0.8, y0 - 0.15, z1], -1), np.stack([x + 0.8, y1, z1 + 0.1], -1), Material.ROOF_FLAT, BUILDING, paint.roof
    )
    panes = np.stack([x - 0.45, x + 0.45, z0 + 0.1, z1 - 0.12], -1)
    glass = quads(_rects(*panes.T, y=0.235), Material.WINDOW, BUILDING, paint.window, _pane_uv(panes))
    return concat([body, lid, glass])


def _chimneys(rng: np.random.Generator, w: float, d: float, z: float, rise: float, paint: Paint) -> Mesh:
    count = int(rng.integers(1, 3))
    x, y = rng.uniform(0.15, 0.85, count) * w, rng.uniform(0.3, 0.7, count) * d
    low = np.stack([x, y, np.full(count, z - 1.2)], -1)
    stacks = boxes(low, low + [0.6, 0.5, rise + 1.2], Material.BRICK, BUILDING, paint.roof)
    caps = boxes(low + [-0.06, -0.06, rise + 1.2], low + [0.66, 0.56, rise + 1.28], Material.TRIM, BUILDING, paint.trim)
    return concat([stacks, caps])


def _details(rng: np.random.Generator, style: Style, paint: Paint, height: float) -> Mesh:
    """Everything that hangs on the front: pipes, bands, balconies, shop signs, steps."""
    w = style.width_m
    x = np.array([0.14, w - 0.14])
    pipes = tubes(
        np.stack([x, np.full(2, -0.09), np.zeros(2)], -1),
        np.stack([x, np.full(2, -0.09), np.full(2, height - 0.2)], -1),
        0.055,
        0.055,
        7,
        Material.METAL,
        BUILDING,
        paint.trim,
    )
    parts = [pipes]
    if style.bands:
        z = np.arange(1, style.floors) * style.floor_m
        parts.append(_slab(np.zeros_like(z), np.full_like(z, w), z - 0.09, z + 0.09, np.full_like(z, -0.07), paint.trim))
    if style.shop:
        parts.append(_shop_front(rng, style, paint))
    if style.balconies:
        parts.append(_balconies(rng, style, paint))
    parts.append(_posters(rng, style, paint))
    return concat(parts)


def _shop_front(rng: np.random.Generator, style: Style, paint: Paint) -> Mesh:
    w, top = style.width_m, style.floor_m
    x0 = float(rng.uniform(0.03, 0.2)) * w
    x1 = w - float(rng.uniform(0.03, 0.2)) * w
    board = boxes([[x0, -0.14, top - 0.42]], [[x1, 0, top + 0.12]], Material.TRIM, BUILDING, paint.door)
    face = _rects(np.array([x0]), np.array([x1]), np.array([top - 0.42]), np.array([top + 0.12]), -0.145)
    text = quads(face, Material.SHOP_SIGN, BUILDING, paint.sign, face[..., [0, 2]] - [x0, top - 0.42])
    if rng.random() < 0.5:
        return concat([board, text])
    out = 1.1
    cloth = np.array([[[x0, -out, top - 0.75], [x1, -out, top - 0.75], [x1, -0.15, top - 0.4], [x0, -0.15, top - 0.4]]])
    lip = np.array([[[x0, -out, top - 0.95], [x1, -out, top - 0.95], [x1, -out, top - 0.75], [x0, -out, top - 0.75]]])
    awning = quads(np.concatenate([cloth, lip]), Material.AWNING, BUILDING, paint.sign)
    return concat([board, text, awning])


def _balconies(rng: np.random.Generator, style: Style, paint: Paint) -> Mesh:
    bays = max(1, round(style.width_m / style.bay_m))
    columns = rng.choice(bays, max(1, bays // 3), replace=False)
    pitch = style.width_m / bays
    parts = []
    for bay in columns:
        for floor in range(1, style.floors):
            x0, x1, z = bay * pitch + 0.25, (bay + 1) * pitch - 0.25, floor * style.floor_m + 0.1
            slab = boxes([[x0, -1.0, z - 0.14]], [[x1, 0, z]], Material.TRIM, BUILDING, paint.trim)
            bars = np.linspace(x0 + 0.03, x1 - 0.03, 12)
            low = np.stack([bars - 0.012, np.full(12, -0.99), np.full(12, z)], -1)
            rails = boxes(low, low + [0.024, 0.024, 1.0], Material.METAL, BUILDING, paint.door)
            ends = np.array([[x0, -1.0, z + 0.97], [x0, -1.0, z + 0.97], [x1 - 0.04, -1.0, z + 0.97]])
            top = boxes(
                ends, ends + [[x1 - x0, 0.04, 0.05], [0.04, 1.0, 0.05], [0.04, 1.0, 0.05]], Material.METAL, BUILDING, paint.door
            )
            parts += [slab, rails, top]
    return concat(parts)


def _posters(rng: np.random.Generator, style: Style, paint: Paint) -> Mesh:
    """Notices, house numbers and graffiti on the wall: marks that no second building has."""
    bays = max(1, round(style.width_m / style.bay_m))
    pitch = style.width_m / bays
    room = (0.18 * pitch if style.shop else max(0.3, pitch - min(style.window_m[0], pitch * 0.84))) * 0.8
    count = int(rng.integers(2, 6))
    size = np.stack([room * rng.uniform(0.5, 1.0, count), rng.uniform(0.3, 0.9, count)], -1)
    x = np.clip(rng.integers(0, bays + 1, count) * pitch, 0.5 * room + 0.22, style.width_m - 0.5 * room - 0.22) - size[:, 0] / 2
    z = rng.uniform(0.5, 1.6, count)
    face = _rects(x, x + size[:, 0], z, z + size[:, 1], -0.012)
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.998 + 0.001
    uv = corner[None] + np.floor(rng.uniform(0, 4000, (count, 1, 2)))
    return quads(face, Material.POSTER, BUILDING, paint.sign, uv)
