"""The scenes of the seasons benchmark: rendered worlds of seeds that nothing was trained on, as hard as is asked for."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from core.evaluation.job import digest
from core.records import Progress
from core.steps import scaled
from core.world.conditions import CONDITIONS
from core.world.export import write_scene
from core.world.geometry import KINDS

TUNING_SEED, TEST_SEED = 60_000, 90_200  # training takes 1000 and up, validation 900000 and up
SEEDS_PER_KIND = 1000
FRAME_SPACING_M = 2.0
"""So far apart are the frames of a drive: the queries of one condition follow each other, as PFSL needs it."""


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How far queries are from what the map has seen; see ``core.world.export.write_scene``."""

    num_reference: int = 60
    spacing_m: float = 2.5
    lateral_m: float = 2.0
    yaw_deg: float = 24.0
    map_ratio: float = 0.95

    def times(self, factor: float) -> Difficulty:
        """As hard as this, ``factor`` times as far from what the map has seen."""
        return replace(
            self,
            spacing_m=round(factor * self.spacing_m, 3),
            lateral_m=round(factor * self.lateral_m, 3),
            yaw_deg=round(factor * self.yaw_deg, 3),
        )

    @property
    def text(self) -> str:
        return (
            f"{self.num_reference} reference images every {self.spacing_m:g} m, queries {self.lateral_m:g} m beside the lane "
            f"and turned by {self.yaw_deg:g} deg (standard deviations), a map of matches up to ratio {self.map_ratio:g}"
        )


DIFFICULTIES = {
    "urban": Difficulty(num_reference=30, spacing_m=5.0),
    "suburban": Difficulty(num_reference=23, spacing_m=6.5, lateral_m=1.5, yaw_deg=25.0),
    "park": Difficulty(num_reference=25, spacing_m=6.0, lateral_m=1.5, yaw_deg=28.0),
}
"""How hard each kind is, so that plain P3P stands near the paper's 65, 45 and 27 % within (0.25 m, 2 deg).

Chosen where earlier runs had looked already (four worlds a kind and one more, seeds 60700 and on): urban 34 % with references
every 10 m and 57 % every 5 m; suburban 56 % every 5 m and 62 % every 6 m; park 42 % every 5 m and 15 % every 6.5 m. Worlds
of one kind differ by more than that. Choose with --study-difficulty on the tuning worlds; never on the test worlds.
"""
AIMS = {"urban": 65.0, "suburban": 45.0, "park": 27.0}
"""Plain P3P of the paper, percent within (0.25 m, 2 deg)."""


@dataclass(frozen=True, kw_only=True)
class SceneSet:
    """Scenes of one purpose: ``count`` worlds of each kind, from seed ``first_seed`` on; ``difficulties`` by kind.

    Each condition has one drive of ``num_queries`` frames, taken by all cameras of ``camera_yaws_deg`` (to the left).
    """

    first_seed: int
    count: int
    num_queries: int
    difficulties: Mapping[str, Difficulty]
    frame_spacing_m: float = FRAME_SPACING_M
    kinds: tuple[str, ...] = KINDS
    conditions: tuple[str, ...] = CONDITIONS
    size: tuple[int, int] = (640, 480)
    camera_yaws_deg: tuple[float, ...] = (0.0,)

    def seeds(self, kind: str) -> range:
        """Each kind has a range of seeds of its own."""
        start = self.first_seed + SEEDS_PER_KIND * KINDS.index(kind)
        return range(start, start + self.count)

    @property
    def difficulty_text(self) -> str:
        kinds = "; ".join(f"{kind}: {self.difficulties[kind].text}" for kind in self.kinds)
        if self.camera_yaws_deg == (0.0,):
            return kinds
        return f"{kinds}; cameras turned to the left by {' and '.join(f'{yaw:g}' for yaw in self.camera_yaws_deg)} deg"

    @property
    def seeds_text(self) -> str:
        return ", ".join(f"{kind} {self.seeds(kind)[0]} to {self.seeds(kind)[-1]}" for kind in self.kinds if self.count)


def write_scenes(scenes: SceneSet, folder: Path) -> Generator[Progress, None, tuple[Path, ...]]:
    """Render what is not there yet; return the folders of the scenes. Each appears whole or not at all."""
    wanted = [(kind, seed) for kind in scenes.kinds for seed in scenes.seeds(kind)]
    paths = []
    for number, (kind, seed) in enumerate(wanted):
        path = folder / f"{kind}-{seed}-{_name(scenes, kind)}"
        if not (path / "scene.toml").is_file():
            steps = _write(scenes, kind, seed, path)
            yield from scaled(steps, number / len(wanted), (number + 1) / len(wanted))
        paths.append(path)
    return tuple(paths)


def _name(scenes: SceneSet, kind: str) -> str:
    about = [asdict(scenes.difficulties[kind]), scenes.num_queries, scenes.frame_spacing_m, scenes.conditions, scenes.size]
    if scenes.camera_yaws_deg != (0.0,):
        about.append(scenes.camera_yaws_deg)
    return digest(about)[:8]


def _write(scenes: SceneSet, kind: str, seed: int, path: Path) -> Generator[Progress, None, object]:
    far = scenes.difficulties[kind]
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
        query_spacing_m=scenes.frame_spacing_m,
        map_ratio=far.map_ratio,
        camera_yaws_deg=scenes.camera_yaws_deg,
    )
