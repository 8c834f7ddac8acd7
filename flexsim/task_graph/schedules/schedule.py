"""What a schedule is: for every rank the order of its actions, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby

import numpy as np

from flexsim.errors import ScheduleError
from flexsim.task_graph.columns import Int32, Int64, UInt8
from flexsim.task_graph.kinds import ACTION_CODE, ACTION_KINDS
from flexsim.task_graph.schedules.notation import Action


@dataclass(frozen=True)
class PipelineShape:
    """How many ranks a pipeline has, microbatches through it, and chunks (stages) on each rank.

    The rest are hints, which the schedules that have no use for them refuse or ignore.
    """

    num_ranks: int
    num_microbatches: int
    num_chunks: int = 1
    warm_up: int = 0
    """Forwards that every rank runs before its first backward, beside those it needs."""
    num_slices: int = 1
    """Runs of positions that a sequence passes in, one after the other."""
    num_iterations: int = 1
    """Iterations that follow one another without a flush."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "warm_up" else 1
            if value < least:
                what = field.name.removeprefix("num_")
                raise ScheduleError(f"{what} = {value}: a pipeline has at least {least}")

    @property
    def num_stages(self) -> int:
        """Number of global stages."""
        return self.num_ranks * self.num_chunks


@dataclass(frozen=True, eq=False)
class Schedule:
    """The actions of all ranks: rank ``r`` runs rows ``rank_offsets[r]:rank_offsets[r + 1]``.

    Rows of one rank with the same ``step`` form a *set*: its members start after the whole
    previous set, in any order, and the next set waits for all of them.
    """

    num_microbatches: int
    rank_of_stage: Int32
    """Placement of the global stages."""
    kind: UInt8
    """Index into :data:`flexsim.task_graph.kinds.ACTION_KINDS`."""
    stage: Int32
    microbatch: Int32
    step: Int32
    """Position within its rank of the set that the action belongs to."""
    rank_offsets: Int64
    blocking_transfers: bool = False
    """Whether a rank goes on only after what it sends has arrived."""
    num_lanes: int = 1
    """Copies of the model; the stages of one follow those of another, and a microbatch passes
    one of them."""
    num_slices: int = 1
    """Consecutive microbatches that are the slices of one: a slice waits on every stage for the
    one before it, and its backward for the one behind."""
    num_iterations: int = 1
    """Iterations that the microbatches belong to, where these follow without a flush."""
    microbatches_an_update: int | None = None
    """After how many backwards a rank updates its weights, where it does not flush."""
    updates_behind: int = 0
    """How many updates old the weights of a microbatch are on every rank, where it does not flush;
    0: as new as they are when it begins there. Where they are old, the rank's next forwards need
    not wait for an update, which so comes just before its next backward."""

    @classmethod
    def from_sets(
        cls,
        num_microbatches: int,
        rank_of_stage: Sequence[int],
        sets_of_rank: Sequence[Sequence[Sequence[Action]]],
        num_lanes: int = 1,
    ) -> Schedule:
        """Return the schedule in which rank ``r`` runs the sets ``sets_of_rank[r]`` in order.

        Whether it can run is not looked at: :func:`check` does.
        """
        rows = [
            (ACTION_CODE[action.kind], action.stage, action.microbatch, step)
            for sets in sets_of_rank
            for step, members in enumerate(sets)
            for action in members
        ]
        kind, stage, microbatch, step = np.array(rows, np.int32).reshape(-1, 4).T.copy()
        sizes = [sum(len(members) for members in sets) for sets in sets_of_rank]
        placement = np.array(rank_of_stage, np.int32)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        columns = (kind.astype(np.uint8), stage, microbatch, step)
        return cls(num_microbatches, placement, *columns, offsets, num_lanes=num_lanes)

    @classmethod
    def from_orders(
        cls,
        num_microbatches: int,
        rank_of_stage: Sequence[int],
        orders: Sequence[Sequence[Action]],
        num_lanes: int = 1,
    ) -> Schedule:
        """Return the schedule in which rank ``r`` runs ``orders[r]`` one after the other."""
        sets = [[[action] for action in order] for order in orders]
        return cls.from_sets(num_microbatches, rank_of_stage, sets, num_lanes)

    @property
    def num_ranks(self) -> int:
        """Number of pipeline ranks."""
        return len(self.rank_offsets) - 1

    @property
    def num_stages(self) -> int:
        """Number of global stages."""
        return len(self.rank_of_stage)

    @property
    def stages_a_lane(self) -> int:
        """Number of stages that a microbatch passes."""
        return self.num_stages // self.num_lanes

    @property
    def flushes(self) -> bool:
        """Whether all microbatches end before weights are updated, once an iteration."""
        return self.microbatches_an_update is None

    @property
    def num_actions(self) -> int:
        """Number of rows."""
        return len(self.kind)

    @cached_property
    def rank(self) -> Int32:
        """Rank of every row."""
        ranks = np.arange(self.num_ranks, dtype=np.int32)
        return np.repeat(ranks, np.diff(self.rank_offsets))

    def actions(self, rank: int) -> list[Action]:
        """Return the actions of one rank in order."""
        rows = slice(self.rank_offsets[rank], self.rank_offsets[rank + 1])
        kinds = (ACTION_KINDS[code] for code in self.kind[rows].tolist())
        columns = (self.stage[rows].tolist(), kinds, self.microbatch[rows].tolist())
        return [Action(*row) for row in zip(*columns, strict=True)]

    def sets(self, rank: int) -> list[list[Action]]:
        """Return the sets of one rank in order."""
        steps = self.step[self.rank_offsets[rank] : self.rank_offsets[rank + 1]].tolist()
        pairs = groupby(zip(steps, self.actions(rank), strict=True), lambda pair: pair[0])
        return [[action for _, action in members] for _, members in pairs]

    def action(self, row: int | np.integer) -> Action:
        """Return the action of one row."""
        kind = ACTION_KINDS[self.kind[row]]
        return Action(int(self.stage[row]), kind, int(self.microbatch[row]))
