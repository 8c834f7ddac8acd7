"""Small searches for tests: a perceptron on a few devices of one host."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from flexsim.scenario.schema import Scenario
from flexsim.search.moves import Moves, State
from flexsim.search.objective import FullObjective
from flexsim.search.problem import data_parallel, make_problem, make_space
from flexsim.search.walk import Budget, Walk

CONTENT: dict[str, dict[str, Any]] = {
    "model": {"name": "mlp", "layers": 2, "hidden": 64},
    "cluster": {"device_graph": "dgx-a100", "hosts": 1, "devices": 2},
    "training": {"global_batch": 16, "micro_batch": 4},
    "strategy": {"name": "data"},
}


def scenario(**tables: dict[str, Any]) -> Scenario:
    """Return the scenario with keys of its tables replaced: ``scenario(model={"layers": 3})``."""
    return Scenario.from_dict(content(**tables), "small.toml")


def content(**tables: dict[str, Any]) -> dict[str, Any]:
    """Return the scenario's content with keys replaced."""
    found = copy.deepcopy(CONTENT)
    for table, keys in tables.items():
        found.setdefault(table, {}).update(keys)
    return found


def gpt(pipeline: int = 1, **tables: dict[str, Any]) -> Scenario:
    """Return a scenario of a small GPT on eight devices."""
    model = {"name": "gpt", "layers": 2, "hidden": 64, "heads": 4, "sequence": 16}
    own: dict[str, dict[str, Any]] = {
        "model": {**model, "vocabulary": 128},
        "cluster": {"device_graph": "dgx-a100", "hosts": 1},
        "training": {"global_batch": 8},
        "strategy": {"name": "megatron", "tensor": 2, "pipeline": pipeline},
    }
    for table, keys in tables.items():
        own.setdefault(table, {}).update(keys)
    return Scenario.from_dict(own, "gpt.toml")


def steps_apart(**search: Any) -> Scenario:
    """Return a scenario of a recurrent network whose steps have a config each."""
    found = content(cluster={"devices": 4}, search={"shared_weights": "apart", **search})
    found["model"] = {"name": "rnnlm", "layers": 1, "hidden": 32, "vocabulary": 64, "sequence": 4}
    return Scenario.from_dict(found, "steps.toml")


def moves_of(one: Scenario) -> Moves:
    """Return what proposals need."""
    problem = make_problem(one)
    return Moves(problem.graph, make_space(one, problem), problem.base)


def walk_of(one: Scenario, budget: int | None = 40, seed: int = 0, **fields: Any) -> Walk:
    """Return a walk that stands at data parallelism."""
    problem = make_problem(one)
    space = make_space(one, problem)
    walk = Walk(
        problem=problem,
        moves=Moves(problem.graph, space, problem.base),
        objective=FullObjective(problem),
        budget=Budget(budget, None),
        temperature=0.05,
        rng=np.random.default_rng(seed),
        **fields,
    )
    walk.begin(State(data_parallel(problem, space), dict(problem.base.stage_of)))
    return walk
