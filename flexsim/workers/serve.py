"""A worker of this machine at work: batches come over a line and results go back over it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

from flexsim.workers.batches import Batch, packed, run_batch

UP, TOLD, DONE = "up", "told", "done"
"""What a worker says: it is there; something to be heard; the outcome of its oldest batch."""
STOP, END = "stop", "end"
"""What it is told besides batches: functions should stop; there is no more work."""


def serve(connection: Connection) -> NoReturn:
    """Work on what comes over a line until it ends, and end this process."""
    code = 1
    try:
        with suppress(OSError):
            _Server(connection).work()
            code = 0
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


class _Server:
    """One thread works; another listens, so that a line never is full in both directions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._is_stopped = threading.Event()

    def work(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(UP)
        while (batch := self._batches.get()) is not None:
            self._say(DONE, run_batch(batch, self._line))

    def _listen(self) -> None:
        try:
            while (word := self._connection.recv()) != END:
                if word == STOP:
                    self._is_stopped.set()
                else:
                    self._batches.put(word)
        except (EOFError, OSError):  # the caller is gone
            os._exit(1)
        self._batches.put(None)

    def _say(self, *words: Any) -> None:
        with self._sending:
            self._connection.send(words)

    def _line(self, index: int) -> _Line:
        return _Line(index, self)

    def tell(self, index: int, message: Any) -> None:
        """Send what a function has to tell."""
        self._say(TOLD, index, packed(message))

    @property
    def is_stopped(self) -> bool:
        """Whether functions should come to an end."""
        return self._is_stopped.is_set()


class _Line:
    """The way from a function at work to the process that listens."""

    def __init__(self, index: int, server: _Server) -> None:
        self._index, self._server = index, server

    def tell(self, message: Any) -> None:
        """Send a message."""
        self._server.tell(self._index, message)

    def stop_is_asked(self) -> bool:
        """Return what the caller last said."""
        return self._server.is_stopped
