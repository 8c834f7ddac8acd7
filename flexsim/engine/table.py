"""The engines by name, each imported when it is first asked for, and which one is the default."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from flexsim.errors import FlexSimError, choices_text

if TYPE_CHECKING:
    from flexsim.task_graph.columns import TaskGraph
    from flexsim.timeline.spans import Timeline

    Progress = Callable[[int, int], None]
    Engine = Callable[[TaskGraph, Progress | None], Timeline]

ENGINES: dict[str, str] = {
    "event": "flexsim.engine.event",
    "compiled": "flexsim.engine.compiled",
}
"""Name of an engine to the module whose ``simulate`` it is; all give the same timeline."""

EVENT_LIMIT = 400_000
"""Tasks up to which the event engine is the default: a second or two of replay."""


def load_engine(name: str) -> Engine:
    """Return the ``simulate`` function of an engine; raise :class:`FlexSimError` for no engine."""
    _check(name)
    return cast("Engine", import_module(ENGINES[name]).simulate)


def choose_engine(name: str | None, num_tasks: int) -> str:
    """Return the engine asked for, or where none is, the one that suits ``num_tasks``."""
    if name is None:
        return "event" if num_tasks <= EVENT_LIMIT else "compiled"
    _check(name)
    return name


def _check(name: str) -> None:
    if name not in ENGINES:
        raise FlexSimError(f"there is no engine {name!r}: {choices_text(name, ENGINES)}")
