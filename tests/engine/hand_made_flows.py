"""Lowered task graphs written by hand: tasks, of which some are flows over links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from graphs import Task, csr, make_task_graph

from flexsim.network.lowered import Lowered

GB = 10**9

Flow = tuple[int, Sequence[int]]
"""Bytes, and the links of the route."""


def make_lowered(
    tasks: Sequence[Task], flows: Mapping[int, Flow], capacity: Sequence[float]
) -> Lowered:
    """Return tasks of which those in ``flows`` are flows; a link carries bytes a nanosecond.

    The duration that a flow's task is given does not matter.
    """
    most = {task: min(capacity[link] for link in route) for task, (_, route) in flows.items()}
    wire_ns = {task: -(-flows[task][0] // most[task]) for task in flows}
    durations = [int(wire_ns.get(task, row[0])) for task, row in enumerate(tasks)]
    rows = [(durations[task], *row[1:]) for task, row in enumerate(tasks)]
    kinds = ["pipeline" if task in flows else "forward" for task in range(len(tasks))]
    graph = make_task_graph(rows, kinds)
    alone = np.arange(len(tasks))
    order = sorted(flows)
    return Lowered(
        graph=graph,
        original=replace(graph),
        origin=alone,
        first=alone,
        last=alone,
        flow=np.array(order, np.int64),
        routes=csr([flows[task][1] for task in order]),
        flow_bytes=np.array([flows[task][0] for task in order], np.int64),
        wire_ns=np.array([wire_ns[task] for task in order], np.int64),
        flow_bandwidth_bytes_per_s=np.array([most[task] for task in order], np.float64) * GB,
        link_bandwidth_bytes_per_s=np.array(capacity, np.float64) * GB,
    )


def make_flows(
    flows: Sequence[tuple[int, int, Sequence[int]]], capacity: Sequence[float]
) -> Lowered:
    """Return flows of (start, bytes, route): each waits for a task that ends at its start."""
    late = [number for number, (start, _, _) in enumerate(flows) if start]
    waits = {number: task for task, number in enumerate(late)}
    tasks: list[Task] = [(flows[number][0], [task], []) for task, number in enumerate(late)]
    first = len(tasks)
    for number in range(len(flows)):
        before = [waits[number]] if number in waits else []
        tasks.append((1, [first + number], before))
    routed = {first + n: (num_bytes, route) for n, (_, num_bytes, route) in enumerate(flows)}
    return make_lowered(tasks, routed, capacity)
