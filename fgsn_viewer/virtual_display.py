"""A virtual screen for machines without one, so that screenshots show what a person would see (Xvfb)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VirtualDisplay:
    """A running Xvfb server; ``stop`` ends it and forgets its name."""

    process: subprocess.Popen
    name: str

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        if os.environ.get("DISPLAY") == self.name:
            del os.environ["DISPLAY"]


def has_display() -> bool:
    """Whether a window can be shown: always so off Linux."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def ensure_display(size: tuple[int, int] = (1920, 1200)) -> VirtualDisplay | None:
    """Start Xvfb when there is no display and it is installed; return it, or None when nothing was started."""
    if has_display() or shutil.which("Xvfb") is None:
        return None
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(write_end),
            "-screen",
            "0",
            f"{size[0]}x{size[1]}x24",
            "-nolisten",
            "tcp",
            "+extension",
            "GLX",
        ],
        pass_fds=(write_end,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        number = pipe.readline().strip()  # the server writes it once it accepts clients
    if not number:
        process.wait(timeout=10)
        return None
    name = f":{number}"
    os.environ["DISPLAY"] = name
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    return VirtualDisplay(process, name)
