"""Shared fixtures: a display for window tests, isolated settings, real photographs where they are at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# On a busy machine torch's threads otherwise spin for each other: four times the time for small tensors.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT))

from fgsn_viewer.virtual_display import ensure_display  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    display = ensure_display()  # before Qt chooses a platform
    if display is not None:
        config.add_cleanup(display.stop)
        config.add_cleanup(_end_application)
    os.environ.setdefault("QT_API", "pyside6")


def _end_application() -> None:
    """End Qt before its display goes: open OpenGL contexts would crash the process at exit."""
    qt = sys.modules.get("PySide6.QtCore")
    application = qt.QCoreApplication.instance() if qt is not None else None
    if application is not None:
        application.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        skip = pytest.mark.skip(reason="no display, and Xvfb is not installed")
        for item in items:
            if "gl" in item.keywords or "qtbot" in getattr(item, "fixturenames", ()):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def qapp_cls():
    """The application with shared OpenGL contexts, as the program makes it."""
    from PySide6.QtCore import QCoreApplication, Qt
    from PySide6.QtWidgets import QApplication

    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    return QApplication


@pytest.fixture
def shared_data():
    """Return a function: name of a folder of real photographs -> its path; skips where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED_DATA / name
        if not folder.is_dir():
            pytest.skip(f"the photographs {name!r} are not on this machine")
        return folder

    return find


@pytest.fixture(autouse=True)
def _isolated_settings(tmp_path, monkeypatch):
    """Keep QSettings, caches and logs of a test inside its own folder."""
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))


@pytest.fixture(scope="session")
def small_world_scene(tmp_path_factory):
    """A rendered street of which all is known: 6 mapping images, 2 queries of the same season that can be localized."""
    from core.steps import finish
    from core.world.export import write_scene

    out = tmp_path_factory.mktemp("small_world") / "scene"
    near = {"spacing_m": 1.0, "query_lateral_m": 0.1, "query_yaw_deg": 2.0}
    return finish(write_scene("urban", 3, ("overcast",), 6, 2, (400, 300), out, pairs=False, weights="", **near))
