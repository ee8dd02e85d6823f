"""Cars: a lofted body with a glazed cabin, wheels and lights."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.classes import CAR
from core.world.materials import Material
from core.world.mesh import Mesh, boxes, concat, grid, quads, tubes

# One profile a body style: stations from the nose (x, m), bonnet or boot height, and the roof line (x, z) over them.
BODIES: dict[str, dict[str, object]] = {
    "hatch": {
        "length": 4.0,
        "belt": (0.62, 0.84, 0.92, 0.95, 0.95, 0.93, 0.86),
        "cabin": (1.05, 1.75, 3.2, 3.85),
        "roof": 1.46,
    },
    "sedan": {"length": 4.6, "belt": (0.6, 0.82, 0.9, 0.94, 0.95, 0.97, 0.88), "cabin": (1.25, 1.95, 3.2, 4.0), "roof": 1.43},
    "estate": {"length": 4.7, "belt": (0.6, 0.82, 0.9, 0.95, 0.96, 0.96, 0.9), "cabin": (1.25, 1.95, 4.1, 4.6), "roof": 1.48},
    "suv": {"length": 4.5, "belt": (0.78, 0.98, 1.05, 1.08, 1.1, 1.1, 1.02), "cabin": (1.2, 1.8, 3.9, 4.4), "roof": 1.72},
    "van": {"length": 5.0, "belt": (0.8, 1.1, 1.2, 1.22, 1.22, 1.22, 1.2), "cabin": (0.75, 1.4, 4.8, 4.95), "roof": 2.05},
}
WIDTH_M = 1.8


def car(body: str, paint: int, dark: int, light: int) -> Mesh:
    """A car whose middle is at the origin, nose towards +x; ``paint``, ``dark`` and ``light`` are object rows."""
    shape = BODIES[body]
    length = float(shape["length"])  # type: ignore[arg-type]
    parts = [_hull(shape, paint), _cabin(shape, paint), _wheels(length, dark), _fittings(shape, paint, dark, light)]
    # Profiles run from the nose backwards; turn them so that the nose points to +x.
    return concat(parts).placed((length / 2, 0, 0), np.pi)


def _hull(shape: dict[str, object], paint: int) -> Mesh:
    length, belt = float(shape["length"]), np.array(shape["belt"])  # type: ignore[arg-type]
    x = np.linspace(0, length, 25)
    top = np.interp(x, np.linspace(0, length, len(belt)), belt)
    ends = np.minimum(x, length - x)
    half = WIDTH_M / 2 * (0.8 + 0.2 * np.clip(ends / 0.55, 0, 1) ** 0.5)
    sill = 0.24 + 0.1 * np.clip(1 - ends / 0.3, 0, 1)
    arch = np.maximum(_arch(x, 0.8), _arch(x, length - 0.85))
    sill = np.maximum(sill, arch)
    rows = []
    for y, share in (
        (-0.93, 0.0),
        (-1.0, 0.4),
        (-0.99, 0.72),
        (-0.9, 0.95),
        (-0.55, 1.0),
        (0.0, 1.015),
        (0.55, 1.0),
        (0.9, 0.95),
        (0.99, 0.72),
        (1.0, 0.4),
        (0.93, 0.0),
    ):
        rows.append(np.stack([x, half * y, sill + (top - sill) * share], -1))
    shell = np.stack(rows)
    skin = grid(shell, shell[..., [0, 2]], Material.PAINT, CAR, paint, _outward(shell))
    caps = [
        np.concatenate([shell[i, end], shell[i + 1, end], shell[-2 - i, end], shell[-1 - i, end]]).reshape(4, 3)
        for end in (0, -1)
        for i in range(5)
    ]
    return concat([skin, quads(caps, Material.PAINT, CAR, paint, np.array(caps)[..., [1, 2]])])


def _arch(x: Array, center: float) -> Array:
    """Height of the wheel arch over the ground at stations ``x``."""
    return np.sqrt(np.clip(0.37**2 - (x - center) ** 2, 0, None)) + 0.28 * (np.abs(x - center) < 0.37)


def _outward(points: Array) -> Array:
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    away = points - [points[..., 0].mean(), 0, 0.45]
    away[..., 0] *= 0.2
    return normals * np.where((normals * away).sum(-1, keepdims=True) < 0, -1, 1)


def _cabin(shape: dict[str, object], paint: int) -> Mesh:
    front, roof_front, roof_rear, rear = shape["cabin"]  # type: ignore[misc]
    belt = float(np.mean(shape["belt"][2:5])) - 0.02  # type: ignore[index]
    roof = float(shape["roof"])  # type: ignore[arg-type]
    low, high = WIDTH_M / 2 * 0.93, WIDTH_M / 2 * 0.68
    a = np.array([[front, -low, belt], [rear, -low, belt], [rear, low, belt], [front, low, belt]])
    b = np.array([[roof_front, -high, roof], [roof_rear, -high, roof], [roof_rear, high, roof], [roof_front, high, roof]])
    faces = [np.stack([a[i], a[(i + 1) % 4], b[(i + 1) % 4], b[i]]) for i in range(4)]
    # uv.x whole part: 0 sides (with pillars), 1 rear screen, 3 windscreen.
    frames = [np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.998 + [i + 0.001, 0.001] for i in range(4)]
    glass = quads(faces, Material.CAR_GLASS, CAR, paint, np.array(frames))
    lift = np.array([0, 0, 0.04])
    inner = b + [[0.25, 0.12, 0.045], [-0.25, 0.12, 0.045], [-0.25, -0.12, 0.045], [0.25, -0.12, 0.045]]
    lid = [np.stack([b[i], b[(i + 1) % 4], inner[(i + 1) % 4], inner[i]]) for i in range(4)]
    return concat([glass, quads([*lid, inner + 0 * lift], Material.PAINT, CAR, paint)])


def _wheels(length: float, dark: int) -> Mesh:
    parts = []
    for x in (0.8, length - 0.85):
        for side in (-1, 1):
            y = side * (WIDTH_M / 2 - 0.02)
            inner, outer = [[x, y - side * 0.2, 0.32]], [[x, y, 0.32]]
            parts.append(tubes(inner, outer, 0.32, 0.32, 18, Material.TYRE, CAR, dark))
            angle = np.linspace(0, 2 * np.pi, 19)
            rim = np.stack([x + 0.32 * np.cos(angle), np.full(19, y), 0.32 + 0.32 * np.sin(angle)], -1)
            hub = np.broadcast_to([x, y, 0.32], (18, 3))
            local = np.stack([np.cos(angle), np.sin(angle)], -1)
            fan = np.stack([hub, hub, rim[:-1], rim[1:]], axis=1)
            uv = np.stack([np.zeros((18, 2)), np.zeros((18, 2)), local[:-1], local[1:]], axis=1) + 2.0
            parts.append(quads(fan, Material.TYRE, CAR, dark, uv, np.broadcast_to([0.0, side, 0.0], (18, 4, 3))))
    return concat(parts)


def _fittings(shape: dict[str, object], paint: int, dark: int, light: int) -> Mesh:
    length = float(shape["length"])  # type: ignore[arg-type]
    nose, tail = float(shape["belt"][0]), float(shape["belt"][-1])  # type: ignore[index]
    head = boxes(
        [[-0.02, -0.72, nose - 0.14], [-0.02, 0.4, nose - 0.14]],
        [[0.2, -0.4, nose + 0.02], [0.2, 0.72, nose + 0.02]],
        Material.HEADLIGHT,
        CAR,
        light,
    )
    rear = boxes(
        [[length - 0.16, -0.74, tail - 0.24], [length - 0.16, 0.5, tail - 0.24]],
        [[length + 0.02, -0.5, tail - 0.04], [length + 0.02, 0.74, tail - 0.04]],
        Material.TAILLIGHT,
        CAR,
        light,
    )
    grille = boxes(
        [[-0.025, -0.36, 0.36], [-0.04, -0.78, 0.26]], [[0.1, 0.36, nose - 0.08], [0.1, 0.78, 0.34]], Material.METAL, CAR, dark
    )
    bumper = boxes([[length - 0.1, -0.78, 0.28]], [[length + 0.04, 0.78, 0.44]], Material.METAL, CAR, dark)
    plates = boxes(
        [[-0.05, -0.26, 0.4], [length + 0.0, -0.26, 0.5]],
        [[-0.02, 0.26, 0.51], [length + 0.03, 0.26, 0.61]],
        Material.TRIM,
        CAR,
        light,
    )
    front = float(shape["cabin"][0]) + 0.35  # type: ignore[index]
    belt = float(np.mean(shape["belt"][2:4]))  # type: ignore[index]
    mirrors = boxes(
        [[front, -1.03, belt], [front, 0.85, belt]],
        [[front + 0.12, -0.85, belt + 0.14], [front + 0.12, 1.03, belt + 0.14]],
        Material.PAINT,
        CAR,
        paint,
    )
    under = boxes([[0.15, -0.8, 0.2]], [[length - 0.15, 0.8, 0.5]], Material.METAL, CAR, dark)
    return concat([head, rear, grille, bumper, plates, mirrors, under])
