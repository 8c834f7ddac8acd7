"""Expert parallelism: its all-to-alls, who keeps which expert, and what uneven loads do."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from fold_checks import Case, assert_folds_exactly
from program_record import SHAPE, Recorded, cluster, counted, model, record, recorded, software

from flexsim.cost.costs import Costs
from flexsim.engine.table import load_engine
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import Degrees, Mesh, ParallelConfig, Strategy, megatron
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import TaskGraph

S, H = SHAPE["sequence"], SHAPE["hidden"]
E, K = 4, 2
COSTS = make_costs(cluster())


def mixtral(sequences: int = 4, **sizes: object) -> OperatorGraph:
    return model("mixtral", sequences, layers=3, **({"experts": E, "chosen_experts": K} | sizes))


def expert_messages(found: Recorded, action: str) -> Counter[tuple[str, int]]:
    return counted(m for m in found.of(action, "layer1") if m.stream == "expert")


@pytest.mark.parametrize(("data", "expert"), [(2, 2), (4, 2), (4, 4), (8, 4)])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_two_all_to_alls_a_pass_of_the_chosen_tokens(data: int, expert: int, factor: float) -> None:
    """A device's tokens of hidden size, k x capacity factor times."""
    b = 2
    found = recorded(mixtral(b * data, capacity_factor=factor), data=data, expert=expert)
    size = round(2 * b * S * H * K * factor)
    assert expert_messages(found, "F") == {("all-to-all", size): 2}
    assert expert_messages(found, "B") == {("all-to-all", size): 2}
    assert len(found.of("F", "layer1")) == 2, "and nothing else"
    groups = tuple(tuple(range(i, i + expert)) for i in range(0, data, expert))
    assert {m.devices for m in found.of("F", "layer1")} == {groups}


def test_without_expert_parallelism_tokens_stay() -> None:
    found = recorded(mixtral(4), data=4)
    assert not found.of("F")
    assert not found.of("B")


@pytest.mark.parametrize("samples", list(permutations(("x", "y", "z"))))
@pytest.mark.parametrize("experts", [("x",), ("y",), ("z",), ("y", "x"), ("x", "z")])
def test_one_all_to_all_comes_out_on_any_order_of_axes(
    samples: tuple[str, ...], experts: tuple[str, ...]
) -> None:
    """Tokens may lie in any order: mesh axes that cut samples are compared as a set."""
    mesh, graph = Mesh(("x", "y", "z"), np.arange(8).reshape(2, 2, 2)), mixtral(16)
    rest = tuple(name for name in samples if name not in experts)
    inside, outside = {"b": rest, "e": experts}, {"b": samples}
    configs = {}
    for op in graph.operators:
        splits = inside if any(d.name == "e" and d.max_degree != 1 for d in op.dims) else outside
        configs[op.name] = ParallelConfig.of(mesh, {k: v for k, v in splits.items() if v})
    found = record(graph, Strategy("any", configs))
    size = 2 * 2 * S * H * K
    for action in "FB":
        assert counted(found.of(action, "layer1")) == {("all-to-all", size): 2}
        axes = tuple(name for name in mesh.names if name in experts)
        groups = {tuple(map(tuple, mesh.groups(axes).tolist()))}
        assert {m.devices for m in found.of(action, "layer1")} == groups


