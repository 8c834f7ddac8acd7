"""TeraPipe expanded to operators: what slices of a sequence compute, keep and wait for."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, combinations

import numpy as np
import pytest
from fold_checks import Case, assert_folds_exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, software
from small_gpt import simulate_small, small

import flexsim
from flexsim.cost.costs import Costs
from flexsim.cost.work import Work
from flexsim.engine.contraction import Contracted, replay_contracted
from flexsim.engine.table import load_engine
from flexsim.errors import FlexSimError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.slices import even_slices, in_slices
from flexsim.strategy import Degrees, megatron
from flexsim.strategy.token_slices import best_cuts, total_ns
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.kinds import ACTION_KINDS
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.pricing import work_of
from flexsim.task_graph.slice_gradients import held_gradients
from flexsim.timeline.memory_series import memory_series

SHAPE = {"layers": 4, "hidden": 16, "heads": 4, "sequence": 24, "vocabulary": 32}
SLICES = st.lists(st.integers(1, 8), min_size=1, max_size=5).map(tuple)


class Few:
    """Communication with few distinct durations."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return np.full(len(groups), 1 + num_bytes % 5)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return np.full(len(sources), 1 + int(np.max(num_bytes)) % 5)


def work_ns(work: Work, device_type: str) -> int:
    return 100 + work.num_bytes + work.flops


COSTS = Costs(work_ns, Few(), software())


def model(attention: str = "flash", sequences: int = 1, **sizes: object) -> OperatorGraph:
    shape = {**SHAPE, "attention": attention, **sizes}
    return build_model(model_config("gpt", None, **shape), sequences)


def degrees(slices: tuple[int, ...], **more: object) -> Degrees:
    schedule = "terapipe" if slices else "gpipe"
    return Degrees(schedule=schedule, slices=slices, **more)  # type: ignore[arg-type]


def plan_of(slices: tuple[int, ...], attention: str = "flash", **more: object) -> Plan:
    values = degrees(slices, **more)
    graph = in_slices(model(attention, values.data), slices)
    return plan_task_graph(graph, megatron(graph, values), cluster(), COSTS)


def executed_flops(graph: OperatorGraph) -> int:
    """Return what kernels execute, what causality masks left out where they skip it."""
    steps = [(op, step) for op in graph.operators for step in op.steps]
    return sum(work_of(graph, step, op.sizes).flops for op, step in steps)


@settings(max_examples=8, deadline=None)
@given(slices=SLICES)
def test_fused_kernels_of_all_slices_do_the_work_of_whole_sequences(slices):
    whole = model(sequence=sum(slices))
    cut = in_slices(whole, slices)
    assert cut.flops == whole.flops
    nominal = sum(op.flops(kind) for op in cut.operators for kind in "FIW")
    assert nominal == whole.flops
    assert executed_flops(cut) == pytest.approx(executed_flops(whole), abs=len(cut.operators))


@settings(max_examples=8, deadline=None)
@given(slices=SLICES)
def test_unfused_kernels_skip_the_keys_behind_their_slice(slices):
    whole = model("unfused", sequence=sum(slices))
    cut = in_slices(whole, slices)
    assert cut.flops == whole.flops
    pairs = sum(size * end for size, end in zip(slices, accumulate(slices), strict=True))
    skipped = sum(slices) ** 2 - pairs
    products = [op for op in whole.operators if op.kind == "batched-matmul"]
    a_pair = sum(op.flops(kind) for op in products for kind in "FIW") // sum(slices) ** 2
    assert executed_flops(whole) - executed_flops(cut) == skipped * a_pair


def test_a_slice_reads_all_keys_up_to_its_end_and_keeps_its_own():
    cut = in_slices(model("unfused"), (8, 12, 4))
    scores = cut.by_name["slice1.layer0.attention_scores"]
    assert (scores.sizes["s"], scores.sizes["kv"]) == (12, 20)
    assert cut.shape("slice1.layer0.attention_scores.out") == (1, 4, 12, 20)
    queries, keys = scores.forward[0].reads
    assert (queries.sliced, keys.sliced) == (False, True)
    assert cut.shape(keys.tensor) == (1, 12, 4, 4)
    assert keys.num_elements(scores.sizes) == 20 * 16
    assert cut.weights == model("unfused").weights


def test_even_slices_differ_by_one_position():
    assert even_slices(24, 4) == (6, 6, 6, 6)
    assert sorted(even_slices(25, 4)) == [6, 6, 6, 7]


