"""How long a large NVM model takes to open, and how much memory.

`python -m benchmarks.large_nvm [--points N] [--images N] [--folder DIR]`: writes a model of the size of RobotCar
Seasons' merged one, 10 million points by default, opens it in a process of its own and prints seconds, peak memory, the longest
time between two places to cancel, and the size of the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_BLOCK_POINTS = 20_000
_IMAGE_PX = 1024


def write_large_nvm(path: Path, num_points: int, num_images: int, seed: int = 0) -> None:
    """Write a model with numbers as the benchmarks write them (12 decimals) and 2 to 9 observations a point.

    A block of random points is written again and again, which reads no faster than points that all differ.
    """
    rng = np.random.default_rng(seed)
    block = _point_lines(rng, min(_BLOCK_POINTS, num_points), num_images)
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"NVM_V3\n\n{num_images}\n")
        for k in range(num_images):
            q = rng.normal(size=4)
            q /= np.linalg.norm(q)
            c = rng.normal(size=3) * 500
            name = f"./overcast-reference/{('left', 'rear', 'right')[k % 3]}/{1417176458999821 + k}.png"
            file.write(f"{name} 400.0 {' '.join(f'{value:.12f}' for value in (*q, *c))} 0 0\n")
        file.write(f"\n{num_points}\n")
        whole, part = divmod(num_points, len(block))
        text = "".join(block)
        for _ in range(whole):
            file.write(text)
        file.writelines(block[:part])


def _point_lines(rng: np.random.Generator, count: int, num_images: int) -> list[str]:
    lines = []
    for _ in range(count):
        x, y, z = rng.normal(size=3) * 300
        seen = int(rng.integers(2, 10))
        images, features = rng.integers(0, num_images, seen), rng.integers(0, 9000, seen)
        places = rng.random((seen, 2)) * _IMAGE_PX
        observations = " ".join(f"{i} {f} {u:.12f} {v:.12f}" for i, f, (u, v) in zip(images, features, places))
        lines.append(f"{x:.12f} {y:.12f} {z:.12f} 64 57 51 {seen} {observations}\n")
    return lines


def measure_opening(path: Path) -> dict[str, float]:
    """Open a scene in a process of its own: seconds, peak GiB, longest pause between steps in s, points, observations."""
    code = f"from benchmarks.large_nvm import _opened; _opened({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _opened(path: str) -> None:
    import resource

    from core.scene.scene import open_scene_steps

    started = last = time.perf_counter()
    longest, steps = 0.0, open_scene_steps(path)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            scene = stop.value
            break
        finally:
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    counts = {"points": len(scene.map.points3D), "observations": len(scene.map.observations.point)}
    sys.stdout.write(json.dumps({"seconds": last - started, "peak GiB": peak, "longest pause s": longest, **counts}) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_nvm", description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--images", type=int, default=26_121)
    parser.add_argument("--folder", type=Path, help="where to write the model; a temporary folder by default")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "large.nvm"
        write_large_nvm(path, options.points, options.images)
        measured = {"GiB on disk": path.stat().st_size / 2**30, **measure_opening(path)}
    sys.stdout.write("".join(f"{key:16} {value:.4g}\n" for key, value in measured.items()))


if __name__ == "__main__":
    main()
