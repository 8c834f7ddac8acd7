"""The cluster behind a map: a dask scheduler that runs already."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from typing import Any

from flexsim.errors import WorkersError
from flexsim.workers.batches import python_version
from flexsim.workers.records import Workers

CONNECT_S = 5.0
_CLOSE_S = 5.0
_HEADER, _LONGEST_GREETING = 8, 1 << 20
_LOUD = ("distributed", "tornado", "asyncio", "dask")


@contextmanager
def client_of(workers: Workers) -> Iterator[Any]:
    """Yield a client of a dask scheduler, and leave no thread or log line behind.

    Raise :class:`WorkersError` where no scheduler answers or its workers do not fit.
    """
    with ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(orderly_end())
        _check_answer(workers)
        client = stack.enter_context(_connected(workers.scheduler))
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
def orderly_end() -> Iterator[None]:
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
