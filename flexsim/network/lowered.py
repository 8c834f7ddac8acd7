"""A task graph whose communication runs as flows over links: the record of a lowering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64, TaskGraph

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lowered:
    """Tasks of the network level and how they belong to the original tasks.

    ``graph`` has a row for every task that is no communication; a communication task is several
    rows that stand one after the other, so the rows' ids keep the order of the original ids.
    Flows are numbered 0, 1, ... in the order of their rows.
    """

    graph: TaskGraph
    original: TaskGraph
    origin: Int64
    """Original task of every row of ``graph``."""
    first: Int64
    """The first row of every original task: it starts when the task starts."""
    last: Int64
    """The last row of every original task: all else of the task has ended before it ends."""
    flow: Int64
    """Row of every flow, ascending."""
    routes: Csr
    """Flow to the directed links that it takes, in the order of travel."""
    flow_bytes: Int64
    wire_ns: Int64
    """How long every flow takes alone on its route, at least 1; its row's ``duration_ns``."""
    flow_bandwidth_bytes_per_s: Float64
    """The most that every flow gets of its route: the least effective bandwidth of its links
    for its sort, collective or transfer."""
    link_bandwidth_bytes_per_s: Float64
    """What every directed link of the device graph carries for all its flows together."""
    own_bandwidth_bytes_per_s: Float64 | None = None
    """What every link of ``routes`` would carry of flows like this one alone, where links are
    shared: they are not equally good for collectives and transfers."""

    @property
    def num_flows(self) -> int:
        """Number of flows."""
        return len(self.flow)
