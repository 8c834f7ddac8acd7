"""Functions compiled by Numba when they are called first, and kept on disk where they can be.

A compiled function kept on disk is thrown away when its own file changes, not when a file that it
calls does, so all that a kept function calls must stand in its own file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numba
from numba.core.event import Event, Listener, install_listener

_Function = TypeVar("_Function", bound=Callable[..., Any])

_BLAS = "scipy.linalg.cython_blas"
_LOG = logging.getLogger(__name__)


def inlined(function: _Function) -> _Function:
    """Compile ``function`` into those that call it."""
    return cast(_Function, numba.njit(inline="always")(function))


def kept_on_disk(function: _Function) -> _Function:
    """Compile ``function`` when it is called first, and keep the code if it can be kept."""
    return _kept(function, {})


def kept_uncounted(function: _Function) -> _Function:
    """Do the same for a function that makes no arrays: no references to arrays are counted.

    Counting them at each access to a field of a tuple of arrays costs more than small loops do.
    """
    return _kept(function, {"_nrt": False})


def _kept(function: _Function, options: dict[str, bool]) -> _Function:
    dispatcher = _dispatcher(function, options)
    is_compiled = False

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal is_compiled
        if is_compiled:
            return dispatcher(*arguments)
        result = _first(dispatcher, arguments)
        is_compiled = True
        return result

    return cast(_Function, call)


def _dispatcher(function: Callable[..., Any], options: dict[str, bool]) -> Any:
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        _warn_of_slow_start()
        return numba.njit(**options)(function)


@functools.cache
def _warn_of_slow_start() -> None:
    _LOG.warning(
        "large simulations start some seconds slower in every process: compiled code can be "
        "kept neither beside the package nor in the home directory; set NUMBA_CACHE_DIR to a "
        "directory that can be written"
    )


def _first(dispatcher: Any, arguments: tuple[Any, ...]) -> Any:
    """Call a function for the first time, which loads it from disk or compiles it."""
    with install_listener("numba:compile", _Announcement()), _without_scipy():
        try:
            return dispatcher(*arguments)
        except OSError as problem:  # on keeping what was compiled, before it ran
            _warn_of_disk(str(problem))
            return dispatcher(*arguments)


@contextlib.contextmanager
def _without_scipy() -> Iterator[None]:
    """Keep Numba from importing SciPy when it is first used, which takes a sixth of a second.

    All that Numba learns from it there is with which loop to compile ``np.cov``.
    """
    if _BLAS in sys.modules:
        yield
        return
    sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_BLAS]


@functools.cache
def _warn_of_disk(problem: str) -> None:
    _LOG.warning("compiled code cannot be kept on disk: %s", problem)


class _Announcement(Listener):  # type: ignore[misc]
    """Says once a process that something is compiled, and not when it is loaded from disk."""

    said = False

    def on_start(self, event: Event) -> None:
        """Say so at the first function."""
        if not _Announcement.said:
            _LOG.warning("compiling the inner loops, which takes some seconds once")
        _Announcement.said = True

    def on_end(self, event: Event) -> None:
        """Nothing to say."""
