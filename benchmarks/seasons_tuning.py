"""Make plain P3P RANSAC as good as it gets before anything is compared with it, on other worlds than the test's.

SSMC is tuned on the same worlds with every network: fewer settings of RANSAC, times the ways to be strict about labels. Soft
labels are tuned in their ratio, and so are matches drawn by descriptors alone, with what was fitted to their matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from core.evaluation.job import Variant
from core.evaluation.rows import QueryRow
from core.evaluation.summary import CHANGED, rows_by_kind
from core.localizer.affinity import AffinityConfig
from core.localizer.matching import MatchConfig
from core.localizer.pipeline import LocalizerConfig
from core.localizer.ransac import RansacConfig
from core.localizer.ssmc import SsmcConfig

RATIOS = (0.8, 0.85, 0.9, 0.95, 1.0)
MAX_ERRORS_PX = (5.0, 8.0, 12.0)
MIN_INLIERS = (4,)  # every method may answer, as in the paper
PROGRESSIVE = (True, False)
PLAIN_GRID = (RATIOS, MAX_ERRORS_PX, MIN_INLIERS, PROGRESSIVE)
LABEL_GRID = (RATIOS[1:], MAX_ERRORS_PX[:2], MIN_INLIERS, PROGRESSIVE[:1])
QUICK_GRID = ((0.8, 0.9), (8.0,), (4, 12), (True,))


@dataclass(frozen=True, slots=True)
class Strictness:
    """How strict SSMC is: see ``SsmcConfig`` and ``LocalizerConfig.keep_moving``."""

    window_px: int = 1
    keep_moving: bool = False
    count_all: bool = False
    any_view: bool = False

    @property
    def name(self) -> str:
        said = ["any view's label"] if self.any_view else []
        said += [f"within {self.window_px} px"] if self.window_px > 1 else []
        said += ["labels that move too"] if self.keep_moving else []
        said += ["all count"] if self.count_all else []
        return ", ".join(said)


PAPER = Strictness()
"""PAPER 3.3: exactly there, stationary labels only, all others dropped for good."""
PLACES = ((9, False), (1, True), (9, True))
WAYS = (
    PAPER,
    *(Strictness(px, False, count_all, any_view) for (px, any_view), count_all in product(PLACES, (False, True))),
    Strictness(9, True, True),
    Strictness(9, True, True, True),
)


DRAWN, COUNTED, VERIFIED = "drawn", "counted", "verified"
"""How far it goes that matches are as likely right as they are: they are drawn so; a pose is judged so; and, with labels, by
the labels of all that it sees.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    ratio: float
    max_error_px: float
    min_inliers: int
    progressive: bool
    strictness: Strictness = PAPER
    likely: str = ""

    @property
    def name(self) -> str:
        order = "PROSAC" if self.progressive else "uniform"
        ransac = f"ratio {self.ratio:g}, {self.max_error_px:g} px, {self.min_inliers} inliers, {order}"
        return ", ".join(part for part in (ransac, self.strictness.name, self.likely) if part)

    def config(self, method: str = "p3p") -> LocalizerConfig:
        ransac = RansacConfig(
            max_error_px=self.max_error_px, min_inliers=self.min_inliers, progressive=self.progressive, max_iterations=10_000
        )
        way = self.strictness
        ssmc = SsmcConfig(window_px=way.window_px, count_all=way.count_all, any_view=way.any_view)
        return LocalizerConfig(
            matching=MatchConfig(ratio=self.ratio),
            ransac=ransac,
            ssmc=ssmc,
            method=method,
            keep_moving=way.keep_moving,
        )


def settings(quick: bool = False, labels: str = "") -> Iterator[Setting]:
    """The grid of plain P3P, or of SSMC where ``labels`` names a network; ``quick`` tries two ratios only."""
    grid = QUICK_GRID if quick else LABEL_GRID if labels else PLAIN_GRID
    ways = WAYS if labels and not quick else (PAPER,)
    return (Setting(*values, way) for way in ways for values in product(*grid))


def variants(quick: bool = False, labels: Sequence[str] = ()) -> tuple[Variant, ...]:
    """Plain P3P at every setting, and SSMC with every network named in ``labels``."""
    plain = [Variant(setting.name, tried(setting.config())) for setting in settings(quick)]
    semantic = [Variant(s.name, tried(s.config("ssmc")), name) for name in labels for s in settings(quick, name)]
    return (*plain, *semantic)


def tried(config: LocalizerConfig) -> LocalizerConfig:
    """The settings without guided matches: these are for after the search that is tuned, and take as long again."""
    return replace(config, guided=replace(config.guided, rounds=0))


def drawn_settings(quick: bool = False, labels: str = "", stages: bool = True) -> tuple[Setting, ...]:
    """What is tried where matches are drawn as likely as they are right: RANSAC as SSMC has it, at every ratio; without
    ``stages`` only all that it leads to, drawing, counting and, with labels, verifying together.
    """
    ways = (DRAWN, COUNTED, VERIFIED) if labels else (DRAWN, COUNTED)
    ways = ways if stages else ways[-1:]
    grid = QUICK_GRID if quick else LABEL_GRID
    return tuple(Setting(*values, likely=likely) for likely in ways for values in product(*grid))


def drawn_config(setting: Setting, affinity: AffinityConfig, labels: str) -> LocalizerConfig:
    """Matches drawn by soft labels, or, where ``labels`` names no network, by descriptors alone."""
    config = setting.config("ssmc-soft" if labels else "p3p")
    return replace(config, affinity=replace(_no_further(affinity, setting.likely), weigh_p3p=not labels))


def _no_further(affinity: AffinityConfig, likely: str) -> AffinityConfig:
    """The settings that go no further than ``likely`` says."""
    verification = affinity.verification if likely == VERIFIED else 0.0
    return replace(affinity, evidence=likely != DRAWN, verification=verification)


def drawn_variants(affinities: Mapping[str, AffinityConfig], quick: bool = False, stages: bool = True) -> tuple[Variant, ...]:
    """Every setting with what was fitted for each network, and for "", without one."""
    return tuple(
        Variant(setting.name, tried(drawn_config(setting, affinity, labels)), labels)
        for labels, affinity in affinities.items()
        for setting in drawn_settings(quick, labels, stages)
    )


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting with its recall in percent on changed conditions, the mean over kinds."""

    setting: Setting
    recall: tuple[float, float, float]


def ranked(
    rows: Sequence[QueryRow], quick: bool = False, labels: str = "", strictness: Strictness | None = None
) -> list[Tried]:
    """All settings of plain P3P, or of SSMC with a network, best first; ``strictness``: only those that are so strict."""
    among = (setting for setting in settings(quick, labels) if strictness in (None, setting.strictness))
    return ranked_among(rows, among, labels)


def ranked_among(rows: Sequence[QueryRow], among: Iterable[Setting], labels: str = "") -> list[Tried]:
    """Settings with a network, best first: by recall at (0.5 m, 5 deg), then (0.25 m, 2 deg)."""
    pooled = [row for row in rows_by_kind(rows) if row.labels == labels]
    table = [row for row in pooled if row.condition == CHANGED] or pooled
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in table:
        found.setdefault(row.method, []).append(row.recall)
    tried = []
    for setting in among:
        own = found.get(setting.name, [])
        tried.append(Tried(setting, tuple(sum(recall[k] for recall in own) / max(1, len(own)) for k in range(3))))
    return sorted(tried, key=lambda one: (-one.recall[1], -one.recall[0]))
