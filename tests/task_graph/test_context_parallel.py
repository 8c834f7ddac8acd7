"""Context parallelism by its three ways: what is sent, when, what it saves, and how it folds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fold_checks import Case, assert_folds_exactly
from program_record import SHAPE, cluster, counted, model, recorded, software

from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.engine.table import load_engine
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.loads import in_runs
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import Degrees, megatron
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import COLLECTIVE_CODE, NUM_COMPUTE_KINDS, TASK_CODE
from flexsim.task_graph.plan import Plan

S, H = SHAPE["sequence"], SHAPE["hidden"]
MIXTURES = ("mixtral", "gpt-moe", "deepseek")
FAMILIES = ("gpt", "bert", "llama", "palm", "gopher", *MIXTURES)
GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)
LONG = {"layers": 2, "hidden": 1024, "heads": 8, "sequence": 8192, "vocabulary": 1024}


def long_model(sequences: int = 1, **sizes: object) -> OperatorGraph:
    return build_model(model_config("llama", None, **(LONG | sizes)), sequences, "bf16")


def plan_of(degrees: Degrees, fold: bool = True, contiguous: bool = False) -> Plan:
    graph = long_model(degrees.data)
    graph = in_runs(graph) if contiguous else graph
    return plan_task_graph(graph, megatron(graph, degrees), GPUS, COSTS, fold)


def task_graph(degrees: Degrees, fold: bool = True, contiguous: bool = False) -> TaskGraph:
    return plan_of(degrees, fold, contiguous).task_graph()


def makespan_ns(graph: TaskGraph, engine: str = "event") -> int:
    return int(load_engine(engine)(graph, None).makespan_ns)


@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_a_layer_gathers_keys_and_values_and_scatters_their_gradients(attention: str) -> None:
    graph = model("llama", 4, layers=3, attention=attention)
    found = recorded(graph, data=2, context=4)
    size = 2 * 2 * S * H
    gather, scatter = ("all-gather", size), ("reduce-scatter", size)
    assert counted(found.of("F", "layer1")) == {gather: 2}
    assert counted(found.of("B", "layer1")) == {gather: 2, scatter: 2}
    assert {m.stream for m in found.of("F") + found.of("B")} == {"context"}
    assert {m.devices for m in found.of("F")} == {((0, 1, 2, 3), (4, 5, 6, 7))}


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_sum_over_data_and_context(family: str) -> None:
    """But learned positions, of which every part has its own, and what projects distances.

    These are not positions of the text; keys of distances are needed whole everywhere.
    """
    few = {"experts": 2, "chosen_experts": 2} if family in MIXTURES else {}
    graph = model(family, 2, **few)
    found = recorded(graph, data=2, context=4)
    sums = [m for m in found.of("U", stream="gradient") if m.devices == (tuple(range(8)),)]
    own = [n for n in graph.weights if n.startswith("position_embedding") or "relative" in n]
    assert len(sums) == len(graph.weights) - len(own)
    rest = [m for m in found.of("U", stream="gradient") if m not in sums]
    assert len(rest) == len(own)
    assert all(m.devices == ((0, 4), (1, 5), (2, 6), (3, 7)) for m in rest)


@pytest.mark.parametrize("tensor", [1, 2])
def test_ulysses_has_four_all_to_alls_a_layer_and_pass(tensor: int) -> None:
    graph = model("gpt", 2, layers=3)
    found = recorded(graph, tensor=tensor, context=2, context_method="ulysses")
    message = ("all-to-all", 2 * 2 * S * H // (2 * tensor))
    for action in "FB":
        seen = [m for m in found.of(action, "layer1") if m.stream == "context"]
        assert counted(seen) == {message: 4}


def test_tensor_and_sequence_parallelism_keep_their_messages() -> None:
    alone = recorded(model("llama", 3, layers=3), tensor=2, sequence_parallel=True)
    both = recorded(model("llama", 3, layers=3), tensor=2, sequence_parallel=True, context=2)
    for action in "FB":
        before = [(m.name, m.num_bytes) for m in alone.of(action, "layer1")]
        after = [m for m in both.of(action, "layer1") if m.stream == "tensor"]
        assert Counter((n, b // 2) for n, b in before) == counted(after)


def context_rows(plan: Plan, collective: str) -> np.ndarray:
    is_context = plan.task_graph().kind == TASK_CODE["context"]
    return np.flatnonzero((plan.collective == COLLECTIVE_CODE[collective]) & is_context)


@pytest.mark.parametrize("ways", [2, 4])
def test_a_ring_sends_the_same_bytes_in_n_minus_1_steps(ways: int) -> None:
    whole = plan_of(Degrees(context=ways))
    ring = plan_of(Degrees(context=ways, context_method="ring"))
    for collective, count in (("all-gather", 8), ("reduce-scatter", 4)):
        rows = [context_rows(plan, collective) for plan in (whole, ring)]
        assert [len(each) for each in rows] == [count, (ways - 1) * count]
        graphs = (whole.task_graph(), ring.task_graph())
        for column in ("num_bytes", "duration_ns"):
            before, after = (
                int(getattr(graph, column)[each].sum())
                for graph, each in zip(graphs, rows, strict=True)
            )
            assert before == after > 0


def test_a_ring_hides_what_a_gather_exposes() -> None:
    """Compute takes as long; what is left exposed are the last sums' last steps."""
    whole = plan_of(Degrees(context=8))
    ring = plan_of(Degrees(context=8, context_method="ring"))
    graphs = (whole.task_graph(), ring.task_graph())
    compute = [int(g.duration_ns[g.kind < NUM_COMPUTE_KINDS].sum()) for g in graphs]
    assert compute[0] == compute[1]
    gathered, around = (makespan_ns(graph) for graph in graphs)
    rows = context_rows(whole, "all-gather")
    hidden = gathered - around
    assert hidden > 0
    assert hidden > 0.5 * graphs[0].duration_ns[rows].sum() / 2, "pairs share the stream"


