"""The OpenGL canvas of the 3D view: points and lines from vertex buffers, the rest painted over them."""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QMatrix4x4, QOffscreenSurface, QOpenGLContext, QPainter, QSurfaceFormat
from PySide6.QtOpenGL import QOpenGLBuffer, QOpenGLPaintDevice, QOpenGLShader, QOpenGLShaderProgram
from PySide6.QtOpenGLWidgets import QOpenGLWidget
from PySide6.QtWidgets import QWidget

from core.geometry import Array
from fgsn_viewer import palette
from fgsn_viewer.views.orbit_camera import OrbitCamera
from fgsn_viewer.views.scene3d_content import Scene3DContent
from fgsn_viewer.views.scene3d_overlay import BACKGROUND, GRID_COLOR, paint_overlay

_GL_FLOAT, _GL_UNSIGNED_BYTE, _GL_POINTS, _GL_LINES = 0x1406, 0x1401, 0x0000, 0x0001
_GL_COLOR_BUFFER_BIT, _GL_DEPTH_BUFFER_BIT, _GL_DEPTH_TEST, _GL_BLEND = 0x4000, 0x0100, 0x0B71, 0x0BE2
_GL_SRC_ALPHA, _GL_ONE_MINUS_SRC_ALPHA, _GL_RENDERER = 0x0302, 0x0303, 0x1F01
_GL_POINT_SPRITE, _GL_PROGRAM_POINT_SIZE = 0x8861, 0x8642
_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast", "software")
_MOVING_POINTS = {True: 60_000, False: 3_000_000}
_VERTEX = """
attribute vec3 position;
attribute vec4 color;
uniform mat4 clip_from_world;
uniform float point_size;
varying vec4 shade;
void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    gl_PointSize = point_size;
    shade = color;
}
"""
_POINT_FRAGMENT = """
varying vec4 shade;
uniform float rounded;
void main() {
    vec2 p = gl_PointCoord - vec2(0.5);
    if (rounded > 0.5 && dot(p, p) > 0.25) discard;
    gl_FragColor = shade;
}
"""
_LINE_FRAGMENT = "varying vec4 shade;\nvoid main() { gl_FragColor = shade; }\n"


def opengl_available() -> bool:
    """Whether a context can be made and used here (remote desktops and the offscreen platform may have none)."""
    context = QOpenGLContext()
    if not context.create():
        return False
    surface = QOffscreenSurface()
    surface.setFormat(context.format())
    surface.create()
    usable = surface.isValid() and context.makeCurrent(surface)
    if usable:
        context.doneCurrent()
    surface.destroy()
    return bool(usable)


class _Vertices:
    """Positions (N, 3) f32 and colours (N, 4) u8 on the graphics card."""

    def __init__(self) -> None:
        self.positions = QOpenGLBuffer(QOpenGLBuffer.Type.VertexBuffer)
        self.colors = QOpenGLBuffer(QOpenGLBuffer.Type.VertexBuffer)
        self.positions.create()
        self.colors.create()
        self.count = 0

    def upload(self, positions: Array | None, colors: Array) -> None:
        if positions is not None:
            self.count = len(positions)
            _fill(self.positions, np.ascontiguousarray(positions, np.float32))
        _fill(self.colors, np.ascontiguousarray(colors, np.uint8))

    def bind(self, program: QOpenGLShaderProgram) -> None:
        self.positions.bind()
        program.enableAttributeArray(0)
        program.setAttributeBuffer(0, _GL_FLOAT, 0, 3, 12)
        self.colors.bind()
        program.enableAttributeArray(1)
        program.setAttributeBuffer(1, _GL_UNSIGNED_BYTE, 0, 4, 4)
        self.colors.release()


