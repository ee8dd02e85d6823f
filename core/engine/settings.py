"""Configs as text: list every setting with its help, change one by its name, make a config from stored values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from core.errors import InputError


def listed(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Name, value and help of every setting; those of a config inside are ``inside.name``."""
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from listed(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", value, item.metadata.get("help", "")


def changed(config: Any, name: str, text: str) -> Any:
    """The config with setting ``name`` read from ``text``; InputError for unknown names and values that do not fit."""
    first, _, rest = name.partition(".")
    items = {item.name: item for item in fields(config)}
    if first not in items or bool(rest) != is_dataclass(getattr(config, first)):
        known = ", ".join(name for name, _, _ in listed(config))
        raise InputError(f"{name}: no such setting, expected one of {known}")
    old = getattr(config, first)
    if rest:
        return replace(config, **{first: changed(old, rest, text)})
    return replace(config, **{first: _parsed(name, text, old, items[first].metadata)})


def _parsed(name: str, text: str, old: Any, metadata: Any) -> Any:
    """The value that ``text`` means where ``old`` stood: a word stays a word, numbers keep their kind and range."""
    if isinstance(old, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{name} is {text!r}, expected a value such as {old!r}") from error
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if not (type(value) is type(old) or old is None or value is None):
        raise InputError(f"{name} is {text!r}, expected a value such as {old!r}")
    return value


def check_ranges(config: Any) -> None:
    """Raise InputError when a number lies outside of what its setting allows."""
    for item in fields(config):
        value, low, high = getattr(config, item.name), item.metadata.get("min"), item.metadata.get("max")
        if is_dataclass(value):
            check_ranges(value)
        elif isinstance(value, int | float) and not (
            (low is None or value >= low) and (high is None or value <= high)
        ):  # NaN is outside
            limits = " ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))
            raise InputError(f"{item.name} is {value}, expected {limits}")


def restored(default: Any, values: dict[str, Any]) -> Any:
    """The config that ``asdict`` took apart; ``default``: any config of its kind. InputError for unknown settings."""
    known = {item.name for item in fields(default)}
    if not isinstance(values, dict) or set(values) != known:
        found = sorted(set(values) ^ known) if isinstance(values, dict) else values
        raise InputError(f"stored settings do not fit {type(default).__name__}: {found}; was the run made by another version?")
    inner = {name: getattr(default, name) for name in known if is_dataclass(getattr(default, name))}
    return replace(
        default, **{name: restored(inner[name], value) if name in inner else value for name, value in values.items()}
    )
