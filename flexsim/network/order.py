"""Turns: communication tasks that hold the same stream run one after the other.

A stack issues its collectives in an order of its own, and a device runs those of one stream in
that order. Here it is the order in which they start under the analytic network, where they also
wait for each other. As all edges of that timeline lead forward in time, turns close no cycle.
"""

from __future__ import annotations

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, TaskGraph
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS


def in_turn(graph: TaskGraph, start_ns: Int64) -> Csr:
    """Return, for every task, the tasks that follow next on the streams that it holds.

    ``start_ns`` are the starts of a replay in which no two tasks hold a stream at once.
    """
    task, stream = _holds(graph)
    order = np.lexsort((task, start_ns[task], stream))
    task, stream = task[order], stream[order]
    same = stream[1:] == stream[:-1]
    pairs = task[:-1][same].astype(np.int64) * graph.num_tasks + task[1:][same]
    before, after = np.divmod(np.unique(pairs), graph.num_tasks)
    return Csr.from_pairs(graph.num_tasks, before, after.astype(np.int32))


def _holds(graph: TaskGraph) -> tuple[Int64, Int32]:
    """Return the pairs of a communication task and a stream or channel that it holds."""
    held = graph.resources
    sends = graph.kind[held.rows] >= NUM_COMPUTE_KINDS
    return held.rows[sends], held.values[sends]
