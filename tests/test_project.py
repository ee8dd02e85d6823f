"""What the project promises about itself: packages, the shipped demo, the README's example, the set-up script."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1_000_000


def shipped(folder: str, example: str) -> Path:
    """A folder of resources/, or skip where this copy has none."""
    path = ROOT / "resources" / folder
    if not (path / example).is_file():
        pytest.skip(f"this copy has no resources/{folder}/{example}")
    return path


@pytest.fixture
def dev(monkeypatch):
    """The set-up script as a module, in a world where nothing is missing."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("has_venv", "has_font", "has_display"):
        monkeypatch.setattr(module, name, lambda: True)
    monkeypatch.setattr(module, "loads", lambda library: True)
    return module


def test_every_package_of_the_tree_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    found = [path.parent for room in ("core", "fgsn_viewer", "resources") for path in (ROOT / room).rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(path.relative_to(ROOT).parts) for path in found)
    bare = [path for room in ("core", "fgsn_viewer") for path in (ROOT / room).rglob("*.py") if path.parent not in found]
    assert bare == [], "a folder of modules without __init__.py is not installed"


def test_the_pinned_versions_cover_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {package_name(one) for one in asked} <= {package_name(line) for line in pinned if "==" in line}


def package_name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", requirement)[0]).lower()


def test_the_demo_is_small_enough_to_travel_with_the_code():
    demo = shipped("demo", "scene.toml")
    assert sum(path.stat().st_size for path in demo.rglob("*") if path.is_file()) <= 25 * MEGABYTE


def test_the_shipped_networks_have_their_cards_and_label_statistics():
    models = shipped("models", "world-100.safetensors")
    files = {path.name for path in models.glob("*.safetensors")}
    names = ("world-19", "world-100", "world-200")
    assert files == {f"{name}{kind}.safetensors" for name in names for kind in ("", ".labels")}
    assert all((models / f"{name}.safetensors").stat().st_size < 15e6 for name in names)
    assert all((models / f"{name}.md").stat().st_size > 500 for name in names)


def test_the_example_of_the_readme_runs_and_prints_its_answer():
    shipped("demo", "scene.toml")
    shipped("models", "world-100.safetensors")
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert re.match(r"\(\d+, \d+\) \d+ \S", done.stdout), done.stdout


def test_the_commands_of_the_readme_exist():
    from fgsn_viewer.cli import build_parser

    named = set(re.findall(r"^    fgsn-viewer ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert len(named) >= 6
    assert named <= set(build_parser()[1])


def test_nothing_is_installed_where_nothing_is_missing(dev):
    assert dev.missing_system_packages(window=True) == []


def test_missing_libraries_are_named_by_their_packages(dev, monkeypatch):
    monkeypatch.setattr(dev, "loads", lambda library: library not in ("libEGL.so.1", "libxcb-cursor.so.0"))
    assert dev.missing_system_packages(window=True) == ["libegl1", "libxcb-cursor0"]
    assert dev.missing_system_packages(window=False) == [], "the style check opens no window"


def test_a_virtual_screen_is_asked_for_only_without_a_real_one(dev, monkeypatch):
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    assert dev.missing_system_packages(window=True) == []
    monkeypatch.setattr(dev, "has_display", lambda: False)
    assert dev.missing_system_packages(window=True) == list(dev.VIRTUAL_SCREEN)


def test_fonts_and_the_means_to_make_an_environment_are_asked_for(dev, monkeypatch):
    monkeypatch.setattr(dev, "has_font", lambda: False)
    monkeypatch.setattr(dev, "has_venv", lambda: False)
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: None)
    assert dev.missing_system_packages(window=True) == ["python3-venv", dev.FONT_PACKAGE]


def test_what_cannot_be_installed_is_named_in_one_sentence(dev, monkeypatch):
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    with pytest.raises(dev.SetupError, match=r"missing \(Debian's names\): libegl1 libgl1"):
        dev.install_system_packages(["libegl1", "libgl1"])


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["nonsense"], 2)])
def test_the_script_explains_itself(dev, capsys, arguments, code):
    assert dev.main(arguments) == code
    assert "dev.py run" in capsys.readouterr().out
