"""Data-parallel training on several processes, as torchrun starts them: gloo between processors, NCCL between GPUs.

Every process draws pairs of its own, the gradients are averaged after each backward pass, so the processes stay equal.
BatchNorm: frozen statistics (the paper's way) make a run equal to one process with the same batch. Otherwise
statistics are synchronised over the GPUs; on processors, where torch cannot, each process normalises by its own
part of the batch and the running statistics are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from core.errors import InputError

_PATIENCE = timedelta(hours=12)  # process 0 clusters alone while the others wait


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a run: ``rank`` of this one among ``size``; ``device`` it was given, or None. One process: no talk."""

    rank: int = 0
    size: int = 1
    device: str | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its mean over the processes; a parameter without one counts as 0."""
        if self.size == 1:
            return
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._average([parameter.grad for parameter in parameters])

    def average_statistics(self, network: nn.Module) -> None:
        """Average BatchNorm's running means and variances over the processes."""
        if self.size > 1:
            self._average([buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def _average(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(values.view(tensor.shape))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Mean of each named value over the processes; all have the same names."""
        if self.size == 1:
            return values
        numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=self._device)
        distributed.all_reduce(numbers)
        return dict(zip(values, (numbers / self.size).tolist(), strict=True))

    def any(self, wish: bool) -> bool:
        """Whether any process has the wish, so that all do the same; every process must ask at the same point."""
        return wish if self.size == 1 else self.mean({"wish": float(wish)})["wish"] > 0

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            distributed.barrier()

    @property
    def _device(self) -> str:
        return self.device or "cpu"


SINGLE = Group()


def is_distributed() -> bool:
    """Whether torchrun started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group(device: str = "auto") -> Iterator[Group]:
    """Join the processes that torchrun started, and leave them at the end; without torchrun there is only this one.

    Each process takes the GPU of its local rank, or the processor where there is none or ``device`` says so.
    """
    if not is_distributed():
        yield SINGLE
        return
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu and local >= torch.cuda.device_count():
        raise InputError(f"process {local} has no GPU: {torch.cuda.device_count()} here; start as many processes, or use cpu")
    if on_gpu:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Group(rank, size, f"cuda:{local}" if on_gpu else "cpu")
        distributed.barrier()  # who leaves while another still talks aborts it
    finally:
        distributed.destroy_process_group()


def with_shared_statistics(network: nn.Module, group: Group) -> nn.Module:
    """The network with BatchNorm over all GPUs of the group; on processors it stays as it is."""
    if group.size > 1 and str(group.device).startswith("cuda"):
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network
