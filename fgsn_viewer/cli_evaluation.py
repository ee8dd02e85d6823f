"""Sub-commands that evaluate whole scenes."""

from __future__ import annotations

MODULE = "commands_evaluation"


def add_evaluation_commands(command) -> None:
    del command  # evaluate comes here
