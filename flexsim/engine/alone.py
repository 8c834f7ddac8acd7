"""Collectives that nothing else disturbs, on a network of links."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.network.alone import alone_graph
from flexsim.network.lower import lower
from flexsim.network.options import AUTO, CUT_THROUGH, NetworkOptions
from flexsim.network.rounds import Alone, replay, rounds_of

_JOIN_NS = 1
"""What the end of all flows adds in a lowered graph."""
_LEAST_FLOWS = 10_000
"""From so many flows on, equal rounds are not written down."""


def collective_alone(
    communication: Communication,
    collective: str,
    num_bytes: int,
    groups: NDArray[np.integer],
    options: NetworkOptions,
) -> Alone:
    """Return how long a collective takes whose flows hold the links of their routes.

    It runs in each of ``groups`` ([K, g] device ids) at once by ``options.algorithm``, "auto"
    taking the fastest by formula. Rings of many members are replayed as rounds, all else on the
    compiled engine; the time is the same.
    """
    from flexsim.engine.compiled import simulate

    if len(groups) == 1:
        found = _in_rounds(communication, collective, num_bytes, groups, options)
        if found is not None:
            return found
    graph = alone_graph(collective, num_bytes, groups)
    lowered = lower(graph, communication, options, hold_links=True)
    time_ns = simulate(lowered.graph).makespan_ns
    return Alone(time_ns, lowered.num_flows, lowered.num_flows)


def _in_rounds(
    communication: Communication,
    collective: str,
    num_bytes: int,
    groups: NDArray[np.integer],
    options: NetworkOptions,
) -> Alone | None:
    if options.segment_bytes is not None or options.forwarding != CUT_THROUGH:
        return None
    algorithm = options.algorithm
    if algorithm == AUTO:
        algorithm = communication.choose(collective, num_bytes, groups)[0]
    devices, layout = communication.placed(groups[0], algorithm)
    rounds = rounds_of(collective, algorithm, layout)
    if rounds is None or rounds.num_flows < _LEAST_FLOWS:
        return None
    overhead_ns = communication.overhead_ns(collective, algorithm, num_bytes, groups[0])
    found = replay(rounds, communication, devices, num_bytes)
    if found is None:
        return None
    return replace(found, time_ns=max(1, overhead_ns) + found.time_ns + _JOIN_NS)
