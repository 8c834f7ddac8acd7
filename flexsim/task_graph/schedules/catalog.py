"""The schedules by name: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flexsim.errors import ScheduleError, choices_text
from flexsim.task_graph.schedules.orders import gpipe, interleaved_1f1b, one_f_one_b
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


@dataclass(frozen=True)
class ScheduleEntry:
    """A schedule function and what people should know of it."""

    function: Callable[[PipelineShape], Schedule]
    description: str
    supports_chunks: bool = False
    """Whether a rank may hold more than one stage."""
    placement: str = "loop"
    """Which rank holds which stage; see :func:`flexsim.strategy.baselines.ranks_of_stages`."""
    num_lanes: int = 1
    """Copies of the model, every second one with its stages on the ranks in reverse."""
    is_plain: bool = False
    """Whether backwards are whole, ranks hold stages in turn, and nothing runs side by side."""


SCHEDULES: dict[str, ScheduleEntry] = {
    "gpipe": ScheduleEntry(
        gpipe,
        "all forwards, then all backwards (Huang et al. 2019, arXiv 1811.06965)",
        is_plain=True,
    ),
    "1f1b": ScheduleEntry(
        one_f_one_b,
        "one forward, one backward, with a flush (Narayanan et al. 2021, arXiv 2006.09503)",
        is_plain=True,
    ),
    "interleaved-1f1b": ScheduleEntry(
        interleaved_1f1b,
        "1F1B over several chunks a rank (Narayanan et al. 2021, arXiv 2104.04473)",
        supports_chunks=True,
        is_plain=True,
    ),
}

GROWN_SCHEDULES = frozenset(name for name, entry in SCHEDULES.items() if entry.is_plain)
"""Schedules under which a long pipeline is built from a short one."""


def build_schedule(name: str, shape: PipelineShape) -> Schedule:
    """Return the schedule called ``name``; raise :class:`ScheduleError` where it cannot be."""
    entry = SCHEDULES.get(name)
    if entry is None:
        raise ScheduleError(f"there is no schedule {name!r}: {choices_text(name, SCHEDULES)}")
    if shape.num_chunks > 1 and not entry.supports_chunks:
        others = [other for other, each in SCHEDULES.items() if each.supports_chunks]
        raise ScheduleError(
            f"schedule {name!r} has one stage a rank, so chunks = {shape.num_chunks} does not "
            f"fit it; choose chunks = 1 or the schedule {' or '.join(others)}"
        )
    return entry.function(shape)
