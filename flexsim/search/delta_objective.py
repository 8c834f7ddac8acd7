"""The objective by delta simulation: only what a proposal touches is built anew."""

from __future__ import annotations

from flexsim.engine.delta import RowReplay
from flexsim.errors import StrategyError
from flexsim.search.objective import (
    NO_STAGES,
    Configs,
    Evaluation,
    FullObjective,
    Objective,
    Problem,
    Stages,
)
from flexsim.task_graph.blocks import NO_LIMIT_NS, Blocks, why_not


class DeltaObjective:
    """Keeps a program in blocks and replays it row by row; exact, and cut off at the limit.

    Only for strategies of one stage and one microbatch: see :func:`delta_objective`.
    """

    def __init__(self, problem: Problem) -> None:
        """Take what is searched; :meth:`start` sets the first state."""
        self._problem = problem
        self._blocks = Blocks(problem.graph, problem.base, problem.devices, problem.costs)
        self.replay = RowReplay(self._blocks)
        """What replays the program."""
        self._is_changed = False

    @property
    def blocks(self) -> Blocks:
        """The program as it is now: the proposal's, until that is rejected."""
        return self._blocks

    def start(self, configs: Configs, stage_of: Stages = NO_STAGES) -> Evaluation:
        """Evaluate a whole strategy and make it current."""
        self._is_changed = False
        try:
            self._blocks.start(configs)
        except StrategyError as refusal:
            return Evaluation(0, 0, False, str(refusal))
        found = self._evaluate(None)
        assert found is not None
        return found

    def propose(
        self, changes: Configs, limit_ns: int | None, stages: Stages = NO_STAGES
    ) -> Evaluation | None:
        """Evaluate the changed strategy; None as soon as it is above the limit for sure."""
        self._is_changed = False
        try:
            if not self._blocks.change(changes, NO_LIMIT_NS if limit_ns is None else limit_ns):
                return None
        except StrategyError as refusal:
            return Evaluation(0, 0, False, str(refusal))
        self._is_changed = True
        return self._evaluate(limit_ns)

    def accept(self) -> None:
        """Make the proposal current."""
        self._is_changed = False

    def reject(self) -> None:
        """Return to the state before the proposal."""
        if self._is_changed:
            self._blocks.undo()
        self._is_changed = False

    def _evaluate(self, limit_ns: int | None) -> Evaluation | None:
        makespan_ns = self.replay.makespan_ns(limit_ns)
        if makespan_ns is None:
            return None
        return self._problem.evaluation(makespan_ns, self._blocks.peak_bytes())


def delta_objective(problem: Problem) -> Objective:
    """Return the fastest objective that takes a problem: in full where blocks do not serve.

    They price kernel by kernel, and a host that runs ahead needs the whole pass.
    """
    in_full = why_not(problem.base) or problem.costs.software.host_runs_ahead
    return FullObjective(problem) if in_full else DeltaObjective(problem)
