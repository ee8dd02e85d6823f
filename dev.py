#!/usr/bin/env python3
"""Set up and run the project with nothing but Python's standard library: run, test, lint, bench.

    python3 dev.py run      set up, then open the demo (without a display: screenshots and a report under out/demo/)
    python3 dev.py test     set up, then run the whole test suite
    python3 dev.py lint     set up, then check the style
    python3 dev.py bench    set up, then print the speed tables
    python3 dev.py study --work DIR    set up, then train and measure what the paper varies (hours; --quick: 40 minutes)
    python3 dev.py bench-seasons --work DIR    set up, then measure how often each method localizes (hours; --quick: minutes)

Whatever follows the command is passed on, for instance `python3 dev.py test -k geometry`.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "set-up-for"

# What the packages load at run time and Debian does not install by itself: shared library -> Debian package.
SYSTEM_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libusb-1.0.so.0": "libusb-1.0-0",
}
FONT_FOLDERS, FONT_PACKAGE = (
    ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    "fonts-dejavu-core",
)
VIRTUAL_SCREEN = ("xvfb", "libgl1-mesa-dri")


def main(arguments: list[str]) -> int:
    commands = {"run": run, "test": test, "lint": lint, "bench": bench, "study": study, "bench-seasons": bench_seasons}
    if not arguments or arguments[0] not in commands:
        print(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    if sys.version_info < (3, 11):
        print(f"Python {sys.version.split()[0]} found, 3.11 or newer needed", file=sys.stderr)
        return 2
    try:
        return commands[arguments[0]](arguments[1:])
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(rest: list[str]) -> int:
    set_up(window=True)
    if has_display():
        return call("main.py", "demo", *rest)
    return call("main.py", "demo", "--headless", "--out", str(ROOT / "out" / "demo"), *rest)


def test(rest: list[str]) -> int:
    set_up(window=True)
    return call("-m", "pytest", *rest)


def lint(rest: list[str]) -> int:
    set_up(window=False)
    return call("-m", "ruff", "check", *rest, ".") or call("-m", "ruff", "format", "--check", ".")


def bench(rest: list[str]) -> int:
    set_up(window=True)
    return call("-m", "benchmarks", *rest)


def study(rest: list[str]) -> int:
    set_up(window=False)
    return call("-m", "benchmarks.study", *rest)


def bench_seasons(rest: list[str]) -> int:
    set_up(window=False)
    return call("-m", "benchmarks.seasons", *rest)


class SetupError(Exception):
    """What is missing and how to get it, in one sentence."""


def has_display() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has_venv() -> bool:
    """Whether the virtual environment is there and whole; one that was interrupted has no pip."""
    return (
        venv_python().exists()
        and subprocess.run([str(venv_python()), "-m", "pip", "--version"], capture_output=True).returncode == 0
    )


def call(*arguments: str) -> int:
    """Run the virtual environment's Python in the project folder and return its exit code."""
    return subprocess.run([str(venv_python()), *arguments], cwd=ROOT).returncode


def set_up(window: bool) -> None:
    """Bring system libraries and the virtual environment to what the project needs; instant when they are."""
    if sys.platform.startswith("linux"):
        install_system_packages(missing_system_packages(window))
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()).hexdigest()
    if STAMP.is_file() and venv_python().exists() and STAMP.read_text() == wanted:
        return
    if not has_venv():
        print("making the virtual environment .venv", file=sys.stderr)
        venv.EnvBuilder(with_pip=True, clear=VENV.exists()).create(VENV)
    print("installing the pinned packages (1 GB to download; several where torch comes with CUDA)", file=sys.stderr)
    command = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt", "-e", ".[dev]")
    if call(*command) != 0:
        raise SetupError("pip could not install the packages in constraints.txt; its message is above")
    STAMP.write_text(wanted)


def missing_system_packages(window: bool) -> list[str]:
    """Debian's names of what is not there yet."""
    missing = [] if importlib.util.find_spec("ensurepip") or has_venv() else ["python3-venv"]
    if not window:
        return missing
    missing += [package for library, package in SYSTEM_LIBRARIES.items() if not loads(library)]
    if not has_font():
        missing.append(FONT_PACKAGE)
    if not has_display() and shutil.which("Xvfb") is None:
        missing += VIRTUAL_SCREEN
    return missing


def has_font() -> bool:
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    return any(next(folder.rglob(suffix), None) for folder in folders for suffix in ("*.ttf", "*.otf"))


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_system_packages(packages: list[str]) -> None:
    """Install by apt where this user may; otherwise say what to install."""
    if not packages:
        return
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise SetupError(f"these system libraries are missing (Debian's names): {wanted}")
    become_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become_root and (shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode):
        raise SetupError(f"please install the missing system libraries first: sudo apt-get install {wanted}")
    print(f"installing system libraries: {wanted}", file=sys.stderr)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run([*become_root, *environment, "apt-get", *step], stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SetupError(f"apt-get {step[0]} failed; needed: {wanted}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
