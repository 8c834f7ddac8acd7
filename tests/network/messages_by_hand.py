"""Task graphs of a few messages and nothing else, on shipped device graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from graphs import make_task_graph

from flexsim.cost import Communication, load_software_profile
from flexsim.device_graph import load_device_graph
from flexsim.engine.compiled import simulate
from flexsim.network.lower import lower
from flexsim.network.lowered import Lowered
from flexsim.network.options import NetworkOptions
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import COLLECTIVE_CODE
from flexsim.timeline.raised import raised
from flexsim.timeline.spans import Timeline


@cache
def communication(device_graph: str, hosts: int | None = None) -> Communication:
    """Return what a cluster's links give, with no least time of the host."""
    found = Communication.of(
        load_device_graph(device_graph, hosts), load_software_profile("megatron-lm")
    )
    return replace(found, host_time_ns=0.0)


@dataclass(frozen=True)
class Message:
    """A transfer between two devices, or a collective of a group; ``after`` are positions."""

    devices: Sequence[int]
    num_bytes: int
    collective: str = ""
    after: Sequence[int] = ()
    stream: str = "data"


def graph_of(messages: Sequence[Message]) -> TaskGraph:
    """Return a task a message; a transfer holds its channel, a collective its streams."""
    resources: dict[tuple[str, int, int], int] = {}
    tasks = []
    for message in messages:
        if message.collective:
            held = [(message.stream, device, -1) for device in message.devices]
        else:
            held = [("pipeline", *message.devices)]
        numbers = [resources.setdefault(one, len(resources)) for one in held]
        tasks.append((1, numbers, list(message.after)))
    kinds = [m.stream if m.collective else "pipeline" for m in messages]
    graph = make_task_graph(tasks, kinds, list(resources))
    codes = [COLLECTIVE_CODE[message.collective] for message in messages]
    return replace(
        graph,
        num_bytes=np.array([message.num_bytes for message in messages], np.int64),
        collective=np.array(codes, np.uint8),
    )


def lowered(
    messages: Sequence[Message],
    model: Communication,
    hold_links: bool = True,
    **options: object,
) -> Lowered:
    """Return the messages as flows."""
    chosen = NetworkOptions(**options)  # type: ignore[arg-type]
    return lower(graph_of(messages), model, chosen, hold_links)


def spans(messages: Sequence[Message], model: Communication, **options: object) -> Timeline:
    """Return when each message starts and ends where flows hold links."""
    below = lowered(messages, model, **options)
    return raised(below, simulate(below.graph))
