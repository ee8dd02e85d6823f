"""The scenes of the seasons benchmark: rendered worlds of seeds that nothing was trained on, as hard as is asked for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path

from core.evaluation.job import digest
from core.records import Progress
from core.steps import scaled
from core.world.conditions import CONDITIONS
from core.world.export import write_scene
from core.world.geometry import KINDS

TUNING_SEED, TEST_SEED = 60_000, 70_000  # training takes 1000 and up, validation 900000 and up
SEEDS_PER_KIND = 1000


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How far queries are from what the map has seen; see ``core.world.export.write_scene``."""

    num_reference: int = 20
    spacing_m: float = 4.0
    lateral_m: float = 1.0
    yaw_deg: float = 12.0

    @property
    def text(self) -> str:
        return (
            f"{self.num_reference} reference images every {self.spacing_m:g} m, queries {self.lateral_m:g} m beside the lane "
            f"and turned by {self.yaw_deg:g} deg (standard deviations)"
        )


@dataclass(frozen=True, kw_only=True)
class SceneSet:
    """Scenes of one purpose: ``count`` worlds of each kind, from seed ``first_seed`` on."""

    first_seed: int
    count: int
    num_queries: int
    difficulty: Difficulty
    kinds: tuple[str, ...] = KINDS
    conditions: tuple[str, ...] = CONDITIONS
    size: tuple[int, int] = (640, 480)

    def seeds(self, kind: str) -> range:
        """Each kind has a range of seeds of its own."""
        start = self.first_seed + SEEDS_PER_KIND * KINDS.index(kind)
        return range(start, start + self.count)

    @property
    def seeds_text(self) -> str:
        return ", ".join(f"{kind} {self.seeds(kind)[0]} to {self.seeds(kind)[-1]}" for kind in self.kinds if self.count)


def write_scenes(scenes: SceneSet, folder: Path) -> Generator[Progress, None, tuple[Path, ...]]:
    """Render what is not there yet; return the folders of the scenes. Each appears whole or not at all."""
    wanted = [(kind, seed) for kind in scenes.kinds for seed in scenes.seeds(kind)]
    paths = []
    for number, (kind, seed) in enumerate(wanted):
        path = folder / f"{kind}-{seed}-{_name(scenes)}"
        if not (path / "scene.toml").is_file():
            steps = _write(scenes, kind, seed, path)
            yield from scaled(steps, number / len(wanted), (number + 1) / len(wanted))
        paths.append(path)
    return tuple(paths)


def _name(scenes: SceneSet) -> str:
    about = [asdict(scenes.difficulty), scenes.num_queries, scenes.conditions, scenes.size]
    return digest(about)[:8]


def _write(scenes: SceneSet, kind: str, seed: int, path: Path) -> Generator[Progress, None, object]:
    far = scenes.difficulty
    return write_scene(
        kind,
        seed,
        scenes.conditions,
        far.num_reference,
        scenes.num_queries,
        scenes.size,
        path,
        name=f"{kind} {seed}",
        weights="",
        pairs=False,
        spacing_m=far.spacing_m,
        query_lateral_m=far.lateral_m,
        query_yaw_deg=far.yaw_deg,
    )
