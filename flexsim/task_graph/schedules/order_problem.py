"""What is to be ordered: how long the passes of every stage last, and what ranks may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.schedule import Schedule


@dataclass(frozen=True)
class StageCosts:
    """One stage: durations of its passes, and bytes that one microbatch holds there."""

    forward_ns: int
    input_gradient_ns: int
    weight_gradient_ns: int
    """0 where backwards run whole: then ``input_gradient_ns`` is all of it."""
    transfer_ns: int = 0
    """From this stage to the next, and of the gradient back."""
    kept_bytes: int = 1
    """What a forward allocates."""
    late_bytes: int | None = None
    """What is left of it, or made, after I and freed by W; all that is kept unless given."""
    backward_ns: int | None = None
    """Of a whole backward; as long as its halves unless given."""

    @property
    def whole_ns(self) -> int:
        """How long a whole backward lasts."""
        halves_ns = self.input_gradient_ns + self.weight_gradient_ns
        return halves_ns if self.backward_ns is None else self.backward_ns

    @property
    def shortest_backward_ns(self) -> int:
        """How long a backward lasts, whole or in halves."""
        return min(self.whole_ns, self.input_gradient_ns + self.weight_gradient_ns)

    @property
    def after_input_bytes(self) -> int:
        """What is held between I and W; nothing where the backward is whole."""
        if not self.weight_gradient_ns:
            return 0
        return self.kept_bytes if self.late_bytes is None else self.late_bytes


@dataclass(frozen=True)
class OrderProblem:
    """Stages on ranks, microbatches through them, and what each rank may hold in activations."""

    stages: tuple[StageCosts, ...]
    rank_of_stage: tuple[int, ...]
    num_microbatches: int
    limit_bytes: tuple[int | None, ...]
    """By rank; None is without limit."""
    num_lanes: int = 1
    """Copies of the model, which share the microbatches in equal runs."""

    def __post_init__(self) -> None:
        for stage, costs in enumerate(self.stages):
            if costs.forward_ns < 1 or costs.input_gradient_ns < 1:
                raise ScheduleError(f"stage {stage}: passes must last longer than 0")
        for rank, limit in enumerate(self.limit_bytes):
            least = sum(self.stages[stage].kept_bytes for stage in self.stages_of_rank[rank])
            if limit is not None and limit < least:
                raise ScheduleError(
                    f"rank {rank} has {limit} bytes for activations, but one microbatch takes "
                    f"{least}; no order fits"
                )

    @property
    def num_ranks(self) -> int:
        """Number of ranks."""
        return len(self.limit_bytes)

    @property
    def stages_a_lane(self) -> int:
        """Number of stages that a microbatch passes."""
        return len(self.stages) // self.num_lanes

    @property
    def splits(self) -> bool:
        """Whether backwards are cut into I and W."""
        return any(costs.weight_gradient_ns for costs in self.stages)

    @cached_property
    def stages_of_rank(self) -> list[list[int]]:
        """The stages of every rank."""
        stages: list[list[int]] = [[] for _ in self.limit_bytes]
        for stage, rank in enumerate(self.rank_of_stage):
            stages[rank].append(stage)
        return stages

    def microbatches_of(self, stage: int) -> range:
        """Return the microbatches that pass a stage."""
        share = self.num_microbatches // self.num_lanes
        lane = stage // self.stages_a_lane
        return range(lane * share, (lane + 1) * share)

    def duration_ns(self, action: Action) -> int:
        """Return how long an action lasts."""
        costs = self.stages[action.stage]
        if action.kind == "F":
            return costs.forward_ns
        if action.kind == "W":
            return costs.weight_gradient_ns
        return costs.whole_ns if action.kind == "B" else costs.input_gradient_ns

    def change_bytes(self, action: Action) -> int:
        """Return how much more a rank holds after an action."""
        costs = self.stages[action.stage]
        after = costs.after_input_bytes
        changes = {"F": costs.kept_bytes, "I": after - costs.kept_bytes, "W": -after}
        return changes.get(action.kind, -costs.kept_bytes)

    def delay_ns(self, earlier: int, later: int) -> int:
        """Return how long a result takes from one stage to the next or the one before."""
        if self.rank_of_stage[earlier] == self.rank_of_stage[later]:
            return 0
        return self.stages[min(earlier, later)].transfer_ns

    def source(self, action: Action) -> Action | None:
        """Return what an action waits for, beside its rank; a backward may be whole."""
        stage, kind, microbatch = action
        lane_end = (stage + 1) % self.stages_a_lane == 0
        if kind == "W":
            return Action(stage, "I", microbatch)
        if kind == "F":
            first = stage % self.stages_a_lane == 0
            return None if first else Action(stage - 1, "F", microbatch)
        return Action(stage, "F", microbatch) if lane_end else Action(stage + 1, "B", microbatch)

    def schedule(self, orders: Sequence[Sequence[Action]]) -> Schedule:
        """Return ``orders`` as a schedule."""
        return Schedule.from_orders(
            self.num_microbatches, self.rank_of_stage, orders, self.num_lanes
        )


@dataclass(frozen=True)
class Outcome:
    """What an order does: its makespan, and the most that every rank holds."""

    makespan_ns: int
    peak_bytes: tuple[int, ...]

    def fits(self, problem: OrderProblem) -> bool:
        """Whether no rank holds more than it may."""
        return all(
            limit is None or peak <= limit
            for peak, limit in zip(self.peak_bytes, problem.limit_bytes, strict=True)
        )


def outcome(problem: OrderProblem, orders: Sequence[Sequence[Action]]) -> Outcome | None:
    """Replay orders; None where they dead-lock. Transfers do not queue behind one another."""
    end_ns: dict[tuple[int, str, int], int] = {}
    free_ns, position = [0] * len(orders), [0] * len(orders)
    moved = True
    while moved:
        moved = False
        for rank, order in enumerate(orders):
            while position[rank] < len(order):
                action = order[position[rank]]
                ready_ns = _ready_ns(problem, end_ns, action)
                if ready_ns is None:
                    break
                free_ns[rank] = max(free_ns[rank], ready_ns) + problem.duration_ns(action)
                end_ns[_key(action)] = free_ns[rank]
                position[rank] += 1
                moved = True
    if any(position[rank] < len(order) for rank, order in enumerate(orders)):
        return None
    return Outcome(max(free_ns), tuple(_peak(problem, order) for order in orders))


def _key(action: Action) -> tuple[int, str, int]:
    return action.stage, "B" if action.kind == "I" else action.kind, action.microbatch


def _ready_ns(
    problem: OrderProblem, end_ns: dict[tuple[int, str, int], int], action: Action
) -> int | None:
    source = problem.source(action)
    if source is None:
        return 0
    end = end_ns.get(_key(source))
    return None if end is None else end + problem.delay_ns(source.stage, action.stage)


def _peak(problem: OrderProblem, order: Sequence[Action]) -> int:
    held = most = 0
    for action in order:
        held += problem.change_bytes(action)
        most = max(most, held)
    return most
