"""Peak memory, worked out by hand."""

from __future__ import annotations

import numpy as np
from graphs import make_task_graph

from flexsim.engine.event import simulate
from flexsim.task_graph.columns import ActivationMemory, StaticMemory
from flexsim.timeline.memory import peak_memory


def activations(rows) -> ActivationMemory:
    ids = [np.array([row[i] for row in rows], np.int32) for i in range(2)]
    sizes = [np.array([row[i] for row in rows], np.int64) for i in range(2, 5)]
    return ActivationMemory(*ids, *sizes)


def static(rows) -> StaticMemory:
    device, *sizes = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    return StaticMemory(device.astype(np.int32), *sizes)


ACTIONS = [("F", 0, 0, 0), ("F", 0, 1, 0), ("B", 0, 0, 0), ("B", 0, 1, 0)]


def peak_of(order, memory, statics=None):
    """Run actions one after another in the given order and follow the memory."""
    tasks = [(10, [0], [] if i == 0 else [order[i - 1]]) for i in range(len(order))]
    chain = [tasks[order.index(a)] for a in range(len(order))]
    graph = make_task_graph(chain, actions=ACTIONS, static_memory=statics, activation_memory=memory)
    return peak_memory(simulate(graph))


FORWARD_AND_BACK = [(0, 0, 7, 0, 0), (1, 0, 7, 0, 0), (2, 0, 0, 7, 2), (3, 0, 0, 7, 2)]


def test_two_microbatches_in_flight():
    peak = peak_of([0, 1, 2, 3], activations(FORWARD_AND_BACK))
    assert peak.activations.tolist() == [16]


def test_one_microbatch_in_flight_frees_before_it_allocates():
    peak = peak_of([0, 2, 1, 3], activations(FORWARD_AND_BACK))
    assert peak.activations.tolist() == [9]


def test_static_parts_and_ranks():
    peak = peak_of(
        [0, 1, 2, 3], activations(FORWARD_AND_BACK), static([(0, 1, 2, 3), (4, 5, 6, 7)])
    )
    assert peak.device.tolist() == [0, 4]
    assert peak.rank.tolist() == [0, -1]
    assert peak.activations.tolist() == [16, 0]
    assert peak.total.tolist() == [22, 18]


def test_devices_do_not_leak_into_each_other():
    rows = [(0, 0, 5, 0, 0), (1, 1, 3, 0, 0), (2, 2, 0, 0, 4)]
    assert peak_of([0, 1, 2, 3], activations(rows)).activations.tolist() == [5, 3, 4]


def test_an_action_of_several_tasks_lives_from_its_first_start_to_its_last_end():
    graph = make_task_graph(
        [(10, [0], []), (10, [0], [0]), (10, [0], [1]), (10, [0], [2])],
        actions=ACTIONS,
        action=[0, 1, 1, 2],
        activation_memory=activations([(0, 0, 1, 0, 0), (1, 0, 0, 0, 4), (2, 0, 3, 0, 0)]),
    )
    assert peak_memory(simulate(graph)).activations.tolist() == [5]


def test_without_memory_columns_nothing_is_claimed():
    assert peak_memory(simulate(make_task_graph([(1, [0], [])]))) is None
