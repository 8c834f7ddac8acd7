"""The line between a worker and the process that sent it work, through the scheduler."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, field
from typing import Any

from flexsim.workers.records import Talk

LISTEN_EVERY_S = 0.25


@dataclass
class Distant:
    """The worker's end; without a channel nobody listens."""

    index: int
    channel: str
    _asked: float = field(default_factory=time.monotonic)
    _is_stopped: bool = False

    def tell(self, message: Any) -> None:
        """Send a message; it is with the scheduler when this returns."""
        if self.channel:
            from distributed import Queue, get_client

            queue: Any = Queue
            queue(self.channel, client=get_client()).put(pickle.dumps((self.index, message)))

    def stop_is_asked(self) -> bool:
        """Return what the caller last said; ask now and then."""
        now = time.monotonic()
        if self.channel and not self._is_stopped and now - self._asked >= LISTEN_EVERY_S:
            from distributed import Event, get_client

            event: Any = Event
            self._asked = now
            self._is_stopped = bool(event(self.channel, client=get_client()).is_set())
        return self._is_stopped


class Switchboard:
    """The caller's end: hears what was told, and passes a wish to stop on."""

    def __init__(self, client: Any, talk: Talk, channel: str) -> None:
        from distributed import Event, Queue

        self._talk = talk
        queue: Any = Queue
        event: Any = Event
        self._queue = queue(channel, client=client)
        self._event = event(channel, client=client)
        self._is_stopped = False

    def listen(self) -> None:
        """Hear all that has been told by now."""
        if self._talk.is_stopped() and not self._is_stopped:
            self._is_stopped = True
            self._event.set()
        for content in self._queue.get(batch=True):
            self._talk.hear(*pickle.loads(content))

    def close(self) -> None:
        """Leave nothing with the scheduler."""
        self._event.clear()
        self._queue.close()