def test_a_block_waits_for_its_keys() -> None:
    """The first block starts at once, the second when keys and values of the other part came."""
    plan = plan_of(Degrees(context=2, context_method="ring"))
    graph = plan.task_graph()
    timeline = load_engine("event")(graph, None)
    attention = plan.operator_names.index("layer0.attention")
    forward = graph.kind == TASK_CODE["forward"]
    blocks = np.flatnonzero((graph.operator == attention) & forward)
    first, second = sorted(blocks, key=lambda row: timeline.start_ns[row])
    steps = [r for r in context_rows(plan, "all-gather") if graph.operator[r] == attention]
    arrived = [r for r in steps if timeline.end_ns[r] <= timeline.start_ns[second]]
    assert len(arrived) == 2
    assert all(timeline.end_ns[r] > timeline.start_ns[first] for r in arrived)


@pytest.mark.parametrize("method", ["all-gather", "ring", "ulysses"])
def test_engines_agree_and_folding_is_exact(method: str) -> None:
    degrees = Degrees(data=2, context=4, context_method=method, num_microbatches=2)
    folded, full = task_graph(degrees), task_graph(degrees, fold=False)
    assert len(folded.folding.split("folded to 1,")) == 2
    times = {makespan_ns(g, engine) for g in (folded, full) for engine in ("event", "compiled")}
    assert len(times) == 1


@pytest.mark.parametrize("method", ["all-gather", "ring"])
@pytest.mark.parametrize("contiguous", [False, True])
def test_every_task_of_the_full_graph_has_its_stand_in(method: str, contiguous: bool) -> None:
    graph = model("llama", 2, sequence=8)
    graph = in_runs(graph) if contiguous else graph
    degrees = Degrees(data=2, context=4, context_method=method, num_microbatches=2)
    costs = Costs(make_costs(cluster()).compute, make_costs(cluster()).communication, software())
    few = assert_folds_exactly(Case(graph, megatron(graph, degrees), cluster(), costs))
    assert ("on some devices of a rank than on others" in few.folding) == contiguous


def test_saved_activations_fall_by_the_degree() -> None:
    def saved_bytes(context: int) -> int:
        return int(plan_of(Degrees(context=context)).stage_memory.net[0].max())

    whole = saved_bytes(1)
    for ways in (2, 4, 8):
        assert saved_bytes(ways) == pytest.approx(whole / ways, rel=1e-3)


def test_causal_work_in_runs_is_bound_by_the_last_part() -> None:
    """The last of n parts has (2n - 1) / n times the mean of the attention's work."""
    ways = 4
    even = task_graph(Degrees(context=ways), fold=False)
    runs = task_graph(Degrees(context=ways), fold=False, contiguous=True)
    index = plan_of(Degrees()).operator_names.index("layer0.attention")

    def durations(graph: TaskGraph) -> np.ndarray:
        rows = (graph.operator == index) & (graph.kind == TASK_CODE["forward"])
        return np.sort(graph.duration_ns[rows]).astype(float)

    assert len(set(durations(even))) == 1
    shares = durations(runs) / durations(even)
    np.testing.assert_allclose(shares, [(2 * k + 1) / ways for k in range(ways)], rtol=0.02)
    assert makespan_ns(runs) > makespan_ns(even)


def test_context_and_pipeline_and_recompute_go_together() -> None:
    degrees = Degrees(
        pipeline=2, context=4, num_microbatches=4, recompute="full", context_method="ring"
    )
    folded = plan_of(degrees)
    assert makespan_ns(folded.task_graph()) == makespan_ns(task_graph(degrees, fold=False))
    less = plan_of(replace(degrees, recompute="none"))
    assert len(context_rows(less, "all-gather")) == 2 * 2 * 2 * 4 * 3
    assert len(context_rows(folded, "all-gather")) == 2 * 2 * 2 * 4 * 3
