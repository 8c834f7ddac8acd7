"""Where work is done, what is heard of it, and what comes of an item that kills its workers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flexsim.errors import WorkersError

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[^\s:/]+):(\d{1,5})")
_NUM_PORTS = 65_536


@dataclass(frozen=True)
class Workers:
    """Where work is done: by workers of a running scheduler, or by processes of this machine.

    ``scheduler`` is the address of a dask scheduler, ``tcp://host:port``. Without one,
    ``num_local`` processes are started: 0 is one a core, 1 is this process itself. A cluster
    without any worker is waited for ``patience_s``. Raise :class:`WorkersError` where a value
    is wrong.
    """

    scheduler: str = ""
    num_local: int = 0
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if self.num_local < 0:
            raise WorkersError(f"{self.num_local} workers: choose 0 (one a core), 1, 2 …")
        if self.scheduler and self.num_local:
            raise WorkersError(
                f"workers = {self.num_local} and scheduler = {self.scheduler!r}: give one of the"
                " two, since a scheduler brings its own workers"
            )
        if self.scheduler:
            _ = self.endpoint

    @property
    def endpoint(self) -> tuple[str, str, int]:
        """The scheme, host and port of the scheduler."""
        found = _ADDRESS.fullmatch(self.scheduler)
        if found is None or not 0 < int(found[3]) < _NUM_PORTS:
            raise WorkersError(
                f"scheduler = {self.scheduler!r} is no address; give tcp://host:port, as"
                " tcp://127.0.0.1:8786"
            )
        return found[1], found[2].strip("[]"), int(found[3])

    @property
    def num_processes(self) -> int:
        """How many processes of this machine work where there is no scheduler."""
        return self.num_local or num_cores()


@dataclass(frozen=True)
class WorkerDied:
    """The result of an item whose workers died again and again, also when nothing else ran.

    It comes in the place of the function's own result; ``reason`` is one sentence.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class Talk:
    """What the caller hears from functions at work, and whether they should come to an end.

    ``hear`` gets the index of an item and what its function told with
    :func:`flexsim.workers.tell`; ``is_stopped`` is what
    :func:`flexsim.workers.stop_is_asked` answers there, some tenths of a second later.
    """

    hear: Callable[[int, Any], None] = lambda index, message: None
    is_stopped: Callable[[], bool] = lambda: False


def num_cores() -> int:
    """Return how many cores this process may use, as the system and a container allow."""
    from dask.system import cpu_count

    return max(1, min(len(os.sched_getaffinity(0)), int(cpu_count())))
