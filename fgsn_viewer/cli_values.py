"""Values of the command line, checked while they are parsed."""

from __future__ import annotations

import argparse
import math

MAX_SEED = 2**31 - 1


def parse_size(text: str) -> tuple[int, int]:
    """Parse '640x480' as (width, height) px."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 16 and int(height) >= 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected WIDTHxHEIGHT of at least 16x16, as 640x480")
    return int(width), int(height)


def positive_int(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def non_negative_int(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def seed_number(text: str) -> int:
    if not text.isdigit() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; expected a whole number from 0 to {MAX_SEED}")
    return int(text)


def positive_float(text: str) -> float:
    value = _finite(text)
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def non_negative_float(text: str) -> float:
    value = _finite(text)
    if value is None or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def angle_deg(text: str) -> float:
    value = _finite(text)
    if value is None or abs(value) > 180:
        raise argparse.ArgumentTypeError(f"{text!r} is no angle; expected degrees from -180 to 180")
    return value


def add_cameras(command: argparse.ArgumentParser) -> None:
    """Add --cameras, which worlds are rendered with."""
    command.add_argument(
        "--cameras",
        type=angle_deg,
        nargs="+",
        default=[0.0],
        metavar="DEG",
        help="the vehicle's cameras: how far each is turned to the left (default: one that looks ahead)",
    )


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str) -> int:
    """Parse '500MB' or '1.5 GB' as bytes."""
    number = text.strip().rstrip("BbKkMmGgTt")
    unit, value = text.strip()[len(number) :].upper(), _finite(number)
    if value is None or value < 0 or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected a number with B, KB, MB, GB or TB, as 500MB")
    return int(value * _UNITS[unit])


def bytes_text(count: int) -> str:
    """Bytes in the largest unit that leaves a number of at least 1."""
    unit = max((unit for unit, size in _UNITS.items() if unit and size <= max(1, count)), key=_UNITS.__getitem__)
    return f"{count / _UNITS[unit]:.3g} {unit}"


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
