"""What a search asks of a simulator: how long one iteration takes under a changed strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.errors import StrategyError
from flexsim.operator_graph import OperatorGraph
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.timeline.spans import Timeline

Configs = Mapping[str, ParallelConfig]
Stages = Mapping[str, int]
NO_STAGES: Stages = {}


@dataclass(frozen=True)
class Evaluation:
    """What simulating a strategy gives.

    A strategy that cannot be built, or that needs more memory than a device has, is not
    feasible, and ``refusal`` says why in one sentence. Where it cannot be built both numbers
    are 0.
    """

    makespan_ns: int
    peak_memory_bytes: int
    is_feasible: bool = True
    refusal: str = ""


class Objective(Protocol):
    """The simulated makespan of a strategy that changes step by step.

    There is a current state, and at most one proposal at a time, which is accepted or
    rejected before the next one. After a proposal that was cut off or is not feasible,
    :meth:`reject` is called as well.
    """

    def start(self, configs: Configs, stage_of: Stages = NO_STAGES) -> Evaluation:
        """Evaluate in full the strategy with these configs, one an operator; it is now current.

        ``stage_of`` has the global stage of every operator; empty: that of the base strategy.
        """
        ...

    def propose(
        self, changes: Configs, limit_ns: int | None, stages: Stages = NO_STAGES
    ) -> Evaluation | None:
        """Evaluate the current strategy with the configs of some operators changed.

        ``stages`` moves operators to other global stages. None: the makespan is provably
        greater than ``limit_ns``, a saving that an implementation may always leave unused.
        """
        ...

    def accept(self) -> None:
        """Make the proposal current."""
        ...

    def reject(self) -> None:
        """Return to the state before the proposal."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched: the model, the cluster, its prices and what all strategies share.

    ``base`` gives schedule, microbatches, recomputation and so on, and the stages and configs
    of operators that a search leaves alone. ``memory_limit_bytes`` is that of one device; None
    for no limit.
    """

    graph: OperatorGraph
    devices: DeviceGraph
    costs: Costs
    base: Strategy
    memory_limit_bytes: int | None = None

    def strategy(self, configs: Configs, stage_of: Stages = NO_STAGES) -> Strategy:
        """Return the strategy with these configs, in program order, and stages."""
        ordered = {op.name: configs[op.name] for op in self.graph.operators if op.name in configs}
        return replace(self.base, configs=ordered, stage_of=stage_of or self.base.stage_of)

    def evaluation(self, makespan_ns: int, peak_memory_bytes: int) -> Evaluation:
        """Return the evaluation of a simulated strategy, judged by the memory limit."""
        limit = self.memory_limit_bytes
        if limit is None or peak_memory_bytes <= limit:
            return Evaluation(makespan_ns, peak_memory_bytes)
        reason = f"it needs {peak_memory_bytes:,} bytes on a device, which has {limit:,}"
        return Evaluation(makespan_ns, peak_memory_bytes, False, reason)


class FullObjective:
    """Builds and replays the whole task graph for every proposal: slow, simple, the reference."""

    def __init__(self, problem: Problem) -> None:
        """Take what is searched; :meth:`start` sets the first state."""
        self._problem = problem
        self._configs: dict[str, ParallelConfig] = {}
        self._stage_of: dict[str, int] = {}
        self._proposed = (self._configs, self._stage_of)

    def start(self, configs: Configs, stage_of: Stages = NO_STAGES) -> Evaluation:
        """Evaluate a whole strategy and make it current."""
        stages = stage_of or self._problem.base.stage_of
        self._configs, self._stage_of = dict(configs), dict(stages)
        return simulated(self._problem, self._configs, self._stage_of)

    def propose(
        self, changes: Configs, limit_ns: int | None, stages: Stages = NO_STAGES
    ) -> Evaluation | None:
        """Evaluate the changed strategy in full; the limit is left unused."""
        self._proposed = ({**self._configs, **changes}, {**self._stage_of, **stages})
        return simulated(self._problem, *self._proposed)

    def accept(self) -> None:
        """Make the proposal current."""
        self._configs, self._stage_of = self._proposed

    def reject(self) -> None:
        """Return to the state before the proposal: it was never left."""


def _delta(problem: Problem) -> Objective:
    """Return the objective that patches what a proposal changes, where a problem allows it."""
    from flexsim.search.delta_objective import delta_objective

    return delta_objective(problem)


OBJECTIVES: Mapping[str, Callable[[Problem], Objective]] = {"full": FullObjective, "delta": _delta}
"""How proposals are simulated; all give the same numbers."""
DEFAULT_OBJECTIVE = "delta"


def simulated(problem: Problem, configs: Configs, stage_of: Stages) -> Evaluation:
    """Return what a full build and replay of a strategy gives."""
    from flexsim.timeline.memory import lasting_peak_bytes

    try:
        timeline = replayed(problem, problem.strategy(configs, stage_of))
    except StrategyError as problem_found:
        return Evaluation(0, 0, False, str(problem_found))
    return problem.evaluation(timeline.makespan_ns, lasting_peak_bytes(timeline))


def replayed(problem: Problem, strategy: Strategy) -> Timeline:
    """Return the timeline of a strategy, unfolded."""
    from flexsim.engine.compiled import simulate
    from flexsim.task_graph.build import build_task_graph

    graph = build_task_graph(problem.graph, strategy, problem.devices, problem.costs, fold=False)
    return simulate(graph)
