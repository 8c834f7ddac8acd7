"""Chains: independent walks with random streams of their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.cost.work import CostModel
from flexsim.errors import FlexSimError
from flexsim.garbage import little_collected
from flexsim.scenario.schema import Scenario
from flexsim.search.checkpoint import Checkpoints
from flexsim.search.methods import find_method
from flexsim.search.moves import Moves, State
from flexsim.search.objective import DEFAULT_OBJECTIVE, OBJECTIVES, Evaluation
from flexsim.search.problem import make_problem, make_space, starts
from flexsim.search.trace import Row
from flexsim.search.walk import Budget, Stop, Walk
from flexsim.workers import Workers

CHECKPOINT_EVERY_S = 5.0
_MOST_STARTS = 200


@dataclass(frozen=True)
class Standing:
    """How far one chain is, for those who watch."""

    chain: int
    share_spent: float
    proposals: int
    accepted: int
    current_ns: int
    best_ns: int


Watch = Callable[[Standing], None]


@dataclass(frozen=True)
class Task:
    """One chain of a search: everything that a process needs to run it."""

    scenario: Scenario
    chain: int
    start: str
    budget: Budget
    checkpoints: Checkpoints | None
    resume: bool
    objective: str = DEFAULT_OBJECTIVE
    cost_model: CostModel | None = None


@dataclass(frozen=True)
class Found:
    """What a chain found."""

    chain: int
    best: State
    evaluation: Evaluation
    rows: tuple[Row, ...]
    proven_optimal: bool
    seconds: float
    refusals: Counter[str] = field(default_factory=Counter)


def run_chains(
    tasks: Sequence[Task], workers: Workers, stop: Stop, watch: Watch | None = None
) -> list[Found]:
    """Run all chains and return what they found, in order.

    When ``stop`` is asked for (Ctrl-C) the chains end after their current proposal and what
    they found so far is returned.
    """
    if not workers.scheduler and min(workers.num_processes, len(tasks)) <= 1:
        return [run_chain(task, stop, watch) for task in tasks]
    from flexsim.search.distant_chains import run_distant_chains

    return run_distant_chains(tasks, workers, stop, watch)


def run_chain(task: Task, stop: Stop, watch: Watch | None = None) -> Found:
    """Walk one chain to its end."""
    walk, refusals = _walk(task, stop)
    resumed = task.resume and task.checkpoints is not None and task.checkpoints.read(walk)
    if not resumed:
        _begin(walk, task)
    keeper = _Keeper(task, watch)
    walk.on_step = keeper
    begun = time.monotonic()
    method = find_method(task.scenario.search.method)
    with little_collected():
        proven = not walk.is_over and method.search(walk)
    walk.is_over = walk.is_over or not stop.is_asked()
    keeper.finish(walk)
    seconds = time.monotonic() - begun
    rows = tuple(walk.rows)
    return Found(
        task.chain, walk.best, walk.best_evaluation, rows, proven, seconds, refusals.counts
    )


class _Counting:
    """An objective that counts why strategies are refused."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.counts: Counter[str] = Counter()
        self.accept, self.reject, self.start = inner.accept, inner.reject, inner.start

    def propose(self, *arguments: Any) -> Evaluation | None:
        """Pass a proposal on and note a refusal."""
        found: Evaluation | None = self._inner.propose(*arguments)
        if found is not None and not found.is_feasible:
            self.counts[found.refusal] += 1
        return found


def _walk(task: Task, stop: Stop) -> tuple[Walk, _Counting]:
    table = task.scenario.search
    problem = make_problem(task.scenario, task.cost_model)
    space = make_space(task.scenario, problem)
    objective = _Counting(OBJECTIVES[task.objective](problem))
    stream = np.random.SeedSequence([table.seed, task.chain])
    walk = Walk(
        problem=problem,
        moves=Moves(problem.graph, space, problem.base),
        objective=objective,
        budget=task.budget,
        temperature=table.temperature,
        rng=np.random.default_rng(stream),
        restarts=table.restarts,
        chain=task.chain,
        stop=stop,
    )
    return walk, objective


def _begin(walk: Walk, task: Task) -> None:
    """Go to the chain's start, or where that cannot be to the next that can.

    A random start need only be buildable: a chain comes down to what fits memory by itself.
    """
    known = starts(task.scenario, walk.problem, walk.moves.space)
    others = ["random"] * _MOST_STARTS
    is_random = task.start == "random"
    names = [*others, "data", "expert"] if is_random else [task.start, "data", "expert", *others]
    refusals = []
    for name in names:
        configs, stage_of = known[name](walk.rng)
        found = walk.begin(State(dict(configs), dict(stage_of)))
        if found.is_feasible or (is_random and found.makespan_ns):
            return
        refusals.append(f"{name}: {found.refusal}")
    raise FlexSimError(f"{task.scenario.source}: no start of the search is feasible; {refusals[0]}")


class _Keeper:
    """Tells a watcher where a chain is, and writes checkpoints now and then."""

    def __init__(self, task: Task, watch: Watch | None) -> None:
        self._task, self._watch = task, watch
        self._written = time.monotonic()
        self._accepted = 0

    def __call__(self, walk: Walk) -> None:
        self._accepted += walk.rows[-1].outcome == "accepted"
        if self._watch is not None:
            self._watch(self._standing(walk))
        if time.monotonic() - self._written >= CHECKPOINT_EVERY_S:
            self._write(walk)

    def finish(self, walk: Walk) -> None:
        """Write the last checkpoint, so that a finished chain is not walked again."""
        self._write(walk)

    def _write(self, walk: Walk) -> None:
        if self._task.checkpoints is not None:
            self._task.checkpoints.write(walk)
        self._written = time.monotonic()

    def _standing(self, walk: Walk) -> Standing:
        best, now = walk.best_evaluation.makespan_ns, walk.current.makespan_ns
        number = len(walk.rows)
        return Standing(walk.chain, min(1.0, walk.spent), number, self._accepted, now, best)


def checkpoint_directory(output: Path | None) -> Path | None:
    """Return where checkpoints lie beside the other outputs; None where nothing is written."""
    return None if output is None else output / "checkpoints"
