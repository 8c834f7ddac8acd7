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
_TEND_EVERY_S = 0.2
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
        with theirs:
            try:
                socket.send_fds(self._orders, [b"+"], [theirs.fileno()])
            except OSError:  # it is gone, or about to be: the next worker needs another one
                self._process.kill()
                self._process.wait()
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
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it loses its children's ends
    orders = socket.socket(fileno=handle)
    for module in modules:
        with suppress(Exception):  # told by the worker that needs it
            importlib.import_module(module)
    gc.freeze()
    family = _Family()
    while (line := _next_line(orders, family)) is not None:
        if not family.grown():
            orders.close()
            serve(Connection(line))
        os.close(line)
    family.end()


class _Family:
    """The workers that were split off, and are not known to be over."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def grown(self) -> int:
        """Split off a worker: return its process, and 0 there."""
        for stream in (sys.stdout, sys.stderr):  # what is to be printed belongs to one of the two
            stream.flush()
        child = os.fork()
        if child:
            self._children.add(child)
        else:
            _seed()
        return child

    def tend(self) -> None:
        """Let go of those that are over; one that is not waited for keeps its number."""
        over = {child for child in self._children if os.waitpid(child, os.WNOHANG)[0]}
        self._children -= over

    def end(self) -> None:
        """End all that are left."""
        for child in self._children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _next_line(orders: socket.socket, family: _Family) -> int | None:
    """Wait for the next line; what is over is seen to meanwhile, never while splitting."""
    orders.settimeout(_TEND_EVERY_S)
    with suppress(ConnectionError):
        while True:
            family.tend()
            with suppress(TimeoutError):
                _, handles, _, _ = socket.recv_fds(orders, 1, 1)
                return handles[0] if handles else None
    return None


def _seed() -> None:
    """Let a worker draw other random numbers than its siblings; Python sees to its own."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
