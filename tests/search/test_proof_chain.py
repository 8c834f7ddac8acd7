"""The proof for chains: its bound against simulated makespans, its optimum against all others."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from flexsim.scenario.schema import Scenario
from flexsim.search.bound_chain import begin, extend
from flexsim.search.delta_objective import delta_objective
from flexsim.search.exhaustive import exhaustive
from flexsim.search.exhaustive_chain import ChainTree, chain_tree
from flexsim.search.exhaustive_tables import UnitTable, renumbered
from flexsim.search.moves import Moves, State
from flexsim.search.problem import data_parallel, make_problem, make_space
from flexsim.search.walk import Budget, Walk
from flexsim.strategy import ParallelConfig


def walk_of(model: dict[str, object], devices: int, batch: int = 64, **search: object) -> Walk:
    """Return a walk over a small network on P100s, from data parallelism."""
    content = {
        "model": model,
        "cluster": {"device_graph": "p100-4x4", "hosts": 1, "devices": devices},
        "training": {
            "global_batch": batch,
            "micro_batch": batch // devices,
            "precision": "fp32",
            "software": "flexflow",
            "optimizer": "sgd",
        },
        "strategy": {"name": "data", "gradient_norm": False},
        "search": search,
    }
    scenario = Scenario.from_dict(content, "proof.toml")
    problem = make_problem(scenario)
    space = make_space(scenario, problem)
    walk = Walk(
        problem=problem,
        moves=Moves(problem.graph, space, problem.base),
        objective=delta_objective(problem),
        budget=Budget(None, None),
        temperature=0.05,
        rng=np.random.default_rng(0),
    )
    walk.begin(State(data_parallel(problem, space), dict(problem.base.stage_of)))
    return walk


LENET = {"preset": "lenet-5"}


@pytest.fixture(autouse=True)
def few_proposals(monkeypatch):
    """Leave nearly all of the search to the tree."""
    for name in ("_MOST_GREEDY", "_MOST_WALKED"):
        monkeypatch.setattr(f"flexsim.search.exhaustive.{name}", 100)


def bounds_of(tree: ChainTree, configs: list[ParallelConfig]) -> list[int]:
    """Return the bound of every beginning of a strategy."""
    numbers = np.arange(tree.tables[0].uses.shape[1])
    lines, found = begin(tree.tables[0]), []
    for depth, (table, config) in enumerate(zip(tree.tables, configs, strict=True)):
        row = _row(table, renumbered(config, np.argsort(numbers).astype(np.int32)))
        found.append(int(tree.bounds(depth, lines)[row]))
        if depth + 1 < len(configs):
            own, form = table.renumbering[row], int(table.first_form_of[row])
            prefix, numbers = lines.line(row).renumbered(own), numbers[own]
            lines = extend(prefix, form, tree.edges[depth], table, tree.tables[depth + 1])
    return found


def _row(table: UnitTable, config: ParallelConfig) -> int:
    wanted = (config.mesh.flat.tolist(), config.mesh.shape, config.splits)
    known = [(c.mesh.flat.tolist(), c.mesh.shape, c.splits) for c in table.configs]
    return known.index(wanted)


def drawn(tree: ChainTree, rng: np.random.Generator) -> list[ParallelConfig]:
    """Return a random strategy, in which neighbours are often cut alike."""
    configs: list[ParallelConfig] = []
    for table in tree.tables:
        near = [c for c in table.configs if configs and c.mesh == configs[-1].mesh]
        alike = [c for c in near if c.splits == configs[-1].splits]
        choices = (alike or near or table.configs) if rng.random() < 0.7 else table.configs
        configs.append(choices[int(rng.integers(len(choices)))])
    return configs


def makespan_ns(tree: ChainTree, chosen: list[ParallelConfig]) -> int:
    """Return what simulating a strategy gives."""
    configs: dict[str, ParallelConfig] = {}
    for table, config in zip(tree.tables, chosen, strict=True):
        configs |= table.unit.configs(config)
    found = tree.walk.objective.propose(configs, None)
    tree.walk.objective.reject()
    assert found is not None
    return found.makespan_ns


@pytest.mark.parametrize(
    ("model", "devices", "search"),
    [
        (LENET, 2, {}),
        ({"name": "mlp", "layers": 2, "hidden": 256}, 3, {}),
    ],
    ids=["lenet-2", "mlp-3"],
)
def test_no_beginning_of_a_strategy_has_a_bound_above_its_makespan(model, devices, search):
    tree = chain_tree(walk_of(model, devices, batch=12 * devices, **search))
    assert tree is not None
    rng = np.random.default_rng(7)
    shares = []
    for _ in range(60):
        chosen = drawn(tree, rng)
        simulated = makespan_ns(tree, chosen)
        if simulated:
            bounds = bounds_of(tree, chosen)
            assert max(bounds) <= simulated
            shares.append(bounds[-1] / simulated)
    assert np.median(shares) > 0.8


@pytest.mark.parametrize(
    ("layers", "devices", "search"),
    [(1, 2, {}), (1, 3, {"placement": "contiguous"}), (2, 2, {"dimensions": "SP"})],
)
def test_the_optimum_is_that_of_trying_everything(layers, devices, search):
    model = {"name": "mlp", "layers": layers, "hidden": 512}
    walk = walk_of(model, devices, batch=4 * devices, **search)
    tree = chain_tree(walk)
    assert tree is not None
    space = walk.moves.space
    every = product(*(space.configs(unit) for unit in walk.moves.units))
    lowest = min(filter(None, (makespan_ns(tree, list(choice)) for choice in every)))
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest


def test_lenet_on_two_devices_is_proven_and_few_strategies_are_simulated():
    walk = walk_of(LENET, 2, batch=128, copies=False)
    data_parallel_ns = walk.best_evaluation.makespan_ns
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns < data_parallel_ns
    rng = np.random.default_rng(1)
    tree = chain_tree(walk)
    assert tree is not None
    some = [makespan_ns(tree, drawn(tree, rng)) for _ in range(50)]
    assert walk.best_evaluation.makespan_ns <= min(each for each in some if each)


def test_networks_that_branch_are_no_chains():
    assert chain_tree(walk_of({"preset": "rnnlm", "sequence": 2}, 2)) is None
