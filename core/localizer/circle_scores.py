"""Score all places on the circles of many matches by the labels that are visible from there (PAPER 3.4, steps 4 and 5).

A camera that goes round the circle of a match sees the cloud turn about the vertical through the matched point. From one
map point, the places that it is visible from are an arc of the circle, which two rays from the point cut out: only there
the exact tests and the projection are done. The scores are those of trying every point at every place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.geometry import Array
from core.localizer.circle import Circles
from core.localizer.label_plane import LabelPlane

_BLOCK = {"cpu": 1 << 21, "cuda": 1 << 24}  # matches x points, or arcs x places, at a time
_MIN_DEPTH_M = 0.1
_ROUNDING = 2e-6  # of f32
_EDGE_ROOM = 1e-5
_WIDTHS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCloud:
    """P points of the upright world: ``points``, ``direction`` to their views (P, 3), the ``half_angle`` (P,) rad and the
    distances ``near``, ``far`` (P,) m that they are visible within, ``labels`` (P,) and what each counts, ``weights`` (P,).
    """

    points: Array
    direction: Array
    half_angle: Array
    near: Array
    far: Array
    labels: Array
    weights: Array


def score_circles(
    circles: Circles,
    cloud: LabelledCloud,
    plane: LabelPlane,
    values: Array,
    num_angles: int,
    min_visible: int = 0,
    device: str = "cpu",
) -> tuple[Array, Array]:
    """Score every match at ``num_angles`` equally spaced places on its circle.

    A point counts as visible when it lies in the cylinder around the matched point that reaches the circle, within its
    distances and its angle, and projects into the image. It adds ``values`` (K, K) at its label (row) and that of the
    pixel (column), times its weight and the pixel's confidence. Returns scores (M, A) f32 and visible points (M, A) i32;
    places with fewer than ``min_visible`` score 0.
    """
    work = _Work(circles, cloud, plane, values, num_angles, device)
    size = max(1, _BLOCK[work.device.type] // max(1, len(cloud.points)))
    for rows in torch.as_tensor(np.flatnonzero(np.isfinite(circles.radius)), device=work.device).split(size):
        work.add(rows)
    scores, visible = work.scores.cpu().numpy().copy(), work.visible.cpu().numpy().astype(np.int32)
    scores[visible < max(1, min_visible)] = 0
    return scores, visible


class _Work:
    """The columns of one call on its device, and the sums so far."""

    def __init__(
        self, circles: Circles, cloud: LabelledCloud, plane: LabelPlane, values: Array, num_angles: int, device: str
    ) -> None:
        self.device = torch.device(device)
        self.num_angles = num_angles
        middle = cloud.points.mean(axis=0) if len(cloud.points) else np.zeros(3)
        self.center = self._column(np.nan_to_num(circles.points[:, :2] - middle[:2]))
        self.radius = self._column(np.nan_to_num(circles.radius))
        self.projection = self._column(plane.K @ circles.axes)
        self.points = self._column(cloud.points[:, :2] - middle[:2])
        self.lift = self._column(cloud.points[:, 2] - circles.height)
        self.direction = self._column(cloud.direction)
        self.azimuth = torch.atan2(self.direction[:, 1], self.direction[:, 0])
        self.cosine = self._column(np.cos(np.minimum(cloud.half_angle, np.pi)))
        self.spread = self._column(_azimuth_spread(cloud))
        self.near, self.far = self._column(cloud.near) ** 2, self._column(cloud.far) ** 2
        self.row = self._column(cloud.labels, torch.int64) * values.shape[1]
        self.weights = self._unless_one(cloud.weights)
        self.values = self._column(values).reshape(-1)
        self.height, self.width = plane.labels.shape
        self.pixels = self._column(plane.labels, torch.int64).reshape(-1)
        self.confidence = self._unless_one(plane.confidence.reshape(-1))
        turns = 2 * np.pi * np.arange(num_angles) / num_angles
        left, right = torch.tensor([1.0, 0, 1.0]), torch.tensor([-1.0, 0, self.width])  # a pixel beyond either edge
        self.edges = [(edge.to(self.device) @ self.projection).unbind(1) for edge in (left, right)]
        self.cos, self.sin = self._column(np.cos(turns)), self._column(np.sin(turns))
        self.scores = torch.zeros((len(circles.radius), num_angles), device=self.device)
        self.visible = torch.zeros((len(circles.radius), num_angles), device=self.device)

    def _column(self, values: Array, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.array(values), device=self.device).to(kind)

    def _unless_one(self, values: Array) -> Tensor | None:
        """None where no factor is other than 1: looking it up for every point at every place is not cheap."""
        return None if (values == 1).all() else self._column(values)

    def add(self, rows: Tensor) -> None:
        """Add the arcs of the matches ``rows`` (B,)."""
        match, point, first, count = self._arcs(*self._near_pairs(rows))
        for low, high in zip((0, *_WIDTHS), (*_WIDTHS, self.num_angles)):
            chosen = _indices((count > low) & (count <= high))
            steps = torch.arange(min(high, self.num_angles), device=self.device)
            for part in chosen.split(max(1, _BLOCK[self.device.type] // len(steps))):
                self._places(match[part], point[part], first[part], count[part], steps)

    def _near_pairs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Matches and points where the point lies in the cylinder and the circle comes within its distances."""
        x = self.points[:, 0] - self.center[rows, 0, None]
        y = self.points[:, 1] - self.center[rows, 1, None]
        squared = x.mul_(x).add_(y.mul_(y))
        inside = squared <= (self.radius[rows] ** 2)[:, None]
        distance = squared.sqrt_()
        level_near, level_far = self._level(self.near, 0.0), self._level(self.far, -1.0)
        radius = self.radius[rows, None]
        inside &= (radius - distance <= level_far) & (radius + distance >= level_near)
        match, point = inside.nonzero(as_tuple=True)
        return rows[match], point

    def _level(self, squared: Tensor, none: float) -> Tensor:
        """The level part of the distances of which the squares are given, with a little room for rounding."""
        left = squared - self.lift**2
        return torch.where(left >= 0, left.clamp_min(0).sqrt() * (1.001 if none < 0 else 0.999), none)

    def _arcs(self, match: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cut each pair's places down to arcs: match, point, first place and number of places of each.

        The cone: from a point (rho, theta) in a circle of radius R, the ray of azimuth a meets it at the angle
        a + asin(rho / R sin(theta - a)). The distances: R^2 + rho^2 + lift^2 - 2 R rho cos(angle - theta) lies between two
        squares, which leaves an arc on either side of theta.
        """
        offset = self.points[point] - self.center[match]
        rho, radius = offset.norm(dim=1), self.radius[match]
        theta = torch.atan2(offset[:, 1], offset[:, 0])
        spread, azimuth = self.spread[point], self.azimuth[point]
        begin, end = (
            a + torch.asin((rho / radius * torch.sin(theta - a)).clamp(-1, 1)) - theta
            for a in (azimuth - spread, azimuth + spread)
        )
        turn = torch.round((begin + end) / (4 * np.pi)) * 2 * np.pi
        around = spread >= np.pi
        begin, end = torch.where(around, -np.pi, begin - turn), torch.where(around, np.pi, end - turn)
        inner, outer = self._distance_arc(point, rho, radius)
        whole = (begin < -np.pi - _ROUNDING) | (end > np.pi + _ROUNDING)  # over the seam: not cut
        sides = [(torch.maximum(begin, inner), torch.minimum(end, outer))]
        sides += [(torch.maximum(begin, -outer), torch.minimum(end, -inner))]
        arcs = [(torch.where(whole, begin, sides[0][0]), torch.where(whole, end, sides[0][1]))]
        arcs += [(torch.where(whole, 1.0, sides[1][0]), torch.where(whole, 0.0, sides[1][1]))]
        one, two = (self._to_places(theta, begin, end) for begin, end in arcs)
        two = self._without_shared(one, two)
        some = [_indices(count > 0) for _, count in (one, two)]
        columns = [(match[k], point[k], first[k], count[k], rho[k], theta[k]) for k, (first, count) in zip(some, (one, two))]
        return self._before_the_image(*(torch.cat(parts) for parts in zip(*columns)))

    def _distance_arc(self, point: Tensor, rho: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest angle from theta at which the distance is one that the point is visible from."""
        squared = radius**2 + rho**2 + self.lift[point] ** 2
        twice, room = (2 * radius * rho).clamp_min(1e-6), _ROUNDING * squared
        outer = torch.acos(((squared - self.far[point] - room) / twice - _ROUNDING).clamp(-1, 1))
        inner = torch.acos(((squared - self.near[point] + room) / twice + _ROUNDING).clamp(-1, 1))
        return inner, outer

    def _before_the_image(
        self, match: Tensor, point: Tensor, first: Tensor, count: Tensor, rho: Tensor, theta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Arcs without what, at either of their ends, projects to the left or to the right of the image.

        Seen from the angle psi from theta, a point of the circle lies a_f (R - rho cos psi) + a_l rho sin psi + a_u lift inside
        of the plane through the camera and an edge of the image: it is outside around psi_0 = atan2(-a_l, a_f).
        """
        step = 2 * np.pi / self.num_angles
        begin, length, lift = first * step - theta, (count - 1) * step, self.lift[point]
        start, end = torch.zeros_like(begin), length
        for ahead, aside, above in self.edges:
            scale = torch.hypot(ahead, aside)
            inside = (ahead * self.radius / scale)[match] + (above / scale)[match] * lift
            half = torch.acos((inside / rho.clamp_min(1e-6) + _EDGE_ROOM).clamp(-1, 1))
            left = torch.remainder(torch.atan2(-aside, ahead)[match] - half - begin, 2 * np.pi)
            right = left + 2 * half
            end = torch.where((left < length) & (right >= length), torch.minimum(end, left), end)
            start = torch.maximum(start, right - 2 * np.pi)
        skipped = torch.ceil(start / step - 0.01).int()
        left_over = torch.floor(end / step + 0.01).int() - skipped + 1
        some = _indices(left_over > 0)
        return match[some], point[some], (first + skipped)[some] % self.num_angles, left_over[some]

    def _to_places(self, theta: Tensor, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """First place and number of places of arcs from ``begin`` to ``end``, angles from theta."""
        step = 2 * np.pi / self.num_angles
        first = torch.ceil((theta + begin) / step - 0.01)
        count = (torch.floor((theta + end) / step + 0.01) - first + 1).clamp(0, self.num_angles)
        return first.long() % self.num_angles, count.int()

    def _without_shared(self, one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The second of two arcs without the places at its ends that the first one has too."""
        (first, count), (other, number) = one, two
        both = (count > 0) & (number > 0)
        begins = both & ((first + count - 1) % self.num_angles == other)
        other, number = other + begins, number - begins.int()
        ends = both & (number > 0) & ((other + number - 1) % self.num_angles == first)
        return other % self.num_angles, number - ends.int()

    def _places(self, match: Tensor, point: Tensor, first: Tensor, count: Tensor, steps: Tensor) -> None:
        """Test, project and add (n, S) places of arcs of at most S steps.

        Squared distances, how far a place lies along the point's direction, and where the point projects (homogeneous), are
        linear in the cosine and sine of the steps from the arc's first place.
        """
        offset = self.points[point] - self.center[match]
        radius, lift, cos, sin = self.radius[match], self.lift[point], self.cos[first], self.sin[first]
        nx, ny, nz = self.direction[point].unbind(1)
        along, beside = (offset[:, 0] * cos + offset[:, 1] * sin), (offset[:, 1] * cos - offset[:, 0] * sin)
        forward, left, up = self.projection[match].unbind(2)  # what a metre that way from the camera adds to (u, v, 1) * depth
        constant = [
            radius**2 + offset.square().sum(dim=1) + lift**2,
            -(self.direction[point, :2] * offset).sum(dim=1) - nz * lift,
        ]
        cosines = [-2 * radius * along, radius * (nx * cos + ny * sin)]
        sines = [-2 * radius * beside, radius * (ny * cos - nx * sin)]
        constant += (forward * radius[:, None] + up * lift[:, None]).unbind(1)
        cosines += (-forward * along[:, None] - left * beside[:, None]).unbind(1)
        sines += (left * along[:, None] - forward * beside[:, None]).unbind(1)
        linear = torch.stack([torch.stack(part) for part in (constant, cosines, sines)], dim=2)
        turned = torch.stack([torch.ones_like(self.cos[steps]), self.cos[steps], self.sin[steps]])
        squared, facing, u, v, depth = linear @ turned
        seen = (squared > self.near[point, None]) & (squared < self.far[point, None]) & (steps < count[:, None])
        seen &= facing >= squared.clamp_min_(0).sqrt_().mul_(self.cosine[point, None])
        seen &= depth > _MIN_DEPTH_M
        chosen = _indices(seen.reshape(-1))
        depth = depth.reshape(-1).index_select(0, chosen)
        u, v = (torch.round(value.reshape(-1).index_select(0, chosen) / depth) for value in (u, v))
        inside = _indices((u >= 0) & (u < self.width) & (v >= 0) & (v < self.height))
        pixel = (v * self.width + u).index_select(0, inside).long()
        chosen = chosen.index_select(0, inside)
        pair = torch.div(chosen, len(steps), rounding_mode="floor")
        place = chosen + (first - torch.arange(len(first), device=self.device) * len(steps)).index_select(0, pair)
        value = self.values.index_select(0, self.row[point].index_select(0, pair) + self.pixels.index_select(0, pixel))
        if self.confidence is not None:
            value *= self.confidence.index_select(0, pixel)
        if self.weights is not None:
            value *= self.weights[point].index_select(0, pair)
        where = (match * self.num_angles).index_select(0, pair) + torch.where(
            place < self.num_angles, place, place - self.num_angles
        )
        self.scores.view(-1).index_add_(0, where, value)
        self.visible.view(-1).index_add_(0, where, torch.ones_like(value))


def _indices(mask: Tensor) -> Tensor:
    """Where a mask (N,) is true; by numpy on the CPU, which is three times as fast."""
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero()[:, 0]


def _azimuth_spread(cloud: LabelledCloud) -> Array:
    """How far (P,) rad the azimuth of a direction in each point's cone may be from that of the cone's axis; pi: any way."""
    level = np.linalg.norm(cloud.direction[:, :2], axis=1)
    sine = np.sin(np.minimum(cloud.half_angle, np.pi / 2))
    inside = (cloud.half_angle < np.pi / 2) & (sine < level)
    return np.where(inside, np.arcsin(np.minimum(sine / np.maximum(level, 1e-12), 1.0)), np.pi)
