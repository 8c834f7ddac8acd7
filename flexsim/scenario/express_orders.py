"""Orders of passes for the express way: the schedule's own, or a shorter one that stands for it."""

from __future__ import annotations

from collections.abc import Callable

from flexsim.engine.contraction_jump import jump_of
from flexsim.engine.contraction_uniform import Order, order_of
from flexsim.kept import Kept
from flexsim.scenario.express_task import Task
from flexsim.scenario.uniform import schedule_of
from flexsim.strategy import Degrees
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.short import RESOURCES_A_RANK

PATIENCE = (1, 8)
"""Windows that runs may take to become steady, in one attempt after the other."""


class Orders:
    """Orders, kept by schedule and shape."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._kept = Kept(1_000)

    @property
    def num_attempts(self) -> int:
        """How many orders there are to try: shorter ones, later runs only, the schedule's."""
        return 2 + len(PATIENCE)

    def order(self, task: Task, num_microbatches: int, attempt: int) -> tuple[Order, int]:
        """Return the order of a task's passes, and how many windows it leaves out of each run.

        Iterations that differ in windows left out have one order in common.
        """
        return self._kept.once(
            (task.turns, num_microbatches, attempt),
            lambda: self._made_order(task, num_microbatches, attempt),
        )

    def _made_order(self, task: Task, num_microbatches: int, attempt: int) -> tuple[Order, int]:
        schedule = schedule_of(task.with_microbatches(num_microbatches))
        for patience in PATIENCE[attempt:]:
            order = self._standing_for(schedule, task, patience)
            if order is not None:
                return order, order.num_windows(num_microbatches)
        for patience in PATIENCE[: attempt <= len(PATIENCE)]:
            order = self._standing_for(schedule, task, patience)
            later = None if order is None else order.of_later_runs(schedule)
            if later is not None:
                return later, later.num_windows(num_microbatches)
        return order_of(schedule, None, RESOURCES_A_RANK), 0

    def _standing_for(self, schedule: Schedule, task: Task, patience: int) -> Order | None:
        """Return a short order in place of a schedule, where there is one."""
        for step in dict.fromkeys((1, task.degrees.pipeline)):
            numbers = step, schedule.num_microbatches % step, patience
            order = self._short_order(task, numbers)
            if order is not None and order.stands_for(schedule):
                return order
        return None

    def _short_order(self, task: Task, numbers: tuple[int, int, int]) -> Order | None:
        return self._kept.once(
            (task.turns, "short", numbers),
            lambda: _ordered(task.with_microbatches, task.degrees.pipeline, numbers),
        )


def _ordered(
    degrees_of: Callable[[int], Degrees], num_ranks: int, numbers: tuple[int, int, int]
) -> Order | None:
    """Return the actions of a short pipeline that stands for longer ones, if there is one."""
    jump = jump_of(lambda count: schedule_of(degrees_of(count)), num_ranks, numbers)
    return None if jump is None else order_of(jump.schedule, jump, RESOURCES_A_RANK)
