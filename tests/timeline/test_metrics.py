"""Metrics against hand-worked numbers and the closed forms of pipeline bubbles."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import make_task_graph

from flexsim.engine.event import simulate
from flexsim.task_graph.columns import ActivationMemory, StaticMemory
from flexsim.timeline.metrics import IterationFacts, metrics

FACTS = IterationFacts(
    num_devices=4,
    sequences=8,
    tokens_per_sequence=100,
    model_flops=30.0,
    hardware_flops=40.0,
    peak_flops_per_s=2e9,
    memory_capacity_bytes=50,
)


def gpipe(num_stages: int, num_microbatches: int):
    """All forwards, then all backwards, with equal stage times and free transfers."""
    tasks, actions, last = [], [], {}
    for stage in range(num_stages):
        for microbatch in range(num_microbatches):
            last["F", stage, microbatch] = len(actions)
            actions.append(("F", stage, microbatch, stage))
    for stage in range(num_stages):
        for microbatch in range(num_microbatches):
            last["B", stage, microbatch] = len(actions)
            actions.append(("B", stage, microbatch, stage))
    for letter, stage, microbatch, _ in actions:
        wanted = [(letter, stage, microbatch - 1)]
        wanted += [("F", stage - 1, microbatch)] if letter == "F" else []
        wanted += [("B", stage + 1, microbatch)] if letter == "B" else []
        wanted += [("F", stage, num_microbatches - 1)] if letter == "B" else []
        duration = 10 if letter == "F" else 20
        tasks.append((duration, [stage], [last[w] for w in wanted if w in last]))
    kinds = ["forward" if action[0] == "F" else "backward" for action in actions]
    return simulate(make_task_graph(tasks, kinds=kinds, actions=actions))


@pytest.mark.parametrize(("p", "m"), [(1, 1), (2, 3), (4, 8), (8, 5)])
def test_gpipe_bubbles_equal_the_closed_forms(p: int, m: int):
    values = metrics(gpipe(p, m), FACTS)
    assert values["bubble_ratio"] == (p - 1) / m
    assert values["bubble_fraction"] == (p - 1) / (m + p - 1)
    assert values["bubble_fraction_of_span"] == pytest.approx((p - 1) / (m + p - 1), rel=1e-15)
    assert values["compute_fraction"] == pytest.approx(m / (m + p - 1), rel=1e-15)
    assert values["exposed_communication_s"] == {}


def whole_graph():
    memory = ActivationMemory(
        np.array([0, 1], np.int32),
        np.array([0, 1], np.int32),
        *(np.array(column, np.int64) for column in ([7, 9], [0, 0], [0, 0])),
    )
    static = StaticMemory(
        np.array([0, 1], np.int32),
        *(np.array(column, np.int64) for column in ([10, 20], [1, 2], [3, 4])),
    )
    return make_task_graph(
        [(10, [0], []), (4, [2], [0]), (6, [1], [1])],
        kinds=["forward", "pipeline", "forward"],
        resources=[("compute", 0, -1), ("compute", 1, -1), ("pipeline", 0, 1)],
        actions=[("F", 0, 0, 0), ("F", 1, 0, 1)],
        action=[0, 0, 1],
        static_memory=static,
        activation_memory=memory,
        num_tasks_folded_away=11,
    )


NOTHING_ELSE = dict.fromkeys(["recompute", "gathered", "temporary", "buffers", "overhead"], 0)


def test_every_metric_of_a_small_graph():
    assert metrics(simulate(whole_graph()), FACTS) == {
        "iteration_time_s": 20e-9,
        "tokens_per_s": pytest.approx(800 / 20e-9),
        "samples_per_s": pytest.approx(8 / 20e-9),
        "model_flops": 30.0,
        "hardware_flops": 40.0,
        "mfu": pytest.approx(0.75),
        "hfu": pytest.approx(1.0),
        "bubble_fraction": 8 / 20,
        "bubble_ratio": 8 / 12,
        "bubble_fraction_of_span": 0.0,
        "compute_fraction": 8 / 20,
        "exposed_communication_s": {"pipeline": pytest.approx(4e-9)},
        "peak_memory_bytes": 35,
        "peak_memory_bytes_per_stage": [
            {"stage": 0, "device": 0, "weights": 10, "gradients": 1, "optimizer": 3,
             "activations": 7, **NOTHING_ELSE, "total": 21},
            {"stage": 1, "device": 1, "weights": 20, "gradients": 2, "optimizer": 4,
             "activations": 9, **NOTHING_ELSE, "total": 35},
        ],
        "peak_memory_at": "1F0",
        "fits_memory": True,
        "num_devices": 4,
        "num_tasks": 3,
        "num_tasks_folded_away": 11,
    }  # fmt: skip


def test_unknown_memory_is_not_called_fitting():
    values = metrics(gpipe(2, 2), FACTS)
    assert values["fits_memory"] is values["peak_memory_bytes"] is None
