"""The waterfall: by hand, exact sums, and the numbers of the metrics."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpt import simulate_small

from flexsim.engine.event import simulate
from flexsim.timeline.metrics import IterationFacts, metrics
from flexsim.timeline.waterfall import waterfall

STREAMS = [("compute", 0, -1), ("compute", 1, -1), ("tensor", 0, -1), ("pipeline", 0, 1)]
FACTS = IterationFacts(2, 1, 1, 20.0, 20.0, 2e9, 1)
"""Twenty FLOPs at one FLOP a nanosecond on each of two devices: ten nanoseconds."""


def timeline_by_hand():
    return simulate(
        make_task_graph(
            [
                (10, [0], []),  # device 0 computes 0-10
                (3, [2], [0]),  # communicates 10-13
                (2, [0], [1]),  # recomputes 13-15
                (8, [0], [2]),  # and goes back 15-23
                (5, [3], [0]),  # channel to device 1: 10-15, exposed there, on 0 only 10-13
                (4, [1], [4]),  # device 1 computes 15-19
                (1, [1], [5]),  # and steps 19-20
            ],
            kinds=[
                "forward", "tensor", "recompute", "backward", "pipeline", "forward", "optimizer"
            ],
            resources=STREAMS,
        )
    )  # fmt: skip


def test_by_hand():
    found = waterfall(timeline_by_hand(), FACTS)
    assert (found.iteration_ns, found.num_devices) == (23, 2)
    assert {step.part: step.device_ns for step in found.steps} == {
        "ideal compute": 20,
        "kernel efficiency": 2,  # 10 + 8 + 4 nanoseconds took what could take 20
        "recomputation": 2,
        "optimizer": 1,
        "exposed tensor communication": 3,
        "exposed pipeline communication": 5,
        "imbalance": 13,  # device 0 computes 20, device 1 only 5 and is idle for 13
        "pipeline bubble": 0,
    }
    assert [step.time_ns for step in found.steps] == [10, 1, 1, 1, 1, 3, 6, 0]


def test_table_and_file(tmp_path):
    found = waterfall(timeline_by_hand(), FACTS)
    found.write(tmp_path / "waterfall.csv")
    table = pd.read_csv(tmp_path / "waterfall.csv")
    assert table["time_ns"].sum() == 23 and table["device_ns"].sum() == 46
    assert table["until_ns"].iloc[-1] == 23 and table["share"].sum() == pytest.approx(1)


def test_kernels_faster_than_the_peak_and_devices_without_tasks():
    found = waterfall(timeline_by_hand(), replace(FACTS, num_devices=3, model_flops=60.0))
    parts = {step.part: step.device_ns for step in found.steps}
    assert parts["ideal compute"] == 90 and parts["kernel efficiency"] == 22 - 90
    assert parts["devices without tasks"] == 23
    assert sum(parts.values()) == 3 * 23
    assert sum(step.time_ns for step in found.steps) == 23


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parts_add_up(data):
    kinds = ["forward", "recompute", "optimizer", "tensor", "pipeline"]
    stream_of = {"tensor": [2], "pipeline": [3]}
    tasks, chosen = [], []
    for task in range(data.draw(st.integers(1, 15))):
        kind = data.draw(st.sampled_from(kinds))
        held = stream_of.get(kind) or [data.draw(st.integers(0, 1))]
        predecessors = data.draw(st.sets(st.integers(0, max(task - 1, 0)), max_size=min(task, 2)))
        tasks.append((data.draw(st.integers(1, 7)), held, sorted(predecessors)))
        chosen.append(kind)
    timeline = simulate(make_task_graph(tasks, kinds=chosen, resources=STREAMS))
    devices = data.draw(st.integers(1, 7))
    found = waterfall(timeline, replace(FACTS, num_devices=devices))
    assert sum(step.time_ns for step in found.steps) == timeline.makespan_ns
    total_ns = sum(step.device_ns for step in found.steps)
    assert total_ns == timeline.makespan_ns * found.num_devices
    above = [step for step in found.steps if step.part != "kernel efficiency"]
    assert all(step.device_ns >= 0 for step in above)


def test_agrees_with_the_metrics():
    result = simulate_small()
    assert metrics(result.timeline, result.facts)["mfu"] == result.metrics["mfu"]
    parts = {step.part: step.device_ns for step in result.waterfall().steps}
    total_ns = sum(parts.values())
    assert parts["ideal compute"] / total_ns == pytest.approx(result.metrics["mfu"], rel=1e-6)
    idle_ns = parts.get("imbalance", 0) + parts["pipeline bubble"]
    assert idle_ns / total_ns == pytest.approx(result.metrics["bubble_fraction"])
    compute = ("ideal compute", "kernel efficiency", "recomputation", "optimizer")
    compute_ns = sum(parts.get(part, 0) for part in compute)
    assert compute_ns / total_ns == pytest.approx(result.metrics["compute_fraction"])
    for kind, exposed_s in result.metrics["exposed_communication_s"].items():
        exposed_ns = parts.get(f"exposed {kind} communication", 0)
        assert exposed_ns / 8e9 == pytest.approx(exposed_s)


def test_folded_devices_count_for_all_of_their_class():
    folded, full = (simulate_small(strategy={"fold": fold}) for fold in (True, False))
    assert folded.task_graph.num_tasks_folded_away > full.task_graph.num_tasks_folded_away == 0
    assert folded.waterfall() == full.waterfall()
