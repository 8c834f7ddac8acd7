"""One collective at many message sizes, in the columns of nccl-tests."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives import algorithms_of
from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_software_profile
from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.errors import FlexSimError, choices_text
from flexsim.scenario.free_memory import free_bytes
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

AUTO = "auto"
NETWORKS = ("analytic", "links", "fair")
MOST_BYTES = 2**50
_SOFTWARE = "megatron-lm"
_LEAST_GROUP = 2


@dataclass(frozen=True)
class CollectiveRow:
    """One message size: how long it took, by which algorithm, and the two bandwidths."""

    num_bytes: int
    """The full message, as nccl-tests counts it: an all-reduce's buffer, an all-gather's result,
    a reduce-scatter's input, one member's buffer of an all-to-all."""
    time_ns: int
    algorithm: str
    algorithm_bandwidth_bytes_per_s: float
    """``num_bytes`` over the time."""
    bus_bandwidth_bytes_per_s: float
    """What each member's link carries: the algorithm bandwidth times :func:`bus_factor`."""


@dataclass(frozen=True)
class CollectiveTable:
    """A row a message size, and what they were simulated on."""

    collective: str
    device_graph: str
    num_devices: int
    network: str
    rows: tuple[CollectiveRow, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a table; columns are the fields of :class:`CollectiveRow`."""
        import pandas as pd

        names = [field.name for field in fields(CollectiveRow)]
        return pd.DataFrame([asdict(row) for row in self.rows], columns=names)


def bus_factor(collective: str, num_members: int) -> float:
    """Return bus bandwidth over algorithm bandwidth, as nccl-tests defines it.

    With n members: all-reduce 2(n-1)/n; all-gather, reduce-scatter and all-to-all (n-1)/n;
    broadcast 1 (NVIDIA nccl-tests, doc/PERFORMANCE.md).
    """
    share = (num_members - 1) / num_members
    return {"all-reduce": 2 * share, "broadcast": 1.0}.get(collective, share)


def message_sizes(
    min_bytes: float = 1e3, max_bytes: float = 1e9, step_factor: int = 2
) -> tuple[int, ...]:
    """Return sizes from the first power of two that is not below ``min_bytes``, each times
    ``step_factor``, up to ``max_bytes``; raise :class:`FlexSimError` where there is none.
    """
    if step_factor < 2:
        raise FlexSimError(f"the step factor must be at least 2, not {step_factor}")
    if min_bytes > max_bytes:
        raise FlexSimError(
            f"the least size, {min_bytes:,.0f} B, is above the largest, {max_bytes:,.0f} B"
        )
    if not 1 <= min_bytes <= max_bytes <= MOST_BYTES:
        raise FlexSimError(
            f"sizes from {min_bytes:,.0f} B to {max_bytes:,.0f} B: choose from 1 B to 1 PiB"
        )
    sizes = [1 << (int(np.ceil(min_bytes)) - 1).bit_length()]
    while sizes[-1] * step_factor <= max_bytes:
        sizes.append(sizes[-1] * step_factor)
    if sizes[0] > max_bytes:
        raise FlexSimError(
            f"no power of two lies between {min_bytes:,.0f} B and {max_bytes:,.0f} B; the next "
            f"is {sizes[0]:,} B"
        )
    return tuple(sizes)


def collective_table(
    collective: str,
    device_graph: str | DeviceGraph,
    devices: int | None = None,
    sizes: Sequence[int] | None = None,
    algorithm: str = AUTO,
    network: str = "analytic",
) -> CollectiveTable:
    """Simulate one collective, alone on a device graph, at each of ``sizes`` (in bytes).

    The first ``devices`` of the graph (all unless given) take part. ``algorithm`` is a name, or
    "auto" for the fastest by formula at each size. ``network`` is "analytic" (formulas), "links"
    (its steps as flows that hold links) or "fair" (flows that share links). Raise
    :class:`FlexSimError` in one sentence for what there is not or what does not fit.
    """
    graph = load_device_graph(device_graph) if isinstance(device_graph, str) else device_graph
    group = _group(graph, devices)
    _check(collective, algorithm, network)
    communication = Communication.of(graph, load_software_profile(_SOFTWARE))
    rows = [
        _row(_Question(collective, algorithm, network, size), communication, group)
        for size in (message_sizes() if sizes is None else map(_checked_size, sizes))
    ]
    return CollectiveTable(collective, graph.name, len(group), network, tuple(rows))


@dataclass(frozen=True)
class _Question:
    """One collective of one size."""

    collective: str
    algorithm: str
    network: str
    num_bytes: int


def _group(graph: DeviceGraph, devices: int | None) -> NDArray[np.int32]:
    count = graph.num_devices if devices is None else devices
    if not _LEAST_GROUP <= count <= graph.num_devices:
        raise FlexSimError(
            f"{graph.name}: devices = {count}: choose from {_LEAST_GROUP} to "
            f"{graph.num_devices:,}, which are all of its devices with hosts = {graph.num_hosts:,}"
        )
    return np.arange(count, dtype=np.int32)


def _checked_size(size: int) -> int:
    num_bytes = operator.index(size)
    if not 1 <= num_bytes <= MOST_BYTES:
        raise FlexSimError(f"size = {num_bytes:,} B: choose from 1 B to 1 PiB")
    return num_bytes


def _check(collective: str, algorithm: str, network: str) -> None:
    names = algorithms_of(collective)
    if algorithm not in (AUTO, *names):
        choices = choices_text(algorithm, (AUTO, *names))
        raise FlexSimError(f"{collective} has no algorithm {algorithm!r}: {choices}")
    if network not in NETWORKS:
        raise FlexSimError(f"there is no network {network!r}: {choices_text(network, NETWORKS)}")


def _row(
    question: _Question, communication: Communication, group: NDArray[np.int32]
) -> CollectiveRow:
    collective, num_bytes, algorithm = question.collective, question.num_bytes, question.algorithm
    if algorithm == AUTO:
        algorithm = communication.choose(collective, num_bytes, group[None])[0]
    chosen = _Question(collective, algorithm, question.network, num_bytes)
    time_ns = _time_ns(chosen, communication, group)
    bandwidth = num_bytes / time_ns * NS_PER_S
    factor = bus_factor(collective, len(group))
    return CollectiveRow(num_bytes, time_ns, algorithm, bandwidth, bandwidth * factor)


def _time_ns(question: _Question, communication: Communication, group: NDArray[np.int32]) -> int:
    collective, num_bytes = question.collective, question.num_bytes
    if question.network == "analytic":
        found = communication.collective_ns(
            collective, num_bytes, group[None], algorithm=question.algorithm
        )
        return int(found[0])
    from flexsim.engine.alone import collective_alone
    from flexsim.engine.fair import simulate_fair
    from flexsim.network.alone import alone_graph
    from flexsim.network.lower import lower
    from flexsim.network.options import NetworkOptions

    options = NetworkOptions(algorithm=question.algorithm, memory_bytes=free_bytes())
    if question.network == "links":
        return collective_alone(communication, collective, num_bytes, group[None], options).time_ns
    graph = alone_graph(collective, num_bytes, group[None])
    return simulate_fair(lower(graph, communication, options, hold_links=False)).makespan_ns
