"""The layouts that scenes come in from elsewhere, in the order in which a folder is compared with them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from core.records import Progress, Scene


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How one layout is told from others and read.

    ``expected`` is what a user would have to bring, a noun phrase; ``recognise`` looks at names only, of a folder or a
    file, and is quick; ``read`` opens a path that was recognised and raises SceneError where it cannot.
    """

    name: str
    expected: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], Generator[Progress, None, Scene]]


LAYOUTS: tuple[Layout, ...] = ()
