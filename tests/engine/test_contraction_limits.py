"""Where contraction would not be exact it is refused; where it is not, any plan is replayed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hand_made_plans import COMPUTE, SEND, TENSOR, Tasks, plan_of
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine import compiled
from flexsim.engine.contraction import Contracted, Memo, replay_contracted
from flexsim.errors import DeadlockError
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule, parse_action


def one_rank(*actions: str) -> Schedule:
    """Return the schedule of one stage with these sets of actions."""
    sets = [[parse_action(each) for each in step.split()] for step in actions]
    num_microbatches = 1 + max(action.microbatch for step in sets for action in step)
    return Schedule.from_sets(num_microbatches, [0], [sets])


def chain(*durations: int, **ends) -> Tasks:
    """Return compute tasks one after the other."""
    last = len(durations) - 1
    edges = [(task, task + 1) for task in range(last)]
    usual = {"exits": [last], "tails": [last], "entries": [0], "heads": [0]}
    return Tasks([COMPUTE] * len(durations), durations, edges, **(usual | ends))


def replayed(plan: Plan) -> Contracted | str:
    """Return the contracted replay, which equals the full one where there is one."""
    found = replay_contracted(plan)
    if isinstance(found, Contracted):
        full = compiled.simulate(plan.task_graph())
        assert np.array_equal(found.timeline().start_ns, full.start_ns)
        assert found.makespan_ns == full.makespan_ns
    return found


GPIPE = one_rank("0F0", "0F1", "0F2", "0F3", "0B0", "0B1", "0B2", "0B3")


def test_chains_by_hand():
    found = replayed(plan_of([chain(2, 3), chain(4, 1), chain(7)], GPIPE))
    assert isinstance(found, Contracted)
    assert found.makespan_ns == 4 * 5 + 4 * 5 + 7
    assert found.num_entries == 2
    assert found.num_replayed == 8 + 1
    assert found.action_start_ns.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert found.action_end_ns.tolist() == [5, 10, 15, 20, 25, 30, 35, 40, 47]
    assert found.compute_ns.tolist() == [47]


def test_a_task_that_outlasts_the_next_action_is_refused():
    """The last compute task waits for communication longer than two whole actions take."""
    forward = Tasks(
        [COMPUTE, TENSOR, COMPUTE],
        [10, 100, 1],
        [(0, 1), (1, 2)],
        exits=[0],
        entries=[0],
        heads=[0],
    )
    found = replayed(plan_of([forward, chain(1), chain(1)], GPIPE))
    assert found == "a compute task of 0F2 becomes ready before one of another action"


def test_a_task_that_ends_inside_the_next_action_is_not():
    forward = Tasks(
        [COMPUTE, COMPUTE, TENSOR, COMPUTE],
        [10, 10, 5, 1],
        [(0, 1), (0, 2), (1, 2), (2, 3)],
        exits=[1],
        entries=[0],
        heads=[0],
    )
    assert isinstance(replayed(plan_of([forward, chain(9), chain(1)], GPIPE)), Contracted)


def two_ranks(second: Tasks) -> Plan:
    """Return a pipeline of two ranks; ``second`` is the forward of the last."""
    first = Tasks([COMPUTE, SEND], [10, 1], [(0, 1)], exits=[0], entries=[0], heads=[0], sends=[1])
    backward = chain(1, inputs=[(3, 0, 0)])
    shape = PipelineShape(num_ranks=2, num_microbatches=4)
    schedule = build_schedule("gpipe", shape)
    templates = [first, backward, second, chain(1), chain(1), chain(1)]
    return plan_of(templates, schedule)


def test_compute_that_waits_for_data_only_is_refused():
    """It arrives amid the action before, whose tasks it would get between."""
    second = chain(9, 9, 9, 9, inputs=[(0, 1, 0)], entries=[])
    assert "becomes ready before one of another action" in replayed(two_ranks(second))


def test_communication_that_waits_for_data_only_is_not():
    second = Tasks(
        [TENSOR, COMPUTE, TENSOR, COMPUTE, TENSOR, COMPUTE],
        [4, 9, 4, 9, 4, 9],
        [(task, task + 1) for task in range(5)],
        [(0, 1, 0)],
        exits=[5],
        entries=[1],
        heads=[0],
    )
    assert isinstance(replayed(two_ranks(second)), Contracted)


def test_an_update_that_gets_between_the_tasks_of_a_backward_is_refused():
    update = Tasks([COMPUTE], [5], inputs=[(1, 0, 0)])
    found = replayed(plan_of([chain(2), chain(3, 3, 3), update], GPIPE, True))
    assert found == "a task of the update becomes ready before one of a backward"


def test_sets_of_actions_are_refused():
    schedule = one_rank("0F0", "0F1 0B0", "0B1")
    found = replayed(plan_of([chain(2), chain(3), chain(1)], schedule))
    assert found == "the schedule runs several actions of a rank at once"


def test_actions_that_wait_for_each_other_are_refused():
    schedule = one_rank("0B0", "0F0")
    plan = plan_of([chain(2), chain(3, inputs=[(0, 0, 0)]), chain(1)], schedule)
    assert replay_contracted(plan) == "0B0 waits for an action after it"


def test_tasks_that_wait_for_each_other_are_refused():
    forward = Tasks([COMPUTE, COMPUTE], [1, 1], [(0, 1), (1, 0)], exits=[1])
    plan = plan_of([forward, chain(1), chain(1)], GPIPE)
    assert replay_contracted(plan) == "tasks of 0F0 wait for each other"


def random_tasks(rng: np.random.Generator, inputs: list[tuple[int, int]]) -> Tasks:
    """Return a few tasks with edges from lower to higher numbers."""
    size = int(rng.integers(1, 6))
    kinds = rng.choice([COMPUTE, COMPUTE, TENSOR], size).tolist()
    pairs = [(a, b) for b in range(size) for a in range(b)]
    orderly = rng.random() < 0.7
    chosen = [(a, b) for a, b in pairs if rng.random() < 0.3 or (orderly and b == a + 1)]
    compute = [task for task in range(size) if kinds[task] == COMPUTE]
    heads = [task for task in range(size) if task not in {after for _, after in chosen}]
    last = compute[-1:]
    sends = []
    if rng.random() < 0.7:
        kinds.append(SEND)
        chosen.append((int(rng.choice(compute or [0])), size))
        sends, size = [size], size + 1
    entries = [task for task in compute if task in heads or rng.random() < 0.3]
    if compute and not entries:
        entries = compute[:1]
    return Tasks(
        kinds,
        rng.integers(1, rng.choice([3, 8, 50]), size).tolist(),
        chosen,
        [(*source, int(rng.choice(heads))) for source in inputs],
        exits=last if rng.random() < 0.9 else compute[:1],
        entries=entries,
        tails=compute,
        heads=heads,
        sends=sends,
        channels=rng.integers(0, 2, size).tolist(),
    )


def random_plan(seed: int) -> Plan:
    """Return a pipeline whose templates are random; data flows as in training."""
    rng = np.random.default_rng(seed)
    ranks, chunks, name = [(1, 1, "gpipe"), (2, 1, "1f1b"), (3, 1, "1f1b"), (2, 2, "gpipe")][
        rng.integers(4)
    ]
    if chunks > 1:
        name = "interleaved-1f1b"
    shape = PipelineShape(num_ranks=ranks, num_microbatches=6, num_chunks=chunks)
    schedule = build_schedule(name, shape)
    schedule.__dict__["blocking_transfers"] = bool(rng.random() < 0.3)
    num_stages = ranks * chunks
    templates: dict[int, Tasks] = {}
    order = [2 * s for s in range(num_stages)] + [2 * s + 1 for s in reversed(range(num_stages))]
    before = None
    for number in order:
        inputs = []
        if before is not None:
            source = templates[before]
            inputs = [(before, task) for task in source.sends or source.exits]
        templates[number] = random_tasks(rng, inputs)
        before = number
    updates = []
    for rank in range(ranks):
        mine = [2 * s + 1 for s in range(num_stages) if schedule.rank_of_stage[s] == rank]
        inputs = [(t, task) for t in mine for task in templates[t].tails]
        updates.append(random_tasks(rng, inputs))
    ordered = [templates[number] for number in range(2 * num_stages)]
    return plan_of([*ordered, *updates], schedule, bool(rng.random() < 0.5))


SHARED = Memo()


def outcome(seed: int) -> str:
    """Check one random plan against the compiled engine; return what became of it."""
    plan = random_plan(seed)
    found = replay_contracted(plan, SHARED)
    try:
        full = compiled.simulate(plan.task_graph())
    except DeadlockError:
        assert isinstance(found, str)
        return "deadlock"
    if isinstance(found, str):
        assert len(found.split()) > 4
        return "refused"
    timeline = found.timeline()
    assert np.array_equal(timeline.start_ns, full.start_ns)
    assert np.array_equal(timeline.end_ns, full.end_ns)
    return "contracted"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_any_plan_is_replayed_exactly_or_refused(seed):
    outcome(seed)


def test_all_outcomes_occur():
    counts = Counter(outcome(seed) for seed in range(100))
    assert counts["contracted"] >= 15
    assert counts["refused"] >= 15


@pytest.mark.parametrize("duration", [2**40, 2**50])
def test_long_tasks(duration):
    found = replayed(plan_of([chain(duration, 1), chain(3, duration), chain(7)], GPIPE))
    assert isinstance(found, Contracted)
    assert found.makespan_ns == 8 * duration + 4 + 12 + 7
