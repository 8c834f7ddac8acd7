"""Transformed graphs in a search: inherited strategies, simulated times, the best of several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_search import content, gpt, scenario

import flexsim
from flexsim.errors import StrategyError
from flexsim.operator_graph.transformations import forward_only
from flexsim.scenario.schema import Scenario
from flexsim.search.arrangement import arranged
from flexsim.search.delta_objective import delta_objective
from flexsim.search.inheritance import stays_together
from flexsim.search.objective import FullObjective, Problem, simulated
from flexsim.search.problem import make_problem, make_space, random_configs
from flexsim.search.result import SearchResult
from flexsim.search.transformation_proposals import (
    Move,
    Variant,
    apply_move,
    best_transformed,
    bytes_touched,
    graph_moves,
    search_each,
    single_moves,
    transformed_graphs,
    transformed_problems,
)
from flexsim.search.units import find_units
from flexsim.strategy.strategy import check_strategy

FUSE, MERGE = "fuse-bias-activation", "merge-parallel-linears"


def network(preset: str, **model: object) -> Scenario:
    return scenario(
        model={"name": None, "layers": None, "hidden": None, "preset": preset, **model},
        cluster={"devices": 4},
        training={"global_batch": 8, "micro_batch": 2},
    )


def problem_of(preset: str, **model: object) -> Problem:
    return make_problem(network(preset, **model))


def on(problem: Problem, variant: Variant) -> Problem:
    return replace(problem, graph=variant.graph, base=variant.strategy)


def after(problem: Problem, rule: str) -> Problem:
    (move,) = (m for m in graph_moves(problem.graph, problem.base) if m.rule == rule)
    return on(problem, apply_move(problem.graph, problem.base, move))


def makespan_ns(problem: Problem) -> int:
    found = simulated(problem, problem.base.configs, problem.base.stage_of)
    assert found.is_feasible, found.refusal
    return found.makespan_ns


@pytest.mark.parametrize(
    ("preset", "rule"),
    [
        ("alexnet", FUSE),
        ("inception-v3", MERGE),
        ("dlrm", "absorb-concatenation"),
        ("unet", "absorb-concatenation"),
    ],
)
def test_fewer_kernels_and_less_traffic_take_less_time(preset: str, rule: str) -> None:
    before = problem_of(preset)
    fewer = after(before, rule)
    assert kernels(fewer) < kernels(before)
    assert touched(fewer) < touched(before)
    assert makespan_ns(fewer) < makespan_ns(before)
    assert fewer.graph.num_parameters == before.graph.num_parameters


def test_a_folded_batch_norm_saves_time_in_inference() -> None:
    training = problem_of("resnet-50")
    inference = replace(training, graph=forward_only(training.graph))
    assert "fold-conv-batch-norm" not in [m.rule for m in moves_of(training)]
    folded = after(inference, "fold-conv-batch-norm")
    assert makespan_ns(folded) < makespan_ns(inference)


def moves_of(problem: Problem) -> tuple[Move, ...]:
    return graph_moves(problem.graph, problem.base)


def kernels(problem: Problem) -> int:
    return sum(s.kernel != "alias" for op in problem.graph.operators for s in op.steps)


def touched(problem: Problem) -> float:
    return bytes_touched(Variant(problem.graph, problem.base))


@pytest.mark.parametrize("pipeline", [1, 2])
def test_strategies_follow_their_graphs(pipeline: int) -> None:
    problem = make_problem(gpt(pipeline, training={"recompute": "full"}))
    fused = after(problem, FUSE)
    check_strategy(fused.base, fused.graph, problem.devices.num_devices)
    assert fused.base.stage_of.keys() <= fused.graph.by_name.keys()
    for layer in ("layer0", "layer1"):
        name = f"{layer}.fc1+gelu"
        assert fused.base.configs[name] == problem.base.configs[f"{layer}.fc1"]
        if pipeline > 1:
            assert fused.base.stage_of[name] == problem.base.stage_of[f"{layer}.fc1"]
    assert [len(run) for run in fused.base.recompute] == [
        len(run) - 1 for run in problem.base.recompute
    ]
    makespan_ns(fused)


def test_operators_of_two_stages_are_not_joined() -> None:
    base = make_problem(gpt(2)).base
    names = list(base.configs)
    last_of_first = max(k for k, name in enumerate(names) if base.stage_of[name] == 0)
    assert not stays_together(base, tuple(names[last_of_first : last_of_first + 2]))
    assert stays_together(base, tuple(names[:2]))


def test_what_must_be_whole_is_replicated() -> None:
    """A row-parallel product in front of an activation loses that cut, and its sum."""
    problem = make_problem(scenario(model={"layers": 3}))
    space = make_space(scenario(model={"layers": 3}), problem)
    (unit,) = (unit for unit in space.units if unit.name == "layer1.linear")
    rows = next(c for c in space.configs(unit) if dict(c.splits).keys() == {"f"})
    base = replace(problem.base, configs={**problem.base.configs, **unit.configs(rows)})
    fused = after(replace(problem, base=base), FUSE).base.configs["layer1.linear+gelu"]
    assert rows.degree("f") == 2
    assert (fused.mesh, fused.degree("f")) == (rows.mesh, 1)


def test_shared_weights_keep_one_config() -> None:
    """The steps of a decoder share their products' weights."""
    problem = problem_of("nmt", sequence=3, hidden=64, vocabulary=100)
    space = make_space(network("nmt", sequence=3, hidden=64, vocabulary=100), problem)
    rng = np.random.default_rng(4)
    for _ in range(10):
        configs = random_configs(problem, space, rng)
        drawn = replace(problem, base=replace(problem.base, configs=configs))
        fused = after(drawn, FUSE)
        for unit in find_units(fused.graph):
            assert unit.is_on_one_mesh(fused.base.configs)
            assert unit.accepts(unit.config(fused.base.configs))


