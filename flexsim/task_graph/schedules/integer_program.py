"""Small orders to the optimum: an integer program that SciPy's HiGHS solves.

Variables are the start of every pass, the makespan, and for every two passes of a rank which
comes first. Passes of one kind and stage keep the order of their microbatches, which are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from flexsim.task_graph.schedules.list_scheduling import Orders
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.order_problem import OrderProblem, Outcome, outcome

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

_MOST_NODES = 300
"""Of the search tree: a limit that does not depend on the machine, as one of time would."""


def improved(
    problem: OrderProblem, orders: Orders, known: Outcome, most_nodes: int = _MOST_NODES
) -> tuple[Orders, Outcome] | None:
    """Return an order that ends before ``known``; None where there is none or none was found."""
    if known.makespan_ns <= _lower_bound_ns(problem):
        return None
    program = _Program(problem, [sorted(order) for order in orders], known.makespan_ns)
    starts = program.solve(most_nodes)
    if starts is None:
        return None
    better = [sorted(order, key=lambda action: starts[action]) for order in program.ranks]
    found = outcome(problem, better)
    if found is None or found.makespan_ns >= known.makespan_ns or not found.fits(problem):
        return None
    return better, found


def _lower_bound_ns(problem: OrderProblem) -> int:
    """Return what no order ends before: a rank's work and what must come before and after it."""
    bounds = []
    for stages in problem.stages_of_rank:
        work = sum(
            (costs.forward_ns + costs.shortest_backward_ns) * len(problem.microbatches_of(stage))
            for stage, costs in ((stage, problem.stages[stage]) for stage in stages)
        )
        bounds.append(work + min((_arrival_ns(problem, stage) for stage in stages), default=0))
    return max(bounds)


def _arrival_ns(problem: OrderProblem, stage: int) -> int:
    """Return when the first microbatch can reach a stage."""
    first = stage - stage % problem.stages_a_lane
    return sum(
        problem.stages[each].forward_ns + problem.delay_ns(each, each + 1)
        for each in range(first, stage)
    )


@dataclass
class _Rows:
    """Constraints ``sum(value · variable) >= bound`` in the making."""

    row: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    bound: list[float] = field(default_factory=list)

    def add(self, terms: dict[int, float], bound: float) -> None:
        for column, value in terms.items():
            self.row.append(len(self.bound))
            self.column.append(column)
            self.value.append(value)
        self.bound.append(bound)


