"""A process that loads what work needs once, and splits workers off itself: both its ends.

Workers begin at once, with all that is loaded, and never see the caller's main script. The forker
has one thread, so that splitting is safe, and ends all its workers when the caller is gone,
however that came.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from flexsim.workers.serve import serve

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")
_CLOSE_S = 5.0
_PROGRAM = (
    "import sys; sys.path[:] = {0!r}; from flexsim.workers.forker import main; main({1}, {2!r})"
)


class Forker:
    """The caller's end: start workers, end all of them."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._has_workers = False
        self._orders, theirs = socket.socketpair()
        path = [str(each) for each in sys.path]
        program = _PROGRAM.format(path, theirs.fileno(), tuple(modules))
        with theirs, _without_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **{f"{name}_NUM_THREADS": "1" for name in _THREADS}},
            )

    @property
    def is_alive(self) -> bool:
        """Whether it can start workers."""
        return self._process.poll() is None

    def worker(self) -> Connection:
        """Start a worker and return the line to it; a line that ends is a worker that is gone."""
        self._has_workers = True
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):
            socket.send_fds(self._orders, [b"+"], [theirs.fileno()])
        return Connection(ours.detach())

    def close(self) -> None:
        """End all workers that are left, whatever they are at, and the forker."""
        self._orders.close()
        if not self._has_workers:  # it need not load to the end
            self._process.kill()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold a Ctrl-C back until the end.

    Processes started inside, and all that they start, never see one: it is for this process to
    say what happens.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(handle: int, modules: Sequence[str]) -> None:
    """Split off a worker for each line that comes over a socket; its end ends all of them."""
    orders = socket.socket(fileno=handle)
    for module in modules:
        with suppress(Exception):  # told by the worker that needs it
            importlib.import_module(module)
    gc.freeze()
    family = _Family()
    while (line := _next_line(orders)) is not None:
        if not family.grown():
            orders.close()
            serve(Connection(line))
        os.close(line)
    family.end()


class _Family:
    """The workers that were split off, and are not known to be over."""

    def __init__(self) -> None:
        self._children: list[int] = []
        signal.signal(signal.SIGCHLD, self._tend)

    def grown(self) -> int:
        """Split off a worker: return its process, and 0 there."""
        for stream in (sys.stdout, sys.stderr):  # what is to be printed belongs to one of the two
            stream.flush()
        child = os.fork()
        if child:
            self._children.append(child)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _seed()
        return child

    def end(self) -> None:
        """End all that are left; a child that is not waited for keeps its number."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for child in self._children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def _tend(self, *_: object) -> None:
        for child in tuple(self._children):
            if os.waitpid(child, os.WNOHANG)[0]:
                self._children.remove(child)


def _next_line(orders: socket.socket) -> int | None:
    with suppress(OSError):
        _, handles, _, _ = socket.recv_fds(orders, 1, 1)
        return handles[0] if handles else None
    return None


def _seed() -> None:
    """Let a worker draw other random numbers than its siblings; Python sees to its own."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
