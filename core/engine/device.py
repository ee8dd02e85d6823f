"""Where and how precisely the network computes: decided once, here, and passed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from core.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("exact", "fast")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeConfig:
    """``precision`` "exact": f32, the network as it is; "fast": ``dtype``, BatchNorm folded, ``batch_size`` crops at once."""

    device: str
    precision: str
    dtype: torch.dtype
    batch_size: int

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Compute without gradients, and in exact mode without the shortened f32 of graphics cards."""
        shortened = self.precision == "fast"
        with torch.inference_mode():
            if self.device != "cuda":
                yield
                return
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=shortened):
                yield


def choose_device(device: str = "auto", precision: str = "fast") -> ComputeConfig:
    """Decide where to compute and in which number format; "auto" takes the fastest device that is there.

    Raises InputError for a device that this machine does not have, and for unknown names.
    """
    if device not in DEVICES or precision not in PRECISIONS:
        raise InputError(f"device {device!r}, precision {precision!r}; expected one of {DEVICES} and one of {PRECISIONS}")
    present = available_devices()
    if device != "auto" and device not in present:
        raise InputError(f"device {device!r} is not available here; available: {', '.join(present)}")
    chosen = present[0] if device == "auto" else device
    if precision == "exact":
        return ComputeConfig(device=chosen, precision=precision, dtype=torch.float32, batch_size=1)
    # One crop keeps four threads busy; more at once only delay a cancellation.
    batch_size = min(8, max(1, torch.get_num_threads() // 4)) if chosen == "cpu" else 8
    return ComputeConfig(device=chosen, precision=precision, dtype=_fast_dtype(chosen), batch_size=batch_size)


def available_devices() -> tuple[str, ...]:
    """List the devices of this machine, the fastest first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name, there in found.items() if there)


def _fast_dtype(device: str) -> torch.dtype:
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device == "mps":
        return torch.float16
    return torch.bfloat16 if cpu_has_bf16() else torch.float32


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 itself (AVX512-BF16 or AMX); emulated, it is slower than f32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell a device that ran out of memory from every other failure."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
