"""Moves the eye of a 3D canvas: by the mouse, and by short flights."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, QTimer, QVariantAnimation, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QWidget

from fgsn_viewer.views.orbit_camera import OrbitCamera

_DRAG_THRESHOLD = 4
_SETTLE_MS = 180
_FLIGHT_MS = 250


class EyeControl(QObject):
    """Drag orbits; drag with another button, or with Shift, pans; the wheel zooms at the mouse; F asks to fit.

    While the eye moves, ``canvas.moving`` lets the canvas draw a quicker picture.
    """

    clicked = Signal(float, float)  # canvas px, without a drag
    fit_requested = Signal()
    resized = Signal()

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.canvas = canvas
        self.animated = True
        self.touched = False  # whether the eye was moved since the owner last set this to False
        self._pressed: QPointF | None = None
        self._last = QPointF()
        self._dragging = False
        self._route = (OrbitCamera(), OrbitCamera())
        self._flight = QVariantAnimation(self, duration=_FLIGHT_MS, startValue=0.0, endValue=1.0)
        self._flight.valueChanged.connect(self._fly)
        self._settle = QTimer(self, interval=_SETTLE_MS, singleShot=True)
        self._settle.timeout.connect(self.settle)
        canvas.installEventFilter(self)

    def look(self, camera: OrbitCamera) -> None:
        """Put the eye there at once."""
        self._flight.stop()
        self.touched = True
        self._move_to(camera)

    def fly_to(self, camera: OrbitCamera) -> None:
        """Go there in a short flight, or at once where motion is off or nobody sees it."""
        if not self.animated or not self.canvas.isVisible():
            self.look(camera)
            return
        self.touched = True
        self._flight.stop()
        self._route = (self.canvas.camera, camera)
        self._flight.start()

    def hurry(self) -> None:
        """Draw quick pictures until nothing has changed for a moment."""
        self.canvas.moving = True
        self._settle.start()

    def settle(self) -> None:
        """Arrive, and draw the whole picture."""
        if self._flight.state() == QVariantAnimation.State.Running:
            self._flight.setCurrentTime(self._flight.duration())
        self._settle.stop()
        self.canvas.moving = False
        self.canvas.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Mouse, wheel and keys of the canvas."""
        kind = event.type()
        if kind == QEvent.Type.MouseButtonPress:
            self._pressed, self._last, self._dragging = event.position(), event.position(), False
        elif kind == QEvent.Type.MouseMove and self._pressed is not None:
            self._drag(event)
        elif kind == QEvent.Type.MouseButtonRelease:
            self._release(event)
        elif kind == QEvent.Type.Wheel:
            self._zoom(event.position(), 1.2 ** (event.angleDelta().y() / 120))
            event.accept()
            return True
        elif kind == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_F:
            self.fit_requested.emit()
            return True
        elif kind == QEvent.Type.Resize:
            self.resized.emit()
        return False

    def _drag(self, event: QMouseEvent) -> None:
        position = event.position()
        self._dragging = self._dragging or (position - self._pressed).manhattanLength() >= _DRAG_THRESHOLD
        if not self._dragging:
            return
        moved = position - self._last
        self._last = position
        pans = not event.buttons() & Qt.MouseButton.LeftButton or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        move = self.canvas.camera.panned if pans else self.canvas.camera.orbited
        self.look(move(moved.x(), moved.y(), self.canvas.height()))

    def _release(self, event: QMouseEvent) -> None:
        was_click = self._pressed is not None and not self._dragging and event.button() == Qt.MouseButton.LeftButton
        self._pressed = None
        if was_click:
            self.clicked.emit(event.position().x(), event.position().y())

    def _zoom(self, at: QPointF, factor: float) -> None:
        """Zoom, holding what is under the mouse in the plane of the target."""
        height = self.canvas.height()
        dx, dy = self.canvas.width() / 2 - at.x(), height / 2 - at.y()
        self.look(self.canvas.camera.panned(dx, dy, height).zoomed(factor).panned(-dx, -dy, height))

    def _move_to(self, camera: OrbitCamera) -> None:
        self.canvas.camera = camera
        self.hurry()
        self.canvas.update()

    def _fly(self, t: float) -> None:
        start, end = self._route
        if self._flight.state() == QVariantAnimation.State.Running or t == 1.0:
            self._move_to(start.between(end, float(t)))
