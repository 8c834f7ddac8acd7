"""Portions of a map on processes of this machine."""

from __future__ import annotations

import contextlib
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from flexsim.errors import WorkersError
from flexsim.workers.batches import Batch, Origin, Outcome, packed
from flexsim.workers.distant import LISTEN_EVERY_S
from flexsim.workers.feed import Portion
from flexsim.workers.forker import Forker
from flexsim.workers.records import Talk
from flexsim.workers.serve import DONE, END, STOP, TOLD, UP

_CLOSE_S = 5.0
_MOST_DEATHS = 1
_MOST_STILLBORN = 5
"""Workers a place that may end before they have begun, one after the other."""
_NOT_STARTED = (
    "processes that are started on this machine end at once; with one worker none is needed"
)

_ready: ContextVar[Forker | None] = ContextVar("ready", default=None)


@contextlib.contextmanager
def loaded(modules: Sequence[str]) -> Iterator[None]:
    """Have a process load modules meanwhile, so that workers that are started inside begin soon."""
    if _ready.get() is not None:
        yield
        return
    forker = Forker(modules)
    token = _ready.set(forker)
    try:
        yield
    finally:
        _ready.reset(token)
        forker.close()


@dataclass
class _Seat:
    """A worker: the line to it, and what it was sent, the oldest first."""

    line: Connection
    portions: deque[Portion] = field(default_factory=deque)
    is_up: bool = False


class LocalPost:
    """Sends portions to processes of this machine, and receives what comes of them.

    A process that dies is started again in the same place. What it was at is tried once more; what
    waited behind it is sent again.
    """

    def __init__(self, number: int, function: Callable[..., Any], talk: Talk | None) -> None:
        self._function, self._origin, self._talk = packed(function), Origin.here(), talk or Talk()
        self._modules = (type(function).__module__, getattr(function, "__module__", ""))
        self._forker, self._own = _ready.get(), contextlib.ExitStack()
        self._deaths: Counter[int] = Counter()
        self._num_stillborn = 0
        self._is_stopped = False
        self._seats = {str(place): _Seat(self._worker()) for place in range(number)}

    @property
    def places(self) -> Sequence[str]:
        """The workers that there are."""
        return tuple(self._seats)

    def __enter__(self) -> LocalPost:
        return self

    def __exit__(self, kind: object, *problem: object) -> None:
        with self._own:
            for seat in self._seats.values():
                if kind is None:
                    _dismiss(seat)
                seat.line.close()

    def send(self, portion: Portion) -> None:
        """Let a worker do a portion."""
        seat = self._seats[portion.place or min(self._seats, key=self._num_at)]
        seat.portions.append(portion)
        self._say(seat, self._batch(portion))

    def receive(self) -> tuple[Portion, Outcome | None] | None:
        """Return what came of a portion, None in its place where its workers died.

        Return None alone where nothing came for a while.
        """
        self._pass_on_wish()
        lines: dict[Any, _Seat] = {seat.line: seat for seat in self._seats.values()}
        for line in wait(list(lines), LISTEN_EVERY_S):
            if (came := self._come(lines[line])) is not None:
                return came
        return None

    def _come(self, seat: _Seat) -> tuple[Portion, Outcome | None] | None:
        """Take a worker's next words; return what came of a portion, if they say so."""
        try:
            kind, *words = seat.line.recv()
        except (EOFError, OSError):
            return self._died(seat)
        if kind == DONE:
            portion = seat.portions.popleft()
            self._deaths.pop(_first(portion), None)
            return portion, pickle.loads(words[0])
        if kind == TOLD:
            self._talk.hear(words[0], pickle.loads(words[1]))
        elif kind == UP:
            seat.is_up, self._num_stillborn = True, 0
        return None

    def _died(self, seat: _Seat) -> tuple[Portion, None] | None:
        """Start a worker in the place of one that is gone; return what is given up, if anything."""
        seat.line.close()
        given_up = self._blamed(seat)
        seat.line, seat.is_up = self._worker(), False
        if self._is_stopped:
            self._say(seat, STOP)
        for portion in seat.portions:
            self._say(seat, self._batch(portion))
        return None if given_up is None else (given_up, None)

    def _blamed(self, seat: _Seat) -> Portion | None:
        """Count a death against what a worker was at; take it away where that is too many."""
        if not seat.is_up:
            self._num_stillborn += 1
            if self._num_stillborn > _MOST_STILLBORN * len(self._seats):
                raise WorkersError(_NOT_STARTED)
        if not seat.is_up or not seat.portions:
            return None
        first = _first(seat.portions[0])
        self._deaths[first] += 1
        if self._deaths[first] <= _MOST_DEATHS:
            return None
        del self._deaths[first]
        return seat.portions.popleft()

    def _worker(self) -> Connection:
        if self._forker is None or not self._forker.is_alive:
            self._forker = Forker(self._modules)
            self._own.callback(self._forker.close)
        return self._forker.worker()

    def _batch(self, portion: Portion) -> Batch:
        return Batch(self._function, packed(portion.items), self._origin)

    def _pass_on_wish(self) -> None:
        if not self._is_stopped and self._talk.is_stopped():
            self._is_stopped = True
            for seat in self._seats.values():
                self._say(seat, STOP)

    def _say(self, seat: _Seat, word: Any) -> None:
        with contextlib.suppress(OSError):  # it is gone, which is noticed when it is listened to
            seat.line.send(word)

    def _num_at(self, place: str) -> int:
        return len(self._seats[place].portions)


def _first(portion: Portion) -> int:
    """Return the index of the first item, by which a portion is known again."""
    return portion.items[0][0]


def _dismiss(seat: _Seat) -> None:
    """Let a worker that has nothing to do end by itself."""
    with contextlib.suppress(EOFError, OSError):
        seat.line.send(END)
        while seat.line.poll(_CLOSE_S):
            seat.line.recv()
