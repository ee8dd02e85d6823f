"""What is to be evaluated: scenes, methods with their settings, and who labels the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.geometry import Camera, Rigid3d
from core.localizer.drive import METHODS as DRIVES
from core.localizer.pipeline import METHODS, NEED_LABELS, LocalizerConfig
from core.localizer.sequence import METHOD as PFSL
from core.localizer.sequence import SequenceConfig
from core.records import ImageData, LabelMap, LabelStatistics, Localization, Matches2D3D, SceneMap

SEQUENCE_METHODS = (PFSL, *DRIVES)
CORE = Path(__file__).resolve().parents[1]
_CODE = ("query.py", "prepared.py", "sequences.py", "motion.py", "rows.py", "label_store.py", "priors.py", "errors.py")
Solver = Callable[[Matches2D3D, SceneMap, Camera, LocalizerConfig, int], Rigid3d | None]
"""Another way from matches to a pose, to compare with on the same matches; a function of a module, for other processes."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelSource:
    """One network at work: labels of an image, and how its labels behave (or None)."""

    labels_of: Callable[[ImageData], LabelMap]
    statistics: LabelStatistics | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Labelling:
    """Who labels: ``name`` as the user gave it; ``identity`` changes with every weight or statistic; ``make`` loads it,
    and can be sent to another process.
    """

    name: str
    vocabulary: str
    num_labels: int
    identity: str
    make: Callable[[], LabelSource]


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One line of the table: a method with its settings and its labels.

    ``name`` is what the table says; the method is ``config.method``. ``labels`` names a Labelling, or "" for none.
    ``solve`` replaces the pose estimation by an outside one. ``odometry`` of a sequence, as ``motion_of`` takes it;
    ``start_error_m``: the standard deviation, along each level axis, of a position made from the truth that a sequence's
    first query is given, as GPS would; 0: it is not told where it begins.
    """

    name: str
    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    labels: str = ""
    solve: Solver | None = None
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    odometry: str = "auto"
    start_error_m: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.name}/{self.labels}" if self.labels else self.name

    def settings(self) -> dict[str, Any]:
        """Everything of the variant that can change a result, as plain values."""
        solver = "" if self.solve is None else f"{self.solve.__module__}.{self.solve.__qualname__}"
        if self.is_sequence:
            told = {"odometry": self.odometry, "start_error_m": self.start_error_m}
            config = asdict(self.config if self.config.method in DRIVES else self.sequence)
            return {"method": self.config.method, "config": config, **told}
        return {"method": self.config.method, "config": asdict(self.config), "solve": solver}

    @property
    def is_sequence(self) -> bool:
        """Whether whole sequences are evaluated, not single queries."""
        return self.config.method in SEQUENCE_METHODS


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An evaluation: every query of every scene by every variant. ``cache`` keeps label maps by content of the image.

    ``conditions``: only these, or all where empty.
    """

    scenes: tuple[Path, ...]
    variants: tuple[Variant, ...]
    labellings: tuple[Labelling, ...]
    cache: Path
    seed: int = 0
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ids = [variant.id for variant in self.variants]
        if len(set(ids)) < len(ids):
            raise InputError(f"two of the methods have one name: {', '.join(sorted(ids))}")
        missing = {variant.labels for variant in self.variants} - {"", *(labelling.name for labelling in self.labellings)}
        if missing:
            raise InputError(f"labels of {sorted(missing)[0]!r} are needed, but no such network is given")

    def variant(self, variant_id: str) -> Variant:
        return next(variant for variant in self.variants if variant.id == variant_id)

    def labelling(self, name: str) -> Labelling:
        return next(labelling for labelling in self.labellings if labelling.name == name)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one worker does at a time: one query by several variants, or one condition's whole sequence by several.

    ``keys``: for each query, for each variant, the key of its journal entry.
    """

    scene: Path
    queries: tuple[str, ...]
    variants: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one variant made of one query. ``refused``: not a failure to find a pose, but input that cannot be used."""

    localization: Localization
    seconds: dict[str, float]
    refused: bool = False


def make_variants(methods: Sequence[str], weights: Sequence[str], config: LocalizerConfig) -> tuple[Variant, ...]:
    """Every method with every network; methods that use no labels once. Raises InputError for what does not go together."""
    known = [*METHODS, *SEQUENCE_METHODS]
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise InputError(f"method {unknown[0]!r} is not known; expected some of {', '.join(known)}")
    made = []
    for method in dict.fromkeys(methods):
        own = replace(config, method=method)
        if not needs_labels(method):
            made.append(Variant(method, own))
        elif not weights:
            raise InputError(f"the method {method!r} needs labels; name networks with --weights")
        else:
            made += [Variant(method, own, name) for name in dict.fromkeys(weights)]
    return tuple(made)


def needs_labels(method: str) -> bool:
    return method == PFSL or DRIVES.get(method, method) in NEED_LABELS


def digest(*parts: Any) -> str:
    """A short name for any plain values or bytes; the same values have the same name."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = bytes(part) if isinstance(part, (bytes, memoryview)) else json.dumps(part, sort_keys=True, default=str).encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


@cache
def code_digest() -> str:
    """The name of the code that makes the numbers: results of another version of it are not taken up."""
    files = sorted([*(CORE / "localizer").glob("*.py"), *(CORE / "evaluation" / name for name in _CODE), CORE / "geometry.py"])
    return digest(*(file.read_bytes() for file in files))