@pytest.mark.parametrize("preset", ["alexnet", "dlrm"])
def test_delta_and_full_simulation_agree_on_transformed_graphs(preset: str) -> None:
    problem = transformed_problems(problem_of(preset), 4)[-1]
    space = make_space(network(preset), problem)
    rng = np.random.default_rng(1)
    full, delta = FullObjective(problem), delta_objective(problem)
    for _ in range(5):
        configs = random_configs(problem, space, rng)
        assert delta.start(configs) == full.start(configs)


def test_graphs_are_found_once_and_the_cheapest_soon() -> None:
    problem = problem_of("dlrm")
    variants = transformed_graphs(problem.graph, problem.base, 4)
    rules = [[move.rule for move in variant.moves] for variant in variants]
    assert rules[:4] == [[], [FUSE], ["absorb-concatenation"], rules[3]]
    assert sorted(rules[3]) == ["absorb-concatenation", FUSE]
    assert len({variant.content for variant in variants}) == 4
    costs = [bytes_touched(variant) for variant in variants]
    assert min(costs) == costs[3] < costs[0]


def test_the_limit_bounds_graphs_and_they_end() -> None:
    problem = make_problem(gpt())
    assert transformed_graphs(problem.graph, problem.base, 1)[0].graph is problem.graph
    assert len(transformed_graphs(problem.graph, problem.base, 50)) == 2


def test_single_places_are_parts_of_everywhere() -> None:
    problem = problem_of("alexnet")
    (everywhere,) = moves_of(problem)
    alone = single_moves(problem.graph, problem.base)
    assert [site for move in alone for site in move.sites] == [*everywhere.sites]
    assert len(alone) == len(everywhere.sites) == 7


def test_the_best_graph_is_kept() -> None:
    problem = problem_of("alexnet")
    best = best_transformed(problem, 3)
    times = [makespan_ns(each) for each in transformed_problems(problem, 3)]
    assert makespan_ns(best) == min(times) < times[0]
    assert search_each(problem, lambda each: (-makespan_ns(each), each), 3).graph is problem.graph


def test_a_transformation_that_slows_down_is_not_kept() -> None:
    """Where the product's sum is split, fusing an activation costs that split."""
    one = scenario(
        model={"layers": 3, "hidden": 4096},
        cluster={"devices": 8},
        training={"global_batch": 16, "micro_batch": 2},
    )
    problem = make_problem(one)
    rows = {"layer0.linear": arranged({"h": 8}, range(8))}
    rows["layer1.linear"] = arranged({"f": 8}, range(8))
    base = replace(problem.base, configs={**problem.base.configs, **rows})
    summing = replace(problem, base=base)
    assert makespan_ns(after(summing, FUSE)) > makespan_ns(summing)
    assert best_transformed(summing).graph is problem.graph


def searched(tmp_path: Path, **search: object) -> tuple[SearchResult, Path]:
    one = Scenario.from_dict(
        content(model={"layers": 3}, search={"budget": 5, "chains": 1, **search}), "small.toml"
    )
    result = flexsim.search(one)
    result.save(tmp_path)
    return result, tmp_path / "best-strategy.json"


def test_a_search_may_choose_the_graph_and_its_file_says_so(tmp_path: Path) -> None:
    result, path = searched(tmp_path, transformations=True)
    assert "layer1.linear+gelu" in result.best_strategy.configs
    assert result.expert is not None
    plain, _ = searched(tmp_path / "plain")
    assert result.expert.metrics == plain.expert.metrics
    told = json.loads(path.read_text())["model"]["transformations"]
    assert [rule for rule, _ in told] == [FUSE]
    again = scenario(model={"layers": 3}, strategy={"name": None, "file": str(path)})
    found = flexsim.run(again).metrics["iteration_time_s"]
    assert found == result.best_metrics["iteration_time_s"]


def test_a_file_without_transformations_does_not_mention_them(tmp_path: Path) -> None:
    _, path = searched(tmp_path)
    assert "transformations" not in json.loads(path.read_text())["model"]


def test_transformations_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    _, path = searched(tmp_path, transformations=True)
    file = json.loads(path.read_text())
    file["model"]["transformations"] = [[FUSE, [["layer0.linear", "layer1.gelu"]]]]
    path.write_text(json.dumps(file))
    again = scenario(model={"layers": 3}, strategy={"name": None, "file": str(path)})
    with pytest.raises(StrategyError, match=r"model\.transformations: .* does not apply to layer0"):
        flexsim.run(again)
