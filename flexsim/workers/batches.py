"""What runs on a worker: a function over a few items, one batch at a time a process."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flexsim.errors import FlexSimError, WorkersError
from flexsim.garbage import little_collected
from flexsim.workers.distant import Distant
from flexsim.workers.talk import Line, on_line

_ONE_AT_A_TIME = threading.Lock()
"""The simulator is not made for threads; a worker with several takes turns."""


@dataclass(frozen=True)
class Origin:
    """What a worker must share with the process that sends work: the versions, a directory."""

    version: str
    python: str
    directory: str

    @staticmethod
    def here() -> Origin:
        """Return what this process has."""
        return Origin(flexsim_version(), python_version(), os.getcwd())


@dataclass(frozen=True)
class Batch:
    """Some items of a map, as bytes, so that a scheduler never opens what is in them."""

    function: bytes
    items: bytes
    origin: Origin
    channel: str = ""
    """The name of what messages go through; empty: nobody listens."""


@dataclass(frozen=True)
class Outcome:
    """The results of a batch with their indices, up to the first error, and the time it took."""

    results: tuple[tuple[int, Any], ...]
    error: Exception | None
    seconds: float


@cache
def flexsim_version() -> str:
    """Return the version that is installed, as dask asks for it elsewhere."""
    try:
        return version("flexsim")
    except PackageNotFoundError:
        return "from its sources"


def python_version() -> str:
    """Return ``"3.11"``: processes of one such version understand each other."""
    return ".".join(platform.python_version_tuple()[:2])


def packed(value: Any) -> bytes:
    """Return anything as bytes: functions of the main script and closures too."""
    import cloudpickle  # type: ignore[import-untyped]

    found: bytes = cloudpickle.dumps(value)
    return found


def run_batch(batch: Batch, line: Callable[[int], Line] | None = None) -> bytes:
    """Return the packed :class:`Outcome` of a batch; an exception is part of it.

    ``line`` gives the way to the caller from the item of an index; the scheduler's unless given.
    """
    with _ONE_AT_A_TIME, _inside(batch.origin.directory), little_collected():
        begun = time.perf_counter()
        results: list[tuple[int, Any]] = []
        error = _run(batch, line or partial(Distant, channel=batch.channel), results)
        seconds = time.perf_counter() - begun
        outcome = Outcome(tuple(results), error, seconds)
        return _packed_outcome(outcome)


def _run(
    batch: Batch, line: Callable[[int], Line], results: list[tuple[int, Any]]
) -> Exception | None:
    try:
        _check(batch.origin)
        function = _function(batch.function)
        for index, item in pickle.loads(batch.items):
            with on_line(line(index)):
                results.append((index, function(item)))
    except Exception as error:
        return _with_place(error)
    return None


@lru_cache(maxsize=4)
def _function(content: bytes) -> Callable[[Any], Any]:
    """Return the function, the same object for all its batches: what it keeps is kept."""
    found: Callable[[Any], Any] = pickle.loads(content)
    return found


def _check(origin: Origin) -> None:
    own = Origin.here()
    for what, wanted, found in (
        ("flexsim", origin.version, own.version),
        ("Python", origin.python, own.python),
    ):
        if wanted != found:
            raise WorkersError(
                f"a worker on {platform.node()} has {what} {found}, but the work comes from"
                f" {what} {wanted}; start the workers in the same environment"
            )


def _inside(directory: str) -> contextlib.AbstractContextManager[None]:
    """Work in the caller's directory, where there is one, so that relative paths hold."""
    exists = os.path.isdir(directory)
    return contextlib.chdir(directory) if exists else contextlib.nullcontext()


def _with_place(error: Exception) -> Exception:
    """Note where an error was raised, which does not travel by itself; a sentence needs none."""
    if isinstance(error, FlexSimError):
        return error
    place = "".join(traceback.format_exception(error))
    error.add_note(f"raised on {platform.node()}, process {os.getpid()}:\n{place}")
    return error


def _packed_outcome(outcome: Outcome) -> bytes:
    try:
        content = _quickly_packed(outcome)
        pickle.loads(content)
    except Exception as problem:
        what = outcome.error if outcome.error is not None else "a result"
        told = RuntimeError(f"{what!r} cannot be sent from a worker: {problem}")
        return packed(replace(outcome, results=(), error=told))
    return content


def _quickly_packed(outcome: Outcome) -> bytes:
    """Return an outcome as bytes, in half the time where all its classes can be imported."""
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return packed(outcome)
