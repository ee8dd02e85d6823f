"""From light to pixels: exposure, tone curve, lens, drops, sensor noise."""

from __future__ import annotations

import cv2
import numpy as np

from core.geometry import Array, Rigid3d
from core.world.conditions import Atmosphere


def develop(light: Array, air: Atmosphere, pose: Rigid3d) -> Array:
    """Turn light (H, W, 3) into RGB u8; noise and drops depend on the traversal and the pose alone.

    Textures may shade a pixel a little darker than black: that is black.
    """
    light = np.maximum(light, 0)
    rng = np.random.default_rng([air.seed, *np.abs(np.frombuffer(pose.tvec.tobytes(), np.int32)).tolist()])
    light = _glow(light.astype(np.float32)) * _metered(light, air)
    if air.streaks > 0:
        light = _rain(light, rng)
    display = _tone(light * (air.white_balance * np.float32(air.exposure)) * _vignette(light.shape))
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 0.55)
    display = display + grain * np.float32(air.noise * 1.6) * np.sqrt(0.4 + display)
    return np.clip(display * 255 + 0.5, 0, 255).astype(np.uint8)


def _metered(light: Array, air: Atmosphere) -> np.float32:
    """The gain of an exposure meter that follows the scene half way; less by night."""
    middle = float(np.exp(np.log(light[::4, ::4].mean(axis=2) + 1e-3).mean()))
    follow = 0.1 if air.headlights > 0 else 0.5
    return np.float32(np.clip((0.3 / middle / air.exposure) ** follow, 0.6, 1.9))


def _tone(x: Array) -> Array:
    """A filmic curve (Narkowicz' fit of ACES) and display gamma."""
    x = np.maximum(x, 0)
    curve = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return np.clip(curve, 0, 1) ** np.float32(1 / 2.2)


def _glow(light: Array) -> Array:
    """Light that the lens spreads around what is brighter than white."""
    small = cv2.resize(np.clip(light - 1.6, 0, 6), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    blur = cv2.GaussianBlur(small, (0, 0), 4.0)
    soft = cv2.GaussianBlur(light, (0, 0), 0.45)
    return soft + 0.35 * cv2.resize(blur, (light.shape[1], light.shape[0]), interpolation=cv2.INTER_LINEAR)


def _vignette(shape: tuple[int, ...]) -> Array:
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (1 - 0.16 * (x * x + y * y)).astype(np.float32)[..., None]


def _rain(light: Array, rng: np.random.Generator) -> Array:
    """Falling streaks, and drops on the windscreen that bend what is behind them."""
    rows, columns = light.shape[:2]
    streaks = np.zeros((rows, columns), np.float32)
    slant = float(rng.normal(0, 0.12))
    for _ in range(int(rows * columns / 2600)):
        x, y, length = rng.uniform(0, columns), rng.uniform(0, rows), rng.uniform(0.01, 0.05) * rows
        end = (int(x + slant * length), int(y + length))
        cv2.line(streaks, (int(x), int(y)), end, float(rng.uniform(0.02, 0.08)), 1, cv2.LINE_AA)
    light = light + streaks[..., None] * light.mean()
    return _drops(light, rng)


def _drops(light: Array, rng: np.random.Generator) -> Array:
    rows, columns = light.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    dx, dy = np.zeros_like(x), np.zeros_like(y)
    for _ in range(14):
        cx, cy, r = rng.uniform(0, columns), rng.uniform(0, rows), rng.uniform(0.008, 0.022) * columns
        low_x, low_y = max(0, int(cx - r)), max(0, int(cy - r))
        window = (slice(low_y, int(cy + r) + 2), slice(low_x, int(cx + r) + 2))
        inside = (x[window] - cx) ** 2 + (y[window] - cy) ** 2 < r * r
        dx[window] -= 2.2 * (x[window] - cx) * inside
        dy[window] -= 2.2 * (y[window] - cy) * inside
    return cv2.remap(light, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