class Scene3DGLCanvas(QOpenGLWidget):
    """Draws a Scene3DContent as the camera sees it. While it moves on a software renderer, a part of the points is drawn."""

    def __init__(self, content: Scene3DContent, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        wanted = QSurfaceFormat(self.format())
        wanted.setDepthBufferSize(24)
        wanted.setSamples(4)
        self.setFormat(wanted)
        self.content = content
        self.camera = OrbitCamera()
        self.point_size = 3.0
        self.moving = False
        self._order: Array = np.zeros(0, np.int64)
        self._stale = {"points", "colors", "lines"}
        self._ready = False

    def mark(self, *parts: str) -> None:
        """Say what changed in the content: any of "points", "colors", "lines", or nothing for the overlay alone."""
        self._stale.update(parts)
        self.update()

    def initializeGL(self) -> None:
        """Build everything anew: floating or docking the view gives it another context."""
        functions = self.context().functions()
        name = functions.glGetString(_GL_RENDERER) or ""
        self._software = any(word in str(name).lower() for word in _SOFTWARE_RENDERERS)
        self._programs = {"points": self._program(_POINT_FRAGMENT), "lines": self._program(_LINE_FRAGMENT)}
        self._points, self._lines = _Vertices(), _Vertices()
        self._stale = {"points", "colors", "lines"}
        self._ready = True
        self.context().aboutToBeDestroyed.connect(self._release)

    def paintGL(self) -> None:
        self._upload()
        functions = self.context().functions()
        functions.glClearColor(BACKGROUND.redF(), BACKGROUND.greenF(), BACKGROUND.blueF(), 1.0)
        functions.glClear(_GL_COLOR_BUFFER_BIT | _GL_DEPTH_BUFFER_BIT)
        functions.glEnable(_GL_DEPTH_TEST)
        functions.glEnable(_GL_PROGRAM_POINT_SIZE)
        if not self.context().isOpenGLES():
            functions.glEnable(_GL_POINT_SPRITE)
        matrix = QMatrix4x4(*self.camera.clip_from_world(self.width(), self.height()).ravel().tolist())
        self._draw("points", self._points, _GL_POINTS, self._points_now(), matrix)
        functions.glEnable(_GL_BLEND)
        functions.glBlendFunc(_GL_SRC_ALPHA, _GL_ONE_MINUS_SRC_ALPHA)
        self._draw("lines", self._lines, _GL_LINES, self._lines.count, matrix)
        functions.glDisable(_GL_DEPTH_TEST)
        # Not QPainter(self): QWidget.grab() would send that elsewhere and lose the overlay.
        ratio = self.devicePixelRatioF()
        device = QOpenGLPaintDevice(round(self.width() * ratio), round(self.height() * ratio))
        device.setDevicePixelRatio(ratio)
        painter = QPainter(device)
        painter.setFont(self.font())
        paint_overlay(painter, self.content, self.camera, self.width(), self.height())
        painter.end()

    def _points_now(self) -> int:
        return min(self._points.count, _MOVING_POINTS[self._software]) if self.moving else self._points.count

    def _draw(self, name: str, vertices: _Vertices, kind: int, count: int, matrix: QMatrix4x4) -> None:
        if not count:
            return
        program = self._programs[name]
        program.bind()
        size = self.point_size * self.devicePixelRatioF()
        program.setUniformValue(program.uniformLocation("clip_from_world"), matrix)
        program.setUniformValue1f(program.uniformLocation("point_size"), size)
        program.setUniformValue1f(program.uniformLocation("rounded"), float(size > 3.5))
        vertices.bind(program)
        self.context().functions().glDrawArrays(kind, 0, count)
        program.disableAttributeArray(0)
        program.disableAttributeArray(1)
        program.release()

    def _upload(self) -> None:
        content = self.content
        if "points" in self._stale:  # in random order, so that any first part of them is a fair sample
            self._order = np.random.default_rng(0).permutation(len(content.positions))
            self._points.upload(content.positions[self._order], content.colors()[self._order])
        elif "colors" in self._stale:
            self._points.upload(None, content.colors()[self._order])
        if "lines" in self._stale:
            cameras = content.camera_lines if content.show_cameras else content.no_lines
            ground = content.no_lines if content.is_empty else content.grid
            grid = [GRID_COLOR.red(), GRID_COLOR.green(), GRID_COLOR.blue(), GRID_COLOR.alpha()]
            reference = [*bytes.fromhex(palette.REFERENCE[1:]), 190]
            colors = np.repeat(np.array([grid, reference], np.uint8), [2 * len(ground), 2 * len(cameras)], axis=0)
            self._lines.upload(np.concatenate([ground, cameras]).reshape(-1, 3), colors)
        self._stale.clear()

    def _program(self, fragment: str) -> QOpenGLShaderProgram:
        version = "#version 100\nprecision mediump float;\n" if self.context().isOpenGLES() else "#version 120\n"
        program = QOpenGLShaderProgram()
        program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Vertex, version + _VERTEX)
        program.addShaderFromSourceCode(QOpenGLShader.ShaderTypeBit.Fragment, version + fragment)
        program.bindAttributeLocation("position", 0)
        program.bindAttributeLocation("color", 1)
        if not program.link():
            raise RuntimeError(f"the 3D view's shader does not link: {program.log()}")
        return program

    def _release(self) -> None:
        """Let go of what lives in the context that is about to end."""
        if self._ready:
            self.makeCurrent()
            for vertices in (self._points, self._lines):
                vertices.positions.destroy()
                vertices.colors.destroy()
            self._programs.clear()
            self._ready = False
            self.doneCurrent()


def _fill(buffer: QOpenGLBuffer, values: Array) -> None:
    buffer.bind()
    buffer.allocate(values.tobytes(), values.nbytes)
    buffer.release()
