"""From a config record to the fields of a form, and back: pure functions over dataclasses made with core.records.setting."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One value of a config: its ``path`` ("optimization.iterations"), ``kind`` int, float, bool, choice or text.

    ``optional``: an empty field means None. ``choices``: what a choice is made from.
    """

    path: str
    kind: str
    value: Any
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The last part of the path, in words."""
        words = self.path.rsplit(".", 1)[-1].removesuffix("_deg").removesuffix("_px").removesuffix("_m").replace("_", " ")
        return words.removeprefix("num ").capitalize()

    @property
    def group(self) -> str:
        """What the value belongs to, in words; "" for the config itself."""
        return self.path.rsplit(".", 1)[0].replace("_", " ").replace(".", ", ").capitalize() if "." in self.path else ""

    def parse(self, text: str) -> Any:
        """The value that a person typed. Raises ValueError: a sentence with the title, what was found and expected."""
        text = text.strip()
        if self.kind in ("text", "choice"):
            return text
        if self.optional and not text:
            return None
        try:
            value = int(text.replace(",", "")) if self.kind == "int" else float(text)
        except ValueError:
            raise ValueError(f"{self.title} is {text!r}, expected {self._expected()}") from None
        below = self.minimum is not None and value < self.minimum
        above = self.maximum is not None and value > self.maximum
        if below or above or value != value:
            raise ValueError(f"{self.title} is {text}, expected {self._expected()}")
        return value

    def _expected(self) -> str:
        noun = "a whole number" if self.kind == "int" else "a number"
        low = "" if self.minimum is None else f" from {self.minimum:g}"
        high = "" if self.maximum is None else f" to {self.maximum:g}"
        return f"{noun}{low}{high}{' or nothing' if self.optional else ''}"


def setting_specs(config: Any, choices: Mapping[str, Sequence[str]] = types.MappingProxyType({})) -> tuple[SettingSpec, ...]:
    """The settings of a config and of the configs inside it, in their order; ``choices`` by the name of a setting."""
    return tuple(_specs(config, "", choices))


def _specs(config: Any, prefix: str, choices: Mapping[str, Sequence[str]]) -> list[SettingSpec]:
    found = []
    hints = typing.get_type_hints(type(config))
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found += _specs(value, f"{prefix}{item.name}.", choices)
        elif "help" in item.metadata:
            found.append(_spec(f"{prefix}{item.name}", value, hints[item.name], item.metadata, choices.get(item.name, ())))
    return found


def _spec(path: str, value: Any, hint: Any, metadata: Mapping[str, Any], choices: Sequence[str]) -> SettingSpec:
    options = typing.get_args(hint) or (hint,)
    plain = next(part for part in options if part is not type(None))
    kind = "choice" if choices else {bool: "bool", int: "int", float: "float"}.get(plain, "text")
    return SettingSpec(
        path=path,
        kind=kind,
        value=value,
        unit=metadata.get("unit", ""),
        minimum=metadata.get("min"),
        maximum=metadata.get("max"),
        help=metadata.get("help", ""),
        optional=type(None) in options,
        choices=tuple(choices),
    )


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """The config with the values at these paths; raises what the config raises for values that do not fit together."""
    own = {path: value for path, value in values.items() if "." not in path}
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        if "." in path:
            head, rest = path.split(".", 1)
            inner.setdefault(head, {})[rest] = value
    parts = {name: with_values(getattr(config, name), part) for name, part in inner.items()}
    return replace(config, **own, **parts)
