"""Chains on other processes and machines: what they report and keep comes back as messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flexsim.errors import WorkersError
from flexsim.search.chains import Found, Standing, Task, Watch, run_chain
from flexsim.search.checkpoint import Checkpoints
from flexsim.search.walk import Stop
from flexsim.workers import Talk, WorkerDied, Workers, map_unordered, stop_is_asked, tell

_TELL_EVERY_S = 0.25


def run_distant_chains(
    tasks: Sequence[Task], workers: Workers, stop: Stop, watch: Watch | None
) -> list[Found]:
    """Run all chains on workers and return what they found, in order.

    A chain whose worker dies is walked again from where it began, with the same random numbers.
    Only this process writes checkpoints, so workers need not share its disk.
    """
    desk = _Desk(tasks, watch)
    sent = [replace(task, checkpoints=_carried(task)) for task in tasks]
    found: dict[int, Found] = {}
    for index, result in map_unordered(_walk, sent, workers, Talk(desk.hear, stop.is_asked)):
        if isinstance(result, WorkerDied):
            raise WorkersError(f"chain {tasks[index].chain} of the search: {result.reason}")
        found[index] = result
    return [found[index] for index in range(len(tasks))]


@dataclass(frozen=True)
class _Kept:
    """A checkpoint on its way to the process that writes it."""

    chain: int
    text: str


@dataclass(frozen=True)
class _Carried(Checkpoints):
    """Checkpoints away from their directory: one to begin from, the others are sent home."""

    begin: str | None

    def keep(self, chain: int, text: str) -> None:
        """Send the state of a chain home."""
        tell(_Kept(chain, text))

    def stored(self, chain: int) -> str | None:
        """Return the state that was brought along."""
        return self.begin


def _carried(task: Task) -> Checkpoints | None:
    home = task.checkpoints
    if home is None:
        return None
    begin = home.stored(task.chain) if task.resume else None
    return _Carried(home.directory, home.identity, begin)


class _Desk:
    """Where messages of chains arrive: standings are shown, checkpoints written."""

    def __init__(self, tasks: Sequence[Task], watch: Watch | None) -> None:
        self._tasks, self._watch = tasks, watch

    def hear(self, index: int, message: Any) -> None:
        """Take one message."""
        if isinstance(message, Standing) and self._watch is not None:
            self._watch(message)
        home = self._tasks[index].checkpoints
        if isinstance(message, _Kept) and home is not None:
            home.keep(message.chain, message.text)


class _Reporter:
    """Tells where a chain is, a few times a second."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, standing: Standing) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            tell(standing)


def _walk(task: Task) -> Found:
    return run_chain(task, Stop(stop_is_asked), _Reporter())
