"""PipeDream and PipeDream-2BW expanded to operators: updates between passes, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from fold_checks import Case, assert_memory_agrees, assert_spans_agree
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, software
from small_gpt import simulate_small

from flexsim.cost.costs import Costs
from flexsim.cost.work import Work
from flexsim.engine.contraction import replay_contracted
from flexsim.engine.table import load_engine
from flexsim.errors import FlexSimError
from flexsim.models import build_model, model_config
from flexsim.strategy import Degrees, megatron
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.kinds import ACTION_KINDS, NUM_COMPUTE_KINDS, TASK_CODE
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import PipelineShape, build_schedule
from flexsim.task_graph.schedules.updates import update_places
from flexsim.timeline.communication import communication_by_kind
from flexsim.timeline.memory_series import memory_series
from flexsim.timeline.metrics import IterationFacts, metrics
from flexsim.timeline.steady import steady_part
from flexsim.timeline.waterfall import waterfall

NAMES = ("pipedream", "pipedream-2bw")
FACTS = IterationFacts(4, 4, 8, 1e9, 1e9, 1e12, 10**9)
SHAPE = {"layers": 4, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}


class Free:
    """Communication that takes a nanosecond, the least that a task can last."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return np.ones(len(groups), np.int64)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return np.ones(len(sources), np.int64)


def work_ns(work: Work, device_type: str) -> int:
    """Price kernels by their bytes, so that stages differ."""
    return 1000 + work.num_bytes


def plan_of(name: str, fold: bool = True, **degrees: object) -> Plan:
    """Return the plan of a small model without a word table on two ranks."""
    values = Degrees(schedule=name, gradient_norm=False, **degrees)  # type: ignore[arg-type]
    config = model_config("gpt", None, **SHAPE, tied_embedding=False)
    graph = build_model(config, values.data)
    costs = Costs(work_ns, Free(), software())
    return plan_task_graph(graph, megatron(graph, values), cluster(), costs, fold)


def order_of(plan: Plan, rank: int) -> str:
    table = plan.actions.table
    rows = np.flatnonzero(table.rank == rank).tolist()
    return " ".join(f"{ACTION_KINDS[table.kind[row]]}{table.microbatch[row]}" for row in rows)


def test_pipedream_updates_right_behind_every_backward():
    plan = plan_of("pipedream", pipeline=2, num_microbatches=1, iterations=5)
    assert order_of(plan, 0) == "F0 F1 B0 U0 F2 B1 U1 F3 B2 U2 F4 B3 U3 B4 U4"
    assert order_of(plan, 1) == "F0 B0 U0 F1 B1 U1 F2 B2 U2 F3 B3 U3 F4 B4 U4"


def test_two_buffered_weights_are_updated_before_the_next_backward():
    plan = plan_of("pipedream-2bw", pipeline=2, num_microbatches=2, iterations=3)
    assert order_of(plan, 0) == "F0 F1 B0 F2 B1 F3 U0 B2 F4 B3 F5 U1 B4 B5 U2"
    assert order_of(plan, 1) == "F0 B0 F1 B1 F2 U0 B2 F3 B3 F4 U1 B4 F5 B5 U2"


@settings(max_examples=40, deadline=None)
@given(p=st.integers(1, 6), m=st.integers(1, 8), name=st.sampled_from(NAMES))
def test_weights_are_there_when_a_forward_takes_them(p, m, name):
    """Every microbatch takes weights that its rank has made, on all ranks by the rule."""
    schedule = build_schedule(name, PipelineShape(p, m, num_iterations=4))
    every = schedule.microbatches_an_update
    place = update_places(schedule)
    for row in range(schedule.num_actions):
        if ACTION_KINDS[schedule.kind[row]] == "F":
            done = int(((place.rank == schedule.rank[row]) & (place.row <= row)).sum())
            wanted = int(schedule.microbatch[row]) // every - schedule.updates_behind
            assert done >= wanted if schedule.updates_behind else done <= wanted
    assert len(place.row) == p * schedule.num_microbatches // every


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 1), (2, 4), (4, 2), (4, 4)])
def test_the_steady_state_is_that_of_the_slowest_stage(name, ranks, microbatches):
    plan = plan_of(name, pipeline=ranks, num_microbatches=microbatches)
    timeline = load_engine("event")(plan.task_graph(), None)
    steady = steady_part(timeline)
    graph = steady.timeline.task_graph
    work_ns = graph.duration_ns * (graph.kind < NUM_COMPUTE_KINDS)
    busiest_ns = np.bincount(graph.device, work_ns).max()
    assert busiest_ns <= steady.timeline.makespan_ns <= 1.001 * busiest_ns
    found = metrics(timeline, FACTS)
    assert found["iteration_time_s"] == steady.timeline.makespan_ns / steady.num_iterations / 1e9
    assert found["steady_iterations"] == found["simulated_iterations"] // 2
    assert found["iteration_time_s"] < timeline.makespan_ns / found["simulated_iterations"] / 1e9


