"""The window: time until it is visible, and redraw of the label overlay."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
_START = """
import time
start = time.perf_counter()
from fgsn_viewer.app import application, build_shell
from fgsn_viewer.settings import Settings
from PySide6.QtCore import QSettings
app = application()
shell = build_shell(Settings(QSettings({settings!r}, QSettings.Format.IniFormat)))
shell.window.show()
while not shell.window.isVisible() or not shell.window.windowHandle().isExposed():
    app.processEvents()
visible = time.perf_counter() - start
import sys
heavy = sorted({{'torch', 'open3d', 'pycolmap'}} & set(sys.modules))
print(visible, *heavy)
shell.close()
"""


def run() -> list[dict]:
    from fgsn_viewer.virtual_display import ensure_display, has_display

    display = ensure_display()
    if not has_display():
        return [{"what": "window", "note": "no display and no Xvfb"}]
    try:
        return [*start_up(), *redraw()]
    finally:
        if display is not None:
            _end_qt()
            display.stop()


def start_up(repeats: int = 3) -> list[dict]:
    """Seconds from the first import to a visible window, each in a fresh process; the first run warms the disk."""
    import tempfile

    seconds, heavy = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats + 1):
            code = _START.format(settings=str(Path(folder) / "settings.ini"))
            done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
            visible, *modules = done.stdout.split()
            seconds.append(float(visible))
            heavy = " ".join(modules)
    return [
        {
            "what": "window visible, warm",
            "median": float(np.median(seconds[1:])),
            "unit": "s",
            "note": heavy or "no heavy import",
        }
    ]


def redraw(size: tuple[int, int] = (1024, 1366), num_labels: int = 1000, repeats: int = 20) -> list[dict]:
    """Milliseconds from a new opacity to both panes painted, 1.4 MP photographs with 1000 labels."""
    from PySide6.QtWidgets import QApplication

    from core.records import LabelMap
    from fgsn_viewer.app import application
    from fgsn_viewer.views.compare_view import CompareView

    application()
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    blocks = rng.integers(0, num_labels, (size[0] // 16 + 1, size[1] // 16 + 1), dtype=np.uint16)
    labels = LabelMap(blocks.repeat(16, 0).repeat(16, 1)[: size[0], : size[1]], num_labels, "bench")
    view = CompareView()
    view.resize(1280, 640)
    view.set_images(photo, photo, "reference", "query")
    view.set_labels(labels, labels)
    view.show()
    rows = []
    for mode in ("fill", "outline"):
        milliseconds = []
        for number in range(repeats):
            started = time.perf_counter()
            view.set_overlay(mode, 0.3 + 0.4 * number / repeats)
            view.repaint()
            QApplication.processEvents()
            milliseconds.append((time.perf_counter() - started) * 1000)
        rows.append({"what": f"overlay redraw, {mode}", "median": float(np.median(milliseconds)), "unit": "ms"})
    view.close()
    return rows


def _end_qt() -> None:
    """End the application before its display goes."""
    from PySide6.QtWidgets import QApplication

    app = QApplication.instance()
    if app is not None:
        app.quit()
        app.shutdown()
