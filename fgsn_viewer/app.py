"""The composition root: state, tasks, controller, window, theme; and what happens to errors that nobody caught."""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from fgsn_viewer import bootstrap

bootstrap.before_qt()

from PySide6 import __version__ as QT_VERSION  # noqa: E402
from PySide6.QtCore import QObject, QStandardPaths, Qt, QTimer, Signal  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402

from fgsn_viewer.controller import Controller  # noqa: E402
from fgsn_viewer.main_window import MainWindow  # noqa: E402
from fgsn_viewer.settings import Settings  # noqa: E402
from fgsn_viewer.state import ViewerState  # noqa: E402
from fgsn_viewer.tasks import TaskRunner, describe  # noqa: E402
from fgsn_viewer.theme import apply_theme  # noqa: E402
from resources import DEMO  # noqa: E402

LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Shell:
    """One window and all that belongs to it."""

    window: MainWindow
    controller: Controller
    state: ViewerState
    tasks: TaskRunner

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and everything is shown."""
        return self.tasks.is_idle and self.window.presenter.is_clean

    def close(self) -> None:
        """Close the window, stop the work and free both."""
        self.window.close()
        self.tasks.close()
        self.window.deleteLater()


class ErrorRelay(QObject):
    """Brings errors that nobody caught, from any thread, into the window and the log."""

    caught = Signal(object)  # Failure

    def install(self) -> Callable[[], None]:
        """Take over the hooks; returns what puts the old ones back."""
        before = sys.excepthook, threading.excepthook
        sys.excepthook = self._on_error
        threading.excepthook = lambda args: self._on_error(args.exc_type, args.exc_value, args.exc_traceback)

        def restore() -> None:
            sys.excepthook, threading.excepthook = before

        return restore

    def _on_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
        elif error is not None:
            self.caught.emit(describe(error.with_traceback(trace)))


def application() -> QApplication:
    """The QApplication; made with shared OpenGL contexts, so that the 3D view survives being floated."""
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    bootstrap.check_qt(QT_VERSION)
    os.environ.setdefault("QT_API", "pyside6")
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    app = QApplication(["fgsn-viewer"])
    app.setApplicationName("fgsn-viewer")
    app.setApplicationDisplayName("FGSN viewer")
    return app


def build_shell(
    settings: Settings,
    pipelines: Callable[[], bootstrap.Pipelines] = bootstrap.core_pipelines,
    network: str | Path | None = None,
    demo: Path | None = DEMO,
    log_file: str = "",
    runs: Path | None = None,
) -> Shell:
    """Put the parts together; nothing runs and nothing is shown yet. Training is kept in the folder ``runs``."""
    apply_theme(application(), settings.theme)
    state, tasks = ViewerState(), TaskRunner()
    controller = Controller(state, tasks, pipelines, network, runs or data_folder() / "training")
    return Shell(MainWindow(controller, settings, demo, log_file), controller, state, tasks)


def run(paths: Sequence[str | Path] = (), *, weights: str | Path | None = None, settings: Settings | None = None) -> int:
    """Open the window on a scene or two photographs, and return the exit code when it closes."""
    app = application()
    log_file, stream = _start_log()
    relay = ErrorRelay()
    shell = build_shell(settings or Settings(), network=weights, log_file=str(log_file or ""))
    relay.caught.connect(lambda failure: shell.controller.failed.emit("running", failure))
    restore = relay.install()
    shell.window.show()
    QTimer.singleShot(0, lambda: _begin(shell, paths))
    try:
        return app.exec()
    finally:
        restore()
        shell.close()
        if stream is not None:
            faulthandler.disable()
            stream.close()


def _begin(shell: Shell, paths: Sequence[str | Path]) -> None:
    """Load the libraries and open what was asked for, once the window is there."""
    shell.controller.start()
    if paths:
        shell.window.open([Path(path) for path in paths])


def data_folder() -> Path:
    """Where this system keeps what a program writes for its user."""
    return Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppLocalDataLocation))


def _start_log() -> tuple[Path | None, IO[str] | None]:
    """Write a log, native crashes included, where this system keeps such files; without a place there is none."""
    folder = data_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "log.txt"
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
        stream = (folder / "crash.txt").open("a", encoding="utf-8")
    except OSError:
        return None, None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger("fgsn_viewer")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    faulthandler.enable(stream)
    return path, stream
