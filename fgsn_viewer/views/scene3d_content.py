"""What the 3D view holds: records in, arrays to draw out. Positions are relative to ``origin``, so f32 is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.geometry import Array, Camera, Rigid3d
from core.records import ImageData, PointLabels, SceneMap
from fgsn_viewer import display3d, palette
from fgsn_viewer.methods import STYLES


@dataclass(frozen=True, slots=True, eq=False)
class PosedCamera:
    """A pose with the camera that it belongs to, already relative to the content's origin."""

    cam_from_local: Rigid3d
    camera: Camera | None

    @property
    def center(self) -> Array:
        return self.cam_from_local.center()


@dataclass(frozen=True, slots=True, eq=False)
class MethodPose:
    """What one method estimated, with its own colour and line."""

    method: str
    posed: PosedCamera
    color: str
    dashes: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """Camera places ``positions`` (A, 3) f64 on the circle of a match, with their ``scores`` (A,)."""

    positions: Array
    scores: Array


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A moment of a sequence: particle ``centers`` (N, 3) with ``weights`` (N,), and the ways so far, NaN where there is none:
    ``estimated`` (T, 3), ``true`` (T, 3).
    """

    centers: Array
    weights: Array
    estimated: Array
    true: Array


class Scene3DContent:
    """The records that the 3D view shows, and the choices how."""

    def __init__(self) -> None:
        self.map: SceneMap | None = None
        self.images: tuple[ImageData, ...] = ()
        self.labels: PointLabels | None = None
        self.by_label = False
        self.highlight: int | None = None
        self.show_cameras = True
        self.estimate: PosedCamera | None = None
        self.truth: PosedCamera | None = None
        self.poses: tuple[MethodPose, ...] = ()
        self.method = ""
        self.circle: Circle | None = None
        self.moment: Moment | None = None
        self.selected_point: int | None = None
        self.selected_camera: int | None = None
        self.colorblind_safe = False
        self._layout()

    def set_map(self, scene_map: SceneMap | None) -> None:
        """Show a map and its posed images; what belonged to the old map goes."""
        self.map = scene_map
        self.images = scene_map.images if scene_map is not None else ()
        self.labels = scene_map.labels if scene_map is not None else None
        self.estimate = self.truth = self.selected_point = self.selected_camera = self.circle = self.moment = None
        self.poses = ()
        self._layout()

    def set_images(self, images: Sequence[ImageData]) -> None:
        """Replace the cameras that are drawn."""
        self.images = tuple(images)
        self.selected_camera = None
        self._layout()

    def set_labels(self, labels: PointLabels | None) -> None:
        """Labels of the map's points; ValueError when their number differs."""
        if labels is not None and len(labels.labels) != len(self.positions):
            raise ValueError(f"{len(labels.labels)} point labels for a map of {len(self.positions)} points")
        self.labels = labels

    def posed(self, cam_from_world: Rigid3d | None, camera: Camera | None) -> PosedCamera | None:
        """Move a pose of the world to the content's origin."""
        if cam_from_world is None:
            return None
        tvec = cam_from_world.tvec + cam_from_world.R @ self.origin
        return PosedCamera(Rigid3d(cam_from_world.qvec, tvec), camera)

    @property
    def estimate_style(self) -> tuple[str, str, tuple[float, ...]]:
        """Name, colour and line of the estimate: those of the method that is shown."""
        style = STYLES.get(self.method)
        return (self.method, style.color, style.dashes) if style is not None else ("estimate", palette.ACCENT, ())

    def set_circle(self, positions: Array | None, scores: Array | None) -> None:
        """Show the places (A, 3) m around a match with their scores (A,); None for none."""
        known = positions is not None and bool(np.isfinite(positions).all())
        self.circle = Circle(np.asarray(positions) - self.origin, np.asarray(scores)) if known else None

    def set_moment(self, centers: Array | None, weights: Array | None, estimated: Array, true: Array) -> None:
        """Show particles (N, 3) m and ways (T, 3) m; None for no particles."""
        centers = np.zeros((0, 3)) if centers is None else centers
        weights = np.zeros(0) if weights is None else weights
        self.moment = Moment(centers - self.origin, weights, estimated - self.origin, true - self.origin)

    @property
    def is_empty(self) -> bool:
        return not len(self.positions) and not len(self.camera_lines) and self.estimate is None and self.truth is None

    def colors(self) -> Array:
        """Colours (P, 4) u8 of the points as they should look now."""
        if self.map is None:
            return np.zeros((0, 4), np.uint8)
        labels = None if self.labels is None else self.labels.labels
        count, vocabulary = (0, "") if self.labels is None else (self.labels.num_labels, self.labels.vocabulary)
        lut = palette.label_colors(count, vocabulary, self.colorblind_safe)
        return display3d.point_colors(self.map.rgb, labels, lut, self.by_label, self.highlight)

    def rays(self) -> Array:
        """Segments (N, 2, 3) from the selected point to the cameras that saw it."""
        if self.selected_point is None or self.map is None:
            return np.zeros((0, 2, 3))
        seen = self.map.observations.point == self.selected_point
        indices = np.unique(self.map.observations.image[seen])
        centers = display3d.camera_centers([self.map.images[i] for i in indices]) - self.origin
        centers = centers[np.isfinite(centers).all(axis=1)]
        point = np.broadcast_to(self.positions[self.selected_point].astype(np.float64), centers.shape)
        return np.stack([point, centers], axis=1)

    def selected_camera_lines(self) -> Array:
        """The frustum (N, 2, 3) of the selected camera, empty without one."""
        return (
            self.camera_lines[self.camera_of_line == self.selected_camera]
            if self.selected_camera is not None
            else self.no_lines
        )

    def _layout(self) -> None:
        """Settle origin, up, sizes and the arrays that only change with the map or the cameras."""
        points = self.map.points3D if self.map is not None else np.zeros((0, 3))
        centers = display3d.camera_centers(self.images)
        self.no_lines = np.zeros((0, 2, 3))
        self.origin, self.radius = display3d.robust_ball(points, centers)
        self.positions = (points - self.origin).astype(np.float32)
        self.centers = centers - self.origin
        self.framed = display3d.robust_sample(self.positions, self.centers)
        self.level = display3d.level_rotation(display3d.up_direction(self.map, self.images))
        self.frustum_size = display3d.frustum_size(self.centers, self.radius)
        lines, self.camera_of_line = display3d.cameras_lines(self.images, self.frustum_size)
        self.camera_lines = lines - self.origin
        height = display3d.ground_height(self.positions, self.centers, self.level)
        self.grid, self.grid_cell = display3d.ground_grid(np.zeros(3), self.radius, height, self.level)
        self.start_azimuth, self.start_elevation = display3d.view_direction(self.images, self.level)