def test_expert_weights_are_summed_over_their_own_replicas() -> None:
    graph = mixtral(8)
    found = recorded(graph, data=8, expert=4)
    by_groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for message in found.of("U", stream="gradient"):
        by_groups.setdefault(message.devices, []).append(message.num_bytes)
    experts = [w for w in graph.weights.values() if ".expert_" in w.name]
    pairs = ((0, 4), (1, 5), (2, 6), (3, 7))
    assert Counter(by_groups.pop(pairs)) == Counter(2 * w.num_parameters // 4 for w in experts)
    assert [len(each) for each in by_groups.values()] == [len(graph.weights) - len(experts)]
    assert list(by_groups) == [(tuple(range(8)),)]


def test_one_replica_of_each_expert_needs_no_sum() -> None:
    graph = mixtral(4)
    found = recorded(graph, data=4, expert=4)
    experts = [name for name in graph.weights if ".expert_" in name]
    assert len(found.of("U", stream="gradient")) == len(graph.weights) - len(experts)


def test_tensor_parallel_experts_gather_and_scatter_beside() -> None:
    """All-to-all and all-gather in, reduce-scatter and all-to-all out."""
    b = 2
    found = recorded(mixtral(b * 2), data=2, expert=2, tensor=2, sequence_parallel=True)
    size = 2 * b * S * H * K
    seen = counted(m for m in found.of("F", "layer1") if m.operator.split(".")[1] in IN_MIXTURE)
    exchange = ("all-to-all", size // 2)
    assert seen == {exchange: 2, ("all-gather", size): 1, ("reduce-scatter", size): 1}


IN_MIXTURE = ("router", "route", "dispatch", "expert_gate_up", "expert_down", "combine")


@pytest.mark.parametrize(("data", "context", "expert"), [(2, 2, 2), (2, 2, 4), (2, 4, 4)])
def test_experts_and_context_go_together(data: int, context: int, expert: int) -> None:
    b = 2
    found = recorded(mixtral(b * data), data=data, context=context, expert=expert)
    size = 2 * b * S * H * K // context
    assert expert_messages(found, "F") == {("all-to-all", size): 2}
    kinds = Counter(m.name for m in found.of("F", "layer1") if m.stream == "context")
    assert kinds == {"all-gather": 2}


def test_optimizer_state_is_shared_among_the_replicas_that_each_weight_has() -> None:
    graph = mixtral(4)
    found = recorded(graph, data=4, expert=2, zero=1)
    shares = {part.name: part.num_shares for part in found.parts}
    assert {shares[name] for name in shares if ".expert_" in name} == {2}
    assert {shares[name] for name in shares if ".expert_" not in name} == {4}


def case_of(degrees: Degrees, **sizes: object) -> Case:
    graph = mixtral(2 * degrees.data, **({"sequence": 32, "hidden": 32} | sizes))
    costs = Costs(COSTS.compute, COSTS.communication, software())
    return Case(graph, megatron(graph, degrees), cluster(), costs)


@pytest.mark.parametrize(
    "degrees",
    [
        Degrees(data=4, expert=4, num_microbatches=2),
        Degrees(data=8, expert=2, num_microbatches=2),
        Degrees(data=2, context=2, expert=4, num_microbatches=2),
        Degrees(data=4, expert=2, tensor=2, sequence_parallel=True, num_microbatches=2),
        Degrees(data=4, expert=2, zero=1, num_microbatches=2),
    ],
)
def test_folding_is_exact(degrees: Degrees) -> None:
    assert "folded to 1," in assert_folds_exactly(case_of(degrees)).folding


def test_uneven_loads_are_not_folded_together() -> None:
    degrees = Degrees(data=8, expert=4, num_microbatches=2)
    few = assert_folds_exactly(case_of(degrees, load_imbalance=0.8, hidden=512, ffn=2048))
    assert "takes longer on some devices" in few.folding
    assert few.num_tasks_folded_away > 0, "two replicas of each expert are alike"


def makespan_ns(graph: TaskGraph, engine: str = "event") -> int:
    return int(load_engine(engine)(graph, None).makespan_ns)


def imbalanced(spread: float, **sizes: object) -> TaskGraph:
    degrees = Degrees(data=4, expert=4)
    large = {"hidden": 1024, "ffn": 4096, "sequence": 1024, "load_imbalance": spread}
    graph = mixtral(4, **(large | sizes))
    return plan_task_graph(graph, megatron(graph, degrees), cluster(), COSTS).task_graph()


@pytest.mark.parametrize("seed", [0, 7])
def test_more_imbalance_takes_longer(seed: int) -> None:
    times = [makespan_ns(imbalanced(spread, seed=seed)) for spread in (0.0, 0.2, 0.5, 1.0)]
    assert times == sorted(times)
    assert times[0] < times[-1]


def test_a_seed_gives_one_draw_and_engines_agree() -> None:
    first, again, other = (imbalanced(0.5, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.duration_ns, again.duration_ns)
    assert makespan_ns(first) != makespan_ns(other)
    assert makespan_ns(first) == makespan_ns(first, "compiled")


def test_a_part_takes_as_long_as_its_fullest_expert() -> None:
    """One device with all experts is as slow as the largest of all loads."""
    even, uneven = (
        mixtral(1, hidden=1024, ffn=4096, sequence=1024, load_imbalance=v) for v in (0, 1)
    )
    times = []
    for graph in (even, uneven):
        plan = plan_task_graph(graph, megatron(graph, Degrees()), cluster(), COSTS).task_graph()
        row = plan.operator_names.index("layer1.expert_down")
        times.append(int(plan.duration_ns[plan.operator == row].sum()))
    load = next(d.load for d in uneven.by_name["layer1.expert_down"].dims if d.name == "s")
    assert load is not None
    assert times[1] / times[0] == pytest.approx(max(load.factors), rel=0.15)  # type: ignore[union-attr]
