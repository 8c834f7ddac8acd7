"""The heuristic of the Zero Bubble paper: a baseline for orders with one stage a rank.

Qi et al. 2023 (arXiv 2401.10241, §3.1): as many forwards as memory allows before the first
backward, then forward and backward in turn. A weight gradient runs where it fits into a gap,
where a gap would make its rank the one with the longest bubble, and where memory is short.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.order_problem import OrderProblem

Orders = list[list[Action]]


def greedy_orders(problem: OrderProblem) -> list[Orders]:
    """Return the orders of the heuristic's variants; those that run out of memory are left out."""
    variants = product((True, False), repeat=2)
    found = [_Greedy(problem, waits, always).run() for waits, always in variants]
    return [orders for orders in found if orders is not None]


@dataclass
class _Rank:
    time_ns: int = 0
    held: int = 0
    bubble_ns: int = 0
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys("FIW", 0))
    order: list[Action] = field(default_factory=list)


class _OutOfMemoryError(Exception):
    """A pass does not fit, and no weight gradient is left to make room."""


class _Greedy:
    """Ranks in the making, one stage each; ``waits`` lets warm-up forwards delay the backward,
    ``always`` fills every gap."""

    def __init__(self, problem: OrderProblem, waits: bool, always: bool) -> None:
        self.problem, self.waits, self.always = problem, waits, always
        self.ranks = [_Rank() for _ in range(problem.num_ranks)]
        self.end_ns: dict[Action, int] = {}

    def run(self) -> Orders | None:
        last, num_microbatches = len(self.ranks) - 1, self.problem.num_microbatches
        try:
            self._warm_up()
            for microbatch in range(num_microbatches):
                for rank in range(last + 1) if microbatch else ():
                    if self.ranks[rank].count["F"] < num_microbatches:
                        self._filled(rank, "F")
                for rank in range(last, -1, -1):
                    self._filled(rank, "I")
        except _OutOfMemoryError:
            return None
        for rank, state in enumerate(self.ranks):
            while state.count["W"] < num_microbatches:
                self._put(rank, "W")
        return [state.order for state in self.ranks]

    def _warm_up(self) -> None:
        for rank in range(len(self.ranks)):
            self._put(rank, "F")
        more = self._more_forwards()
        for rank, number in enumerate(more):
            for _ in range(number):
                self._put(rank, "F")

    def _more_forwards(self) -> list[int]:
        """Return how many forwards beside the first each rank runs before its first backward."""
        more = [0] * len(self.ranks)
        first_ns = 0
        for rank in range(len(self.ranks) - 1, -1, -1):
            state, costs = self.ranks[rank], self.problem.stages[rank]
            arrives_ns = first_ns + costs.transfer_ns if first_ns else 0
            time_ns, held = state.time_ns, state.held
            while self._has_room(rank, held) and 1 + more[rank] < self.problem.num_microbatches:
                after_ns = time_ns + costs.forward_ns
                if time_ns >= arrives_ns or (not self.waits and after_ns > arrives_ns):
                    break
                time_ns, held, more[rank] = after_ns, held + costs.kept_bytes, more[rank] + 1
            first_ns = max(time_ns, arrives_ns) + costs.input_gradient_ns
        for rank in range(1, len(more)):
            more[rank] = min(more[rank], max(more[rank - 1] - 1, 0))
        return more

    def _has_room(self, rank: int, held: int) -> bool:
        limit = self.problem.limit_bytes[rank]
        return limit is None or held + self.problem.stages[rank].kept_bytes <= limit

    def _filled(self, rank: int, kind: str) -> None:
        """Append a pass, after the weight gradients that make room or fill the gap before it."""
        state = self.ranks[rank]
        action = Action(rank, kind, state.count[kind])
        while not self._fits(rank, action):
            if not self._has_weights(state):
                raise _OutOfMemoryError
            self._put(rank, "W")
        ready_ns = self._ready_ns(action)
        weight_ns = self.problem.stages[rank].weight_gradient_ns
        while self._has_weights(state) and state.time_ns + weight_ns <= ready_ns:
            self._put(rank, "W")
        gap_ns = ready_ns - state.time_ns
        longest_ns = max(each.bubble_ns for each in self.ranks)
        wanted = self.always or state.bubble_ns + gap_ns > longest_ns
        if gap_ns > 0 and wanted and self._has_weights(state):
            self._put(rank, "W")
        self._put(rank, kind)

    def _fits(self, rank: int, action: Action) -> bool:
        limit = self.problem.limit_bytes[rank]
        more = self.problem.change_bytes(action)
        return limit is None or more <= 0 or self.ranks[rank].held + more <= limit

    def _has_weights(self, state: _Rank) -> bool:
        return state.count["W"] < state.count["I"]

    def _ready_ns(self, action: Action) -> int:
        source = self.problem.source(action)
        if source is None:
            return 0
        source = source._replace(kind="I" if source.kind == "B" else source.kind)
        return self.end_ns[source] + self.problem.delay_ns(source.stage, action.stage)

    def _put(self, rank: int, kind: str) -> None:
        state = self.ranks[rank]
        action = Action(rank, kind, state.count[kind])
        start_ns = max(state.time_ns, self._ready_ns(action))
        if state.order:
            state.bubble_ns += start_ns - state.time_ns
        state.time_ns = self.end_ns[action] = start_ns + self.problem.duration_ns(action)
        state.held += self.problem.change_bytes(action)
        state.count[kind] += 1
        state.order.append(action)
