"""What every search must do; a new line in the table is tested by being there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_search import scenario, walk_of

from flexsim.engine.event import simulate
from flexsim.errors import FlexSimError
from flexsim.search.methods import SEARCHES, find_method
from flexsim.search.objective import Evaluation
from flexsim.search.trace import ACCEPTED, OUTCOMES
from flexsim.search.walk import Stop
from flexsim.task_graph.build import build_task_graph

every_search = pytest.mark.parametrize("name", SEARCHES)
SMALL = scenario(model={"layers": 1})


@every_search
def test_the_best_is_what_the_event_engine_says_and_no_worse_than_the_start(name):
    walk = walk_of(SMALL)
    start_ns = walk.current.makespan_ns
    SEARCHES[name].search(walk)
    problem = walk.problem
    strategy = problem.strategy(walk.best.configs, walk.best.stage_of)
    graph = build_task_graph(problem.graph, strategy, problem.devices, problem.costs, fold=False)
    assert simulate(graph).makespan_ns == walk.best_evaluation.makespan_ns <= start_ns


@every_search
def test_the_same_seed_gives_the_same_rows_and_another_may_not(name):
    runs = []
    for _ in range(2):
        walk = walk_of(SMALL, seed=3)
        SEARCHES[name].search(walk)
        runs.append((walk.rows, walk.best.configs))
    assert runs[0] == runs[1]
    assert runs[0][0]


@every_search
def test_the_budget_is_not_exceeded_and_rows_are_numbered(name):
    walk = walk_of(scenario(), budget=7)
    SEARCHES[name].search(walk)
    assert len(walk.rows) <= 7
    assert [row.proposal for row in walk.rows] == [*range(1, len(walk.rows) + 1)]


@every_search
def test_rows_tell_the_truth(name):
    walk = walk_of(SMALL)
    SEARCHES[name].search(walk)
    best = walk.rows[0].best_ns
    for row in walk.rows:
        assert row.outcome in OUTCOMES
        assert set(row.letters) <= set("SOAP")
        assert row.letters
        best = min(best, row.best_ns)
        assert row.best_ns == best <= row.current_ns
        if row.outcome == ACCEPTED:
            assert row.makespan_ns == row.current_ns


@every_search
def test_one_that_is_asked_to_stop_stops(name):
    walk = walk_of(scenario())
    walk.stop = Stop(lambda: len(walk.rows) >= 3)
    SEARCHES[name].search(walk)
    assert len(walk.rows) == 3 or name == "optcnn"


@every_search
def test_an_infeasible_strategy_is_never_kept(name):
    walk = walk_of(SMALL)
    held = walk.current.peak_memory_bytes
    walk.problem = replace(walk.problem, memory_limit_bytes=held)
    objective = type(walk.objective)(walk.problem)
    walk.objective = objective
    walk.begin(walk.state)
    SEARCHES[name].search(walk)
    assert walk.best_evaluation.peak_memory_bytes <= held
    assert walk.best_evaluation.is_feasible


@every_search
def test_only_a_whole_enumeration_proves_an_optimum(name):
    walk = walk_of(SMALL, budget=None if name == "exhaustive" else 40)
    assert SEARCHES[name].search(walk) is (name == "exhaustive")


def test_an_unknown_search_is_refused():
    with pytest.raises(FlexSimError, match="did you mean 'mcmc'"):
        find_method("mcmcc")


def test_an_evaluation_that_is_not_feasible_says_why():
    refused = walk_of(SMALL).problem
    found = replace(refused, memory_limit_bytes=10).evaluation(5, 11)
    assert found == Evaluation(5, 11, False, found.refusal)
    assert "11 bytes" in found.refusal
