"""Textures of what is built: walls, roofs, windows, doors, signs and posters."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.noise import fbm, hash01, noise, noise4, smoothstep
from core.world.surface import Look, Sample, fract, line, mix


def _grime(q: Sample) -> Array:
    """Rain streaks, damp at the foot, blotches: a factor (N,) around 1 that is the same in every condition."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    streaks = fbm(u, v * 0.09 + q.shift, 0.35, 3, fp)
    foot = smoothstep(1.1, 0.0, v + 0.5 * noise(u, v, 0.8)) * 0.2
    return 1 + 0.13 * streaks + 0.15 * fbm(u, v, 2.2, 3, fp) - foot


def brick(q: Sample) -> Look:
    """Running bond, 215 x 65 mm and a joint, each brick of its own tone, with repairs."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    row = np.floor(v / 0.075)
    x = u / 0.225 + 0.5 * (row % 2)
    du, dv = (fract(x) - 0.5) * 0.225, (fract(v / 0.075) - 0.5) * 0.075
    joint = np.maximum(line(np.abs(du) - 0.1125, 0.006, fp), line(np.abs(dv) - 0.0375, 0.006, fp))
    near = np.clip(1.7 - fp * 9, 0, 1)
    cell = (hash01(x, row, 0.3) - 0.5) * near
    odd = (hash01(x, row, 0.9) > 0.93) * near
    tone = (1 + 0.62 * cell - 0.35 * odd + 0.14 * fbm(u, v, 0.09, 2, fp)) * _grime(q)
    albedo = mix(q.color, q.accent, (hash01(x, row, 0.6) > 0.6) * 0.6 * near) * np.clip(tone, 0.2, 2)[:, None]
    mortar = np.array([0.42, 0.39, 0.35], np.float32) * _grime(q)[:, None]
    return Look(mix(albedo, mortar, joint))


def plaster(q: Sample) -> Look:
    """Painted render with trowel marks, hair cracks, and places where it has come off the bricks."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    tone = _grime(q) + 0.09 * fbm(u, v, 0.1, 3, fp)
    crack = line(noise(u, v, 1.4) + 0.4 * noise(v, u, 0.35), 0.012, fp * 0.6) * smoothstep(0.1, 0.5, noise(u + 3, v, 2.7))
    lost = smoothstep(0.6, 0.68, fbm(u + 50, v, 1.5, 4, fp) - 0.05 * v)
    albedo = q.color * (np.clip(tone, 0.3, 1.5) * (1 - 0.4 * crack))[:, None]
    return Look(mix(albedo, brick(q).albedo * 0.6, lost))


def ashlar(q: Sample) -> Look:
    """Dressed stone in courses of 0.42 m."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    row = np.floor(v / 0.42)
    x = u / 0.85 + hash01(row, 0, 0.7)
    du, dv = (fract(x) - 0.5) * 0.85, (fract(v / 0.42) - 0.5) * 0.42
    joint = np.maximum(line(np.abs(du) - 0.425, 0.01, fp), line(np.abs(dv) - 0.21, 0.01, fp))
    grain = fbm(u + hash01(x, row, 0.2) * 50, v, 0.22, 4, fp)
    tone = (0.86 + 0.28 * hash01(x, row, 0.4) + 0.2 * grain) * _grime(q)
    return Look(q.color * (np.clip(tone, 0.2, 1.6) * (1 - 0.5 * joint))[:, None])


def cladding(q: Sample) -> Look:
    """Horizontal weather boards with a shadow under each, grain and flaking paint."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    board = np.floor(v / 0.16)
    low = fract(v / 0.16)
    shade = 0.62 + 0.38 * smoothstep(0.0, 0.22, low)
    near = np.clip(1.6 - fp * 10, 0, 1)
    butt = line(fract(u / 3.1 + hash01(board, 0, 0.5)) * 3.1 - 1.5, 0.006, fp)
    tone = (0.93 + 0.16 * hash01(board, u / 3.1 + hash01(board, 0, 0.5), 0.6)) * _grime(q) + 0.1 * fbm(u * 0.15, v, 0.03, 2, fp)
    flake = smoothstep(0.52, 0.62, fbm(u * 0.6, v * 1.5, 0.4, 4, fp))
    albedo = q.color * (np.clip(tone, 0.2, 1.6) * (shade * near + 0.9 * (1 - near)) * (1 - 0.5 * butt))[:, None]
    return Look(mix(albedo, np.array([0.2, 0.16, 0.12], np.float32), flake * 0.55))


def roof_tile(q: Sample) -> Look:
    """Overlapping tiles or slates in rows, with moss."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    row = np.floor(v / 0.26)
    slate = q.params[:, 0] > 0.5
    x = u / 0.24 + np.where(slate, 0.5 * (row % 2), 0.0)
    low, across = fract(v / 0.26), fract(x)
    near = np.clip(1.8 - fp * 6, 0, 1)
    curve = np.where(slate, 1 - 0.4 * line((across - 0.5) * 0.24, 0.008, fp), 0.7 + 0.45 * np.sin(across * np.pi))
    tone = (0.6 + 0.45 * smoothstep(0, 0.3, low)) * curve
    tone = (tone * near + 0.85 * (1 - near)) * (0.82 + 0.36 * hash01(x, row, 0.3) * near + 0.18 * fbm(u, v, 1.7, 4, fp))
    moss = smoothstep(0.35, 0.7, fbm(u + 80, v, 1.2, 4, fp))
    return Look(mix(q.color * tone[:, None], np.array([0.12, 0.15, 0.06], np.float32), moss * 0.5))


def roof_flat(q: Sample) -> Look:
    tone = 0.9 + 0.3 * fbm(q.u, q.v, 1.5, 4, q.footprint)
    seam = line(fract(q.u) - 0.5, 0.02, q.footprint)
    return Look(q.color * 0.6 * (tone * (1 - 0.3 * seam))[:, None])


def trim(q: Sample) -> Look:
    """Painted stone or wood: sills, frames, cornices, plates."""
    p, fp = q.point, q.footprint
    tone = 0.95 + 0.14 * fbm(p[:, 0] + p[:, 1], p[:, 2] * 0.4, 0.3, 3, fp) + 0.08 * noise(p[:, 0] - p[:, 1], p[:, 2], 0.06, fp)
    return Look(q.color * tone[:, None])


def window(q: Sample) -> Look:
    """Frame and bars, glass that mirrors the sky, and behind it curtains, blinds or a dark room; some are lit."""
    i, j = np.floor(q.u), np.floor(q.v)
    x, y = q.u - i, q.v - j
    kind = hash01(i, j, q.seed)
    tint = hash01(j + 5, i, q.seed)
    bars_x = np.abs(fract(x * q.params[:, 0]) - 0.5) > 0.5 - 0.022 * q.params[:, 0]
    bars_y = np.abs(fract(y * q.params[:, 1]) - 0.5) > 0.5 - 0.016 * q.params[:, 1]
    edge = (np.minimum(x, 1 - x) < 0.055) | (np.minimum(y, 1 - y) < 0.045)
    frame = (bars_x | bars_y | edge).astype(np.float32)
    room, cover = _room(q, x, y, kind, tint)
    glow = None
    if q.air.lit > 0:
        lit = (hash01(i + 3, j + 9, q.seed) < q.air.lit).astype(np.float32)
        warm = np.stack([np.full_like(x, 1.0), 0.66 + 0.22 * tint, 0.3 + 0.4 * tint], -1)
        shine = lit * (1 - frame) * (0.4 + 0.7 * y) * (1.0 - 0.45 * cover) * (0.6 + 0.6 * kind)
        glow = warm * (0.75 * shine)[:, None]
    albedo = mix(room, q.color, frame)
    return Look(albedo, 0.13 * (1 - frame), glow)


def _room(q: Sample, x: Array, y: Array, kind: Array, tint: Array) -> tuple[Array, Array]:
    """What stands behind the glass: (N, 3) colour and how much cloth covers the pane (N,)."""
    folds = 0.8 + 0.2 * np.sin(x * (38 + 30 * tint) + 9 * kind)
    side = np.minimum(x, 1 - x) < 0.1 + 0.2 * tint
    blind = y > 0.35 + 0.6 * tint
    cover = np.where(kind < 0.35, side, np.where(kind < 0.55, blind, np.where(kind < 0.65, 1, 0))).astype(np.float32)
    cloth = q.accent * (0.55 * folds + 0.25 * tint)[:, None]
    depth = 0.03 + 0.05 * (y < 0.25) + 0.04 * noise(x * 3 + kind * 90, y * 3, 0.4)
    plant = ((kind > 0.8) & (y < 0.28 + 0.1 * noise(x * 9, y * 9 + tint * 60, 1.0))).astype(np.float32)
    dark = np.repeat(depth[:, None], 3, axis=1).astype(np.float32)
    dark = mix(dark, np.array([0.05, 0.10, 0.03], np.float32), plant)
    return mix(dark, cloth, cover), cover


def door(q: Sample) -> Look:
    """Panels, a knob, and glass at the top of some."""
    x, y = fract(q.u), fract(q.v)
    px, py = np.abs(fract(x * 2) - 0.5), np.abs(fract(y * 3) - 0.5)
    groove = ((np.abs(px - 0.36) < 0.04) & (py < 0.4)) | ((np.abs(py - 0.4) < 0.03) & (px < 0.38))
    tone = (1 - 0.4 * groove) * (0.92 + 0.15 * fbm(q.u * 3, q.v * 0.4 + q.shift, 0.2, 3))
    glass = ((y > 0.72) & (px < 0.3) & (q.seed > 0.4)).astype(np.float32)
    knob = ((x - 0.88) ** 2 + (2 * (y - 0.48)) ** 2 < 0.002).astype(np.float32)
    albedo = mix(q.color * tone[:, None], np.full(3, 0.04, np.float32), glass)
    return Look(mix(albedo, np.array([0.7, 0.6, 0.3], np.float32), knob), 0.3 * glass)


def plank(q: Sample) -> Look:
    """Bare or painted boards."""
    p, fp = q.point, q.footprint
    grain = fbm((p[:, 0] + p[:, 1]) * 1.0, p[:, 2] * 0.12, 0.03, 3, fp)
    board = hash01((p[:, 0] - p[:, 1]) / 0.13, 0, q.seed)
    return Look(q.color * (0.85 + 0.25 * board + 0.2 * grain + 0.12 * noise(p[:, 0], p[:, 2], 0.6, fp))[:, None])


def metal(q: Sample) -> Look:
    """Painted metal with rust and scratches."""
    p, fp = q.point, q.footprint
    a, b = p[:, 0] + p[:, 1], p[:, 2]
    rust = smoothstep(0.35, 0.75, fbm(a, b, 0.35, 4, fp))
    albedo = q.color * (0.95 + 0.2 * fbm(a, b, 0.08, 2, fp))[:, None]
    return Look(mix(albedo, np.array([0.18, 0.075, 0.03], np.float32), rust * 0.5), 0.05)


def poster(q: Sample) -> Look:
    """A unique bill, notice or spray painting: blocks, text lines, a picture of blobs."""
    i, j = np.floor(q.u), np.floor(q.v)
    x, y = q.u - i, q.v - j
    k = np.float32(0.5)
    kind = hash01(i, j, k)
    paper = np.stack([0.35 + 0.6 * hash01(i, j + n, 0.1 * n) for n in (1, 2, 3)], -1)
    ink = np.stack([0.75 * hash01(i + n, j, 0.13 * n) for n in (1, 2, 3)], -1)
    text = (
        (fract(y * 13) < 0.55) & (hash01(x * 34 + 100 * kind, np.floor(y * 13), 0.2) > 0.3) & (x > 0.1) & (x < 0.9) & (y < 0.55)
    )
    title = (y > 0.78) & (y < 0.92) & (hash01(x * 11 + 50 * kind, i, 0.8) > 0.35) & (x > 0.08) & (x < 0.92)
    blob = (noise4(x * 4 + i, y * 4 + j, 1.0) > 0.12)[:, :3] * (y > 0.58)[:, None] * (y < 0.76)[:, None]
    albedo = mix(paper, ink, (text | title).astype(np.float32)) * (1 - 0.6 * blob)
    spray = fbm(x * 5 + i, y * 3 + j, 1.0, 3)
    strokes = np.clip(1 - np.abs(spray) * 9, 0, 1)
    wall = mix(q.color * 0.5 + 0.2, ink * 1.2, strokes)
    albedo = np.where((kind > 0.6)[:, None], wall, albedo)
    return Look(albedo * (0.9 + 0.15 * noise(x * 9, y * 9 + i, 1.0))[:, None])


def shop_sign(q: Sample) -> Look:
    """A board with made-up lettering; lit when lamps are."""
    u, v = q.u, q.v
    glyph = np.floor(u / 0.3)
    x, y = fract(u / 0.3), (v - 0.1) / 0.34
    inside = (y > 0) & (y < 1) & (x > 0.08) & (x < 0.88)
    stroke = hash01(glyph * 5 + np.floor(x * 3.4), np.floor(y * 4), q.seed) > 0.42
    gap = hash01(glyph, 1, q.seed) < 0.16
    ink = (inside & stroke & ~gap & (u > 0.4)).astype(np.float32)
    lettering = np.where((q.color.sum(1) > 0.9)[:, None], np.float32(0.03), np.float32(0.9))
    albedo = mix(q.color, np.broadcast_to(lettering, q.color.shape), ink)
    on = 0.9 * q.air.lamps * (q.seed > 0.35)
    return Look(albedo, 0.03, albedo * on[:, None] if q.air.lamps > 0 else None)


def awning(q: Sample) -> Look:
    stripes = fract((q.point[:, 0] * 0.7 + q.u) / 0.5) < 0.5
    tone = 0.9 + 0.15 * fbm(q.u, q.v, 0.5, 3, q.footprint)
    return Look(mix(q.color, np.full(3, 0.8, np.float32), stripes.astype(np.float32)) * tone[:, None])


def sign(q: Sample) -> Look:
    """A traffic sign: a rim and a symbol of its own."""
    shape = np.floor(q.u)
    x, y = (q.u - shape - 0.5) * 2, (q.v - np.floor(q.v) - 0.5) * 2
    radius = np.where(shape > 0.5, np.maximum(np.abs(x), np.abs(y)) * 1.25, np.sqrt(x * x + y * y))
    rim = (radius > 0.76).astype(np.float32)
    symbol = (noise(x * 1.4 + q.seed * 90, y * 1.4 + q.seed * 31, 0.55) > 0.16) & (radius < 0.6)
    face = mix(q.accent, np.full(3, 0.03, np.float32), symbol.astype(np.float32))
    return Look(mix(face, q.color, rim), 0.04)


def far_city(q: Sample) -> Look:
    """Blocks far away: a raster of windows on plain walls."""
    u, v = q.u, q.v
    i, j = np.floor(u / q.params[:, 0]), np.floor(v / q.params[:, 1])
    x, y = fract(u / q.params[:, 0]), fract(v / q.params[:, 1])
    wall = np.abs(q.normal[:, 2]) < 0.5
    pane = ((np.abs(x - 0.5) < 0.28) & (np.abs(y - 0.5) < 0.3) & wall).astype(np.float32)
    tone = 0.9 + 0.2 * fbm(u, v, 3.0, 3, q.footprint)
    albedo = mix(q.color * tone[:, None], np.full(3, 0.06, np.float32), pane)
    albedo = np.where(wall[:, None], albedo, q.accent)
    if q.air.lit <= 0:
        return Look(albedo, 0.15 * pane)
    lit = (hash01(i, j, q.seed) < q.air.lit) * pane
    return Look(albedo, 0.15 * pane, np.array([1.0, 0.75, 0.45], np.float32) * (0.5 * lit)[:, None])
