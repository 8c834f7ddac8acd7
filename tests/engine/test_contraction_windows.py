"""Replays that leave out windows: all that comes of them is as in the full replay."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_gpt import small

from flexsim.engine.contraction_jump import jump_of
from flexsim.engine.contraction_layout import NUM_LED
from flexsim.engine.contraction_passes import Course, Held, Passes, replay_passes
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_uniform import Order, Ranks, order_of
from flexsim.engine.contraction_work import replay_steps
from flexsim.scenario import express
from flexsim.scenario.batch import Batch
from flexsim.scenario.schema import Scenario
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule
from flexsim.task_graph.short import RESOURCES_A_RANK

SHAPES = [
    ("gpipe", 1, 1),
    ("gpipe", 2, 1),
    ("gpipe", 4, 1),
    ("1f1b", 1, 1),
    ("1f1b", 2, 1),
    ("1f1b", 4, 1),
    ("interleaved-1f1b", 2, 2),
    ("interleaved-1f1b", 4, 2),
]
SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass
class Case:
    """What a pipeline is replayed from."""

    ranks: Ranks
    held: Held
    store: Store
    num_durations: int


@pytest.fixture(scope="module")
def cases() -> dict[tuple[int, int, int, str], Case]:
    """Return pipelines by ranks, chunks, tensor degree and recomputation, made once."""
    return {}


def case_of(cases: dict[Any, Case], key: tuple[int, int, int, str]) -> Case:
    if key not in cases:
        cases[key] = made_case(*key)
    return cases[key]


def made_case(num_ranks: int, chunks: int, tensor: int, recompute: str) -> Case:
    """Return what the express way replays a small pipeline from."""
    strategy = {"tensor": tensor, "pipeline": num_ranks, "data": 8 // (tensor * num_ranks)}
    strategy |= {"chunks": chunks, "schedule": "interleaved-1f1b" if chunks > 1 else "1f1b"}
    content = small(
        model={"layers": 8},
        training={"global_batch": 8 * strategy["data"], "recompute": recompute},
        strategy=strategy,
    )
    seen: list[tuple[Any, ...]] = []
    replay = express.replay_passes
    express.replay_passes = lambda *given: seen.append(given) or replay(*given)
    try:
        assert not Batch().run(Scenario.from_dict(content, "small.toml")).error
    finally:
        express.replay_passes = replay
    ranks, _, held, store = seen[0]
    members = max(int(kit.pattern.members.max()) for kit in ranks.kits)
    return Case(ranks, held, store, members + 1)


def with_durations(case: Case, rng: np.random.Generator, spread: int) -> tuple[Ranks, Held]:
    """Return ranks whose tasks last at random, in one kit or in one a rank, and random memory."""
    num_kits = int(rng.integers(1, 3))
    pattern = case.ranks.kits[0].pattern
    kits = tuple(
        pattern.kit(1 + rng.integers(0, spread, case.num_durations), case.store)
        for _ in range(num_kits)
    )
    stage = np.arange(len(case.ranks.place))
    kit_of_rank = rng.integers(0, num_kits, case.ranks.num_ranks)
    ranks = replace(case.ranks, kits=kits, kit_of_stage=kit_of_rank[stage % case.ranks.num_ranks])
    parts = 1 + rng.integers(0, 50, case.held.parts.shape)
    left = rng.integers(0, 20, case.held.left.shape)
    left[1::2] = -left[::2]
    return ranks, Held(parts.sum(axis=1), parts, left)


def columns(value: Any) -> list[Any]:
    return [value.tolist() if isinstance(value, np.ndarray) else value]


def assert_equal(short: Passes, whole: Passes) -> None:
    names = {field.name for field in fields(Passes)} - {"course", "fullest"}
    for rank in range(len(short.held)):
        assert short.action(rank) == whole.action(rank)
    for name in sorted(names | {"is_held"}):
        one, other = (columns(getattr(each, name)) for each in (short, whole))
        assert one == other, name


def replayed(case: Case, orders: list[Any], seed: int) -> list[Course | str]:
    """Return what becomes of random tasks in each of some orders."""
    found = []
    for order in orders:
        rng = np.random.default_rng(seed)
        case.store.forget_entries()
        ranks, held = with_durations(case, rng, int(rng.choice([2, 5, 100, 10_000])))
        found.append(replay_passes(ranks, order, held, case.store))
    return found


def may_leave_out(
    case: Case, shape: tuple[str, int, int], seed: int, patience: int
) -> tuple[bool, ...]:
    """Replay random tasks with and without windows left out; return whether that was exact."""
    name, num_ranks, chunks = shape
    step = num_ranks if chunks > 1 else 1

    def made(count: int) -> Schedule:
        return build_schedule(name, PipelineShape(num_ranks, count, chunks))

    jump = jump_of(made, num_ranks, (step, 0, patience))
    assert jump is not None
    num_windows = 1 + seed % 29
    long = made(jump.schedule.num_microbatches + num_windows * step)
    assert jump.stands_for(long)
    order = order_of(long, jump, RESOURCES_A_RANK)
    later = order.of_later_runs(long)
    assert (later is not None) == (name == "gpipe")
    short = [each for each in (order, later) if each is not None]
    *found, whole = replayed(case, [*short, order_of(long, None, RESOURCES_A_RANK)], seed)
    for course, by in zip(found, short, strict=True):
        if isinstance(course, Course):
            assert isinstance(whole, Course), whole
            left_out = by.num_windows(long.num_microbatches)
            assert left_out == num_windows
            assert_equal(course.passes(left_out), whole.passes(0))
    return tuple(isinstance(course, Course) for course in found)


@SETTINGS
@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
    tensor=st.sampled_from([1, 2]),
    recompute=st.sampled_from(["none", "full"]),
    patience=st.sampled_from([0, 1, 4]),
)
def test_random_durations(cases, shape, seed, tensor, recompute, patience):
    case = case_of(cases, (*shape[1:], tensor, recompute))
    may_leave_out(case, shape, seed, patience)


@pytest.mark.parametrize(
    ("shape", "tensor"),
    [(shape, 1) for shape in SHAPES] + [(shape, 2) for shape in SHAPES if shape[0] != "gpipe"],
)
def test_windows_are_mostly_left_out(cases, shape, tensor):
    """With tensor parallelism actions run together with what the next ones begin with."""
    case = case_of(cases, (*shape[1:], tensor, "none"))
    exact = [may_leave_out(case, shape, seed, 4)[0] for seed in range(12)]
    assert sum(exact) >= (8 if tensor == 1 else 4)


def test_where_forwards_drift_backwards_alone_are_left_out(cases):
    """Gathers of what a stage receives fall into its forwards, each time at another moment."""
    shape = "gpipe", 4, 1
    case = case_of(cases, (4, 1, 2, "none"))
    exact = [may_leave_out(case, shape, seed, 1) for seed in range(12)]
    assert sum(later and not both for both, later in exact) >= 3


@SETTINGS
@given(
    ranks=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**32),
    tensor=st.sampled_from([1, 2]),
    recompute=st.sampled_from(["none", "full"]),
)
def test_forwards_that_lead_run_as_they_would_one_by_one(cases, ranks, seed, tensor, recompute):
    case = case_of(cases, (ranks, 1, tensor, recompute))
    order = all_forwards_first(ranks)
    alone = replace(order, lineup=replace(order.lineup, leads_until=None))
    one, other = replayed(case, [order, alone], seed)
    assert isinstance(one, Course) == isinstance(other, Course)
    if isinstance(one, Course):
        assert_equal(one.passes(0), other.passes(0))


@pytest.mark.parametrize("tensor", [1, 2])
def test_most_forwards_follow_one_that_leads(cases, tensor, monkeypatch):
    """At ranks that take longer than those before them, what they receive falls anywhere."""
    led = []

    def counted(store, work):
        code = replay_steps(store, work)
        led.append(int(work.values[NUM_LED]))
        return code

    monkeypatch.setattr("flexsim.engine.contraction_passes.replay_steps", counted)
    case = case_of(cases, (4, 1, tensor, "none"))
    for seed in range(12):
        replayed(case, [all_forwards_first(4)], seed)
    assert sum(number > 2 * 30 for number in led) >= 6


def all_forwards_first(ranks: int) -> Order:
    order = order_of(build_schedule("gpipe", PipelineShape(ranks, 40, 1)), None, RESOURCES_A_RANK)
    assert (order.lineup.leads_until == order.lineup.first + 40).all()
    return order


def test_only_ranks_that_begin_with_all_their_forwards_lead():
    for name, chunks in (("1f1b", 1), ("interleaved-1f1b", 2), ("looped-bfs", 2)):
        schedule = build_schedule(name, PipelineShape(4, 8, chunks))
        lineup = order_of(schedule, None, RESOURCES_A_RANK).lineup
        assert (lineup.leads_until == lineup.first).all()


def test_ranks_that_take_turns_with_their_stages_do_not_lead():
    schedule = build_schedule("gpipe", PipelineShape(2, 8, 1))
    stage = np.where(schedule.microbatch % 2 == 0, schedule.stage, 1 - schedule.stage)
    lineup = order_of(replace(schedule, stage=stage), None, RESOURCES_A_RANK).lineup
    assert (lineup.leads_until == lineup.first).all()
