"""A picture of what a person would see, taken when the work is done; needs a display, which may be a virtual one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QEventLoop, QSettings
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from core.errors import InputError
from core.images import write_atomic
from fgsn_viewer.app import Shell, application, build_shell
from fgsn_viewer.bootstrap import Pipelines, core_pipelines
from fgsn_viewer.settings import Settings
from fgsn_viewer.tasks import Failure

VIEWS = ("window", "labels", "matches", "scene3d")
TIMEOUT_S = 600.0


def render_shot(
    paths: Sequence[str | Path] | str | Path,
    view: str,
    out: str | Path,
    *,
    query: str | None = None,
    size: tuple[int, int] = (1600, 1000),
    weights: str | Path | None = None,
    theme: str = "dark",
    localize_all: bool = False,
    pipelines: Callable[[], Pipelines] = core_pipelines,
) -> Path:
    """Open a scene or two photographs, wait until everything is computed, and write ``view`` as a PNG of ``size`` px.

    ``view`` is "window", "labels", "matches" or "scene3d". ``localize_all`` marks every query in the tree first.
    Returns ``out``, with .png where it has no suffix. Raises InputError for what cannot be opened, computed or written.
    """
    if view not in VIEWS:
        raise InputError(f"view {view!r} is not known; expected one of {', '.join(VIEWS)}")
    out = _png(Path(out))
    paths = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    application()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat))
        settings.theme = theme
        shell = build_shell(settings, pipelines, network=weights, demo=None)
        try:
            picture = _take(shell, paths, view, query, size, localize_all)
        finally:
            shell.close()
            _process_events()
    return _write(picture, out)


def _take(shell: Shell, paths: list[Path], view: str, query: str | None, size: tuple[int, int], localize_all: bool) -> QImage:
    failures: list[Failure] = []
    shell.controller.failed.connect(lambda _what, failure: failures.append(failure))
    shell.window.resize(*size)
    shell.window.view3d.animated = False
    shell.window.show()
    shell.controller.start()
    wait_until_idle(shell, failures)
    shell.controller.open(paths, query=query)
    wait_until_idle(shell, failures)
    if localize_all:
        shell.controller.localize_all()
        wait_until_idle(shell, failures)
    _process_events(0.3)  # thumbnails and the layout come after
    wait_until_idle(shell, failures)
    return _picture(shell, view, size)


def wait_until_idle(shell: Shell, failures: list[Failure], timeout_s: float = TIMEOUT_S) -> None:
    """Run the event loop until nothing works any more. The first failure is raised, as InputError or RuntimeError."""
    end = time.monotonic() + timeout_s
    while True:
        _process_events(0.02)
        if failures:
            raise (RuntimeError if failures[0].details else InputError)(failures[0].sentence)
        if shell.is_idle:
            return
        if time.monotonic() > end:
            raise InputError(f"the work did not end within {timeout_s:.0f} s")


def _picture(shell: Shell, view: str, size: tuple[int, int]) -> QImage:
    window = shell.window
    if view == "window":
        return window.grab_picture()
    if view == "scene3d":
        window.view3d.toolbar.hide()
        _alone(window.view3d, size)
        window.view3d.fit()
        _process_events(0.1)
        return window.view3d.grab_image()
    window.compare.set_match_options(view == "matches", True, 200)
    window.compare.set_overlay("fill" if view == "labels" else "off", 0.45)
    _alone(window.compare, size)
    return window.compare.grab_image()


def _alone(widget: QWidget, size: tuple[int, int]) -> None:
    """Show a view as a window of its own in the wanted size."""
    widget.setParent(None)
    widget.resize(*size)
    widget.show()
    _process_events(0.1)


def _process_events(seconds: float = 0.0) -> None:
    """Let Qt work, at least once and for some seconds."""
    end = time.monotonic() + seconds
    flags = QEventLoop.ProcessEventsFlag.AllEvents
    QApplication.processEvents(flags, 20)
    while time.monotonic() < end:
        QApplication.processEvents(flags, 20)
        time.sleep(0.002)


def _png(out: Path) -> Path:
    """The name with its suffix. Raises InputError when the suffix promises another format."""
    if out.suffix.lower() not in ("", ".png"):
        raise InputError(f"{out}: screenshots are written as PNG; expected a name that ends in .png")
    return out if out.suffix else out.with_suffix(".png")


def _write(picture: QImage, out: Path) -> Path:
    def save(name: str) -> None:
        if not picture.save(name, "PNG"):
            raise InputError(f"{out}: the picture cannot be written")

    write_atomic(out, save)
    return out
