"""Operators that share a weight, searched together or each by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import flexsim as command_line
from small_gpt import toml_text
from small_search import content, moves_of, scenario, steps_apart, walk_of

from flexsim.search.api import search
from flexsim.search.delta_objective import DeltaObjective, delta_objective
from flexsim.search.mcmc import mcmc
from flexsim.search.objective import FullObjective
from flexsim.search.problem import make_problem
from flexsim.search.proposals import PROPOSALS, propose
from flexsim.search.units import APART, TOGETHER, find_units

RECURRENT = {"name": "rnnlm", "layers": 2, "hidden": 32, "vocabulary": 64, "sequence": 4}


def recurrent(**search_keys):
    found = content(cluster={"devices": 4}, search=search_keys)
    return type(scenario()).from_dict({**found, "model": RECURRENT}, "steps.toml")


def test_apart_every_operator_is_a_unit():
    graph = make_problem(recurrent()).graph
    together, apart = find_units(graph, TOGETHER), find_units(graph, APART)
    assert [unit.name for unit in apart] == [op.name for op in graph.operators]
    assert max(len(unit.operators) for unit in together) == 4
    steps = {unit.leader for unit in apart if unit.name.startswith("layer1.step")}
    assert steps == {"layer1.step0"}


def test_steps_of_all_layers_have_one_role():
    units = {unit.name: unit for unit in find_units(make_problem(recurrent()).graph, APART)}
    roles = {units[f"layer{k}.step{t}"].role for k in range(2) for t in range(1, 4)}
    assert len(roles) == 1
    assert units["layer0.step0"].role == units["layer1.step0"].role


def test_the_space_of_steps_apart_is_a_power():
    one, both = moves_of(recurrent(shared_weights=APART)), moves_of(recurrent())
    whole = {unit.name: both.space.size(unit) for unit in both.space.units}
    for unit in one.space.units:
        if unit.leader in whole and "step" not in unit.name:
            assert one.space.size(unit) == whole[unit.leader]


def test_steps_come_to_differ_and_both_objectives_agree():
    walk = walk_of(steps_apart(), budget=60, seed=1)
    full, delta = FullObjective(walk.problem), delta_objective(walk.problem)
    assert isinstance(delta, DeltaObjective)
    state = walk.state
    full.start(state.configs)
    delta.start(state.configs)
    rng = np.random.default_rng(0)
    for _ in range(20):
        change = propose(walk.moves, state, rng)
        found = full.propose(change.configs, None)
        assert delta.propose(change.configs, None) == found
        if found.is_feasible:
            full.accept()
            delta.accept()
            state.apply(change)
        else:
            full.reject()
            delta.reject()
    meshes = {config.mesh for name, config in state.configs.items() if "step" in name}
    assert len(meshes) > 1


def test_sharers_change_only_what_shares_a_weight():
    moves, walk = moves_of(steps_apart()), walk_of(steps_apart())
    rng = np.random.default_rng(0)
    several = 0
    for _ in range(50):
        change = PROPOSALS["sharers"].propose(moves, walk.state, rng)
        if change is not None:
            leaders = {moves.space.by_operator[name].leader for name in change.configs}
            assert len(leaders) == 1
            several += len(change.configs) > 1
    assert several > 5


def test_a_search_takes_steps_apart():
    walk = walk_of(steps_apart(), budget=80)
    walk.objective = delta_objective(walk.problem)
    walk.begin(walk.state)
    mcmc(walk)
    assert any(row.kind == "sharers" for row in walk.rows)


def test_exhaustive_search_refuses_them():
    with pytest.raises(Exception, match="shared_weights = 'apart' does not go with method"):
        search(steps_apart(), method="exhaustive")


def test_the_command_counts_them(tmp_path):
    sizes = {}
    for shared in (TOGETHER, APART):
        path = tmp_path / f"{shared}.toml"
        table = content(cluster={"devices": 2}, search={"shared_weights": shared})
        path.write_text(toml_text({**table, "model": RECURRENT}), encoding="utf-8")
        answer = command_line("space", str(path), "--json")
        assert answer.code == 0
        sizes[shared] = json.loads(answer.out)
    assert len(sizes[APART]["operators"]) > len(sizes[TOGETHER]["operators"])
    assert sizes[APART]["in_all"]["together"] > sizes[TOGETHER]["in_all"]["together"]
