"""Textures of the ground: asphalt, paving, cobbles, kerbs, grass, gravel, hills and water."""

from __future__ import annotations

import numpy as np

from core.geometry import Array
from core.world.noise import fbm, hash01, noise, noise4, smoothstep
from core.world.surface import Look, Sample, fract, line, mix


def asphalt(q: Sample) -> Look:
    """Grain, patches, cracks, wheel wear, drains and worn markings; u runs along the road, v across."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    tone = 1 + 0.12 * fbm(u, v, 5.0, 3, fp) + 0.16 * fbm(v, u, 0.42, 4, fp) + _aggregate(u, v, fp)
    half = q.params[:, 0]
    wear = np.exp(-(((np.abs(np.abs(v) - half * 0.45) - 0.75) / 0.3) ** 2))
    tone += 0.1 * wear - 0.09 * np.exp(-((np.abs(v) - half * 0.45) ** 2) / 0.1)
    patch = hash01(u / 4.3, (v + 20) / 1.9, 0.37)
    tone *= np.where(patch < 0.13, 0.72 + 0.3 * hash01(u / 4.3, (v + 20) / 1.9, 0.11), 1)
    seam = noise(u * 0.6, v, 2.3) + 0.4 * noise(u, v, 0.5) + 0.12 * noise(v, u, 0.13)
    broken = smoothstep(-0.1, 0.35, noise(u + 11, v, 3.7))
    tone *= 1 - 0.55 * line(seam, 0.009, fp * 0.45) * broken
    spots = fbm(u + 5, v + 3, 0.9, 3, fp)
    tone *= 1 - 0.3 * smoothstep(0.5, 0.62, spots) + 0.12 * smoothstep(0.45, 0.6, -spots)
    albedo = q.color * np.clip(tone, 0.2, 2)[:, None]
    albedo = _drains(albedo, u, v, fp)
    return Look(_markings(albedo, q))


def _aggregate(u: Array, v: Array, fp: Array) -> Array:
    """Single stones that stand out of the binder, (N,) around 0."""
    near = np.clip(1.7 - fp * 32, 0, 1)
    grit = hash01(u / 0.028, v / 0.028, 0.6)
    chips = hash01(u / 0.09, v / 0.09, 0.8)
    dx, dy = fract(u / 0.09) - 0.3 - 0.4 * fract(chips * 37), fract(v / 0.09) - 0.3 - 0.4 * fract(chips * 91)
    stone = (dx * dx + dy * dy < 0.09) * np.clip(1.7 - fp * 20, 0, 1)
    return near * 0.4 * (grit - 0.5) + stone * (0.32 * (chips > 0.955) - 0.3 * (chips < 0.04))


def _drains(albedo: Array, u: Array, v: Array, fp: Array) -> Array:
    cell = np.floor(u / 21)
    du = u - (cell + 0.2 + 0.6 * hash01(cell, 1, 0.4)) * 21
    dv = v - (hash01(cell, 2, 0.6) - 0.5) * 5
    radius = np.sqrt(du * du + dv * dv)
    lid = np.clip((0.34 - radius) / np.maximum(fp, 1e-3) + 0.5, 0, 1)
    rings = 0.75 + 0.35 * np.sign(np.sin(du * 70)) * np.sign(np.sin(dv * 70)) * np.clip(1 - fp * 30, 0, 1)
    rim = line(radius - 0.34, 0.03, fp)
    dark = albedo * (0.55 * rings)[:, None]
    return mix(albedo, dark, lid) * (1 - 0.5 * rim)[:, None]


def _markings(albedo: Array, q: Sample) -> Array:
    u, v, fp = q.u, q.v, q.footprint
    half, style = q.params[:, 0], q.params[:, 1]
    dash = line(v, 0.07, fp) * (fract(u / 7.5) < 0.45)
    edge = line(np.abs(v) - half + 0.45, 0.06, fp)
    crossing = (np.abs(fract(u / 83 + q.params[:, 2]) * 83 - 20) < 1.6) * (fract(v / 1.1) < 0.5) * (np.abs(v) < half - 0.5)
    paint = np.maximum(np.maximum(dash, edge * (half > 4)), crossing) * (style > 0.5)
    worn = smoothstep(-0.45, 0.2, fbm(q.u, q.v, 0.35, 4, fp) + 0.35 * noise(q.u, q.v, 3.0))
    return mix(albedo, np.full(3, 0.62, np.float32), paint * worn * 0.9)


def paving(q: Sample) -> Look:
    """Slabs in a running bond, each of its own tone, some cracked or stained."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    size = np.maximum(q.params[:, 0], 0.25)
    row = np.floor(v / size)
    x = u / (size * 1.5) + 0.5 * (row % 2)
    cell = hash01(x, row, 0.5)
    du = (fract(x) - 0.5) * size * 1.5
    dv = (fract(v / size) - 0.5) * size
    joint = np.maximum(line(np.abs(du) - size * 0.75, 0.012, fp), line(np.abs(dv) - size * 0.5, 0.012, fp))
    tone = 0.82 + 0.32 * cell + 0.13 * fbm(u, v, 0.25, 3, fp) + 0.1 * noise(v, u, 2.6)
    stains = smoothstep(0.35, 0.7, noise(u + 7, v, 0.9, fp)) * 0.25 + (hash01(u / 0.17, v / 0.17, 0.9) > 0.985) * 0.25 * (
        fp < 0.08
    )
    return Look(q.color * (np.clip(tone - stains, 0.2, 1.6) * (1 - 0.55 * joint))[:, None])


def cobble(q: Sample) -> Look:
    """Rounded setts in rows."""
    u, v, fp = q.u + q.shift, q.v + 0.02 * noise(q.u, q.v, 0.7), q.footprint
    row = np.floor(v / 0.13)
    x = u / 0.17 + hash01(row, 0, 0.2)
    du, dv = (fract(x) - 0.5) * 2, (fract(v / 0.13) - 0.5) * 2
    dome = np.clip(1.25 - np.maximum(np.abs(du), np.abs(dv)) ** 3, 0.25, 1)
    near = np.clip(1.6 - fp * 14, 0, 1)
    tone = (0.7 + 0.55 * hash01(x, row, 0.8)) * dome
    tone = tone * near + 0.75 * (1 - near) + 0.14 * fbm(u, v, 2.4, 3, fp)
    return Look(q.color * np.clip(tone, 0.1, 1.6)[:, None], 0.02)


def kerb(q: Sample) -> Look:
    """Stone blocks a metre long."""
    u, fp = q.u + q.shift, q.footprint
    joint = line(fract(u) - 0.5, 0.01, fp)
    tone = 0.85 + 0.25 * hash01(u + 0.5, 0, 0.3) + 0.22 * fbm(u, q.v + q.point[:, 2], 0.14, 3, fp)
    return Look(q.color * (tone * (1 - 0.5 * joint))[:, None])


def grass(q: Sample) -> Look:
    """Blades, tufts, dry and bare spots, clover and small flowers."""
    u, v, fp = q.u + q.shift, q.v, q.footprint
    blades = noise4(u * 2.2, v, 0.05, fp)
    tufts = fbm(u, v, 0.6, 4, fp)
    weeds = smoothstep(0.35, 0.6, fbm(v + 13, u, 0.45, 3, fp)) * 0.3
    tone = 0.95 + 0.4 * blades[:, 0] + 0.34 * tufts + 0.14 * fbm(u, v, 4.1, 3, fp) - weeds
    dry = smoothstep(0.0, 0.75, fbm(u + 31, v, 6.0, 4, fp) + 0.3 * blades[:, 1])
    albedo = mix(q.color, q.accent, dry * 0.75)
    soil = smoothstep(0.62, 0.85, fbm(u - 9, v + 4, 2.7, 4, fp))
    albedo = mix(albedo, np.array([0.16, 0.11, 0.07], np.float32), soil * 0.8)
    albedo = albedo * (np.clip(tone, 0.3, 2) * 0.95)[:, None] * q.air.turf
    if q.air.foliage == "leafy":
        dx, dy = fract(u / 0.07) - 0.5, fract(v / 0.07) - 0.5
        petals = (hash01(u / 0.07, v / 0.07, 0.2) > 0.975) & (dx * dx + dy * dy < 0.11)
        flower = petals * np.clip(1.5 - fp * 25, 0, 1) * (noise(u, v, 3.1) > 0.1)
        albedo = mix(albedo, np.array([0.75, 0.72, 0.45], np.float32), flower)
    return Look(albedo)


def gravel(q: Sample) -> Look:
    u, v, fp = q.u + q.shift, q.v, q.footprint
    pebbles = hash01(u / 0.035, v / 0.035, 0.4) - 0.5
    ruts = 0.16 * np.exp(-(((np.abs(v) - 0.8) / 0.35) ** 2)) * (q.params[:, 0] > 1)
    tone = 0.8 + 0.6 * pebbles * np.clip(1.8 - fp * 32, 0, 1) + 0.34 * fbm(u, v, 0.7, 5, fp) + 0.16 * fbm(u, v, 4, 3) - ruts
    warm = np.array([1.0, 0.92, 0.78], np.float32)
    return Look(q.color * warm * np.clip(tone, 0.2, 2)[:, None])


def soil(q: Sample) -> Look:
    tone = 1 + 0.4 * fbm(q.u, q.v, 0.4, 4, q.footprint)
    return Look(q.color * tone[:, None])


def hill(q: Sample) -> Look:
    """Fields and forest seen from afar, by world position."""
    u, v, fp = q.u, q.v, q.footprint
    fields = hash01((u + 40 * noise(u, v, 180.0)) / 90, (v + 30 * noise(v, u, 150.0)) / 70, q.seed)
    albedo = q.color * (0.75 + 0.5 * fields)[:, None] * np.array([1.05, 1.0, 0.9], np.float32)
    forest = smoothstep(-0.1, 0.12, fbm(u + 700, v, 260, 4, fp) + q.params[:, 0] - 0.4 + q.point[:, 2] * 0.006)
    crowns = 0.75 + 0.5 * fbm(u, v, 9.0, 3, fp * 0.4)
    wood = q.accent * (crowns * (1.0 if q.air.foliage == "leafy" else 0.9))[:, None]
    if q.air.foliage == "autumn":
        wood = wood * np.array([1.9, 1.0, 0.6], np.float32)
    elif q.air.foliage != "leafy":
        wood = np.array([0.10, 0.082, 0.068], np.float32) * crowns[:, None]
    tone = 1 + 0.2 * fbm(u, v, 2.0, 3, fp)
    return Look(mix(albedo * q.air.turf, wood, forest) * tone[:, None])


def water(q: Sample) -> Look:
    ripple = 0.5 + 0.5 * fbm(q.u * 2, q.v, 0.6, 3, q.footprint)
    return Look(q.color * (0.8 + 0.4 * ripple)[:, None], 0.06 + 0.04 * ripple)


def snow_pile(q: Sample) -> Look:
    p = q.point
    dirt = smoothstep(0.1, 0.8, fbm(p[:, 0] + p[:, 2], p[:, 1], 0.5, 4, q.footprint) + 0.25 - p[:, 2])
    tone = 0.94 + 0.12 * fbm(p[:, 0], p[:, 1] + p[:, 2], 0.16, 3, q.footprint)
    return Look(mix(q.color, np.array([0.3, 0.27, 0.24], np.float32), dirt * 0.5) * tone[:, None])
