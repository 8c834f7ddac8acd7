"""List scheduling: whenever a rank is free it starts the ready pass that comes first by a rule."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise, product

from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.order_problem import OrderProblem

Orders = list[list[Action]]
_ARRIVAL, _DECISION = 0, 1


@dataclass(frozen=True)
class Rule:
    """What comes first where several passes are ready."""

    most_in_flight: tuple[int, ...]
    """By rank: how many forwards may wait for their backward."""
    backward_first: bool = True
    """Whether a backward goes before a forward; else they take turns."""
    deep_first: bool = True
    """Whether later stages go before earlier ones; else earlier microbatches first."""
    fills: str = "fit"
    """When W runs: as soon as nothing else can (``eager``), only if it ends before what is known
    to come (``fit``), or only for memory and at the end (``late``)."""
    group: int = 0
    """Microbatches that come before all later ones, run by run; 0 is no such runs."""


def rules(problem: OrderProblem) -> list[Rule]:
    """Return the rules that are worth a try."""
    p, stages = problem.num_ranks, max(map(len, problem.stages_of_rank))
    ranks, everything = range(p), problem.num_microbatches * stages
    caps = [
        tuple(everything for _ in ranks),
        tuple(stages * (p - rank) for rank in ranks),
        tuple(stages * (2 * (p - rank) - 1) for rank in ranks),
        tuple((stages - 1) * p + 2 * (p - rank) - 1 for rank in ranks),
        tuple(stages * p for _ in ranks),
    ]
    deep = (True, False) if stages > 1 else (True,)
    fills = ("eager", "fit", "late") if problem.splits else ("eager",)
    caps = list(dict.fromkeys(caps))
    return [Rule(*each) for each in product(caps, (True, False), deep, fills)]


def listed(problem: OrderProblem, rule: Rule) -> Orders | None:
    """Return the orders that a rule makes; None where it gets stuck for want of memory."""
    return _Listing(problem, rule).run()


@dataclass
class _Rank:
    """What a rank knows while it is being ordered."""

    free_ns: int = 0
    held: int = 0
    promised: int = 0
    """Bytes for the stages that microbatches on their way have yet to pass."""
    in_flight: int = 0
    left: int = 0
    """Passes that are not weight gradients, yet to run."""
    last: str = "B"
    ready: list[Action] = field(default_factory=list)
    coming_ns: list[int] = field(default_factory=list)
    """When results that are on their way arrive, as a heap."""
    waiting: deque[Action] = field(default_factory=deque)
    """Weight gradients."""
    order: list[Action] = field(default_factory=list)


class _Listing:
    """A replay that decides as it goes, in order of (time, arrivals first, rank)."""

    def __init__(self, problem: OrderProblem, rule: Rule) -> None:
        self.problem, self.rule = problem, rule
        self.ranks = [_Rank() for _ in range(problem.num_ranks)]
        self.backward = "I" if problem.splits else "B"
        self.events: list[tuple[int, int, int, Action | None]] = []
        lane = problem.stages_a_lane
        self.first_of: dict[int, int] = {}
        """The first stage of a lane on its rank, and what a microbatch holds on all of them."""
        for state, stages in zip(self.ranks, problem.stages_of_rank, strict=True):
            state.left = 2 * sum(len(problem.microbatches_of(stage)) for stage in stages)
            for stage in reversed(stages):
                later = [s for s in stages if s >= stage and s // lane == stage // lane]
                self.first_of[stage] = sum(problem.stages[s].kept_bytes for s in later)
        for stages in problem.stages_of_rank:
            for before, stage in pairwise(stages):
                if before // lane == stage // lane:
                    del self.first_of[stage]

    def run(self) -> Orders | None:
        problem = self.problem
        for lane in range(problem.num_lanes):
            stage = lane * problem.stages_a_lane
            for microbatch in problem.microbatches_of(stage):
                self._arrive(0, Action(stage, "F", microbatch))
        while self.events:
            time_ns, kind, rank, action = heapq.heappop(self.events)
            if kind == _ARRIVAL and action is not None:
                heapq.heappop(self.ranks[rank].coming_ns)
                self.ranks[rank].ready.append(action)
                self._wake(max(time_ns, self.ranks[rank].free_ns), rank)
            elif self.ranks[rank].free_ns <= time_ns:
                self._decide(time_ns, rank)
        num_done = sum(len(state.order) for state in self.ranks)
        passes = (2 + problem.splits) * problem.stages_a_lane * problem.num_microbatches
        return [state.order for state in self.ranks] if num_done == passes else None

    def _arrive(self, time_ns: int, action: Action) -> None:
        rank = self.problem.rank_of_stage[action.stage]
        heapq.heappush(self.events, (time_ns, _ARRIVAL, rank, action))
        heapq.heappush(self.ranks[rank].coming_ns, time_ns)

    def _wake(self, time_ns: int, rank: int) -> None:
        heapq.heappush(self.events, (time_ns, _DECISION, rank, None))

    def _decide(self, time_ns: int, rank: int) -> None:
        state = self.ranks[rank]
        able = [action for action in state.ready if self._may(state, action)]
        if able:
            action = min(able, key=lambda each: self._urgency(state, each))
            state.ready.remove(action)
            self._start(time_ns, rank, action)
        elif state.waiting and self._fills(time_ns, state):
            self._start(time_ns, rank, state.waiting.popleft())

    def _may(self, state: _Rank, action: Action) -> bool:
        """Whether a pass fits into memory and into what may be in flight."""
        rank = self.problem.rank_of_stage[action.stage]
        limit = self.problem.limit_bytes[rank]
        if action.kind != "F":
            more = max(self.problem.change_bytes(action), 0)
            return limit is None or state.held + state.promised + more <= limit
        if action.stage not in self.first_of:
            return True
        if state.in_flight >= self.rule.most_in_flight[rank]:
            return False
        share = self.first_of[action.stage]
        return limit is None or state.held + state.promised + share <= limit

    def _urgency(self, state: _Rank, action: Action) -> tuple[int, ...]:
        backward = action.kind != "F"
        if self.rule.backward_first:
            turn = int(not backward)
        else:
            turn = int(backward == (state.last != "F"))
        group = action.microbatch // self.rule.group if self.rule.group else 0
        depth = -action.stage if action.kind == "F" else action.stage
        place = (depth, action.microbatch) if self.rule.deep_first else (action.microbatch, depth)
        return group, turn, *place

    def _fills(self, time_ns: int, state: _Rank) -> bool:
        """Whether a weight gradient should run now that nothing else can."""
        if state.ready or self.rule.fills == "eager":
            return True
        if not state.coming_ns:
            return not state.left or self.rule.fills == "fit"
        if self.rule.fills == "late":
            return False
        duration_ns = self.problem.duration_ns(state.waiting[0])
        return time_ns + duration_ns <= state.coming_ns[0]

    def _start(self, time_ns: int, rank: int, action: Action) -> None:
        state, problem = self.ranks[rank], self.problem
        end_ns = time_ns + problem.duration_ns(action)
        state.free_ns, state.last = end_ns, "F" if action.kind == "F" else "B"
        state.order.append(action)
        self._account(state, action)
        self._hand_on(end_ns, action)
        self._wake(end_ns, rank)

    def _account(self, state: _Rank, action: Action) -> None:
        state.held += self.problem.change_bytes(action)
        state.left -= action.kind != "W"
        if action.kind == "F":
            state.in_flight += 1
            kept = self.problem.stages[action.stage].kept_bytes
            state.promised += self.first_of.get(action.stage, 0) - kept
        elif action.kind == self.backward:
            state.in_flight -= 1
            if self.problem.stages[action.stage].weight_gradient_ns:
                state.waiting.append(action._replace(kind="W"))

    def _hand_on(self, end_ns: int, action: Action) -> None:
        """Announce what waits for an action on this or another rank."""
        stage, kind, microbatch = action
        size = self.problem.stages_a_lane
        if kind == "F" and (stage + 1) % size:
            following = Action(stage + 1, "F", microbatch)
        elif kind == "F":
            following = Action(stage, self.backward, microbatch)
        elif kind == self.backward and stage % size:
            following = Action(stage - 1, self.backward, microbatch)
        else:
            return
        self._arrive(end_ns + self.problem.delay_ns(stage, following.stage), following)
