"""From a replay to what crossed which links when."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.network.lowered import Lowered
from flexsim.task_graph.columns import Int32, Int64
from flexsim.timeline.crossings import Traffic
from flexsim.timeline.sharing import SharedTimeline
from flexsim.timeline.spans import Timeline


def flow_traffic(lowered: Lowered, timeline: Timeline) -> Traffic:
    """Return the flows of a lowered graph, each from its start to its end."""
    return Traffic(
        timeline.start_ns[lowered.flow],
        timeline.end_ns[lowered.flow],
        lowered.flow_bytes.astype(np.float64),
        *_ways(lowered, np.arange(lowered.num_flows)),
    )


def paced_traffic(lowered: Lowered, timeline: SharedTimeline) -> Traffic:
    """Return the flows of a lowered graph, cut where their speed changes."""
    pieces = timeline.pieces
    work = np.minimum(
        pieces.speed * (pieces.end_ns - pieces.start_ns), lowered.wire_ns[pieces.flow]
    )
    done = np.bincount(pieces.flow, work, lowered.num_flows)  # up to a nanosecond too much
    amount = lowered.flow_bytes[pieces.flow] * work / done[pieces.flow]
    return Traffic(pieces.start_ns, pieces.end_ns, amount, *_ways(lowered, pieces.flow))


def _ways(lowered: Lowered, flow: Int64) -> tuple[Int64, Int64, Int32, NDArray[np.float64]]:
    """Return the way of each crossing and the links of all ways."""
    routes = lowered.routes
    return flow, routes.offsets, routes.values, np.ones(len(routes.values))
