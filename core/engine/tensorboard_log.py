"""Training curves for TensorBoard, where it is installed and asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InputError


class TensorBoardLog:
    """Writes rows of numbers as scalars; does nothing when it is not ``wanted``."""

    def __init__(self, folder: Path, first_step: int, wanted: bool) -> None:
        self._writer = _writer(folder, first_step) if wanted else None

    def add(self, row: dict[str, Any]) -> None:
        """Add every number of the row at its ``step``."""
        if self._writer is not None:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def require_tensorboard() -> Any:
    """The class that writes events; InputError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard is not installed; expected the package tensorboard (the extra `tensorboard`), or a run without it"
        ) from error
    return SummaryWriter


def _writer(folder: Path, first_step: int) -> Any:
    SummaryWriter = require_tensorboard()
    return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)
