"""From the timeline of flows back to the timeline of the tasks that sent them."""

from __future__ import annotations

from dataclasses import replace

from flexsim.network.lowered import Lowered
from flexsim.timeline.spans import Timeline


def raised(lowered: Lowered, timeline: Timeline) -> Timeline:
    """Return the spans of the original tasks: each from its first row's start to its last's end.

    Their ``duration_ns`` are those of the spans, whatever their priced times were.
    """
    start_ns = timeline.start_ns[lowered.first]
    end_ns = timeline.end_ns[lowered.last]
    graph = replace(lowered.original, duration_ns=end_ns - start_ns)
    return Timeline(graph, start_ns, end_ns)
