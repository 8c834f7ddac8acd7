"""What a function at work can say to its caller, and ask of it, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from flexsim.workers.records import Talk


class Line(Protocol):
    """The way from a function at work to its caller."""

    def tell(self, message: Any) -> None:
        """Send a message, which must be possible to pickle."""
        ...

    def stop_is_asked(self) -> bool:
        """Whether the caller wants the function to come to an end."""
        ...


@dataclass(frozen=True)
class Direct:
    """The line inside one process."""

    index: int
    talk: Talk

    def tell(self, message: Any) -> None:
        """Let the caller hear at once."""
        self.talk.hear(self.index, message)

    def stop_is_asked(self) -> bool:
        """Ask the caller."""
        return self.talk.is_stopped()


_line: ContextVar[Line | None] = ContextVar("line", default=None)


@contextmanager
def on_line(line: Line) -> Iterator[None]:
    """Let :func:`tell` and :func:`stop_is_asked` use ``line`` inside."""
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def tell(message: Any) -> None:
    """Tell the caller something from inside a mapped function; outside of one, tell nobody."""
    line = _line.get()
    if line is not None:
        line.tell(message)


def stop_is_asked() -> bool:
    """Whether a mapped function is asked to come to an end with what it has."""
    line = _line.get()
    return line is not None and line.stop_is_asked()


def is_at_work() -> bool:
    """Whether this runs on a worker, which starts no workers of its own."""
    return not isinstance(_line.get(), Direct | None)