class _Program:
    """The program of a problem whose ranks run ``ranks``' passes within ``most_ns``."""

    def __init__(self, problem: OrderProblem, ranks: Orders, most_ns: int) -> None:
        self.problem, self.ranks, self.most_ns = problem, _split(problem, ranks), most_ns
        actions = [action for order in self.ranks for action in order]
        self.start = {action: number for number, action in enumerate(actions)}
        self.makespan = len(actions)
        self.before: dict[tuple[Action, Action], int] = {}
        self.rows = _Rows()

    def solve(self, most_nodes: int) -> dict[Action, int] | None:
        """Return the start of every pass in an order that ends before the time; None for none."""
        from scipy.optimize import Bounds, milp

        self._write()
        size = self.makespan + 1 + len(self.before)
        upper = np.ones(size)
        upper[: self.makespan + 1] = self.most_ns - 1
        whole = np.zeros(size)
        whole[self.makespan + 1 :] = 1
        target = np.zeros(size)
        target[self.makespan] = 1
        options = {"node_limit": most_nodes, "presolve": True}
        limits = Bounds(np.zeros(size), upper)
        found = milp(
            target,
            integrality=whole,
            bounds=limits,
            constraints=self._matrix(size),
            options=options,
        )
        if found.x is None:
            return None
        return {action: round(found.x[number]) for action, number in self.start.items()}

    def _matrix(self, size: int) -> LinearConstraint:
        from scipy.optimize import LinearConstraint
        from scipy.sparse import csr_matrix

        rows = self.rows
        shape = (len(rows.bound), size)
        matrix = csr_matrix((rows.value, (rows.row, rows.column)), shape=shape)
        return LinearConstraint(matrix, np.array(rows.bound), np.inf)

    def _write(self) -> None:
        for action, number in self.start.items():
            self.rows.add({self.makespan: 1, number: -1}, self.problem.duration_ns(action))
            for source, delay_ns in self._sources(action):
                self._after(action, source, delay_ns)
        for rank, order in enumerate(self.ranks):
            for first, second in combinations(order, 2):
                self._write_pair(first, second)
            self._write_memory(rank, order)

    def _sources(self, action: Action) -> Iterator[tuple[Action, int]]:
        source = self.problem.source(action)
        if source is not None:
            kind = "I" if source.kind == "B" and self.problem.splits else source.kind
            delay_ns = self.problem.delay_ns(source.stage, action.stage)
            yield source._replace(kind=kind), delay_ns

    def _after(self, action: Action, source: Action, delay_ns: int) -> None:
        bound = self.problem.duration_ns(source) + delay_ns
        self.rows.add({self.start[action]: 1, self.start[source]: -1}, bound)

    def _write_pair(self, first: Action, second: Action) -> None:
        """Let one of two passes of a rank end before the other starts."""
        if self._comes_first(first, second):
            self._after(second, first, 0)
        elif self._comes_first(second, first):
            self._after(first, second, 0)
        else:
            choice = self.makespan + 1 + len(self.before)
            self.before[first, second] = choice
            one, other = self.start[first], self.start[second]
            first_ns = self.problem.duration_ns(first)
            second_ns = self.problem.duration_ns(second)
            wide = self.most_ns
            self.rows.add({other: 1, one: -1, choice: -wide}, first_ns - wide)
            self.rows.add({one: 1, other: -1, choice: wide}, second_ns)

    def _comes_first(self, first: Action, second: Action) -> bool:
        """Whether ``first`` precedes ``second`` in any order that is looked for."""
        if first.kind == second.kind and first.stage == second.stage:
            return first.microbatch < second.microbatch
        return first.microbatch <= second.microbatch and self._leads_to(first, second)

    def _leads_to(self, first: Action, second: Action) -> bool:
        """Whether a microbatch's pass ``first`` comes before its pass ``second``."""
        depth = {"F": 0, "I": 1, "B": 1, "W": 1}
        if first.kind == "W" or (first.stage // self.problem.stages_a_lane) != (
            second.stage // self.problem.stages_a_lane
        ):
            return False
        if depth[first.kind] != depth[second.kind]:
            return depth[first.kind] < depth[second.kind]
        if second.kind == "W":
            return first.stage >= second.stage
        forward = first.kind == "F"
        return first.stage < second.stage if forward else first.stage > second.stage

    def _write_memory(self, rank: int, order: list[Action]) -> None:
        """Keep what is held when a pass allocates within the limit."""
        limit = self.problem.limit_bytes[rank]
        if limit is None:
            return
        for action in order:
            if self.problem.change_bytes(action) > 0:
                self._write_peak(action, order, limit)

    def _write_peak(self, action: Action, order: list[Action], limit: int) -> None:
        terms: dict[int, float] = {}
        held = self.problem.change_bytes(action)
        for other in order:
            change = self.problem.change_bytes(other)
            if other == action:
                continue
            if self._comes_first(other, action):
                held += change
            elif (other, action) in self.before:
                terms[self.before[other, action]] = -change
            elif (action, other) in self.before:
                held += change
                terms[self.before[action, other]] = change
        self.rows.add(terms, held - limit)


def _split(problem: OrderProblem, ranks: Orders) -> Orders:
    """Return orders with whole backwards in their halves, where problems have these."""
    if not problem.splits:
        return ranks
    halves = {"B": ("I", "W")}
    return [
        [
            action._replace(kind=kind)
            for action in order
            for kind in halves.get(action.kind, action.kind)
        ]
        for order in ranks
    ]
