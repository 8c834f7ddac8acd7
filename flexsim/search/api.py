"""``flexsim.search``: from a scenario to the best strategy that a search finds."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from pydantic import ValidationError

from flexsim.cost.work import CostModel
from flexsim.errors import FlexSimError, ScenarioError
from flexsim.scenario.runner import Result, evaluate, run
from flexsim.scenario.schema import Scenario
from flexsim.search.chains import Found, Task, Watch, checkpoint_directory, run_chains
from flexsim.search.checkpoint import Checkpoints
from flexsim.search.methods import SEARCHES
from flexsim.search.objective import Problem
from flexsim.search.problem import (
    baseline_scenario,
    check_starts,
    make_problem,
    make_space,
    plain_problem,
)
from flexsim.search.result import SearchResult
from flexsim.search.space import Restrictions
from flexsim.search.units import TOGETHER
from flexsim.search.walk import Budget, Stop
from flexsim.strategy import Strategy
from flexsim.strategy.fingerprint import cluster_content, fingerprint, model_content
from flexsim.workers import Workers, count_workers, loading

DEFAULT_BUDGET = 10_000
_ON_WORKERS = "flexsim.search.distant_chains"
"""What other processes load to walk chains."""


def search(
    scenario: Scenario,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    cost_model: CostModel | None = None,
    watch: Watch | None = None,
    scheduler: str | None = None,
    **options: Any,
) -> SearchResult:
    """Search for a strategy of shorter iteration time than the scenario's own.

    ``options`` replace keys of the scenario's ``[search]`` table (``method="greedy"``,
    ``budget=1000``, ``seed=1`` …). With ``output``, checkpoints are written there, from which
    ``resume`` goes on. ``watch`` is told where each chain is. Chains run on ``processes`` of this
    machine, or on the workers of a dask ``scheduler`` (``"tcp://host:port"``); that does not
    change what is found with a budget in proposals. Ctrl-C ends the search; the best found so
    far is returned. Raise a :class:`FlexSimError` in one sentence where the scenario or an
    option is wrong.
    """
    scenario = with_options(scenario, options)
    workers = _workers(scenario, scheduler)
    with loading(workers, _ON_WORKERS):  # while this process gets ready
        problem = make_problem(scenario, cost_model)
        space = make_space(scenario, problem)
        baseline = run(baseline_scenario(scenario), cost_model)
        checkpoints = _checkpoints(output, scenario, problem)
        tasks = _tasks(scenario, checkpoints, resume, cost_model)
        tasks = _in_time(tasks, scenario.search.seconds, workers)
        begun = time.monotonic()
        with _until_interrupted() as stop:
            found = run_chains(tasks, workers, stop, watch)
            interrupted = stop.is_asked()
        seconds = time.monotonic() - begun
        strategy = _best_strategy(scenario, problem, found)
        return SearchResult(
            best_strategy=strategy,
            best=_measured(problem, strategy),
            baseline=baseline,
            expert=_expert(plain_problem(scenario, cost_model)),
            trace=tuple(row for each in found for row in each.rows),
            seconds=seconds,
            method=scenario.search.method,
            proven_optimal=any(each.proven_optimal for each in found),
            problem=problem,
            space=space,
            interrupted=interrupted,
            refusals=_refusals(found),
            scenario=scenario,
        )


def _checkpoints(
    output: str | Path | None, scenario: Scenario, problem: Problem
) -> Checkpoints | None:
    directory = checkpoint_directory(Path(output) if output is not None else None)
    return None if directory is None else Checkpoints(directory, _identity(scenario, problem))


def _best_strategy(scenario: Scenario, problem: Problem, found: Sequence[Found]) -> Strategy:
    """Return the best that all chains found; raise where nothing fitted."""
    first = min(found, key=lambda each: (each.evaluation.makespan_ns, each.chain))
    if not first.best.configs:
        raise _nothing_fits(scenario, found)
    return replace(problem.strategy(first.best.configs, first.best.stage_of), name="search")


def with_options(scenario: Scenario, options: Mapping[str, Any]) -> Scenario:
    """Return the scenario with keys of its ``[search]`` table replaced, and all of it checked."""
    given = scenario.search.model_dump(exclude_unset=True)
    wanted = {key: value for key, value in options.items() if value is not None}
    for key, other in (("seconds", "budget"), ("budget", "seconds")):
        if key in wanted and other not in wanted:
            given.pop(other, None)
    try:
        table = type(scenario.search).model_validate({**given, **wanted})
    except ValidationError as problem:
        raise ScenarioError(_told(scenario, problem)) from problem
    changed = scenario.model_copy(update={"search": table})
    changed._source = scenario.source
    _check(changed)
    return changed


def _told(scenario: Scenario, problem: ValidationError) -> str:
    from flexsim.validation import one_sentence

    message = one_sentence("search", problem, type(scenario.search))
    return f"{scenario.source}: {message.replace('search: ', 'search.', 1)}"


def _check(scenario: Scenario) -> None:
    from flexsim.scenario.checks import check_name

    table = scenario.search
    check_name(scenario.source, "search.method", table.method, SEARCHES)
    if table.method == "exhaustive" and table.shared_weights != TOGETHER:
        raise ScenarioError(
            f"{scenario.source}: search.shared_weights = {table.shared_weights!r} does not go with"
            f" method 'exhaustive', whose bound is for one config a weight; choose {TOGETHER!r}"
        )
    check_starts(scenario)
    try:
        Restrictions(table.dimensions, table.powers_of_two, table.placement, table.copies)
    except FlexSimError as problem:
        raise ScenarioError(f"{scenario.source}: {problem}") from problem


def _tasks(
    scenario: Scenario,
    checkpoints: Checkpoints | None,
    resume: bool,
    cost_model: CostModel | None,
) -> list[Task]:
    table = scenario.search
    chains = table.chains if SEARCHES[table.method].has_chains else 1
    proposals = table.budget if table.budget or table.seconds else DEFAULT_BUDGET
    if resume and checkpoints is None:
        raise FlexSimError("a search can be resumed only from the directory of its outputs")
    budgets = [
        Budget(None if proposals is None else _share(proposals, chains, chain), None)
        for chain in range(chains)
    ]
    return [
        Task(
            scenario=scenario,
            chain=chain,
            start=table.starts[chain % len(table.starts)],
            budget=budget,
            checkpoints=checkpoints,
            resume=resume,
            cost_model=cost_model,
        )
        for chain, budget in enumerate(budgets)
        if budget.proposals != 0
    ]


def _workers(scenario: Scenario, scheduler: str | None) -> Workers:
    return Workers(scheduler) if scheduler else Workers(num_local=scenario.search.processes)


def _in_time(tasks: list[Task], seconds: float | None, workers: Workers) -> list[Task]:
    """Give every chain its share of the time, in which as many run at once as there are workers."""
    if seconds is None:
        return tasks
    share_s = seconds * min(count_workers(workers), len(tasks)) / len(tasks)
    return [replace(task, budget=replace(task.budget, seconds=share_s)) for task in tasks]


def _share(total: int, chains: int, chain: int) -> int:
    return (chain + 1) * total // chains - chain * total // chains


def _identity(scenario: Scenario, problem: Any) -> dict[str, Any]:
    """Return what a checkpoint must have in common with the search that takes it up."""
    table = scenario.search
    keys = scenario.keys()
    parts = [
        model_content(problem.graph)["fingerprint"],
        cluster_content(problem.devices)["fingerprint"],
        [(key, str(keys[key])) for key in sorted(keys) if not key.startswith(("output", "title"))],
    ]
    free = {"budget", "seconds", "processes"}
    return {"problem": fingerprint(parts), **table.model_dump(exclude=free)}


def _measured(problem: Any, strategy: Strategy) -> Result:
    return evaluate(
        problem.graph, strategy, problem.devices, problem.costs, fold=False, engine="compiled"
    )


def _expert(problem: Any) -> Result | None:
    """Return the scenario's own strategy, simulated without folding like the best one."""
    return _measured(problem, problem.base)


def _refusals(found: Sequence[Found]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in found:
        total += each.refusals
    return dict(total.most_common())


def _nothing_fits(scenario: Scenario, found: Sequence[Found]) -> FlexSimError:
    reasons = [*_refusals(found), "all start too large"]
    return FlexSimError(
        f"{scenario.source}: the search found no strategy that fits: {reasons[0]}; give it more"
        " proposals, or another start than random in search.starts"
    )


@contextlib.contextmanager
def _until_interrupted() -> Iterator[Stop]:
    """Yield what is asked to stop by the first Ctrl-C; a second one interrupts as ever."""
    pressed: list[int] = []
    stop = Stop(lambda: bool(pressed))
    if current_thread() is not main_thread():
        yield stop
        return

    def note(number: int, frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