def test_forwards_go_from_the_first_slice_and_backwards_from_the_last():
    plan = plan_of((8, 8, 8), pipeline=2, num_microbatches=2)
    table = plan.actions.table
    rows = np.flatnonzero(table.rank == 1).tolist()
    order = [f"{table.stage[r]}{ACTION_KINDS[table.kind[r]]}{table.microbatch[r]}" for r in rows]
    forwards = ["1F0", "3F1", "5F2", "1F3", "3F4", "5F5"]
    assert order == [*forwards, *(f.replace("F", "B") for f in reversed(forwards)), "1U-1"]
    assert plan.schedule.rank_of_stage.tolist() == [0, 1] * 3


@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_weights_are_held_and_summed_once(attention):
    whole = plan_of((), attention, pipeline=2, data=2, num_microbatches=2)
    cut = plan_of((8, 12, 4), attention, pipeline=2, data=2, num_microbatches=2)
    for name in ("weights", "gradients", "optimizer"):
        ours, theirs = (getattr(each.static_memory, name).tolist() for each in (cut, whole))
        assert ours == theirs, name
    updates = [
        plan.templates.num_bytes[plan.templates.offsets[plan.templates.num_passes] :]
        for plan in (whole, cut)
    ]
    assert sorted(updates[0].tolist()) == sorted(updates[1].tolist())


def test_slices_keep_what_whole_sequences_keep():
    whole, cut = (plan_of(each, pipeline=2, num_microbatches=2) for each in ((), (8, 12, 4)))
    kept = []
    for plan in (whole, cut):
        memory, table = plan.activation_memory, plan.actions.table
        forward = table.kind[memory.action] == 0
        kept.append(np.bincount(memory.device[forward], memory.left[forward, 0]).tolist())
    assert kept[0] == kept[1]


def test_gradients_of_keys_stay_until_their_slice_uses_them():
    slices = (8, 12, 4)
    values = degrees(slices, pipeline=2, num_microbatches=1)
    graph = in_slices(model(), slices)
    program = build_program(graph, megatron(graph, values), cluster(), COSTS)
    found = held_gradients(program)
    assert sum(held.num_bytes for held in found) == 0
    come = sum(held.num_bytes for held in found if held.num_bytes > 0)
    keys_and_values, bytes_each = 2, 2
    assert come == SHAPE["layers"] * keys_and_values * (8 + 12) * SHAPE["hidden"] * bytes_each
    assert all(
        program.touched[held.row][0].lane == (2 if held.num_bytes > 0 else lane)
        for held in found
        for lane in [program.touched[held.row][0].lane]
    )


@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_all_that_comes_goes(attention):
    plan = plan_of((8, 12, 4), attention, pipeline=2, num_microbatches=2)
    series = memory_series(load_engine("event")(plan.task_graph(), None))
    assert series is not None
    for each in series.devices:
        assert each.parts.min() >= 0
        assert not each.parts[-1, 3:7].any()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tensor": 2, "sequence_parallel": True},
        {"data": 2, "zero": 1},
        {"tensor": 2, "recompute": "selective", "overlap_gradients": True},
    ],
)
@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_engines_folding_and_contraction_agree(attention, more):
    slices = (8, 12, 4)
    values = degrees(slices, pipeline=2, num_microbatches=2, **more)
    graph = in_slices(model(attention, 2 * values.data), slices)
    case = Case(graph, megatron(graph, values), cluster(), COSTS)
    few = assert_folds_exactly(case)
    ends = [load_engine(name)(few, None).end_ns for name in ("event", "compiled")]
    assert np.array_equal(*ends)
    plan = plan_task_graph(graph, case.strategy, cluster(), COSTS)
    found = replay_contracted(plan)
    assert isinstance(found, Contracted), found
    assert np.array_equal(found.timeline().end_ns, ends[0])


