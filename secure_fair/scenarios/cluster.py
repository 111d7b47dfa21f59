"""Runs of a sweep on the workers of a Dask cluster, on this machine or on many.

Dask.distributed and not Ray: it is Python alone and a megabyte, gives a lost worker's runs to another by itself, and
its workers can come and go. Who can speak to a scheduler can have any code run: beyond this machine it must be TLS.
"""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from secure_fair.errors import ProcessFailed, UsageError
from secure_fair.report.columns import RunRow
from secure_fair.scenarios.grid import GridRun

Work = Callable[[GridRun, Path], list[RunRow]]
PATIENCE = "10 s"  # for the scheduler to answer
_one_at_a_time = threading.Lock()  # a process keeps the stores of one run
_folder: Path | None = None


def check_address(address: str) -> None:
    """UsageError unless it is a scheduler's, spoken to by TLS or on this machine."""
    parts = urlsplit(address)
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or not _port(parts):
        raise UsageError(f"--cluster {address}: must be tls://HOST:PORT or, on this machine, tcp://127.0.0.1:PORT")
    if parts.scheme == "tcp" and not _is_local(parts.hostname):
        raise UsageError(
            f"--cluster {address}: without TLS anybody on the way can have any code run by the workers; start the "
            "scheduler with --tls-ca-file, --tls-cert and --tls-key, give both sides the same in Dask's configuration "
            "(distributed.comm.tls), and use tls://"
        )


@contextmanager
def workers(address: str) -> Iterator[Any]:
    """A client of the scheduler; UsageError where there is none, or the extra is not installed."""
    check_address(address)
    try:
        from distributed import Client
    except ImportError:
        raise UsageError('--cluster needs Dask: pip install "secure-fair[cluster]", here and at the workers') from None
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(f"--cluster {address}: no scheduler answers ({error or type(error).__name__})") from None
    with client:
        yield client


def results(client: Any, work: Work, runs: Sequence[GridRun]) -> Iterator[tuple[GridRun, list[RunRow]]]:
    """Every run with its lines, as they come. A lost worker's runs are done again, by another.

    ProcessFailed where a run ends every worker that it is given to; what a run raises is raised here.
    """
    from distributed import KilledWorker, as_completed

    futures = {client.submit(do, work, run, key=run.key, pure=False): run for run in runs}
    for future in as_completed(futures):
        run = futures.pop(future)
        try:
            yield run, future.result()
        except KilledWorker as error:
            raise ProcessFailed(f"{run.label}: ended every worker that it was given to ({error})", 1) from None


def do(work: Work, run: GridRun) -> list[RunRow]:
    """At a worker: one run, in a folder that this process keeps for its stores."""
    global _folder
    with _one_at_a_time:
        if _folder is None:
            _folder = Path(tempfile.mkdtemp(prefix="secure-fair-worker-"))
            atexit.register(shutil.rmtree, _folder, ignore_errors=True)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        return work(run, _folder)


def _port(parts: Any) -> int | None:
    try:
        return int(parts.port) if parts.port else None
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
