"""The table of formats names tests that exist."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "formats.md"
COLUMNS = "| Layout | What was read | Reference | Test |"


def table_rows() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|") and line != COLUMNS and set(line) - set("|-: ")]


def functions_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / module).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_table_of_formats_names_a_test_that_exists():
    rows = table_rows()
    for row in rows:
        named = re.findall(r"(test_\w+\.py)::(test_\w+)", row)
        assert named, f"no test is named in: {row}"
        for module, test in named:
            assert (ROOT / "tests" / module).is_file(), f"{module} is named in docs/formats.md"
            assert test in functions_of(module), f"{module}::{test} is named in docs/formats.md"


def test_every_section_with_a_table_uses_the_same_columns():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    heads = [line for line, below in pairwise(lines) if line.startswith("|") and set(below) <= set("|-: ") and below]
    assert heads
    assert set(heads) == {COLUMNS}


def test_every_scene_file_of_the_page_is_one_that_can_be_read(tmp_path):
    from core.scene.layouts import LAYOUTS
    from core.scene.scene_table import SceneTable

    known = {"format", "version", "name", "layout", "root", "images", "map", "queries", "intrinsics", "poses", "gravity"}
    known |= {"weights", "conditions"}
    examples = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    layouts = {layout.name for layout in LAYOUTS}
    named = set()
    for text in examples:
        (tmp_path / "scene.toml").write_text(text, encoding="utf-8")
        table = SceneTable.read(tmp_path)
        assert set(table.entries) <= known
        assert table.text("layout") in layouts | {""}
        named.add(table.text("layout"))
        assert all(table.patterns().values())
        assert bool(table.intrinsics()) == ("intrinsics" in table.entries)
    assert {"Extended CMU Seasons", "CMU Seasons", "RobotCar Seasons", "Aachen", ""} <= named
