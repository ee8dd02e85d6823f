"""Do units of work on a Dask cluster: `--scheduler ADDRESS`, with the optional extra `cluster`.

Every worker needs this project installed and the scenes and the output folder under the same paths, as on a shared disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import InputError
from core.evaluation.job import Job, Unit
from core.evaluation.workers import Work, evaluate_in_worker
from core.records import Progress

_RETRIES = 3
_POLL_S = 0.5
_CONNECT_S = 20


def work_on_cluster(job: Job, units: Sequence[Unit], address: str) -> Work:
    """Share the units over a cluster; those of workers that die are done again by others. Raises InputError."""
    client = _connect(address)
    try:
        yield from _work(client, job, units)
    finally:
        client.close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "a cluster needs the package distributed; install it with `pip install fgsn-viewer[cluster]`"
        ) from error
    try:
        return Client(address, timeout=_CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"{address}: no Dask scheduler answers there ({error or type(error).__name__})") from error


def _work(client: Any, job: Job, units: Sequence[Unit]) -> Work:
    from distributed import wait

    shared = client.scatter(job, broadcast=True)
    pending = {
        client.submit(evaluate_in_worker, shared, unit, pure=False, retries=_RETRIES) for unit in units
    }  # fmt: skip
    try:
        while pending:
            try:
                finished = wait(pending, timeout=_POLL_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                yield Progress(f"{len(pending)} units of work on the cluster")
                continue
            for future in finished:
                yield future.result()
            pending -= finished
    finally:
        client.cancel(list(pending))
