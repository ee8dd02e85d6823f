"""Settings of the localizer as options: their help, defaults and ranges come from the configs that hold them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.engine.settings import changed, listed

if TYPE_CHECKING:
    from core.localizer.pipeline import LocalizerConfig

LOCALIZER = {
    "--ratio": "matching.ratio",
    "--matches": "matching.source",
    "--max-error": "ransac.max_error_px",
    "--min-inliers": "ransac.min_inliers",
    "--min-iterations": "ransac.min_iterations",
    "--max-iterations": "ransac.max_iterations",
    "--prior": "prior.source",
    "--gravity-noise": "prior.gravity_noise_deg",
    "--height-noise": "prior.height_noise_m",
    "--retrieval": "retrieval.use",
    "--retrieval-images": "retrieval.num_images",
    "--window": "ssmc.window_px",
    "--any-view": "ssmc.any_view",
    "--count-all": "ssmc.count_all",
    "--verification": "affinity.verification",
    "--guided-rounds": "guided.rounds",
    "--min-evidence": "ransac.min_evidence",
    "--min-guided": "ransac.min_guided",
    "--drive-window": "drive.window",
    "--drive-evidence": "drive.min_evidence",
    "--causal": "drive.causal",
}
"""Option and the setting of LocalizerConfig that it changes."""


class CommandParser(argparse.ArgumentParser):
    """A parser that adds some of its options only when its command is asked for, as what they need is slow to load."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.add_later: Callable[[], None] | None = None

    def parse_known_args(self, args=None, namespace=None):
        if self.add_later is not None:
            add, self.add_later = self.add_later, None
            add()
        return super().parse_known_args(args, namespace)


def add_localizer_settings(parser: CommandParser) -> None:
    """Give a command every option of ``LOCALIZER``."""
    parser.add_later = lambda: _add(parser)


def _add(parser: argparse.ArgumentParser) -> None:
    from core.localizer.gravity import SOURCES
    from core.localizer.matching import MATCHES
    from core.localizer.pipeline import LocalizerConfig
    from core.localizer.retrieval import USES

    choices = {"prior.source": SOURCES, "retrieval.use": USES, "matching.source": MATCHES}
    known = {name: (value, help) for name, value, help in listed(LocalizerConfig())}
    group = parser.add_argument_group("settings of the methods")
    for option, name in LOCALIZER.items():
        value, help = known[name]
        if value is False:
            group.add_argument(option, action="store_true", dest=_dest(option), help=help.replace("%", "%%"))
            continue
        words = {"choices": choices[name]} if name in choices else {"type": _typed(name), "metavar": _metavar(name)}
        text = f"{help} (default: {value})".replace("%", "%%")
        group.add_argument(option, **words, dest=_dest(option), default=value, help=text)


def localizer_config(options: argparse.Namespace, method: str = "p3p") -> LocalizerConfig:
    """The settings that the options of ``add_localizer_settings`` ask for. Raises InputError."""
    from core.errors import InputError
    from core.localizer.pipeline import LocalizerConfig

    config = changed(LocalizerConfig(), "method", method)
    for option, name in LOCALIZER.items():
        config = changed(config, name, str(getattr(options, _dest(option))))
    low, high = config.ransac.min_iterations, config.ransac.max_iterations
    if low > high:
        raise InputError(f"--min-iterations is {low}, expected at most --max-iterations, {high}")
    if config.prior.source != "oracle" and (config.prior.gravity_noise_deg or config.prior.height_noise_m):
        raise InputError("--gravity-noise and --height-noise are errors of the oracle; they need --prior oracle")
    return config


def _dest(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _item(name: str) -> tuple[Any, Any]:
    """Default and metadata of a setting."""
    from dataclasses import fields

    from core.localizer.pipeline import LocalizerConfig

    group, _, own = name.partition(".")
    config = getattr(LocalizerConfig(), group)
    return getattr(config, own), next(item.metadata for item in fields(config) if item.name == own)


def _metavar(name: str) -> str:
    return _item(name)[1]["unit"].upper() or "N"


def _typed(name: str) -> Callable[[str], Any]:
    """Read a number of the setting's kind and range."""
    default, about = _item(name)
    low, high = about["min"], about["max"]

    def parse(text: str) -> Any:
        try:
            value = type(default)(text)
        except ValueError:
            value = None
        if value is None or not (low is None or value >= low) or not (high is None or value <= high):
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind} from {low:g} to {high:g}")
        return value

    return parse
