"""One framing shared by several images: it knows no widget, so no resize can feed back into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.geometry import Array

MIN_ZOOM, MAX_ZOOM = 0.25, 200.0


@dataclass(frozen=True, slots=True)
class ViewTransform:
    """What part of an image is looked at: the point (``u``, ``v``) in [0, 1] of its width and height is in the middle of
    the pane, and ``zoom`` is relative to the scale at which the whole image fits.
    """

    u: float = 0.5
    v: float = 0.5
    zoom: float = 1.0

    def panned(self, du: float, dv: float) -> ViewTransform:
        """Move by shares of the image's width and height; the middle of the pane stays on the image."""
        return replace(self, u=min(1.0, max(0.0, self.u + du)), v=min(1.0, max(0.0, self.v + dv)))


@dataclass(frozen=True, slots=True)
class PaneFrame:
    """An image of ``image_width`` x ``image_height`` px under ``view`` in the screen rectangle ``x, y, width, height``.

    Screen positions are continuous widget coordinates. Image positions are OpenCV pixels: the centre of the top-left
    pixel is (0, 0), so the image covers [-0.5, image_width - 0.5].
    """

    x: float
    y: float
    width: float
    height: float
    image_width: int
    image_height: int
    view: ViewTransform

    @property
    def scale(self) -> float:
        """Screen pixels an image pixel."""
        return min(self.width / self.image_width, self.height / self.image_height) * self.view.zoom

    @property
    def _middle(self) -> Array:
        return np.array([self.x + self.width / 2, self.y + self.height / 2])

    @property
    def _focus(self) -> Array:
        return np.array([self.view.u * self.image_width - 0.5, self.view.v * self.image_height - 0.5])

    def to_screen(self, points: Array) -> Array:
        """Image px (N, 2) to screen (N, 2)."""
        return (np.asarray(points, np.float64) - self._focus) * self.scale + self._middle

    def to_image(self, positions: Array) -> Array:
        """Screen (N, 2) to image px (N, 2)."""
        return (np.asarray(positions, np.float64) - self._middle) / self.scale + self._focus

    def contains(self, positions: Array) -> Array:
        """Whether screen positions (N, 2) are inside of the pane, (N,) bool."""
        inside = np.asarray(positions) - (self.x, self.y)
        return ((inside >= 0) & (inside < (self.width, self.height))).all(axis=-1)

    def on_image(self, points: Array) -> Array:
        """Whether image px (N, 2) lie on the image, (N,) bool."""
        points = np.asarray(points)
        return ((points >= -0.5) & (points < (self.image_width - 0.5, self.image_height - 0.5))).all(axis=-1)

    def grid(self, pixel_ratio: float) -> tuple[Array, Array]:
        """Image columns (w,) and rows (h,) px under the centres of the pane's device pixels."""
        across = (np.arange(int(np.ceil(self.width * pixel_ratio))) + 0.5) / pixel_ratio + self.x
        down = (np.arange(int(np.ceil(self.height * pixel_ratio))) + 0.5) / pixel_ratio + self.y
        middle, focus = self._middle, self._focus
        return (across - middle[0]) / self.scale + focus[0], (down - middle[1]) / self.scale + focus[1]

    def zoomed_at(self, position: Array, factor: float) -> ViewTransform:
        """The view after zooming by ``factor`` with the image point under ``position`` (2,) held where it is."""
        zoom = float(np.clip(self.view.zoom * factor, MIN_ZOOM, MAX_ZOOM))
        held = self.to_image(np.asarray(position, np.float64))
        scale = self.scale * zoom / self.view.zoom
        focus = held - (position - self._middle) / scale + 0.5
        return ViewTransform(float(focus[0] / self.image_width), float(focus[1] / self.image_height), zoom)

    def dragged(self, dx: float, dy: float) -> ViewTransform:
        """The view after the image is dragged by (dx, dy) screen pixels."""
        return self.view.panned(-dx / (self.scale * self.image_width), -dy / (self.scale * self.image_height))
