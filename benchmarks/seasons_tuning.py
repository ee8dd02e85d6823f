"""Make plain P3P RANSAC as good as it gets before anything is compared with it, on other worlds than the test's.

What uses labels gets the same care: the same grid for SSMC on the same worlds, and its best setting for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from core.evaluation.job import Variant
from core.evaluation.rows import QueryRow
from core.evaluation.summary import CHANGED, rows_by_kind
from core.localizer.matching import MatchConfig
from core.localizer.pipeline import LocalizerConfig
from core.localizer.ransac import RansacConfig

RATIOS = (0.8, 0.85, 0.9, 0.95)
MAX_ERRORS_PX = (4.0, 8.0, 12.0)
MIN_INLIERS = (4, 8, 12)
PROGRESSIVE = (True, False)


@dataclass(frozen=True, slots=True)
class Setting:
    ratio: float
    max_error_px: float
    min_inliers: int
    progressive: bool

    @property
    def name(self) -> str:
        order = "PROSAC" if self.progressive else "uniform"
        return f"ratio {self.ratio:g}, {self.max_error_px:g} px, {self.min_inliers} inliers, {order}"

    def config(self, method: str = "p3p") -> LocalizerConfig:
        ransac = RansacConfig(
            max_error_px=self.max_error_px, min_inliers=self.min_inliers, progressive=self.progressive, max_iterations=10_000
        )
        return LocalizerConfig(matching=MatchConfig(ratio=self.ratio), ransac=ransac, method=method)


def settings(quick: bool = False) -> Iterator[Setting]:
    """The grid; ``quick`` tries two ratios only."""
    grid = ((0.8, 0.9), (8.0,), (4, 12), (True,)) if quick else (RATIOS, MAX_ERRORS_PX, MIN_INLIERS, PROGRESSIVE)
    return (Setting(*values) for values in product(*grid))


def variants(quick: bool = False, labels: str = "") -> tuple[Variant, ...]:
    """Plain P3P at every setting, and SSMC where ``labels`` names a network."""
    plain = [Variant(setting.name, setting.config()) for setting in settings(quick)]
    semantic = [Variant(setting.name, setting.config("ssmc"), labels) for setting in settings(quick) if labels]
    return (*plain, *semantic)


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting with its recall in percent on changed conditions, the mean over kinds."""

    setting: Setting
    recall: tuple[float, float, float]


def ranked(rows: Sequence[QueryRow], quick: bool = False, labels: str = "") -> list[Tried]:
    """All settings of plain P3P, or of SSMC with a network, best first: by recall at (0.5 m, 5 deg), then (0.25 m, 2 deg)."""
    pooled = [row for row in rows_by_kind(rows) if row.labels == labels]
    table = [row for row in pooled if row.condition == CHANGED] or pooled
    tried = []
    for setting in settings(quick):
        own = [row.recall for row in table if row.method == setting.name]
        tried.append(Tried(setting, tuple(sum(recall[k] for recall in own) / max(1, len(own)) for k in range(3))))
    return sorted(tried, key=lambda one: (-one.recall[1], -one.recall[0]))
