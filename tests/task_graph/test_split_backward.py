"""Schedules that cut backwards in two, expanded to operators."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.engine.contraction import replay_contracted
from flexsim.engine.table import load_engine
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import BASELINES, Degrees
from flexsim.task_graph import build
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_CODE
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import SCHEDULES, Action, PipelineShape, Schedule, ScheduleEntry
from flexsim.timeline.memory_series import memory_series

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)


def halves(shape: PipelineShape) -> Schedule:
    """1F1B with every backward in two, W right behind I."""
    return _one_forward_one_backward(shape, lambda m: ("I", "W"))


def mixed(shape: PipelineShape) -> Schedule:
    """1F1B with every other backward in two."""
    return _one_forward_one_backward(shape, lambda m: ("I", "W") if m % 2 else ("B",))


def delayed(shape: PipelineShape) -> Schedule:
    """GPipe with all weight gradients at the end."""
    ranks = range(shape.num_ranks)
    numbers = range(shape.num_microbatches)
    orders = [[[Action(r, kind, m)] for kind in "FIW" for m in numbers] for r in ranks]
    return Schedule.from_sets(shape.num_microbatches, list(ranks), orders)


def _one_forward_one_backward(shape: PipelineShape, backward: object) -> Schedule:
    orders = []
    for rank in range(shape.num_ranks):
        warm = min(shape.num_microbatches, shape.num_ranks - 1 - rank)
        order = [[Action(rank, "F", m)] for m in range(warm)]
        for m in range(shape.num_microbatches):
            if m + warm < shape.num_microbatches:
                order.append([Action(rank, "F", m + warm)])
            order += [[Action(rank, kind, m)] for kind in backward(m)]  # type: ignore[operator]
        orders.append(order)
    return Schedule.from_sets(shape.num_microbatches, list(range(shape.num_ranks)), orders)


def plan_of(
    monkeypatch: pytest.MonkeyPatch, function: object, fold: bool = True, **degrees: object
) -> Plan:
    entry = ScheduleEntry(function, "a test")  # type: ignore[arg-type]
    monkeypatch.setitem(SCHEDULES, "mine", entry)
    sizes = {"layers": 4, "hidden": 256, "heads": 4, "sequence": 64, "vocabulary": 512}
    values = Degrees(schedule="mine", num_microbatches=4, pipeline=4, **degrees)  # type: ignore[arg-type]
    graph = build_model(model_config("gpt", None, **sizes), values.data, "fp16")
    strategy = BASELINES["megatron"](graph, values)
    return build.plan_task_graph(graph, strategy, GPUS, COSTS, fold)


SPLITS = [halves, mixed, delayed]


@pytest.mark.parametrize("function", SPLITS)
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_every_weight_gradient_is_computed_once(
    monkeypatch: pytest.MonkeyPatch, function: object, recompute: str
) -> None:
    whole = plan_of(monkeypatch, SCHEDULES["1f1b"].function, recompute=recompute).task_graph()
    cut = plan_of(monkeypatch, function, recompute=recompute).task_graph()
    for name in ("weight-gradient", "input-gradient", "forward", "recompute", "pipeline"):
        code = TASK_CODE[name]
        assert (
            whole.duration_ns[whole.kind == code].sum() == cut.duration_ns[cut.kind == code].sum()
        )
    actions = np.array(ACTION_KINDS)[cut.actions.kind[cut.action]]
    weights = cut.kind == TASK_CODE["weight-gradient"]
    inputs = cut.kind == TASK_CODE["input-gradient"]
    assert set(actions[weights]) <= {"W", "B"}
    assert set(actions[inputs]) <= {"I", "B"}


@pytest.mark.parametrize("function", SPLITS)
@pytest.mark.parametrize("tensor", [1, 2])
def test_engines_folding_and_contraction_agree(
    monkeypatch: pytest.MonkeyPatch, function: object, tensor: int
) -> None:
    degrees = {"tensor": tensor, "data": 2 // tensor, "sequence_parallel": tensor > 1}
    plan = plan_of(monkeypatch, function, **degrees)
    full = plan_of(monkeypatch, function, fold=False, **degrees).task_graph()
    graph = plan.task_graph()
    ends = [load_engine(name)(g, None) for g in (graph, full) for name in ("event", "compiled")]
    assert len({timeline.makespan_ns for timeline in ends}) == 1
    assert (ends[0].start_ns == ends[1].start_ns).all()
    contracted = replay_contracted(plan)
    if not isinstance(contracted, str):
        assert (contracted.timeline().start_ns == ends[0].start_ns).all()


def test_weight_gradients_fill_bubbles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that send their input gradient first are faster by what the next one waits less."""
    spans = [
        load_engine("compiled")(plan_of(monkeypatch, function).task_graph(), None).makespan_ns
        for function in (SCHEDULES["1f1b"].function, halves)
    ]
    assert spans[1] <= spans[0]


def test_what_weight_gradients_read_stays_until_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    means = []
    for function in (SCHEDULES["gpipe"].function, delayed):
        plan = plan_of(monkeypatch, function)
        series = memory_series(load_engine("compiled")(plan.task_graph(), None))
        assert series is not None
        one = series.devices[0]
        means.append((one.total[:-1] * np.diff(one.time_ns)).sum() / series.end_ns)
        table = plan.activation_memory
        assert table.allocated.sum() == table.freed.sum()
    assert means[1] > means[0]
