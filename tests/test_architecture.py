"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE_MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in (ROOT / "core").rglob("*.py")
)
SOURCES = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "fgsn_viewer").rglob("*.py")])


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_core_imports_in_a_fresh_process_bring_no_qt():
    code = (
        f"import importlib, sys\nfor name in {CORE_MODULES!r}: importlib.import_module(name)\n"
        "qt = {'PySide6', 'shiboken6', 'pyqtgraph', 'qdarkstyle', 'fgsn_viewer'}\n"
        "bad = [name for name in sys.modules if name.split('.')[0] in qt]\nassert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("room", "other"), [("engine", "core.localizer"), ("localizer", "core.engine")])
def test_engine_and_localizer_do_not_know_each_other(room, other):
    for path in (ROOT / "core" / room).glob("*.py"):
        assert not [name for name in imported_modules(path) if name.startswith(other)], path


def test_light_modules_load_without_the_heavy_libraries():
    code = (
        "import core.records, core.geometry, core.images, core.scene.scene, core.scene.pair, fgsn_viewer.cli, sys\n"
        "bad = {'torch', 'open3d', 'pycolmap', 'poselib'} & set(sys.modules)\nassert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_loaded_by_pickle_or_eval():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not calls & {"eval", "exec"}, path
        assert "pickle" not in imported_modules(path), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                assert "allow_pickle=False" in ast.unparse(node), path


def test_the_window_computes_nothing_outside_the_controller():
    """Only the controller, the command line and what builds them know the core pipelines."""
    pipelines = ("core.engine", "core.localizer", "core.mapping", "core.world")
    allowed = {
        "controller.py",
        "cli.py",
        "cli_settings.py",
        "commands.py",
        "commands_training.py",
        "commands_consistency.py",
        "commands_evaluation.py",
        "commands_files.py",
        "commands_sequence.py",
        "commands_weights.py",
        "demo.py",
        "bootstrap.py",
        "training_presets.py",
        "localizer_calls.py",
    }
    for path in (ROOT / "fgsn_viewer").rglob("*.py"):
        if path.name not in allowed:
            assert not [name for name in imported_modules(path) if name.startswith(pipelines)], path


def test_files_stay_small_enough_to_feel_at_home_in():
    too_long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500}
    assert not too_long
