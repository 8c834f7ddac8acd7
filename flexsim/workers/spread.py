"""One function mapped over many items, by whoever is free."""

from __future__ import annotations

import contextlib
import pickle
import queue
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

from flexsim.errors import WorkersError
from flexsim.workers.batches import Batch, Origin, Outcome, packed, run_batch
from flexsim.workers.distant import LISTEN_EVERY_S, Switchboard
from flexsim.workers.feed import Feed, Portion
from flexsim.workers.records import Talk, WorkerDied, Workers
from flexsim.workers.talk import Direct, is_at_work, on_line

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: Workers,
    talk: Talk | None = None,
) -> Iterator[tuple[int, Result | WorkerDied]]:
    """Yield ``(index of the item, function(item))`` as each is done, in no order.

    Items are taken only as they are needed: a batch or two a worker is on its way, each of as
    many neighbouring items as take some tenths of a second. Of a sequence there are as many runs
    of neighbours as workers at a time. Items of workers that die are done
    again by others, and each is yielded once; one that goes on killing workers when nothing
    else runs yields :class:`WorkerDied` in place of a result. An exception of ``function`` ends
    the map and is raised as it is. ``function``, items and results must be possible to pickle
    where they go to other processes. With ``talk``, the function can tell and ask things.

    Raise :class:`WorkersError` where no scheduler answers, its workers have other versions, or
    none is left. All processes that were started end with the iterator.
    """
    number = _num_processes(items, workers)
    if number <= 1 and not workers.scheduler:
        yield from _here(function, items, talk or Talk())
        return
    from flexsim.workers.cluster import client_of

    with client_of(workers, number) as client, _Post(client, workers, function, talk) as post:
        yield from _spread(post, Feed(items, post.num_workers))


def count_workers(workers: Workers) -> int:
    """Return how many workers there are now, at least 1; connects to a scheduler to ask."""
    if not workers.scheduler:
        return 1 if is_at_work() else workers.num_processes
    from flexsim.workers.cluster import client_of

    with client_of(workers, 0) as client:
        return max(1, len(client.nthreads()))


def _num_processes(items: Iterable[Any], workers: Workers) -> int:
    if is_at_work():
        return 1
    return min(workers.num_processes, len(items) if isinstance(items, Sized) else 1 << 30)


def _here(
    function: Callable[[Item], Result], items: Iterable[Item], talk: Talk
) -> Iterator[tuple[int, Result]]:
    for index, item in enumerate(items):
        with on_line(Direct(index, talk)):
            result = function(item)
        yield index, result


def _spread(post: _Post, feed: Feed) -> Iterator[tuple[int, Any]]:
    while True:
        while (portion := feed.take(post.num_workers)) is not None:
            post.send(portion)
        if not feed.num_out:
            return
        portion, outcome = post.receive()
        if outcome is None:
            for index in feed.died(portion):
                yield index, WorkerDied(index, _REASON)
            continue
        feed.done(portion, outcome.seconds)
        yield from outcome.results
        if outcome.error is not None:
            raise outcome.error


_GATHER_S = 2.0
_REASON = (
    "the worker died every time it was at this configuration, also with nothing else beside it;"
    " most often the system ends a process that needs more memory than there is"
)


class _Post:
    """Sends portions to the workers of a client, and receives what comes of them."""

    def __init__(
        self, client: Any, workers: Workers, function: Callable[..., Any], talk: Talk | None
    ) -> None:
        self._client, self._workers = client, workers
        self._function, self._origin = packed(function), Origin.here()
        self._name = f"flexsim-{uuid.uuid4().hex}"
        self._number = 0
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._portions: dict[str, Portion] = {}
        self._board = Switchboard(client, talk, self._name) if talk is not None else None
        self._looked = self._seen = time.monotonic()
        self.num_workers = len(client.nthreads())

    def __enter__(self) -> _Post:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(Exception):
            if self._board is not None:
                self._board.close()

    def send(self, portion: Portion) -> None:
        """Let some worker do a portion."""
        channel = self._name if self._board is not None else ""
        batch = Batch(self._function, packed(portion.items), self._origin, channel)
        key = f"{self._name}-{self._number}"
        self._number += 1
        future = self._client.submit(run_batch, batch, key=key, pure=False)
        self._portions[key] = portion
        future.add_done_callback(self._done.put)

    def receive(self) -> tuple[Portion, Outcome | None]:
        """Wait for a portion and return what came of it; None where its workers died."""
        while True:
            future = self._wait()
            try:
                content = self._content(future)
            except TimeoutError:  # its worker died before it was fetched: it is done again
                future.add_done_callback(self._done.put)
                continue
            future.release()
            self._listen()
            outcome = None if content is None else pickle.loads(content)
            return self._portions.pop(future.key), outcome

    def _content(self, future: Any) -> bytes | None:
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise self._lost()
        if future.status != "error":
            found: bytes = future.result(timeout=_GATHER_S)
            return found
        error = future.exception(timeout=_GATHER_S)
        if not isinstance(error, KilledWorker):
            raise error
        return None

    def _wait(self) -> Any:
        while True:
            self._look()
            with contextlib.suppress(queue.Empty):
                return self._done.get(timeout=LISTEN_EVERY_S)

    def _look(self) -> None:
        """Now and then: who is at work, what is told?"""
        now = time.monotonic()
        if now - self._looked < LISTEN_EVERY_S:
            return
        self._looked = now
        try:
            self.num_workers = len(self._client.nthreads())
            self._listen()
        except OSError as problem:
            raise self._lost() from problem
        self._seen = now if self.num_workers else self._seen
        if now - self._seen > self._workers.patience_s:
            raise WorkersError(
                f"{self._place}: there has been no worker for {self._workers.patience_s:g} s;"
                f" start some with dask worker {self._workers.scheduler or 'ADDRESS'}"
            )

    def _listen(self) -> None:
        if self._board is not None:
            self._board.listen()

    def _lost(self) -> WorkersError:
        return WorkersError(f"{self._place}: the scheduler is gone, and what was at work with it")

    @property
    def _place(self) -> str:
        return self._workers.scheduler or "local processes"
