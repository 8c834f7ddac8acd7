"""What crosses links where communication takes its priced time, without flows of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.network.messages import find_messages
from flexsim.network.options import NetworkOptions
from flexsim.network.score import Scores
from flexsim.ragged import Csr
from flexsim.task_graph.places import ragged_ranges
from flexsim.timeline.crossings import Traffic
from flexsim.timeline.spans import Timeline

MOST_FLOWS = 5_000_000
MOST_CROSSED = 50_000_000
"""Links of all messages, counted once a task: half a second of work."""


def message_traffic(
    timeline: Timeline, communication: Communication, algorithm: str
) -> Traffic | str:
    """Return the messages of a timeline, or why they are too many.

    Its task graph tells its collectives. A message crosses the links of its algorithm's flows
    as long as its task lasts, at a constant pace; the bytes are those that the flows carry.
    """
    messages = find_messages(timeline.task_graph, communication, algorithm)
    scores = Scores(messages, communication, NetworkOptions(algorithm))
    if scores.num_flows.sum() > MOST_FLOWS:
        return f"the collectives have more than {MOST_FLOWS:,} different flows"
    ways, load = _ways(scores, len(communication.device_graph.links))
    sends = np.flatnonzero(messages.of_task >= 0)
    traffic = Traffic(
        timeline.start_ns[sends],
        timeline.end_ns[sends],
        np.ones(len(sends)),
        messages.of_task[sends],
        ways.offsets,
        ways.values,
        load,
    )
    if traffic.num_crossed > MOST_CROSSED:
        return f"messages cross more than {MOST_CROSSED:,} links, one after the other"
    return traffic


def _ways(scores: Scores, num_links: int) -> tuple[Csr, NDArray[np.float64]]:
    """Return for every message the links that it crosses, and the bytes on each."""
    score, roads = scores.written, scores.roads
    counts = score.last_link - score.first_link
    link = roads.link[ragged_ranges(score.first_link, counts)]
    message = np.repeat(np.arange(len(scores.num_rows)), scores.num_rows)
    keys = np.repeat(message, counts) * num_links + link
    distinct, number = np.unique(keys, return_inverse=True)
    load = np.bincount(number.reshape(-1), np.repeat(score.num_bytes, counts), len(distinct))
    rows, values = np.divmod(distinct, num_links)
    ways = Csr.from_pairs(len(scores.num_rows), rows, values.astype(np.int32))
    return ways, load.astype(np.float64)
