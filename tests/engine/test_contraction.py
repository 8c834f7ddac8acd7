"""A contracted replay is the full one, span by span, or says in a sentence why it is not."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shipped_scenarios import NAMES, NOT_CONTRACTED, ROOT, skip_if_long

import flexsim
from flexsim.cost import load_software_profile
from flexsim.cost.costs import Costs
from flexsim.cost.work import Work
from flexsim.device_graph import load_device_graph
from flexsim.engine import compiled
from flexsim.engine.contraction import Contracted, Memo, replay_contracted
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import prepare
from flexsim.strategy import Degrees, megatron
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.plan import Plan
from flexsim.timeline.device_times import device_times
from flexsim.timeline.memory import action_spans_ns


def shipped_plan(name: str) -> Plan:
    scenario = flexsim.load_scenario(ROOT / "scenarios" / f"{name}.toml")
    found = prepare(scenario)
    return plan_task_graph(found.graph, found.strategy, found.devices, found.costs)


def assert_equal(found: Contracted, plan: Plan) -> None:
    """Check a contracted replay against the full one."""
    full = compiled.simulate(plan.task_graph())
    timeline = found.timeline()
    assert np.array_equal(timeline.start_ns, full.start_ns)
    assert np.array_equal(timeline.end_ns, full.end_ns)
    start_ns, end_ns = action_spans_ns(full)
    assert np.array_equal(found.action_start_ns, start_ns)
    assert np.array_equal(found.action_end_ns, end_ns)
    assert found.makespan_ns == full.makespan_ns
    times = device_times(full)
    mine = np.isin(times.device, plan.static_memory.device)
    assert np.array_equal(found.compute_ns, times.compute_ns[mine])


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_scenario_contracts_exactly(name, pytestconfig):
    skip_if_long(name, pytestconfig)
    plan = shipped_plan(name)
    found = replay_contracted(plan)
    if name in NOT_CONTRACTED:
        assert found == NOT_CONTRACTED[name]
        return
    assert isinstance(found, Contracted), found
    assert_equal(found, plan)
    assert found.num_replayed < plan.num_tasks or plan.actions.num_microbatches == 1


def few_ns(modulus: int):
    """Price kernels with few distinct numbers, so that many tasks tie."""

    def price(work: Work, device_type: str) -> int:
        return 1 + crc32(repr((work.kind, work.step, work.num_bytes)).encode()) % modulus

    return price


class FewCommunication:
    """A communication model with few distinct durations."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

    def collective_ns(self, collective, num_bytes, groups, /):
        code = crc32(f"{collective}{num_bytes}".encode())
        return np.full(len(groups), 1 + code % self.modulus)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return np.full(len(sources), 1 + int(np.max(num_bytes)) % self.modulus)


CASES = st.fixed_dictionaries(
    {
        "tensor": st.sampled_from([1, 2]),
        "data": st.sampled_from([1, 2]),
        "sequence_parallel": st.booleans(),
        "recompute": st.sampled_from(["none", "selective", "full"]),
        "overlap_gradients": st.booleans(),
        "scatter_gather": st.booleans(),
        "blocking_transfers": st.booleans(),
    }
)
PIPELINES = st.sampled_from(
    [
        (1, 1, "gpipe"),
        (2, 1, "gpipe"),
        (2, 1, "1f1b"),
        (4, 1, "1f1b"),
        (2, 2, "interleaved-1f1b"),
        (4, 2, "interleaved-1f1b"),
    ]
)


def small_plan(case, pipeline, num_microbatches, habits, modulus=4, fold=True) -> Plan:
    ranks, chunks, schedule = pipeline
    degrees = Degrees(
        **case,
        pipeline=ranks,
        chunks=chunks,
        schedule=schedule,
        num_microbatches=num_microbatches,
    )
    shape = {"layers": 8, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}
    operators = build_model(model_config("gpt", None, **shape), 2 * degrees.data)
    profile = replace(load_software_profile("megatron-lm"), gradient_bucket_bytes=0, **habits)
    costs = Costs(few_ns(modulus), FewCommunication(modulus), profile)
    devices = load_device_graph("dgx-a100", hosts=2)
    return plan_task_graph(operators, megatron(operators, degrees), devices, costs, fold)


HABITS = st.fixed_dictionaries(
    {"overlap_input_gradients": st.booleans(), "recompute_waits_for_gradient": st.booleans()}
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(CASES, PIPELINES, st.sampled_from([4, 8]), HABITS, st.sampled_from([2, 4, 1000]))
def test_random_plans(case, pipeline, num_microbatches, habits, modulus):
    plan = small_plan(case, pipeline, num_microbatches, habits, modulus)
    found = replay_contracted(plan)
    assert isinstance(found, Contracted), found
    assert_equal(found, plan)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(CASES, PIPELINES, HABITS)
def test_plans_that_are_not_folded(case, pipeline, habits):
    plan = small_plan(case, pipeline, 4, habits, fold=False)
    found = replay_contracted(plan)
    assert isinstance(found, Contracted), found
    assert_equal(found, plan)


def test_a_memo_is_shared_by_plans_of_equal_content():
    case = {"tensor": 2, "data": 1, "recompute": "none"}
    memo = Memo()
    plans = [small_plan(case, (2, 1, "1f1b"), m, {}, 1000) for m in (8, 8, 12)]
    found = [replay_contracted(plan, memo) for plan in plans]
    assert all(isinstance(each, Contracted) for each in found)
    assert found[0].num_entries > 0
    assert found[1].num_entries == 0
    assert found[2].num_entries < found[0].num_entries
    for each, plan in zip(found, plans, strict=True):
        assert_equal(each, plan)
