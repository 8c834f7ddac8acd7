"""Searches under software whose hosts run ahead: proposals in full, and proofs that hold."""

from itertools import product

from small_search import scenario, walk_of

from flexsim.search.delta_objective import delta_objective
from flexsim.search.exhaustive import exhaustive
from flexsim.search.exhaustive_chain import chain_tree
from flexsim.search.objective import FullObjective, simulated


def test_a_proof_finds_what_trying_everything_finds(monkeypatch):
    for name in ("_MOST_GREEDY", "_MOST_WALKED"):
        monkeypatch.setattr(f"flexsim.search.exhaustive.{name}", 20)
    one = scenario(
        model={"layers": 1},
        training={"software": "megatron-deepspeed"},
        search={"dimensions": "SP"},
    )
    walk = walk_of(one, budget=None)
    assert walk.problem.costs.software.host_runs_ahead
    assert isinstance(delta_objective(walk.problem), FullObjective)
    assert chain_tree(walk) is None
    units = walk.moves.units
    lowest = None
    for choice in product(*(list(walk.moves.space.configs(unit)) for unit in units)):
        pairs = zip(units, choice, strict=True)
        configs = {n: c for unit, each in pairs for n, c in unit.configs(each).items()}
        found = simulated(walk.problem, configs, {}).makespan_ns
        lowest = found if lowest is None else min(lowest, found)
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest
