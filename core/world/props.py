"""Street furniture: lamps, signs, fences, walls, benches, bins, hydrants."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.classes import FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VOID, WALL
from core.world.materials import Material
from core.world.mesh import Mesh, boxes, concat, ellipsoid, quads, triangles, tubes

LAMP_HEIGHT_M = 5.2
LAMP_REACH_M = 1.3


def street_lamp(metal: int, glow: int) -> Mesh:
    """A lamp post at the origin whose arm reaches along +y."""
    h, reach = LAMP_HEIGHT_M, LAMP_REACH_M
    start = np.array([[0, 0, 0], [0, 0, 0.9], [0, 0, h - 0.5], [0, 0.3, h]])
    end = np.array([[0, 0, 0.9], [0, 0, h - 0.5], [0, 0.3, h], [0, reach, h + 0.1]])
    post = tubes(
        start, end, np.array([0.1, 0.065, 0.05, 0.045]), np.array([0.1, 0.05, 0.045, 0.04]), 9, Material.METAL, POLE, metal
    )
    head = boxes([[-0.14, reach - 0.2, h + 0.02]], [[0.14, reach + 0.45, h + 0.16]], Material.METAL, POLE, metal)
    glass = boxes([[-0.11, reach - 0.12, h - 0.03]], [[0.11, reach + 0.4, h + 0.02]], Material.LAMP, POLE, glow)
    return concat([post, head, glass])


def park_lamp(metal: int, glow: int) -> Mesh:
    """A short post with a globe."""
    post = tubes(
        [[0, 0, 0], [0, 0, 0.5]], [[0, 0, 0.5], [0, 0, 3.2]], [0.09, 0.05], [0.07, 0.04], 8, Material.METAL, POLE, metal
    )
    cap = tubes([[0, 0, 3.6]], [[0, 0, 3.75]], 0.28, 0.04, 10, Material.METAL, POLE, metal)
    return concat([post, ellipsoid([0, 0, 3.42], [0.21, 0.21, 0.24], Material.LAMP, POLE, glow), cap])


def traffic_sign(rng: np.random.Generator, metal: int, face: int) -> Mesh:
    """A round, square or triangular sign facing -x on a post."""
    post = tubes([[0, 0, 0]], [[0, 0, 2.9]], 0.032, 0.032, 8, Material.METAL, POLE, metal)
    shape = int(rng.integers(3))
    sides = (24, 4, 3)[shape]
    turn = (0.0, np.pi / 4, np.pi / 2)[shape]
    angle = np.linspace(0, 2 * np.pi, sides + 1) + turn
    radius = (0.33, 0.42, 0.44)[shape]
    rim = np.stack([np.full(sides + 1, -0.045), -np.cos(angle) * radius, 2.5 + np.sin(angle) * radius], -1)
    local = np.stack([np.cos(angle), np.sin(angle)], -1) * 0.499 + 0.5
    corners = np.stack([np.broadcast_to([-0.045, 0, 2.5], (sides, 3)), rim[1:], rim[:-1]], axis=1)
    uv = np.stack([np.full((sides, 2), 0.5), local[1:], local[:-1]], axis=1) + [shape, 0]
    front = triangles(corners, uv, Material.SIGN, TRAFFIC_SIGN, face)
    back = triangles(corners[:, ::-1] + [0.02, 0, 0], uv, Material.METAL, TRAFFIC_SIGN, metal)
    return concat([post, front, back])


def traffic_light(metal: int, red: int, dark: int) -> Mesh:
    """A three-aspect signal facing -x on a post; the upper one is lit."""
    post = tubes([[0, 0, 0]], [[0, 0, 3.1]], 0.06, 0.05, 9, Material.METAL, POLE, metal)
    box = boxes([[-0.2, -0.16, 2.3]], [[0.05, 0.16, 3.25]], Material.METAL, TRAFFIC_LIGHT, dark)
    disks = [
        ellipsoid([-0.2, 0, z], [0.03, 0.1, 0.1], m, TRAFFIC_LIGHT, o)
        for z, m, o in ((3.07, Material.TAILLIGHT, red), (2.78, Material.METAL, metal), (2.49, Material.METAL, metal))
    ]
    return concat([post, box, *disks])


def picket_fence(length_m: float, height_m: float, obj: int) -> Mesh:
    """Boards with gaps along x on two rails."""
    x = np.arange(0, length_m, 0.13)
    low = np.stack([x, np.full_like(x, -0.012), np.full_like(x, 0.06)], -1)
    boards = boxes(low, low + [0.085, 0.024, height_m], Material.PLANK, FENCE, obj)
    z = np.array([0.3, height_m - 0.2])
    rails = boxes(
        np.stack([[0, 0], [0.012, 0.012], z], -1),
        np.stack([[length_m] * 2, [0.05, 0.05], z + 0.08], -1),
        Material.PLANK,
        FENCE,
        obj,
    )
    return concat([boards, rails])


def iron_fence(length_m: float, height_m: float, obj: int) -> Mesh:
    """Thin bars along x between two rails, posts every 2.5 m."""
    x = np.arange(0, length_m, 0.16)
    low = np.stack([x, np.full_like(x, -0.009), np.full_like(x, 0.1)], -1)
    bars = boxes(low, low + [0.018, 0.018, height_m], Material.METAL, FENCE, obj)
    p = np.arange(0, length_m + 0.1, 2.5)
    low = np.stack([p - 0.03, np.full_like(p, -0.03), np.zeros_like(p)], -1)
    posts = boxes(low, low + [0.06, 0.06, height_m + 0.2], Material.METAL, FENCE, obj)
    z = np.array([0.2, height_m - 0.1])
    rails = boxes(
        np.stack([[0, 0], [-0.015] * 2, z], -1),
        np.stack([[length_m] * 2, [0.015] * 2, z + 0.04], -1),
        Material.METAL,
        FENCE,
        obj,
    )
    return concat([bars, posts, rails])


def garden_wall(length_m: float, height_m: float, material: Material, obj: int, cap: int) -> Mesh:
    """A solid wall along x with coping stones."""
    body = boxes([[0, -0.12, 0]], [[length_m, 0.12, height_m]], material, WALL, obj)
    coping = boxes([[-0.02, -0.17, height_m]], [[length_m + 0.02, 0.17, height_m + 0.08]], Material.TRIM, WALL, cap)
    return concat([body, coping])


def bench(wood: int, metal: int) -> Mesh:
    """A park bench along x facing -y."""
    y = np.array([-0.2, -0.05, 0.1])
    seat = boxes(
        np.stack([[-0.8] * 3, y, [0.42] * 3], -1), np.stack([[0.8] * 3, y + 0.12, [0.46] * 3], -1), Material.PLANK, VOID, wood
    )
    z = np.array([0.58, 0.74])
    back = boxes(
        np.stack([[-0.8] * 2, [0.26] * 2, z], -1), np.stack([[0.8] * 2, [0.3] * 2, z + 0.12], -1), Material.PLANK, VOID, wood
    )
    x = np.array([-0.65, 0.6])
    legs = boxes(
        np.stack([x, [-0.18] * 2, [0] * 2], -1), np.stack([x + 0.05, [-0.13] * 2, [0.42] * 2], -1), Material.METAL, VOID, metal
    )
    rear = boxes(
        np.stack([x, [0.2] * 2, [0] * 2], -1), np.stack([x + 0.05, [0.26] * 2, [0.86] * 2], -1), Material.METAL, VOID, metal
    )
    return concat([seat, back, legs, rear])


def bin_(obj: int) -> Mesh:
    """A litter bin."""
    body = tubes([[0, 0, 0.08]], [[0, 0, 0.85]], 0.2, 0.24, 12, Material.METAL, VOID, obj)
    lid = ellipsoid([0, 0, 0.85], [0.25, 0.25, 0.12], Material.METAL, VOID, obj, 5)
    return concat([body, lid])


def bollard(obj: int) -> Mesh:
    post = tubes([[0, 0, 0]], [[0, 0, 0.85]], 0.07, 0.06, 9, Material.METAL, POLE, obj)
    return concat([post, ellipsoid([0, 0, 0.86], [0.08, 0.08, 0.06], Material.METAL, POLE, obj, 5)])


def post_box(obj: int) -> Mesh:
    """A cabinet or letter box with a notice on its front."""
    body = boxes([[-0.35, -0.22, 0]], [[0.35, 0.22, 1.15]], Material.METAL, VOID, obj)
    lid = boxes([[-0.38, -0.25, 1.15]], [[0.38, 0.25, 1.2]], Material.METAL, VOID, obj)
    face = np.array([[[-0.3, -0.225, 0.3], [0.3, -0.225, 0.3], [0.3, -0.225, 1.0], [-0.3, -0.225, 1.0]]])
    corner = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]]) * 0.998 + 0.001 + (obj * 13 % 4000)
    return concat([body, lid, quads(face, Material.POSTER, VOID, obj, corner)])


POLE_TOP_M = 7.4


def utility_pole(wood: int, metal: int) -> Mesh:
    """A wooden pole with a crossarm along y and insulators."""
    post = tubes([[0, 0, -0.2]], [[0, 0, POLE_TOP_M + 0.6]], 0.15, 0.1, 9, Material.BARK, POLE, wood)
    arm = boxes([[-0.05, -1.0, POLE_TOP_M - 0.12]], [[0.05, 1.0, POLE_TOP_M]], Material.PLANK, POLE, wood)
    y = np.array([-0.9, 0.0, 0.9])
    foot = np.stack([np.zeros(3), y, np.full(3, POLE_TOP_M)], -1)
    caps = tubes(foot, foot + [0, 0, 0.18], 0.04, 0.03, 6, Material.METAL, POLE, metal)
    return concat([post, arm, caps])


def wires(start: Array, end: Array, sag_m: float, obj: int) -> Mesh:
    """Hanging wires from (N, 3) to (N, 3), world coordinates."""
    share = np.linspace(0, 1, 9)[:, None, None]
    line = start * (1 - share) + end * share
    line[..., 2] -= sag_m * 4 * (share * (1 - share))[..., 0]
    return tubes(line[:-1].reshape(-1, 3), line[1:].reshape(-1, 3), 0.013, 0.013, 3, Material.METAL, VOID, obj)
