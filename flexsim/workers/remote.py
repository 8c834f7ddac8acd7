"""Portions of a map on the workers of a dask scheduler."""

from __future__ import annotations

import contextlib
import pickle
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flexsim.errors import WorkersError
from flexsim.workers.batches import Batch, Origin, Outcome, packed, run_batch
from flexsim.workers.distant import LISTEN_EVERY_S, Switchboard
from flexsim.workers.feed import ANYWHERE, Portion
from flexsim.workers.records import Talk, Workers

_GATHER_S = 2.0


@dataclass(frozen=True)
class _Sent:
    """A portion at work, its future, and the only worker that may do it: one, or anybody."""

    portion: Portion
    future: Any
    place: str


class RemotePost:
    """Sends portions to the workers of a client, and receives what comes of them.

    A portion for a worker is done by no other, so that what a lane shares stays in one place. A
    scheduler would keep it for a worker that is gone without an end, also where others are
    allowed (it looks whether they may when the worker is lost, but not when another comes); so
    who is there is compared now and then with whom something waits for, and that is sent again,
    to anybody.
    """

    def __init__(
        self, client: Any, workers: Workers, function: Callable[..., Any], talk: Talk | None
    ) -> None:
        self._client, self._workers = client, workers
        self._function, self._origin = packed(function), Origin.here()
        self._name = f"flexsim-{uuid.uuid4().hex}"
        self._number = 0
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sent: dict[str, _Sent] = {}
        self._board = Switchboard(client, talk, self._name) if talk is not None else None
        self._looked = self._seen = time.monotonic()
        self._places = self._running()

    @property
    def places(self) -> Sequence[str]:
        """The workers that there are."""
        return self._places

    def __enter__(self) -> RemotePost:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(Exception):
            if self._board is not None:
                self._board.close()

    def send(self, portion: Portion) -> None:
        """Let the worker of a portion do it, or anybody."""
        self._submit(portion, portion.place)

    def _submit(self, portion: Portion, place: str) -> None:
        key = f"{self._name}-{self._number}"
        self._number += 1
        channel = self._name if self._board is not None else ""
        batch = Batch(self._function, packed(portion.items), self._origin, channel)
        only = [place] if place else None
        future = self._client.submit(run_batch, batch, key=key, pure=False, workers=only)
        self._sent[key] = _Sent(portion, future, place)
        future.add_done_callback(self._done.put)

    def receive(self) -> tuple[Portion, Outcome | None] | None:
        """Return what came of a portion, None in its place where its workers died.

        Return None alone where nothing came for a while.
        """
        self._look()
        try:
            future = self._done.get(timeout=LISTEN_EVERY_S)
        except queue.Empty:
            return None
        if future.key not in self._sent:  # it was sent again, to others
            return None
        try:
            content = self._content(future)
        except TimeoutError:  # its worker died before it was fetched: it is done again
            future.add_done_callback(self._done.put)
            return None
        future.release()
        self._listen()
        outcome = None if content is None else pickle.loads(content)
        return self._sent.pop(future.key).portion, outcome

    def _content(self, future: Any) -> bytes | None:
        """Return what a worker sent, None where it died too often; it may be gone meanwhile."""
        from distributed import CancelledError, KilledWorker

        try:
            found: bytes = future.result(timeout=_GATHER_S)
        except KilledWorker:
            return None
        except CancelledError as problem:
            raise self._lost() from problem
        return found

    def _look(self) -> None:
        """Now and then: who is at work, what is told?"""
        now = time.monotonic()
        if now - self._looked < LISTEN_EVERY_S:
            return
        self._looked = now
        try:
            self._meet(self._running())
            self._listen()
        except OSError as problem:
            raise self._lost() from problem
        self._seen = now if self._places else self._seen
        if now - self._seen > self._workers.patience_s:
            raise WorkersError(
                f"{self._workers.scheduler}: there has been no worker for"
                f" {self._workers.patience_s:g} s; start some with dask worker"
                f" {self._workers.scheduler}"
            )

    def _running(self) -> Sequence[str]:
        """Return the workers that take work: none that is paused, or about to leave."""
        return tuple(self._client.sync(self._client.scheduler.ncores_running))

    def _meet(self, places: Sequence[str]) -> None:
        """Send what waits for a worker that is gone again, to anybody."""
        self._places = places
        present = {ANYWHERE, *places}
        waiting = [key for key, sent in self._sent.items() if sent.place not in present]
        for key in waiting:
            sent = self._sent.pop(key)
            sent.future.release()
            self._submit(sent.portion, ANYWHERE)

    def _listen(self) -> None:
        if self._board is not None:
            self._board.listen()

    def _lost(self) -> WorkersError:
        return WorkersError(
            f"{self._workers.scheduler}: the scheduler is gone, and what was at work with it"
        )