def test_a_longer_run_has_the_same_steady_state():
    found = [
        metrics(load_engine("event")(plan.task_graph(), None), FACTS)["iteration_time_s"]
        for plan in (
            plan_of("pipedream", pipeline=4, num_microbatches=2, iterations=n) for n in (8, 20)
        )
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize(("name", "versions"), [("pipedream", [4, 3, 2, 1]), (NAMES[1], [2] * 4)])
def test_every_version_of_the_weights_takes_memory(name, versions):
    once = plan_of("1f1b", pipeline=4, num_microbatches=4)
    plan = plan_of(name, pipeline=4, num_microbatches=4)
    held = once.static_memory.weights * np.array(versions)
    assert plan.static_memory.weights.tolist() == held.tolist()
    assert plan.static_memory.gradients.tolist() == once.static_memory.gradients.tolist()
    timeline = load_engine("event")(plan.task_graph(), None)
    series = memory_series(timeline)
    assert [set(each.parts[:, 0].tolist()) for each in series.devices] == [{n} for n in held]
    assert metrics(timeline, FACTS)["weight_versions"] == versions


def test_microbatches_in_flight_are_those_of_1f1b():
    series = [
        memory_series(
            load_engine("event")(plan_of(name, pipeline=4, num_microbatches=8).task_graph(), None)
        )
        for name in ("1f1b", *NAMES)
    ]
    peaks = [[int(each.parts[:, 3].max()) for each in one.devices] for one in series]
    assert peaks[0] == peaks[1] == peaks[2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overlap", [False, True])
def test_engines_and_folding_agree(name, overlap):
    degrees = {
        "pipeline": 2,
        "data": 2,
        "tensor": 2,
        "num_microbatches": 2,
        "overlap_gradients": overlap,
    }
    plan, full = plan_of(name, **degrees), plan_of(name, fold=False, **degrees).task_graph()
    few = plan.task_graph()
    assert full.num_tasks == few.num_tasks + few.num_tasks_folded_away
    times = [load_engine(engine)(g, None) for g in (few, full) for engine in ("event", "compiled")]
    assert np.array_equal(times[0].start_ns, times[1].start_ns)
    assert np.array_equal(times[2].start_ns, times[3].start_ns)
    assert replay_contracted(plan) == "the schedule updates weights between passes"
    config = model_config("gpt", None, **SHAPE, tied_embedding=False)
    graph = build_model(config, 2)
    strategy = megatron(graph, Degrees(schedule=name, gradient_norm=False, **degrees))  # type: ignore[arg-type]
    case = Case(graph, strategy, cluster(), Costs(work_ns, Free(), software()))
    rows, folding = case.folding()
    assert_spans_agree((full, few), (rows, folding), strategy)
    assert_memory_agrees(full, few, folding)


@pytest.mark.parametrize("name", NAMES)
def test_replicas_sum_their_gradients_once_an_update(name):
    plan = plan_of(name, pipeline=2, data=2, num_microbatches=4)
    graph = plan.task_graph()
    once = plan_of("1f1b", pipeline=2, data=2, num_microbatches=4).task_graph()
    updates = (4 if name == "pipedream" else 1) * plan.schedule.num_iterations
    codes = [TASK_CODE[kind] for kind in ("gradient", "optimizer")]
    for code in codes:
        assert (graph.kind == code).sum() == updates * (once.kind == code).sum() > 0
    ends = load_engine("event")(graph, None).end_ns
    starts = ends - graph.duration_ns
    for action in np.unique(graph.action[graph.kind == codes[1]]).tolist():
        mine = graph.action == action
        assert (
            ends[mine & (graph.kind == codes[0])].max()
            <= starts[mine & (graph.kind == codes[1])].min()
        )


@pytest.mark.parametrize("overlap", [False, True])
def test_older_weights_let_gradients_be_summed_beside_the_next_forward(overlap):
    degrees = {"pipeline": 2, "data": 2, "num_microbatches": 2, "overlap_gradients": overlap}
    plan = plan_of("pipedream-2bw", **degrees)
    timeline = load_engine("event")(plan.task_graph(), None)
    graph, table = timeline.task_graph, plan.actions.table

    def span(kind: str, number: int, task: str) -> tuple[int, int]:
        rows = (table.rank == 1) & (table.microbatch == number)
        (action,) = np.flatnonzero(rows & (table.kind == ACTION_KINDS.index(kind))).tolist()
        mine = (graph.action == action) & (graph.kind == TASK_CODE[task])
        return int(timeline.start_ns[mine].min()), int(timeline.end_ns[mine].max())

    backward, forward = span("B", 1, "weight-gradient"), span("F", 2, "forward")
    sums, step = span("U", 0, "gradient"), span("U", 0, "optimizer")
    assert backward[1] <= sums[0] < sums[1] < forward[1] <= step[0]


@pytest.mark.parametrize(("name", "updates"), [("pipedream", 4), ("pipedream-2bw", 1)])
def test_a_steady_iteration_communicates_what_one_that_flushes_does(name, updates):
    degrees = {"pipeline": 2, "data": 2, "num_microbatches": 4}
    once, many = (
        {
            row.kind: row.num_bytes
            for row in communication_by_kind(load_engine("event")(plan.task_graph(), None))
        }
        for plan in (plan_of("1f1b", **degrees), plan_of(name, **degrees))
    )
    assert many["pipeline"] == once["pipeline"]
    assert many["gradient"] == updates * once["gradient"]


@pytest.mark.parametrize("name", NAMES)
def test_the_waterfall_of_a_steady_iteration_adds_up(name):
    plan = plan_of(name, pipeline=4, num_microbatches=2)
    found = waterfall(load_engine("event")(plan.task_graph(), None), FACTS)
    assert sum(step.time_ns for step in found.steps) == found.iteration_ns
    whole = sum(step.device_ns for step in found.steps)
    assert whole / found.num_devices / found.num_iterations == pytest.approx(
        found.iteration_ns, abs=1
    )


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"model": {"tied_embedding": True}}, ["'word_embedding'", "ranks 0 and 1"]),
        ({"strategy": {"gradient_norm": True}}, ["strategy.gradient_norm = false"]),
        ({"strategy": {"zero": 1}}, ["strategy.zero = 0"]),
        ({"training": {"offload": ["optimizer"]}}, ["training.offload"]),
        ({"simulation": {"iterations": 2}}, ["2 iterations", "simulation.iterations = 3"]),
        ({"strategy": {"chunks": 2}}, ["chunks = 1"]),
    ],
)
def test_what_would_make_ranks_wait_is_refused(tables, told):
    tables["model"] = {"tied_embedding": False, **tables.get("model", {})}
    tables["strategy"] = {"schedule": "pipedream", **tables.get("strategy", {})}
    with pytest.raises(FlexSimError) as caught:
        simulate_small(**tables)
    assert all(part in str(caught.value) for part in ["small.toml", *told]), str(caught.value)


def test_iterations_are_told_to_schedules_that_flush():
    with pytest.raises(FlexSimError, match=r"simulation\.iterations = 3 has no meaning for"):
        simulate_small(simulation={"iterations": 3})


def test_one_rank_needs_no_older_weights():
    plan = plan_of("pipedream", pipeline=1, num_microbatches=2)
    once = plan_of("gpipe", pipeline=1, num_microbatches=2)
    assert plan.static_memory.weights.tolist() == once.static_memory.weights.tolist()
    assert plan.hardware_flops == once.hardware_flops