@pytest.mark.parametrize("microbatches", [1, 2])
def test_slices_fill_the_bubble_of_few_microbatches(microbatches):
    sizes = {"num_microbatches": microbatches, "pipeline": 4}
    costs = replace(COSTS, compute=lambda work, device: 1 + work.flops // 100)
    times = []
    for slices in ((), (12, 12), (6, 6, 6, 6)):
        graph = in_slices(model(), slices)
        strategy = megatron(graph, degrees(slices, **sizes))
        plan = plan_task_graph(graph, strategy, cluster(), costs)
        times.append(load_engine("event")(plan.task_graph(), None).makespan_ns)
    assert times[0] > times[1] > times[2]


@pytest.mark.parametrize(("family", "sizes"), [("llama", {"kv_heads": 2}), ("palm", {})])
def test_other_causal_transformers_pass_in_slices(family, sizes):
    config = model_config(family, None, **SHAPE, **sizes)
    whole = build_model(config, 1)
    cut = in_slices(whole, (8, 12, 4))
    values = degrees((8, 12, 4), pipeline=2, tensor=2, num_microbatches=2)
    found = plan_task_graph(cut, megatron(cut, values), cluster(), COSTS)
    assert found.hardware_flops <= 2 * whole.flops
    assert cut.num_parameters == whole.num_parameters
    assert load_engine("event")(found.task_graph(), None).makespan_ns > 0


def test_a_search_wants_whole_sequences():
    content = small(strategy={"schedule": "terapipe"})
    with pytest.raises(FlexSimError, match="'terapipe' has not; choose another"):
        flexsim.search(flexsim.Scenario.from_dict(content, "small.toml"))


def test_a_scenario_says_how_sequences_are_cut():
    def simulated(**more: object) -> dict[str, object]:
        table = {"schedule": "terapipe", "tensor": 1, "data": 1, "pipeline": 4, **more}
        found = simulate_small(strategy=table, training={"global_batch": 1})
        return dict(found.metrics)

    whole, four, same = (simulated(token_slices=n) for n in (1, 4, [64] * 4))
    assert same == four == simulated()
    gpipe = simulated(schedule="gpipe")
    assert whole == gpipe
    assert four["model_flops"] == gpipe["model_flops"]
    assert four["bubble_fraction"] < gpipe["bubble_fraction"]


@settings(max_examples=30, deadline=None)
@given(
    times=st.lists(st.integers(1, 30), min_size=15, max_size=15),
    ranks=st.integers(1, 4),
    microbatches=st.integers(1, 3),
)
def test_the_best_cuts_are_those_of_all(times, ranks, microbatches):
    slice_ns = np.zeros((6, 6), np.int64)
    slice_ns[np.triu_indices(6, 1)] = times
    found = best_cuts(slice_ns, ranks, microbatches)
    every = [(*some, 5) for size in range(5) for some in combinations(range(1, 5), size)]
    least = min(total_ns(slice_ns, cuts, ranks, microbatches) for cuts in every)
    assert total_ns(slice_ns, found, ranks, microbatches) == least


def test_the_best_slices_are_not_behind_even_ones():
    def simulated(slices: object) -> flexsim.Result:
        table = {"schedule": "terapipe", "tensor": 1, "data": 1, "pipeline": 4}
        model = {"sequence": 4096, "hidden": 1024, "attention": "flash"}
        return simulate_small(
            strategy={**table, "token_slices": slices}, model=model, training={"global_batch": 1}
        )

    best = simulated("best")
    others = [simulated(n).metrics["iteration_time_s"] for n in (1, 4)]
    assert best.metrics["iteration_time_s"] <= 1.02 * min(others)
    (note,) = best.notes
    lengths = [int(n) for n in note.removeprefix("slices: ").split(" of ")[0].split(", ")]
    assert sum(lengths) == 4096
    assert lengths != sorted(lengths) or len(set(lengths)) == 1


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"strategy": {"token_slices": 300}}, ["token_slices = 300", "model.sequence = 256"]),
        ({"strategy": {"token_slices": [100, 100]}}, ["[100, 100]", "add up"]),
        ({"strategy": {"token_slices": 2, "schedule": "1f1b"}}, ["no meaning", "terapipe"]),
        ({"model": {"name": "bert"}}, ["'bert'", "only looks back"]),
        ({"model": {"name": "gpt-moe", "experts": 4}}, ["one by one", "without experts"]),
        ({"strategy": {"context": 2, "data": 1}}, ["strategy.context = 2"]),
        ({"training": {"recompute": "full"}}, ["training.recompute = 'full'"]),
        (
            {"strategy": {"token_slices": [100, 101, 55], "sequence_parallel": True, "tensor": 2}},
            ["101 positions", "multiples of 2"],
        ),
    ],
)
def test_what_slices_do_not_go_with_is_refused(tables, told):
    tables["strategy"] = {"schedule": "terapipe", **tables.get("strategy", {})}
    with pytest.raises(FlexSimError) as caught:
        simulate_small(**tables)
    assert all(part in str(caught.value) for part in ["small.toml", *told]), str(caught.value)
