"""The schedules by name: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flexsim.errors import ScheduleError, choices_text
from flexsim.task_graph.schedules.asynchronous import pipedream, pipedream_2bw
from flexsim.task_graph.schedules.bidirectional import chimera
from flexsim.task_graph.schedules.building_blocks import v_half, v_min
from flexsim.task_graph.schedules.orders import (
    flexible_1f1b,
    forward_only,
    gpipe,
    interleaved_1f1b,
    interleaved_zero_bubble,
    looped_bfs,
    one_f_one_b,
    zb_h1,
    zb_h2,
)
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule
from flexsim.task_graph.schedules.slices import terapipe
from flexsim.task_graph.schedules.two_way import dualpipe, dualpipe_v
from flexsim.task_graph.schedules.v_shaped import zb_v

_HINTS = {"warm_up": 0, "num_slices": 1, "num_iterations": 1}
"""The hints of a shape, with what stands for not given."""


@dataclass(frozen=True)
class ScheduleEntry:
    """A schedule function and what people should know of it."""

    function: Callable[[PipelineShape], Schedule]
    description: str
    supports_chunks: bool = False
    """Whether a rank may hold more than one stage."""
    num_chunks: int | None = None
    """How many stages a rank holds, where that is not free."""
    placement: str = "loop"
    """Which rank holds which stage; see :func:`flexsim.strategy.baselines.ranks_of_stages`."""
    num_lanes: int = 1
    """Copies of the model, every second one with its stages on the ranks in reverse."""
    is_plain: bool = False
    """Whether backwards are whole, ranks hold stages in turn, and nothing runs side by side."""
    hints: tuple[str, ...] = ()
    """The hints of a :class:`PipelineShape` that it heeds."""

    @property
    def flushes(self) -> bool:
        """Whether all microbatches end before weights are updated."""
        return "num_iterations" not in self.hints

    @property
    def slices_sequences(self) -> bool:
        """Whether microbatches pass in slices of their sequences."""
        return "num_slices" in self.hints

    @property
    def is_like_others(self) -> bool:
        """Whether it orders whole microbatches of one iteration, as most schedules do."""
        return self.flushes and not self.slices_sequences


def _chunked(
    function: Callable[[PipelineShape], Schedule], description: str, is_plain: bool = False
) -> ScheduleEntry:
    return ScheduleEntry(function, description, supports_chunks=True, is_plain=is_plain)


def _v_shaped(function: Callable[[PipelineShape], Schedule], description: str) -> ScheduleEntry:
    return ScheduleEntry(function, description, supports_chunks=True, num_chunks=2, placement="v")


def _of_equal_stages(shape: PipelineShape) -> Schedule:
    from flexsim.task_graph.schedules.automatic import of_equal_stages
    from flexsim.task_graph.schedules.order_problem import StageCosts

    return of_equal_stages(shape, StageCosts(1, 1, 1)).schedule


AUTO = "auto"
"""The schedule that is made from what stages take; by its name alone, for F = I = W."""

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
    "interleaved-1f1b": _chunked(
        interleaved_1f1b,
        "1F1B over several chunks a rank (Narayanan et al. 2021, arXiv 2104.04473)",
        is_plain=True,
    ),
    "1f1b-flexible": ScheduleEntry(
        flexible_1f1b,
        "1F1B with any number of further warm-up forwards (Llama 3, arXiv 2407.21783)",
        supports_chunks=True,
        hints=("warm_up",),
    ),
    "looped-bfs": _chunked(
        looped_bfs,
        "all microbatches through a chunk before the next (Lamy-Poirier 2022, arXiv 2211.05953)",
    ),
    "interleaved-zero-bubble": _chunked(
        interleaved_zero_bubble,
        "ZB-H1 over several chunks a rank (Qi et al. 2023, arXiv 2401.10241; PyTorch)",
    ),
    "zb-h1": ScheduleEntry(
        zb_h1,
        "split backward in the memory of 1F1B (Qi et al. 2023, arXiv 2401.10241)",
    ),
    "zb-h2": ScheduleEntry(
        zb_h2,
        "split backward without a bubble, in twice the memory (ZB-2p; Qi et al. 2023, arXiv "
        "2401.10241)",
    ),
    "zb-v": _v_shaped(
        zb_v,
        "split backward, stages there and back, memory of 1F1B (Qi et al. 2023, arXiv 2401.10241)",
    ),
    "v-half": _v_shaped(
        v_half,
        "stages there and back in half the memory of 1F1B (Qi et al. 2024, arXiv 2405.15362)",
    ),
    "v-min": _v_shaped(
        v_min,
        "stages there and back in a third of the memory of 1F1B (Qi et al. 2024, arXiv 2405.15362)",
    ),
    "dualpipe": ScheduleEntry(
        dualpipe,
        "two copies in opposite directions, forward beside backward (DeepSeek-V3, arXiv "
        "2412.19437)",
        num_lanes=2,
    ),
    "dualpipe-v": _v_shaped(
        dualpipe_v,
        "half of DualPipe: stages there and back, forward beside backward (DeepSeek-V3, arXiv "
        "2412.19437)",
    ),
    "chimera": ScheduleEntry(
        chimera,
        "two copies in opposite directions, each in 1F1B (Li & Hoefler 2021, arXiv 2107.06925)",
        num_lanes=2,
    ),
    "pipedream": ScheduleEntry(
        pipedream,
        "1F1B without a flush, weights stashed (Narayanan et al. 2019, arXiv 1806.03377)",
        hints=("num_iterations",),
    ),
    "pipedream-2bw": ScheduleEntry(
        pipedream_2bw,
        "1F1B without a flush, two versions of weights (Narayanan et al. 2021, arXiv 2006.09503)",
        hints=("num_iterations",),
    ),
    "terapipe": ScheduleEntry(
        terapipe,
        "slices of a sequence, one behind the other (Li et al. 2021, arXiv 2102.07988)",
        hints=("num_slices",),
    ),
    "forward": _chunked(
        forward_only,
        "inference: forwards only (as in GPipe's forward phase, arXiv 1811.06965)",
    ),
    AUTO: _chunked(
        _of_equal_stages,
        "what ends first and fits into memory, of orders made from the stages' times (after Qi et "
        "al. 2023, arXiv 2401.10241)",
    ),
}

GROWN_SCHEDULES = frozenset(name for name, entry in SCHEDULES.items() if entry.is_plain)
"""Schedules under which a long pipeline is built from a short one."""


def build_schedule(name: str, shape: PipelineShape) -> Schedule:
    """Return the schedule called ``name``; raise :class:`ScheduleError` where it cannot be."""
    entry = SCHEDULES.get(name)
    if entry is None:
        raise ScheduleError(f"there is no schedule {name!r}: {choices_text(name, SCHEDULES)}")
    _check_chunks(name, entry, shape)
    _check_hints(name, entry, shape)
    return entry.function(shape)


def _check_chunks(name: str, entry: ScheduleEntry, shape: PipelineShape) -> None:
    if shape.num_chunks > 1 and not entry.supports_chunks:
        others = [other for other, each in SCHEDULES.items() if each.supports_chunks]
        raise ScheduleError(
            f"schedule {name!r} has one stage a rank, so chunks = {shape.num_chunks} does not "
            f"fit it; choose chunks = 1 or the schedule {' or '.join(others)}"
        )
    if entry.num_chunks not in (None, shape.num_chunks):
        raise ScheduleError(
            f"schedule {name!r} has {entry.num_chunks} stages a rank, so chunks = "
            f"{shape.num_chunks} does not fit it; choose chunks = {entry.num_chunks}"
        )


def _check_hints(name: str, entry: ScheduleEntry, shape: PipelineShape) -> None:
    for hint, unset in _HINTS.items():
        if getattr(shape, hint) != unset and hint not in entry.hints:
            others = [other for other, each in SCHEDULES.items() if hint in each.hints]
            raise ScheduleError(
                f"schedule {name!r} has no use for {hint.removeprefix('num_')} = "
                f"{getattr(shape, hint)}; leave it out or choose {' or '.join(others)}"
            )
