"""The eye of the 3D view: it orbits a target, with gravity down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from core.geometry import Array, Rigid3d

_MAX_ELEVATION = np.radians(89.9)


def _identity() -> Array:
    return np.eye(3)


@dataclass(frozen=True, slots=True, eq=False)
class OrbitCamera:
    """Looks at ``target`` (3,) m from ``distance`` m, at ``azimuth`` and ``elevation`` rad in the frame in which up is z.

    ``level_from_world`` (3, 3) turns the world so that up is z. ``fov`` rad is the vertical angle of view.
    """

    target: Array = field(default_factory=lambda: np.zeros(3))
    distance: float = 10.0
    azimuth: float = -np.pi / 2
    elevation: float = np.radians(30)
    fov: float = np.radians(45)
    level_from_world: Array = field(default_factory=_identity)

    @property
    def world_rotation(self) -> Array:
        """(3, 3) rotation world -> eye; the eye is x right, y down, z forward."""
        ca, sa, ce, se = np.cos(self.azimuth), np.sin(self.azimuth), np.cos(self.elevation), np.sin(self.elevation)
        forward = -np.array([ce * ca, ce * sa, se])
        right = np.array([-sa, ca, 0.0])
        return np.stack([right, np.cross(forward, right), forward]) @ self.level_from_world

    @property
    def position(self) -> Array:
        """Where the eye is, (3,) m in the world."""
        return self.target - self.distance * self.world_rotation[2]

    @property
    def eye_from_world(self) -> Rigid3d:
        R = self.world_rotation
        return Rigid3d.from_rotation(R, -R @ self.position)

    def near_far(self) -> tuple[float, float]:
        return self.distance * 0.01, self.distance * 300.0

    def clip_from_world(self, width: float, height: float) -> Array:
        """OpenGL's (4, 4) f64 projection times view for a screen of the given size."""
        near, far = self.near_far()
        f = 1 / np.tan(self.fov / 2)
        projection = np.array(
            [
                [f * height / max(width, 1.0), 0, 0, 0],
                [0, f, 0, 0],
                [0, 0, (far + near) / (near - far), 2 * far * near / (near - far)],
                [0, 0, -1, 0],
            ]
        )
        R = np.diag([1.0, -1, -1]) @ self.world_rotation
        view = np.eye(4)
        view[:3, :3], view[:3, 3] = R, -R @ self.position
        return projection @ view

    def project(self, points: Array, width: float, height: float) -> tuple[Array, Array]:
        """World points (N, 3) to screen px (N, 2) f32 and depth (N,) f32 m; NaN px where not in front of the near plane."""
        R = self.world_rotation.astype(np.float32)
        in_eye = R @ np.asarray(points, np.float32).T - (R @ self.target.astype(np.float32))[:, None]
        depth = in_eye[2] + np.float32(self.distance)
        scale = np.float32(height / 2 / np.tan(self.fov / 2))
        pixels = np.full((len(depth), 2), np.nan, np.float32)
        in_front = depth > self.near_far()[0]
        for axis, middle in enumerate((width / 2, height / 2)):
            np.divide(in_eye[axis] * scale, depth, out=pixels[:, axis], where=in_front)
            pixels[:, axis] += np.float32(middle)
        return pixels, depth

    def orbited(self, dx: float, dy: float, height: float) -> OrbitCamera:
        """Turn around the target after a drag of (dx, dy) px on a screen ``height`` px high."""
        turn = np.pi / max(height, 1.0)
        elevation = float(np.clip(self.elevation + dy * turn, -_MAX_ELEVATION, _MAX_ELEVATION))
        return replace(self, azimuth=self.azimuth - dx * turn, elevation=elevation)

    def panned(self, dx: float, dy: float, height: float) -> OrbitCamera:
        """Move along the screen, so that the target follows a drag of (dx, dy) px."""
        size = 2 * self.distance * np.tan(self.fov / 2) / max(height, 1.0)
        R = self.world_rotation
        return replace(self, target=self.target - (R[0] * dx + R[1] * dy) * size)

    def zoomed(self, factor: float) -> OrbitCamera:
        """Come nearer by ``factor``."""
        return replace(self, distance=float(np.clip(self.distance / factor, 1e-4, 1e7)))

    def looking(self, azimuth_deg: float, elevation_deg: float) -> OrbitCamera:
        """The same target seen from a given side of the levelled world."""
        elevation = np.clip(np.radians(elevation_deg), -_MAX_ELEVATION, _MAX_ELEVATION)
        return replace(self, azimuth=float(np.radians(azimuth_deg)), elevation=float(elevation))

    def framing(self, points: Array, width: float, height: float, margin: float = 1.12) -> OrbitCamera:
        """The same direction, moved so that all ``points`` (N, 3) m are on the screen and in its middle."""
        if not len(points):
            return self
        R = self.world_rotation
        in_eye = points @ R.T
        tangent = np.tan(self.fov / 2) / margin * np.array([width / max(height, 1.0), 1.0])
        # A point is on screen when |x| <= tan (z + distance): each side of the screen bounds the eye from one direction.
        right = (in_eye[:, :2] - tangent * in_eye[:, 2:]).max(axis=0)
        left = (-in_eye[:, :2] - tangent * in_eye[:, 2:]).max(axis=0)
        back = np.maximum(((right + left) / (2 * tangent)).max(), 1e-6 - in_eye[:, 2].min())
        middle = (right - left) / 2
        depth = float(np.median(in_eye[:, 2]))
        target = np.array([*middle, depth]) @ R
        return replace(self, target=target, distance=float(max(back + depth, 1e-6)))

    def behind(self, cam_from_world: Rigid3d, distance: float) -> OrbitCamera:
        """Stand behind and above a camera, looking along with it."""
        forward = self.level_from_world @ cam_from_world.R[2]
        azimuth = float(np.degrees(np.arctan2(-forward[1], -forward[0])))
        return replace(self, target=cam_from_world.center(), distance=distance).looking(azimuth + 25.0, 24.0)

    def through(self, cam_from_world: Rigid3d, focus_distance: float, fov: float) -> OrbitCamera:
        """Stand where a camera stood and look where it looked (its roll is levelled)."""
        forward = self.level_from_world @ cam_from_world.R[2]
        elevation = float(np.clip(-np.arcsin(np.clip(forward[2], -1, 1)), -_MAX_ELEVATION, _MAX_ELEVATION))
        azimuth = float(np.arctan2(-forward[1], -forward[0]))
        turned = replace(self, azimuth=azimuth, elevation=elevation, distance=focus_distance, fov=fov)
        return replace(turned, target=cam_from_world.center() + focus_distance * turned.world_rotation[2])

    def between(self, other: OrbitCamera, t: float) -> OrbitCamera:
        """The camera a share ``t`` of the way to another one, turning the short way round."""
        turn = (other.azimuth - self.azimuth + np.pi) % (2 * np.pi) - np.pi
        mix = lambda a, b: a + (b - a) * t  # noqa: E731
        return OrbitCamera(
            target=mix(self.target, other.target),
            distance=float(np.exp(mix(np.log(self.distance), np.log(other.distance)))),
            azimuth=self.azimuth + turn * t,
            elevation=mix(self.elevation, other.elevation),
            fov=mix(self.fov, other.fov),
            level_from_world=other.level_from_world,
        )
