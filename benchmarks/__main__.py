"""`python -m benchmarks [engine] [particles] [pose] ...`: print the speed tables; every ratio is of one run on one machine."""

from __future__ import annotations

import importlib
import platform
import sys

import torch

TITLES = {
    "engine": "Engine: PSPNet-101, K = 100, 1024 x 768",
    "particles": "Particle filter, one image of 1024 x 768, K = 100",
    "localizer": "Methods of localization",
    "pose": "Pose estimation on the same matches",
    "training": "Cluster training of the small network",
    "window": "Window",
    "world": "Seasons world, 640 x 480",
}


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - set(TITLES))
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; expected some of {', '.join(TITLES)}", file=sys.stderr)
        return 2
    print(f"{platform.platform()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {capability()}")
    for name in names or TITLES:
        print(f"\n{TITLES[name]}")
        print_table(importlib.import_module(f"benchmarks.bench_{name}").run())
    return 0


def capability() -> str:
    """What the processor has for bf16."""
    flags = ""
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    names = [name for name in ("amx_bf16", "avx512_bf16") if name in flags]
    return f"bf16 by {', '.join(names)}" if names else "no bf16 units found"


def print_table(rows: list[dict]) -> None:
    """Print rows of plain values as aligned columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [columns, *cells]:
        print(
            "  ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(line, widths)))
        )


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
