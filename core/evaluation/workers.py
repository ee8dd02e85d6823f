"""Do units of work here, in processes of this machine, or on a cluster: the entries are the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from core.errors import InputError
from core.evaluation.job import Job, Unit, digest
from core.evaluation.query import Desk, evaluate_unit
from core.records import Progress
from core.steps import finish

Entries = list[dict[str, Any]]
Work = Generator[Progress | Entries, None, None]
"""Yields Progress, where it can be cancelled, and the entries of each finished unit, in the order in which they finish."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_S = 0.5
_MAX_DEATHS = 3


def work_here(job: Job, units: Sequence[Unit]) -> Work:
    desk = Desk(job)
    for unit in units:
        yield (yield from evaluate_unit(desk, unit))


def work_in_processes(job: Job, units: Sequence[Unit], num_workers: int) -> Work:
    """Share the units over processes that are started afresh. Where one dies, the units it had are done again by others.

    Raises InputError when processes keep dying, as they do where memory is short.
    """
    left = dict(enumerate(units))
    for _ in range(_MAX_DEATHS):
        with _few_threads(num_workers):
            pool = ProcessPoolExecutor(num_workers, get_context("spawn"), end_with_parent)
            try:
                waiting = {pool.submit(evaluate_in_worker, job, unit): k for k, unit in left.items()}
                for done in _as_completed(waiting):
                    if done is None:
                        yield Progress(f"{len(left)} units of work in {num_workers} processes")
                        continue
                    yield done.result()
                    del left[waiting[done]]
            except BrokenProcessPool:
                yield Progress(f"A worker process died; going on with {len(left)} units of work")
            finally:
                pool.shutdown(cancel_futures=True)
        if not left:
            return
    names = ", ".join(sorted(next(iter(left.values())).queries)[:3])
    raise InputError(
        f"{_MAX_DEATHS} worker processes died, with {len(left)} units of work left (the first: {names}); "
        "what is finished is kept, try again with fewer --workers"
    )


def end_with_parent() -> None:
    """Let this worker process end when the one that started it is killed: it would go on alone, and hold its memory."""

    def watch() -> None:
        parent.join()
        os._exit(1)

    parent = parent_process()
    if parent is not None:
        Thread(target=watch, daemon=True).start()


def _as_completed(waiting: dict[Future, int]) -> Iterator[Future | None]:
    """Futures as they finish; None while none does, so that a cancel need not wait."""
    pending = set(waiting)
    while pending:
        finished, pending = wait(pending, _POLL_S, FIRST_COMPLETED)
        yield from sorted(finished, key=lambda future: waiting[future]) or (None,)


_DESKS: dict[str, Desk] = {}
"""In a worker process: the desk of the job that it works for, by the job's name."""


def evaluate_in_worker(job: Job, unit: Unit) -> Entries:
    """Do one unit in a process that may have done others of the same job before."""
    name = job_name(job)
    if name not in _DESKS:
        _DESKS.clear()
        _DESKS[name] = Desk(job)
    return finish(evaluate_unit(_DESKS[name], unit))


def job_name(job: Job) -> str:
    """The name of everything that a desk keeps between units."""
    labellings = [labelling.identity for labelling in job.labellings]
    variants = [(variant.id, variant.settings()) for variant in job.variants]
    return digest([str(path) for path in job.scenes], labellings, variants, str(job.cache), job.seed)


@contextlib.contextmanager
def _few_threads(num_workers: int) -> Iterator[None]:
    """Let processes that start inside share the cores; what the user set stays."""
    share = str(max(1, (os.cpu_count() or 1) // num_workers))
    added = [name for name in _THREAD_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, share))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
