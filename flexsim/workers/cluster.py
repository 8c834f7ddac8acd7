"""The clusters behind a map: processes that this one starts, or a scheduler that runs already."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import current_process, resource_tracker
from threading import current_thread, main_thread
from typing import Any

from flexsim.errors import WorkersError
from flexsim.workers.batches import python_version
from flexsim.workers.records import Workers

CONNECT_S = 5.0
_CLOSE_S = 5.0
_HEADER, _LONGEST_GREETING = 8, 1 << 20
_LOUD = ("distributed", "tornado", "asyncio", "dask")
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")
_NOT_STARTED = (
    "local processes ended while they started; a script of your own must do its work under"
    " if __name__ == '__main__':, or with one worker"
)
_LOCAL: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-ttl": None,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.nanny.pre-spawn-environ": {f"{name}_NUM_THREADS": "1" for name in _THREADS},
}


@contextmanager
def client_of(workers: Workers, num_processes: int) -> Iterator[Any]:
    """Yield a dask client, and leave no process, thread or log line behind.

    Raise :class:`WorkersError` where no scheduler answers or its workers do not fit.
    """
    with ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(_orderly_end())
        if workers.scheduler:
            _check_answer(workers)
        address = workers.scheduler or stack.enter_context(_local(num_processes))
        client = stack.enter_context(_connected(address))
        if workers.scheduler:
            _check_versions(workers.scheduler, client)
        yield client


@contextmanager
def _silence() -> Iterator[None]:
    """Keep dask's logs to itself: what matters becomes a sentence, or is done again."""
    import distributed  # noqa: F401 - sets the levels that are changed here

    names = [*_LOUD, *(name for name in logging.root.manager.loggerDict if _is_loud(name))]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _is_loud(name: str) -> bool:
    return name.startswith(tuple(f"{each}." for each in _LOUD))


@contextmanager
def _local(number: int) -> Iterator[Any]:
    """Yield a cluster of processes on the loopback address, with one thread each."""
    if getattr(current_process(), "_inheriting", False):  # this is a worker that imports a script
        raise WorkersError(_NOT_STARTED)
    import dask
    from distributed import LocalCluster

    make: Any = LocalCluster
    with dask.config.set(_LOCAL), _without_interrupts():
        try:
            cluster = make(
                host="127.0.0.1",
                n_workers=number,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL + 1,
            )
        except RuntimeError as problem:
            raise WorkersError(_NOT_STARTED) from problem
    try:
        yield cluster
    except BaseException:
        _kill(cluster)
        raise
    finally:
        with suppress(TimeoutError):
            cluster.close(timeout=_CLOSE_S)


def _kill(cluster: Any) -> None:
    """End the processes of a local cluster without waiting for what they are at."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold a Ctrl-C back until the end.

    Processes started inside, and all that are started in their place, never see one: it is for
    this process to say what happens.
    """
    # Started later, it would let the signal through again in the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM end this process as an exception does, so that all is cleaned up."""
    is_ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_ours or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _connected(address: Any) -> Iterator[Any]:
    from distributed import Client

    make: Any = Client
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = make(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, RuntimeError) as problem:
            raise _no_scheduler(address) from problem
        try:
            yield client
        finally:
            client.close(timeout=_CLOSE_S)


def _check_answer(workers: Workers) -> None:
    """Raise :class:`WorkersError` where nothing answers as a scheduler, which speaks first.

    A client would wait for the words of anything else without an end.
    """
    scheme, host, port = workers.endpoint
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            if scheme == "tcp" and not _is_greeting(connection.recv(_HEADER, socket.MSG_WAITALL)):
                raise _no_scheduler(workers.scheduler)
    except OSError as problem:
        raise _no_scheduler(workers.scheduler) from problem


def _is_greeting(header: bytes) -> bool:
    """Whether a message begins as dask's do: with the small number of its bytes."""
    return len(header) == _HEADER and int.from_bytes(header, "little") < _LONGEST_GREETING


def _no_scheduler(address: str) -> WorkersError:
    return WorkersError(
        f"no dask scheduler answers at {address}; start one with dask scheduler, and give the"
        " address that it prints"
    )


def _check_versions(address: str, client: Any) -> None:
    """Raise :class:`WorkersError` where the scheduler's or a worker's versions are others."""
    found = client.get_versions(packages=["flexsim"])
    own = found["client"]["packages"]["flexsim"]
    places = {"the scheduler": found["scheduler"]}
    places |= {f"worker {name}": found["workers"][name] for name in sorted(found["workers"])}
    for name, versions in places.items():
        packages = versions["packages"]
        python = ".".join(packages["python"].split(".")[:2])
        if python != python_version():
            raise _other(address, name, f"Python {python}", f"Python {python_version()}")
        if packages["flexsim"] != own:
            there = packages["flexsim"] and f"flexsim {packages['flexsim']}"
            raise _other(address, name, there or "no flexsim", f"flexsim {own}")


def _other(address: str, name: str, there: str, here: str) -> WorkersError:
    return WorkersError(
        f"{address}: {name} has {there}, this process {here}; start scheduler and workers in the"
        " same environment"
    )
