"""The map, the cameras, the estimate and the truth in 3D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.geometry import Array, Camera, Rigid3d
from core.records import ImageData, PointLabels, SceneMap
from fgsn_viewer import display3d
from fgsn_viewer.localizing import Track
from fgsn_viewer.methods import STYLES
from fgsn_viewer.views.eye_control import EyeControl
from fgsn_viewer.views.orbit_camera import OrbitCamera
from fgsn_viewer.views.scene3d_content import MethodPose, Scene3DContent
from fgsn_viewer.views.scene3d_gl import Scene3DGLCanvas, opengl_available
from fgsn_viewer.views.scene3d_plan import Scene3DPlanCanvas
from fgsn_viewer.views.scene3d_toolbar import Scene3DToolbar
from fgsn_viewer.views.track_slider import TrackSlider

PRESETS = {"top": (-90.0, 89.9), "front": (-90.0, 0.0), "side": (0.0, 0.0)}
_PICK_RADIUS = 8.0


class Scene3DView(QWidget):
    """A passive view: setters show records, signals tell what was clicked. Setters emit nothing.

    Drag orbits, drag with the right or middle button (or Shift) pans, the wheel zooms, F fits.
    """

    point_picked = Signal(int)  # index into the map's points, -1 for none
    camera_picked = Signal(int)  # index into the cameras that were set (the map's images, if none were)
    point_colors_changed = Signal(str)
    moment_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None, use_opengl: bool | None = None) -> None:
        super().__init__(parent)
        self.content = Scene3DContent()
        self.has_opengl = opengl_available() if use_opengl is None else use_opengl
        canvas_class = Scene3DGLCanvas if self.has_opengl else Scene3DPlanCanvas
        self.canvas = canvas_class(self.content, self)
        self.toolbar = Scene3DToolbar(self)
        self.moments = TrackSlider(self)
        self._track: Track | None = None
        self.eye = EyeControl(self.canvas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.toolbar)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.moments)
        self.canvas.setMinimumSize(160, 120)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._connect()
        self._refresh()

    def _connect(self) -> None:
        self.moments.moment_shown.connect(self._on_moment)
        self.moments.moment_chosen.connect(self.moment_chosen)
        self.eye.clicked.connect(self._on_click)
        self.eye.fit_requested.connect(self.fit)
        self.eye.resized.connect(self._on_resize)
        self.toolbar.colors_chosen.connect(self._on_colors)
        self.toolbar.size_chosen.connect(self.set_point_size)
        self.toolbar.cameras_toggled.connect(self.set_cameras_visible)
        self.toolbar.preset_chosen.connect(self.look_from)
        self.toolbar.query_requested.connect(self.look_at_query)
        self.toolbar.through_requested.connect(self.look_through_query)
        self.toolbar.fit_requested.connect(self.fit)

    def set_map(self, scene_map: SceneMap | None) -> None:
        """Show a map with its points' colours, its labels and its cameras, from a good viewpoint; None empties the view."""
        self.content.set_map(scene_map)
        self._refresh("points", "colors", "lines")
        self._start_view()

    def set_cameras(self, images: Sequence[ImageData]) -> None:
        """Draw these images' frustums instead of the map's own."""
        before = self.content.origin
        self.content.set_images(images)
        self._refresh("points", "colors", "lines")
        if not np.allclose(before, self.content.origin):
            self._start_view()

    def set_labels(self, labels: PointLabels | None) -> None:
        """Labels of the map's points; None takes them away."""
        self.content.set_labels(labels)
        self._refresh("colors")

    def set_point_colors(self, kind: str) -> None:
        """Colour the points as in the "photo" or by "label"."""
        if kind not in ("photo", "label"):
            raise ValueError(f"point colours {kind!r} are not known; expected photo or label")
        self.content.by_label = kind == "label"
        self.toolbar.show_colors(kind)
        self._refresh("colors")

    def set_colorblind_safe(self, enabled: bool) -> None:
        """Choose the palette that protanopes and deuteranopes tell apart."""
        self.content.colorblind_safe = enabled
        self._refresh("colors")

    def set_point_size(self, size: float) -> None:
        """Size of the points, screen px."""
        self.canvas.point_size = float(size)
        self.toolbar.show_size(size)
        self._refresh()

    def set_cameras_visible(self, visible: bool) -> None:
        """Show or hide the mapping cameras."""
        self.content.show_cameras = visible
        self.toolbar.show_cameras(visible)
        self._refresh("lines")

    def set_estimate(self, cam_from_world: Rigid3d | None, camera: Camera | None = None) -> None:
        """Draw the estimated pose of the query, or none."""
        self.content.estimate = self.content.posed(cam_from_world, camera)
        self._refresh()

    def set_method(self, method: str) -> None:
        """Name the method of the estimate: its colour and line."""
        self.content.method = method
        self._refresh()

    def set_method_poses(self, poses: Mapping[str, Rigid3d], camera: Camera | None = None) -> None:
        """Draw what other methods estimated, by method."""
        self.content.poses = tuple(
            MethodPose(method, self.content.posed(pose, camera), STYLES[method].color, STYLES[method].dashes)
            for method, pose in poses.items()
        )
        self._refresh()

    def set_circle(self, positions: Array | None, scores: Array | None = None) -> None:
        """Draw the camera places (A, 3) m around a match, coloured by their scores (A,); None for none."""
        self.content.set_circle(positions, scores)
        self._refresh()

    def set_track(self, track: Track | None, index: int | None) -> None:
        """Offer the moments of a track, and show one of them: particles and ways; None for none."""
        self._track = track
        self.moments.set_moments(() if track is None else track.captions())
        if track is None or index is None:
            self.content.moment = None
        else:
            self.moments.set_moment(index)
            self.content.set_moment(*track.moment(index))
        self._refresh()

    def set_truth(self, cam_from_world: Rigid3d | None, camera: Camera | None = None) -> None:
        """Draw the true pose of the query, or none."""
        self.content.truth = self.content.posed(cam_from_world, camera)
        self._refresh()

    def set_highlight(self, label: int | None) -> None:
        """Make the points of one label stand out; None or -1 for none."""
        label = None if label is None or label < 0 else int(label)
        if label != self.content.highlight:
            self.content.highlight = label
            self.eye.hurry()
            self._refresh("colors")

    def set_selected_point(self, index: int | None) -> None:
        """Mark a map point, with rays to the cameras that saw it; None or -1 for none."""
        valid = index is not None and 0 <= index < len(self.content.positions)
        self.content.selected_point = int(index) if valid else None
        self._refresh()

    def set_selected_camera(self, index: int | None) -> None:
        """Mark one of the cameras; None or -1 for none."""
        valid = index is not None and 0 <= index < len(self.content.images)
        self.content.selected_camera = int(index) if valid else None
        self._refresh()

    @property
    def camera(self) -> OrbitCamera:
        return self.canvas.camera

    @property
    def animated(self) -> bool:
        """Whether the eye flies or jumps."""
        return self.eye.animated

    @animated.setter
    def animated(self, enabled: bool) -> None:
        self.eye.animated = enabled

    def set_camera(self, camera: OrbitCamera) -> None:
        """Move the eye there at once."""
        self.eye.look(camera)

    def fit(self) -> None:
        """Show the whole scene from the present direction."""
        self.eye.fly_to(self._framed(replace(self.camera, fov=OrbitCamera().fov)))

    def look_from(self, preset: str) -> None:
        """Show the whole scene from the "top", "front" or "side"."""
        self.eye.fly_to(self._framed(replace(self.camera, fov=OrbitCamera().fov).looking(*PRESETS[preset])))

    def look_at_query(self) -> None:
        """Stand behind and above the query's camera, near enough to see estimate and truth apart."""
        posed = self.content.estimate or self.content.truth
        if posed is None:
            return
        apart = 0.0
        if self.content.estimate is not None and self.content.truth is not None:
            apart = float(np.linalg.norm(self.content.estimate.center - self.content.truth.center))
        distance = min(max(9 * self.content.frustum_size, 3 * apart), 4 * self.content.radius)
        self.eye.fly_to(replace(self.camera, fov=OrbitCamera().fov).behind(posed.cam_from_local, distance))

    def look_through_query(self) -> None:
        """Stand where the query was taken: at the estimate, or at the truth where there is none."""
        posed = self.content.estimate or self.content.truth
        if posed is not None:
            fov = 2 * np.arctan(posed.camera.height / 2 / posed.camera.K[1, 1]) if posed.camera else OrbitCamera().fov
            self.eye.fly_to(self.camera.through(posed.cam_from_local, 0.3 * self.content.radius, float(fov)))

    def grab_image(self) -> QImage:
        """The 3D picture without the toolbar, at rest and with all points."""
        self.eye.settle()
        return self.canvas.grabFramebuffer()

    def pick(self, position: Array) -> tuple[str, int] | None:
        """What is at a canvas position (2,) px: ("camera", index) or ("point", index), or None."""
        size = (self.canvas.width(), self.canvas.height())
        if self.content.show_cameras and len(self.content.centers):
            found = display3d.nearest_point(*self.camera.project(self.content.centers, *size), position, _PICK_RADIUS)
            if found is not None:
                return "camera", found
        found = display3d.nearest_point(*self.camera.project(self.content.positions, *size), position, _PICK_RADIUS)
        return None if found is None else ("point", found)

    def _framed(self, camera: OrbitCamera) -> OrbitCamera:
        return camera.framing(self.content.framed, max(1, self.canvas.width()), max(1, self.canvas.height()))

    def _start_view(self) -> None:
        """From behind and above the cameras, looking along with them; from above without OpenGL."""
        level = OrbitCamera(level_from_world=self.content.level)
        direction = (self.content.start_azimuth, self.content.start_elevation) if self.has_opengl else PRESETS["top"]
        self.eye.look(self._framed(level.looking(*direction)))
        self.eye.touched = False

    def _on_click(self, x: float, y: float) -> None:
        found = self.pick(np.array([x, y]))
        if found is None:
            self.point_picked.emit(-1)
        else:
            (self.camera_picked if found[0] == "camera" else self.point_picked).emit(found[1])

    def _on_moment(self, index: int) -> None:
        """Show a moment while the slider is dragged."""
        if self._track is not None:
            self.content.set_moment(*self._track.moment(index))
            self.content.estimate = self.content.truth = None  # those of another moment
            self._refresh()

    def _on_resize(self) -> None:
        """Keep the first look framed until the user has moved."""
        if not self.eye.touched:
            self._start_view()

    def _on_colors(self, kind: str) -> None:
        self.set_point_colors(kind)
        self.point_colors_changed.emit(kind)

    def _refresh(self, *parts: str) -> None:
        content = self.content
        self.toolbar.show_available(
            points=len(content.positions) > 0,
            labels=content.labels is not None,
            cameras=len(content.camera_lines) > 0,
            query=content.estimate is not None or content.truth is not None,
        )
        self.canvas.mark(*parts)
