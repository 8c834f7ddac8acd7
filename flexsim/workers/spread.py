"""One function mapped over many items, by whoever is free."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Protocol, TypeVar

from flexsim.garbage import little_collected
from flexsim.workers.batches import Outcome
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
    many neighbouring items as take some tenths of a second. Of a sequence each worker gets a run
    of neighbours, and takes over half of another's when it is done. Items of workers that die are
    done again, and each is yielded once; one that goes on killing workers when nothing else runs
    yields :class:`WorkerDied` in place of a result. An exception of ``function`` ends the map and
    is raised as it is. ``function``, items and results must be possible to pickle where they go
    to other processes, which never run the caller's main script. With ``talk``, the function can
    tell and ask things.

    Raise :class:`WorkersError` where no scheduler answers, its workers have other versions, or
    none is left. All processes that were started end with the iterator.
    """
    number = _num_processes(items, workers)
    if number <= 1 and not workers.scheduler:
        yield from _here(function, items, talk or Talk())
        return
    with _post(function, number, workers, talk) as post:
        yield from _spread(post, Feed(items))


@contextlib.contextmanager
def loading(workers: Workers, *modules: str) -> Iterator[None]:
    """Let modules be loaded for processes of this machine while the caller gets ready.

    Maps inside begin sooner; a scheduler's workers, and this process itself, need nothing.
    """
    if workers.scheduler or workers.num_processes <= 1 or is_at_work():
        yield
        return
    from flexsim.workers.local import loaded

    with loaded(modules):
        yield


def count_workers(workers: Workers) -> int:
    """Return how many workers there are now, at least 1; connects to a scheduler to ask."""
    if not workers.scheduler:
        return 1 if is_at_work() else workers.num_processes
    from flexsim.workers.cluster import client_of

    with client_of(workers) as client:
        return max(1, len(client.nthreads()))


def _num_processes(items: Iterable[Any], workers: Workers) -> int:
    if is_at_work():
        return 1
    return min(workers.num_processes, len(items) if isinstance(items, Sized) else 1 << 30)


def _here(
    function: Callable[[Item], Result], items: Iterable[Item], talk: Talk
) -> Iterator[tuple[int, Result]]:
    with little_collected():
        for index, item in enumerate(items):
            with on_line(Direct(index, talk)):
                result = function(item)
            yield index, result


class _Post(Protocol):
    """Sends portions to the workers that there are, and receives what comes of them."""

    @property
    def places(self) -> Sequence[str]: ...
    def send(self, portion: Portion) -> None: ...
    def receive(self) -> tuple[Portion, Outcome | None] | None: ...


@contextlib.contextmanager
def _post(
    function: Callable[..., Any], number: int, workers: Workers, talk: Talk | None
) -> Iterator[_Post]:
    from flexsim.workers.cluster import client_of, orderly_end

    if not workers.scheduler:
        from flexsim.workers.local import LocalPost

        with orderly_end(), LocalPost(number, function, talk) as local:
            yield local
        return
    from flexsim.workers.remote import RemotePost

    with client_of(workers) as client, RemotePost(client, workers, function, talk) as remote:
        yield remote


def _spread(post: _Post, feed: Feed) -> Iterator[tuple[int, Any]]:
    while True:
        while (portion := feed.take(post.places)) is not None:
            post.send(portion)
        if not feed.num_out:
            return
        if (came := post.receive()) is not None:
            yield from _results(feed, *came)


def _results(feed: Feed, portion: Portion, outcome: Outcome | None) -> Iterator[tuple[int, Any]]:
    if outcome is None:
        for index in feed.died(portion):
            yield index, WorkerDied(index, _REASON)
        return
    feed.done(portion, outcome.seconds)
    yield from outcome.results
    if outcome.error is not None:
        raise outcome.error


_REASON = (
    "the worker died every time it was at this configuration, also with nothing else beside it;"
    " most often the system ends a process that needs more memory than there is"
)
